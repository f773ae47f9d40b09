//! A configuration file on the disk: read within a bound, written whole or not at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::MAX_FILE_BYTES;
use crate::durable;

/// Why a file stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none of that name.
    #[error("{0}: there is no such file")]
    Missing(String),
    /// It could not be read.
    #[error("{path}: it cannot be read: {why}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        why: io::Error,
    },
    /// It is larger than configuration is.
    #[error("{0}: it is larger than {MAX_FILE_BYTES} bytes, which is the most that is edited")]
    TooLarge(String),
    /// It could not be written.
    #[error("{path}: it stays as it was, since it cannot be written: {why}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        why: io::Error,
    },
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let name = || path.display().to_string();
    let failed = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => FileError::Missing(name()),
        _ => FileError::Read { path: name(), why },
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // A file may grow while it is read, so its length says nothing.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge(name()));
    }
    Ok(bytes)
}

/// Puts other bytes into a file that is there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    durable::rewrite(path, bytes).map_err(|why| FileError::Write {
        path: path.display().to_string(),
        why,
    })
}
