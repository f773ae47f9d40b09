//! Where stored bytes live: a folder, a bucket, or memory.
//!
//! A backend is blocking; it is called from blocking threads only. Whatever it stores is complete
//! under its final name or not there at all, however it was interrupted.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use mantle_shared::Digest;

/// The name of something stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A chunk of a file or a folder's node, under the digest of its plain bytes.
    Object(Digest),
    /// Where an archive as it was pushed is: its digest leads to the node that lists its chunks.
    Archive(Digest),
}

impl Key {
    /// The digest in it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Object(digest) | Self::Archive(digest) => digest,
        }
    }

    /// Its place below the store's root: fanned out by the first byte, so that no folder of a
    /// store with a million objects has more than some thousands.
    pub fn path(&self) -> String {
        let hex = self.digest().to_string();
        let fan = hex.get(..2).unwrap_or_default();
        match self {
            Self::Object(_) => format!("{fan}/{hex}"),
            Self::Archive(_) => format!("archives/{fan}/{hex}"),
        }
    }

    /// Reads back [`Self::path`]; `None` for anything else that may lie in the store.
    pub fn from_path(path: &str) -> Option<Self> {
        let key = match path.strip_prefix("archives/") {
            Some(rest) => Self::Archive(rest.rsplit('/').next()?.parse().ok()?),
            None => Self::Object(path.rsplit('/').next()?.parse().ok()?),
        };
        (key.path() == path).then_some(key)
    }
}

/// What a listing says of one stored thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub key: Key,
    /// How many bytes it takes.
    pub size_bytes: u64,
    /// When it was last written or kept.
    pub touched: SystemTime,
}

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Nothing is stored under this name.
    #[error("the object {digest} is not in the package store")]
    Missing {
        /// The name.
        digest: Digest,
    },
    /// What is stored is not what was stored once.
    #[error(
        "the object {digest} in the package store is damaged: {what}; push its package again to repair it"
    )]
    Damaged {
        /// The name.
        digest: Digest,
        /// How that shows.
        what: &'static str,
    },
    /// The disk is full.
    #[error("no space is left for {}; free some, or give the server a larger disk", path.display())]
    NoSpace {
        /// What was to be written.
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
    /// The remote object store refused.
    #[error("the object store cannot {what} {path}")]
    Remote {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The work was given up by whoever asked for it, or the server is going down.
    #[error("the work on the package store was stopped before its end; try again")]
    Stopped,
}

impl ObjectError {
    /// An error of the file system, with a full disk told apart.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        if is_no_space(&source) {
            Self::NoSpace { path }
        } else {
            Self::Io { what, path, source }
        }
    }
}

/// Whether an error means that the disk, or the quota on it, is full.
pub(crate) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

/// A place for stored bytes.
pub trait Backend: Debug + Send + Sync {
    /// Whether something is stored under this name. If so it counts as touched now, at the latest
    /// when [`Self::put_all`] is given its name as kept, so that the collector spares it.
    fn keep(&self, key: Key) -> Result<bool, ObjectError>;

    /// The same of several at once, in their order: where each look takes a while, together.
    fn keep_all(&self, keys: &[Key]) -> Result<Vec<bool>, ObjectError> {
        keys.iter().map(|key| self.keep(*key)).collect()
    }

    /// Stores all of these, and makes the kept ones as durable. When it returns, they survive a
    /// power cut.
    fn put_all(&self, blobs: &[(Key, Vec<u8>)], kept: &[Key]) -> Result<(), ObjectError>;

    /// What is stored under this name.
    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError>;

    /// Tells of everything stored, in no order.
    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError>;

    /// Removes it unless it was touched at or after this time; says whether it went.
    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError>;
}
