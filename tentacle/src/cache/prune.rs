//! Keeping the cache from growing without end.
//!
//! Objects go by the time they were last acquired, oldest first, once all together are over the
//! bound. What was acquired within the last day stays whatever the bound says: between the
//! acquisition and its use lies a rolling window, an approval, a night. What is gone and wanted
//! again is taken from an installed version or fetched.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::objects::{Cache, CacheError, disk};

/// What all objects together may take before the oldest go; some dozens of common sites.
pub(super) const MAX_CACHE_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// How long an object stays after it was last acquired.
const KEEP_FOR: Duration = Duration::from_hours(24);

/// Says that an object was acquired now. Best effort: without it, it only goes earlier.
pub(super) fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}

impl Cache {
    /// Removes what was not acquired for longest until the objects take at most `max_bytes`. Gives
    /// how many bytes went.
    pub(super) fn prune(&self, max_bytes: u64, now: SystemTime) -> Result<u64, CacheError> {
        let folder = self.root().join("objects");
        let mut objects = list(&folder).map_err(disk("list", &folder))?;
        let mut total: u64 = objects.iter().map(|object| object.size_bytes).sum();
        objects.sort_by_key(|object| object.acquired);
        let mut freed = 0;
        for object in objects {
            let age = now.duration_since(object.acquired).unwrap_or_default();
            if total <= max_bytes || age < KEEP_FOR {
                break;
            }
            match fs::remove_file(&object.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(disk("remove", &object.path)(error));
                }
                _ => {
                    total -= object.size_bytes;
                    freed += object.size_bytes;
                }
            }
        }
        Ok(freed)
    }
}

struct Object {
    path: PathBuf,
    size_bytes: u64,
    acquired: SystemTime,
}

fn list(folder: &Path) -> io::Result<Vec<Object>> {
    let mut objects = Vec::new();
    for shelf in fs::read_dir(folder)? {
        for entry in fs::read_dir(shelf?.path())? {
            let entry = entry?;
            let meta = entry.metadata()?;
            objects.push(Object {
                path: entry.path(),
                size_bytes: meta.len(),
                acquired: meta.modified()?,
            });
        }
    }
    Ok(objects)
}
