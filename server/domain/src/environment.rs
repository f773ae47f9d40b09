//! Environments: where releases go.

use serde::{Deserialize, Serialize};

use crate::queue::Priority;

/// An environment as files define it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentDefinition {
    /// Its name, unique on the server.
    pub name: String,
    /// What it is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A failure asks a person instead of failing the deployment.
    #[serde(default)]
    pub guided_failure: bool,
    /// How long a deployment into it may take, unless its project says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How urgent deployments into it are.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
}
