//! One push's way into the store: what is there is claimed, what is not is written in batches.

use std::collections::HashSet;
use std::fmt;

use mantle_shared::Digest;

use super::backend::{Key, ObjectError};
use super::envelope::Sealer;
use super::{Objects, PushLease};

/// A batch ends at so many objects or bytes: few syncs, and memory stays small.
const BATCH_OBJECTS: usize = 2048;
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How many digests are remembered so that a repeated object costs no look-up (32 MiB).
const SEEN_MAX: usize = 1 << 20;

/// What a push wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Objects that were not in the store before.
    pub new_objects: u64,
    /// What they take at rest.
    pub new_bytes: u64,
    /// Objects that were there.
    pub reused_objects: u64,
}

/// Writes objects. Nothing is sure to be stored before [`Self::flush`] has returned.
pub struct Writer {
    objects: Objects,
    lease: PushLease,
    sealer: Sealer,
    pending: Vec<(Key, Vec<u8>)>,
    pending_bytes: usize,
    kept: Vec<Key>,
    seen: HashSet<Key>,
    stats: WriteStats,
}

impl Writer {
    pub(super) fn new(objects: Objects, lease: PushLease) -> Self {
        Self {
            objects,
            lease,
            sealer: Sealer::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            kept: Vec::new(),
            seen: HashSet::new(),
            stats: WriteStats::default(),
        }
    }

    /// Stores an object; its digest names it.
    pub fn put(&mut self, plain: &[u8]) -> Result<Digest, ObjectError> {
        let digest = Digest::of(plain);
        self.put_as(Key::Object(digest), plain)?;
        Ok(digest)
    }

    /// Notes where an archive is: at this node. The node must have been put before, and is stored
    /// before or together with the note.
    pub fn put_archive(&mut self, archive: Digest, root: &Digest) -> Result<(), ObjectError> {
        self.flush()?;
        self.put_as(Key::Archive(archive), root.as_bytes())
    }

    fn put_as(&mut self, key: Key, plain: &[u8]) -> Result<(), ObjectError> {
        if self.seen.len() >= SEEN_MAX {
            // Those of the open batch must stay, or one could be in it twice; that is harmless.
            self.seen.clear();
        }
        if !self.seen.insert(key) {
            return Ok(());
        }
        if self.objects.keep(key)? {
            self.stats.reused_objects += 1;
            self.kept.push(key);
        } else {
            let sealed = self.sealer.seal(plain);
            self.stats.new_objects += 1;
            self.stats.new_bytes += sealed.len() as u64;
            self.pending_bytes += sealed.len();
            self.pending.push((key, sealed));
        }
        let objects = self.pending.len() + self.kept.len();
        if self.pending_bytes >= BATCH_BYTES || objects >= BATCH_OBJECTS {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything put so far durable.
    pub fn flush(&mut self) -> Result<(), ObjectError> {
        if self.pending.is_empty() && self.kept.is_empty() {
            return Ok(());
        }
        self.objects.backend.put_all(&self.pending, &self.kept)?;
        self.pending.clear();
        self.pending_bytes = 0;
        self.kept.clear();
        Ok(())
    }

    /// Makes everything durable; the lease guards it until something names it.
    pub fn finish(mut self) -> Result<(WriteStats, PushLease), ObjectError> {
        self.flush()?;
        Ok((self.stats, self.lease))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("pending", &self.pending.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
