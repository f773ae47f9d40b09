//! The spool: an attempt's records on disk, one line each.
//!
//! ```text
//! mantle-spool 1 <attempt id>
//! <crc32c, 8 hex digits>\t<kind>\t<time in microseconds>\t<fields, escaped, tab-separated>
//! ```
//!
//! A record's number is its line's, from 0. The checksum covers what follows its tab. A line without
//! its line feed is not there yet while the writer lives, and torn once it does not: [`settle`] cuts
//! a damaged end off and says so in a record of its own.
//!
//! The codec is written by hand: a step may print a million lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher, Stream};
use mantle_shared::{AttemptId, Digest};

/// The file's name in the attempt's folder.
pub const FILE_NAME: &str = "spool";
/// The layout that this build writes.
const FORMAT: u32 = 1;
/// The longest line that can be one of ours: every byte of the longest value escaped.
const LONGEST_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// Why a spool cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file could not be read or written.
    #[error("the record file of the attempt could not be read")]
    Io(#[from] io::Error),
    /// The first line is not a header that this build knows.
    #[error(
        "the record file of the attempt begins with '{found}', which this version does not know"
    )]
    Header {
        /// What was found.
        found: String,
    },
    /// A whole line is not a record.
    #[error("the record file of the attempt is damaged at byte {offset}")]
    Damaged {
        /// Where.
        offset: u64,
    },
}

/// The first line.
pub fn header(attempt: AttemptId) -> String {
    format!("mantle-spool {FORMAT} {attempt}\n")
}

/// Appends a record as a line.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(b"00000000\t");
    match &record.body {
        RecordBody::Line {
            stream,
            level,
            text,
        } => {
            out.push(stream_code(*stream));
            out.push(level_code(*level));
            time(record.at_us, out);
            escape(text, out);
        }
        RecordBody::Variable {
            name,
            value,
            sensitive,
        } => {
            out.extend_from_slice(if *sensitive { b"v1" } else { b"v0" });
            time(record.at_us, out);
            escape(name, out);
            out.push(b'\t');
            escape(value, out);
        }
        RecordBody::Progress { percent, message } => {
            out.extend_from_slice(b"p0");
            time(record.at_us, out);
            out.extend_from_slice(percent.to_string().as_bytes());
            out.push(b'\t');
            escape(message, out);
        }
        RecordBody::Gap {
            lines,
            bytes,
            reason,
        } => {
            out.extend_from_slice(b"g0");
            time(record.at_us, out);
            out.extend_from_slice(format!("{lines}\t{bytes}\t").as_bytes());
            escape(reason, out);
        }
        RecordBody::Artifact {
            name,
            size_bytes,
            digest,
        } => {
            out.extend_from_slice(b"f0");
            time(record.at_us, out);
            out.extend_from_slice(format!("{size_bytes}\t{digest}\t").as_bytes());
            escape(name, out);
        }
    }
    let sum = crc32c::crc32c(out.get(begin + 9..).unwrap_or_default());
    if let Some(place) = out.get_mut(begin..begin + 8) {
        place.copy_from_slice(&hex8(sum));
    }
    out.push(b'\n');
}

fn hex8(sum: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|index| {
        let nibble = (sum >> (28 - 4 * index)) & 15;
        DIGITS.get(nibble as usize).copied().unwrap_or(b'0')
    })
}

fn time(at_us: i64, out: &mut Vec<u8>) {
    out.push(b'\t');
    // Formatting by hand: this is a third of the cost of a short line otherwise.
    let mut digits = [b'0'; 20];
    let mut rest = at_us.unsigned_abs();
    let mut from = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        from = index;
        if rest == 0 {
            break;
        }
    }
    if at_us < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
    out.push(b'\t');
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        out.extend_from_slice(escaped);
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

fn unescape(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            '\\' => '\\',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            _ => return None,
        });
    }
    Some(out)
}

const fn stream_code(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => b'o',
        Stream::Stderr => b'e',
        Stream::Agent => b'a',
    }
}

const fn level_code(level: Level) -> u8 {
    match level {
        Level::Verbose => b'v',
        Level::Info => b'i',
        Level::Highlight => b'h',
        Level::Warning => b'w',
        Level::Error => b'e',
    }
}

fn stream_of(code: u8) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr, Stream::Agent]
        .into_iter()
        .find(|stream| stream_code(*stream) == code)
}

fn level_of(code: u8) -> Option<Level> {
    [
        Level::Verbose,
        Level::Info,
        Level::Highlight,
        Level::Warning,
        Level::Error,
    ]
    .into_iter()
    .find(|level| level_code(*level) == code)
}

/// Reads a line without its line feed; `None` if it is not a record or its checksum is wrong.
pub fn decode(line: &[u8]) -> Option<Record> {
    let (sum, rest) = line.split_first_chunk::<8>()?;
    let body = rest.strip_prefix(b"\t")?;
    if *sum != hex8(crc32c::crc32c(body)) {
        return None;
    }
    let mut fields = body.split(|byte| *byte == b'\t');
    let [kind, detail] = *fields.next()?.first_chunk::<2>()?;
    let at_us = number(fields.next()?)?;
    let body = match kind {
        b'v' => RecordBody::Variable {
            sensitive: detail == b'1',
            name: unescape(fields.next()?)?,
            value: unescape(fields.next()?)?,
        },
        b'p' => RecordBody::Progress {
            percent: number(fields.next()?)?,
            message: unescape(fields.next()?)?,
        },
        b'g' => RecordBody::Gap {
            lines: number(fields.next()?)?,
            bytes: number(fields.next()?)?,
            reason: unescape(fields.next()?)?,
        },
        b'f' => RecordBody::Artifact {
            size_bytes: number(fields.next()?)?,
            digest: number(fields.next()?)?,
            name: unescape(fields.next()?)?,
        },
        _ => RecordBody::Line {
            stream: stream_of(kind)?,
            level: level_of(detail)?,
            text: unescape(fields.next()?)?,
        },
    };
    fields.next().is_none().then_some(Record { at_us, body })
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reads records in order, while they are written or after.
#[derive(Debug)]
pub struct SpoolReader {
    file: BufReader<File>,
    /// Where the next record begins.
    offset: u64,
    next_seq: u64,
}

impl SpoolReader {
    /// Opens the file; `None` if it is not there or its header is not complete yet.
    pub fn open(path: &Path) -> Result<Option<Self>, SpoolError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut file = BufReader::with_capacity(64 * 1024, file);
        let mut line = Vec::new();
        (&mut file).take(128).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') && line.len() < 128 {
            return Ok(None);
        }
        if !line.starts_with(format!("mantle-spool {FORMAT} ").as_bytes()) {
            let found = String::from_utf8_lossy(&line)
                .trim()
                .chars()
                .take(60)
                .collect();
            return Err(SpoolError::Header { found });
        }
        Ok(Some(Self {
            file,
            offset: line.len() as u64,
            next_seq: 0,
        }))
    }

    /// The number of the record that comes next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Where the record that comes next begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record, or `None` until it is whole.
    pub fn next_record(&mut self) -> Result<Option<Record>, SpoolError> {
        match self.next_line()? {
            None => Ok(None),
            Some(line) => {
                let begun = self.offset;
                let body = line.strip_suffix(b"\n").unwrap_or(&line);
                let Some(record) = decode(body) else {
                    // Once it is settled another record stands here.
                    self.file.seek(SeekFrom::Start(begun))?;
                    return Err(SpoolError::Damaged { offset: begun });
                };
                self.offset += line.len() as u64;
                self.next_seq += 1;
                Ok(Some(record))
            }
        }
    }

    /// Passes over records below this number; false if they are not there yet.
    pub fn skip_to(&mut self, seq: u64) -> Result<bool, SpoolError> {
        while self.next_seq < seq {
            match self.next_line()? {
                None => return Ok(false),
                Some(line) => {
                    self.offset += line.len() as u64;
                    self.next_seq += 1;
                }
            }
        }
        Ok(true)
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        let mut line = Vec::new();
        let read = (&mut self.file)
            .take(LONGEST_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            return Ok(Some(line));
        }
        if read as u64 == LONGEST_LINE_BYTES {
            return Err(SpoolError::Damaged {
                offset: self.offset,
            });
        }
        if read > 0 {
            // Not whole yet: it is read again once more was written.
            self.file.seek(SeekFrom::Start(self.offset))?;
        }
        Ok(None)
    }
}

/// What a whole spool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How many records.
    pub records: u64,
    /// The digest over them.
    pub log: Digest,
    /// How many bytes at the end were damaged and cut off.
    pub cut_bytes: u64,
}

/// Goes over the spool of a supervisor that is gone. A damaged end is cut off; a gap record with the
/// count of its bytes stands in its place, so that what was lost is seen.
pub fn settle(path: &Path, attempt: AttemptId, now_us: i64) -> Result<Settled, SpoolError> {
    let mut hasher = RecordHasher::new();
    let Some(mut reader) = SpoolReader::open(path)? else {
        // Not even the header was written: nothing was said.
        std::fs::write(path, header(attempt))?;
        return Ok(Settled {
            records: 0,
            log: hasher.digest(),
            cut_bytes: 0,
        });
    };
    loop {
        match reader.next_record() {
            Ok(Some(record)) => hasher.update(&record),
            Ok(None) | Err(SpoolError::Damaged { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let good = reader.offset();
    let cut_bytes = std::fs::metadata(path)?.len().saturating_sub(good);
    if cut_bytes > 0 {
        let record = Record {
            at_us: now_us,
            body: RecordBody::Gap {
                lines: 0,
                bytes: cut_bytes,
                reason: format!(
                    "truncated here: {cut_bytes} bytes of the record file were damaged"
                ),
            },
        };
        let mut line = Vec::new();
        encode(&record, &mut line);
        let mut file = File::options().write(true).open(path)?;
        file.set_len(good)?;
        if mantle_shared::fault::sabotaged("torn-end-hidden") {
            return Ok(Settled {
                records: hasher.count(),
                log: hasher.digest(),
                cut_bytes,
            });
        }
        file.seek(SeekFrom::End(0))?;
        file.write_all(&line)?;
        file.sync_data()?;
        hasher.update(&record);
    }
    Ok(Settled {
        records: hasher.count(),
        log: hasher.digest(),
        cut_bytes,
    })
}

/// How many whole records stand in the spool; 0 if there is none or it cannot be read.
pub fn count(path: &Path) -> u64 {
    match SpoolReader::open(path) {
        Ok(Some(mut reader)) => {
            // A damaged end is settled elsewhere; what was counted up to there holds.
            let _ = reader.skip_to(u64::MAX);
            reader.next_seq()
        }
        _ => 0,
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
