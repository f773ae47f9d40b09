//! Files that are whole or not there: temp beside, fsync, rename, fsync of the folder.
//!
//! What must hold: a reader never sees half a file, and once [`write`] or [`create`] has returned
//! the file survives a kill and a power cut. A temp file that a kill left behind is read by none;
//! [`sweep`] removes such leftovers.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// The owner alone: keys, orders, the journal.
    Owner,
    /// Whoever may enter the folder.
    Folder,
}

/// What temp files end with.
const TEMP_SUFFIX: &str = ".mantle-new";

/// Puts a file with these bytes at `path`, whole or not at all, over what is there.
pub fn write(path: &Path, bytes: &[u8], privacy: Privacy) -> io::Result<()> {
    let folder = parent(path)?;
    let temp = temp_beside(path)?;
    let written = write_new(&temp, bytes, privacy).and_then(|()| rename(&temp, path));
    if let Err(error) = written {
        // The first error is the one to report; the leftover is swept later if this fails too.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    sync_folder(folder)
}

/// Puts other bytes in the place of a file that is there, whole or not at all; its rights and its
/// owner stay. A link stays one, and its file is written. An owner that cannot be kept is an error.
pub fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let known = fs::metadata(&path)?;
    let folder = parent(&path)?;
    let temp = temp_beside(&path)?;
    let written = write_new(&temp, bytes, Privacy::Owner)
        .and_then(|()| keep_owner(&temp, &known))
        .and_then(|()| fs::set_permissions(&temp, known.permissions()))
        .and_then(|()| rename(&temp, &path));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    sync_folder(folder)
}

/// Gives a new file the owner of the one whose place it takes.
fn keep_owner(temp: &Path, known: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let own = fs::metadata(temp)?;
        if (own.uid(), own.gid()) != (known.uid(), known.gid()) {
            std::os::unix::fs::chown(temp, Some(known.uid()), Some(known.gid()))?;
        }
    }
    // There the owner is whoever writes, and the rights are those of the folder.
    #[cfg(not(unix))]
    let _ = (temp, known);
    Ok(())
}

/// Puts a file for the agent's user alone at `path` unless something is there already: of any number
/// of processes that try, one gets `true`. The content is complete from the first moment.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let folder = parent(path)?;
    let temp = temp_beside(path)?;
    let linked = write_new(&temp, bytes, Privacy::Owner).and_then(|()| fs::hard_link(&temp, path));
    let _ = fs::remove_file(&temp);
    match linked {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file for the agent's user alone in place and brings it to the disk: for what nobody reads
/// before it is whole.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    put(&mut options, path, bytes, Privacy::Owner)?.sync_all()
}

/// Like [`write_private`], for what means nothing after a power cut: nobody reads it then, so nobody
/// waits for the disk now.
pub fn write_scratch(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    put(&mut options, path, bytes, Privacy::Owner).map(drop)
}

/// Makes a folder that only its owner may enter, and its parents. On Windows the folder takes the
/// rights of its parent, which the installation restricts.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            }
            Err(error) => return Err(error),
        }
    }
    #[cfg(not(unix))]
    fs::create_dir_all(path)?;
    Ok(())
}

/// Which of these folders and the folders around them are not there, the innermost first: what a
/// try that comes to nothing has to take away again with [`remove_empty`].
pub fn missing<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = folders
        .into_iter()
        .flat_map(Path::ancestors)
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    missing.dedup();
    missing
}

/// Removes those of these folders that are there and empty, in this order.
pub fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        // One that holds something is somebody's, and stays.
        let _ = fs::remove_dir(folder);
    }
}

/// Makes a folder that everybody may enter and read, and its parents, whatever the umask is. Folders
/// that are there keep their rights.
pub fn create_readable_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_readable_folder(parent)?;
    }
    match fs::create_dir(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => make_readable(path),
    }
}

/// Lets everybody enter and read a folder that was just made.
pub fn make_readable(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Renames over what is there. On Windows a reader or a scanner may hold the old file for a
/// moment, so the rename is tried again for a while.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(windows)]
    {
        // Scanners let go within a second or so; thirty covers a slow one.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            match fs::rename(from, to) {
                Err(error)
                    if matches!(error.raw_os_error(), Some(5 | 32 | 33))
                        && std::time::Instant::now() < deadline =>
                {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                done => return done,
            }
        }
    }
    #[cfg(not(windows))]
    fs::rename(from, to)
}

/// Makes renames and new names within a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Windows has no such call: its file system journals names by itself.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Removes what killed writers left in a folder. Nobody may be writing there.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(TEMP_SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8], privacy: Privacy) -> io::Result<()> {
    // A leftover of a process that had our id; its rights may be other than ours.
    let _ = fs::remove_file(path);
    let mut options = File::options();
    options.write(true).create_new(true);
    put(&mut options, path, bytes, privacy)?.sync_all()
}

fn put(
    options: &mut fs::OpenOptions,
    path: &Path,
    bytes: &[u8],
    privacy: Privacy,
) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(match privacy {
            Privacy::Owner => 0o600,
            Privacy::Folder => 0o644,
        });
    }
    #[cfg(not(unix))]
    let _ = privacy;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(no_file()),
    }
}

/// Two writers never share a temp, be they of one process or of two.
fn temp_beside(path: &Path) -> io::Result<PathBuf> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(no_file)?.to_string_lossy();
    let (process, write) = (std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    Ok(parent(path)?.join(format!(".{name}.{process}-{write}{TEMP_SUFFIX}")))
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_first_creator_wins_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claim");
        assert!(create(&path, b"first").unwrap());
        assert!(!create(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"third", Privacy::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_rewritten_keeps_its_rights_and_links_to_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("settings", &link).unwrap();
        rewrite(&link, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(rewrite(&dir.path().join("none"), b"x").is_err());
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let left = temp_beside(&dir.path().join("journal")).unwrap();
        fs::write(&left, b"half").unwrap();
        fs::write(dir.path().join("journal"), b"whole").unwrap();
        sweep(dir.path()).unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read(dir.path().join("journal")).unwrap(), b"whole");
    }

    #[cfg(unix)]
    #[test]
    fn a_leftover_of_other_rights_makes_no_secret_readable() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        for (privacy, mode) in [(Privacy::Owner, 0o600), (Privacy::Folder, 0o644)] {
            let path = dir.path().join("file");
            write(&path, b"x", privacy).unwrap();
            let temp = dir.path().join("temp");
            fs::write(&temp, b"").unwrap();
            fs::set_permissions(&temp, fs::Permissions::from_mode(0o666)).unwrap();
            write_new(&temp, b"x", privacy).unwrap();
            for path in [path, temp] {
                let found = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(found & 0o777 & !mode, 0, "{privacy:?}: {found:o}");
            }
        }
    }
}
