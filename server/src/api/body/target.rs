//! Targets and agents.

use jiff::Timestamp;
use mantle_shared::ids::{AgentId, TargetId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A machine as the server knows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The environments that it is in.
    pub environments: Vec<String>,
    /// How it stands.
    pub state: TargetState,
    /// Whether work can be given to it, whatever operators said of it.
    #[serde(default)]
    pub health: TargetHealth,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_since: Option<Timestamp>,
    /// Why, if a check says so; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub health_message: String,
    /// What each health check that is about it found last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<super::TargetCheck>,
    /// Why deployments leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<TargetMaintenance>,
    /// Its agent, once it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<TargetAgent>,
    /// What people said of the work that brought it to where it is, of one that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<super::ResolvedAttempt>,
    /// What its tags bring about and deserves attention, of one target that was changed or asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a target is: by its standing connection, and while that stands by its health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetHealth {
    /// Its agent is connected and has said what it runs, and no check says otherwise.
    Healthy,
    /// The same, and a check warns.
    HealthyWithWarnings,
    /// Its agent is connected, and a check failed.
    Unhealthy,
    /// Its agent was there and is not.
    Unavailable,
    /// Its agent was never there, or a check ended without an answer.
    #[default]
    Unknown,
}

/// Why and since when a target is in maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetMaintenance {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// Takes a target into maintenance or out of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceSet {
    /// Into it, or out of it.
    pub on: bool,
    /// Why; needed to take it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Its agent is connected.
    Online,
    /// Its agent is not connected.
    Offline,
    /// A file names it, no agent has joined as it yet.
    Expected,
    /// An operator switched it off.
    Disabled,
    /// It is in maintenance: deployments leave it out and say so.
    Maintenance,
}

/// A target's agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TargetAgent {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: AgentId,
    /// Its version.
    pub version: String,
    /// `linux` or `windows`.
    pub platform: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// When it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// Another machine that has its identity and is turned away: its name and where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

/// Tags to add and to take away.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetTags {
    /// These it gets.
    #[serde(default)]
    pub add: Vec<String>,
    /// These it loses.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// An agent: the program on a target.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: AgentId,
    /// Its target's name.
    pub target: String,
    /// It is connected.
    pub online: bool,
    /// Its version.
    pub version: String,
    /// `linux` or `windows`.
    pub platform: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When the certificate ends that it was last seen with; it is renewed long before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<Timestamp>,
}
