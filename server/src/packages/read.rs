//! Reads from stored packages: the archive as it was pushed, and their files one after the other.

use std::io::{self, Read, Seek, SeekFrom};

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

    /// The archive as a file: for what blocks.
    pub(super) fn into_reader(self) -> ArchiveReader {
        let mut end = 0;
        let ends = self.chunks.iter().map(|chunk| {
            end += u64::from(chunk.length);
            end
        });
        ArchiveReader {
            ends: ends.collect(),
            archive: self,
            at: 0,
            open: None,
        }
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

/// Reads an archive from any place, a chunk at a time.
#[derive(Debug)]
pub(super) struct ArchiveReader {
    archive: Archive,
    /// Where each chunk ends.
    ends: Vec<u64>,
    at: u64,
    /// The chunk of this number.
    open: Option<(usize, Bytes)>,
}

impl ArchiveReader {
    fn chunk(&mut self, number: usize, chunk: Chunk) -> io::Result<Bytes> {
        match &self.open {
            Some((open, bytes)) if *open == number => Ok(bytes.clone()),
            _ => {
                let read = self.archive.objects.get(&chunk.digest);
                let bytes = read.map_err(io::Error::other)?;
                self.open = Some((number, bytes.clone()));
                Ok(bytes)
            }
        }
    }
}

impl Read for ArchiveReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let number = self.ends.partition_point(|end| *end <= self.at);
        let (Some(end), Some(chunk)) = (
            self.ends.get(number).copied(),
            self.archive.chunks.get(number).copied(),
        ) else {
            return Ok(0);
        };
        let bytes = self.chunk(number, chunk)?;
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let from = bytes.len().saturating_sub(left);
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for ArchiveReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(back) => self.archive.size_bytes.checked_add_signed(back),
            SeekFrom::Current(step) => self.at.checked_add_signed(step),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
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

/// An entry of a package, met on the way through it.
#[derive(Debug)]
pub struct Met<'a> {
    objects: &'a Objects,
    path: &'a str,
    kind: &'a EntryKind,
}

impl Met<'_> {
    /// Its path in the package, with `/` between names.
    pub fn path(&self) -> &str {
        self.path
    }

    /// The content, if it is a file of at most this size.
    pub fn read(&self, limit_bytes: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let EntryKind::File {
            size_bytes,
            digest,
            chunks,
            ..
        } = self.kind
        else {
            return Ok(None);
        };
        if *size_bytes > limit_bytes {
            return Ok(None);
        }
        let mut out = Vec::new();
        for chunk in pieces(*size_bytes, digest, chunks) {
            out.extend_from_slice(&self.objects.get(&chunk.digest)?);
        }
        Ok(Some(out))
    }
}

/// Goes through all entries below a root, those of a folder after the folder; reads the node of each
/// folder once. Blocks. An error of who visits ends it.
pub fn each_entry<E: From<ObjectError>>(
    objects: &Objects,
    root: &Digest,
    visit: &mut dyn FnMut(&Met<'_>) -> Result<(), E>,
) -> Result<(), E> {
    // Folders that are still to be gone through, the next on top.
    let mut open = vec![(String::new(), *root)];
    while let Some((folder, node)) = open.pop() {
        for Entry { name, kind } in objects.tree(&node)?.entries() {
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            visit(&Met {
                objects,
                path: &path,
                kind,
            })?;
            if let EntryKind::Dir { digest, .. } = kind {
                open.push((path, *digest));
            }
        }
    }
    Ok(())
}
