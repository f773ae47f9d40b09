//! The store in a bucket, through `object_store`.
//!
//! A put is atomic there and durable when it is answered. A listing tells when an object was put;
//! to keep one is to put it again, once it is old enough for the collector to look at it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;

use super::backend::{Backend, Key, ObjectError, Stored};
use super::lease::TOUCH_AFTER;

/// How many requests of a batch are under way at once: enough to hide a bucket's latency.
const AT_ONCE: usize = 16;
/// The longest that one request may take, with the retries of the store's own client.
const DEADLINE: Duration = Duration::from_mins(3);

/// A bucket of blobs.
#[derive(Debug)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
}

impl Remote {
    /// The store behind this client, whose requests run on this runtime.
    pub fn new(store: Arc<dyn ObjectStore>, runtime: Handle) -> Self {
        Self { store, runtime }
    }

    fn run<T>(
        &self,
        what: &'static str,
        key: Key,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        self.runtime.block_on(bounded(what, key, request))
    }

    async fn looked_at(&self, key: Key) -> Result<bool, ObjectError> {
        let location = path(key);
        let head = bounded("look up", key, async {
            absent(self.store.head(&location).await)
        });
        let Some(meta) = head.await? else {
            return Ok(false);
        };
        let touched = SystemTime::from(meta.last_modified);
        // Whoever is told "not there" puts it again, and that makes it young.
        Ok(touched.elapsed().is_ok_and(|age| age < TOUCH_AFTER))
    }

    fn head(&self, key: Key) -> Result<Option<ObjectMeta>, ObjectError> {
        let path = path(key);
        self.run("look up", key, async {
            absent(self.store.head(&path).await)
        })
    }
}

async fn bounded<T>(
    what: &'static str,
    key: Key,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, ObjectError> {
    let fail = |source| ObjectError::Remote {
        what,
        path: key.path(),
        source,
    };
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|e| fail(Box::new(e))),
        Err(late) => Err(fail(Box::new(late))),
    }
}

fn path(key: Key) -> Path {
    Path::from(key.path())
}

fn absent<T>(answer: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Backend for Remote {
    fn keep(&self, key: Key) -> Result<bool, ObjectError> {
        self.runtime.block_on(self.looked_at(key))
    }

    fn keep_all(&self, keys: &[Key]) -> Result<Vec<bool>, ObjectError> {
        self.runtime.block_on(async {
            futures_util::stream::iter(keys)
                .map(|key| self.looked_at(*key))
                .buffered(AT_ONCE)
                .try_collect()
                .await
        })
    }

    fn put_all(&self, blobs: &[(Key, Vec<u8>)], _kept: &[Key]) -> Result<(), ObjectError> {
        self.runtime.block_on(async {
            futures_util::stream::iter(blobs)
                .map(|(key, bytes)| async {
                    let location = path(*key);
                    let put = self
                        .store
                        .put(&location, Bytes::copy_from_slice(bytes).into());
                    bounded("store", *key, put).await.map(|_| ())
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await
        })
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
        let location = path(key);
        self.run("read", key, async {
            match absent(self.store.get(&location).await)? {
                Some(found) => found.bytes().await.map(Some),
                None => Ok(None),
            }
        })
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        let fail = |source| ObjectError::Remote {
            what: "list",
            path: String::new(),
            source,
        };
        let mut listing = self.store.list(None);
        loop {
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(DEADLINE, listing.try_next()).await });
            let meta = match next {
                Ok(Ok(Some(meta))) => meta,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(fail(Box::new(error))),
                Err(late) => return Err(fail(Box::new(late))),
            };
            if let Some(key) = Key::from_path(meta.location.as_ref()) {
                each(Stored {
                    key,
                    size_bytes: meta.size,
                    touched: meta.last_modified.into(),
                })?;
            }
        }
    }

    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
        match self.head(key)? {
            Some(meta) if SystemTime::from(meta.last_modified) < touched_before => {
                let location = path(key);
                self.run("remove", key, self.store.delete(&location))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
