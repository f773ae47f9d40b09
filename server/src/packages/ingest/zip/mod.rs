//! Reads a zip so that no other reader can find anything else in it.
//!
//! The central directory says what there is; every local header must agree with it, no two entries
//! may share bytes, and what lies between entries may hide none. The parts: `directory` finds and
//! parses the central directory, this file takes the entries in.

mod directory;

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use self::directory::{Directory, Record};
use super::assemble::Assembler;
use super::error::{IngestError, Refusal};
use super::path::EntryPath;
use super::tree::MAX_TARGET_BYTES;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
const READ_BYTES: usize = 128 * 1024;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ZSTD: u16 = 93;
/// The largest window of a zstd entry, 8 MiB: what its format asks every reader to have.
const ZSTD_WINDOW_LOG: u32 = 23;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_STRONG: u16 = 1 << 6;
const FLAG_UTF8: u16 = 1 << 11;
const FLAG_MASKED: u16 = 1 << 13;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;

/// How the names of a kind of zip are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As they stand.
    Plain,
    /// As in a NuGet package: percent-encoded, with packaging parts that are not content.
    Nupkg,
}

/// Takes in every entry of this zip.
pub(super) fn ingest<R: Read + Seek>(
    file: R,
    dialect: Dialect,
    into: &mut Assembler,
) -> Result<(), IngestError> {
    let mut source = Source::new(file)?;
    let directory = Directory::read(&mut source, into)?;
    let mut records = directory.records;
    records.sort_by_key(|record| record.local_at);
    let mut at = 0;
    for record in &records {
        if record.local_at < at {
            return Err(record.refuse(Refusal::Overlap));
        }
        source.expect_no_entry_between(at, record.local_at)?;
        let data_at = check_local(&mut source, record)?;
        at = data_at
            .checked_add(record.packed_bytes)
            .filter(|end| *end <= directory.at)
            .ok_or_else(|| record.refuse(Refusal::Overlap))?;
        source.seek(data_at)?;
        take_in(&mut source, record, dialect, into)?;
    }
    source.expect_no_entry_between(at, directory.at)
}

/// The local header must say what the central one says; gives where the entry's bytes begin.
fn check_local<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Record,
) -> Result<u64, IngestError> {
    let disagree = |what| record.refuse(Refusal::Disagreement(what));
    source.seek(record.local_at)?;
    let header: [u8; LOCAL_BYTES] = source.array()?;
    let mut fields = Fields(&header);
    if fields.array::<4>() != LOCAL {
        return Err(disagree("where it is"));
    }
    let (_version, flags, method) = (fields.u16(), fields.u16(), fields.u16());
    let _time_and_date = fields.u32();
    let (crc, packed, size) = (fields.u32(), fields.u32(), fields.u32());
    let (name_bytes, extra_bytes) = (usize::from(fields.u16()), usize::from(fields.u16()));
    let name = source.bytes(name_bytes)?;
    let extra = source.bytes(extra_bytes)?;
    if name != record.raw_name {
        return Err(disagree("its name"));
    }
    if method != record.method {
        return Err(disagree("its compression"));
    }
    let meaning = FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED | FLAG_UTF8;
    let both_ascii = name.is_ascii();
    if (flags ^ record.flags) & meaning & !(if both_ascii { FLAG_UTF8 } else { 0 }) != 0 {
        return Err(disagree("its flags"));
    }
    let (size, packed) = directory::widen(u64::from(size), u64::from(packed), &extra)
        .ok_or_else(|| disagree("its size"))?;
    // A writer that streams states zeros here and the truth after the data; both or neither.
    let streamed = flags & FLAG_DESCRIPTOR != 0;
    let absent = |stated: u64| streamed && stated == 0;
    if size != record.size_bytes && !absent(size) {
        return Err(disagree("its size"));
    }
    if packed != record.packed_bytes && !absent(packed) {
        return Err(disagree("its size"));
    }
    if crc != record.crc && !absent(u64::from(crc)) {
        return Err(disagree("its checksum"));
    }
    Ok(record.local_at + (LOCAL_BYTES + name_bytes + extra_bytes) as u64)
}

fn take_in<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Record,
    dialect: Dialect,
    into: &mut Assembler,
) -> Result<(), IngestError> {
    if record.flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED) != 0 {
        return Err(record.refuse(Refusal::Encrypted));
    }
    let name = plain_name(record, dialect, into)?;
    let Some(name) = name else {
        return Ok(());
    };
    let path = into.begin(&name)?;
    let mode = record.unix_mode();
    if mode.is_some_and(|mode| mode & 0o6000 != 0) {
        into.warn_setuid(&path);
    }
    match mode.map_or(0, |mode| mode & TYPE_MASK) {
        TYPE_LINK if path.is_folder => {
            Err(record.refuse(Refusal::Disagreement("whether it is a link or a folder")))
        }
        TYPE_LINK => {
            if record.size_bytes > MAX_TARGET_BYTES as u64 {
                return Err(record.refuse(Refusal::LinkTarget("is longer than a path can be")));
            }
            let mut target = Vec::new();
            unpack(source, record, |content| {
                content
                    .read_to_end(&mut target)
                    .map_err(|e| IngestError::read(e, "a symbolic link"))
            })?;
            into.spend(target.len())?;
            into.symlink(&path, &target)
        }
        TYPE_FILE if path.is_folder => {
            Err(record.refuse(Refusal::Disagreement("whether it is a file or a folder")))
        }
        0 | TYPE_FILE | TYPE_FOLDER => {
            let is_folder = path.is_folder || mode.is_some_and(|m| m & TYPE_MASK == TYPE_FOLDER);
            if is_folder {
                folder(&path, record, into)
            } else {
                let executable = mode.map(|mode| mode & 0o111 != 0);
                unpack(source, record, |content| {
                    into.file(&path, executable, content).map(|_| ())
                })
            }
        }
        0o010_000 => Err(record.refuse(Refusal::Special("a named pipe"))),
        0o140_000 => Err(record.refuse(Refusal::Special("a socket"))),
        _ => Err(record.refuse(Refusal::Special("a device"))),
    }
}

fn folder(path: &EntryPath, record: &Record, into: &mut Assembler) -> Result<(), IngestError> {
    if record.size_bytes != 0 {
        return Err(record.refuse(Refusal::Disagreement("whether it is a file or a folder")));
    }
    into.folder(path)
}

/// The name as it is meant; `None` for what is packaging and not content.
fn plain_name(
    record: &Record,
    dialect: Dialect,
    into: &mut Assembler,
) -> Result<Option<Vec<u8>>, IngestError> {
    let mut name = record.name()?;
    // Old .NET wrote Windows's separator. Only where nothing else can be meant is it read so.
    if record.is_from_dos() && name.contains(&b'\\') && !name.contains(&b'/') {
        for byte in &mut name {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
        into.warn(format!(
            "'{}' has backslashes between folders; they are read as slashes",
            super::error::printable(&record.raw_name)
        ));
    }
    match dialect {
        Dialect::Plain => Ok(Some(name)),
        Dialect::Nupkg => {
            let name = percent_decode(&name);
            Ok((!is_packaging(&name)).then_some(name))
        }
    }
}

/// NuGet's own parts, which it leaves out too when it unpacks: relations, content types and core
/// properties. The `.nuspec` and a signature stay.
fn is_packaging(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == b"[content_types].xml"
        || lower.starts_with(b"_rels/")
        || lower.starts_with(b"package/services/metadata/core-properties/")
        || lower == b"package/"
        || lower == b"package/services/"
        || lower == b"package/services/metadata/"
}

/// Decodes `%20` and its like once; what is no escape stays.
fn percent_decode(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail
            .split_first_chunk::<2>()
            .filter(|_| byte == b'%')
            .and_then(|(digits, after)| {
                let mut value = [0];
                hex::decode_to_slice(digits, &mut value).ok()?;
                Some((value, after))
            });
        let ([value], after) = escaped.unwrap_or(([byte], tail));
        out.push(value);
        rest = after;
    }
    out
}

/// Hands out an entry's content and checks that it is all that, and only what, was stated.
fn unpack<R: Read + Seek, T>(
    source: &mut Source<R>,
    record: &Record,
    consume: impl FnOnce(&mut dyn Read) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let packed = (&mut source.reader).take(record.packed_bytes);
    let (value, checked, packed) = match record.method {
        STORED => {
            let mut checked = Checked::new(packed, record.size_bytes);
            let value = consume(&mut checked)?;
            let verdict = checked.verdict();
            (value, verdict, checked.inner)
        }
        DEFLATED => {
            let mut checked = Checked::new(DeflateDecoder::new(packed), record.size_bytes);
            let value = consume(&mut checked)?;
            let verdict = checked.verdict();
            (value, verdict, checked.inner.into_inner())
        }
        ZSTD => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed).and_then(|mut d| {
                d.window_log_max(ZSTD_WINDOW_LOG)?;
                Ok(d.single_frame())
            });
            let decoder =
                decoder.map_err(|_| IngestError::damaged("no memory for a decompressor"))?;
            let mut checked = Checked::new(decoder, record.size_bytes);
            let value = consume(&mut checked)?;
            let verdict = checked.verdict();
            (value, verdict, checked.inner.finish())
        }
        other => return Err(record.refuse(Refusal::Method(other))),
    };
    let left = packed.limit();
    source.at += record.packed_bytes - left;
    match checked {
        // What an entry states and does not use could be another's.
        Ok(_) if left != 0 => Err(record.refuse(Refusal::Size)),
        Ok(crc) if crc != record.crc => Err(record.refuse(Refusal::Checksum)),
        Ok(_) => Ok(value),
        Err(why) => Err(record.refuse(why)),
    }
}

/// Reads no more than an entry states, and notes what it was.
struct Checked<R> {
    inner: R,
    crc: Crc,
    left: u64,
    overran: bool,
}

impl<R: Read> Checked<R> {
    fn new(inner: R, size_bytes: u64) -> Self {
        Self {
            inner,
            crc: Crc::new(),
            left: size_bytes,
            overran: false,
        }
    }

    /// The content's checksum, if it was as long as stated.
    fn verdict(&self) -> Result<u32, Refusal> {
        if self.overran || self.left != 0 {
            Err(Refusal::Size)
        } else {
            Ok(self.crc.sum())
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            // A decoder must be asked once more to see its end, and that there is no more.
            self.overran |= !buffer.is_empty() && self.inner.read(&mut [0])? != 0;
            return Ok(0);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = self.inner.read(part)?;
        self.crc.update(part.get(..read).unwrap_or_default());
        self.left -= read as u64;
        Ok(read)
    }
}

/// A file and where in it we are, so that reading on costs no seek.
pub(super) struct Source<R> {
    reader: BufReader<R>,
    at: u64,
    size_bytes: u64,
}

impl<R: Read + Seek> Source<R> {
    fn new(mut file: R) -> Result<Self, IngestError> {
        let size_bytes = file
            .seek(SeekFrom::End(0))
            .and_then(|size| file.rewind().map(|()| size))
            .map_err(|e| IngestError::read(e, "the archive"))?;
        Ok(Self {
            reader: BufReader::with_capacity(READ_BYTES, file),
            at: 0,
            size_bytes,
        })
    }

    fn seek(&mut self, to: u64) -> Result<(), IngestError> {
        let step = i64::try_from(i128::from(to) - i128::from(self.at));
        let moved = match step {
            Ok(0) => Ok(()),
            Ok(step) => self.reader.seek_relative(step),
            Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        moved.map_err(|e| IngestError::read(e, "the archive"))?;
        self.at = to;
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, IngestError> {
        let mut bytes = vec![0; count];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|e| IngestError::read(e, "the archive"))?;
        self.at += count as u64;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IngestError> {
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|e| IngestError::read(e, "the archive"))?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Bytes that belong to no entry may be a descriptor or padding, but not an entry that only a
    /// reader from front to back would find.
    fn expect_no_entry_between(&mut self, from: u64, to: u64) -> Result<(), IngestError> {
        if from == to {
            return Ok(());
        }
        self.seek(from)?;
        let mut last = [0_u8; 4];
        let mut left = to - from;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let buffer = self
                .reader
                .fill_buf()
                .map_err(|e| IngestError::read(e, "the archive"))?;
            let part = buffer.get(..most.min(buffer.len())).unwrap_or_default();
            if part.is_empty() {
                return Err(IngestError::damaged("it is cut short"));
            }
            for byte in part {
                last.rotate_left(1);
                last[3] = *byte;
                if last == LOCAL {
                    return Err(IngestError::damaged(
                        "it holds an entry that its directory does not name",
                    ));
                }
            }
            let read = part.len();
            self.reader.consume(read);
            self.at += read as u64;
            left -= read as u64;
        }
        Ok(())
    }
}

/// Little-endian fields from front to back; past the end they are zero.
pub(super) struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.0 = tail;
                *head
            }
            None => [0; N],
        }
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
