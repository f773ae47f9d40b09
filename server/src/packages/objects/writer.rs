//! One push's way into the store: what is there is claimed, what is not is written in batches.

use std::collections::HashSet;
use std::fmt;
use std::sync::PoisonError;

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
    /// Plain, in the order in which they came: what names others comes after those.
    pending: Vec<(Key, Vec<u8>)>,
    pending_bytes: usize,
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
        self.pending_bytes += plain.len();
        self.pending.push((key, plain.to_vec()));
        if self.pending_bytes >= BATCH_BYTES || self.pending.len() >= BATCH_OBJECTS {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything put so far durable.
    pub fn flush(&mut self) -> Result<(), ObjectError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let gate = &self.objects.gate;
        let _shared = gate.read().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Key> = self.pending.iter().map(|(key, _)| *key).collect();
        let there = self.objects.backend.keep_all(&keys)?;
        let mut stats = self.stats;
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        for ((key, plain), there) in self.pending.iter().zip(there) {
            if there {
                stats.reused_objects += 1;
                kept.push(*key);
            } else {
                let sealed = self.sealer.seal(plain);
                stats.new_objects += 1;
                stats.new_bytes += sealed.len() as u64;
                new.push((*key, sealed));
            }
        }
        self.objects.backend.put_all(&new, &kept)?;
        self.stats = stats;
        self.pending.clear();
        self.pending_bytes = 0;
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
