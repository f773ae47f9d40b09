//! Takes an archive apart: into chunks, folders' nodes, and the archive itself as chunks.
//!
//! This is hostile-input code. What an archive can do is to be refused, naming the entry; it
//! cannot escape, collide, hide an entry from another reader, or use more memory than a few
//! buffers and its own list of entries. Objects that a refused archive left in the store are
//! collected later; nothing names them.
//!
//! The pieces: `format` tells what it is; `zip` and `tar` read entries; `path` checks names;
//! `assemble` counts against the limits; `chunk` cuts content; `tree` keeps the folders.

mod assemble;
mod chunk;
mod error;
mod format;
mod path;
mod tar;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod zip;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use mantle_shared::Digest;
use mantle_shared::manifest::{Entry, EntryKind, Tree};
use sha2::{Digest as _, Sha256};

use self::assemble::Assembler;
pub use self::assemble::{Limits, StopFlag};
use self::chunk::{Chunker, Content};
pub use self::error::{IngestError, Refusal};
pub use self::format::{BadFormat, FORMATS, Format};
use self::format::{Container, MAGIC_BYTES};
pub(super) use self::path::is_device as is_windows_device;
pub use self::path::{MAX_PATH_BYTES, Platform};
use super::objects::{Objects, PushLease, Writer};

const READ_BYTES: usize = 128 * 1024;
/// The largest window of a zstd stream, 128 MiB: what `zstd -19 --long` writes and `zstd -d` takes.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What an xz stream's dictionary may take: 128 MiB as for zstd, twice what `xz -9` needs, and a little for
/// the decoder's own tables. The format allows 4 GiB.
const XZ_MEMORY_KIB: u32 = 129 * 1024;
/// The name of the one file in the node that lists an archive's chunks.
const ARCHIVE_NAME: &str = "archive";

/// How a package is to be taken in.
#[derive(Debug, Clone, Default)]
pub struct IngestOptions {
    /// Where it may go.
    pub platform: Platform,
    /// What it may be at most.
    pub limits: Limits,
    /// Gives the work up.
    pub stop: StopFlag,
    /// What people call the file; by default the name under which it is read.
    pub name: Option<String>,
}

/// A package that was taken in. All of it is durable.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// What is to be written down of it.
    pub summary: Summary,
    /// Objects that were not in the store before.
    pub new_objects: u64,
    /// What they take at rest.
    pub new_bytes: u64,
    /// Objects that were there.
    pub reused_objects: u64,
    /// What whoever pushed it should know.
    pub warnings: Vec<String>,
    /// Keep it until a row names the package: so long the collector leaves its objects alone.
    pub lease: PushLease,
}

/// What a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The archive's format.
    pub format: Format,
    /// Where it may go.
    pub platform: Platform,
    /// The digest of the archive as it was pushed.
    pub archive: Digest,
    /// The same in SHA-256, which others publish.
    pub sha256: [u8; 32],
    /// The archive's size.
    pub archive_bytes: u64,
    /// The digest of the node that lists the archive's chunks, for a transfer of the archive.
    pub archive_root: Digest,
    /// The digest of the manifest's root: what releases pin.
    pub root: Digest,
    /// How many files it has.
    pub files: u64,
    /// Their size.
    pub size_bytes: u64,
}

/// Takes in the archive in this file. Blocks.
///
/// Without a format its name tells, and without a telling name its content.
pub(super) fn ingest(
    objects: &Objects,
    file: &Path,
    format: Option<Format>,
    options: &IngestOptions,
) -> Result<Ingested, IngestError> {
    let name = options.name.clone().or_else(|| {
        let name = file.file_name()?;
        Some(name.to_string_lossy().into_owned())
    });
    let name = name.unwrap_or_default();
    let open = File::open(file).map_err(|source| IngestError::Io {
        path: file.to_owned(),
        source,
    })?;
    ingest_reader(objects, open, &name, format, options)
}

/// Takes in a file as it is, whatever it holds. Blocks.
pub(super) fn keep(
    objects: &Objects,
    file: &Path,
    stop: &StopFlag,
) -> Result<PushLease, IngestError> {
    let open = File::open(file).map_err(|source| IngestError::Io {
        path: file.to_owned(),
        source,
    })?;
    let mut writer = objects.writer();
    let (content, _) = store_archive(buffered(open), &mut Chunker::new(), &mut writer, stop)?;
    store_archive_node(&content, &mut writer)?;
    let (_, lease) = writer.finish().map_err(IngestError::Store)?;
    Ok(lease)
}

/// Says what this archive would be as a package, or why it would be refused, and keeps nothing of it.
/// Blocks.
pub fn check(
    file: &Path,
    format: Option<Format>,
    options: &IngestOptions,
) -> Result<Ingested, IngestError> {
    ingest(&Objects::nowhere(), file, format, options)
}

/// Takes in an archive from anything that can be read twice. Blocks.
pub(super) fn ingest_reader<R: Read + Seek>(
    objects: &Objects,
    mut source: R,
    name: &str,
    format: Option<Format>,
    options: &IngestOptions,
) -> Result<Ingested, IngestError> {
    let whole = |e| IngestError::read(e, "the archive");
    let archive_bytes = source.seek(SeekFrom::End(0)).map_err(whole)?;
    source.rewind().map_err(whole)?;
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    (&mut source)
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(whole)?;
    source.rewind().map_err(whole)?;
    let format = decide_format(name, format, &head)?;

    let mut assembler = Assembler::new(
        objects.writer(),
        options.platform,
        options.limits,
        archive_bytes,
        options.stop.clone(),
    );
    take_apart(&mut source, format, &mut assembler)?;
    let (root, warnings, mut writer, mut chunker) = assembler.finish()?;

    source.rewind().map_err(whole)?;
    let (archive, sha256) = store_archive(source, &mut chunker, &mut writer, &options.stop)?;
    let archive_root = store_archive_node(&archive, &mut writer)?;
    let (stats, lease) = writer.finish().map_err(IngestError::Store)?;
    Ok(Ingested {
        summary: Summary {
            format,
            platform: options.platform,
            archive: archive.digest,
            sha256,
            archive_bytes: archive.size_bytes,
            archive_root,
            root: root.digest,
            files: root.files,
            size_bytes: root.size_bytes,
        },
        new_objects: stats.new_objects,
        new_bytes: stats.new_bytes,
        reused_objects: stats.reused_objects,
        warnings,
        lease,
    })
}

fn decide_format(name: &str, given: Option<Format>, head: &[u8]) -> Result<Format, IngestError> {
    let found = Container::of(head);
    let told = given.or_else(|| Format::split_name(name).map(|(_, format)| format));
    match (told, found) {
        (Some(format), Some(found)) if format.container() == found => Ok(format),
        (Some(format), _) => Err(IngestError::WrongFormat {
            name: name.to_owned(),
            format,
            found: format::describe(head),
        }),
        (None, Some(found)) => Ok(found.plain_format()),
        (None, None) => Err(IngestError::UnknownFormat {
            name: name.to_owned(),
        }),
    }
}

fn take_apart<R: Read + Seek>(
    source: &mut R,
    format: Format,
    into: &mut Assembler,
) -> Result<(), IngestError> {
    match format {
        Format::Zip | Format::Jar | Format::War => zip::ingest(source, zip::Dialect::Plain, into),
        Format::Nupkg => zip::ingest(source, zip::Dialect::Nupkg, into),
        Format::Tar => tar::ingest(&mut buffered(source), into),
        Format::TarGz => {
            let mut unpacked = flate2::bufread::MultiGzDecoder::new(buffered(source));
            tar::ingest(&mut unpacked, into)
        }
        Format::TarZst => {
            let unpacked = zstd::stream::read::Decoder::with_buffer(buffered(source));
            let mut unpacked = unpacked
                .and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                })
                .map_err(|e| IngestError::read(e, "the zstd stream"))?;
            tar::ingest(&mut unpacked, into)
        }
        Format::TarBz2 => {
            // Its blocks are 900 kB at most, and so is what it takes.
            let mut unpacked = bzip2::bufread::MultiBzDecoder::new(buffered(source));
            tar::ingest(&mut unpacked, into)
        }
        Format::TarXz => {
            let packed = buffered(source);
            let unpacked = lzma_rust2::XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB);
            tar::ingest(&mut NeverForNothing(unpacked), into)
        }
    }
}

/// Passes on no read of no bytes: the xz decoder takes one for the end of its block.
struct NeverForNothing<R>(R);

impl<R: Read> Read for NeverForNothing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        self.0.read(into)
    }
}

fn buffered<R: Read>(source: R) -> BufReader<R> {
    BufReader::with_capacity(READ_BYTES, source)
}

/// Stores the archive as it is, cut by the same rule as files: versions of a zip share most of
/// their chunks, and an archive of one large file shares them with that file.
fn store_archive<R: Read>(
    source: R,
    chunker: &mut Chunker,
    writer: &mut Writer,
    stop: &StopFlag,
) -> Result<(Content, [u8; 32]), IngestError> {
    let mut hashing = Hashing {
        inner: source,
        sha256: Sha256::new(),
    };
    let content = chunker.store(&mut hashing, "the archive", writer, &mut |_| stop.check())?;
    Ok((content, hashing.sha256.finalize().into()))
}

/// The archive's chunks are listed as those of a file are, so that what walks, sends, verifies and
/// collects packages needs no second form.
fn store_archive_node(archive: &Content, writer: &mut Writer) -> Result<Digest, IngestError> {
    let tree = Tree::new(vec![Entry {
        name: ARCHIVE_NAME.to_owned(),
        kind: EntryKind::File {
            executable: false,
            size_bytes: archive.size_bytes,
            digest: archive.digest,
            chunks: archive.chunks.clone(),
        },
    }])
    .map_err(|e| IngestError::damaged(e.to_string()))?;
    let root = writer.put(&tree.encode())?;
    writer.put_archive(archive.digest, &root)?;
    Ok(root)
}

struct Hashing<R> {
    inner: R,
    sha256: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Takes in arbitrary bytes under low limits, for fuzzing: the first byte chooses what they are
/// said to be, the rest is the archive. It must always return.
pub fn fuzz_entry(data: &[u8]) -> Result<Summary, IngestError> {
    let (choice, archive) = data.split_first().unwrap_or((&0, &[]));
    let format = Format::ALL.get(usize::from(choice & 0x0f)).copied();
    let options = IngestOptions {
        platform: if choice & 0x80 == 0 {
            Platform::Any
        } else {
            Platform::Linux
        },
        limits: Limits {
            entries: 1000,
            unpacked_bytes: 4 * 1024 * 1024,
            ratio: 100,
            ratio_from_bytes: 64 * 1024,
        },
        stop: StopFlag::default(),
        name: None,
    };
    ingest_reader(
        &Objects::memory(),
        Cursor::new(archive),
        "fuzz",
        format,
        &options,
    )
    .map(|ingested| ingested.summary)
}
