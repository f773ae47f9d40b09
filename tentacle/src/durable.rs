//! Writes that survive a kill, and a power cut, right after them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::identity::durable::rename;

/// Puts `bytes` at `path`, whole or not at all: a temporary file, fsync, rename, fsync of the folder.
/// The file is for the agent's user alone.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let written = write_private(&temporary, bytes).and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        // What is left over is of no use to anybody; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_parent(path)
}

/// Puts `bytes` at `path` unless something is there already: of any number of processes that try,
/// one gets `true`. The content is complete from the first moment.
pub fn create_file(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let temporary = temporary_name(path);
    write_private(&temporary, bytes)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file for the agent's user alone and brings it to the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Brings a folder's entries to the disk. Windows has no such thing and needs none.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Two processes never share a temporary file.
fn temporary_name(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_first_creator_wins_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claim");
        assert!(create_file(&path, b"first").unwrap());
        assert!(!create_file(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace_file(&path, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
