//! One file with everything of a server but its packages, and a server from such a file.
//!
//! The file is encrypted under a passphrase, since it holds the authority's and the master key. It is
//! written beside its name and then renamed, so it is there whole or not at all; a restored data
//! directory likewise. A restored server orders nothing until `mantle server recover`: its agents
//! may have gone further than it knows.

mod seal;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mantle_shared::Digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::seal::SealError;
use self::seal::{OpenReader, SealWriter};
use crate::app::data_dir::{ADMIN_KEY_FILE, create_private, write_private};
use crate::security::{self, Authority, AuthorityError, FileError, Secret};
use crate::store::{
    COPIED_FILES, CopiedArtifact, CopiedPackage, CopyFacts, META_AUTHORITY, META_MASTER_KEY_CHECK,
    META_RESTORED, MaintenanceLock, StoreError, sqlite_copy, sqlite_copy_check, sqlite_copy_facts,
    sqlite_copy_mark, sqlite_copy_meta,
};

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;
/// The key files of a data directory. The administrator's is not there when its key was revoked.
const KEYS: [&str; 4] = ["ca.key", "ca.crt", "master.key", ADMIN_KEY_FILE];
/// The manifest names every package version; a million of them fit.
const MAX_MANIFEST_BYTES: u64 = 256 * 1024 * 1024;
/// A key file of ours has a few hundred bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;
/// Archived databases are mostly text; the fastest setting takes most of what there is to take.
const ZSTD_LEVEL: i32 = 1;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of what follows.
    pub format: u32,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The server's version.
    pub version: String,
    /// The epoch counter.
    pub epoch: u64,
    /// What the archive holds beside this, with sizes.
    pub files: Vec<FileEntry>,
    /// Every package that the database names. Their objects are not in the archive.
    pub packages: Vec<PackageEntry>,
    /// Every collected file that was stored. Their objects are not in the archive either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactEntry>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the data directory.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}

/// A package that the server had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageEntry {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The root of its manifest.
    pub root: Digest,
    /// The digest of its archive.
    pub archive: Digest,
}

/// A collected file that the server had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactEntry {
    /// The number of its task.
    pub task: u64,
    /// What it is called.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// What is kept in a restored database until it was recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

/// Why there is no backup, or no server from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No server has run there.
    #[error("{path} is no data directory of a mantle server: it has no {file}")]
    NoServer {
        /// The directory.
        path: String,
        /// What is missing.
        file: &'static str,
    },
    /// The file is there already.
    #[error("{path} exists already and is not overwritten; choose another name")]
    Exists {
        /// The file.
        path: String,
    },
    /// The directory has something in it.
    #[error("{path} is not empty; restore into a directory that is not there yet")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// The passphrase is too easy to guess.
    #[error(
        "the passphrase has fewer than {least} characters; whoever guesses it can be your server"
    )]
    Short {
        /// How many it must have.
        least: usize,
    },
    /// The file cannot be opened.
    #[error("{path} cannot be read as a backup")]
    Seal {
        /// The file.
        path: String,
        /// Why.
        source: SealError,
    },
    /// What is in the file does not fit together.
    #[error("the backup cannot be used: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be {verb}")]
    Io {
        /// The file.
        path: String,
        /// `read`, `written`, ...
        verb: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A database cannot be copied or read.
    #[error("the database cannot be copied or read")]
    Store(#[from] StoreError),
    /// A key file cannot be read.
    #[error(transparent)]
    Key(#[from] FileError),
    /// The authority in the backup cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The fewest characters of a passphrase.
const PASSPHRASE_CHARS: usize = 12;

/// Writes a backup of the server in `data`, which may be running, to `file`.
pub async fn create(
    data: &Path,
    file: &Path,
    passphrase: &Secret,
) -> Result<Manifest, BackupError> {
    check_passphrase(passphrase)?;
    for name in COPIED_FILES
        .into_iter()
        .chain(["ca.key", "ca.crt", "master.key"])
    {
        if !data.join(name).is_file() {
            return Err(BackupError::NoServer {
                path: data.display().to_string(),
                file: name,
            });
        }
    }
    if file.exists() {
        return Err(BackupError::Exists {
            path: file.display().to_string(),
        });
    }
    let (part, staging) = (beside(file, ".part"), beside(file, ".part.d"));
    let staging = Staging::make(&staging)?;
    let _lock = lock(data).await?;
    sqlite_copy(data, &staging.path).await?;
    for name in KEYS {
        let path = data.join(name);
        match security::read_private(&path)? {
            Some(bytes) => write_private(&staging.path.join(name), &bytes)
                .map_err(|source| io_error("written", &staging.path.join(name), source))?,
            None if name == ADMIN_KEY_FILE => {}
            None => {
                return Err(BackupError::NoServer {
                    path: data.display().to_string(),
                    file: "its keys any more",
                });
            }
        }
    }
    let facts = sqlite_copy_facts(&staging.path).await?;
    let manifest = manifest(&staging.path, facts)?;
    let written =
        pack(&staging.path, &manifest, &part, passphrase).and_then(|()| finish(&part, file));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.map(|()| manifest)
}

/// Makes a data directory from a backup. It is there whole or not at all.
pub async fn restore(
    file: &Path,
    data: &Path,
    passphrase: &Secret,
) -> Result<Manifest, BackupError> {
    let is_empty = || fs::read_dir(data).map(|mut entries| entries.next().is_none());
    match is_empty() {
        Ok(true) => {}
        Ok(false) => {
            return Err(BackupError::NotEmpty {
                path: data.display().to_string(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(io_error("read", data, source)),
    }
    let staging = Staging::make(&beside(data, ".restoring"))?;
    let manifest = unpack(file, &staging.path, passphrase)?;
    verify(&staging.path).await?;
    let mark = Restored {
        taken_at: manifest.taken_at,
        restored_at: Timestamp::now(),
    };
    let mark = serde_json::to_vec(&mark).map_err(|error| damaged(error.to_string()))?;
    sqlite_copy_mark(&staging.path, META_RESTORED, &mark).await?;
    sync_all(&staging.path)?;
    if data.exists() {
        fs::remove_dir(data).map_err(|source| io_error("replaced", data, source))?;
    }
    fs::rename(&staging.path, data).map_err(|source| io_error("written", data, source))?;
    sync_parent(data)?;
    Ok(manifest)
}

/// The packages of a backup whose objects are not in this data directory's repository.
pub fn missing(manifest: &Manifest, has: impl Fn(&Digest) -> bool) -> Vec<&PackageEntry> {
    let packages = manifest.packages.iter();
    packages.filter(|package| !has(&package.root)).collect()
}

/// The collected files of a backup whose objects are not in this data directory's repository. They
/// cannot be had again: the agents that had them have removed them.
pub fn missing_artifacts(
    manifest: &Manifest,
    has: impl Fn(&Digest) -> bool,
) -> Vec<&ArtifactEntry> {
    let artifacts = manifest.artifacts.iter();
    artifacts
        .filter(|artifact| !has(&artifact.digest))
        .collect()
}

fn check_passphrase(passphrase: &Secret) -> Result<(), BackupError> {
    if passphrase.expose().chars().count() < PASSPHRASE_CHARS {
        return Err(BackupError::Short {
            least: PASSPHRASE_CHARS,
        });
    }
    Ok(())
}

/// Waits for whoever removes logs just now.
async fn lock(data: &Path) -> Result<MaintenanceLock, BackupError> {
    let path = data.to_owned();
    let taken = tokio::task::spawn_blocking(move || MaintenanceLock::take(&path)).await;
    taken
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|source| io_error("locked", data, source))
}

/// A folder for the copies on their way, which goes when this does.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn make(path: &Path) -> Result<Self, BackupError> {
        // Left by one that was killed.
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("removed", path, error));
            }
            _ => {}
        }
        create_private(path).map_err(|source| io_error("written", path, source))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn manifest(staging: &Path, facts: CopyFacts) -> Result<Manifest, BackupError> {
    let mut files = Vec::new();
    for name in KEYS.into_iter().chain(COPIED_FILES) {
        let path = staging.join(name);
        match fs::metadata(&path) {
            Ok(meta) => files.push(FileEntry {
                name: name.to_owned(),
                size_bytes: meta.len(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(io_error("read", &path, source)),
        }
    }
    let entry = |package: CopiedPackage| PackageEntry {
        id: package.id,
        version: package.version,
        root: package.root,
        archive: package.archive,
    };
    let artifact = |artifact: CopiedArtifact| ArtifactEntry {
        task: artifact.task,
        name: artifact.name,
        digest: artifact.digest,
    };
    Ok(Manifest {
        format: FORMAT,
        taken_at: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: facts.epoch,
        files,
        packages: facts.packages.into_iter().map(entry).collect(),
        artifacts: facts.artifacts.into_iter().map(artifact).collect(),
    })
}

fn pack(
    staging: &Path,
    manifest: &Manifest,
    part: &Path,
    passphrase: &Secret,
) -> Result<(), BackupError> {
    let failed = |source| io_error("written", part, source);
    // Left by one that was killed; its mode is not to be trusted.
    let _ = fs::remove_file(part);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = BufWriter::new(options.open(part).map_err(failed)?);
    let sealing =
        SealWriter::new(file, passphrase.expose()).map_err(|source| seal_error(part, source))?;
    let packing = zstd::Encoder::new(sealing, ZSTD_LEVEL).map_err(failed)?;
    let mut archive = tar::Builder::new(packing);
    let json = serde_json::to_vec(manifest).map_err(|error| failed(error.into()))?;
    append(&mut archive, MANIFEST, json.len() as u64, json.as_slice()).map_err(failed)?;
    for entry in &manifest.files {
        let path = staging.join(&entry.name);
        let from = File::open(&path).map_err(|source| io_error("read", &path, source))?;
        append(&mut archive, &entry.name, entry.size_bytes, from).map_err(failed)?;
    }
    let sealing = archive.into_inner().and_then(zstd::Encoder::finish);
    let file = sealing.and_then(SealWriter::finish).map_err(failed)?;
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    size_bytes: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size_bytes);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, content.take(size_bytes))
}

/// Gives the finished file its name, unless somebody else took it meanwhile.
fn finish(part: &Path, file: &Path) -> Result<(), BackupError> {
    fs::hard_link(part, file).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists {
            path: file.display().to_string(),
        },
        _ => io_error("written", file, source),
    })?;
    let _ = fs::remove_file(part);
    sync_parent(file)
}

/// Takes the archive apart into a folder of its own.
fn unpack(file: &Path, into: &Path, passphrase: &Secret) -> Result<Manifest, BackupError> {
    let opened = File::open(file).map_err(|source| io_error("read", file, source))?;
    let plain = OpenReader::new(BufReader::new(opened), passphrase.expose())
        .map_err(|source| seal_error(file, source))?;
    let unreadable = |error: io::Error| damaged(format!("{}: {error}", file.display()));
    let unpacked = zstd::Decoder::new(plain).map_err(unreadable)?;
    let mut archive = tar::Archive::new(unpacked);
    let mut manifest: Option<Manifest> = None;
    let mut seen = Vec::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.display().to_string();
        let Some(manifest) = &manifest else {
            manifest = Some(read_manifest(&name, &mut entry).map_err(unreadable)??);
            continue;
        };
        let expected = manifest.files.iter().find(|file| file.name == name);
        let is_ours = KEYS
            .into_iter()
            .chain(COPIED_FILES)
            .any(|known| known == name);
        let Some(expected) = expected.filter(|_| is_ours) else {
            return Err(damaged(format!("it holds {name}, which no backup holds")));
        };
        let path = into.join(&name);
        let written =
            write_new(&path, &mut entry).map_err(|source| io_error("written", &path, source))?;
        if written != expected.size_bytes {
            return Err(damaged(format!("{name} has not the size that it had")));
        }
        seen.push(name);
    }
    let manifest = manifest.ok_or_else(|| damaged("it is empty".to_owned()))?;
    match manifest
        .files
        .iter()
        .find(|file| !seen.contains(&file.name))
    {
        Some(file) => Err(damaged(format!("{} is not in it", file.name))),
        None => Ok(manifest),
    }
}

fn read_manifest(name: &str, entry: &mut impl Read) -> io::Result<Result<Manifest, BackupError>> {
    let mut json = Vec::new();
    entry.take(MAX_MANIFEST_BYTES).read_to_end(&mut json)?;
    let parsed: Result<Manifest, _> = serde_json::from_slice(&json);
    Ok(match parsed {
        _ if name != MANIFEST => Err(damaged(format!("it begins with {name}"))),
        Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
        Ok(manifest) => Err(damaged(format!(
            "it has form {}, this mantle reads form {FORMAT}",
            manifest.format
        ))),
        Err(error) => Err(damaged(format!("its list cannot be read: {error}"))),
    })
}

fn write_new(path: &Path, from: &mut impl Read) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = io::copy(from, &mut file)?;
    file.sync_all()?;
    Ok(written)
}

/// Whether databases, authority and master key are whole and belong together.
async fn verify(folder: &Path) -> Result<(), BackupError> {
    if let Some(what) = sqlite_copy_check(folder).await? {
        return Err(damaged(what));
    }
    let authority = Authority::open(folder, std::time::SystemTime::now())?;
    let known = sqlite_copy_meta(folder, META_AUTHORITY).await?;
    if known.as_deref() != Some(authority.fingerprint().as_bytes().as_slice()) {
        return Err(damaged(
            "the database is of another certificate authority".to_owned(),
        ));
    }
    let path = folder.join("master.key");
    let text = File::open(&path).and_then(|file| {
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_KEY_BYTES).read_to_end(&mut text)?;
        Ok(text)
    });
    let text = text.map_err(|source| io_error("read", &path, source))?;
    let check = sqlite_copy_meta(folder, META_MASTER_KEY_CHECK).await?;
    if !security::master_key_fits(&text, &check.unwrap_or_default()) {
        return Err(damaged(
            "the master key does not open this database's secrets".to_owned(),
        ));
    }
    Ok(())
}

fn damaged(what: String) -> BackupError {
    BackupError::Damaged { what }
}

fn io_error(verb: &'static str, path: &Path, source: io::Error) -> BackupError {
    BackupError::Io {
        path: path.display().to_string(),
        verb,
        source,
    }
}

fn seal_error(path: &Path, source: SealError) -> BackupError {
    BackupError::Seal {
        path: path.display().to_string(),
        source,
    }
}

/// A name beside a file's or folder's own.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn sync_all(folder: &Path) -> Result<(), BackupError> {
    for name in COPIED_FILES {
        let path = folder.join(name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|source| io_error("written", &path, source))?;
    }
    sync_folder(folder)
}

fn sync_parent(path: &Path) -> Result<(), BackupError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| io_error("written", folder, source))
}

/// Windows writes folder entries through; there is no handle to flush.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> Result<(), BackupError> {
    Ok(())
}
