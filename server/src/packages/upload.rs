//! Resumable uploads: a file that grows on disk until it is all there.
//!
//! An upload is a folder `<id>/` with `spec.json` (what is promised) and `data` (what has come).
//! Nothing of it is a package before it is finished, verified and taken in. Killed at any moment,
//! it goes on from what is on disk: a length is only told after it was synced.

mod files;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mantle_shared::Digest;
use mantle_shared::uuid::Uuid;
use serde::{Deserialize, Serialize};

use self::files::Slot;

/// An upload's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadId(pub Uuid);

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What an upload promises to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSpec {
    /// The file's name, for what it tells of id, version and format.
    pub file_name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its BLAKE3 digest, if known.
    pub blake3: Option<Digest>,
    /// Its SHA-256, in hex, if known.
    pub sha256: Option<String>,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStatus {
    /// Which.
    pub id: UploadId,
    /// What it promises to be.
    pub spec: UploadSpec,
    /// How much of it is on disk for sure: where to go on.
    pub received_bytes: u64,
}

/// An upload that is all there and is what it promised to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// Where the file is. It stays until the upload is removed.
    pub path: PathBuf,
    /// What it promised to be.
    pub spec: UploadSpec,
    /// Its digest.
    pub digest: Digest,
}

/// What uploads may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// The largest file.
    pub file_bytes: u64,
    /// How many uploads may be open at once.
    pub open: usize,
    /// What must stay free on the disk, so that the server's own database can go on. Looked at when an
    /// upload begins, over what all open ones still expect, and again as its bytes come.
    pub reserve_bytes: u64,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            file_bytes: 32 * 1024 * 1024 * 1024,
            open: 256,
            reserve_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no such upload.
    #[error("there is no upload {id}; it was finished, or given up for its age; begin it again")]
    Unknown {
        /// Which.
        id: UploadId,
    },
    /// An upload of this id promises something else.
    #[error("the upload {id} exists already and is of another file; use a new id")]
    Conflict {
        /// Which.
        id: UploadId,
    },
    /// It is larger than a package may be.
    #[error("the file has {size_bytes} bytes; this server takes at most {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Too many uploads are open.
    #[error(
        "{limit} uploads are under way, which is as many as this server takes; try again later"
    )]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The piece does not begin where what is there ends.
    #[error("the upload {id} is at byte {right}, not {offset}; go on from {right}")]
    WrongOffset {
        /// Which.
        id: UploadId,
        /// What was given.
        offset: u64,
        /// Where to go on.
        right: u64,
    },
    /// More came than was promised.
    #[error("more than the promised {size_bytes} bytes came for the upload {id}")]
    TooLong {
        /// Which.
        id: UploadId,
        /// The promised size.
        size_bytes: u64,
    },
    /// Another connection has taken the upload over.
    #[error("the upload {id} was continued by another connection")]
    Superseded {
        /// Which.
        id: UploadId,
    },
    /// It is not all there.
    #[error("{received_bytes} of {size_bytes} bytes of the upload {id} have come; send the rest")]
    Incomplete {
        /// Which.
        id: UploadId,
        /// What is there.
        received_bytes: u64,
        /// The promised size.
        size_bytes: u64,
    },
    /// It is not what was promised; it was removed.
    #[error("the file arrived damaged: its digest is {actual}, not {expected}; send it again")]
    DigestMismatch {
        /// What was promised.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The disk is full, or would be.
    #[error(
        "no space is left for the upload in {}; free some, or give the server a larger disk",
        path.display()
    )]
    NoSpace {
        /// Where.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The server is going down.
    #[error("the server is going down; go on with the upload when it is back")]
    Stopped,
}

/// The uploads under way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Uploads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    limits: UploadLimits,
    /// How much all of them together still have to receive: room on the disk that is spoken for.
    awaited: Arc<AtomicU64>,
    /// One writer at a time: whoever appends last has the slot's generation.
    slots: Mutex<HashMap<UploadId, Arc<Mutex<Slot>>>>,
}

/// A piece of an upload as it comes in.
#[derive(Debug)]
pub struct Append {
    id: UploadId,
    slot: Arc<Mutex<Slot>>,
    generation: u64,
}

impl Uploads {
    /// The uploads in this folder, which is made when it is not there. Blocks.
    pub fn open(dir: &Path, limits: UploadLimits) -> Result<Self, UploadError> {
        let awaited = Arc::new(AtomicU64::new(0));
        let slots = files::open_dir(dir, &awaited, limits.reserve_bytes)?;
        Ok(Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                limits,
                awaited,
                slots: Mutex::new(slots),
            }),
        })
    }

    /// Begins an upload. The same again is answered with how far it is.
    pub async fn create(
        &self,
        id: UploadId,
        spec: UploadSpec,
    ) -> Result<UploadStatus, UploadError> {
        let shared = self.shared.clone();
        blocking(move || shared.create(id, spec)).await
    }

    /// How far an upload is; what is told is on disk for sure.
    pub async fn status(&self, id: UploadId) -> Result<UploadStatus, UploadError> {
        let slot = self.shared.slot(id)?;
        blocking(move || lock(&slot).status()).await
    }

    /// Begins a piece at this offset, which must be where the upload is. An older piece that is
    /// still coming is cut off: its connection is most likely gone.
    pub async fn append(&self, id: UploadId, offset: u64) -> Result<Append, UploadError> {
        let slot = self.shared.slot(id)?;
        let taken = slot.clone();
        let generation = blocking(move || lock(&taken).take_over(offset)).await?;
        Ok(Append {
            id,
            slot,
            generation,
        })
    }

    /// Verifies a complete upload. It stays on disk until it is removed, so this can be repeated
    /// after a crash.
    pub async fn finish(&self, id: UploadId) -> Result<FinishedUpload, UploadError> {
        let slot = self.shared.slot(id)?;
        let checked = slot.clone();
        match blocking(move || lock(&checked).finish()).await {
            Err(error @ UploadError::DigestMismatch { .. }) => {
                self.remove(id).await?;
                Err(error)
            }
            other => other,
        }
    }

    /// Removes an upload, finished or not. One that is gone already is no error.
    pub async fn remove(&self, id: UploadId) -> Result<(), UploadError> {
        let shared = self.shared.clone();
        blocking(move || shared.remove(id)).await
    }

    /// Removes uploads to which nothing came for so long; says how many.
    pub async fn expire(&self, idle: Duration) -> Result<usize, UploadError> {
        let shared = self.shared.clone();
        blocking(move || shared.expire(idle)).await
    }

    /// Every upload under way.
    pub async fn list(&self) -> Result<Vec<UploadStatus>, UploadError> {
        let shared = self.shared.clone();
        blocking(move || shared.list()).await
    }
}

impl Append {
    /// Writes a part of the piece.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        let (slot, generation) = (self.slot.clone(), self.generation);
        blocking(move || lock(&slot).write(generation, &bytes)).await
    }

    /// Ends the piece; says where the upload is now, which is on disk for sure. Without it nothing
    /// of what was written is lost either, but [`Uploads::status`] has to be asked where it is.
    pub async fn finish(self) -> Result<u64, UploadError> {
        let (slot, generation) = (self.slot.clone(), self.generation);
        blocking(move || lock(&slot).end(generation)).await
    }

    /// Which upload.
    pub fn id(&self) -> UploadId {
        self.id
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(UploadError::Stopped))
}
