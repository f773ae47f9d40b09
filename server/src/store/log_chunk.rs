//! The form in which records lie in the database: one JSON array a line, compressed by zstd.
//!
//! It is written by hand so that a renamed field of the wire's types cannot change what old logs
//! mean. A line is `[at_us, kind, ...]`; kinds and the numbers of streams and levels are only ever
//! added.

use std::io::Read as _;

use mantle_shared::protocol::{Level, Record, RecordBody, Stream};
use serde_json::Value;

use super::error::{Result, StoreError};

/// Level 1 is as dense as level 3 within a few per cent on log lines and twice as fast.
const COMPRESSION: i32 = 1;
/// No chunk that was written here is larger when unpacked.
const MAX_CHUNK_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn encode(records: &[Record]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for record in records {
        encode_line(record, &mut lines).map_err(|_| StoreError::corrupt("a log in memory"))?;
        lines.push(b'\n');
    }
    zstd::bulk::compress(&lines, COMPRESSION).map_err(|_| StoreError::corrupt("a log in memory"))
}

/// Straight into the bytes, since a step may print a million lines: a tree of values for each would cost
/// more than the rest of storing it.
fn encode_line(record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let at = record.at_us;
    match &record.body {
        RecordBody::Line {
            stream,
            level,
            text,
        } => {
            let line = (at, "l", stream_number(*stream), level_number(*level), text);
            serde_json::to_writer(out, &line)
        }
        RecordBody::Piece {
            stream,
            level,
            text,
        } => {
            let line = (at, "c", stream_number(*stream), level_number(*level), text);
            serde_json::to_writer(out, &line)
        }
        RecordBody::Variable {
            name,
            value,
            sensitive,
        } => serde_json::to_writer(out, &(at, "v", name, value, sensitive)),
        RecordBody::Progress { percent, message } => {
            serde_json::to_writer(out, &(at, "p", percent, message))
        }
        RecordBody::Gap {
            lines,
            bytes,
            reason,
        } => serde_json::to_writer(out, &(at, "g", lines, bytes, reason)),
        RecordBody::Artifact {
            name,
            size_bytes,
            digest,
        } => serde_json::to_writer(out, &(at, "f", name, size_bytes, digest.to_string())),
    }
}

pub(super) fn decode(body: &[u8]) -> Result<Vec<Record>> {
    let damaged = || StoreError::corrupt("a chunk of a log");
    let mut text = String::new();
    zstd::stream::read::Decoder::new(body)
        .map_err(|_| damaged())?
        .take(MAX_CHUNK_BYTES)
        .read_to_string(&mut text)
        .map_err(|_| damaged())?;
    text.lines()
        .map(|line| {
            let line: Vec<Value> = serde_json::from_str(line).map_err(|_| damaged())?;
            decode_line(&line).ok_or_else(damaged)
        })
        .collect()
}

fn decode_line(line: &[Value]) -> Option<Record> {
    let text = |at: usize| line.get(at)?.as_str().map(str::to_owned);
    let number = |at: usize| line.get(at)?.as_u64();
    let body = match line.get(1)?.as_str()? {
        "l" => RecordBody::Line {
            stream: stream_of(number(2)?)?,
            level: level_of(number(3)?)?,
            text: text(4)?,
        },
        "c" => RecordBody::Piece {
            stream: stream_of(number(2)?)?,
            level: level_of(number(3)?)?,
            text: text(4)?,
        },
        "v" => RecordBody::Variable {
            name: text(2)?,
            value: text(3)?,
            sensitive: line.get(4)?.as_bool()?,
        },
        "p" => RecordBody::Progress {
            percent: number(2)?.try_into().ok()?,
            message: text(3)?,
        },
        "g" => RecordBody::Gap {
            lines: number(2)?,
            bytes: number(3)?,
            reason: text(4)?,
        },
        "f" => RecordBody::Artifact {
            name: text(2)?,
            size_bytes: number(3)?,
            digest: line.get(4)?.as_str()?.parse().ok()?,
        },
        _ => return None,
    };
    Some(Record {
        at_us: line.first()?.as_i64()?,
        body,
    })
}

fn stream_number(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Agent => 2,
    }
}

fn stream_of(number: u64) -> Option<Stream> {
    Some(match number {
        0 => Stream::Stdout,
        1 => Stream::Stderr,
        2 => Stream::Agent,
        _ => return None,
    })
}

fn level_number(level: Level) -> u8 {
    match level {
        Level::Verbose => 0,
        Level::Info => 1,
        Level::Highlight => 2,
        Level::Warning => 3,
        Level::Error => 4,
    }
}

fn level_of(number: u64) -> Option<Level> {
    Some(match number {
        0 => Level::Verbose,
        1 => Level::Info,
        2 => Level::Highlight,
        3 => Level::Warning,
        4 => Level::Error,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_form_is_fixed() {
        // Golden: databases hold these lines, so none may ever mean something else.
        let text = concat!(
            "[7,\"l\",0,1,\"out\"]\n",
            "[8,\"l\",1,4,\"err \\u0000 \\\"q\\\"\"]\n",
            "[9,\"l\",2,0,\"v\"]\n",
            "[9,\"l\",0,2,\"h\"]\n",
            "[9,\"l\",0,3,\"w\"]\n",
            "[10,\"v\",\"Url\",\"x\",true]\n",
            "[11,\"p\",50,\"half\"]\n",
            "[-1,\"g\",3,900,\"disk full\"]\n",
            "[11,\"c\",0,1,\"half a line \"]\n",
            "[12,\"f\",\"out.log\",7,\"",
            "0101010101010101010101010101010101010101010101010101010101010101",
            "\"]\n",
        );
        let body = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
        let records = decode(&body).unwrap();
        assert_eq!(records.len(), 10);
        assert_eq!(
            records[1].body,
            RecordBody::Line {
                stream: Stream::Stderr,
                level: Level::Error,
                text: "err \0 \"q\"".to_owned(),
            }
        );
        let again = zstd::bulk::decompress(&encode(&records).unwrap(), 10_000).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), text);
    }

    #[test]
    fn damage_is_an_error() {
        for text in ["[1,\"x\"]\n", "[1]\n", "{}\n", "[1,\"l\",9,1,\"t\"]\n"] {
            let body = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
            assert!(matches!(decode(&body), Err(StoreError::Corrupt { .. })));
        }
        assert!(decode(b"not zstd").is_err());
    }
}
