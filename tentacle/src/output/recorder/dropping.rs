//! Output that is not stored, or not at the moment: it is counted, its end is kept in memory, and a
//! record of the gap stands where it is missing.

use std::collections::VecDeque;
use std::time::Instant;

use mantle_shared::protocol::{Record, RecordBody};

use super::{RETRY, Recorder, now_us};
use crate::output::spool;

/// How much of the end of dropped output is kept in memory: half of the room that is set aside for it.
const TAIL_BYTES: usize = spool::END_RESERVE_BYTES / 2;

/// Why output is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There was no room; there may be again.
    DiskFull,
    /// The limit is reached, and stays so.
    Cap,
}

impl Reason {
    fn words(self) -> &'static str {
        match self {
            Self::DiskFull => "the agent's disk was full",
            Self::Cap => "the step printed more than its limit",
        }
    }
}

/// What was dropped so far.
pub(super) struct Dropping {
    reason: Reason,
    /// When the disk was tried last.
    tried: Instant,
    lines: u64,
    bytes: u64,
    /// The last lines, and every variable and file.
    tail: VecDeque<Record>,
    pub(super) tail_bytes: usize,
}

impl Recorder {
    /// Gap and tail could not be stored. The record of the gap counts all the same: the server gets
    /// fewer records than the end says, puts a gap in their place and warns.
    pub(super) fn lose(&mut self, dropping: Dropping) {
        let Dropping {
            reason,
            mut lines,
            mut bytes,
            tail,
            ..
        } = dropping;
        let (mut variables, mut files) = (Vec::new(), Vec::new());
        for record in tail {
            count(&record.body, &mut lines, &mut bytes);
            match record.body {
                RecordBody::Variable { name, .. } => variables.push(name),
                RecordBody::Artifact { name, .. } => files.push(name),
                RecordBody::Line { .. }
                | RecordBody::Piece { .. }
                | RecordBody::Progress { .. }
                | RecordBody::Gap { .. } => {}
            }
        }
        let reason = reason.words();
        self.hasher.update(&gap(lines, bytes, reason));
        let mut lost = format!("{reason} to the end: {lines} lines of output are lost");
        if !variables.is_empty() {
            lost = format!("{lost}, and the output variables {}", variables.join(", "));
        }
        if !files.is_empty() {
            lost = format!("{lost}, and the collected files {}", files.join(", "));
        }
        self.lost = Some(lost);
    }

    /// From here on lines are counted instead of stored, those in the buffer first.
    pub(super) fn give_up(&mut self, reason: Reason) {
        if self.dropping.is_none() {
            self.dropping = Some(Dropping {
                reason,
                tried: Instant::now(),
                lines: 0,
                bytes: 0,
                tail: VecDeque::new(),
                tail_bytes: 0,
            });
        }
        self.buffer.clear();
        for record in std::mem::take(&mut self.buffered) {
            self.drop_record(record);
        }
    }

    pub(super) fn drop_record(&mut self, record: Record) {
        let Some(dropping) = &mut self.dropping else {
            return;
        };
        dropping.take(record);
        let may_recover = dropping.reason == Reason::DiskFull;
        if may_recover && dropping.tried.elapsed() >= RETRY * 10 {
            dropping.tried = Instant::now();
            if let Some(dropping) = self.dropping.take() {
                self.end_gap(dropping);
            }
        }
    }

    /// Writes gap and tail; on a disk that is still full the counting goes on.
    pub(super) fn end_gap(&mut self, dropping: Dropping) {
        let missing = dropping.lines > 0 || dropping.bytes > 0;
        let gap = missing.then(|| gap(dropping.lines, dropping.bytes, dropping.reason.words()));
        let mut bytes = Vec::new();
        for record in gap.iter().chain(&dropping.tail) {
            spool::encode(record, &mut bytes);
        }
        if self.store.append(&self.hasher, &bytes).is_err() {
            self.dropping = Some(dropping);
            return;
        }
        for record in gap.iter().chain(&dropping.tail) {
            self.hasher.update(record);
        }
        self.stored_bytes += bytes.len() as u64;
        (self.options.wake)();
    }
}

impl Dropping {
    fn take(&mut self, record: Record) {
        self.replace_variable(&record);
        self.tail_bytes += size(&record);
        self.tail.push_back(record);
        while self.tail_bytes > TAIL_BYTES {
            let oldest = self.tail.iter().position(|record| may_go(&record.body));
            let Some(record) = oldest.and_then(|index| self.tail.remove(index)) else {
                break;
            };
            self.tail_bytes = self.tail_bytes.saturating_sub(size(&record));
            count(&record.body, &mut self.lines, &mut self.bytes);
        }
    }

    /// Takes the earlier value of a variable out, which the record replaces: so the tail holds no more
    /// of variables than an attempt may set.
    fn replace_variable(&mut self, record: &Record) {
        let RecordBody::Variable { name, .. } = &record.body else {
            return;
        };
        let is_same = |kept: &Record| matches!(&kept.body, RecordBody::Variable { name: earlier, .. } if earlier == name);
        let earlier = self.tail.iter().position(is_same);
        if let Some(earlier) = earlier.and_then(|index| self.tail.remove(index)) {
            self.tail_bytes = self.tail_bytes.saturating_sub(size(&earlier));
        }
    }
}

/// Counts what is missing with a record; the pieces of a line are one with its end.
fn count(body: &RecordBody, lines: &mut u64, bytes: &mut u64) {
    match body {
        RecordBody::Line { text, .. } => {
            *lines += 1;
            *bytes += text.len() as u64;
        }
        RecordBody::Piece { text, .. } => *bytes += text.len() as u64,
        RecordBody::Variable { .. }
        | RecordBody::Progress { .. }
        | RecordBody::Gap { .. }
        | RecordBody::Artifact { .. } => {}
    }
}

fn gap(lines: u64, bytes: u64, reason: &str) -> Record {
    Record {
        at_us: now_us(),
        body: RecordBody::Gap {
            lines,
            bytes,
            reason: reason.to_owned(),
        },
    }
}

/// Whether a record may be left out of the tail: what others rest on may not.
fn may_go(body: &RecordBody) -> bool {
    match body {
        RecordBody::Line { .. }
        | RecordBody::Piece { .. }
        | RecordBody::Progress { .. }
        | RecordBody::Gap { .. } => true,
        RecordBody::Variable { .. } | RecordBody::Artifact { .. } => false,
    }
}

fn size(record: &Record) -> usize {
    32 + record.body.text_bytes()
}
