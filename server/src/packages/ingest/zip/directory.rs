//! The central directory: found at the file's very end, parsed strictly, bounded before it is read.

use std::io::{Read, Seek};

use super::{FLAG_UTF8, Fields, Source};
use crate::packages::ingest::assemble::Assembler;
use crate::packages::ingest::error::{IngestError, Refusal};

const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_BYTES: u64 = 56;
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_64_BYTES: u64 = 20;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;
/// In a 32-bit field: the true value stands in the 64-bit extra field.
const WIDE: u32 = u32::MAX;
const WIDE_COUNT: u16 = u16::MAX;
const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;
/// The longest name that a header may hold; `path` has the limit that entries must keep.
const MAX_NAME_BYTES: usize = 8192;

/// The systems whose writers mean the upper half of the attributes as a Unix mode.
const HOST_UNIX: u8 = 3;
const HOST_DARWIN: u8 = 19;
/// The systems of DOS's kin, where the separator is a backslash.
const HOSTS_DOS: [u8; 4] = [0, 10, 11, 14];

/// The central directory.
pub(super) struct Directory {
    pub(super) records: Vec<Record>,
    /// Where it begins; no entry may reach into it.
    pub(super) at: u64,
}

/// What the central directory says of an entry.
pub(super) struct Record {
    pub(super) raw_name: Vec<u8>,
    unicode_name: Option<Vec<u8>>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed_bytes: u64,
    pub(super) size_bytes: u64,
    pub(super) local_at: u64,
    host: u8,
    attributes: u32,
}

/// What the end record says.
struct End {
    at: u64,
    records: u64,
    directory_at: u64,
    directory_bytes: u64,
}

impl Record {
    pub(super) fn refuse(&self, why: Refusal) -> IngestError {
        IngestError::refused(&self.raw_name, why)
    }

    /// The Unix mode; `None` where the writer gave none.
    pub(super) fn unix_mode(&self) -> Option<u32> {
        let mode = self.attributes >> 16;
        (matches!(self.host, HOST_UNIX | HOST_DARWIN) && mode != 0).then_some(mode)
    }

    pub(super) fn is_from_dos(&self) -> bool {
        HOSTS_DOS.contains(&self.host)
    }

    /// The name in UTF-8. Where it stands twice the two must agree.
    pub(super) fn name(&self) -> Result<Vec<u8>, IngestError> {
        let is_text = std::str::from_utf8(&self.raw_name).is_ok();
        match &self.unicode_name {
            Some(unicode) if !is_text && self.flags & FLAG_UTF8 == 0 => Ok(unicode.clone()),
            Some(unicode) if *unicode != self.raw_name => {
                Err(self.refuse(Refusal::Disagreement("its name")))
            }
            _ if is_text => Ok(self.raw_name.clone()),
            _ => Err(self.refuse(Refusal::NotUtf8)),
        }
    }
}

impl Directory {
    pub(super) fn read<R: Read + Seek>(
        source: &mut Source<R>,
        into: &mut Assembler,
    ) -> Result<Self, IngestError> {
        let end = find_end(source)?;
        let end_of_directory = end.directory_at.checked_add(end.directory_bytes);
        if end_of_directory != Some(end.at) {
            return Err(IngestError::damaged(
                "its directory is not where its end record says",
            ));
        }
        let limit = into.limits();
        if end.records > limit.entries {
            return Err(IngestError::TooManyEntries {
                limit: limit.entries,
            });
        }
        if end.records > end.directory_bytes / CENTRAL_BYTES as u64 {
            return Err(IngestError::damaged(
                "its directory is too small for its number of entries",
            ));
        }
        source.seek(end.directory_at)?;
        let mut records = Vec::new();
        let mut stated_bytes = 0_u64;
        while source.at < end.at {
            let record = read_record(source)?;
            stated_bytes = stated_bytes.saturating_add(record.size_bytes);
            records.push(record);
            if records.len() as u64 > end.records {
                break;
            }
        }
        if source.at != end.at || records.len() as u64 != end.records {
            return Err(IngestError::damaged(
                "its directory has not the number of entries that it states",
            ));
        }
        if stated_bytes > limit.unpacked_bytes {
            return Err(IngestError::TooLarge {
                limit_bytes: limit.unpacked_bytes,
            });
        }
        Ok(Self {
            records,
            at: end.directory_at,
        })
    }
}

/// Finds the end record: the one whose comment reaches exactly to the file's end. Where two could
/// be meant, two readers would see two archives.
fn find_end<R: Read + Seek>(source: &mut Source<R>) -> Result<End, IngestError> {
    let window = (END_BYTES + MAX_COMMENT_BYTES) as u64;
    let from = source.size_bytes.saturating_sub(window);
    source.seek(from)?;
    let tail = source.bytes(usize::try_from(source.size_bytes - from).unwrap_or_default())?;
    let fits = |at: &usize| {
        let rest = tail.get(*at..).unwrap_or_default();
        let comment = rest.get(20..22).map(|length| Fields(length).u16());
        rest.starts_with(&END) && comment.map(usize::from) == rest.len().checked_sub(END_BYTES)
    };
    let mut candidates = (0..tail.len().saturating_sub(END_BYTES - 1)).filter(fits);
    let at = candidates
        .next()
        .ok_or_else(|| IngestError::damaged("it has no end record; it may be cut short"))?;
    if candidates.next().is_some() {
        return Err(IngestError::damaged("it has two end records"));
    }
    let mut fields = Fields(tail.get(at..).unwrap_or_default());
    let _signature = fields.u32();
    let disks = (fields.u16(), fields.u16());
    let (on_this_disk, records) = (fields.u16(), fields.u16());
    let (directory_bytes, directory_at) = (fields.u32(), fields.u32());
    let at = from + at as u64;
    if disks != (0, 0) || on_this_disk != records {
        return Err(IngestError::damaged("it is one part of several"));
    }
    let end = End {
        at,
        records: u64::from(records),
        directory_at: u64::from(directory_at),
        directory_bytes: u64::from(directory_bytes),
    };
    match read_end_64(source, at)? {
        Some(wide) => {
            let agrees = (records == WIDE_COUNT || u64::from(records) == wide.records)
                && (directory_at == WIDE || u64::from(directory_at) == wide.directory_at)
                && (directory_bytes == WIDE || u64::from(directory_bytes) == wide.directory_bytes);
            if agrees {
                Ok(wide)
            } else {
                Err(IngestError::damaged("its two end records disagree"))
            }
        }
        None => Ok(end),
    }
}

/// The 64-bit end record, if a locator for it stands right before the end record.
fn read_end_64<R: Read + Seek>(
    source: &mut Source<R>,
    end_at: u64,
) -> Result<Option<End>, IngestError> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_64_BYTES) else {
        return Ok(None);
    };
    source.seek(locator_at)?;
    let locator: [u8; 20] = source.array()?;
    let mut fields = Fields(&locator);
    if fields.array::<4>() != LOCATOR_64 {
        return Ok(None);
    }
    let bad = || IngestError::damaged("its 64-bit end record is malformed");
    let (disk, at, disks) = (fields.u32(), fields.u64(), fields.u32());
    if disk != 0 || disks > 1 || at.checked_add(END_64_BYTES) != Some(locator_at) {
        return Err(bad());
    }
    source.seek(at)?;
    let record: [u8; 56] = source.array()?;
    let mut fields = Fields(&record);
    if fields.array::<4>() != END_64 || fields.u64() != END_64_BYTES - 12 {
        return Err(bad());
    }
    let _versions = fields.u32();
    let disks = (fields.u32(), fields.u32());
    let (on_this_disk, records) = (fields.u64(), fields.u64());
    let (directory_bytes, directory_at) = (fields.u64(), fields.u64());
    if disks != (0, 0) || on_this_disk != records {
        return Err(bad());
    }
    Ok(Some(End {
        at,
        records,
        directory_at,
        directory_bytes,
    }))
}

fn read_record<R: Read + Seek>(source: &mut Source<R>) -> Result<Record, IngestError> {
    let header: [u8; CENTRAL_BYTES] = source.array()?;
    let mut fields = Fields(&header);
    if fields.array::<4>() != CENTRAL {
        return Err(IngestError::damaged("its directory is malformed"));
    }
    let made_by = fields.u16();
    let _needed = fields.u16();
    let (flags, method) = (fields.u16(), fields.u16());
    let _time_and_date = fields.u32();
    let (crc, packed, size) = (fields.u32(), fields.u32(), fields.u32());
    let (name_bytes, extra_bytes, comment_bytes) = (fields.u16(), fields.u16(), fields.u16());
    let disk = fields.u16();
    let _internal = fields.u16();
    let (attributes, local_at) = (fields.u32(), fields.u32());
    if usize::from(name_bytes) > MAX_NAME_BYTES {
        return Err(IngestError::damaged(format!(
            "an entry's name is over {MAX_NAME_BYTES} bytes"
        )));
    }
    let raw_name = source.bytes(usize::from(name_bytes))?;
    let extra = source.bytes(usize::from(extra_bytes))?;
    source.bytes(usize::from(comment_bytes))?;
    let [_version, host] = made_by.to_le_bytes();
    let wide = wide_fields(&extra, [size, packed, local_at]);
    let (Some([size_bytes, packed_bytes, local_at]), 0) = (wide, disk) else {
        let why = Refusal::Disagreement("its size");
        return Err(IngestError::refused(&raw_name, why));
    };
    let unicode_name = unicode_name(&extra, &raw_name);
    Ok(Record {
        raw_name,
        unicode_name,
        flags,
        method,
        crc,
        packed_bytes,
        size_bytes,
        local_at,
        host,
        attributes,
    })
}

/// Extra fields: id and content. What does not parse ends the list.
fn extras(extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = extra;
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let mut fields = Fields(head);
        let (id, length) = (fields.u16(), usize::from(fields.u16()));
        let (content, after) = tail.split_at_checked(length)?;
        rest = after;
        Some((id, content))
    })
}

/// Replaces the 32-bit fields that say so by those of the 64-bit extra field, in their order.
fn wide_fields<const N: usize>(extra: &[u8], narrow: [u32; N]) -> Option<[u64; N]> {
    let mut found = extras(extra).filter(|(id, _)| *id == EXTRA_ZIP64);
    let content = found.next().map(|(_, content)| content);
    if found.next().is_some() {
        return None;
    }
    let mut rest = content.unwrap_or_default();
    let mut out = [0; N];
    for (narrow, out) in narrow.into_iter().zip(&mut out) {
        *out = if narrow == WIDE {
            match (content, rest.split_first_chunk::<8>()) {
                (Some(_), Some((head, tail))) => {
                    rest = tail;
                    u64::from_le_bytes(*head)
                }
                // Without the extra field it is a size like any other.
                (None, _) => u64::from(narrow),
                (Some(_), None) => return None,
            }
        } else {
            u64::from(narrow)
        };
    }
    Some(out)
}

/// A local header's sizes, widened.
pub(super) fn widen(size: u64, packed: u64, extra: &[u8]) -> Option<(u64, u64)> {
    let narrow = |value| u32::try_from(value).unwrap_or(WIDE);
    let [size, packed] = wide_fields(extra, [narrow(size), narrow(packed)])?;
    Some((size, packed))
}

/// The name in Info-ZIP's Unicode field, if it is still that of this entry.
fn unicode_name(extra: &[u8], raw_name: &[u8]) -> Option<Vec<u8>> {
    let (_, content) = extras(extra).find(|(id, _)| *id == EXTRA_UNICODE_PATH)?;
    let (&[version, a, b, c, d], name) = content.split_first_chunk::<5>()?;
    let mut crc = flate2::Crc::new();
    crc.update(raw_name);
    let current = version == 1 && u32::from_le_bytes([a, b, c, d]) == crc.sum();
    (current && std::str::from_utf8(name).is_ok()).then(|| name.to_vec())
}
