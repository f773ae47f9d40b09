//! A file that keeps some of the disk free for the night when all else of it is used: what stops something,
//! and the start of the server, must not wait for somebody who tidies up.
//!
//! It holds nothing. It is given up where a server starts without room, and where a cancel finds none; it is
//! made again once there is plenty. What it frees is soon used by others too, so that it is a way to stop
//! what runs and no way to go on.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::room::free_bytes;

/// The file in the data folder.
const RESERVE_FILE: &str = "reserve";
/// Its size: a cancel is a few pages of the database, and a start some more for the log of its changes.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// It is only made where that leaves most of what is free: it must not be what fills a small disk.
const PLENTY: u64 = 8;
/// A server that starts with less than this gives it up.
const LEAST_BYTES: u64 = 1024 * 1024;

/// The reserve of one data folder.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// That of this folder, whether it is there or not.
    pub fn of(folder: &Path) -> Self {
        Self {
            path: folder.join(RESERVE_FILE),
        }
    }

    /// Makes it, if it is not there and there is plenty of room. Says whether it is there now.
    pub fn keep(&self) -> io::Result<bool> {
        if fs::metadata(&self.path).is_ok_and(|known| known.len() >= RESERVE_BYTES) {
            return Ok(true);
        }
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        if free_bytes(folder).is_none_or(|free| free < RESERVE_BYTES * PLENTY) {
            return Ok(false);
        }
        let new = self.path.with_extension("new");
        let made = fill(&new).and_then(|()| fs::rename(&new, &self.path));
        if made.is_err() {
            // What there is of it would only take room.
            let _ = fs::remove_file(&new);
        }
        made.map(|()| true)
    }

    /// Gives it up; false if there is none.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    /// Gives it up where a start would find no room.
    pub fn give_up_if_full(&self) -> bool {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        free_bytes(folder).is_some_and(|free| free < LEAST_BYTES) && self.give_up()
    }
}

/// Bytes that the file system in fact sets aside: a hole would keep nothing free.
#[cfg(target_os = "linux")]
fn fill(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    let all = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(&file, all, 0, RESERVE_BYTES) {
        Ok(()) => Ok(()),
        // Not every file system can.
        Err(rustix::io::Errno::OPNOTSUPP) => zeros(file),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn fill(path: &Path) -> io::Result<()> {
    zeros(File::create(path)?)
}

fn zeros(mut file: File) -> io::Result<()> {
    let block = [0_u8; 4096];
    let blocks = RESERVE_BYTES / 4096;
    (0..blocks).try_for_each(|_| file.write_all(&block))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn it_is_made_once_given_up_once_and_takes_room_in_fact() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(folder.path());
        assert!(!reserve.give_up(), "there is none yet");
        assert!(reserve.keep().unwrap());
        assert!(reserve.keep().unwrap());
        let file = folder.path().join(RESERVE_FILE);
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt as _;
            let known = fs::metadata(&file).unwrap();
            assert!(
                known.blocks() * 512 >= RESERVE_BYTES,
                "{} blocks",
                known.blocks()
            );
        }
        assert!(!reserve.give_up_if_full(), "there is room");
        assert!(reserve.give_up());
        assert!(!file.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // What a killed server left of it is no reserve.
        fs::write(&file, b"half").unwrap();
        assert!(reserve.keep().unwrap());
        assert_eq!(fs::metadata(&file).unwrap().len(), RESERVE_BYTES);
    }

    #[test]
    fn zeros_are_as_many_where_nothing_can_be_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        zeros(File::create(&path).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE_BYTES);
    }
}
