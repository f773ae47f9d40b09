//! Health checks: scripts that say how targets are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// What it looks at; may be empty.
    #[serde(default)]
    pub description: String,
    /// Only targets with one of these tags; empty means whatever their tags.
    pub tags: Vec<String>,
    /// Only targets in one of these environments; empty means wherever they are.
    pub environments: Vec<String>,
    /// The platforms that it has a script for.
    pub platforms: Vec<String>,
    /// How often it runs by itself, such as `1h`; without it only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// How long a script may take, such as `1m`.
    pub timeout: String,
    /// `check` or `skip`: what it does about targets in maintenance.
    pub maintenance: String,
    /// When it was last queued by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_queued_at: Option<Timestamp>,
    /// What it found last, by target.
    pub found: Vec<CheckedTarget>,
}

/// What a health check found last about a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedTarget {
    /// The target.
    pub target: String,
    /// What was found.
    #[serde(flatten)]
    pub result: CheckResult,
}

/// What a target's health check found last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetCheck {
    /// The check.
    pub check: String,
    /// What was found.
    #[serde(flatten)]
    pub result: CheckResult,
}

/// What was found, when, and by which task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckResult {
    /// How the target is by it.
    pub status: CheckStatus,
    /// What the script said of that; may be empty.
    #[serde(default)]
    pub message: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// When it was last looked at.
    pub checked_at: Timestamp,
    /// The task that looked; it may be gone by now.
    pub task: String,
}

/// How a target is, by one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// The script ended with 0.
    Healthy,
    /// It did, and printed a warning.
    HealthyWithWarnings,
    /// It ended with another exit code, or not in time.
    Unhealthy,
    /// What it found is not known.
    Unknown,
}

/// Runs health checks.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckRun {
    /// These checks; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// On these targets, and on those with one of the tags; neither means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// On targets with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
