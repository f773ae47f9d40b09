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
    /// What is new.
    #[serde(default)]
    pub notes: String,
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
    /// What its author should know; only said when it is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// Its digest.
    pub digest: String,
    /// Since when.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}
