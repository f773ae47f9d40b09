//! The files behind uploads.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mantle_shared::Digest;
use sha2::{Digest as _, Sha256};

use super::{FinishedUpload, Shared, UploadError, UploadId, UploadSpec, UploadStatus, lock};
use crate::packages::objects::{ObjectError, is_no_space, make_dir, private, sync_dir};

const DATA: &str = "data";
const SPEC: &str = "spec.json";
/// A name begins so while its folder is not complete.
const UNBORN: &str = "new-";
/// And so while it is being removed.
const DYING: &str = "old-";
const HASH_BYTES: usize = 128 * 1024;

/// One upload's files and who may write them.
#[derive(Debug)]
pub(super) struct Slot {
    id: UploadId,
    dir: PathBuf,
    spec: UploadSpec,
    generation: u64,
    removed: bool,
    /// What this one still has to receive, as it stands in `awaited`.
    missing: u64,
    awaited: Arc<AtomicU64>,
    reserve_bytes: u64,
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> UploadError {
    let path = path.to_owned();
    if is_no_space(&source) {
        UploadError::NoSpace { path }
    } else {
        UploadError::Io { what, path, source }
    }
}

/// Finds the uploads of an earlier process; removes what it was making or removing.
pub(super) fn open_dir(
    dir: &Path,
    awaited: &Arc<AtomicU64>,
    reserve_bytes: u64,
) -> Result<HashMap<UploadId, Arc<Mutex<Slot>>>, UploadError> {
    make_dir(dir).map_err(|error| match error {
        ObjectError::Io { what, path, source } => UploadError::Io { what, path, source },
        _ => UploadError::NoSpace {
            path: dir.to_owned(),
        },
    })?;
    let mut slots = HashMap::new();
    let entries = fs::read_dir(dir).map_err(|e| io_error("list", dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| io_error("list", dir, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(UNBORN) || name.starts_with(DYING) {
            fs::remove_dir_all(&path).map_err(|e| io_error("remove", &path, e))?;
            continue;
        }
        let Ok(uuid) = name.parse() else { continue };
        let id = UploadId(uuid);
        let spec_path = path.join(SPEC);
        let spec = fs::read(&spec_path).map_err(|e| io_error("read", &spec_path, e))?;
        // An upload that cannot be understood is left to whoever looks into the folder.
        if let Ok(spec) = serde_json::from_slice(&spec) {
            let mut slot = Slot::new(id, path.clone(), spec, awaited, reserve_bytes);
            // Made durable as well, which is the state in which it is told of.
            let there_bytes = slot.synced_length()?;
            slot.recount(there_bytes);
            slots.insert(id, Arc::new(Mutex::new(slot)));
        }
    }
    Ok(slots)
}

impl Shared {
    pub(super) fn slot(&self, id: UploadId) -> Result<Arc<Mutex<Slot>>, UploadError> {
        lock(&self.slots)
            .get(&id)
            .cloned()
            .ok_or(UploadError::Unknown { id })
    }

    pub(super) fn create(
        &self,
        id: UploadId,
        spec: UploadSpec,
    ) -> Result<UploadStatus, UploadError> {
        if spec.size_bytes > self.limits.file_bytes {
            return Err(UploadError::TooLarge {
                size_bytes: spec.size_bytes,
                limit_bytes: self.limits.file_bytes,
            });
        }
        // Held while the folder is made: two requests of one id must not both make it.
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(&id).cloned() {
            drop(slots);
            let slot = lock(&slot);
            return if slot.spec == spec {
                slot.status()
            } else {
                Err(UploadError::Conflict { id })
            };
        }
        if slots.len() >= self.limits.open {
            return Err(UploadError::TooMany {
                limit: self.limits.open,
            });
        }
        let wanted = spec
            .size_bytes
            .saturating_add(self.awaited.load(Ordering::Relaxed))
            .saturating_add(self.limits.reserve_bytes);
        if free_bytes(&self.dir).is_some_and(|free| free < wanted) {
            return Err(UploadError::NoSpace {
                path: self.dir.clone(),
            });
        }
        let dir = self.dir.join(id.to_string());
        let unborn = self.dir.join(format!("{UNBORN}{id}"));
        let made = make(&unborn, &spec).and_then(|()| {
            fs::rename(&unborn, &dir)?;
            sync_dir(&self.dir)
        });
        if let Err(error) = made {
            // A later start removes what stays.
            let _ = fs::remove_dir_all(&unborn);
            return Err(io_error("begin the upload in", &dir, error));
        }
        let mut slot = Slot::new(id, dir, spec, &self.awaited, self.limits.reserve_bytes);
        slot.recount(0);
        let status = slot.status()?;
        slots.insert(id, Arc::new(Mutex::new(slot)));
        Ok(status)
    }

    pub(super) fn remove(&self, id: UploadId) -> Result<(), UploadError> {
        let Some(slot) = lock(&self.slots).remove(&id) else {
            return Ok(());
        };
        let mut slot = lock(&slot);
        slot.removed = true;
        slot.generation += 1;
        let size_bytes = slot.spec.size_bytes;
        slot.recount(size_bytes);
        // Renamed first: a folder that is half removed must not look like an upload.
        let dying = self.dir.join(format!("{DYING}{id}"));
        fs::rename(&slot.dir, &dying)
            .and_then(|()| fs::remove_dir_all(&dying))
            .map_err(|e| io_error("remove", &slot.dir, e))
    }

    pub(super) fn expire(&self, idle: Duration) -> Result<usize, UploadError> {
        let mut expired = 0;
        for (id, slot) in self.all() {
            let data = lock(&slot).data_path();
            let touched = fs::metadata(&data)
                .and_then(|meta| meta.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            if touched.elapsed().is_ok_and(|age| age >= idle) {
                self.remove(id)?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    pub(super) fn list(&self) -> Result<Vec<UploadStatus>, UploadError> {
        let mut all: Vec<UploadStatus> = Vec::new();
        for (_, slot) in self.all() {
            match lock(&slot).status() {
                Ok(status) => all.push(status),
                // Gone since.
                Err(UploadError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by_key(|status| status.id);
        Ok(all)
    }

    fn all(&self) -> Vec<(UploadId, Arc<Mutex<Slot>>)> {
        let slots = lock(&self.slots);
        slots.iter().map(|(id, slot)| (*id, slot.clone())).collect()
    }
}

fn make(dir: &Path, spec: &UploadSpec) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    let mut file = private().create_new(true).open(dir.join(SPEC))?;
    file.write_all(&serde_json::to_vec(spec)?)?;
    file.sync_all()?;
    private()
        .create_new(true)
        .open(dir.join(DATA))?
        .sync_all()?;
    sync_dir(dir)
}

impl Slot {
    fn new(
        id: UploadId,
        dir: PathBuf,
        spec: UploadSpec,
        awaited: &Arc<AtomicU64>,
        reserve_bytes: u64,
    ) -> Self {
        Self {
            id,
            dir,
            spec,
            generation: 0,
            removed: false,
            missing: 0,
            awaited: Arc::clone(awaited),
            reserve_bytes,
        }
    }

    /// Notes how much is there, for those who want to begin another upload.
    fn recount(&mut self, there_bytes: u64) {
        let missing = self.spec.size_bytes.saturating_sub(there_bytes);
        self.awaited.fetch_add(missing, Ordering::Relaxed);
        self.awaited.fetch_sub(self.missing, Ordering::Relaxed);
        self.missing = missing;
    }

    fn data_path(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    fn check_there(&self) -> Result<(), UploadError> {
        if self.removed {
            Err(UploadError::Unknown { id: self.id })
        } else {
            Ok(())
        }
    }

    fn check_turn(&self, generation: u64) -> Result<(), UploadError> {
        self.check_there()?;
        if self.generation == generation {
            Ok(())
        } else {
            Err(UploadError::Superseded { id: self.id })
        }
    }

    pub(super) fn status(&self) -> Result<UploadStatus, UploadError> {
        self.check_there()?;
        Ok(UploadStatus {
            id: self.id,
            spec: self.spec.clone(),
            received_bytes: self.synced_length()?,
        })
    }

    /// What is there, made durable first.
    fn synced_length(&self) -> Result<u64, UploadError> {
        let path = self.data_path();
        let length = || -> io::Result<u64> {
            let file = File::options().write(true).open(&path)?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        length().map_err(|e| io_error("sync", &path, e))
    }

    pub(super) fn take_over(&mut self, offset: u64) -> Result<u64, UploadError> {
        self.check_there()?;
        let right = self.synced_length()?;
        if offset != right {
            return Err(UploadError::WrongOffset {
                id: self.id,
                offset,
                right,
            });
        }
        self.generation += 1;
        Ok(self.generation)
    }

    pub(super) fn write(&mut self, generation: u64, bytes: &[u8]) -> Result<(), UploadError> {
        self.check_turn(generation)?;
        let path = self.data_path();
        // Others write to this disk too: what was free when the upload began may be gone by now.
        let wanted = self.reserve_bytes.saturating_add(bytes.len() as u64);
        if free_bytes(&self.dir).is_some_and(|free| free < wanted) {
            self.generation += 1;
            return Err(UploadError::NoSpace { path });
        }
        let write = || -> io::Result<Option<u64>> {
            let mut file = File::options().write(true).open(&path)?;
            let at = file.seek(SeekFrom::End(0))?;
            if at.saturating_add(bytes.len() as u64) > self.spec.size_bytes {
                return Ok(None);
            }
            file.write_all(bytes)?;
            Ok(Some(at + bytes.len() as u64))
        };
        match write() {
            Ok(Some(there)) => {
                self.recount(there);
                Ok(())
            }
            Ok(None) => Err(UploadError::TooLong {
                id: self.id,
                size_bytes: self.spec.size_bytes,
            }),
            Err(error) => {
                // What came before the error counts; the next piece goes on from there.
                self.generation += 1;
                if let Ok(meta) = fs::metadata(&path) {
                    self.recount(meta.len());
                }
                Err(io_error("write", &path, error))
            }
        }
    }

    pub(super) fn end(&mut self, generation: u64) -> Result<u64, UploadError> {
        self.check_turn(generation)?;
        self.generation += 1;
        self.synced_length()
    }

    pub(super) fn finish(&mut self) -> Result<FinishedUpload, UploadError> {
        self.check_there()?;
        self.generation += 1;
        let received_bytes = self.synced_length()?;
        let size_bytes = self.spec.size_bytes;
        if received_bytes != size_bytes {
            return Err(UploadError::Incomplete {
                id: self.id,
                received_bytes,
                size_bytes,
            });
        }
        let path = self.data_path();
        let (digest, sha256) =
            hash(&path, self.spec.sha256.is_some()).map_err(|e| io_error("read", &path, e))?;
        if let Some(expected) = self.spec.blake3
            && expected != digest
        {
            return Err(UploadError::DigestMismatch {
                expected: expected.to_string(),
                actual: digest.to_string(),
            });
        }
        if let Some(expected) = &self.spec.sha256
            && !expected.eq_ignore_ascii_case(&sha256)
        {
            return Err(UploadError::DigestMismatch {
                expected: expected.clone(),
                actual: sha256,
            });
        }
        Ok(FinishedUpload {
            path,
            spec: self.spec.clone(),
            digest,
        })
    }
}

fn hash(path: &Path, with_sha256: bool) -> io::Result<(Digest, String)> {
    let mut file = File::open(path)?;
    let mut blake3 = blake3::Hasher::new();
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let part = buffer.get(..read).unwrap_or_default();
        blake3.update(part);
        if with_sha256 {
            sha256.update(part);
        }
    }
    Ok((blake3.finalize().into(), hex::encode(sha256.finalize())))
}

/// What is free for us on this disk; `None` where that cannot be told.
#[cfg(unix)]
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_dir: &Path) -> Option<u64> {
    None
}
