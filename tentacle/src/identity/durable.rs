//! Files that are whole or not there: temp beside, fsync, rename, fsync of the folder.
//!
//! What must hold: a reader never sees half a file, and once [`write`] has returned the file
//! survives a kill and a power cut. A temp file that a kill left behind is overwritten by none and
//! read by none; [`sweep`] removes such leftovers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// The owner alone: keys.
    Owner,
    /// Whoever may enter the folder.
    Folder,
}

/// What temp files end with.
const TEMP_SUFFIX: &str = ".mantle-new";

/// Replaces `path` by a file with these bytes.
pub fn write(path: &Path, bytes: &[u8], privacy: Privacy) -> io::Result<()> {
    let folder = parent(path)?;
    let temp = temp_beside(path)?;
    let written = (|| {
        let mut file = create(&temp, privacy)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename(&temp, path)
    })();
    if let Err(error) = written {
        // The first error is the one to report; the leftover is swept later if this fails too.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    sync_folder(folder)
}

/// Makes a folder that only its owner may enter, and its parents.
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

/// Removes what killed writers left in a folder.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(TEMP_SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn create(path: &Path, privacy: Privacy) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
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
    options.open(path)
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path names no file",
        )),
    }
}

fn temp_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    // Unique, so that two writers of the same file never share a temp.
    let unique = uuid::Uuid::now_v7().simple();
    Ok(parent(path)?.join(format!(".{}.{unique}{TEMP_SUFFIX}", name.to_string_lossy())))
}
