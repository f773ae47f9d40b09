//! Releases.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a release of a project.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseCreate {
    /// Its version; by default the project's template says.
    #[serde(default)]
    pub version: Option<String>,
    /// Its channel; by default the project's default one.
    #[serde(default)]
    pub channel: Option<String>,
    /// Versions of packages by id; of the others the newest that the channel allows is taken.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// The version of every package that `packages` does not name.
    #[serde(default)]
    pub package_version: Option<String>,
    /// Let packages break the channel's rules.
    #[serde(default)]
    pub ignore_channel_rules: bool,
    /// What is new; a template.
    #[serde(default)]
    pub notes: String,
    /// The release's own fields, such as a ticket's number.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Only say what would be made.
    #[serde(default)]
    pub dry_run: bool,
}

/// A release in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// The project's slug.
    pub project: String,
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// The environments where it is what runs.
    pub environments: Vec<String>,
    /// It is blocked: it enters no further phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<ReleaseBlocked>,
    /// The last block that was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unblocked: Option<ReleaseUnblocked>,
}

/// A block on a release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseBlocked {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The end of a block on a release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseUnblocked {
    /// When it was lifted.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Why it was blocked.
    pub was: String,
}

/// A task that was queued by what was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueuedTask {
    /// Its number; empty where nothing was really done.
    pub number: String,
    /// Where it deploys to.
    pub environment: String,
}

/// A release and what it pins.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDetail {
    /// The release.
    #[serde(flatten)]
    pub release: Release,
    /// What is new.
    pub notes: String,
    /// The packages.
    pub packages: Vec<ReleasePackage>,
    /// The digest of its process.
    pub process_digest: String,
    /// The digest of its packages.
    pub packages_digest: String,
    /// The digest of its variables as they are now.
    pub variables_digest: String,
    /// Every variable snapshot that it has had, oldest first.
    pub variable_history: Vec<VariableSnapshotEntry>,
    /// The steps' names, in order.
    pub steps: Vec<String>,
    /// Its own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The environments where it runs with an older snapshot of its variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older_variables: Vec<OlderVariablesIn>,
    /// What deserves attention: when it is created of what it holds, later of what changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The deployments that its lifecycle queued when it was created or unblocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<QueuedTask>,
}

/// What runs used an older snapshot of its release's variables than the release has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OlderVariables {
    /// The number of the snapshot that was used.
    pub used: u64,
    /// The number of the release's current one.
    pub now: u64,
}

/// The same, somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OlderVariablesIn {
    /// The environment.
    pub environment: String,
    /// Which snapshots.
    #[serde(flatten)]
    pub variables: OlderVariables,
}

/// A package that a release pins.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleasePackage {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The digest of the archive.
    pub archive_digest: String,
    /// The digest of its manifest's root.
    pub root_digest: String,
}

/// One variable snapshot in a release's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableSnapshotEntry {
    /// Its number, from 1.
    #[serde(default)]
    pub number: u64,
    /// Its digest.
    pub digest: String,
    /// Since when.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What is edited of a release.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseEdit {
    /// What is new in it; a template.
    pub notes: String,
}

/// Says why a release is blocked.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBlockCreate {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Says why a block on a release is lifted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseUnblockCreate {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Gives a release the variables of its project.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshVariables {
    /// Only these variables; all, if none is named.
    #[serde(default)]
    pub only: Vec<String>,
    /// Why; required unless this is a dry run.
    #[serde(default)]
    pub reason: String,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// The digest that a dry run answered: refuse if it would be another one now.
    #[serde(default)]
    pub expect: Option<String>,
}

/// Gives a release variables back that it had.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertVariables {
    /// The number of the snapshot; by default the one before the current.
    #[serde(default)]
    pub to: Option<u64>,
    /// Why; required unless this is a dry run.
    #[serde(default)]
    pub reason: String,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// The digest that a dry run answered: refuse if it would be another one now.
    #[serde(default)]
    pub expect: Option<String>,
}

/// How a release's variables changed, or would.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariablesChanged {
    /// The digest of the variables after it.
    pub digest: String,
    /// The number of the release's current snapshot.
    pub number: u64,
    /// The difference, line by line; secrets by their marks.
    pub changes: Vec<String>,
    /// It was done, and there was something to do.
    pub changed: bool,
    /// Of a way back: the snapshot that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_from: Option<VariableSnapshotEntry>,
    /// Of a way back: the snapshot that the release has again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<VariableSnapshotEntry>,
    /// What deserves attention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How two releases differ.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDiff {
    /// The project's slug.
    pub project: String,
    /// The first release's version.
    pub from: String,
    /// The second one's.
    pub to: String,
    /// They do not differ.
    pub same: bool,
    /// How the process differs, line by line.
    pub process: Vec<String>,
    /// How the variables differ; secrets by their marks.
    pub variables: Vec<String>,
    /// The packages that differ.
    pub packages: Vec<PackageDiff>,
}

/// How a release differs from what its project would release now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDrift {
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// They differ.
    pub drifted: bool,
    /// How the process differs, line by line.
    pub process: Vec<String>,
    /// How the variables differ; secrets by their marks.
    pub variables: Vec<String>,
    /// The packages that differ.
    pub packages: Vec<PackageDiff>,
    /// Why a part could not be compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// A package that is not the same in both.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackageDiff {
    /// Its id.
    pub id: String,
    /// The version in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version in the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The files that differ.
    pub files: Vec<FileChange>,
    /// How many more there are.
    #[serde(default)]
    pub more_files: u64,
}

/// A file that is not the same in two packages.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FileChange {
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Its path in the package.
    pub path: String,
}

/// What a release brings to an environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseChanges {
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// The release's channel.
    #[serde(default)]
    pub channel: String,
    /// The release of the same channel that last succeeded there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// That one used an older snapshot of its variables than it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_variables: Option<OlderVariables>,
    /// What runs there, if it is of another channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_other_channel: Option<RunningRelease>,
    /// `first`, `forward`, `same` or `back`.
    pub direction: String,
    /// The releases that it brings, the newest first.
    pub releases: Vec<BroughtRelease>,
    /// The packages that differ.
    pub packages: Vec<PackageDiff>,
}

/// What runs in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningRelease {
    /// The release's version.
    pub version: String,
    /// Its channel.
    pub channel: String,
}

/// A release that another one brings.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BroughtRelease {
    /// Its version.
    pub version: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// What is new.
    pub notes: String,
    /// Its own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}
