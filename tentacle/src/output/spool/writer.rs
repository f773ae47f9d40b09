//! Writes a spool: the last segment, and the next when that is full.
//!
//! What holds here: an append is there whole or not at all; a segment is begun only when the one before
//! is complete; what was written is brought to the disk itself before the attempt's result is.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mantle_shared::AttemptId;
use mantle_shared::protocol::RecordHasher;

use super::segments;
use crate::durable;

/// How large a segment grows before the next is begun: what stays on the disk, however much a step
/// prints, while the server takes it all; and some thousand files at the cap of an attempt.
pub const SEGMENT_BYTES: u64 = 1024 * 1024;
/// Room for the tail and the record of the gap before it, on a disk that stays full.
pub const END_RESERVE_BYTES: usize = 128 * 1024;
/// The reserve's file.
const RESERVE: &str = "spool.reserve";
/// A file that says by its name whether output is held back. It is renamed, which needs no room.
const FLOWS: &str = "output-flows";
const HELD: &str = "output-is-held";

/// Where the spool's bytes go; files, or a full disk in the tests.
pub trait SpoolStore: Send {
    /// Appends all of it behind these records, or fails and leaves what was there.
    fn append(&mut self, before: &RecordHasher, bytes: &[u8]) -> io::Result<()>;
    /// Brings it to the disk itself.
    fn sync(&mut self) -> io::Result<()>;
    /// Gives the room free that was set aside for the end; whether there was any.
    fn release(&mut self) -> bool;
    /// Notes that the process is held back for want of room, or not any more, for the agent to see.
    fn note_held(&mut self, held: Held);
}

/// Whether the process's pipe is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is not.
    No,
    /// It is: there is no room for what it prints.
    Yes,
}

/// The spool's files.
#[derive(Debug)]
pub struct SpoolWriter {
    dir: PathBuf,
    attempt: AttemptId,
    segment_bytes: u64,
    file: File,
    /// The size of the last segment as far as it is good.
    good: u64,
    /// The segments that may not be on the disk itself yet.
    unsynced: Vec<PathBuf>,
}

impl SpoolWriter {
    /// Begins a spool in an attempt's folder, for the agent's user alone, and sets room aside for its
    /// end.
    pub fn create(dir: &Path, attempt: AttemptId) -> io::Result<Self> {
        Self::with_segments(dir, attempt, SEGMENT_BYTES)
    }

    /// The same with segments of another size.
    pub(super) fn with_segments(
        dir: &Path,
        attempt: AttemptId,
        segment_bytes: u64,
    ) -> io::Result<Self> {
        let (path, file, good) = begin(dir, attempt, &RecordHasher::new())?;
        // Zeros might be stored as a hole, which takes no room.
        durable::write_scratch(&dir.join(RESERVE), &vec![0x5a; END_RESERVE_BYTES])?;
        durable::write_scratch(&dir.join(FLOWS), b"")?;
        Ok(Self {
            dir: dir.to_owned(),
            attempt,
            segment_bytes,
            file,
            good,
            unsynced: vec![path],
        })
    }
}

/// Whether the process of the attempt in this folder is held back for want of room.
pub fn is_held(dir: &Path) -> bool {
    dir.join(HELD).exists()
}

fn begin(
    dir: &Path,
    attempt: AttemptId,
    before: &RecordHasher,
) -> io::Result<(PathBuf, File, u64)> {
    let path = segments::path(dir, before.count());
    let header = segments::header(attempt, before);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file| {
        file.write_all(header.as_bytes())?;
        Ok(file)
    });
    match written {
        Ok(file) => Ok((path, file, header.len() as u64)),
        Err(error) => {
            // A beginning without its first line is read by nobody, and made anew.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

impl SpoolStore for SpoolWriter {
    fn append(&mut self, before: &RecordHasher, bytes: &[u8]) -> io::Result<()> {
        if self.good >= self.segment_bytes {
            let (path, file, good) = begin(&self.dir, self.attempt, before)?;
            self.file = file;
            self.good = good;
            // Those that the server has acknowledged are gone and need no disk.
            self.unsynced.retain(|path| path.exists());
            self.unsynced.push(path);
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.good += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Shortening needs no room. If even that fails the reader stops at the damage.
                self.file.set_len(self.good)?;
                self.file.seek(SeekFrom::Start(self.good))?;
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let earlier = self.unsynced.len().saturating_sub(1);
        for path in self.unsynced.iter().take(earlier) {
            match File::options().write(true).open(path) {
                Ok(file) => file.sync_data()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.file.sync_data()
    }

    fn release(&mut self) -> bool {
        fs::remove_file(self.dir.join(RESERVE)).is_ok()
    }

    fn note_held(&mut self, held: Held) {
        let (from, to) = match held {
            Held::Yes => (FLOWS, HELD),
            Held::No => (HELD, FLOWS),
        };
        // It is for people; what matters is in the gap record, if it comes to that.
        let _ = fs::rename(self.dir.join(from), self.dir.join(to));
    }
}
