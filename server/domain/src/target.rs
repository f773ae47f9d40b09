//! Targets as the rules see them.

use mantle_shared::ids::{AgentId, TargetId};
use serde::{Deserialize, Serialize};

/// What the planner knows of a target when a deployment is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// Its id.
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// The names of the environments that it is in, sorted.
    pub environments: Vec<String>,
    /// An operator switched it off: it is never chosen.
    pub disabled: bool,
    /// Why it is in maintenance: deployments leave it out and say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
    /// Why it is unhealthy, if a check says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<String>,
    /// Its agent; `None` while it is expected but has not joined.
    pub agent: Option<AgentFacts>,
}

/// What is known of a target's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Its id.
    pub id: AgentId,
    /// It is connected and has been resynced.
    pub online: bool,
    /// Its version.
    pub version: String,
    /// What it runs on.
    pub platform: Platform,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// What its machine calls itself.
    #[serde(default)]
    pub host_name: String,
    /// What it announced, such as `action:script`.
    pub features: Vec<String>,
}

/// An operating system that agents run on.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// A target as files declare it. It is 'expected' until an agent of that name joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDefinition {
    /// Its name.
    pub name: String,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// The environments that it is in, sorted.
    pub environments: Vec<String>,
}
