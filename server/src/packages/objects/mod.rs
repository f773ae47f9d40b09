//! The object store: immutable bytes, each under the BLAKE3 digest of its plain form.
//!
//! It holds the chunks of files, the nodes of manifests and, by the same means, the archives as
//! they were pushed. What it gives back was verified; what it holds it holds whole or not at all.

mod backend;
mod envelope;
#[cfg(test)]
pub(crate) mod faults;
mod lease;
mod local;
mod memory;
mod nowhere;
mod remote;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mantle_shared::Digest;
use mantle_shared::manifest::{MAX_NODE_BYTES, Tree};
use mantle_shared::protocol::Encoding;

pub(crate) use backend::is_no_space;
pub use backend::{Backend, Key, ObjectError, Stored};
use lease::Leases;
pub use lease::PushLease;
pub use local::Local;
pub(crate) use local::{make_dir, private, sync_dir};
pub use memory::Memory;
pub use remote::Remote;
pub use writer::{WriteStats, Writer};

/// The largest object: a folder's node. Chunks are far smaller.
pub const MAX_OBJECT_BYTES: usize = MAX_NODE_BYTES;

/// The store. Cheap to clone; its methods block, so call them from blocking threads.
#[derive(Debug, Clone)]
pub struct Objects {
    backend: Arc<dyn Backend>,
    leases: Leases,
    /// Held shared while a push claims objects that are there and writes those that are not, alone while
    /// the collector looks at one and removes it: so no object goes between being found and being marked
    /// as touched, and none that is written over at that moment.
    gate: Arc<RwLock<()>>,
}

/// An object as it is stored, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireObject {
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// The object's size once decoded.
    pub size_bytes: u64,
    /// Its bytes in that encoding.
    pub bytes: Bytes,
}

impl Objects {
    /// A store behind this backend.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            leases: Leases::default(),
            gate: Arc::default(),
        }
    }

    /// The store in this folder, which is made when it is not there.
    pub fn local(root: &Path) -> Result<Self, ObjectError> {
        Ok(Self::new(Arc::new(Local::open(root)?)))
    }

    /// A store in memory.
    pub fn memory() -> Self {
        Self::new(Arc::new(Memory::default()))
    }

    /// A store that keeps nothing: what is pushed into it is only checked.
    pub fn nowhere() -> Self {
        Self::new(Arc::new(nowhere::Nowhere))
    }

    /// Begins a push.
    pub fn writer(&self) -> Writer {
        Writer::new(self.clone(), self.leases.begin())
    }

    /// An object's plain bytes, verified.
    pub fn get(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        let damaged = |what| ObjectError::Damaged {
            digest: *digest,
            what,
        };
        let plain = self
            .open(Key::Object(*digest))?
            .decode(MAX_OBJECT_BYTES)
            .map_err(damaged)?;
        if Digest::of(&plain) == *digest {
            Ok(plain)
        } else {
            Err(damaged("its digest does not match"))
        }
    }

    /// An object as it is stored, checked for rot but neither decoded nor hashed: whoever receives
    /// it does that.
    pub fn wire(&self, digest: &Digest) -> Result<WireObject, ObjectError> {
        let envelope = self.open(Key::Object(*digest))?;
        Ok(WireObject {
            encoding: envelope.encoding,
            size_bytes: envelope.size_bytes,
            bytes: envelope.body,
        })
    }

    /// A folder's node, verified and decoded.
    pub fn tree(&self, digest: &Digest) -> Result<Tree, ObjectError> {
        Tree::decode(&self.get(digest)?).map_err(|_| ObjectError::Damaged {
            digest: *digest,
            what: "it is not a folder's node",
        })
    }

    /// The node that lists an archive's chunks: one file, whose digest is the archive's.
    pub fn archive_root(&self, archive: &Digest) -> Result<Digest, ObjectError> {
        let damaged = |what| ObjectError::Damaged {
            digest: *archive,
            what,
        };
        let pointer = self
            .open(Key::Archive(*archive))?
            .decode(MAX_OBJECT_BYTES)
            .map_err(damaged)?;
        Digest::from_slice(&pointer).ok_or_else(|| damaged("it does not lead to an object"))
    }

    /// Tells of everything stored, in no order.
    pub fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        self.backend.list(each)
    }

    /// What was last touched before this may be removed, if nothing names it.
    pub(crate) fn cutoff(&self, now: SystemTime, grace: Duration) -> SystemTime {
        self.leases.cutoff(now, grace)
    }

    /// Removes what nothing names, unless a push has claimed it since; says whether it went.
    pub(crate) fn remove(
        &self,
        key: Key,
        now: SystemTime,
        grace: Duration,
    ) -> Result<bool, ObjectError> {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.backend.remove(key, self.cutoff(now, grace))
    }

    fn open(&self, key: Key) -> Result<envelope::Envelope, ObjectError> {
        let digest = *key.digest();
        let stored = self
            .backend
            .get(key)?
            .ok_or(ObjectError::Missing { digest })?;
        envelope::open(&stored).map_err(|what| ObjectError::Damaged { digest, what })
    }
}
