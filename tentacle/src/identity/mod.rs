//! Who this agent is: its key, its certificate, the authority it trusts and where its server is.
//!
//! Two files in `<data>/identity`: the key, which never leaves the machine, and `identity.json`,
//! which names the key file. The second is written last and by one rename, so a kill at any
//! instant leaves the old identity, the new one or none; never half of one. A key that others may
//! read is refused at start, because whoever read it can pose as this agent.
//!
//! While the certificate is renewed there are more of the kind ([`Identities`]).

mod held;
mod key;
#[cfg(test)]
mod tests;

pub use held::{Identities, Kind};
pub use key::{NewKey, NewKeyError};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mantle_shared::AgentId;
use mantle_shared::fault;
use mantle_shared::tls::Fingerprint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::durable::{self, Privacy};

/// The folder below the data folder.
const FOLDER: &str = "identity";
/// The file that says who the agent is.
const FILE: &str = "identity.json";
/// The format of [`FILE`] that this build writes; it reads no newer one.
const FORMAT: u32 = 1;
/// The largest identity file that is read: a few addresses and two certificates.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// An enrolled agent.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The id by which the server knows the agent.
    pub agent: AgentId,
    /// The name of the target.
    pub name: String,
    /// Where the server is: `host:port`, tried in turn.
    pub servers: Vec<String>,
    /// The agent's certificate.
    pub certificate: CertificateDer<'static>,
    /// The server's certificate authority, pinned when the agent joined.
    pub authority: CertificateDer<'static>,
    /// When the certificate ends, microseconds since 1970.
    pub not_after_us: i64,
    key: SecretKey,
}

/// What is known of an agent once the server has let it in.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The id that the server gave.
    pub agent: AgentId,
    /// The name that the server gave.
    pub name: String,
    /// Where the server is.
    pub servers: Vec<String>,
    /// The agent's certificate, DER.
    pub certificate: Vec<u8>,
    /// The authority's certificate, DER.
    pub authority: Vec<u8>,
    /// When the certificate ends, microseconds since 1970.
    pub not_after_us: i64,
}

/// A private key in memory; wiped when dropped, never shown.
#[derive(Clone)]
struct SecretKey(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The machine has not joined.
    #[error(
        "no identity in {}: this machine has not joined a server; type 'tentacle join --server HOST:PORT --token TOKEN'",
        .folder.display()
    )]
    NotJoined {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Others may read the key.
    #[error(
        "the key {} can be read by others (mode {mode:04o}), so it may have been copied; if it was not, type 'chmod 600 {}', else join again with --force",
        .path.display(), .path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file cannot be understood.
    #[error("{} is damaged: {why}; restore it or type 'tentacle join --force ...'", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A newer version wrote it.
    #[error("{} has format {found}, this agent reads up to {FORMAT}; start the newer agent", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// `read`, `write`, ...
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    agent: AgentId,
    name: String,
    servers: Vec<String>,
    certificate: String,
    authority: String,
    not_after_us: i64,
    key_file: String,
}

impl Identity {
    /// Reads the identity below the agent's data folder.
    pub fn load(data: &Path) -> Result<Self, IdentityError> {
        Self::load_file(data, FILE)
    }

    /// Reads one of the files.
    fn load_file(data: &Path, file: &str) -> Result<Self, IdentityError> {
        let folder = folder(data);
        let path = folder.join(file);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityError::NotJoined { folder });
            }
            Err(source) => return Err(io_error("read", &path, source)),
        };
        let stored = parse(&path, &bytes)?;
        let key = read_key(&folder, &path, &stored.key_file)?;
        let damaged = |why: &str| IdentityError::Damaged {
            path: path.clone(),
            why: why.to_owned(),
        };
        let certificate = STANDARD
            .decode(&stored.certificate)
            .map_err(|_| damaged("the certificate is not base64"))?;
        let authority = STANDARD
            .decode(&stored.authority)
            .map_err(|_| damaged("the authority is not base64"))?;
        if stored.servers.is_empty() {
            return Err(damaged("it names no server"));
        }
        Ok(Self {
            agent: stored.agent,
            name: stored.name,
            servers: stored.servers,
            certificate: CertificateDer::from(certificate),
            authority: CertificateDer::from(authority),
            not_after_us: stored.not_after_us,
            key: SecretKey(key),
        })
    }

    /// Is there an identity below this data folder, whole or damaged?
    pub fn exists(data: &Path) -> bool {
        folder(data).join(FILE).exists()
    }

    /// The fingerprint of the pinned authority.
    pub fn authority_fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.authority)
    }

    /// The private key, for the TLS configuration alone.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.0.to_vec()))
    }

    /// An identity that is not on disk yet, to prove a connection before anything is kept.
    pub fn unsaved(key: &NewKey, enrolled: &Enrolled) -> Self {
        Self {
            agent: enrolled.agent,
            name: enrolled.name.clone(),
            servers: enrolled.servers.clone(),
            certificate: CertificateDer::from(enrolled.certificate.clone()),
            authority: CertificateDer::from(enrolled.authority.clone()),
            not_after_us: enrolled.not_after_us,
            key: SecretKey(key.pkcs8()),
        }
    }
}

/// Keeps an identity: first the key under a name of its own, then the file that names it.
pub fn save(data: &Path, key: &NewKey, enrolled: &Enrolled) -> Result<(), IdentityError> {
    let folder = prepare(data)?;
    write_files(&folder, FILE, key, enrolled)?;
    held::forget_beside(&folder);
    Ok(())
}

/// Writes a key and then the file that names it.
fn write_files(
    folder: &Path,
    file: &str,
    key: &NewKey,
    enrolled: &Enrolled,
) -> Result<(), IdentityError> {
    let key_file = format!("key-{}.p8", uuid::Uuid::now_v7().simple());
    let key_path = folder.join(&key_file);
    durable::write(&key_path, &key.pkcs8(), Privacy::Owner)
        .map_err(|source| io_error("write", &key_path, source))?;
    let stored = Stored {
        format: FORMAT,
        agent: enrolled.agent,
        name: enrolled.name.clone(),
        servers: enrolled.servers.clone(),
        certificate: STANDARD.encode(&enrolled.certificate),
        authority: STANDARD.encode(&enrolled.authority),
        not_after_us: enrolled.not_after_us,
        key_file,
    };
    fault::point("agent.key_written");
    let path = folder.join(file);
    let written = serde_json::to_vec_pretty(&stored)
        .map_err(io::Error::from)
        .and_then(|bytes| durable::write(&path, &bytes, Privacy::Owner));
    if let Err(source) = written {
        let _ = fs::remove_file(&key_path);
        return Err(io_error("write", &path, source));
    }
    Ok(())
}

/// Makes the folder and proves that it can be written, before a token is spent.
pub fn prepare(data: &Path) -> Result<PathBuf, IdentityError> {
    let folder = folder(data);
    durable::create_private_folder(&folder)
        .and_then(|()| durable::sweep(&folder))
        .and_then(|()| {
            let probe = folder.join("probe");
            durable::write(&probe, b"mantle", Privacy::Owner)?;
            fs::remove_file(&probe)
        })
        .map_err(|source| io_error("write to", &folder, source))?;
    Ok(folder)
}

fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Stored, IdentityError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| IdentityError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT {
        return Err(IdentityError::Newer {
            path: path.to_owned(),
            found: format,
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn read_key(
    folder: &Path,
    identity: &Path,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    if !name.starts_with("key-") || name.contains(['/', '\\']) {
        return Err(IdentityError::Damaged {
            path: identity.to_owned(),
            why: "it names a key outside its folder".to_owned(),
        });
    }
    let path = folder.join(name);
    refuse_exposed(&path)?;
    let bytes = Zeroizing::new(
        read_bounded(&path).map_err(|source| io_error("read the key", &path, source))?,
    );
    key::check(&bytes).map_err(|why| IdentityError::Damaged {
        path,
        why: why.to_string(),
    })?;
    Ok(bytes)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = fs::metadata(path).map_err(|source| io_error("read the key", path, source))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path) -> Result<(), IdentityError> {
    // The installer gives the data folder an access list of its own; files inherit it.
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is far larger than it can be",
        ));
    }
    Ok(bytes)
}
