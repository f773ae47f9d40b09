//! Where the agent keeps what it must not forget, and who may use it.
//!
//! ```text
//! <state dir>/
//!   lock           held by the one agent that runs here
//!   status.json    what the running agent says of itself, for `tentacle status`
//!   tentacle.log   what it would print, where it is a service of Windows
//!   identity/      key, certificates, configuration; for the agent's user alone
//!   journal/       the durable record of every attempt
//!   attempts/<id>/ one folder an attempt: claim, spool, result, working directory
//!   artifacts/     files that attempts left behind, until the server has them
//!   cache/         packages by content
//!   undo/          how to take back what actions changed, for rollbacks; for the agent's user alone
//!   settings.json  where installed versions are
//!   services/      what services were before a deployment changed them, and their credentials
//!   apps/          installed versions, unless the settings name another root
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use mantle_shared::AttemptId;

use crate::durable;

/// The state directory of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
    apps: PathBuf,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A folder could not be made or its rights not be set.
    #[error(
        "cannot use the state directory: {path} could not be created or made private; run as a user who may write there, or name another with --data"
    )]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the lock.
    #[error(
        "another tentacle is running with the state directory {path}; stop it, or give this one its own with --data"
    )]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The lock file could not be opened.
    #[error("cannot lock the state directory: {path} could not be opened for writing")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Proof that no other agent uses the directory, for as long as it lives. The system lets go of the
/// lock when the process dies, however it dies.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateDir {
    /// Names the directory, with installed versions in it; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let apps = root.join("apps");
        Self { root, apps }
    }

    /// The same with installed versions elsewhere.
    #[must_use]
    pub fn with_apps(self, apps: PathBuf) -> Self {
        Self { apps, ..self }
    }

    /// Where the directory is unless `--data` or `TENTACLE_DATA` says otherwise.
    pub fn default_root() -> PathBuf {
        if cfg!(windows) {
            std::env::var_os("ProgramData")
                .map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
                .join("Tentacle")
        } else {
            PathBuf::from("/var/lib/tentacle")
        }
    }

    /// Makes what is missing, for the agent's user alone.
    pub fn create(&self) -> Result<(), StateDirError> {
        let private = [
            self.root.clone(),
            self.identity(),
            self.journal(),
            self.attempts(),
            self.artifacts(),
        ];
        for path in &private {
            durable::create_private_folder(path).map_err(|source| StateDirError::Create {
                path: path.clone(),
                source,
            })?;
        }
        let cache = self.cache();
        fs::create_dir_all(&cache).map_err(|source| StateDirError::Create {
            path: cache.clone(),
            source,
        })
    }

    /// Takes the lock; an error if another agent has it.
    pub fn lock(&self) -> Result<StateLock, StateDirError> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| StateDirError::Lock {
                path: path.clone(),
                source,
            })?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::InUse {
                path: self.root.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(StateDirError::Lock { path, source }),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Key, certificates and configuration.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The folders of all attempts.
    pub fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    /// The folder of one attempt.
    pub fn attempt(&self, attempt: AttemptId) -> PathBuf {
        self.attempts().join(attempt.to_string())
    }

    /// Files that attempts left behind, until the server has them.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// What services were before a deployment changed them.
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    /// Packages by content.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// How to take back what actions changed.
    pub fn undo(&self) -> PathBuf {
        self.root.join("undo")
    }

    /// The root of installed versions.
    pub fn apps(&self) -> PathBuf {
        self.apps.clone()
    }

    /// The agent's own log, where it is a service of Windows.
    pub fn log_file(&self) -> PathBuf {
        self.root.join("tentacle.log")
    }

    /// What the running agent says of itself.
    pub fn status_file(&self) -> PathBuf {
        self.root.join("status.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_that_the_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        state.create().unwrap();
        let held = state.lock().unwrap();
        let refusal = state.lock().unwrap_err();
        assert!(matches!(refusal, StateDirError::InUse { .. }), "{refusal}");
        drop(held);
        state.lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn identity_is_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        state.create().unwrap();
        let mode = fs::metadata(state.identity()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
