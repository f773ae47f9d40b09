//! The recorder: gives every record its number and brings it to the spool.
//!
//! What holds here: what is appended was masked before; a write that fails leaves no half record;
//! while the disk is full the caller is held back (and so the process's pipe), until the stall is
//! over; from then on lines are counted, the last of them kept in memory, and a gap record with the
//! counts stands where they are missing. Room for that record and the last lines is set aside from the
//! start; if even that is taken, the end counts the record all the same, so that the server sees that
//! something is missing. Output variables are bounded in number and size: one that is beyond it is
//! left out with a warning, and the end names one that was taken and could not be stored.

mod dropping;
mod in_hand;
mod messages;
mod outputs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mantle_shared::mask::{MaskSet, TooManySecrets};
use mantle_shared::order::OutputLimits;
use mantle_shared::outputs::OutputTally;
use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher, Stream};
use mantle_shared::{AttemptId, Digest};
use zeroize::Zeroizing;

use self::dropping::{Dropping, Reason};
pub use self::in_hand::{Holding, InHand};
pub use self::outputs::{ArtifactRequest, SetVariable};
use super::lines::{Ends, LineSplitter};
use super::seal::Sealer;
use super::spool::{self, Held, SpoolStore};
use crate::actions::StopToken;

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long the process is held back before that is told: a disk that is full for a moment is nobody's
/// business.
const TELL_HELD: Duration = Duration::from_secs(2);
/// Longest text of a progress message, so that a loop of them stays small.
const LONGEST_PROGRESS: usize = 1024;
/// How much is collected before it goes to the file.
const BUFFER_BYTES: usize = 256 * 1024;

/// What the recorder needs to know.
pub struct RecorderOptions {
    /// Whose records.
    pub attempt: AttemptId,
    /// How much is kept.
    pub limits: OutputLimits,
    /// Secrets known from the start.
    pub secrets: Vec<Zeroizing<String>>,
    /// Seals sensitive output variables.
    pub sealer: Sealer,
    /// Ends the holding back: what is being stopped must not wait for room.
    pub stop: StopToken,
    /// Called after records reached the file.
    pub wake: Box<dyn Fn() + Send>,
}

/// What the action's children say of its result.
#[derive(Default)]
struct SaidResult {
    message: Option<String>,
    /// Why the attempt fails is known; what is said later does not change it.
    settled: bool,
}

/// Numbers and stores the records of one attempt.
pub struct Recorder {
    store: Box<dyn SpoolStore>,
    options: RecorderOptions,
    masks: Arc<MaskSet>,
    hasher: RecordHasher,
    stdout_level: Option<Level>,
    stderr_level: Option<Level>,
    result: SaidResult,
    buffer: Vec<u8>,
    /// The records in `buffer`, until they are known to be stored.
    buffered: Vec<Record>,
    stored_bytes: u64,
    dropping: Option<Dropping>,
    outputs: OutputTally,
    /// What was set so far; the tally bounds it.
    set: BTreeMap<String, SetVariable>,
    /// Output variables that were left out.
    outputs_left_out: u64,
    /// Files that are to be kept.
    artifacts: Vec<ArtifactRequest>,
    /// How many more were named than are noted.
    artifacts_beyond: u64,
    /// Messages that were not obeyed.
    not_obeyed: u64,
    /// It was said that the step forbids them.
    forbidden_told: bool,
    /// The masks cannot be built any more, so no text is kept.
    blind: bool,
    /// What could not be stored to the very end, for people.
    lost: Option<String>,
    /// What readers have that is not here yet.
    in_hand: Arc<InHand>,
    /// The count and the digest were given; nothing may change them any more.
    closed: bool,
}

impl Recorder {
    /// Begins to record into a spool that is empty.
    pub fn new(
        store: Box<dyn SpoolStore>,
        options: RecorderOptions,
    ) -> Result<Self, RecorderError> {
        let masks = MaskSet::new(options.secrets.iter().map(|secret| secret.as_str()))?;
        Ok(Self {
            store,
            masks: Arc::new(masks),
            hasher: RecordHasher::new(),
            stdout_level: Some(Level::Info),
            stderr_level: Some(Level::Error),
            result: SaidResult::default(),
            buffer: Vec::new(),
            buffered: Vec::new(),
            stored_bytes: 0,
            dropping: None,
            outputs: OutputTally::default(),
            set: BTreeMap::new(),
            outputs_left_out: 0,
            artifacts: Vec::new(),
            artifacts_beyond: 0,
            not_obeyed: 0,
            forbidden_told: false,
            blind: false,
            lost: None,
            in_hand: Arc::default(),
            closed: false,
            options,
        })
    }

    /// A line of the agent or the action, masked here; line breaks make several.
    pub fn say(&mut self, level: Level, text: &str) {
        let masked = self.masks.mask(text);
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let mut keep = |ends, line| lines.push((ends, line));
        splitter.push(masked.as_bytes(), &mut keep);
        splitter.finish(&mut keep);
        if lines.is_empty() {
            lines.push((Ends::Whole, String::new()));
        }
        for (ends, text) in lines {
            self.append_line(Stream::Agent, level, ends, text);
        }
        self.flush();
    }

    /// How far the action is.
    pub fn progress(&mut self, percent: u8, message: &str) {
        let mut message = self.masks.mask(message).replace('\0', "\u{fffd}");
        let end = message.floor_char_boundary(LONGEST_PROGRESS);
        message.truncate(end);
        let percent = percent.min(100);
        self.append(RecordBody::Progress { percent, message });
        self.flush();
    }

    /// Masks this value from now on.
    pub fn learn(&mut self, secret: &str) {
        if secret.is_empty()
            || self
                .options
                .secrets
                .iter()
                .any(|known| known.as_str() == secret)
        {
            return;
        }
        self.options.secrets.push(Zeroizing::new(secret.to_owned()));
        match MaskSet::new(self.options.secrets.iter().map(|secret| secret.as_str())) {
            Ok(set) => self.masks = Arc::new(set),
            Err(error) => {
                // What cannot be masked must not be shown: from here on no text is.
                self.say(
                    Level::Warning,
                    &format!("{error}; its output is not shown from here on"),
                );
                self.blind = true;
            }
        }
    }

    /// Where readers say what they have for it.
    pub fn in_hand(&self) -> Arc<InHand> {
        Arc::clone(&self.in_hand)
    }

    /// What the script said about its result, if it did.
    pub fn result_message(&self) -> Option<&str> {
        self.result.message.as_deref()
    }

    /// What is said about the result from now on does not change it.
    pub fn settle_result(&mut self) {
        self.result.settled = true;
    }

    /// Masks a text that is to be stored elsewhere.
    pub fn mask(&self, text: &str) -> String {
        self.masks.mask(text)
    }

    /// Brings what was appended to the file; to be called when the pipe has nothing more.
    pub fn flush(&mut self) {
        if self.buffered.is_empty() {
            return;
        }
        let begun = Instant::now();
        let stall = Duration::from_millis(self.options.limits.stall_ms);
        let mut held = Held::No;
        let stored = loop {
            if self.store.append(&self.hasher, &self.buffer).is_ok() {
                break true;
            }
            if held == Held::No && begun.elapsed() >= TELL_HELD {
                held = Held::Yes;
                self.store.note_held(held);
            }
            if begun.elapsed() >= stall || self.options.stop.sleep(RETRY).is_err() {
                break false;
            }
        };
        if held == Held::Yes {
            self.store.note_held(Held::No);
        }
        if stored {
            self.stored();
        } else {
            self.give_up(Reason::DiskFull);
        }
    }

    /// The end: gap and tail are written, all is brought to the disk. Gives the count and the digest.
    pub fn finish(&mut self) -> (u64, Digest) {
        self.tell_in_hand();
        self.tell_left_out();
        self.flush();
        if let Some(dropping) = self.dropping.take() {
            self.end_gap(dropping);
        }
        if self.store.release()
            && let Some(dropping) = self.dropping.take()
        {
            self.end_gap(dropping);
        }
        if let Some(dropping) = self.dropping.take() {
            self.lose(dropping);
        }
        self.closed = true;
        // The result says how many records there are; a loss after this is seen when it is read.
        let _ = self.store.sync();
        (self.hasher.count(), self.hasher.digest())
    }

    /// What a reader has now comes too late.
    fn tell_in_hand(&mut self) {
        let (lines, bytes) = self.in_hand.size();
        if bytes > 0 {
            self.append(RecordBody::Gap {
                lines,
                bytes,
                reason: "the step was over before it could be stored".to_owned(),
            });
        }
    }

    /// What [`Self::finish`] could not store, for people.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// A line, or a piece of one that goes on in the next record of its stream.
    fn append_line(&mut self, stream: Stream, level: Level, ends: Ends, text: String) {
        self.append(match ends {
            Ends::Whole => RecordBody::Line {
                stream,
                level,
                text,
            },
            Ends::Cut => RecordBody::Piece {
                stream,
                level,
                text,
            },
        });
    }

    fn append(&mut self, body: RecordBody) {
        if self.closed {
            // A process that was abandoned is still printing.
            return;
        }
        let body = if self.blind { unseen(body) } else { body };
        let record = Record {
            at_us: now_us(),
            body,
        };
        if self.dropping.is_some() {
            self.drop_record(record);
            return;
        }
        let is_line = matches!(
            record.body,
            RecordBody::Line { .. } | RecordBody::Piece { .. }
        );
        if is_line && self.stored_bytes + self.buffer.len() as u64 > self.options.limits.cap_bytes {
            self.flush();
            self.give_up(Reason::Cap);
            self.drop_record(record);
            return;
        }
        spool::encode(&record, &mut self.buffer);
        self.buffered.push(record);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    fn stored(&mut self) {
        for record in self.buffered.drain(..) {
            self.hasher.update(&record);
        }
        self.stored_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        (self.options.wake)();
    }
}

/// What is left of a record whose texts cannot be masked.
fn unseen(body: RecordBody) -> RecordBody {
    const NOT_SHOWN: &str = "(not shown: it cannot be masked)";
    match body {
        RecordBody::Line { stream, level, .. } => RecordBody::Line {
            stream,
            level,
            text: NOT_SHOWN.to_owned(),
        },
        RecordBody::Piece { stream, level, .. } => RecordBody::Piece {
            stream,
            level,
            text: NOT_SHOWN.to_owned(),
        },
        RecordBody::Progress { percent, .. } => RecordBody::Progress {
            percent,
            message: NOT_SHOWN.to_owned(),
        },
        RecordBody::Variable {
            name, sensitive, ..
        } if !sensitive => RecordBody::Variable {
            name,
            value: NOT_SHOWN.to_owned(),
            sensitive,
        },
        RecordBody::Artifact {
            size_bytes, digest, ..
        } => RecordBody::Artifact {
            name: "artifact".to_owned(),
            size_bytes,
            digest,
        },
        RecordBody::Variable { .. } | RecordBody::Gap { .. } => body,
    }
}

/// Why nothing may be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The secrets cannot be masked, so nothing may be printed.
    #[error(transparent)]
    Secrets(#[from] TooManySecrets),
}

/// Microseconds since 1970 by this machine's clock.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
