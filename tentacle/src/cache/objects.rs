//! The objects on disk.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use mantle_shared::Digest;
use mantle_shared::manifest::{ManifestError, Tree};

use super::{MAX_OBJECT_BYTES, prune};

/// How much is read at once while hashing.
const READ_BYTES: usize = 128 * 1024;
/// A shorter beginning is not worth a file.
const MIN_PARTIAL_BYTES: usize = 64 * 1024;

/// The cache of one agent.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk.
    #[error("the cache could not {doing} {}", .path.display())]
    Disk {
        /// `read`, `write`, ...
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The object is not there.
    #[error("object {} is not in the cache", .digest.short())]
    Missing {
        /// Which one.
        digest: Digest,
    },
    /// The object's bytes are not what its name says. It was removed.
    #[error("object {} was damaged on this machine's disk and has been removed", .digest.short())]
    Corrupt {
        /// Which one.
        digest: Digest,
    },
    /// The object is no folder of a manifest.
    #[error("object {} is no folder of a manifest", .digest.short())]
    Manifest {
        /// Which one.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
}

impl Cache {
    /// Names the cache; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the folders and removes what a killed writer left.
    pub fn prepare(&self) -> Result<(), CacheError> {
        let temp = self.temp();
        for folder in [self.root.join("objects"), self.root.join("partial")] {
            fs::create_dir_all(&folder).map_err(disk("create", &folder))?;
        }
        match fs::remove_dir_all(&temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk("empty", &temp)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&temp).map_err(disk("create", &temp))
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object is, or would be.
    pub(super) fn object(&self, digest: Digest) -> PathBuf {
        let hex = digest.to_string();
        let (first, rest) = hex.split_at(2);
        self.root.join("objects").join(first).join(rest)
    }

    /// Is the object here and whole? One that is not whole is removed.
    pub(super) fn verified(&self, digest: Digest) -> Result<bool, CacheError> {
        let path = self.object(digest);
        // Writable, so that the time of use can be noted; on Windows that takes the right to write.
        let mut file = match File::options().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(disk("read", &path)(error)),
        };
        // A disk that cannot read the object back has lost it: fetching it anew is the cure.
        if hash(&mut file).is_ok_and(|found| found == digest) {
            prune::touch(&file);
            return Ok(true);
        }
        drop(file);
        self.remove(digest)?;
        Ok(false)
    }

    /// The object's bytes, verified.
    pub(super) fn read(&self, digest: Digest) -> Result<Vec<u8>, CacheError> {
        let path = self.object(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CacheError::Missing { digest });
            }
            Err(error) => return Err(disk("read", &path)(error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_OBJECT_BYTES + 1).read_to_end(&mut bytes);
        if read.is_ok() && Digest::of(&bytes) == digest {
            return Ok(bytes);
        }
        self.remove(digest)?;
        Err(CacheError::Corrupt { digest })
    }

    /// A folder of a manifest.
    pub(super) fn tree(&self, digest: Digest) -> Result<Tree, CacheError> {
        let bytes = self.read(digest)?;
        Tree::decode(&bytes).map_err(|source| CacheError::Manifest { digest, source })
    }

    /// Keeps an object whose bytes were verified.
    pub(super) fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.object(digest);
        let temp = self.temp().join(uuid::Uuid::now_v7().simple().to_string());
        let written = (|| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // No fsync: what a power cut damages is found when it is used, and fetched again.
            let mut file = self.create_temp(&temp)?;
            file.write_all(bytes)?;
            drop(file);
            crate::durable::rename(&temp, &path)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temp);
            disk("write", &path)(error)
        })
    }

    /// A new file among those that are being written. Whoever wants room may have emptied the whole cache
    /// under a running agent.
    fn create_temp(&self, path: &Path) -> io::Result<File> {
        match create(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.temp())?;
                create(path)
            }
            created => created,
        }
    }

    #[cfg(test)]
    pub(crate) fn put_for_tests(&self, digest: Digest, bytes: &[u8]) {
        assert!(self.put(digest, bytes).is_ok());
    }

    /// Removes an object that is not what its name says.
    pub(super) fn remove(&self, digest: Digest) -> Result<(), CacheError> {
        let path = self.object(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// What is there of an object's wire form from an earlier transfer.
    pub(super) fn partial(&self, digest: Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = File::open(self.partial_path(digest))
            .and_then(|file| file.take(MAX_OBJECT_BYTES).read_to_end(&mut bytes));
        if read.is_err() {
            bytes.clear();
        }
        bytes
    }

    /// Keeps the beginning of a wire form. Best effort: without it a little is sent twice.
    pub(super) fn keep_partial(&self, digest: Digest, bytes: &[u8]) {
        if bytes.len() < MIN_PARTIAL_BYTES {
            return;
        }
        let temp = self.temp().join(uuid::Uuid::now_v7().simple().to_string());
        let kept = self
            .create_temp(&temp)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::create_dir_all(self.root.join("partial")))
            .and_then(|()| fs::rename(&temp, self.partial_path(digest)));
        if kept.is_err() {
            let _ = fs::remove_file(&temp);
        }
    }

    /// Forgets the beginning of a wire form.
    pub(super) fn drop_partial(&self, digest: Digest) {
        let _ = fs::remove_file(self.partial_path(digest));
    }

    fn partial_path(&self, digest: Digest) -> PathBuf {
        self.root.join("partial").join(digest.to_string())
    }

    fn temp(&self) -> PathBuf {
        self.root.join("temp")
    }
}

/// The digest of all that a file holds from here on.
pub(super) fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from(hasher.finalize())),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn disk(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Disk {
        doing,
        path,
        source,
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}
