//! Packages on this machine, by content: folders of manifests and chunks of files.
//!
//! ```text
//! <cache>/objects/ab/cdef...   one object: a manifest's folder or a chunk, named by its BLAKE3
//! <cache>/partial/abcdef...    the beginning of an object's wire form, from a broken transfer
//! <cache>/temp/                being written; emptied at start
//! ```
//!
//! What must hold: an object is verified when it comes and again whenever it is used; it appears
//! by one rename; whatever a server or a bad disk says, nothing here grows beyond what the grant
//! and the manifest allow, and no path leaves the folder that was asked for.

mod acquire;
mod fetch;
mod inside;
mod materialise;
mod names;
mod objects;
mod prune;
mod reuse;
mod space;
#[cfg(test)]
mod tests;
mod walk;

pub use acquire::Acquirer;
pub use fetch::{FetchError, ObjectSink, ObjectSource};
pub use materialise::{MaterialiseError, Totals};
pub use names::Host;
pub(crate) use names::windows_refuses_name;
pub use objects::{Cache, CacheError};
pub use reuse::{CustomDirectory, INSTALL_RECORD_SUFFIX, InstallRecord, Replaced};
#[cfg(test)]
pub(crate) use tests::source as test_packages;
pub use walk::{PackageFile, WalkError};

/// The largest object that is fetched or read: manifests' folders are the largest.
pub(crate) const MAX_OBJECT_BYTES: u64 = mantle_shared::manifest::MAX_NODE_BYTES as u64;
/// The most entries of a whole package.
pub(crate) const MAX_PACKAGE_ENTRIES: u64 = 2_000_000;
