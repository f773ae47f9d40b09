//! Renewing an agent's certificate, in two phases.
//!
//! While connected, the server says that it is time ([`CertificateDue`]), the agent makes another key
//! and sends a signing request for it ([`RenewCertificate`]), the server answers ([`RenewAnswer`]). The
//! agent then connects with the new certificate; once the server has seen it in use, the old key is let
//! in no more. Until then both are.
//!
//! An agent whose certificate has ended may, for a while, dial for enrolment and show it: its key is
//! known still, so the same request and answer are exchanged there, and nothing else.

use serde::{Deserialize, Serialize};

/// Half of the certificate's life is over: renew it. Repeated until that was done. An agent that does
/// not know this message answers `Unsupported`; it must join anew before its certificate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDue {
    /// When the certificate in use ends, by the server's clock.
    pub not_after_us: i64,
}

/// Sign this key for me. Who asks is told by the certificate of the connection alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewCertificate {
    /// Repeated by the answer.
    pub request: u64,
    /// A PKCS#10 signing request, DER, of a key that was never used before.
    pub signing_request: Vec<u8>,
}

/// The answer to [`RenewCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The request's number.
    pub request: u64,
    /// What became of it.
    pub result: RenewResult,
}

/// What became of a request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenewResult {
    /// It was signed, and may be used from now on.
    Issued {
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// When it ends.
        not_after_us: i64,
    },
    /// It was not; the certificate in use is as good as before.
    Refused {
        /// For people.
        reason: String,
    },
}
