//! What both ends of a connection fix about TLS: the provider, the protocols, the names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::ids::AgentId;

/// Work between an enrolled agent and the server.
pub const ALPN_WORK: &[u8] = b"mantle/1";
/// Enrolment: the agent has no certificate yet.
pub const ALPN_ENROL: &[u8] = b"mantle-enrol/1";
/// The name in every server certificate, whatever address it is reached at.
pub const SERVER_NAME: &str = "server.mantle.internal";
/// What precedes the agent's id in the URI name of its certificate.
pub const AGENT_URI_PREFIX: &str = "mantle://agent/";

/// The one cryptographic provider of the whole system.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The URI name in an agent's certificate.
pub fn agent_uri(agent: AgentId) -> String {
    format!("{AGENT_URI_PREFIX}{agent}")
}

/// Reads the agent's id out of its certificate's URI name.
pub fn agent_from_uri(uri: &str) -> Option<AgentId> {
    uri.strip_prefix(AGENT_URI_PREFIX)?.parse().ok()
}

/// The SHA-256 of a certificate (DER) or of a public key (SPKI, DER); the caller says which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 'sha256:' and 64 hex digits")]
pub struct BadFingerprint;

impl Fingerprint {
    /// The fingerprint of this DER encoding.
    pub fn of_der(der: &[u8]) -> Self {
        let hash = crypto_sha256(der);
        Self(hash)
    }

    /// Wraps 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads back what [`Self::as_bytes`] wrote.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// SHA-256 by the provider that is in the tree anyway.
fn crypto_sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text
            .trim()
            .trim_start_matches("sha256:")
            .chars()
            .filter(|c| *c != ':')
            .collect();
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadFingerprint)?;
        Ok(Self(bytes))
    }
}
