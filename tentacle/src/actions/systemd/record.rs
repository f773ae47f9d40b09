//! What a service was before a deployment changed it, so that it can be that again, and its secrets.
//!
//! ```text
//! <state dir>/services/
//!   NAME.json                  the unit before, and whether it came up since
//!   credentials/NAME/DIGEST/   the files of its credentials; a unit names the folder
//! ```
//!
//! The record is on disk before the unit is touched. A kill leaves it `pending`: the next run then
//! knows that what stands in the unit file has never been seen to work.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mantle_shared::TaskId;
use serde::{Deserialize, Serialize};

use super::super::{ActionContext, ActionError};
use crate::durable::{self, Privacy};

/// What a service was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The task that changed it.
    pub(super) task: TaskId,
    /// Its unit file; none if there was none.
    pub(super) unit: Option<String>,
    /// Whether it ran.
    pub(super) active: bool,
    /// Whether it was started with the machine.
    pub(super) enabled: bool,
    /// Whether the change has not been seen to work.
    pub(super) pending: bool,
}

/// Where the records of one service are.
pub(super) struct Store {
    folder: PathBuf,
    name: String,
}

impl Store {
    pub(super) fn of(context: &ActionContext<'_>, name: &str) -> Result<Self, ActionError> {
        let store = Self {
            folder: context.state_dir.services(),
            name: name.to_owned(),
        };
        durable::create_private_folder(&store.folder).map_err(|error| store.failed(&error))?;
        Ok(store)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    fn credentials(&self) -> PathBuf {
        self.folder.join("credentials").join(&self.name)
    }

    fn failed(&self, error: &io::Error) -> ActionError {
        let folder = self.folder.display();
        ActionError::failed(format!(
            "what {} was before could not be kept in {folder}: {error}",
            self.name
        ))
    }

    pub(super) fn read(&self) -> Result<Option<Record>, ActionError> {
        match fs::read(self.path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                ActionError::failed(format!(
                    "{} cannot be read ({error}); look at what the service should be, and remove the file",
                    self.path().display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), ActionError> {
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::other);
        bytes
            .and_then(|bytes| durable::write(&self.path(), &bytes, Privacy::Owner))
            .map_err(|error| self.failed(&error))
    }

    /// Forgets it: nothing is left to be put back.
    pub(super) fn forget(&self) -> Result<(), ActionError> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes the credentials into a folder that their content names: other values are another
    /// path, hence another unit, and those of the unit before stay as they were.
    pub(super) fn keep_credentials(
        &self,
        values: &BTreeMap<String, String>,
    ) -> Result<Vec<(String, PathBuf)>, ActionError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if let Some(name) = values.keys().find(|name| {
            name.is_empty() || name.starts_with('.') || name.len() > 200 || !name.chars().all(fits)
        }) {
            return Err(ActionError::input(format!(
                "with.credentials: '{name}' cannot be the name of a file"
            )));
        }
        let mut hasher = blake3::Hasher::new();
        for (name, value) in values {
            for part in [name, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        let folder = self.credentials().join(&hasher.finalize().to_hex()[..32]);
        let kept = durable::create_private_folder(&folder).and_then(|()| {
            values.iter().try_for_each(|(name, value)| {
                durable::write(&folder.join(name), value.as_bytes(), Privacy::Owner)
            })
        });
        kept.map_err(|error| self.failed(&error))?;
        let paths = values.keys().map(|name| (name.clone(), folder.join(name)));
        Ok(paths.collect())
    }

    /// Removes the credentials that none of these units names.
    pub(super) fn clean(&self, units: &[&str]) {
        for entry in fs::read_dir(self.credentials())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let named = |unit: &&&str| name.to_str().is_some_and(|name| unit.contains(name));
            if !units.iter().any(|unit| named(&unit)) {
                // What stays is for the agent's user alone, and is tried again next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Reads a unit file; `None` if there is none.
pub(super) fn read_unit(path: &Path) -> Result<Option<String>, ActionError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unit_failed(path, "read", &error)),
    }
}

/// Puts a unit file in its place, or takes it away.
pub(super) fn write_unit(path: &Path, text: Option<&str>) -> Result<(), ActionError> {
    let written = match text {
        Some(text) => {
            durable::write(path, text.as_bytes(), Privacy::Folder).and_then(|()| readable(path))
        }
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        },
    };
    written.map_err(|error| unit_failed(path, "written", &error))
}

/// systemd warns of units that not everybody may read, which an agent's umask may have made.
fn readable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn unit_failed(path: &Path, done: &str, error: &io::Error) -> ActionError {
    let path = path.display();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the agent needs the right to make units: run it as root, or use a 'script' with sudo"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the agent's own service may be confined: give it ReadWritePaths=/etc/systemd/system"
        }
        _ => "",
    };
    ActionError::failed(format!("{path} cannot be {done}: {error}{hint}"))
}
