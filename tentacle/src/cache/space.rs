//! How much room a disk has.

use std::path::{Path, PathBuf};

/// What the agent's user may still write on the disk that holds this path, which need not exist
/// yet. A disk that does not tell has no bound: writing will show.
pub(super) fn free_bytes(path: &Path) -> u64 {
    crate::process::free_bytes(&existing_ancestor(path)).unwrap_or(u64::MAX)
}

fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
