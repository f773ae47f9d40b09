//! A record as a line of the spool, and back.
//!
//! ```text
//! <crc32c, 8 hex digits>\t<kind>\t<time in microseconds>\t<fields, escaped, tab-separated>
//! ```
//!
//! Written by hand: a step may print a million lines.

use mantle_shared::protocol::{Level, Record, RecordBody, Stream};

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
        RecordBody::Piece {
            stream,
            level,
            text,
        } => {
            out.push(stream_code(*stream).to_ascii_uppercase());
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
        b'O' | b'E' | b'A' => RecordBody::Piece {
            stream: stream_of(kind.to_ascii_lowercase())?,
            level: level_of(detail)?,
            text: unescape(fields.next()?)?,
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
