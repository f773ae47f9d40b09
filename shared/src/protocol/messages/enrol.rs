//! Enrolment: the three messages that a peer without a certificate may exchange.
//!
//! The agent makes its key and sends a signing request, whose own signature proves that it holds
//! the key. Of the request the server takes the public key only; every other attribute comes from
//! the server's records.

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;

/// Let me in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The join token's id.
    pub token_id: [u8; 16],
    /// The join token's secret.
    pub token_secret: [u8; 32],
    /// A PKCS#10 signing request, DER.
    pub signing_request: Vec<u8>,
    /// The name that the target should have.
    pub name: String,
    /// Tags that the target should have beside the token's.
    pub tags: Vec<String>,
    /// Environments that the target should be in beside the token's.
    pub environments: Vec<String>,
    /// `linux` or `windows`.
    pub os: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// The agent's version.
    pub version: String,
}

impl std::fmt::Debug for EnrolRequest {
    /// Without the token's secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("name", &self.name)
            .field("tags", &self.tags)
            .field("environments", &self.environments)
            .finish_non_exhaustive()
    }
}

/// Welcome; here is who you are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAccepted {
    /// The agent's id.
    pub agent: AgentId,
    /// The name under which the server knows the machine.
    pub name: String,
    /// The agent's certificate, DER.
    pub certificate: Vec<u8>,
    /// The server's certificate authority, DER.
    pub authority: Vec<u8>,
    /// When the certificate ends.
    pub not_after_us: i64,
}

/// No.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRefused {
    /// Why.
    pub reason: EnrolRefusal,
    /// For people.
    pub message: String,
}

/// Why an agent is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EnrolRefusal {
    /// No such token, or its secret is wrong: the two look alike.
    TokenUnknown,
    /// The token was used as often as it may be.
    TokenUsed,
    /// The token's time is over.
    TokenExpired,
    /// An operator withdrew the token.
    TokenRevoked,
    /// A target of this name has an agent already.
    NameTaken,
    /// The name, a tag or an environment is not one that the token allows or the server knows.
    NotAllowed,
    /// The signing request cannot be read or its signature is wrong.
    BadRequest,
    /// The server cannot enrol just now; try again.
    Busy,
}
