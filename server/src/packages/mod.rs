//! The package repository: what was pushed, taken apart by content, and given out by digest.
//!
//! It knows bytes and digests only. Which package and version they are, who may have them and
//! which releases pin them, is written in rows elsewhere and handed in. What must hold:
//! - nothing is visible under a digest that is not whole and durable;
//! - the same content gives the same root, whatever archive it came in;
//! - an archive cannot escape, collide, hide or explode (`ingest`);
//! - what a row names is never collected (`gc`).

pub mod compare;
pub mod create;
pub mod gc;
mod hot;
pub mod ingest;
pub mod name;
pub mod objects;
pub mod read;
#[cfg(test)]
mod tests;
pub mod transfer;
pub mod upload;
pub mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use mantle_shared::Digest;

use self::gc::{GcOptions, GcReport, Live};
use self::hot::HotObjects;
use self::ingest::{Format, IngestError, IngestOptions, Ingested};
use self::objects::{ObjectError, Objects, PushLease, WireObject};
use self::read::Archive;
use self::transfer::{Reach, ReachCache};
use self::upload::{UploadError, UploadLimits, Uploads};
use self::verify::{Enough, Problem, VerifyReport};

/// The repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PackageRepository {
    objects: Objects,
    uploads: Uploads,
    reach: Arc<ReachCache>,
    hot: Arc<HotObjects>,
}

/// Why the repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The object store.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The uploads.
    #[error(transparent)]
    Uploads(#[from] UploadError),
}

impl PackageRepository {
    /// Opens the repository below this folder (`objects/` and `uploads/`), or makes it. Blocks for
    /// a moment.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let objects = Objects::local(&data_dir.join("objects"))?;
        let uploads = Uploads::open(&data_dir.join("uploads"), UploadLimits::default())?;
        Ok(Self::new(objects, uploads))
    }

    /// A repository over this store and these uploads.
    pub fn new(objects: Objects, uploads: Uploads) -> Self {
        Self {
            objects,
            uploads,
            reach: Arc::default(),
            hot: Arc::default(),
        }
    }

    /// The uploads under way.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// The object store, for what blocks on purpose.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Takes in an archive. When this returns all of it is durable; keep the lease in the answer
    /// until a row names the package. Dropping the future stops the work.
    pub async fn ingest(
        &self,
        file: &Path,
        format: Option<Format>,
        options: IngestOptions,
    ) -> Result<Ingested, IngestError> {
        let stop = StopOnDrop(options.stop.clone());
        let (objects, file): (Objects, PathBuf) = (self.objects.clone(), file.to_owned());
        let work =
            tokio::task::spawn_blocking(move || ingest::ingest(&objects, &file, format, &options));
        let answer = work.await;
        drop(stop);
        answer.unwrap_or(Err(IngestError::Store(ObjectError::Stopped)))
    }

    /// Takes in an archive that is in the repository already once more: what of its content is lost or
    /// damaged is there again then. Of an archive that is damaged itself as much as can be read.
    pub async fn ingest_again(
        &self,
        archive: &Digest,
        format: Format,
        options: IngestOptions,
    ) -> Result<Ingested, IngestError> {
        let stop = StopOnDrop(options.stop.clone());
        let (objects, archive) = (self.objects.clone(), *archive);
        let work = tokio::task::spawn_blocking(move || {
            let source = Archive::open(&objects, &archive)?.into_reader();
            ingest::ingest_reader(&objects, source, "the archive", Some(format), &options)
        });
        let answer = work.await;
        drop(stop);
        answer.unwrap_or(Err(IngestError::Store(ObjectError::Stopped)))
    }

    /// Takes in a file as it is, to be read with [`Self::archive`] under its digest. When this returns it
    /// is durable; keep the lease until a row names it.
    pub async fn keep_file(&self, file: &Path) -> Result<PushLease, IngestError> {
        let stop = StopOnDrop(ingest::StopFlag::default());
        let (objects, file, flag) = (self.objects.clone(), file.to_owned(), stop.0.clone());
        let work = tokio::task::spawn_blocking(move || ingest::keep(&objects, &file, &flag));
        work.await
            .unwrap_or(Err(IngestError::Store(ObjectError::Stopped)))
    }

    /// Everything that this root leads to: what an agent that was granted it may fetch. Ask once a
    /// request, not once an object. The root of an archive's own node works as well.
    pub async fn reach(&self, root: &Digest) -> Result<Arc<Reach>, ObjectError> {
        self.reach.get(&self.objects, root).await
    }

    /// Whether this root leads to this object.
    pub async fn reachable(&self, root: &Digest, digest: &Digest) -> Result<bool, ObjectError> {
        Ok(self.reach(root).await?.contains(digest))
    }

    /// An object in the form in which it is stored and sent. Whoever resumes skips `bytes` by hand
    /// (`Bytes::slice`): the form does not change while the object exists.
    pub async fn object_wire(&self, digest: &Digest) -> Result<WireObject, ObjectError> {
        self.hot.get(&self.objects, digest).await
    }

    /// The files in which two packages differ, of which so many are named.
    pub async fn compare(
        &self,
        first: &Digest,
        second: &Digest,
        most: usize,
    ) -> Result<compare::Difference, ObjectError> {
        let (objects, first, second) = (self.objects.clone(), *first, *second);
        blocking(move || compare::compare(&objects, &first, &second, most)).await
    }

    /// An archive as it was pushed.
    pub async fn archive(&self, archive: &Digest) -> Result<Archive, ObjectError> {
        let (objects, archive) = (self.objects.clone(), *archive);
        blocking(move || Archive::open(&objects, &archive)).await
    }

    /// The root of an archive's own node: grant it to send the archive itself.
    pub async fn archive_root(&self, archive: &Digest) -> Result<Digest, ObjectError> {
        let (objects, archive) = (self.objects.clone(), *archive);
        blocking(move || objects.archive_root(&archive)).await
    }

    /// Reads all of a package again.
    pub async fn verify(
        &self,
        root: &Digest,
        archive: &Digest,
    ) -> Result<VerifyReport, ObjectError> {
        self.look_through(root, archive, Enough::All).await
    }

    /// Something of a package that is lost or damaged; nothing more is read once that is found.
    pub async fn first_problem(
        &self,
        root: &Digest,
        archive: &Digest,
    ) -> Result<Option<Problem>, ObjectError> {
        let report = self.look_through(root, archive, Enough::One).await?;
        Ok(report.problems.into_iter().next())
    }

    async fn look_through(
        &self,
        root: &Digest,
        archive: &Digest,
        enough: Enough,
    ) -> Result<VerifyReport, ObjectError> {
        let (objects, root, archive) = (self.objects.clone(), *root, *archive);
        blocking(move || {
            let mut roots = vec![root];
            let lost = match objects.archive_root(&archive) {
                Ok(node) => {
                    roots.push(node);
                    None
                }
                Err(error @ (ObjectError::Missing { .. } | ObjectError::Damaged { .. })) => {
                    Some(error.to_string())
                }
                Err(error) => return Err(error),
            };
            let mut report = match (&lost, enough) {
                (Some(_), Enough::One) => VerifyReport::default(),
                (Some(_), Enough::All) | (None, _) => verify::verify(&objects, &roots, enough)?,
            };
            if let Some(what) = lost {
                report.problem("the archive", archive, what);
            }
            Ok(report)
        })
        .await
    }

    /// Removes what nothing names. `live` must be read from the rows after which no package was
    /// deleted, and hold every package and every release's pins. Dropping the future stops the work.
    pub async fn collect(
        &self,
        live: Live,
        options: GcOptions,
        now: SystemTime,
    ) -> Result<GcReport, ObjectError> {
        let objects = self.objects.clone();
        let stop = StopOnDrop(ingest::StopFlag::default());
        let flag = stop.0.clone();
        blocking(move || gc::collect(&objects, &live, options, now, &flag)).await
    }
}

struct StopOnDrop(ingest::StopFlag);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs work that blocks where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(ObjectError::Stopped))
}
