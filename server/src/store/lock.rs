//! One server a data folder: two writers would each believe that they own its tasks.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Holds the folder until it is dropped or the process ends, however it ends.
pub(super) struct FolderLock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Why the folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another mantle server works on the data folder {folder}; stop it first")]
    Taken {
        /// The folder.
        folder: String,
    },
    /// The lock file cannot be made or locked.
    #[error(
        "the data folder {folder} cannot be written; create it and give it to the user that runs \
         the server"
    )]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl FolderLock {
    /// Takes the folder.
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let shown = || folder.display().to_string();
        let failed = |source| LockError::Folder {
            folder: shown(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("mantle.lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken { folder: shown() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
