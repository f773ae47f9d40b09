//! What people say of attempts whose end nobody knows.

use jiff::Timestamp;
use mantle_shared::ids::AttemptId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::WorkState;

/// Says how attempts ended of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskResolve {
    /// `failed` or `succeeded`.
    #[serde(rename = "as")]
    pub ended: String,
    /// Why; the task and the audit trail keep it.
    pub reason: String,
    /// Only what is about this target or runs on it; otherwise all of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskResolved {
    /// The task's number.
    pub task: String,
    /// The attempts, in the order of the plan.
    pub resolved: Vec<ResolvedAttempt>,
}

/// What a person said of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResolvedAttempt {
    /// The attempt.
    #[schema(value_type = String, format = "uuid")]
    pub attempt: AttemptId,
    /// The task's number.
    pub task: String,
    /// What it was, such as `'Install' on web01`.
    pub about: String,
    /// `failed` or `succeeded`.
    #[serde(rename = "as")]
    pub ended: String,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// An attempt of which nobody knows how it ended, or whether, and that a person may resolve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnresolvedAttempt {
    /// The attempt.
    #[schema(value_type = String, format = "uuid")]
    pub attempt: AttemptId,
    /// The action.
    pub action: String,
    /// The target that it is about.
    pub target: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// `unknown`, `abandoned`, or `running` on an agent that is not connected.
    pub state: WorkState,
}

/// What a person said of an action's last attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionResolution {
    /// `failed` or `succeeded`.
    #[serde(rename = "as")]
    pub ended: String,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Its agent said the opposite later.
    #[serde(default)]
    pub contradicted: bool,
}
