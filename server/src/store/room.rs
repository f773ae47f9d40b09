//! Whether there is room for the database: noticed when a write is refused, and looked for on its disk, since
//! where nothing is written nothing is refused.
//!
//! With SQLite a disk counts as full until more than a trifle is free again: a small write may fit into what
//! the file has already, while the next one does not.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// With less free on its disk the next transaction of a deployment may not fit.
const LEAST_BYTES: u64 = 1024 * 1024;

/// How much room there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomLeft {
    /// Where the database is; nothing if that is another machine's.
    pub place: Option<RoomPlace>,
    /// There is none, which was noticed then.
    pub full_since_us: Option<i64>,
}

/// A folder on a disk of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPlace {
    /// The folder.
    pub folder: PathBuf,
    /// Where its file system is mounted.
    pub file_system: PathBuf,
    /// What is free there, if that can be told.
    pub free_bytes: Option<u64>,
}

/// Watches it.
#[derive(Debug, Default)]
pub(super) struct Room {
    folder: Option<PathBuf>,
    noticed: Mutex<Noticed>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Noticed {
    /// A write was refused, and none was taken since.
    refused: bool,
    full_since_us: Option<i64>,
}

impl Room {
    /// Of a database in this folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            // A relative one names no file system.
            folder: Some(std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())),
            noticed: Mutex::default(),
        }
    }

    /// The folder, if it is on this machine.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// A write was refused for want of room.
    pub(super) fn note_refused(&self) {
        self.note(true);
    }

    /// A write was taken.
    pub(super) fn note_taken(&self) {
        self.note(false);
    }

    fn note(&self, refused: bool) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        noticed.refused = refused;
        if refused {
            noticed.full_since_us.get_or_insert_with(now_us);
        }
    }

    /// How it stands now.
    pub(super) fn look(&self) -> RoomLeft {
        let place = self.folder.as_deref().map(|folder| RoomPlace {
            folder: folder.to_owned(),
            file_system: file_system(folder),
            free_bytes: free_bytes(folder),
        });
        let free_bytes = place.as_ref().and_then(|place| place.free_bytes);
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if noticed.refused || free_bytes.is_some_and(|free| free < LEAST_BYTES) {
            noticed.full_since_us.get_or_insert_with(now_us);
        } else {
            noticed.full_since_us = None;
        }
        RoomLeft {
            place,
            full_since_us: noticed.full_since_us,
        }
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// What this process may still write there: root may use what is set aside for it.
#[cfg(unix)]
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    let blocks = if rustix::process::geteuid().is_root() {
        stat.f_bfree
    } else {
        stat.f_bavail
    };
    Some(blocks.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// The highest folder above this one that is on the same device.
#[cfg(unix)]
fn file_system(folder: &Path) -> PathBuf {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).ok().map(|data| data.dev());
    let own = device(folder);
    let same = folder.ancestors().take_while(|path| device(path) == own);
    same.last().unwrap_or(folder).to_owned()
}

#[cfg(not(unix))]
fn file_system(folder: &Path) -> PathBuf {
    folder.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refused_write_is_remembered_until_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for room in [Room::of(dir.path()), Room::default()] {
            assert_eq!(room.look().full_since_us, None);
            room.note_refused();
            let since = room.look().full_since_us;
            assert!(since.is_some());
            room.note_refused();
            assert_eq!(
                room.look().full_since_us,
                since,
                "it is full since the first"
            );
            room.note_taken();
            assert_eq!(room.look().full_since_us, None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_system_is_above_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let place = Room::of(dir.path()).look().place.unwrap();
        assert!(place.folder.starts_with(&place.file_system), "{place:?}");
        assert!(place.free_bytes.is_some());
    }
}
