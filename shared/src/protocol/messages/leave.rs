//! An agent that leaves its server for good.
//!
//! Said on the control stream after [`Welcome`](super::Welcome), in the place of the report, so that
//! nothing is ordered meanwhile; the connection ends with the answer. A server that does not know it
//! answers `Unsupported`: there `mantle agent revoke` does the same by hand.

use serde::{Deserialize, Serialize};

/// Let my key in no more. Who asks is told by the certificate of the connection alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Repeated by the answer.
    pub request: u64,
}

/// The answer to [`Leave`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveAnswer {
    /// The request's number.
    pub request: u64,
    /// What became of it.
    pub result: LeaveResult,
}

/// What became of a wish to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveResult {
    /// It is written down, and the key is let in no more.
    Left,
    /// It is not; the key is as good as before.
    Refused {
        /// For people.
        reason: String,
    },
}
