//! Goes over the spool of a supervisor that is gone.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use mantle_shared::fault;
use mantle_shared::protocol::{Record, RecordBody, RecordHasher};
use mantle_shared::{AttemptId, Digest};

use super::codec::encode;
use super::reader::SpoolReader;
use super::{SpoolError, segments};

/// What a whole spool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How many records the attempt has, those that were removed included.
    pub records: u64,
    /// The digest over them.
    pub log: Digest,
    /// How many bytes at the end were damaged and cut off.
    pub cut_bytes: u64,
}

impl Settled {
    fn of(hasher: &RecordHasher, cut_bytes: u64) -> Self {
        Self {
            records: hasher.count(),
            log: hasher.digest(),
            cut_bytes,
        }
    }
}

/// Cuts a damaged end off; a gap record with the count of its bytes stands in its place, so that what
/// was lost is seen. Damage before the last segment stays: the reader passes over it and says so.
pub fn settle(dir: &Path, attempt: AttemptId, now_us: i64) -> Result<Settled, SpoolError> {
    let segments = segments::list(dir)?;
    // A last segment without its first line was being begun: nothing is in it.
    for segment in segments.iter().rev() {
        let Some(mut reader) = SpoolReader::open(dir, segment.first_seq)? else {
            fs::remove_file(&segment.path)?;
            continue;
        };
        return settle_last(&segment.path, &mut reader, now_us);
    }
    // Not even the first was begun: nothing was said.
    let nothing = RecordHasher::new();
    let path = segments::path(dir, 0);
    fs::write(path, segments::header(attempt, &nothing))?;
    Ok(Settled::of(&nothing, 0))
}

fn settle_last(path: &Path, reader: &mut SpoolReader, now_us: i64) -> Result<Settled, SpoolError> {
    let mut hasher = reader.before().clone();
    loop {
        match reader.next_here() {
            Ok(Some(record)) => hasher.update(&record),
            Ok(None) | Err(SpoolError::Damaged { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let good = reader.offset();
    let cut_bytes = fs::metadata(path)?.len().saturating_sub(good);
    if cut_bytes == 0 {
        return Ok(Settled::of(&hasher, 0));
    }
    let record = Record {
        at_us: now_us,
        body: RecordBody::Gap {
            lines: 0,
            bytes: cut_bytes,
            reason: format!("truncated here: {cut_bytes} bytes of the record file were damaged"),
        },
    };
    let mut line = Vec::new();
    encode(&record, &mut line);
    let mut file = File::options().write(true).open(path)?;
    file.set_len(good)?;
    if fault::sabotaged("torn-end-hidden") {
        return Ok(Settled::of(&hasher, cut_bytes));
    }
    file.seek(SeekFrom::End(0))?;
    file.write_all(&line)?;
    file.sync_data()?;
    hasher.update(&record);
    Ok(Settled::of(&hasher, cut_bytes))
}
