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
    /// Its agent, once it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<TargetAgent>,
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
