//! Where the files are that variables are written into: in the cache, or, where scripts have been at
//! work, in the folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::ActionError;
use super::place;
use crate::cache::{Cache, PackageFile};

/// A file, by its path with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FoundFile {
    pub(super) path: String,
    pub(super) size_bytes: u64,
}

/// Files with their content.
pub(super) trait Files {
    /// All of them, in the order of their paths.
    fn list(&self) -> Vec<FoundFile>;
    /// The content of one.
    fn load(&self, file: &FoundFile) -> Result<Vec<u8>, ActionError>;
}

/// Those of a package as it was pushed.
pub(super) struct Pushed<'a> {
    pub(super) cache: &'a Cache,
    pub(super) files: &'a [PackageFile],
}

impl Files for Pushed<'_> {
    fn list(&self) -> Vec<FoundFile> {
        let found = |file: &PackageFile| FoundFile {
            path: file.path.clone(),
            size_bytes: file.size_bytes,
        };
        self.files.iter().map(found).collect()
    }

    fn load(&self, file: &FoundFile) -> Result<Vec<u8>, ActionError> {
        let at = self
            .files
            .binary_search_by(|own| own.path.cmp(&file.path))
            .map_err(|_| ActionError::failed(format!("the package has no {}", file.path)))?;
        match self.files.get(at).map(|own| self.cache.package_file(own)) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(ActionError::failed(format!(
                "{}: {error}; deploy again",
                file.path
            ))),
            None => Err(ActionError::failed(format!(
                "the package has no {}",
                file.path
            ))),
        }
    }
}

/// Those that lie in a folder now. Links are not followed, and what has no name in Unicode is not
/// among them: no pattern could mean it.
pub(super) struct Unpacked {
    folder: PathBuf,
    files: Vec<FoundFile>,
}

impl Unpacked {
    pub(super) fn of(folder: &Path) -> Result<Self, ActionError> {
        let mut files = Vec::new();
        walk(folder, &mut |path, kind| {
            if let (Kind::File(size_bytes), Some(path)) = (kind, path.to_str()) {
                files.push(FoundFile {
                    path: path.replace(std::path::MAIN_SEPARATOR, "/"),
                    size_bytes,
                });
            }
            Ok(())
        })
        .map_err(place::failed(folder))?;
        files.sort();
        Ok(Self {
            folder: folder.to_owned(),
            files,
        })
    }
}

impl Files for Unpacked {
    fn list(&self) -> Vec<FoundFile> {
        self.files.clone()
    }

    fn load(&self, file: &FoundFile) -> Result<Vec<u8>, ActionError> {
        let path = below(&self.folder, &file.path);
        fs::read(&path).map_err(place::failed(&path))
    }
}

/// A path with `/` below a folder.
pub(super) fn below(folder: &Path, path: &str) -> PathBuf {
    path.split('/')
        .fold(folder.to_owned(), |at, part| at.join(part))
}

/// What is found on a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A folder; what is in it comes after it.
    Folder,
    /// A file of this size.
    File(u64),
    /// A link, or what else there may be.
    Other,
}

/// Shows everything below a folder by its path from there, in no order that could be relied on.
pub(super) fn walk(
    folder: &Path,
    visit: &mut dyn FnMut(&Path, Kind) -> io::Result<()>,
) -> io::Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(folder.join(&at))? {
            let entry = entry?;
            let path = at.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                visit(&path, Kind::Folder)?;
                pending.push(path);
            } else if kind.is_file() {
                visit(&path, Kind::File(entry.metadata()?.len()))?;
            } else {
                visit(&path, Kind::Other)?;
            }
        }
    }
    Ok(())
}
