//! The agent's programs that the server has, by platform, with their digests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::Platform;

/// How much of a file is in memory while its digest is taken.
const PIECE_BYTES: usize = 64 * 1024;

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// How long.
    pub size_bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// What a file was when its digest was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    size_bytes: u64,
    changed: Option<SystemTime>,
}

/// Where programs are looked for.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    folders: Vec<PathBuf>,
    /// `tentacle` beside the server's own program: what most machines of its kind run.
    beside: Option<PathBuf>,
    digests: Arc<Mutex<BTreeMap<PathBuf, (Looks, String)>>>,
}

impl Programs {
    /// In these folders, the first one first, and at last beside this server's program.
    pub fn in_folders(folders: Vec<PathBuf>) -> Self {
        let own = std::env::current_exe().ok();
        let beside =
            own.map(|own| own.with_file_name(format!("tentacle{}", std::env::consts::EXE_SUFFIX)));
        Self {
            folders,
            beside,
            digests: Arc::default(),
        }
    }

    /// Where the program of a platform is looked for, for people.
    pub fn places(&self, platform: Platform) -> Vec<PathBuf> {
        let name = platform.file_name();
        let mut places: Vec<_> = self.folders.iter().map(|dir| dir.join(name)).collect();
        if let Some(beside) = &self.beside {
            places.push(beside.with_file_name(name));
            if Platform::own() == Some(platform) {
                places.push(beside.clone());
            }
        }
        places
    }

    /// The program of a platform, if the server has it. A digest is taken once of each file.
    pub async fn find(&self, platform: Platform) -> io::Result<Option<Program>> {
        let programs = self.clone();
        tokio::task::spawn_blocking(move || programs.find_now(platform))
            .await
            .map_err(io::Error::other)?
    }

    fn find_now(&self, platform: Platform) -> io::Result<Option<Program>> {
        for path in self.places(platform) {
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() => return self.digested(path, &meta).map(Some),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&path, &error)),
            }
        }
        Ok(None)
    }

    fn digested(&self, path: PathBuf, meta: &fs::Metadata) -> io::Result<Program> {
        refuse_open(&path, meta)?;
        let looks = Looks {
            size_bytes: meta.len(),
            changed: meta.modified().ok(),
        };
        let known = {
            let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.get(&path).cloned()
        };
        let sha256 = match known {
            Some((known, sha256)) if known == looks => sha256,
            _ => digest(&path).map_err(|error| named(&path, &error))?,
        };
        let size_bytes = looks.size_bytes;
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(path.clone(), (looks, sha256.clone()));
        Ok(Program {
            path,
            size_bytes,
            sha256,
        })
    }
}

/// Root runs it on every target that joins: what anybody may write is not handed out.
#[cfg(unix)]
fn refuse_open(path: &Path, meta: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    const WRITE_BY_ALL: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let folder = path.parent().map(fs::metadata).transpose()?;
    let folder = folder
        .is_some_and(|folder| folder.mode() & WRITE_BY_ALL != 0 && folder.mode() & STICKY == 0);
    if meta.mode() & WRITE_BY_ALL != 0 || folder {
        let why = "everybody on this machine can write it or its folder; type 'chmod o-w' for both";
        return Err(named(path, &io::Error::other(why)));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open(_path: &Path, _meta: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
