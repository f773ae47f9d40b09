//! `server.json` in the data directory: how to reach the running server from this machine.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data_dir::{SERVER_FILE, write_private};

/// What the file says; also what `mantle server run -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFile {
    /// The server's process.
    pub pid: u32,
    /// The server's version.
    pub version: String,
    /// The URL by which this machine reaches it.
    pub url: String,
    /// Where HTTPS listens.
    pub https: SocketAddr,
    /// Where QUIC listens.
    pub quic: SocketAddr,
    /// What tokens and certificates name.
    pub advertise: String,
    /// The certificate authority (PEM); absent when an operator's own certificate is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The fingerprint of the certificate authority.
    pub ca_fingerprint: String,
    /// Where the administrator's key is stored.
    pub admin_key_file: String,
}

impl ServerFile {
    /// Writes it into a data directory, whole or not at all.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        write_private(&data.join(SERVER_FILE), &bytes)
    }

    /// Reads it from a data directory.
    pub fn read(data: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(data.join(SERVER_FILE))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// The URL by which the machine itself reaches an address that it listens on.
pub fn local_url(https: SocketAddr) -> String {
    let mut address = https;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("https://{address}")
}
