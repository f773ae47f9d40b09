//! What the agent was told about itself, kept in its data directory.
//!
//! One setting so far: the root of installed versions. What serves them seldom runs as the agent's
//! user, so on Linux an agent of the whole machine keeps them beside its private data directory, as
//! other users may read them there. An agent that has installed versions in its data directory goes
//! on there: what is configured to serve them would not find them elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::{self, Privacy};
use crate::state_dir::StateDir;

/// The file in the data directory.
const FILE: &str = "settings.json";
/// Its format; a newer one is refused.
const FORMAT: u32 = 1;
/// Where an agent of the whole machine keeps installed versions, on Linux.
const MACHINE_WIDE: &str = "/var/lib/tentacle-apps";

/// The root of installed versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apps {
    /// The folder.
    pub path: PathBuf,
    /// Why it is this one.
    pub origin: Origin,
}

/// Why installed versions are where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was said so, or settled when the agent first ran.
    Kept,
    /// Versions were installed there before there was this setting.
    InUse,
    /// Nobody said otherwise.
    Default,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read or written.
    #[error("the settings in {} cannot be read or written", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not understood.
    #[error("{} is not understood ({why}); correct it, or remove it and name the folder of installed versions with 'tentacle run --apps DIR'", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The folder belongs to the agent itself.
    #[error("installed versions cannot be in {}, where the agent keeps its own files; name another folder with --apps", .path.display())]
    OwnFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("the folder of installed versions, {}, could not be made; name another with --apps", .path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    apps: Option<PathBuf>,
}

/// Where installed versions are, or would be. Changes nothing.
pub fn apps(state: &StateDir) -> Result<Apps, SettingsError> {
    let inside = StateDir::at(state.root()).apps();
    let has_versions = fs::read_dir(&inside).is_ok_and(|mut entries| entries.next().is_some());
    Ok(choose(
        read(state)?,
        has_versions,
        machine_wide(state),
        inside,
    ))
}

/// Keeps where installed versions are: as it is said now, or as it was. Gives it.
pub fn settle(state: &StateDir, said: Option<&Path>) -> Result<Apps, SettingsError> {
    let Some(said) = said else {
        let apps = apps(state)?;
        if apps.origin != Origin::Kept {
            // So that it stays what it is, also when another user asks or another version has
            // another default.
            write(state, &apps.path)?;
        }
        return Ok(apps);
    };
    let path = std::path::absolute(said).map_err(|source| SettingsError::Io {
        path: said.to_owned(),
        source,
    })?;
    check(state, &path)?;
    if read(state)?.as_deref() != Some(&path) {
        write(state, &path)?;
    }
    Ok(Apps {
        path,
        origin: Origin::Kept,
    })
}

/// Makes the root of installed versions, for everybody to read, if it is not there.
pub fn create(apps: &Path) -> Result<(), SettingsError> {
    durable::create_readable_folder(apps).map_err(|source| SettingsError::Create {
        path: apps.to_owned(),
        source,
    })
}

/// Refuses a root of installed versions that is, holds or lies in what is the agent's own.
pub fn check(state: &StateDir, apps: &Path) -> Result<(), SettingsError> {
    let own = [
        state.identity(),
        state.journal(),
        state.attempts(),
        state.artifacts(),
        state.cache(),
    ];
    let inside = own.iter().any(|own| apps.starts_with(own));
    if inside || state.root().starts_with(apps) {
        return Err(SettingsError::OwnFolder {
            path: apps.to_owned(),
        });
    }
    Ok(())
}

fn choose(
    kept: Option<PathBuf>,
    has_versions: bool,
    machine_wide: Option<PathBuf>,
    inside: PathBuf,
) -> Apps {
    let (path, origin) = match (kept, machine_wide) {
        (Some(path), _) => (path, Origin::Kept),
        (None, _) if has_versions => (inside, Origin::InUse),
        (None, Some(path)) => (path, Origin::Default),
        (None, None) => (inside, Origin::Default),
    };
    Apps { path, origin }
}

/// The machine-wide root, for the one agent of the machine: it has the usual data directory and may
/// write anywhere. Another agent has a directory of its own, and keeps to it.
fn machine_wide(state: &StateDir) -> Option<PathBuf> {
    let usual = state.root() == StateDir::default_root();
    (usual && runs_as_root()).then(|| PathBuf::from(MACHINE_WIDE))
}

#[cfg(target_os = "linux")]
fn runs_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(target_os = "linux"))]
fn runs_as_root() -> bool {
    false
}

fn read(state: &StateDir) -> Result<Option<PathBuf>, SettingsError> {
    let path = state.root().join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SettingsError::Io { path, source }),
    };
    match serde_json::from_slice::<Stored>(&bytes) {
        Ok(stored) if stored.format == FORMAT => Ok(stored.apps),
        Ok(stored) => Err(SettingsError::Damaged {
            path,
            why: format!("format {}", stored.format),
        }),
        Err(error) => Err(SettingsError::Damaged {
            path,
            why: error.to_string(),
        }),
    }
}

fn write(state: &StateDir, apps: &Path) -> Result<(), SettingsError> {
    let path = state.root().join(FILE);
    let stored = Stored {
        format: FORMAT,
        apps: Some(apps.to_owned()),
    };
    serde_json::to_vec_pretty(&stored)
        .map_err(io::Error::from)
        .and_then(|bytes| durable::write(&path, &bytes, Privacy::Owner))
        .map_err(|source| SettingsError::Io { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        state.create().unwrap();
        (dir, state)
    }

    #[test]
    fn where_installed_versions_are() {
        let path = |name: &str| PathBuf::from(name);
        let table = [
            (None, false, None, "inside", Origin::Default),
            (None, false, Some("wide"), "wide", Origin::Default),
            (None, true, None, "inside", Origin::InUse),
            (None, true, Some("wide"), "inside", Origin::InUse),
            (Some("kept"), false, Some("wide"), "kept", Origin::Kept),
            (Some("kept"), true, Some("wide"), "kept", Origin::Kept),
        ];
        for (kept, has_versions, wide, expected, origin) in table {
            let found = choose(kept.map(path), has_versions, wide.map(path), path("inside"));
            let expected = Apps {
                path: path(expected),
                origin,
            };
            assert_eq!(found, expected, "{kept:?} {has_versions} {wide:?}");
        }
    }

    #[test]
    fn what_is_said_is_kept_until_something_else_is_said() {
        let (dir, state) = state();
        let said = dir.path().join("applications");
        assert_eq!(settle(&state, Some(&said)).unwrap().path, said);
        // Versions in the data directory do not matter to one that was told where they go.
        fs::create_dir_all(state.root().join("apps/test")).unwrap();
        for _ in 0..2 {
            let kept = settle(&state, None).unwrap();
            assert_eq!((kept.path, kept.origin), (said.clone(), Origin::Kept));
        }
        let other = dir.path().join("other");
        settle(&state, Some(&other)).unwrap();
        assert_eq!(apps(&state).unwrap().path, other);
    }

    #[test]
    fn versions_that_are_installed_stay_where_they_are() {
        let (_dir, state) = state();
        let inside = state.root().join("apps");
        fs::create_dir_all(inside.join("test/shop")).unwrap();
        let found = settle(&state, None).unwrap();
        assert_eq!((&found.path, found.origin), (&inside, Origin::InUse));
        // Also once the last of them was removed.
        fs::remove_dir_all(inside.join("test")).unwrap();
        assert_eq!(apps(&state).unwrap().path, inside);
    }

    #[test]
    fn the_agents_own_folders_are_refused_and_nothing_is_kept() {
        let (_dir, state) = state();
        let own = [
            state.root().to_owned(),
            state.root().parent().unwrap().to_owned(),
            state.identity(),
            state.cache().join("deeper"),
        ];
        for path in own {
            let refusal = settle(&state, Some(&path)).unwrap_err();
            assert!(
                matches!(refusal, SettingsError::OwnFolder { .. }),
                "{path:?}"
            );
        }
        assert!(!state.root().join(FILE).exists());
        settle(&state, Some(&state.root().join("apps"))).unwrap();
    }

    #[test]
    fn settings_that_are_not_understood_are_named() {
        let (_dir, state) = state();
        for text in ["{", "{\"format\": 2}"] {
            fs::write(state.root().join(FILE), text).unwrap();
            let error = apps(&state).unwrap_err();
            assert!(error.to_string().contains(FILE), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_root_can_be_read_by_others_and_the_data_directory_cannot() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, state) = state();
        let root = dir.path().join("deep/applications");
        create(&root).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o755);
        assert_eq!(mode(state.root()), 0o700);
        // One that is there keeps the rights that somebody gave it.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o750)).unwrap();
        create(&root).unwrap();
        assert_eq!(mode(&root), 0o750);
    }
}
