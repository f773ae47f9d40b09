//! A real mail server: aiosmtpd of Debian (`python3-aiosmtpd`), set up by `mail_server.py`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::world::World;

/// How long it may take to be up.
const UP_DEADLINE: Duration = Duration::from_secs(20);
const PROGRAM: &str = include_str!("mail_server.py");

/// How letters come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// In the clear, from anybody.
    Plain,
    /// With STARTTLS, from who logs in as `mantle` with `s3cret-mail`.
    StartTls,
    /// With TLS from the first byte, from the same.
    Tls,
}

/// A running mail server; it ends with this.
pub struct MailServer {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(world: &World, line: Line) -> Self {
        let word = match line {
            Line::Plain => "plain",
            Line::StartTls => "starttls",
            Line::Tls => "tls",
        };
        let program = world.file("mail_server.py", PROGRAM);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let certificate = world.file(&format!("mail-{word}.pem"), made.cert.pem());
        let key = world.file(
            &format!("mail-{word}.key"),
            made.signing_key.serialize_pem(),
        );
        let folder = world.path(&format!("mail-{word}"));
        // Debian's own: it is for this one that the package's module is there.
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(program)
            .arg(word)
            .arg(certificate)
            .arg(key)
            .arg(&folder);
        let mut process = Process::spawn(world, &format!("mail server ({word})"), command);
        let printed = process
            .line("it prints its port", UP_DEADLINE, |line| {
                line.parse::<u16>().is_ok()
            })
            .await;
        Self {
            port: printed.parse().expect("a port"),
            folder,
            _process: process,
        }
    }

    /// Its `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All letters that it took, whole.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn letters(&self) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.folder.join("new")) else {
            return Vec::new();
        };
        found
            .map(|entry| {
                std::fs::read_to_string(entry.expect("an entry").path()).expect("a letter")
            })
            .collect()
    }
}
