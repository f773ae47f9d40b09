//! What the server hands to a machine that is to become a target, before that machine has any right
//! here: a script, and the agent's program for its platform.
//!
//! Trust goes one way only, from the line that an operator was shown. It pins the server's key, so the
//! script is the server's; the script holds the programs' digests, so a program is what the server had
//! when the script was asked for; the join token holds the fingerprint of the server's authority, so the
//! agent joins that server and no other. Nothing secret is handed out here, and no token is ever part of
//! an address.

pub mod line;
mod programs;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use self::programs::{Program, Programs};

/// The script of Linux; what begins with `@` and a letter in it is put in.
const SCRIPT: &str = include_str!("agent.sh");
/// So many downloads at once: whoever can reach the port may ask for one.
const DOWNLOADS: usize = 32;

/// A platform for which there is an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// Linux on x86-64.
    LinuxX8664,
    /// Linux on 64-bit ARM.
    LinuxAarch64,
    /// Windows on x86-64.
    WindowsX8664,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LinuxX8664, Self::LinuxAarch64, Self::WindowsX8664];

    /// The name of its program, in a folder and in an address.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::LinuxX8664 => "tentacle-linux-x86_64",
            Self::LinuxAarch64 => "tentacle-linux-aarch64",
            Self::WindowsX8664 => "tentacle-windows-x86_64.exe",
        }
    }

    /// The platform whose program has this name.
    pub fn of_file(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.file_name() == name)
    }

    /// The one that this server runs on.
    fn own() -> Option<Self> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Some(Self::LinuxX8664),
            ("linux", "aarch64") => Some(Self::LinuxAarch64),
            ("windows", "x86_64") => Some(Self::WindowsX8664),
            _ => None,
        }
    }
}

/// How a machine that is to join reaches this server, and by what it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The address of HTTPS, without a path.
    pub url: String,
    /// What agents dial.
    pub server: String,
    /// The SHA-256 of HTTPS's public key as curl pins it, in base64.
    pub pin: String,
    /// The SHA-256 of the key's bits alone, which .NET can get at, in hexadecimal.
    pub key_digest: String,
}

impl Reached {
    /// From the certificate that HTTPS shows.
    pub fn by(leaf: &[u8], url: String, server: String) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let key = certificate.public_key();
        Some(Self {
            url,
            server,
            pin: STANDARD.encode(Sha256::digest(key.raw)),
            key_digest: hex_upper(&Sha256::digest(key.subject_public_key.as_ref())),
        })
    }
}

/// What is handed out.
#[derive(Debug, Clone)]
pub struct Installers {
    /// How this server is reached.
    pub at: Reached,
    /// The agent's programs.
    pub programs: Programs,
    downloads: Arc<Semaphore>,
}

impl Installers {
    /// Hands these programs out.
    pub fn new(at: Reached, programs: Programs) -> Self {
        let downloads = Arc::new(Semaphore::new(DOWNLOADS));
        Self {
            at,
            programs,
            downloads,
        }
    }

    /// Leave for one download more, if there are not too many.
    pub fn download(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.downloads).try_acquire_owned().ok()
    }

    /// The script of Linux, with the digests of the programs of this moment.
    pub async fn script(&self) -> std::io::Result<String> {
        let mut digests = Vec::new();
        for platform in [Platform::LinuxX8664, Platform::LinuxAarch64] {
            let program = self.programs.find(platform).await?;
            digests.push(program.map_or_else(String::new, |program| program.sha256));
        }
        Ok(script(&self.at, &digests[0], &digests[1]))
    }
}

fn script(at: &Reached, x86_64: &str, aarch64: &str) -> String {
    SCRIPT
        .replace("@URL@", &line::sh_word(&at.url))
        .replace("@SERVER@", &line::sh_word(&at.server))
        .replace("@X86_64@", &line::sh_word(x86_64))
        .replace("@AARCH64@", &line::sh_word(aarch64))
}

fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}
