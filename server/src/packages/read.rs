//! Reads from stored packages: the archive as it was pushed, one file, the list of files.

use bytes::Bytes;
use futures_util::{Stream, stream};
use mantle_shared::Digest;
use mantle_shared::manifest::{Chunk, Entry, EntryKind};

use super::objects::{ObjectError, Objects};

/// An archive as it was pushed, ready to be read from any place.
#[derive(Debug, Clone)]
pub struct Archive {
    objects: Objects,
    size_bytes: u64,
    chunks: Vec<Chunk>,
}

impl Archive {
    pub(super) fn open(objects: &Objects, archive: &Digest) -> Result<Self, ObjectError> {
        let root = objects.archive_root(archive)?;
        let tree = objects.tree(&root)?;
        let [
            Entry {
                kind:
                    EntryKind::File {
                        size_bytes,
                        digest,
                        chunks,
                        ..
                    },
                ..
            },
        ] = tree.entries()
        else {
            return Err(ObjectError::Damaged {
                digest: root,
                what: "it does not list an archive",
            });
        };
        Ok(Self {
            objects: objects.clone(),
            size_bytes: *size_bytes,
            chunks: pieces(*size_bytes, digest, chunks),
        })
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its bytes from this offset on, a chunk at a time, each verified.
    pub fn stream(self, offset: u64) -> impl Stream<Item = Result<Bytes, ObjectError>> + Send {
        let Self {
            objects, chunks, ..
        } = self;
        let start = (objects, chunks.into_iter(), offset);
        stream::try_unfold(start, |(objects, mut chunks, mut skip)| async move {
            for chunk in chunks.by_ref() {
                let length = u64::from(chunk.length);
                if skip >= length {
                    skip -= length;
                    continue;
                }
                let reader = objects.clone();
                let bytes = super::blocking(move || reader.get(&chunk.digest)).await?;
                let from = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(Some((bytes.slice(from..), (objects, chunks, 0))));
            }
            Ok(None)
        })
    }
}

/// A file's chunks, also where it is one.
fn pieces(size_bytes: u64, digest: &Digest, chunks: &[Chunk]) -> Vec<Chunk> {
    if chunks.is_empty() && size_bytes > 0 {
        vec![Chunk {
            length: u32::try_from(size_bytes).unwrap_or(u32::MAX),
            digest: *digest,
        }]
    } else {
        chunks.to_vec()
    }
}

/// The entry at this path below a root; `None` when there is none.
pub(super) fn entry(
    objects: &Objects,
    root: &Digest,
    path: &str,
) -> Result<Option<Entry>, ObjectError> {
    let mut node = *root;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let tree = objects.tree(&node)?;
        let found = tree
            .entries()
            .binary_search_by(|entry| entry.name.as_bytes().cmp(part.as_bytes()))
            .ok()
            .and_then(|at| tree.entries().get(at));
        match found {
            Some(entry) if parts.peek().is_none() => return Ok(Some(entry.clone())),
            Some(Entry {
                kind: EntryKind::Dir { digest, .. },
                ..
            }) => node = *digest,
            Some(_) | None => return Ok(None),
        }
    }
    Ok(None)
}

/// A file's content, if it is a file of at most this size.
pub(super) fn file(
    objects: &Objects,
    root: &Digest,
    path: &str,
    limit_bytes: u64,
) -> Result<Option<Vec<u8>>, ObjectError> {
    let Some(Entry {
        kind:
            EntryKind::File {
                size_bytes,
                digest,
                chunks,
                ..
            },
        ..
    }) = entry(objects, root, path)?
    else {
        return Ok(None);
    };
    if size_bytes > limit_bytes {
        return Ok(None);
    }
    let mut out = Vec::new();
    for chunk in pieces(size_bytes, &digest, &chunks) {
        out.extend_from_slice(&objects.get(&chunk.digest)?);
    }
    Ok(Some(out))
}

/// A line of a package's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the package, with `/` between names.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// The first so many entries of a package, folders before what is in them.
pub(super) fn list(
    objects: &Objects,
    root: &Digest,
    most: usize,
) -> Result<Vec<Listed>, ObjectError> {
    let mut out = Vec::new();
    // A stack of what is still to be told of, the next on top.
    let mut open: Vec<Listed> = folder(objects, root, "")?;
    while let Some(listed) = open.pop() {
        if out.len() >= most {
            break;
        }
        if let EntryKind::Dir { digest, .. } = &listed.kind {
            open.extend(folder(objects, digest, &listed.path)?);
        }
        out.push(listed);
    }
    Ok(out)
}

fn folder(objects: &Objects, node: &Digest, path: &str) -> Result<Vec<Listed>, ObjectError> {
    let entries = objects.tree(node)?.entries().to_vec();
    Ok(entries
        .into_iter()
        .rev()
        .map(|entry| Listed {
            path: if path.is_empty() {
                entry.name
            } else {
                format!("{path}/{}", entry.name)
            },
            kind: entry.kind,
        })
        .collect())
}
