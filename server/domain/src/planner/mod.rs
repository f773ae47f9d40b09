//! Plans a deployment: release x environment x targets of now -> plan, or a list of reasons.
//!
//! Deterministic: the same request gives the same plan, whatever the order of the targets in it.

use std::collections::BTreeSet;

use mantle_shared::ids::TaskId;

use crate::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot};
use crate::target::TargetFacts;

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The deployment.
    pub task: TaskId,
    /// The environment's name.
    pub environment: &'a str,
    /// The release's version.
    pub release: &'a str,
    /// The release's channel.
    pub channel: &'a str,
    /// The release's process.
    pub process: &'a ProcessSnapshot,
    /// The release's variables.
    pub variables: &'a VariableSnapshot,
    /// The release's packages.
    pub packages: &'a PackageSnapshot,
    /// All targets that the server knows, of every environment.
    pub targets: &'a [TargetFacts],
    /// What the operator chose.
    pub options: &'a PlanOptions,
}

/// What the operator chose for one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PlanOptions {
    /// Only these targets, by name; empty means all.
    #[serde(default)]
    pub only_targets: BTreeSet<String>,
    /// Not these targets.
    #[serde(default)]
    pub not_targets: BTreeSet<String>,
    /// Not these steps.
    #[serde(default)]
    pub skip_steps: BTreeSet<String>,
    /// Leave out targets that are offline or have not joined, rather than refuse.
    #[serde(default)]
    pub skip_offline: bool,
}
