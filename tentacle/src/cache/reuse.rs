//! What is on the machine already: chunks that stand in installed versions need not travel.
//!
//! Each installed version has a record beside its folder that names the manifest it was made of.
//! The manifest says where in which file a chunk stood; if the bytes there still have the chunk's
//! digest, they are the chunk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use mantle_shared::{Digest, TaskId};
use serde::{Deserialize, Serialize};

use super::names::Host;
use super::objects::Cache;

/// What the name of an installation's record ends with; before it stands the folder's name.
pub const INSTALL_RECORD_SUFFIX: &str = ".mantle-install.json";
/// How many installed versions are searched: the newest ones.
const MAX_RECORDS: usize = 64;
/// The folders between the application root and the records: environment, project, package.
const RECORD_DEPTH: usize = 3;
/// The largest record that is read.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// Says what an installed version was made of. Written before the folder appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallRecord {
    /// 1.
    pub format: u32,
    /// The package's id.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The folder's name, beside the record.
    pub folder: String,
    /// The digest of its manifest's root.
    pub root: Digest,
    /// The digest of all that went into it: manifest and the files written from variables.
    pub inputs: Digest,
    /// When it was made, microseconds since 1970.
    pub installed_at_us: i64,
    /// When it last became the current one; 0 if it never did.
    pub activated_at_us: i64,
    /// It became the current one, and what was to follow has not succeeded: no version to go back to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// Where it is copied to as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomDirectory>,
    /// What it took the place of when it last became the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
}

/// A folder of the machine into which a version is copied, and what becomes of the rest in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomDirectory {
    /// The folder, absolute.
    pub path: String,
    /// What is not the version's is removed.
    pub purge: bool,
    /// Save for what these patterns mean.
    pub exclude: Vec<String>,
}

/// What a version took the place of, and by whose order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The task.
    pub task: TaskId,
    /// Its action.
    pub action: String,
    /// The folder that was in use; none if nothing was.
    pub folder: Option<String>,
}

impl InstallRecord {
    /// Reads a record; `None` if there is none that can be read.
    pub fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(path)
            .ok()?
            .take(MAX_RECORD_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        let record: Self = serde_json::from_str(&text).ok()?;
        let inside = !record.folder.is_empty() && !record.folder.contains(['/', '\\']);
        (record.format == 1 && inside && record.folder != "..").then_some(record)
    }
}

/// An installed version and where it is.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    pub(super) record: InstallRecord,
    pub(super) folder: PathBuf,
}

/// What is installed below the application root, newest first. What cannot be read is left out:
/// it costs a transfer, nothing else.
pub(super) fn installed(apps: &Path) -> Vec<Installed> {
    let mut found = Vec::new();
    collect(apps, RECORD_DEPTH, &mut found);
    found.sort_by_key(|installed| std::cmp::Reverse(installed.record.installed_at_us));
    found.truncate(MAX_RECORDS);
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<Installed>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if depth > 0 {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(&path, depth - 1, found);
            }
        } else if entry
            .file_name()
            .to_string_lossy()
            .ends_with(INSTALL_RECORD_SUFFIX)
            && let Some(record) = InstallRecord::read(&path)
        {
            let made = folder.join(&record.folder);
            if made.is_dir() {
                found.push(Installed {
                    record,
                    folder: made,
                });
            }
        }
    }
}

/// Takes lacking chunks out of installed versions into the cache; what it finds it removes from
/// `lacking`.
pub(super) fn take_from_installed(
    cache: &Cache,
    installed: &[Installed],
    lacking: &mut HashMap<Digest, u32>,
) {
    for version in installed {
        if lacking.is_empty() {
            return;
        }
        if let Err(error) = take_from_one(cache, version, lacking) {
            tracing::debug!(folder = %version.folder.display(), %error, "nothing could be reused of an installed version");
        }
    }
}

fn take_from_one(
    cache: &Cache,
    version: &Installed,
    lacking: &mut HashMap<Digest, u32>,
) -> Result<(), super::WalkError> {
    for file in cache.contents(version.record.root, Host::Unix)?.files {
        let mut open = None;
        let mut offset = 0_u64;
        for chunk in &file.chunks {
            if lacking.contains_key(&chunk.digest) {
                let path = version.folder.join(&file.path);
                match read_chunk(&mut open, &path, offset, chunk.length) {
                    Ok(bytes) if Digest::of(&bytes) == chunk.digest => {
                        cache.put(chunk.digest, &bytes)?;
                        lacking.remove(&chunk.digest);
                    }
                    // The file was changed or is gone.
                    Ok(_) | Err(_) => {}
                }
            }
            offset += u64::from(chunk.length);
        }
    }
    Ok(())
}

fn read_chunk(
    open: &mut Option<File>,
    path: &Path,
    offset: u64,
    length: u32,
) -> io::Result<Vec<u8>> {
    let file = if let Some(file) = open {
        file
    } else {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::other("no file"));
        }
        open.insert(File::open(path)?)
    };
    file.seek(SeekFrom::Start(offset))?;
    // The chunk's length was bounded when its manifest was walked.
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
