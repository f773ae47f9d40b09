//! Building a package's folder out of the cache.
//!
//! Hostile input is expected. Folders first, then files, each with "must not exist yet", links
//! last, and every name by the handle of the folder that it is in: nothing is ever written through a link,
//! not through one either that somebody puts in a folder's place meanwhile. The names and links were
//! checked before the first byte is written.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use mantle_shared::Digest;

use super::inside::Inside;
use super::names::Host;
use super::objects::{Cache, CacheError, hash};
use super::walk::{PackageFile, WalkError};

/// What was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a folder could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// The manifest or an object.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// An object's bytes are missing or damaged.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The disk.
    #[error("{} could not be written", .path.display())]
    Disk {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The caller wants no more.
    #[error("stopped")]
    Stopped,
}

impl Cache {
    /// Writes the whole tree into `into`, an existing empty folder. `go_on` is asked before each
    /// file.
    pub fn materialise(
        &self,
        root: Digest,
        into: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Totals, MaterialiseError> {
        let contents = self.contents(root, Host::current())?;
        let inside = Inside::open(into).map_err(disk(into))?;
        for folder in &contents.folders {
            let made = inside.create_dir(folder);
            made.map_err(disk(&below(into, folder)))?;
        }
        let mut totals = Totals::default();
        for file in &contents.files {
            if !go_on() {
                return Err(MaterialiseError::Stopped);
            }
            let path = below(into, &file.path);
            self.write_file(&inside, file, &path)?;
            totals.files += 1;
            totals.bytes += file.size_bytes;
        }
        for (at, target) in &contents.links {
            let path = below(into, at);
            inside.link(target, at).map_err(disk(&path))?;
        }
        Ok(totals)
    }

    fn write_file(
        &self,
        inside: &Inside,
        file: &PackageFile,
        path: &Path,
    ) -> Result<(), MaterialiseError> {
        let made = inside.create_file(&file.path, file.executable);
        let mut target = made.map_err(disk(path))?;
        if let [chunk] = file.chunks.as_slice() {
            return self.copy_object(chunk.digest, &mut target, path);
        }
        for chunk in &file.chunks {
            let bytes = self.read(chunk.digest)?;
            target.write_all(&bytes).map_err(disk(path))?;
        }
        Ok(())
    }

    /// A file that is one object: shared blocks where the file system can, a copy elsewhere. What
    /// was written is verified, not what was read before.
    fn copy_object(
        &self,
        digest: Digest,
        target: &mut File,
        path: &Path,
    ) -> Result<(), MaterialiseError> {
        let from = self.object(digest);
        let mut source = match File::open(&from) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CacheError::Missing { digest }.into());
            }
            Err(source) => return Err(MaterialiseError::Disk { path: from, source }),
        };
        if !clone_blocks(&source, target) {
            io::copy(&mut source, target).map_err(disk(path))?;
        }
        target.rewind().map_err(disk(path))?;
        if hash(target).map_err(disk(path))? == digest {
            return Ok(());
        }
        self.remove(digest)?;
        Err(CacheError::Corrupt { digest }.into())
    }
}

/// Shares the blocks of a file, where the file system can do that.
fn clone_blocks(source: &File, target: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::fs::ioctl_ficlone(target, source).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (source, target);
        false
    }
}

/// The path of an entry; its parts hold no separator, so nothing leads out.
fn below(folder: &Path, path: &str) -> PathBuf {
    path.split('/').fold(folder.to_owned(), |mut at, part| {
        at.push(part);
        at
    })
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> MaterialiseError + use<> {
    let path = path.to_owned();
    move |source| MaterialiseError::Disk { path, source }
}
