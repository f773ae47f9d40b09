//! What an attempt reports, on streams that the agent opens.
//!
//! Records are numbered from 0 by the supervisor before they reach its disk. The server answers on
//! the control stream, after its commit, with the first number that it does not have.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::AttemptId;

/// Consecutive records of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The attempt.
    pub attempt: AttemptId,
    /// The number of the first record.
    pub first_seq: u64,
    /// The records, without a gap in their numbers.
    pub records: Vec<Record>,
}

/// One thing that an attempt said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, by the agent's clock.
    pub at_us: i64,
    /// What.
    pub body: RecordBody,
}

/// What a record holds. Grows at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordBody {
    /// A line of output.
    Line {
        /// Where it came from.
        stream: Stream,
        /// How it is to be shown.
        level: Level,
        /// The text, masked, at most [`MAX_RECORD_TEXT_BYTES`](super::MAX_RECORD_TEXT_BYTES).
        text: String,
    },
    /// An output variable.
    Variable {
        /// Its name.
        name: String,
        /// Its value; for a sensitive one the value sealed under the order's key, in base64.
        value: String,
        /// The value is sealed and must never be shown.
        sensitive: bool,
    },
    /// How far the action is.
    Progress {
        /// 0 to 100.
        percent: u8,
        /// What it is doing.
        message: String,
    },
    /// Output that could not be kept. Never silent, never a failure.
    Gap {
        /// How many lines are missing.
        lines: u64,
        /// How many bytes are missing.
        bytes: u64,
        /// Why.
        reason: String,
    },
    /// A file that the attempt leaves behind: it lies on the agent, whole, and is asked for with
    /// [`FetchArtifact`](super::FetchArtifact) once the attempt's end is stored. Since protocol
    /// version 2; to an older server the agent says it as a line.
    Artifact {
        /// What it is called, masked.
        name: String,
        /// Its size.
        size_bytes: u64,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// A piece of a long line, which goes on in the next record of its stream. Since protocol version 2;
    /// to an older server the agent sends a line that ends with [`CUT_MARK`](super::CUT_MARK).
    Piece {
        /// Where it came from.
        stream: Stream,
        /// How it is to be shown.
        level: Level,
        /// The text, masked, at most [`MAX_RECORD_TEXT_BYTES`](super::MAX_RECORD_TEXT_BYTES).
        text: String,
    },
}

impl RecordBody {
    /// How many bytes of text it holds: what a record weighs, nearly all of it.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Line { text, .. } | Self::Piece { text, .. } => text.len(),
            Self::Variable { name, value, .. } => name.len() + value.len(),
            Self::Progress { message, .. } => message.len(),
            Self::Gap { reason, .. } => reason.len(),
            Self::Artifact { name, .. } => name.len(),
        }
    }
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// The agent or the action itself.
    Agent,
}

/// How a line is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Only when details are asked for.
    Verbose,
    /// As usual.
    Info,
    /// Worth noticing.
    Highlight,
    /// Something is not right; the task ends with warnings.
    Warning,
    /// Something is wrong.
    Error,
}

/// Records that the agent cannot give: the server said that it lacks them, and they are damaged or gone
/// from the agent's disk. Those that follow come next. Since protocol version 2; an older server passes
/// over it, and notes the gap at the attempt's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsGone {
    /// The attempt.
    pub attempt: AttemptId,
    /// The number of the first that is missing.
    pub first_seq: u64,
    /// The number of the next that is there.
    pub next_seq: u64,
}

/// What a process prints is held back, since there is no room for it on the agent's disk: it stands
/// still. Said on the control stream. Since protocol version 2; an older server answers `Unsupported`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputHeld {
    /// The attempt.
    pub attempt: AttemptId,
    /// After so long without room, lines are counted instead of kept.
    pub stall_ms: u64,
}

/// The attempt is over; all its records were sent before this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnded {
    /// The attempt.
    pub attempt: AttemptId,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// The verdict.
    pub outcome: Outcome,
    /// The process's exit code, if there was one.
    pub exit_code: Option<i32>,
    /// Why, in a sentence; empty for a success without remarks.
    pub message: String,
    /// How many records the attempt has, gap records included.
    pub records: u64,
    /// The digest over all records, see [`RecordHasher`].
    pub log: Digest,
    /// When its supervisor began, by the agent's clock; 0 if it never did.
    pub started_at_us: i64,
    /// When it ended, by the agent's clock.
    pub ended_at_us: i64,
}

/// The verdict on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It was killed at its deadline.
    TimedOut,
    /// It was stopped because somebody asked for it.
    Cancelled,
    /// It was accepted, but nothing was run.
    NotStarted,
    /// The machine went down under it.
    Interrupted,
    /// What became of it cannot be known.
    Unknown,
    /// It could not be killed and may still run.
    Abandoned,
}

/// Computes [`AttemptEnd::log`]: both ends feed it every record in order and must agree.
///
/// It is a chain: each digest is over the one before and the next record. So it can go on from a count
/// and a digest alone, where the records before are not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHasher {
    digest: Digest,
    count: u64,
}

impl Default for RecordHasher {
    fn default() -> Self {
        Self {
            digest: Digest::of(b""),
            count: 0,
        }
    }
}

impl RecordHasher {
    /// A hasher over no records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on behind so many records with this digest.
    pub fn resume(count: u64, digest: Digest) -> Self {
        Self { digest, count }
    }

    /// Takes the next record.
    pub fn update(&mut self, record: &Record) {
        self.count += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.digest.as_bytes());
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        field(&record.at_us.to_be_bytes());
        match &record.body {
            RecordBody::Line {
                stream,
                level,
                text,
            } => {
                field(&[b'l', *stream as u8, *level as u8]);
                field(text.as_bytes());
            }
            RecordBody::Variable {
                name,
                value,
                sensitive,
            } => {
                field(&[b'v', u8::from(*sensitive)]);
                field(name.as_bytes());
                field(value.as_bytes());
            }
            RecordBody::Progress { percent, message } => {
                field(&[b'p', *percent]);
                field(message.as_bytes());
            }
            RecordBody::Gap {
                lines,
                bytes,
                reason,
            } => {
                field(b"g");
                field(&lines.to_be_bytes());
                field(&bytes.to_be_bytes());
                field(reason.as_bytes());
            }
            RecordBody::Artifact {
                name,
                size_bytes,
                digest,
            } => {
                field(b"f");
                field(name.as_bytes());
                field(&size_bytes.to_be_bytes());
                field(digest.as_bytes());
            }
            RecordBody::Piece {
                stream,
                level,
                text,
            } => {
                field(&[b'c', *stream as u8, *level as u8]);
                field(text.as_bytes());
            }
        }
        self.digest = Digest::from(hasher.finalize());
    }

    /// How many records were taken.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest over all records so far.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
