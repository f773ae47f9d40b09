//! Reads records in order, while they are written or after.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use mantle_shared::protocol::{Record, RecordHasher};

use super::SpoolError;
use super::codec::decode;
use super::segments::{self, Header, Segment};

/// The longest line that can be one of ours: every byte of the longest value escaped.
const LONGEST_LINE_BYTES: u64 = 4 * 1024 * 1024;
/// How much is read from the disk at once.
const READ_BYTES: usize = 64 * 1024;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A record.
    Record(Record),
    /// Records from the next number up to this one are not there and will not be: they were removed
    /// or are damaged, and others follow. The reader has passed over them.
    Missing {
        /// The number of the first that is there again.
        until: u64,
    },
    /// Nothing yet.
    Nothing,
}

/// Reads the records of a spool.
#[derive(Debug)]
pub struct SpoolReader {
    dir: PathBuf,
    file: BufReader<File>,
    /// What was before the segment that is read.
    before: RecordHasher,
    /// Where the next record begins in it.
    offset: u64,
    next_seq: u64,
    line: Vec<u8>,
}

impl SpoolReader {
    /// Opens the segment in which a record of this number is, or would be; if those up to it are gone,
    /// the first that is there. `None` if there is none or its first line is not complete yet.
    pub fn open(dir: &Path, seq: u64) -> Result<Option<Self>, SpoolError> {
        let segments = segments::list(dir)?;
        let behind = segments.partition_point(|segment| segment.first_seq <= seq);
        let Some(segment) = segments.get(behind.saturating_sub(1)) else {
            return Ok(None);
        };
        let Some((file, header)) = open(segment)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            dir: dir.to_owned(),
            file,
            before: header.before,
            offset: header.bytes,
            next_seq: segment.first_seq,
            line: Vec::new(),
        }))
    }

    /// The number of the record that comes next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// What was before the segment that is read.
    pub(super) fn before(&self) -> &RecordHasher {
        &self.before
    }

    /// Where the record that comes next begins in its segment.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next. Damage in the last segment is an error; it is settled once the writer is gone.
    pub fn advance(&mut self) -> Result<Next, SpoolError> {
        match self.next_here() {
            Ok(Some(record)) => Ok(Next::Record(record)),
            Ok(None) => self.go_on(Next::Nothing),
            Err(damage @ SpoolError::Damaged { .. }) => match self.go_on(Next::Nothing)? {
                Next::Nothing => Err(damage),
                next => Ok(next),
            },
            Err(error) => Err(error),
        }
    }

    /// The next record of this segment, or `None` until it is whole.
    pub(super) fn next_here(&mut self) -> Result<Option<Record>, SpoolError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let body = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let Some(record) = decode(body) else {
            // Once it is settled another record stands here.
            self.file.seek(SeekFrom::Start(self.offset))?;
            return Err(SpoolError::Damaged {
                offset: self.offset,
            });
        };
        self.passed();
        Ok(Some(record))
    }

    /// Passes over records below this number; false if they are not there yet. Records that are missing
    /// are passed over too.
    pub fn skip_to(&mut self, seq: u64) -> Result<bool, SpoolError> {
        while self.next_seq < seq {
            if self.read_line()? {
                self.passed();
            } else if self.go_on(Next::Nothing)? == Next::Nothing {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn passed(&mut self) {
        self.offset += self.line.len() as u64;
        self.next_seq += 1;
    }

    /// Goes on with the segment behind this one, and gives its first record; otherwise `instead`.
    fn go_on(&mut self, instead: Next) -> Result<Next, SpoolError> {
        let Some(next) = self.segment_behind()? else {
            return Ok(instead);
        };
        // What was appended between the look at the end and now is read first: the next segment is
        // begun only when this one is complete.
        if let Ok(true) = self.read_line() {
            let body = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            if let Some(record) = decode(body) {
                self.passed();
                return Ok(Next::Record(record));
            }
        }
        let Some((file, header)) = open(&next)? else {
            return Ok(instead);
        };
        let missing = next.first_seq > self.next_seq;
        self.file = file;
        self.before = header.before;
        self.offset = header.bytes;
        self.next_seq = next.first_seq;
        if missing {
            return Ok(Next::Missing {
                until: next.first_seq,
            });
        }
        match self.next_here()? {
            Some(record) => Ok(Next::Record(record)),
            None => Ok(instead),
        }
    }

    /// The segment that follows, which mostly is where its name says that it should be.
    fn segment_behind(&self) -> io::Result<Option<Segment>> {
        let here = self.before.count();
        let path = segments::path(&self.dir, self.next_seq);
        if self.next_seq > here && path.exists() {
            return Ok(Some(Segment {
                first_seq: self.next_seq,
                path,
            }));
        }
        let segments = segments::list(&self.dir)?.into_iter();
        Ok(segments
            .into_iter()
            .find(|segment| segment.first_seq > here))
    }

    /// Reads a line; false until it is whole.
    fn read_line(&mut self) -> Result<bool, SpoolError> {
        self.line.clear();
        let read = (&mut self.file)
            .take(LONGEST_LINE_BYTES)
            .read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            return Ok(true);
        }
        if read as u64 == LONGEST_LINE_BYTES {
            self.file.seek(SeekFrom::Start(self.offset))?;
            return Err(SpoolError::Damaged {
                offset: self.offset,
            });
        }
        if read > 0 {
            // Not whole yet: it is read again once more was written.
            self.file.seek(SeekFrom::Start(self.offset))?;
        }
        Ok(false)
    }
}

fn open(segment: &Segment) -> Result<Option<(BufReader<File>, Header)>, SpoolError> {
    let file = match File::open(&segment.path) {
        Ok(file) => file,
        // Removed between the look and now: the next look finds those behind it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let header = segments::read_header(&mut file, segment.first_seq)?;
    Ok(header.map(|header| (file, header)))
}
