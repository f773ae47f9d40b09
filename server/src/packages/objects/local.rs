//! The store in a local folder.
//!
//! A blob is written under `tmp/`, synced, and renamed to its final name; then its folder is
//! synced. `object_store`'s own local store can do the same, but only a blob at a time: a package
//! of 18,000 small files would then wait for 36,000 syncs. Here a batch shares them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mantle_shared::fault;

use super::backend::{Backend, Key, ObjectError, Stored};
use super::envelope;
use super::lease::TOUCH_AFTER;

/// From so many files on, one sync of the whole file system is cheaper than one for each; below,
/// a small push need not wait for what others have written.
const SYNC_ALL_FROM: usize = 32;
/// A temporary file of this age was left by a process that is gone: a batch takes seconds.
const TMP_STALE: Duration = Duration::from_hours(1);

/// A folder of blobs. One process writes in it at a time.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    next_tmp: AtomicU64,
    folders: Mutex<Folders>,
    #[cfg(test)]
    pub(crate) faults: super::faults::Faults,
}

/// How far the entries of each folder are known to be on disk. After a start nothing is known, so
/// that a name which an earlier process left unsynced is not taken for durable.
#[derive(Debug)]
struct Folders {
    written: Vec<u64>,
    synced: Vec<u64>,
}

/// 256 folders of objects, then 256 of archives.
const FOLDERS: usize = 512;

fn folder_index(key: Key) -> usize {
    let [fan, ..] = *key.digest().as_bytes();
    usize::from(fan)
        + match key {
            Key::Object(_) => 0,
            Key::Archive(_) => FOLDERS / 2,
        }
}

impl Local {
    /// Opens the store in this folder, and makes it when it is not there.
    pub fn open(root: &Path) -> Result<Self, ObjectError> {
        make_dir(root)?;
        make_dir(&root.join("tmp"))?;
        make_dir(&root.join("archives"))?;
        let local = Self {
            root: root.to_owned(),
            next_tmp: AtomicU64::new(0),
            folders: Mutex::new(Folders {
                written: vec![1; FOLDERS],
                synced: vec![0; FOLDERS],
            }),
            #[cfg(test)]
            faults: super::faults::Faults::default(),
        };
        local.sweep_tmp()?;
        Ok(local)
    }

    fn path(&self, key: Key) -> PathBuf {
        self.root.join(key.path())
    }

    /// Removes what killed processes left under `tmp/`.
    fn sweep_tmp(&self) -> Result<(), ObjectError> {
        let dir = self.root.join("tmp");
        let entries = fs::read_dir(&dir).map_err(|e| ObjectError::io("list", &dir, e))?;
        for entry in entries.flatten() {
            let stale = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TMP_STALE));
            if stale {
                // The next start tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn fault(&self) -> io::Result<()> {
        self.faults.hit()
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "tests fail here"
    )]
    fn fault(&self) -> io::Result<()> {
        Ok(())
    }

    /// Writes one blob under a temporary name.
    fn stage(&self, bytes: &[u8], sync: bool) -> Result<PathBuf, ObjectError> {
        let tmp = self.root.join("tmp").join(format!(
            "{}-{}",
            std::process::id(),
            self.next_tmp.fetch_add(1, Ordering::Relaxed)
        ));
        let write = || -> io::Result<()> {
            self.fault()?;
            let mut file = private().create_new(true).open(&tmp)?;
            self.fault()?;
            file.write_all(bytes)?;
            self.fault()?;
            if sync { file.sync_all() } else { Ok(()) }
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&tmp);
            ObjectError::io("write", &tmp, e)
        })?;
        Ok(tmp)
    }

    fn rename(&self, tmp: &Path, key: Key) -> Result<(), ObjectError> {
        let target = self.path(key);
        let rename = || -> io::Result<()> {
            self.fault()?;
            match fs::rename(tmp, &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(folder) = target.parent() {
                        private_dir(folder)?;
                        folder.parent().map_or(Ok(()), sync_dir)?;
                    }
                    fs::rename(tmp, &target)
                }
                other => other,
            }
        };
        rename().map_err(|e| ObjectError::io("store", &target, e))
    }

    /// Makes the names in these folders durable, where they are not known to be.
    fn sync_folders(&self, touched: &BTreeSet<usize>) -> Result<(), ObjectError> {
        let pending: Vec<(usize, u64)> = {
            let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            touched
                .iter()
                .filter_map(|&index| {
                    let written = *folders.written.get(index)?;
                    (*folders.synced.get(index)? < written).then_some((index, written))
                })
                .collect()
        };
        let sync = || -> io::Result<()> {
            self.fault()?;
            if pending.len() >= SYNC_ALL_FROM && sync_all(&self.root)? {
                return Ok(());
            }
            for (index, _) in &pending {
                match sync_dir(&self.folder(*index)) {
                    // A folder that is not there has no names to lose.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
            Ok(())
        };
        sync().map_err(|e| ObjectError::io("sync", &self.root, e))?;
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, written) in pending {
            if let Some(synced) = folders.synced.get_mut(index) {
                *synced = written.max(*synced);
            }
        }
        Ok(())
    }

    fn folder(&self, index: usize) -> PathBuf {
        if index < FOLDERS / 2 {
            self.root.join(format!("{index:02x}"))
        } else {
            let fan = index - FOLDERS / 2;
            self.root.join("archives").join(format!("{fan:02x}"))
        }
    }

    /// Gives staged files their names; those left over after an error are removed.
    fn publish(&self, staged: &[(PathBuf, Key)]) -> Result<(), ObjectError> {
        {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, key) in staged {
                if let Some(written) = folders.written.get_mut(folder_index(*key)) {
                    *written += 1;
                }
            }
        }
        for (done, (tmp, key)) in staged.iter().enumerate() {
            if let Err(error) = self.rename(tmp, *key) {
                discard(staged.get(done..).unwrap_or_default());
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Backend for Local {
    fn keep(&self, key: Key) -> Result<bool, ObjectError> {
        let path = self.path(key);
        // Whoever finds it here writes no copy of its own, so what has rotted does not count: it is
        // written again, and so a second push repairs it. The read costs less than the push's own.
        match self.get(key)? {
            Some(stored) if envelope::open(&stored).is_ok() => {}
            _ => return Ok(false),
        }
        let touched = fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .map_err(|e| ObjectError::io("look up", &path, e))?;
        if touched.elapsed().is_ok_and(|age| age < TOUCH_AFTER) {
            return Ok(true);
        }
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(|e| ObjectError::io("touch", path, e))?;
        Ok(true)
    }

    fn put_all(&self, blobs: &[(Key, Vec<u8>)], kept: &[Key]) -> Result<(), ObjectError> {
        let together = blobs.len() >= SYNC_ALL_FROM && cfg!(target_os = "linux");
        let mut staged: Vec<(PathBuf, Key)> = Vec::with_capacity(blobs.len());
        for (key, bytes) in blobs {
            match self.stage(bytes, !together) {
                Ok(tmp) => staged.push((tmp, *key)),
                Err(error) => {
                    discard(&staged);
                    return Err(error);
                }
            }
        }
        if together && let Err(error) = self.fault().and_then(|()| sync_all(&self.root)) {
            discard(&staged);
            return Err(ObjectError::io("sync", &self.root, error));
        }
        fault::point("packages.staged");
        self.publish(&staged)?;
        fault::point("packages.renamed");
        let touched = blobs.iter().map(|(key, _)| key).chain(kept);
        self.sync_folders(&touched.map(|key| folder_index(*key)).collect())
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ObjectError::io("read", path, error)),
        }
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        for index in 0..FOLDERS {
            let folder = self.folder(index);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ObjectError::io("list", folder, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| ObjectError::io("list", &folder, e))?;
                let path = entry.path();
                let Some(key) = path
                    .strip_prefix(&self.root)
                    .ok()
                    .and_then(Path::to_str)
                    .map(|path| path.replace('\\', "/"))
                    .and_then(|path| Key::from_path(&path))
                else {
                    continue;
                };
                // One that is gone by now need not be told of.
                if let Ok(meta) = entry.metadata()
                    && let Ok(touched) = meta.modified()
                {
                    each(Stored {
                        key,
                        size_bytes: meta.len(),
                        touched,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
        let path = self.path(key);
        match fs::metadata(&path).and_then(|meta| meta.modified()) {
            Ok(touched) if touched >= touched_before => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(ObjectError::io("look up", path, error)),
        }
        fs::remove_file(&path).map_err(|e| ObjectError::io("remove", path, e))?;
        Ok(true)
    }
}

fn discard(staged: &[(PathBuf, Key)]) {
    for (tmp, _) in staged {
        // What stays is swept at a later start.
        let _ = fs::remove_file(tmp);
    }
}

/// Options for a new file that only the server's user may read: packages can hold secrets.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a folder that only the server's user may enter, durably.
pub(crate) fn make_dir(path: &Path) -> Result<(), ObjectError> {
    private_dir(path)
        .and_then(|()| path.parent().map_or(Ok(()), sync_dir))
        .map_err(|e| ObjectError::io("make the folder", path, e))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    // Windows has no such call; NTFS journals its names.
    if cfg!(unix) {
        // An empty parent is the folder that a relative path starts from.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

/// Syncs the whole file system where that can be done; says whether it was.
#[cfg(target_os = "linux")]
fn sync_all(root: &Path) -> io::Result<bool> {
    rustix::fs::syncfs(File::open(root)?)?;
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn sync_all(_root: &Path) -> io::Result<bool> {
    Ok(false)
}
