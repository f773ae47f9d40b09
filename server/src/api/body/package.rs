//! Packages and their upload.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A package with its newest version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Package {
    /// Its id.
    pub id: String,
    /// Its newest version.
    pub latest: String,
    /// How many versions there are.
    pub versions: u64,
}

/// One version of a package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackageVersion {
    /// The package's id.
    pub id: String,
    /// The version.
    pub version: String,
    /// `zip`, `nupkg`, `tar.gz`, `tar.xz`, ...
    pub format: String,
    /// The archive's size.
    pub size_bytes: u64,
    /// The size of its files, taken apart.
    pub unpacked_bytes: u64,
    /// How many files it holds.
    pub files: u64,
    /// The BLAKE3 digest of the archive.
    pub archive_digest: String,
    /// The archive's SHA-256, as others publish it.
    pub archive_sha256: String,
    /// The digest of its manifest's root, which releases pin.
    pub root_digest: String,
    /// The only platform that it was pushed for; none if it may go anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PackagePlatform>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// By whom.
    pub pushed_by: String,
    /// What whoever pushed it should know; only said when it is pushed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The releases and running tasks that need it; only said where one version is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
}

/// Asks for a version's bytes to be read again.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageVerify {
    /// Put back what is lost or damaged, as far as the archive in the repository still has it.
    #[serde(default)]
    pub repair: bool,
}

/// What reading a version's bytes again found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackageVerified {
    /// The package's id.
    pub id: String,
    /// The version.
    pub version: String,
    /// The archive's format.
    pub format: String,
    /// The SHA-256 of the archive that has to be pushed if anything is lost.
    pub archive_sha256: String,
    /// Chunks and folders' lists that are as they were, each once.
    pub objects: u64,
    /// Their plain size.
    pub bytes: u64,
    /// How many that were lost or damaged are whole again.
    pub repaired: u64,
    /// How many are lost or damaged.
    pub problem_count: u64,
    /// The first hundred of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PackageProblem>,
}

/// A piece of a package that is not what it was.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackageProblem {
    /// Where it is in the package; empty for its top.
    pub path: String,
    /// The digest that it should have.
    pub digest: String,
    /// What is wrong with it.
    pub what: String,
}

/// A platform that a package can be pushed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PackagePlatform {
    /// Linux only: names that Windows refuses or mixes up are taken, and no Windows target gets it
    Linux,
}

/// Begins an upload, or finds the one that was begun with the same words.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadCreate {
    /// The archive's file name, from which id, version and format are read.
    pub file_name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its BLAKE3 digest, 64 hex digits; checked at the end.
    pub digest: String,
    /// The package's id, instead of the one in the name.
    #[serde(default)]
    pub id: Option<String>,
    /// The version, instead of the one in the name.
    #[serde(default)]
    pub version: Option<String>,
}

/// An upload under way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Its id.
    pub upload: String,
    /// How many bytes the server has on disk: append from here.
    pub offset: u64,
    /// The archive's size.
    pub size_bytes: u64,
    /// The package's id.
    pub id: String,
    /// The version.
    pub version: String,
    /// The same bytes are in the repository already; nothing is to be sent.
    pub present: bool,
}

/// Asks for what nothing names to be removed from the repository.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageCollect {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was collected, or would be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PackageCollected {
    /// Nothing was removed; it was only asked.
    pub dry_run: bool,
    /// How many objects went.
    pub removed_objects: u64,
    /// What they took on the disk.
    pub removed_bytes: u64,
    /// How many objects packages and releases name.
    pub live_objects: u64,
    /// What those take.
    pub live_bytes: u64,
    /// How many objects nothing names but that are too young to go.
    pub young_objects: u64,
    /// Packages that rows name and the repository has not whole. Nothing goes while there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<String>,
}
