//! The file system as the journal uses it, small enough to be replaced by one that fails.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::durable::{self, Privacy};

/// What the journal needs of a disk.
pub trait Storage: Send {
    /// The journal's bytes; `None` if there is no journal yet.
    fn load(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Cuts the journal to this length, and brings that to the disk.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Appends, and returns once it is on the disk.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Puts a new journal in place of the old one, whole or not at all.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings to the disk which journal is in place, after a replacement that failed.
    fn settle(&mut self) -> io::Result<()>;
    /// Sets room aside for what must be written when the disk is full.
    fn reserve(&mut self) -> io::Result<()>;
    /// Gives the room free.
    fn release(&mut self) -> io::Result<()>;
}

/// Room for the ends of many attempts, and for a compaction's overhead.
const RESERVE_BYTES: usize = 1024 * 1024;

/// The journal's folder.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    file: Option<File>,
}

impl Disk {
    /// The journal in this folder, which exists.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, file: None }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(File::options().append(true).open(self.path())?);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Disk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        // The handle for appending may not shorten a file on Windows.
        let file = File::options().write(true).open(self.path())?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file()?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file = None;
        durable::write(&self.path(), bytes, Privacy::Owner)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file = None;
        durable::sync_folder(&self.dir)
    }

    fn reserve(&mut self) -> io::Result<()> {
        let path = self.reserve_path();
        if std::fs::metadata(&path).is_ok_and(|data| data.len() == RESERVE_BYTES as u64) {
            return Ok(());
        }
        // Not zeros: a file system may keep a hole instead.
        durable::write(&path, &vec![0x5a; RESERVE_BYTES], Privacy::Owner)
    }

    fn release(&mut self) -> io::Result<()> {
        std::fs::remove_file(self.reserve_path())
    }
}
