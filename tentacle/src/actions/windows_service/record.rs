//! What a service of Windows was before a deployment changed it: `<state dir>/services/NAME.json`.
//!
//! The record is on disk before the service is touched. A kill leaves it `pending`: the next run then
//! knows that the setup that is there has never been seen to work. No password is ever in it.

use std::fs;
use std::io;
use std::path::PathBuf;

use mantle_shared::TaskId;
use serde::{Deserialize, Serialize};

use crate::actions::{ActionContext, ActionError};
use crate::durable::{self, Privacy};
use crate::scm::Setup;

/// What a service was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The task that changed it.
    pub(super) task: TaskId,
    /// Its setup; none if there was no such service.
    pub(super) before: Option<Setup>,
    /// Whether it ran.
    pub(super) running: bool,
    /// Whether the change has not been seen to work.
    pub(super) pending: bool,
}

/// Where the record of one service is.
pub(super) struct Store {
    path: PathBuf,
    name: String,
}

impl Store {
    pub(super) fn of(context: &ActionContext<'_>, name: &str) -> Result<Self, ActionError> {
        let folder = context.state_dir.services();
        // Names are the same in any case there.
        let store = Self {
            path: folder.join(format!("{}.json", name.to_lowercase())),
            name: name.to_owned(),
        };
        durable::create_private_folder(&folder).map_err(|error| store.failed(&error))?;
        Ok(store)
    }

    fn failed(&self, error: &io::Error) -> ActionError {
        ActionError::failed(format!(
            "what {} was before could not be kept in {}: {error}",
            self.name,
            self.path.display()
        ))
    }

    pub(super) fn read(&self) -> Result<Option<Record>, ActionError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                ActionError::failed(format!(
                    "{} cannot be read ({error}); look at what the service should be, and remove the file",
                    self.path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), ActionError> {
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other);
        bytes
            .and_then(|bytes| durable::write(&self.path, &bytes, Privacy::Owner))
            .map_err(|error| self.failed(&error))
    }

    /// Forgets it: nothing is left to be put back.
    pub(super) fn forget(&self) -> Result<(), ActionError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
