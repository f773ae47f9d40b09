//! The files of a spool: their names, their first lines, and removing those that are done with.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use mantle_shared::protocol::RecordHasher;
use mantle_shared::{AttemptId, Digest};

use super::SpoolError;
use super::reader::SpoolReader;

/// What the names begin with; the number of the first record follows.
const PREFIX: &str = "spool-";
/// The one file of the release before.
const WHOLE: &str = "spool";
/// The layout that this build writes.
const FORMAT: u32 = 2;
/// The layout of the one file of the release before.
const WHOLE_FORMAT: u32 = 1;
/// No first line is longer.
const LONGEST_HEADER_BYTES: u64 = 256;

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first record.
    pub(super) first_seq: u64,
    pub(super) path: PathBuf,
}

/// What the first line of a segment says.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// How long it is.
    pub(super) bytes: u64,
    /// The count and the digest of all records before this segment.
    pub(super) before: RecordHasher,
}

/// Where a segment of this number is.
pub(super) fn path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{first_seq:020}"))
}

/// The first line of a segment that begins behind these records.
pub(super) fn header(attempt: AttemptId, before: &RecordHasher) -> String {
    let (count, digest) = (before.count(), before.digest());
    format!("mantle-spool {FORMAT} {attempt} {count} {digest}\n")
}

/// The segments that are there, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let first_seq = match name.strip_prefix(PREFIX) {
            Some(number) => number.parse().ok(),
            None => (name == WHOLE).then_some(0),
        };
        found.extend(first_seq.map(|first_seq| Segment {
            first_seq,
            path: entry.path(),
        }));
    }
    found.sort_by_key(|segment| segment.first_seq);
    Ok(found)
}

/// Reads a segment's first line; `None` if it is not complete yet.
pub(super) fn read_header(
    file: &mut BufReader<fs::File>,
    first_seq: u64,
) -> Result<Option<Header>, SpoolError> {
    let mut line = Vec::new();
    file.take(LONGEST_HEADER_BYTES)
        .read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') && (line.len() as u64) < LONGEST_HEADER_BYTES {
        return Ok(None);
    }
    let before = parse(&line).filter(|before| before.count() == first_seq);
    let Some(before) = before else {
        let found = String::from_utf8_lossy(&line);
        let found = found.trim().chars().take(60).collect();
        return Err(SpoolError::Header { found });
    };
    Ok(Some(Header {
        bytes: line.len() as u64,
        before,
    }))
}

fn parse(line: &[u8]) -> Option<RecordHasher> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let mut words = text.strip_prefix("mantle-spool ")?.split(' ');
    let format: u32 = words.next()?.parse().ok()?;
    let _attempt: AttemptId = words.next()?.parse().ok()?;
    let before = match format {
        FORMAT => {
            let count = words.next()?.parse().ok()?;
            let digest: Digest = words.next()?.parse().ok()?;
            RecordHasher::resume(count, digest)
        }
        WHOLE_FORMAT => RecordHasher::new(),
        _ => return None,
    };
    words.next().is_none().then_some(before)
}

/// Whether there is a spool, or the beginning of one.
pub fn is_there(dir: &Path) -> bool {
    list(dir).is_ok_and(|segments| !segments.is_empty())
}

/// How far a spool reaches: enough to notice that it has grown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// The number of the first record of the last segment.
    last_first_seq: u64,
    /// The size of that.
    last_bytes: u64,
}

/// How far the spool reaches now.
pub fn extent(dir: &Path) -> Extent {
    let last = list(dir).ok().and_then(|mut segments| segments.pop());
    last.map_or_else(Extent::default, |last| Extent {
        last_first_seq: last.first_seq,
        last_bytes: fs::metadata(&last.path).map_or(0, |data| data.len()),
    })
}

/// How many records the attempt has, those that were removed included; 0 if there is no spool or it
/// cannot be read. Reads one segment.
pub fn count(dir: &Path) -> u64 {
    let last = match list(dir) {
        Ok(mut segments) => segments.pop(),
        Err(_) => None,
    };
    let Some(last) = last else {
        return 0;
    };
    match SpoolReader::open(dir, last.first_seq) {
        Ok(Some(mut reader)) => {
            // A damaged end is settled elsewhere; what was counted up to there holds.
            let _ = reader.skip_to(u64::MAX);
            reader.next_seq()
        }
        Ok(None) | Err(_) => last.first_seq,
    }
}

/// Removes the segments all of whose records are below this number. The last one stays.
pub fn remove_below(dir: &Path, seq: u64) -> io::Result<()> {
    let segments = list(dir)?;
    for pair in segments.windows(2) {
        let [segment, next] = pair else {
            continue;
        };
        if next.first_seq <= seq {
            fs::remove_file(&segment.path)?;
        }
    }
    Ok(())
}
