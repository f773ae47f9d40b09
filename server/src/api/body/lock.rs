//! Locks: what steps hold on targets while they run.

use jiff::Timestamp;
use mantle_shared::ids::AttemptId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldLock {
    /// The target on which it is held.
    pub target: String,
    /// Its name.
    pub lock: String,
    /// `exclusive` or `shared`.
    pub mode: String,
    /// Who holds it, such as `T-12 step 'Install'`.
    pub holder: String,
    /// The attempt that holds it.
    #[schema(value_type = String, format = "uuid")]
    pub attempt: AttemptId,
    /// Since when.
    pub since: Timestamp,
    /// The step is over, as `unknown` or `abandoned`: its process may still live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When it was broken: it keeps nobody back any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<Timestamp>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_by: Option<String>,
}

/// Asks for a lock to be broken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LockBreak {
    /// The target on which it is held.
    pub target: String,
    /// Its name.
    pub lock: String,
    /// Why; the audit trail keeps it.
    pub reason: String,
}
