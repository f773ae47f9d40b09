//! Walking a manifest from its root: what is in the package, checked on the way.

use std::collections::{BTreeSet, HashMap};

use mantle_shared::Digest;
use mantle_shared::manifest::{Chunk, EntryKind, MAX_DEPTH, Tree};

use super::names::{self, Host, Links};
use super::objects::{Cache, CacheError};
use super::{MAX_OBJECT_BYTES, MAX_PACKAGE_ENTRIES};

/// Why a manifest cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// An object could not be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The manifest contradicts itself or goes over a limit.
    #[error("the package's manifest is not sound: {0}")]
    Unsound(String),
    /// This machine cannot have what is in it.
    #[error("this machine cannot have what is in the package: {0}")]
    Platform(String),
}

/// What a manifest's folder says of a folder below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) size_bytes: u64,
    pub(super) files: u64,
}

/// Collects what a package consists of while its folders become known, level by level.
#[derive(Debug)]
pub(super) struct Survey {
    host: Host,
    entries: u64,
    /// Chunks with their lengths.
    pub(super) chunks: HashMap<Digest, u32>,
    claims: HashMap<Digest, Claim>,
}

impl Survey {
    /// Of a package whose files should have this size.
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            entries: 0,
            chunks: HashMap::new(),
            claims: HashMap::new(),
        }
    }

    /// Takes one folder; gives the digests of folders below it that were not seen before.
    pub(super) fn take(&mut self, digest: Digest, tree: &Tree) -> Result<Vec<Digest>, WalkError> {
        let is = Claim {
            size_bytes: tree.size_bytes(),
            files: tree.files(),
        };
        if self.claims.get(&digest).is_some_and(|said| *said != is) {
            return Err(WalkError::Unsound(
                "a folder is not as large as its parent says".to_owned(),
            ));
        }
        self.entries += tree.entries().len() as u64;
        if self.entries > MAX_PACKAGE_ENTRIES {
            return Err(WalkError::Unsound(format!(
                "it has over {MAX_PACKAGE_ENTRIES} entries"
            )));
        }
        if let Some(why) = self.host.refuses(tree) {
            return Err(WalkError::Platform(why));
        }
        let mut below = Vec::new();
        for entry in tree.entries() {
            match &entry.kind {
                EntryKind::File {
                    size_bytes,
                    digest,
                    chunks,
                    ..
                } => self.take_file(&entry.name, *size_bytes, *digest, chunks)?,
                EntryKind::Dir {
                    digest,
                    size_bytes,
                    files,
                } => {
                    let claim = Claim {
                        size_bytes: *size_bytes,
                        files: *files,
                    };
                    match self.claims.insert(*digest, claim) {
                        None => below.push(*digest),
                        Some(before) if before == claim => {}
                        Some(_) => {
                            return Err(WalkError::Unsound(format!(
                                "the folder '{}' has two sizes",
                                entry.name
                            )));
                        }
                    }
                }
                EntryKind::Symlink { .. } => {}
            }
        }
        Ok(below)
    }

    fn take_file(
        &mut self,
        name: &str,
        size_bytes: u64,
        digest: Digest,
        chunks: &[Chunk],
    ) -> Result<(), WalkError> {
        for chunk in as_chunks(name, size_bytes, digest, chunks)? {
            if u64::from(chunk.length) > MAX_OBJECT_BYTES {
                return Err(WalkError::Unsound(format!(
                    "a chunk of '{name}' is over {MAX_OBJECT_BYTES} bytes"
                )));
            }
            if self
                .chunks
                .insert(chunk.digest, chunk.length)
                .is_some_and(|before| before != chunk.length)
            {
                return Err(WalkError::Unsound(format!(
                    "a chunk of '{name}' has two lengths"
                )));
            }
        }
        Ok(())
    }
}

/// The chunks of a file, also of one that is a chunk itself. An empty file has none.
pub(super) fn as_chunks(
    name: &str,
    size_bytes: u64,
    digest: Digest,
    chunks: &[Chunk],
) -> Result<Vec<Chunk>, WalkError> {
    if !chunks.is_empty() {
        return Ok(chunks.to_vec());
    }
    if size_bytes == 0 {
        return if digest == Digest::of(b"") {
            Ok(Vec::new())
        } else {
            Err(WalkError::Unsound(format!(
                "the empty file '{name}' does not have the digest of nothing"
            )))
        };
    }
    let length = u32::try_from(size_bytes).map_err(|_| {
        WalkError::Unsound(format!("the file '{name}' is one chunk, yet too large"))
    })?;
    Ok(vec![Chunk { length, digest }])
}

/// One file of a package whose manifest is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path within the package, parts separated by `/`.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// It may be executed.
    pub executable: bool,
    pub(super) chunks: Vec<Chunk>,
}

/// What a whole package consists of, in the order of its manifest.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Folders before what is in them.
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<PackageFile>,
    pub(super) links: Vec<(String, String)>,
}

impl Cache {
    /// Every file of a package that was acquired.
    pub fn package_files(&self, root: Digest) -> Result<Vec<PackageFile>, WalkError> {
        Ok(self.contents(root, Host::current())?.files)
    }

    /// The content of one of its files, verified.
    pub fn package_file(&self, file: &PackageFile) -> Result<Vec<u8>, WalkError> {
        let mut bytes = Vec::new();
        for chunk in &file.chunks {
            bytes.extend_from_slice(&self.read(chunk.digest)?);
        }
        Ok(bytes)
    }

    pub(super) fn contents(&self, root: Digest, host: Host) -> Result<Contents, WalkError> {
        let mut contents = Contents::default();
        let mut survey = Survey::new(host);
        let mut links = Links::new();
        // Folders on the way down, so that what is below can be told from a loop of claims.
        let mut pending = vec![(String::new(), root, 0_usize)];
        let mut taken = BTreeSet::new();
        let mut entries = 0_u64;
        while let Some((path, digest, depth)) = pending.pop() {
            if depth > MAX_DEPTH {
                return Err(WalkError::Unsound(format!(
                    "it has folders over {MAX_DEPTH} deep"
                )));
            }
            let tree = self.tree(digest)?;
            entries += tree.entries().len() as u64;
            if entries > MAX_PACKAGE_ENTRIES {
                return Err(WalkError::Unsound(format!(
                    "it has over {MAX_PACKAGE_ENTRIES} entries"
                )));
            }
            if taken.insert(digest) {
                survey.take(digest, &tree)?;
            }
            for entry in tree.entries() {
                let at = if path.is_empty() {
                    entry.name.clone()
                } else {
                    format!("{path}/{}", entry.name)
                };
                match &entry.kind {
                    EntryKind::File {
                        executable,
                        size_bytes,
                        digest,
                        chunks,
                    } => contents.files.push(PackageFile {
                        chunks: as_chunks(&entry.name, *size_bytes, *digest, chunks)?,
                        path: at,
                        size_bytes: *size_bytes,
                        executable: *executable,
                    }),
                    EntryKind::Dir { digest, .. } => {
                        contents.folders.push(at.clone());
                        pending.push((at, *digest, depth + 1));
                    }
                    EntryKind::Symlink { target } => {
                        links.insert(at.split('/').map(str::to_owned).collect(), target.clone());
                        contents.links.push((at, target.clone()));
                    }
                }
            }
        }
        names::check_links(&links).map_err(|(at, why)| {
            WalkError::Unsound(format!("the link '{at}' is refused: {why}"))
        })?;
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }
}
