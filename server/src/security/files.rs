//! Key files: private, whole or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The bits that let others than the owner do anything.
#[cfg(unix)]
const OTHERS: u32 = 0o077;
/// No key file of ours comes near this.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Others than its owner may read it.
    #[error(
        "the key file {path} can be read by other users (mode {mode:o}); run: chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is there already and is not overwritten.
    #[error("the key file {path} exists already and is not overwritten")]
    Exists {
        /// The file.
        path: String,
    },
    /// It cannot be read or written.
    #[error("the key file {path} cannot be {verb}")]
    Io {
        /// The file.
        path: String,
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Reads a key file; `None` if there is none.
pub fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let failed = |source| FileError::Io {
        path: path.display().to_string(),
        verb: "read",
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    check_private(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes a key file that must not exist yet. Of two that try at once one wins.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => FileError::Exists {
            path: path.display().to_string(),
        },
        _ => FileError::Io {
            path: path.display().to_string(),
            verb: "written",
            source,
        },
    };
    let part = write_part(path, bytes).map_err(failed)?;
    // A link, unlike a rename, fails when the name is taken.
    let linked = fs::hard_link(&part, path).and_then(|()| sync_folder(path));
    let removed = fs::remove_file(&part);
    linked.and(removed).map_err(failed)
}

/// Writes a key file in place of the one that may be there, in one step.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let done = write_part(path, bytes).and_then(|part| {
        fs::rename(&part, path)?;
        sync_folder(path)
    });
    done.map_err(|source| FileError::Io {
        path: path.display().to_string(),
        verb: "written",
        source,
    })
}

/// Writes the bytes beside the file, safely on disk, readable by the owner alone.
fn write_part(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Left by a process that was killed; its mode is not to be trusted.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(part)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Windows writes folder entries through; there is no handle to flush.
#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same signature on every platform"
)]
fn sync_folder(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn check_private(path: &Path, file: &File) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| FileError::Io {
        path: path.display().to_string(),
        verb: "read",
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(FileError::Exposed {
        path: path.display().to_string(),
        mode,
    })
}

/// On Windows the data folder's access list is what protects it.
#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same signature on every platform"
)]
fn check_private(_path: &Path, _file: &File) -> Result<(), FileError> {
    Ok(())
}
