//! A project as its files define it: what a release is made from.
//!
//! This is the normal form that the server stores as canonical JSON. Like the process, it only
//! ever gains fields, with a default that means what their absence meant.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::channel::ChannelDefinition;
use crate::process::Process;
use crate::variable::Variable;

/// The next release's version when the project does not say: the last one, its patch raised.
pub const DEFAULT_VERSION_TEMPLATE: &str =
    "#{Octopus.Version.LastMajor}.#{Octopus.Version.LastMinor}.#{Octopus.Version.NextPatch}";

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectDefinition {
    /// Its slug: how people and other files name it.
    pub slug: String,
    /// What it is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The lifecycle that its releases follow, unless their channel names another. Without one any
    /// release may go to any environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// Where the next release's version comes from.
    pub version: VersionSource,
    /// The notes of a release that is made without any, as a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_notes: Option<String>,
    /// The packages that its actions use.
    pub packages: Vec<PackageReference>,
    /// Its channels, in the author's order; empty means the one of [`crate::channel::implicit`].
    pub channels: Vec<ChannelDefinition>,
    /// The variable sets that it includes, in the author's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Its variables, sorted by name.
    pub variables: Vec<Variable>,
    /// Its steps.
    pub process: Process,
}

impl ProjectDefinition {
    /// The environments that its variables and conditions name.
    pub fn environments(&self) -> BTreeSet<&str> {
        let steps = &self.process.steps;
        let actions = steps.iter().flat_map(|step| &step.actions);
        let whens = steps
            .iter()
            .map(|step| &step.when)
            .chain(actions.map(|action| &action.when));
        let conditions =
            whens.flat_map(|when| when.environments.iter().chain(&when.not_environments));
        let values = self.variables.iter().flat_map(|variable| &variable.values);
        let scopes = values.flat_map(|value| &value.scope.environments);
        conditions.chain(scopes).map(String::as_str).collect()
    }
}

/// A package that the project uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageReference {
    /// The package's id in the repository.
    pub id: String,
}

/// Where a release's version comes from when it is created without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionSource {
    /// A template over `Octopus.Version.*`.
    Template(String),
    /// The version of this package in the release.
    Package(String),
}

impl Default for VersionSource {
    fn default() -> Self {
        Self::Template(DEFAULT_VERSION_TEMPLATE.to_owned())
    }
}
