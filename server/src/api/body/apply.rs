//! What is declared in files: projects, environments, lifecycles; applying and exporting them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Files to apply, all or none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The files.
    pub files: Vec<ApplyFile>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Remove what the files do not name and nothing uses.
    #[serde(default)]
    pub prune: bool,
    /// The digest of the changes that were agreed to: others are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Each of those changes with its digest, by kind and name: if they are refused, so that the
    /// answer says which is another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agreed: BTreeMap<String, String>,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What applying changes or changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApplyResult {
    /// The differences; empty when the files say what is already so.
    pub changes: Vec<Change>,
    /// Names these changes, for `expect`.
    #[serde(default)]
    pub digest: String,
    /// The changes were made.
    pub applied: bool,
    /// What deserves attention though it is no error.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One object that differs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// How.
    pub change: ChangeKind,
    /// `project`, `variable set`, `environment`, `lifecycle` or `target`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The lines of the difference: each begins with `+`, `-` or `~`.
    #[serde(default)]
    pub diff: Vec<String>,
    /// Names what was and what will be, to the last letter: two changes whose lines read the same
    /// may differ.
    #[serde(default)]
    pub digest: String,
}

impl Change {
    /// What is changed, as `agreed` names it: its kind and its name.
    pub fn key(&self) -> String {
        format!("{} '{}'", self.kind, self.name)
    }
}

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// It is there and differs.
    Update,
    /// No file names it and nothing uses it.
    Remove,
}

/// Files that `apply` reads.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Export {
    /// The files.
    pub files: Vec<ApplyFile>,
}

/// A project in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its slug.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Its lifecycle; without one any release may go anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// Its latest release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_release: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A project with its outline.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProjectDetail {
    /// The project.
    #[serde(flatten)]
    pub project: Project,
    /// The names of its steps, in order.
    pub steps: Vec<String>,
    /// The packages that it uses.
    pub packages: Vec<String>,
    /// The names of its own variables.
    pub variables: Vec<String>,
    /// The variable sets that it includes.
    #[serde(default)]
    pub include: Vec<String>,
    /// Its channels.
    pub channels: Vec<String>,
}

/// An environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// How many targets are in it.
    pub targets: u32,
}

/// A lifecycle.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Lifecycle {
    /// Its name.
    pub name: String,
    /// Its phases, in order.
    pub phases: Vec<Phase>,
    /// What it keeps, in words; empty if all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keeps: String,
}

/// One phase of a lifecycle.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its environments.
    pub environments: Vec<String>,
    /// A release that enters it is deployed by itself.
    #[serde(default)]
    pub automatic: bool,
    /// The environments to which a release that reaches it goes by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic_in: Vec<String>,
    /// What it takes to pass it, in words: `all`, `1`, `optional`.
    #[serde(default)]
    pub passed_by: String,
}
