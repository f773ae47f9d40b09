//! What a release pins: three canonical JSON documents, each stored once under its digest.
//!
//! A snapshot is read for as long as its release lives, so a field is only ever added, with a
//! default that means what its absence meant. It never holds a secret's value or ciphertext.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::Digest;
use mantle_shared::order::OrderPackage;
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::variable::Variable;

/// The format of each document.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// The process as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSnapshot {
    /// [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// The project's slug.
    pub project: String,
    /// The steps.
    pub process: Process,
    /// For each action by name: the secrets whose names stand literally in its scripts and in the
    /// package files that it substitutes, found when the release was created.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scanned_secrets: BTreeMap<String, BTreeSet<String>>,
}

/// The variables as they were, templates unevaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableSnapshot {
    /// [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// The variables, sorted by name.
    pub variables: Vec<Variable>,
}

/// The packages, pinned by the digest of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSnapshot {
    /// [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// The packages, sorted by id.
    pub packages: Vec<OrderPackage>,
}

/// A snapshot's canonical bytes and their digest.
///
/// Canonical: `serde_json` without white space, object keys as the types declare them, maps
/// sorted, and `with:` in the order in which the author wrote it.
pub fn canonical<T: Serialize>(document: &T) -> Result<(Vec<u8>, Digest), serde_json::Error> {
    let bytes = serde_json::to_vec(document)?;
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}
