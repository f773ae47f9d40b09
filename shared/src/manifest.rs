//! Package manifests: a Merkle tree with one node a folder, each stored by its digest.
//!
//! An unchanged folder has an unchanged digest, so it costs nothing to send. Releases pin the
//! root's digest, so the form below is fixed by golden bytes and may never change:
//!
//! ```text
//! node  = "mantle-tree/1\n" count:u32 entry*          entries sorted by name, bytewise, unique
//! entry = 'f'|'x' name size:u64 digest:32 n:u32 (length:u32 digest:32)*n
//!       | 'd' name digest:32 size:u64 files:u64       the child node, and what is below it
//!       | 'l' name length:u16 target                  a symlink, relative, inside the tree
//! name  = length:u16 bytes                            UTF-8, NFC
//! ```
//!
//! All integers are big-endian. `x` is a file that may be executed. `n` is 0 when the file is one
//! chunk, whose digest is then the file's own. There is no owner, no time, no other mode bit.

use unicode_normalization::UnicodeNormalization;

use crate::digest::Digest;

const MAGIC: &[u8] = b"mantle-tree/1\n";
/// The most entries that one folder may have.
pub const MAX_ENTRIES: u32 = 200_000;
/// The longest name of an entry, in bytes: what file systems take.
pub const MAX_NAME_BYTES: usize = 255;
/// The largest encoded node.
pub const MAX_NODE_BYTES: usize = 64 * 1024 * 1024;
/// The deepest nesting of folders.
pub const MAX_DEPTH: usize = 64;

/// One folder of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<Entry>,
}

/// One thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name within the folder.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// It may be executed.
        executable: bool,
        /// Its size.
        size_bytes: u64,
        /// The digest of its content.
        digest: Digest,
        /// Its chunks in order; empty when it is one chunk with the file's own digest.
        chunks: Vec<Chunk>,
    },
    /// A folder.
    Dir {
        /// The digest of its encoded node.
        digest: Digest,
        /// The size of all files below it.
        size_bytes: u64,
        /// How many files are below it.
        files: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points: relative, inside the tree.
        target: String,
    },
}

/// A piece of a file, cut by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its length.
    pub length: u32,
    /// Its digest.
    pub digest: Digest,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes do not follow the form.
    #[error("the manifest is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where.
        offset: usize,
        /// What was expected.
        what: &'static str,
    },
    /// A name that no package may hold.
    #[error("the name '{name}' is refused: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// Entries are not sorted by name, or one stands twice.
    #[error("the entry '{name}' is out of order or stands twice")]
    Order {
        /// The name.
        name: String,
    },
    /// The chunks of a file do not add up to its size.
    #[error("the chunks of '{name}' do not add up to its size")]
    Size {
        /// The file.
        name: String,
    },
}

/// Checks the rules that hold for every entry name on every platform.
pub fn check_name(name: &str) -> Result<(), ManifestError> {
    let why = if name.is_empty() || name == "." || name == ".." {
        "it names no entry"
    } else if name.len() > MAX_NAME_BYTES {
        "it is over 255 bytes"
    } else if name.contains(['/', '\0']) {
        "it holds a separator or a NUL"
    } else if !name.nfc().eq(name.chars()) {
        "it is not in Unicode normal form C"
    } else {
        return Ok(());
    };
    Err(ManifestError::Name {
        name: name.to_owned(),
        why,
    })
}

impl Tree {
    /// A folder of these entries; they are sorted here, and checked.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let tree = Self { entries };
        tree.check()?;
        Ok(tree)
    }

    /// The entries, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The size of all files in it and below.
    pub fn size_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| {
            sum.saturating_add(match &entry.kind {
                EntryKind::File { size_bytes, .. } | EntryKind::Dir { size_bytes, .. } => {
                    *size_bytes
                }
                EntryKind::Symlink { .. } => 0,
            })
        })
    }

    /// How many files are in it and below.
    pub fn files(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| {
            sum.saturating_add(match &entry.kind {
                EntryKind::File { .. } => 1,
                EntryKind::Dir { files, .. } => *files,
                EntryKind::Symlink { .. } => 0,
            })
        })
    }

    /// The canonical bytes; their digest names the folder.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 4 + self.entries.len() * 80);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, self.entries.len());
        for entry in &self.entries {
            encode_entry(&mut out, entry);
        }
        out
    }

    /// The digest of [`Self::encode`].
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Reads canonical bytes; anything else is refused, so that one tree has one digest.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader { bytes, offset: 0 };
        if reader.take(MAGIC.len(), "the mark")? != MAGIC {
            return Err(ManifestError::Damaged {
                offset: 0,
                what: "the mark",
            });
        }
        let count = reader.u32("the number of entries")?;
        // An entry has at least five bytes, which bounds what a lying count can reserve.
        if count > MAX_ENTRIES || (count as usize) > bytes.len() / 5 {
            return Err(reader.damaged("a possible number of entries"));
        }
        let mut entries = Vec::with_capacity(count as usize);
        for _ in 0..count {
            entries.push(decode_entry(&mut reader)?);
        }
        if reader.offset != bytes.len() {
            return Err(reader.damaged("the end"));
        }
        let tree = Self { entries };
        tree.check()?;
        Ok(tree)
    }

    fn check(&self) -> Result<(), ManifestError> {
        for pair in self.entries.windows(2) {
            if let [before, after] = pair
                && before.name.as_bytes() >= after.name.as_bytes()
            {
                return Err(ManifestError::Order {
                    name: after.name.clone(),
                });
            }
        }
        for entry in &self.entries {
            check_name(&entry.name)?;
            if let EntryKind::File {
                size_bytes, chunks, ..
            } = &entry.kind
                && !chunks.is_empty()
                && chunks.iter().map(|c| u64::from(c.length)).sum::<u64>() != *size_bytes
            {
                return Err(ManifestError::Size {
                    name: entry.name.clone(),
                });
            }
        }
        Ok(())
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    // Folders and files are bounded far below this; a saturated count is refused when read.
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry) {
    match &entry.kind {
        EntryKind::File {
            executable,
            size_bytes,
            digest,
            chunks,
        } => {
            out.push(if *executable { b'x' } else { b'f' });
            put_text(out, &entry.name);
            out.extend_from_slice(&size_bytes.to_be_bytes());
            out.extend_from_slice(digest.as_bytes());
            put_u32(out, chunks.len());
            for chunk in chunks {
                out.extend_from_slice(&chunk.length.to_be_bytes());
                out.extend_from_slice(chunk.digest.as_bytes());
            }
        }
        EntryKind::Dir {
            digest,
            size_bytes,
            files,
        } => {
            out.push(b'd');
            put_text(out, &entry.name);
            out.extend_from_slice(digest.as_bytes());
            out.extend_from_slice(&size_bytes.to_be_bytes());
            out.extend_from_slice(&files.to_be_bytes());
        }
        EntryKind::Symlink { target } => {
            out.push(b'l');
            put_text(out, &entry.name);
            put_text(out, target);
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, what: &'static str) -> ManifestError {
        ManifestError::Damaged {
            offset: self.offset,
            what,
        }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], ManifestError> {
        let end = self
            .offset
            .checked_add(length)
            .ok_or_else(|| self.damaged(what))?;
        let part = self
            .bytes
            .get(self.offset..end)
            .ok_or_else(|| self.damaged(what))?;
        self.offset = end;
        Ok(part)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ManifestError> {
        let part = self.take(N, what)?;
        part.try_into().map_err(|_| self.damaged(what))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, ManifestError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, ManifestError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    fn digest(&mut self, what: &'static str) -> Result<Digest, ManifestError> {
        Ok(Digest::from_bytes(self.array(what)?))
    }

    fn text(&mut self, what: &'static str) -> Result<String, ManifestError> {
        let length = u16::from_be_bytes(self.array(what)?);
        let bytes = self.take(usize::from(length), what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.damaged(what))
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, ManifestError> {
    let [tag] = reader.array("the kind of an entry")?;
    let name = reader.text("a name")?;
    let kind = match tag {
        b'f' | b'x' => {
            let size_bytes = reader.u64("a file's size")?;
            let digest = reader.digest("a file's digest")?;
            let count = reader.u32("a file's number of chunks")? as usize;
            if count == 1 || count > reader.bytes.len() / 36 {
                return Err(reader.damaged("a possible number of chunks"));
            }
            let mut chunks = Vec::with_capacity(count);
            for _ in 0..count {
                let length = reader.u32("a chunk's length")?;
                chunks.push(Chunk {
                    length,
                    digest: reader.digest("a chunk's digest")?,
                });
            }
            EntryKind::File {
                executable: tag == b'x',
                size_bytes,
                digest,
                chunks,
            }
        }
        b'd' => EntryKind::Dir {
            digest: reader.digest("a folder's digest")?,
            size_bytes: reader.u64("a folder's size")?,
            files: reader.u64("a folder's number of files")?,
        },
        b'l' => EntryKind::Symlink {
            target: reader.text("a link's target")?,
        },
        _ => return Err(reader.damaged("the kind of an entry")),
    };
    Ok(Entry { name, kind })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
