//! The server's data directory: exists, is ours alone, and is used by one server at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::store::Reserve;

/// Where other programs on this machine read how to reach the server.
pub const SERVER_FILE: &str = "server.json";
/// The administrator's API key, readable by the server's user alone.
pub const ADMIN_KEY_FILE: &str = "admin.key";
const LOCK_FILE: &str = "server.lock";

/// A locked data directory; the lock ends with the value, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not there and cannot be made.
    #[error("the data directory {path} cannot be created: {source}")]
    Create {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is there but nothing can be written into it.
    #[error("the data directory {path} is not writable: {source}")]
    NotWritable {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another server uses it.
    #[error("the data directory {path} is in use by another server{}", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// Where.
        path: String,
        /// The other server's process, if it says.
        pid: Option<u32>,
    },
}

impl DataDirError {
    /// What to type next.
    pub fn help(&self) -> String {
        match self {
            Self::Create { .. } | Self::NotWritable { .. } => {
                "give the user that runs the server the right to write there, or choose another \
                 directory with --data DIR"
                    .to_owned()
            }
            Self::InUse { path, .. } => format!(
                "stop the other server, or start this one with a --data directory of its own; \
                 'mantle status --data {path}' asks the running one"
            ),
        }
    }
}

impl DataDir {
    /// Makes the directory if it is missing, checks that it can be written, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let shown = path.display().to_string();
        create_private(path).map_err(|source| DataDirError::Create {
            path: shown.clone(),
            source,
        })?;
        let not_writable = |source| DataDirError::NotWritable {
            path: shown.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let lock = options.open(path.join(LOCK_FILE)).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path.join(LOCK_FILE)).ok();
                return Err(DataDirError::InUse {
                    path: shown,
                    pid: pid.and_then(|text| text.trim().parse().ok()),
                });
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        // Whoever is woken by a full disk starts the server to see what it says.
        if Reserve::of(path).give_up_if_full() {
            tracing::warn!(
                folder = %shown,
                "the disk is full; what the server had set aside of it is freed so that it can start: free some room"
            );
        }
        write_pid(&lock).map_err(not_writable)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn write_pid(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(std::process::id().to_string().as_bytes())
}

/// Makes a folder that only its owner may enter, and its parents.
#[cfg(unix)]
pub fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
}

/// Makes a folder, and its parents.
#[cfg(not(unix))]
pub fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Writes a file so that it is there whole or not at all, readable by its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = (|| {
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    sync_folder(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_second_server_on_the_same_directory_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!(
                "the data directory {} is in use by another server (process {pid})",
                path.display()
            )
        );
        assert!(error.help().contains("--data"));
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, b"").unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err();
        assert!(matches!(error, DataDirError::Create { .. }), "{error}");
        assert!(error.to_string().contains("a-file/data"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn private_files_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.key");
        fs::write(&path, b"old").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
