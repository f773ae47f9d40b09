//! The journal's file of one agent of many.
//!
//! As the agent's own, it is synced before an append returns. It sets no room aside for a full disk: ten
//! thousand reserves would fill one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use tentacle::durable::{self, Privacy};
use tentacle::journal::Storage;

/// One file.
#[derive(Debug)]
pub(crate) struct Lean {
    path: PathBuf,
    file: Option<File>,
    sync: bool,
}

impl Lean {
    /// The journal at this path; without `sync` it is in the system's memory alone.
    pub(crate) fn new(path: PathBuf, sync: bool) -> Self {
        Self {
            path,
            file: None,
            sync,
        }
    }
}

impl Storage for Lean {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        File::options()
            .write(true)
            .open(&self.path)?
            .set_len(length)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(File::options().append(true).open(&self.path)?);
        }
        let Some(file) = self.file.as_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all(bytes)?;
        if self.sync {
            file.sync_data()?;
        }
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file = None;
        if self.sync {
            durable::write(&self.path, bytes, Privacy::Owner)
        } else {
            std::fs::write(&self.path, bytes)
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file = None;
        Ok(())
    }

    fn reserve(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn release(&mut self) -> io::Result<()> {
        Ok(())
    }
}
