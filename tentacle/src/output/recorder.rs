//! The recorder: gives every record its number and brings it to the spool.
//!
//! What holds here: what is appended was masked before; a write that fails leaves no half record;
//! while the disk is full the caller is held back (and so the process's pipe), until the stall is
//! over; from then on lines are counted, the last of them kept in memory, and a gap record with the
//! counts stands where they are missing. Room for that record and the last lines is set aside from the
//! start; if even that is taken, the end counts the record all the same, so that the server sees that
//! something is missing. Output variables are bounded in number and size: one that is beyond it is
//! left out with a warning, and the end names one that was taken and could not be stored.

mod outputs;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mantle_shared::mask::{MaskSet, TooManySecrets};
use mantle_shared::order::OutputLimits;
use mantle_shared::outputs::{OUTPUTS_TOLD, OutputTally};
use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher, Stream};
use mantle_shared::{AttemptId, Digest};
use zeroize::Zeroizing;

pub use self::outputs::ArtifactRequest;
use super::capture::{CaptureSink, NotObeyed};
use super::lines::LineSplitter;
use super::seal::Sealer;
use super::service_message::ServiceMessage;
use super::spool;
use crate::actions::StopToken;
use crate::durable;

/// How much of the end of dropped output is kept in memory.
const TAIL_BYTES: usize = 64 * 1024;
/// Room for the tail and the record of the gap before it, on a disk that stays full.
const END_RESERVE_BYTES: usize = 2 * TAIL_BYTES;
/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Longest text of a progress message, so that a loop of them stays small.
const LONGEST_PROGRESS: usize = 1024;

/// Where the spool's bytes go; a file, or a full disk in the tests.
pub trait SpoolStore: Send {
    /// Appends all of it, or fails and leaves what was there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings it to the disk itself.
    fn sync(&mut self) -> io::Result<()>;
    /// Gives the room free that was set aside for the end; whether there was any.
    fn release(&mut self) -> bool;
}

/// The spool's file.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    good: u64,
    reserve: PathBuf,
}

impl SpoolFile {
    /// Makes the file anew, for the agent's user alone, and sets room aside for its end.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let reserve = path.with_extension("reserve");
        // Zeros might be stored as a hole, which takes no room.
        durable::write_scratch(&reserve, &vec![0x5a; END_RESERVE_BYTES])?;
        Ok(Self {
            file,
            good: 0,
            reserve,
        })
    }
}

impl SpoolStore for SpoolFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.good += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Shortening needs no room. If even that fails the reader stops at the damage.
                self.file.set_len(self.good)?;
                self.file.seek(SeekFrom::Start(self.good))?;
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn release(&mut self) -> bool {
        std::fs::remove_file(&self.reserve).is_ok()
    }
}

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

/// Numbers and stores the records of one attempt.
pub struct Recorder {
    store: Box<dyn SpoolStore>,
    options: RecorderOptions,
    masks: Arc<MaskSet>,
    hasher: RecordHasher,
    stdout_level: Option<Level>,
    stderr_level: Option<Level>,
    result_message: Option<String>,
    buffer: Vec<u8>,
    /// The records in `buffer`, until they are known to be stored.
    buffered: Vec<Record>,
    stored_bytes: u64,
    dropping: Option<Dropping>,
    outputs: OutputTally,
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
    /// The count and the digest were given; nothing may change them any more.
    closed: bool,
}

/// Output that is not stored any more, or not at the moment.
struct Dropping {
    reason: &'static str,
    /// The disk may have room again; a reached cap stays reached.
    may_recover: bool,
    tried: Instant,
    lines: u64,
    bytes: u64,
    /// The last lines, and every variable and file.
    tail: VecDeque<Record>,
    tail_bytes: usize,
}

const REASON_DISK: &str = "the agent's disk was full";
const REASON_CAP: &str = "the step printed more than its limit";

impl Recorder {
    /// Begins a spool: writes its header.
    pub fn new(
        store: Box<dyn SpoolStore>,
        options: RecorderOptions,
    ) -> Result<Self, RecorderError> {
        let masks = MaskSet::new(options.secrets.iter().map(|secret| secret.as_str()))?;
        let mut recorder = Self {
            store,
            masks: Arc::new(masks),
            hasher: RecordHasher::new(),
            stdout_level: Some(Level::Info),
            stderr_level: Some(Level::Error),
            result_message: None,
            buffer: Vec::new(),
            buffered: Vec::new(),
            stored_bytes: 0,
            dropping: None,
            outputs: OutputTally::default(),
            outputs_left_out: 0,
            artifacts: Vec::new(),
            artifacts_beyond: 0,
            not_obeyed: 0,
            forbidden_told: false,
            blind: false,
            lost: None,
            closed: false,
            options,
        };
        let header = spool::header(recorder.options.attempt);
        recorder
            .store
            .append(header.as_bytes())
            .map_err(RecorderError::Io)?;
        Ok(recorder)
    }

    /// A line of the agent or the action, masked here; line breaks make several.
    pub fn say(&mut self, level: Level, text: &str) {
        let masked = self.masks.mask(text);
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        splitter.push(masked.as_bytes(), &mut |line| lines.push(line));
        splitter.finish(&mut |line| lines.push(line));
        if lines.is_empty() {
            lines.push(String::new());
        }
        for text in lines {
            let stream = Stream::Agent;
            self.append(RecordBody::Line {
                stream,
                level,
                text,
            });
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

    /// What the script said about its result, if it did.
    pub fn result_message(&self) -> Option<&str> {
        self.result_message.as_deref()
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
        loop {
            if self.store.append(&self.buffer).is_ok() {
                break self.stored();
            }
            if begun.elapsed() >= stall || self.options.stop.sleep(RETRY).is_err() {
                break self.give_up(REASON_DISK, true);
            }
        }
    }

    /// The end: gap and tail are written, all is brought to the disk. Gives the count and the digest.
    pub fn finish(&mut self) -> (u64, Digest) {
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

    /// What [`Self::finish`] could not store, for people.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
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
        let is_line = matches!(record.body, RecordBody::Line { .. });
        if is_line && self.stored_bytes + self.buffer.len() as u64 > self.options.limits.cap_bytes {
            self.flush();
            self.give_up(REASON_CAP, false);
            self.drop_record(record);
            return;
        }
        spool::encode(&record, &mut self.buffer);
        self.buffered.push(record);
        if self.buffer.len() >= 256 * 1024 {
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

    /// Gap and tail could not be stored. The record of the gap counts all the same: the server gets
    /// fewer records than the end says, puts a gap in their place and warns.
    fn lose(&mut self, dropping: Dropping) {
        let (mut lines, mut bytes) = (dropping.lines, dropping.bytes);
        let (mut variables, mut files) = (Vec::new(), Vec::new());
        for record in dropping.tail {
            match record.body {
                RecordBody::Line { text, .. } => {
                    lines += 1;
                    bytes += text.len() as u64;
                }
                RecordBody::Variable { name, .. } => variables.push(name),
                RecordBody::Artifact { name, .. } => files.push(name),
                RecordBody::Progress { .. } | RecordBody::Gap { .. } => {}
            }
        }
        let reason = dropping.reason;
        self.hasher.update(&Record {
            at_us: now_us(),
            body: RecordBody::Gap {
                lines,
                bytes,
                reason: reason.to_owned(),
            },
        });
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
    fn give_up(&mut self, reason: &'static str, may_recover: bool) {
        if self.dropping.is_none() {
            self.dropping = Some(Dropping {
                reason,
                may_recover,
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

    fn drop_record(&mut self, record: Record) {
        let Some(dropping) = &mut self.dropping else {
            return;
        };
        dropping.take(record);
        if dropping.may_recover && dropping.tried.elapsed() >= RETRY * 10 {
            dropping.tried = Instant::now();
            if let Some(dropping) = self.dropping.take() {
                self.end_gap(dropping);
            }
        }
    }

    /// Writes gap and tail; on a disk that is still full the counting goes on.
    fn end_gap(&mut self, dropping: Dropping) {
        let gap = (dropping.lines > 0).then(|| Record {
            at_us: now_us(),
            body: RecordBody::Gap {
                lines: dropping.lines,
                bytes: dropping.bytes,
                reason: dropping.reason.to_owned(),
            },
        });
        let mut bytes = Vec::new();
        for record in gap.iter().chain(&dropping.tail) {
            spool::encode(record, &mut bytes);
        }
        if self.store.append(&bytes).is_err() {
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
            if let RecordBody::Line { text, .. } = &record.body {
                self.lines += 1;
                self.bytes += text.len() as u64;
            }
        }
    }
}

impl Dropping {
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

/// Whether a record may be left out of the tail: what others rest on may not.
fn may_go(body: &RecordBody) -> bool {
    match body {
        RecordBody::Line { .. } | RecordBody::Progress { .. } | RecordBody::Gap { .. } => true,
        RecordBody::Variable { .. } | RecordBody::Artifact { .. } => false,
    }
}

fn size(record: &Record) -> usize {
    32 + record.body.text_bytes()
}

impl CaptureSink for Recorder {
    fn masks(&self) -> Arc<MaskSet> {
        Arc::clone(&self.masks)
    }

    fn line(&mut self, stream: Stream, text: String) {
        let level = match stream {
            Stream::Stdout => self.stdout_level,
            Stream::Stderr => self.stderr_level,
            Stream::Agent => Some(Level::Info),
        };
        if let Some(level) = level {
            self.append(RecordBody::Line {
                stream,
                level,
                text,
            });
        }
    }

    fn not_obeyed(&mut self, why: NotObeyed) {
        match why {
            NotObeyed::Forbidden => {
                if !std::mem::replace(&mut self.forbidden_told, true) {
                    self.say(
                        Level::Warning,
                        "the step printed a service message and did not allow it: it stays in the output \
                         and did nothing. Helper functions such as mantle_set may always be used; \
                         'service_messages: true' under 'with' allows messages in the output",
                    );
                }
            }
            NotObeyed::Malformed(why) => {
                self.not_obeyed += 1;
                if self.not_obeyed <= OUTPUTS_TOLD {
                    self.say(
                        Level::Warning,
                        &format!("a service message is damaged and did nothing: {why}"),
                    );
                }
            }
        }
    }

    fn message(&mut self, message: ServiceMessage) {
        match message {
            ServiceMessage::SetVariable {
                name,
                value,
                sensitive,
            } => {
                self.set_variable(&name, &value, sensitive);
            }
            ServiceMessage::Progress { percent, message } => self.progress(percent, &message),
            ServiceMessage::SetLevel { stream, level } => match stream {
                Stream::Stdout => self.stdout_level = level,
                Stream::Stderr => self.stderr_level = level,
                Stream::Agent => {}
            },
            ServiceMessage::Mask { value } => self.learn(&value),
            ServiceMessage::CreateArtifact { path, name } => {
                self.want_artifact(ArtifactRequest { path, name });
            }
            ServiceMessage::ResultMessage { message } => {
                self.result_message = Some(self.masks.mask(&message));
            }
            ServiceMessage::NotSupported { name } => self.say(
                Level::Warning,
                &format!("the service message '{name}' is not known to this agent and did nothing"),
            ),
        }
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

/// Why a spool cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The file could not be written.
    #[error("the attempt's record file could not be written")]
    Io(#[source] io::Error),
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
#[path = "recorder_tests.rs"]
mod tests;
