//! A store in memory, for tests and fuzzing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::backend::{Backend, Key, ObjectError, Stored};

/// Everything in one map.
#[derive(Debug, Default)]
pub struct Memory {
    blobs: Mutex<BTreeMap<Key, (Bytes, SystemTime)>>,
}

impl Memory {
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Key, (Bytes, SystemTime)>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Memory {
    fn keep(&self, key: Key) -> Result<bool, ObjectError> {
        Ok(self
            .blobs()
            .get_mut(&key)
            .map(|(_, touched)| *touched = SystemTime::now())
            .is_some())
    }

    fn put_all(&self, blobs: &[(Key, Vec<u8>)], _kept: &[Key]) -> Result<(), ObjectError> {
        let mut map = self.blobs();
        for (key, bytes) in blobs {
            map.insert(*key, (Bytes::copy_from_slice(bytes), SystemTime::now()));
        }
        Ok(())
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
        Ok(self.blobs().get(&key).map(|(bytes, _)| bytes.clone()))
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        let all: Vec<Stored> = self
            .blobs()
            .iter()
            .map(|(key, (bytes, touched))| Stored {
                key: *key,
                size_bytes: bytes.len() as u64,
                touched: *touched,
            })
            .collect();
        all.into_iter().try_for_each(each)
    }

    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
        let mut map = self.blobs();
        let old = map
            .get(&key)
            .is_some_and(|(_, touched)| *touched < touched_before);
        if old {
            map.remove(&key);
        }
        Ok(old)
    }
}
