//! Acquiring a package: walk the tree, reuse what is here, fetch what is lacking.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mantle_shared::manifest::MAX_DEPTH;
use mantle_shared::protocol::{AcquireFailure, AcquireResult, ObjectRefusal, PackageGrant};
use mantle_shared::{Digest, TaskId};
use tokio::sync::Semaphore;

use super::fetch::{FetchError, Fetcher, ObjectSource, Want};
use super::names::Host;
use super::objects::{Cache, CacheError};
use super::prune::MAX_CACHE_BYTES;
use super::reuse;
use super::space;
use super::walk::{Survey, WalkError};

/// Transfers at once over all acquisitions of this agent.
const MAX_TRANSFERS: usize = 2;
/// What stays free on the disk whatever is deployed: journal, spools and the system need room.
const KEEP_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// How often the cache is looked through for what may go.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Brings packages into the cache, for all orders of this agent.
#[derive(Debug)]
pub struct Acquirer {
    cache: Cache,
    apps: PathBuf,
    keep_free_bytes: u64,
    transfers: Semaphore,
    /// One at a time for each package, so that two orders share one copy.
    roots: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// When the cache was last looked through for what may go.
    pruned: Mutex<Option<Instant>>,
}

/// Why a package is not here.
#[derive(Debug, thiserror::Error)]
enum AcquireError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(
        "{needed} bytes are needed on the disk of {} ({lacking} to fetch, {unpacked} unpacked, {kept} kept free), {free} are free; make room and deploy again",
        .place.display()
    )]
    NoSpace {
        needed: u64,
        lacking: u64,
        unpacked: u64,
        kept: u64,
        free: u64,
        place: PathBuf,
    },
    #[error("its files have {is} bytes, the server granted {granted}")]
    OtherSize { is: u64, granted: u64 },
    #[error("the agent stops")]
    Stopped,
}

/// What a walk found.
struct Walked {
    chunks: HashMap<Digest, u32>,
    size_bytes: u64,
}

impl Acquirer {
    /// For this cache; installed versions below `apps` are reused.
    pub fn new(cache: Cache, apps: PathBuf) -> Self {
        let keep_free_bytes = std::env::var("TENTACLE_KEEP_FREE_BYTES")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(KEEP_FREE_BYTES);
        Self {
            cache,
            apps,
            keep_free_bytes,
            transfers: Semaphore::new(MAX_TRANSFERS),
            roots: Mutex::default(),
            pruned: Mutex::new(None),
        }
    }

    /// Keeps this much free whatever is deployed.
    pub fn keep_free(mut self, bytes: u64) -> Self {
        self.keep_free_bytes = bytes;
        self
    }

    /// The cache that it fills.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Brings all packages in. Repeating it is harmless; what came before is not sent again.
    pub async fn acquire<S: ObjectSource>(
        &self,
        source: &S,
        task: TaskId,
        packages: &[PackageGrant],
        progress: impl Fn(u64, u64) + Sync,
    ) -> AcquireResult {
        let total = packages
            .iter()
            .fold(0_u64, |sum, package| sum.saturating_add(package.size_bytes));
        let meter = Meter::new(total, progress);
        let fetched = AtomicU64::new(0);
        let reused = AtomicU64::new(0);
        for package in packages {
            let lock = self.lock_of(package.root);
            let guard = lock.lock().await;
            let one = Order {
                source,
                task,
                package,
                meter: &meter,
                fetched: &fetched,
                reused: &reused,
            };
            let result = self.one(&one).await;
            drop(guard);
            self.forget_lock(package.root, &lock);
            if let Err(error) = result {
                tracing::warn!(package = %package.id, version = %package.version, %error, "a package could not be acquired");
                return failed(package, &error);
            }
        }
        self.prune().await;
        AcquireResult::Acquired {
            fetched_bytes: fetched.into_inner(),
            reused_bytes: reused.into_inner(),
        }
    }

    async fn one<S: ObjectSource, P: Fn(u64, u64) + Sync>(
        &self,
        order: &Order<'_, S, P>,
    ) -> Result<(), AcquireError> {
        let fetcher = Fetcher {
            cache: &self.cache,
            source: order.source,
            task: order.task,
            root: order.package.root,
            transfers: &self.transfers,
            fetched: order.fetched,
        };
        let walked = self.walk(&fetcher).await?;
        let granted = order.package.size_bytes;
        if walked.size_bytes != granted {
            return Err(AcquireError::OtherSize {
                is: walked.size_bytes,
                granted,
            });
        }
        let all: u64 = walked
            .chunks
            .values()
            .map(|length| u64::from(*length))
            .sum();
        let lacking = self
            .lacking(order.package.root, granted, walked.chunks)
            .await?;
        let due: u64 = lacking.values().map(|length| u64::from(*length)).sum();
        order.reused.fetch_add(all - due, Ordering::Relaxed);
        // Chunks that repeat within the package count once; the meter speaks of the whole.
        order.meter.add(granted.saturating_sub(due));
        let wants = lacking
            .into_iter()
            .map(|(digest, length)| Want {
                digest,
                size_bytes: Some(u64::from(length)),
            })
            .collect();
        fetcher
            .fetch_all(wants, &|bytes| order.meter.add(bytes))
            .await?;
        Ok(())
    }

    /// Follows the manifest level by level, fetching the folders that are not here.
    async fn walk<S: ObjectSource>(
        &self,
        fetcher: &Fetcher<'_, S>,
    ) -> Result<Walked, AcquireError> {
        let mut survey = Survey::new(Host::current());
        let mut level = vec![fetcher.root];
        let mut size_bytes = 0;
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth > MAX_DEPTH {
                return Err(
                    WalkError::Unsound(format!("it has folders over {MAX_DEPTH} deep")).into(),
                );
            }
            let cache = self.cache.clone();
            let asked = level.clone();
            let absent = blocking(move || {
                let mut absent = Vec::new();
                for digest in asked {
                    if !cache.verified(digest)? {
                        absent.push(Want {
                            digest,
                            size_bytes: None,
                        });
                    }
                }
                Ok(absent)
            })
            .await?;
            fetcher.fetch_all(absent, &|_| ()).await?;
            let cache = self.cache.clone();
            let (next_survey, next, size) = blocking(move || {
                let mut next = Vec::new();
                let mut size = 0;
                for digest in level {
                    let tree = cache.tree(digest)?;
                    size = tree.size_bytes();
                    next.extend(survey.take(digest, &tree)?);
                }
                Ok((survey, next, size))
            })
            .await?;
            (survey, level) = (next_survey, next);
            if depth == 0 {
                size_bytes = size;
            }
        }
        Ok(Walked {
            chunks: survey.chunks,
            size_bytes,
        })
    }

    /// Which chunks are not here, once installed versions were looked through. Refuses if the disk
    /// has no room for them and for what the package unpacks to.
    async fn lacking(
        &self,
        root: Digest,
        unpacked: u64,
        chunks: HashMap<Digest, u32>,
    ) -> Result<HashMap<Digest, u32>, AcquireError> {
        let (cache, apps, kept) = (self.cache.clone(), self.apps.clone(), self.keep_free_bytes);
        blocking(move || {
            let mut lacking = HashMap::new();
            for (digest, length) in chunks {
                if !cache.verified(digest)? {
                    lacking.insert(digest, length);
                }
            }
            let installed = reuse::installed(&apps);
            let is_installed = installed.iter().any(|version| version.record.root == root);
            let due: u64 = lacking.values().map(|length| u64::from(*length)).sum();
            let to_unpack = if is_installed { 0 } else { unpacked };
            if due > 0 || to_unpack > 0 {
                for place in [cache.root(), &apps] {
                    let free = space::free_bytes(place);
                    let needed = due.saturating_add(to_unpack).saturating_add(kept);
                    if free < needed {
                        return Err(AcquireError::NoSpace {
                            needed,
                            lacking: due,
                            unpacked: to_unpack,
                            kept,
                            free,
                            place: place.to_owned(),
                        });
                    }
                }
            }
            reuse::take_from_installed(&cache, &installed, &mut lacking);
            Ok(lacking)
        })
        .await
    }

    /// Lets the oldest objects go, now and then. A cache that cannot be pruned still works.
    async fn prune(&self) {
        {
            let mut pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
            if pruned.is_some_and(|at| at.elapsed() < PRUNE_INTERVAL) {
                return;
            }
            *pruned = Some(Instant::now());
        }
        let cache = self.cache.clone();
        let done = blocking(move || Ok(cache.prune(MAX_CACHE_BYTES, SystemTime::now())?)).await;
        match done {
            Ok(0) => {}
            Ok(freed_bytes) => tracing::info!(freed_bytes, "old objects left the cache"),
            Err(error) => tracing::warn!(%error, "the cache could not be pruned"),
        }
    }

    fn lock_of(&self, root: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(roots.entry(root).or_default())
    }

    fn forget_lock(&self, root: Digest, lock: &Arc<tokio::sync::Mutex<()>>) {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        // The table's and this one: nobody else waits.
        if Arc::strong_count(lock) <= 2 {
            roots.remove(&root);
        }
    }
}

/// One package of one order.
struct Order<'a, S, P> {
    source: &'a S,
    task: TaskId,
    package: &'a PackageGrant,
    meter: &'a Meter<P>,
    fetched: &'a AtomicU64,
    reused: &'a AtomicU64,
}

/// Tells progress, not too often.
struct Meter<P> {
    total: u64,
    done: AtomicU64,
    told: Mutex<Option<Instant>>,
    tell: P,
}

impl<P: Fn(u64, u64)> Meter<P> {
    fn new(total: u64, tell: P) -> Self {
        Self {
            total,
            done: AtomicU64::new(0),
            told: Mutex::new(None),
            tell,
        }
    }

    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL) {
            *told = Some(Instant::now());
            drop(told);
            (self.tell)(done.min(self.total), self.total);
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AcquireError> + Send + 'static,
) -> Result<T, AcquireError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| AcquireError::Stopped)?
}

fn failed(package: &PackageGrant, error: &AcquireError) -> AcquireResult {
    let mut message = format!("package {} {}: {error}", package.id, package.version);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    AcquireResult::Failed {
        reason: error.reason(),
        message,
    }
}

impl AcquireError {
    fn reason(&self) -> AcquireFailure {
        match self {
            Self::Fetch(error) => match error {
                FetchError::Network(_) | FetchError::Busy => AcquireFailure::Network,
                FetchError::Refused {
                    reason: ObjectRefusal::NotGranted | ObjectRefusal::Missing | ObjectRefusal::Busy,
                    ..
                } => AcquireFailure::Refused,
                FetchError::Corrupt { .. } | FetchError::Oversized { .. } => {
                    AcquireFailure::Corrupt
                }
                FetchError::Cache(error) => cache_reason(error),
            },
            Self::Walk(WalkError::Platform(_)) => AcquireFailure::Platform,
            Self::Walk(WalkError::Unsound(_)) | Self::OtherSize { .. } => AcquireFailure::Corrupt,
            Self::Walk(WalkError::Cache(error)) | Self::Cache(error) => cache_reason(error),
            Self::NoSpace { .. } => AcquireFailure::NoSpace,
            Self::Stopped => AcquireFailure::Draining,
        }
    }
}

fn cache_reason(error: &CacheError) -> AcquireFailure {
    match error {
        CacheError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            AcquireFailure::NoSpace
        }
        CacheError::Disk { .. } | CacheError::Missing { .. } => AcquireFailure::Disk,
        CacheError::Corrupt { .. } | CacheError::Manifest { .. } => AcquireFailure::Corrupt,
    }
}
