//! Creates releases: chooses package versions, names the version, makes the three snapshots.
//!
//! In two steps, since what stands in the packages' files must be looked at in between:
//! [`select`] chooses, the server scans the files that [`scan::requests`] names, [`assemble`] pins.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::order::OrderPackage;
use serde::{Deserialize, Serialize};

use crate::ids::SecretVersionId;
mod assemble;
pub mod changes;
pub mod compare;
pub mod inline_secret;
pub mod notes;
pub mod refresh;
pub mod scan;
mod select;

pub use assemble::{assemble, sensitive_variables};
pub use select::{select, version_of};

use crate::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot};

/// What the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReleaseOptions {
    /// The version, rather than the project's own way.
    #[serde(default)]
    pub version: Option<String>,
    /// The channel, rather than the default one.
    #[serde(default)]
    pub channel: Option<String>,
    /// Versions of packages by id, rather than the newest that satisfies the channel.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// The default for every package that `packages` does not name.
    #[serde(default)]
    pub package_version: Option<String>,
    /// Let packages break the channel's rules.
    #[serde(default)]
    pub ignore_channel_rules: bool,
}

/// A release's choices, before anything is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The release's version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    /// Its packages, sorted by id.
    pub packages: Vec<OrderPackage>,
}

/// A secret as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFacts {
    /// The version that holds its value.
    pub version: SecretVersionId,
    /// HMAC of the value, hex.
    pub mark: String,
}

/// A release, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseDraft {
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    /// What it does.
    pub process: ProcessSnapshot,
    /// With which values.
    pub variables: VariableSnapshot,
    /// With which bytes.
    pub packages: PackageSnapshot,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A release that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRelease {
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: String,
}

/// For each action by name: the variables that hold secrets and stand in its package files.
pub type ScannedFiles = BTreeMap<String, BTreeSet<String>>;

#[cfg(test)]
mod tests;
