//! The objects that were given out last: agents that fetch one package together have each of its objects
//! read from the store once, which is a request each where the store is a bucket.
//!
//! Objects never change, so nothing here can be out of date. Memory is bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::Digest;
use tokio::sync::OnceCell;

use super::objects::{ObjectError, Objects, WireObject};

/// What they take at most: agents that are as far apart as that in one package each have it read anew.
const HELD_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The objects by digest.
#[derive(Debug)]
pub(super) struct HotObjects {
    table: Mutex<Table>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    clock: u64,
    held_bytes: usize,
    slots: HashMap<Digest, Slot>,
    /// By when they were asked for last, of those that are held.
    order: BTreeMap<u64, Digest>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Its place in the order; none while it is being read.
    used: Option<u64>,
    /// Filled by whoever asks first; the others wait for the one read.
    object: Arc<OnceCell<WireObject>>,
}

impl Default for HotObjects {
    fn default() -> Self {
        Self::of(HELD_MAX_BYTES)
    }
}

impl HotObjects {
    fn of(max_bytes: usize) -> Self {
        Self {
            table: Mutex::default(),
            max_bytes,
        }
    }

    /// The object as it is stored, read if it is not at hand.
    pub(super) async fn get(
        &self,
        objects: &Objects,
        digest: &Digest,
    ) -> Result<WireObject, ObjectError> {
        let cell = self.cell(digest);
        let read = cell
            .get_or_try_init(|| async {
                let (objects, digest) = (objects.clone(), *digest);
                super::blocking(move || objects.wire(&digest)).await
            })
            .await
            .cloned();
        self.note(digest, &cell);
        read
    }

    fn cell(&self, digest: &Digest) -> Arc<OnceCell<WireObject>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.slots.entry(*digest).or_default().object.clone()
    }

    /// Puts it at the end of those that are given up, and gives up the first until the rest fit; one that
    /// could not be read is forgotten.
    fn note(&self, digest: &Digest, cell: &Arc<OnceCell<WireObject>>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table {
            clock,
            held_bytes,
            slots,
            order,
        } = &mut *table;
        let Some(slot) = slots
            .get_mut(digest)
            .filter(|slot| Arc::ptr_eq(&slot.object, cell))
        else {
            return;
        };
        let Some(object) = cell.get() else {
            // Nobody else waits for it, or they fill it and note it themselves.
            if Arc::strong_count(cell) <= 2 {
                slots.remove(digest);
            }
            return;
        };
        *clock += 1;
        match slot.used.replace(*clock) {
            Some(before) => {
                order.remove(&before);
            }
            None => *held_bytes += object.bytes.len(),
        }
        order.insert(*clock, *digest);
        while *held_bytes > self.max_bytes {
            let Some((_, oldest)) = order.pop_first() else {
                return;
            };
            if let Some(gone) = slots.remove(&oldest)
                && let Some(object) = gone.object.get()
            {
                *held_bytes -= object.bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::packages::objects::{Backend, Key, Memory, Stored};

    /// A store that counts how often each kind of work is done.
    #[derive(Debug, Default)]
    struct Counting {
        memory: Memory,
        gets: AtomicU64,
    }

    impl Backend for Counting {
        fn keep(&self, key: Key) -> Result<bool, ObjectError> {
            self.memory.keep(key)
        }

        fn put_all(&self, blobs: &[(Key, Vec<u8>)], kept: &[Key]) -> Result<(), ObjectError> {
            self.memory.put_all(blobs, kept)
        }

        fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
            self.gets.fetch_add(1, Ordering::SeqCst);
            self.memory.get(key)
        }

        fn list(
            &self,
            each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
        ) -> Result<(), ObjectError> {
            self.memory.list(each)
        }

        fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
            self.memory.remove(key, touched_before)
        }
    }

    fn a_store(count: u8, length: usize) -> (Arc<Counting>, Objects, Vec<Digest>) {
        let backend = Arc::new(Counting::default());
        let objects = Objects::new(backend.clone());
        let mut writer = objects.writer();
        let digests = (0..count)
            .map(|seed| {
                let bytes = crate::packages::ingest::tests::noise(u64::from(seed), length);
                writer.put(&bytes).unwrap()
            })
            .collect();
        writer.finish().unwrap();
        (backend, objects, digests)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn fifty_agents_have_each_object_read_once() {
        let (backend, objects, digests) = a_store(40, 10_000);
        let hot = Arc::new(HotObjects::default());
        let mut agents = tokio::task::JoinSet::new();
        for agent in 0..50 {
            let (hot, objects, mut digests) = (Arc::clone(&hot), objects.clone(), digests.clone());
            digests.rotate_left(agent % 7);
            agents.spawn(async move {
                for digest in digests {
                    let object = hot.get(&objects, &digest).await.unwrap();
                    assert_eq!(Digest::of(&object.bytes), digest, "noise is stored raw");
                }
            });
        }
        while let Some(done) = agents.join_next().await {
            done.unwrap();
        }
        assert_eq!(backend.gets.load(Ordering::SeqCst), 40);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_last_used_stay() {
        let (backend, objects, digests) = a_store(10, 10_000);
        let hot = HotObjects::of(35_000);
        for digest in &digests[..3] {
            hot.get(&objects, digest).await.unwrap();
        }
        hot.get(&objects, &digests[0]).await.unwrap();
        hot.get(&objects, &digests[3]).await.unwrap();
        assert_eq!(backend.gets.load(Ordering::SeqCst), 4);
        // The second was not asked for since; the first was.
        hot.get(&objects, &digests[0]).await.unwrap();
        assert_eq!(backend.gets.load(Ordering::SeqCst), 4);
        hot.get(&objects, &digests[1]).await.unwrap();
        assert_eq!(backend.gets.load(Ordering::SeqCst), 5);
        for digest in &digests {
            hot.get(&objects, digest).await.unwrap();
            let table = hot.table.lock().unwrap();
            assert!(table.held_bytes <= 35_000 && table.slots.len() <= 3);
            assert_eq!(table.slots.len(), table.order.len());
        }
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again() {
        let (_, objects, _) = a_store(0, 0);
        let hot = HotObjects::default();
        let digest = Digest::of(b"late");
        assert!(hot.get(&objects, &digest).await.is_err());
        assert_eq!(hot.table.lock().unwrap().slots.len(), 0);
        let mut writer = objects.writer();
        writer.put(b"late").unwrap();
        writer.finish().unwrap();
        assert_eq!(
            hot.get(&objects, &digest).await.unwrap().bytes,
            &b"late"[..]
        );
    }
}
