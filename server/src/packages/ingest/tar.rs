//! Reads a tar stream: ustar, GNU long names and PAX, and nothing that two readers could take
//! differently.
//!
//! It is strict on purpose. What is refused here (sparse files, a size that PAX and header state
//! differently for what is no file, two kinds of long names at once, content after the end) is
//! where other readers disagree with each other, which is how an archive shows one thing to a
//! scanner and another to a target.

use std::io::Read;

use super::assemble::Assembler;
use super::error::{IngestError, Refusal};
use super::tree::MAX_TARGET_BYTES;

const BLOCK: usize = 512;
/// The most bytes of a PAX header or a GNU long name.
const MAX_META_BYTES: u64 = 1024 * 1024;

type Block = [u8; BLOCK];

/// Whether a file begins as a tar does: with a header whose checksum holds.
pub(super) fn looks_like(head: &[u8]) -> bool {
    head.first_chunk::<BLOCK>()
        .is_some_and(|block| block.iter().any(|b| *b != 0) && checksum_holds(block))
}

/// What PAX and GNU headers say of the entry that follows them.
#[derive(Debug, Default)]
struct Extra {
    pax_path: Option<Vec<u8>>,
    pax_link: Option<Vec<u8>>,
    pax_size: Option<u64>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
}

/// Takes in every entry of this stream.
pub(super) fn ingest(reader: &mut dyn Read, into: &mut Assembler) -> Result<(), IngestError> {
    let mut extra = Extra::default();
    let mut pending = false;
    loop {
        let block = read_block(reader, into)?;
        if block.iter().all(|byte| *byte == 0) {
            if pending {
                return Err(IngestError::damaged("its last header describes no entry"));
            }
            return expect_zeros(reader, into);
        }
        if !checksum_holds(&block) {
            return Err(IngestError::damaged(
                "the checksum of a tar header does not match",
            ));
        }
        let [type_flag] = field::<1>(&block, 156);
        match type_flag {
            b'x' => read_pax(reader, into, &block, &mut extra)?,
            b'g' => {
                let mut global = Extra::default();
                read_pax(reader, into, &block, &mut global)?;
                if global.pax_path.is_some() || global.pax_size.is_some() {
                    return Err(IngestError::damaged(
                        "a global header names a path or a size for every entry",
                    ));
                }
            }
            b'L' => set_once(&mut extra.gnu_path, read_long(reader, into, &block)?)?,
            b'K' => set_once(&mut extra.gnu_link, read_long(reader, into, &block)?)?,
            _ => {
                entry(reader, into, &block, std::mem::take(&mut extra))?;
                pending = false;
                continue;
            }
        }
        pending = type_flag != b'g' || pending;
    }
}

fn entry(
    reader: &mut dyn Read,
    into: &mut Assembler,
    block: &Block,
    extra: Extra,
) -> Result<(), IngestError> {
    let name = choose(
        extra.pax_path,
        extra.gnu_path,
        || header_name(block),
        "name",
    )?;
    let link = choose(
        extra.pax_link,
        extra.gnu_link,
        || text(&field::<100>(block, 157)).to_vec(),
        "link",
    )?;
    let refuse = |why| Err(IngestError::refused(&name, why));
    let stated = number(&field::<12>(block, 124), "size")?;
    let mode = number(&field::<8>(block, 100), "mode")?;
    let size = extra.pax_size.unwrap_or(stated);
    let [type_flag] = field::<1>(block, 156);
    if !matches!(type_flag, b'0' | b'7' | 0) && size != 0 {
        return refuse(Refusal::Disagreement("its size: only files have one"));
    }
    let mut path = into.begin(&name)?;
    if mode & 0o6000 != 0 {
        into.warn_setuid(&path);
    }
    match type_flag {
        b'0' | b'7' | 0 if path.is_folder => {
            // Old writers mark folders by the slash alone.
            if size != 0 {
                return refuse(Refusal::Disagreement("whether it is a file or a folder"));
            }
            into.folder(&path)
        }
        b'0' | b'7' | 0 => {
            let mut content = Exact {
                inner: reader,
                left: size,
            };
            let stored = into.file(&path, Some(mode & 0o111 != 0), &mut content)?;
            if stored != size {
                return Err(IngestError::damaged(format!(
                    "it is cut short in '{}'",
                    path.shown
                )));
            }
            skip_padding(reader, into, size)
        }
        b'5' => {
            path.is_folder = true;
            into.folder(&path)
        }
        b'2' if path.is_folder => refuse(Refusal::Disagreement("whether it is a link or a folder")),
        b'2' if link.len() > MAX_TARGET_BYTES => {
            refuse(Refusal::LinkTarget("is longer than a path can be"))
        }
        b'2' => into.symlink(&path, &link),
        b'1' => into.hard_link(&path, &link),
        b'3' | b'4' => refuse(Refusal::Special("a device")),
        b'6' => refuse(Refusal::Special("a named pipe")),
        b'S' => refuse(Refusal::Special("a sparse file")),
        _ => refuse(Refusal::Special("of a type that tar does not define")),
    }
}

/// The one name that headers give an entry; two long ones that differ are refused.
fn choose(
    pax: Option<Vec<u8>>,
    gnu: Option<Vec<u8>>,
    plain: impl FnOnce() -> Vec<u8>,
    what: &str,
) -> Result<Vec<u8>, IngestError> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(IngestError::damaged(format!(
            "an entry has two different {what}s, '{}' and '{}'",
            super::error::printable(&pax),
            super::error::printable(&gnu)
        ))),
        (Some(long), _) | (None, Some(long)) => Ok(long),
        (None, None) => Ok(plain()),
    }
}

/// A header's own name: ustar splits long ones in two.
fn header_name(block: &Block) -> Vec<u8> {
    let name = field::<100>(block, 0);
    let prefix = field::<155>(block, 345);
    // GNU's own magic ends in a space and has other things where ustar has the prefix.
    let is_ustar = field::<6>(block, 257) == *b"ustar\0";
    let prefix = text(&prefix);
    if is_ustar && !prefix.is_empty() {
        [prefix, b"/", text(&name)].concat()
    } else {
        text(&name).to_vec()
    }
}

fn read_pax(
    reader: &mut dyn Read,
    into: &mut Assembler,
    block: &Block,
    extra: &mut Extra,
) -> Result<(), IngestError> {
    let bytes = read_meta(reader, into, block)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (key, value, tail) =
            pax_record(rest).ok_or_else(|| IngestError::damaged("a PAX header is malformed"))?;
        rest = tail;
        match key {
            b"path" => set_once(&mut extra.pax_path, value.to_vec())?,
            b"linkpath" => set_once(&mut extra.pax_link, value.to_vec())?,
            b"size" => {
                let size = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| IngestError::damaged("a PAX header states no possible size"))?;
                set_once(&mut extra.pax_size, size)?;
            }
            key if key.starts_with(b"GNU.sparse") => {
                return Err(IngestError::damaged(
                    "it holds a sparse file; pack it without --sparse",
                ));
            }
            // Times, owners, attributes: no part of a package.
            _ => {}
        }
    }
    Ok(())
}

/// One record, `"%d %s=%s\n"`: key, value, and what follows.
fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let (digits, _) = bytes.split_at_checked(space)?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, tail) = bytes.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let (key, value) = body.split_at_checked(equals)?;
    Some((key, value.get(1..)?, tail))
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), IngestError> {
    if slot.replace(value).is_some() {
        return Err(IngestError::damaged(
            "an entry's headers say the same thing twice",
        ));
    }
    Ok(())
}

fn read_long(
    reader: &mut dyn Read,
    into: &mut Assembler,
    block: &Block,
) -> Result<Vec<u8>, IngestError> {
    let bytes = read_meta(reader, into, block)?;
    // The length counts a NUL at the end; one inside would show another name to other readers.
    let name = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    Ok(name.to_vec())
}

/// The content of a header about headers.
fn read_meta(
    reader: &mut dyn Read,
    into: &mut Assembler,
    block: &Block,
) -> Result<Vec<u8>, IngestError> {
    let size = number(&field::<12>(block, 124), "size")?;
    if size > MAX_META_BYTES {
        return Err(IngestError::damaged(
            "a header about a long name is over 1 MiB",
        ));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    reader
        .read_exact(&mut bytes)
        .map_err(|e| IngestError::read(e, "a tar header"))?;
    into.spend(bytes.len())?;
    skip_padding(reader, into, size)?;
    Ok(bytes)
}

fn read_block(reader: &mut dyn Read, into: &mut Assembler) -> Result<Block, IngestError> {
    let mut block = [0; BLOCK];
    reader
        .read_exact(&mut block)
        .map_err(|e| IngestError::read(e, "a tar header"))?;
    into.spend(BLOCK)?;
    Ok(block)
}

fn skip_padding(reader: &mut dyn Read, into: &mut Assembler, size: u64) -> Result<(), IngestError> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 {
        return Ok(());
    }
    let mut block = [0; BLOCK];
    let padding = block.get_mut(over..).unwrap_or_default();
    reader
        .read_exact(padding)
        .map_err(|e| IngestError::read(e, "an entry's padding"))?;
    into.spend(padding.len())
}

/// After the end only zeros may follow. Reading to the end also checks a compressor's checksum.
fn expect_zeros(reader: &mut dyn Read, into: &mut Assembler) -> Result<(), IngestError> {
    let mut buffer = [0; 8192];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(IngestError::read(error, "its end")),
        };
        into.spend(read)?;
        if buffer.iter().take(read).any(|byte| *byte != 0) {
            return Err(IngestError::damaged("something follows its end mark"));
        }
    }
}

/// A field of a header. Offsets are constants, within the block.
fn field<const N: usize>(block: &Block, at: usize) -> [u8; N] {
    block
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .unwrap_or([0; N])
}

/// A text field: up to its NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits, or GNU's base 256 for what they cannot hold.
fn number(field: &[u8], what: &str) -> Result<u64, IngestError> {
    let bad = || IngestError::damaged(format!("a tar header states no possible {what}"));
    let Some((&first, rest)) = field.split_first() else {
        return Err(bad());
    };
    if first & 0x80 != 0 {
        return rest
            .iter()
            .try_fold(u64::from(first & 0x7f), |sum, byte| {
                sum.checked_mul(256)?.checked_add(u64::from(*byte))
            })
            .ok_or_else(bad);
    }
    let digits = std::str::from_utf8(text(field))
        .map_err(|_| bad())?
        .trim_matches(' ');
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(bad());
    }
    u64::from_str_radix(digits, 8).map_err(|_| bad())
}

/// The sum of a header's bytes, its own field taken as spaces.
fn checksum_holds(block: &Block) -> bool {
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            u64::from(if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            })
        })
        .sum();
    number(&field::<8>(block, 148), "checksum").is_ok_and(|stated| stated == sum)
}

/// The first so many bytes of a stream.
struct Exact<'a> {
    inner: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self
            .inner
            .read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= read as u64;
        Ok(read)
    }
}
