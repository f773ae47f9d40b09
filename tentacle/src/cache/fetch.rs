//! Bringing lacking objects in: in batches, verified on arrival, resumable.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mantle_shared::protocol::{FetchObjects, MAX_OBJECTS_A_REQUEST, ObjectRefusal, ObjectRequest};
use mantle_shared::{Digest, TaskId};
use tokio::sync::Semaphore;

use super::MAX_OBJECT_BYTES;
use super::objects::{Cache, CacheError};

/// Objects of one request: a round trip is worth it, and a broken one loses little.
const BATCH_OBJECTS: usize = if MAX_OBJECTS_A_REQUEST < 256 {
    MAX_OBJECTS_A_REQUEST
} else {
    256
};
/// Bytes of one request, likewise.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// The wait after a busy server's answer.
const BUSY_WAIT: Duration = Duration::from_millis(500);
/// How often a busy server is asked again; with the wait, a minute.
const BUSY_TRIES: u32 = 120;
/// How often damaged bytes are fetched: once more.
const CORRUPT_TRIES: u8 = 2;

/// What to do about a refusal.
fn why(reason: ObjectRefusal) -> &'static str {
    match reason {
        ObjectRefusal::Missing => {
            ", which it has lost; push the package's file again with 'mantle package push': that puts back what is lost"
        }
        ObjectRefusal::NotGranted => ", which is not of this task",
        ObjectRefusal::Busy => ": it has been busy all the time",
    }
}

/// Why objects did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The connection broke or stalled.
    #[error("{0}")]
    Network(String),
    /// The server will not send an object.
    #[error("the server does not send object {}{}", .digest.short(), why(*.reason))]
    Refused {
        /// Which one.
        digest: Digest,
        /// Why.
        reason: ObjectRefusal,
    },
    /// The server moves as much as it may.
    #[error("the server is busy with other transfers")]
    Busy,
    /// What came does not have the digest it was asked by, twice.
    #[error("object {} came damaged twice", .digest.short())]
    Corrupt {
        /// Which one.
        digest: Digest,
    },
    /// The server announced more than the object can have.
    #[error("the server announced {announced} bytes for object {}, which cannot be", .digest.short())]
    Oversized {
        /// Which one.
        digest: Digest,
        /// What it said.
        announced: u64,
    },
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Where objects come from.
pub trait ObjectSource: Send + Sync {
    /// Asks for objects and feeds each, in the order asked, into the sink.
    fn fetch<S: ObjectSink>(
        &self,
        request: FetchObjects,
        sink: &mut S,
    ) -> impl Future<Output = Result<(), FetchError>> + Send;
}

/// Where an object's wire form goes.
pub trait ObjectSink: Send {
    /// An object follows: so many bytes of its wire form, so many once decoded.
    fn begin(
        &mut self,
        digest: Digest,
        zstd: bool,
        wire_bytes: u64,
        size_bytes: u64,
    ) -> Result<(), FetchError>;
    /// The next bytes of its wire form.
    fn data(&mut self, bytes: &[u8]) -> Result<(), FetchError>;
    /// All of it came.
    fn end(&mut self) -> impl Future<Output = Result<(), FetchError>> + Send;
}

/// An object that is lacking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) digest: Digest,
    /// Its size, where the manifest says it; a folder's is not known beforehand.
    pub(super) size_bytes: Option<u64>,
}

/// What one acquisition fetches under.
pub(super) struct Fetcher<'a, S> {
    pub(super) cache: &'a Cache,
    pub(super) source: &'a S,
    pub(super) task: TaskId,
    pub(super) root: Digest,
    /// Transfers at once, over all acquisitions.
    pub(super) transfers: &'a Semaphore,
    /// Bytes that travelled.
    pub(super) fetched: &'a AtomicU64,
}

impl<S: ObjectSource> Fetcher<'_, S> {
    /// Brings all of them in. `arrived` is told the size of each as it comes.
    pub(super) async fn fetch_all(
        &self,
        wants: Vec<Want>,
        arrived: &(impl Fn(u64) + Sync),
    ) -> Result<(), FetchError> {
        let queue = Mutex::new(VecDeque::from(wants));
        let tries = Mutex::new(HashMap::new());
        // Two at once keep the line busy while one waits for an answer.
        tokio::try_join!(
            self.work(&queue, &tries, arrived),
            self.work(&queue, &tries, arrived)
        )?;
        Ok(())
    }

    async fn work(
        &self,
        queue: &Mutex<VecDeque<Want>>,
        tries: &Mutex<HashMap<Digest, u8>>,
        arrived: &(impl Fn(u64) + Sync),
    ) -> Result<(), FetchError> {
        let mut busy = 0;
        loop {
            let batch = next_batch(&mut lock(queue));
            if batch.is_empty() {
                return Ok(());
            }
            let permit = self.transfers.acquire().await;
            let mut sink = BatchSink::new(self, &batch, arrived);
            let fetched = self.source.fetch(sink.request(), &mut sink).await;
            let (done, corrupt) = sink.outcome();
            drop(sink);
            drop(permit);
            let mut again: Vec<_> = batch
                .iter()
                .filter(|want| !done.contains(&want.digest))
                .copied()
                .collect();
            for digest in corrupt {
                let mut tries = lock(tries);
                let count: &mut u8 = tries.entry(digest).or_default();
                *count += 1;
                if *count >= CORRUPT_TRIES {
                    return Err(FetchError::Corrupt { digest });
                }
            }
            match fetched {
                Ok(()) => busy = 0,
                Err(FetchError::Busy) if busy < BUSY_TRIES => {
                    busy += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Err(error) => return Err(error),
            }
            lock(queue).extend(again.drain(..));
        }
    }
}

fn next_batch(queue: &mut VecDeque<Want>) -> Vec<Want> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(want) = queue.front() {
        bytes += want.size_bytes.unwrap_or(1024);
        if batch.len() >= BATCH_OBJECTS || (bytes > BATCH_BYTES && !batch.is_empty()) {
            break;
        }
        batch.extend(queue.pop_front());
    }
    batch
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An object that is coming in.
struct Current {
    digest: Digest,
    zstd: bool,
    size_bytes: u64,
    /// Its wire form so far, with what an earlier transfer left.
    wire: Vec<u8>,
}

/// Takes one batch. What is unfinished when it is dropped is kept for the next try.
struct BatchSink<'a, F> {
    cache: &'a Cache,
    task: TaskId,
    root: Digest,
    fetched: &'a AtomicU64,
    arrived: &'a F,
    wants: HashMap<Digest, Option<u64>>,
    order: Vec<Digest>,
    partials: HashMap<Digest, Vec<u8>>,
    current: Option<Current>,
    done: Vec<Digest>,
    corrupt: Vec<Digest>,
}

impl<'a, F: Fn(u64) + Sync> BatchSink<'a, F> {
    fn new<S>(fetcher: &Fetcher<'a, S>, batch: &[Want], arrived: &'a F) -> Self {
        let partials = batch
            .iter()
            .map(|want| (want.digest, fetcher.cache.partial(want.digest)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .collect();
        Self {
            cache: fetcher.cache,
            task: fetcher.task,
            root: fetcher.root,
            fetched: fetcher.fetched,
            arrived,
            wants: batch.iter().map(|w| (w.digest, w.size_bytes)).collect(),
            order: batch.iter().map(|w| w.digest).collect(),
            partials,
            current: None,
            done: Vec::new(),
            corrupt: Vec::new(),
        }
    }

    fn request(&self) -> FetchObjects {
        let offset = |digest| {
            self.partials
                .get(digest)
                .map_or(0, |bytes| bytes.len() as u64)
        };
        FetchObjects {
            task: self.task,
            root: self.root,
            objects: self
                .order
                .iter()
                .map(|digest| ObjectRequest {
                    digest: *digest,
                    offset: offset(digest),
                })
                .collect(),
        }
    }

    fn outcome(&mut self) -> (Vec<Digest>, Vec<Digest>) {
        (
            std::mem::take(&mut self.done),
            std::mem::take(&mut self.corrupt),
        )
    }
}

impl<F: Fn(u64) + Sync> ObjectSink for BatchSink<'_, F> {
    fn begin(
        &mut self,
        digest: Digest,
        zstd: bool,
        wire_bytes: u64,
        size_bytes: u64,
    ) -> Result<(), FetchError> {
        let mut wire = self.partials.remove(&digest).unwrap_or_default();
        let due = self.wants.get(&digest).copied().flatten();
        let total = wire_bytes.saturating_add(wire.len() as u64);
        // zstd may grow what cannot be compressed by a little.
        let fits = size_bytes <= MAX_OBJECT_BYTES
            && due.is_none_or(|due| due == size_bytes)
            && total <= size_bytes + size_bytes / 128 + 1024
            && (zstd || total == size_bytes);
        if !fits {
            self.cache.drop_partial(digest);
            return Err(FetchError::Oversized {
                digest,
                announced: wire_bytes.max(size_bytes),
            });
        }
        // Once and exactly: a buffer that grows leaves holes in the heap, which an idle agent keeps.
        wire.reserve_exact(usize::try_from(wire_bytes).unwrap_or_default());
        self.current = Some(Current {
            digest,
            zstd,
            size_bytes,
            wire,
        });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.fetched
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(current) = &mut self.current {
            current.wire.extend_from_slice(bytes);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), FetchError> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let (digest, size_bytes) = (current.digest, current.size_bytes);
        let cache = self.cache.clone();
        let kept = tokio::task::spawn_blocking(move || keep(&cache, current)).await;
        let whole = kept.map_err(|_| FetchError::Network("the agent stops".to_owned()))??;
        if whole {
            (self.arrived)(size_bytes);
            self.done.push(digest);
        } else {
            self.corrupt.push(digest);
        }
        Ok(())
    }
}

impl<F> Drop for BatchSink<'_, F> {
    fn drop(&mut self) {
        if let Some(current) = self.current.take() {
            self.cache.keep_partial(current.digest, &current.wire);
        }
    }
}

/// Decodes, verifies and keeps; `false` if the bytes are not what they should be.
fn keep(cache: &Cache, current: Current) -> Result<bool, CacheError> {
    cache.drop_partial(current.digest);
    let Ok(capacity) = usize::try_from(current.size_bytes) else {
        return Ok(false);
    };
    let bytes = if current.zstd {
        match zstd::bulk::decompress(&current.wire, capacity) {
            Ok(bytes) => bytes,
            Err(_damaged) => return Ok(false),
        }
    } else {
        current.wire
    };
    if bytes.len() != capacity || Digest::of(&bytes) != current.digest {
        return Ok(false);
    }
    cache.put(current.digest, &bytes)?;
    Ok(true)
}
