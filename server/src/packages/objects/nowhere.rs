//! A store that has everything and keeps nothing: to see whether an archive would be taken in.

use std::time::SystemTime;

use bytes::Bytes;

use super::backend::{Backend, Key, ObjectError, Stored};

/// Says of every object that it is there, so that nothing is sealed and written.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Backend for Nowhere {
    fn keep(&self, _key: Key) -> Result<bool, ObjectError> {
        Ok(true)
    }

    fn put_all(&self, _blobs: &[(Key, Vec<u8>)], _kept: &[Key]) -> Result<(), ObjectError> {
        Ok(())
    }

    fn get(&self, _key: Key) -> Result<Option<Bytes>, ObjectError> {
        Ok(None)
    }

    fn list(
        &self,
        _each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        Ok(())
    }

    fn remove(&self, _key: Key, _touched_before: SystemTime) -> Result<bool, ObjectError> {
        Ok(false)
    }
}
