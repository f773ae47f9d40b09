//! Making files and folders below one folder and nowhere else, whatever becomes of its names meanwhile.
//!
//! On Unix each step of a path goes by the handle of the one before and through no link, so that a folder
//! that becomes a link while a package is unpacked ends the unpacking and leads nowhere. Elsewhere paths
//! are used: there packages hold no links, and putting a junction in a folder's place takes the right to
//! write in the agent's own.

use std::fs::File;
use std::io;
use std::path::Path;

/// A folder in which something is made. Paths below it have `/` between their parts, each of which is a
/// plain name.
#[derive(Debug)]
pub(super) struct Inside {
    root: platform::Root,
}

impl Inside {
    /// Opens it. It must be a folder itself, not a link to one.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        platform::open(folder).map(|root| Self { root })
    }

    /// Makes a folder that everybody may enter and read. It must not exist yet.
    pub(super) fn create_dir(&self, path: &str) -> io::Result<()> {
        platform::create_dir(&self.root, path)
    }

    /// Makes a file to be written and read back. It must not exist yet.
    pub(super) fn create_file(&self, path: &str, executable: bool) -> io::Result<File> {
        platform::create_file(&self.root, path, executable)
    }

    /// Makes a symbolic link. It must not exist yet.
    pub(super) fn link(&self, target: &str, path: &str) -> io::Result<()> {
        platform::link(&self.root, target, path)
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat, symlinkat};

    pub(super) type Root = OwnedFd;

    const READABLE: Mode = Mode::from_raw_mode(0o755);
    const PLAIN: Mode = Mode::from_raw_mode(0o644);

    pub(super) fn open(folder: &Path) -> io::Result<Root> {
        Ok(openat(CWD, folder, folder_flags(), Mode::empty())?)
    }

    pub(super) fn create_dir(root: &Root, path: &str) -> io::Result<()> {
        at(root, path, |parent, name| {
            mkdirat(parent, name, READABLE)?;
            // By handle, so that the umask does not matter and no name is looked up again.
            fchmod(enter(parent, name)?, READABLE)?;
            Ok(())
        })
    }

    pub(super) fn create_file(root: &Root, path: &str, executable: bool) -> io::Result<File> {
        let mode = if executable { READABLE } else { PLAIN };
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at(root, path, |parent, name| {
            let file = openat(parent, name, flags, mode)?;
            fchmod(&file, mode)?;
            Ok(File::from(file))
        })
    }

    pub(super) fn link(root: &Root, target: &str, path: &str) -> io::Result<()> {
        at(root, path, |parent, name| {
            Ok(symlinkat(target, parent, name)?)
        })
    }

    /// Does something with the last name of a path in the folder that holds it.
    fn at<T>(
        root: &Root,
        path: &str,
        work: impl FnOnce(BorrowedFd<'_>, &str) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some((folders, name)) = path.rsplit_once('/') else {
            return work(root.as_fd(), path);
        };
        let mut held: Option<OwnedFd> = None;
        for folder in folders.split('/') {
            let from = held.as_ref().map_or_else(|| root.as_fd(), |fd| fd.as_fd());
            held = Some(enter(from, folder)?);
        }
        work(
            held.as_ref().map_or_else(|| root.as_fd(), |fd| fd.as_fd()),
            name,
        )
    }

    fn enter(from: BorrowedFd<'_>, folder: &str) -> io::Result<OwnedFd> {
        Ok(openat(from, folder, folder_flags(), Mode::empty())?)
    }

    fn folder_flags() -> OFlags {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if mantle_shared::fault::sabotaged("links-entered") {
            flags
        } else {
            flags | OFlags::NOFOLLOW
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{self, File};
    use std::io;
    use std::path::{Path, PathBuf};

    pub(super) type Root = PathBuf;

    pub(super) fn open(folder: &Path) -> io::Result<Root> {
        if fs::symlink_metadata(folder)?.is_dir() {
            Ok(folder.to_owned())
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn create_dir(root: &Root, path: &str) -> io::Result<()> {
        fs::create_dir(below(root, path))
    }

    pub(super) fn create_file(root: &Root, path: &str, _executable: bool) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        options.open(below(root, path))
    }

    pub(super) fn link(_root: &Root, _target: &str, _path: &str) -> io::Result<()> {
        let why = "links are refused on this platform";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    fn below(root: &Path, path: &str) -> PathBuf {
        path.split('/').fold(root.to_owned(), |mut at, part| {
            at.push(part);
            at
        })
    }
}
