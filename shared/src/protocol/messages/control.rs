//! The control stream: who is who, what each end knows, then the server's requests.
//!
//! The agent opens it and says [`Hello`]; the server answers [`Welcome`] or closes. The agent then
//! says which [`Journal`] it goes by and reports every attempt that it has not been told to forget ([`Resync`]), the server says what it
//! already stored of each ([`Resynced`]), and only then does the server order anything.
//!
//! Every request carries a number that its answer repeats, and is answered once. A request that is
//! repeated (after a lost answer) is the same request: the journal decides, not the number.

use serde::{Deserialize, Serialize};

use super::attempt::AttemptEnd;
use crate::digest::Digest;
use crate::ids::{AttemptId, JournalId, TaskId};

/// The agent's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest protocol version that the agent speaks.
    pub protocol_min: u16,
    /// The newest protocol version that the agent speaks.
    pub protocol_max: u16,
    /// The agent's own version, such as `0.1.0`.
    pub version: String,
    /// `linux` or `windows`.
    pub os: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// The machine's host name.
    pub host_name: String,
    /// What the agent can do beyond the protocol's version, such as `action:haproxy.drain`.
    pub features: Vec<String>,
    /// Changes when the machine boots.
    pub boot_id: String,
    /// The highest epoch that any server ever sent.
    pub highest_epoch: u64,
    /// The digest of the journal's live state, for the log.
    pub journal: Digest,
}

/// The server takes the agent in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version that both will speak.
    pub protocol: u16,
    /// The server's own version.
    pub version: String,
    /// The server's clock, by which the agent tells its own skew.
    pub now_us: i64,
    /// The server's epoch counter. Lower than what the agent has seen means a restored backup.
    pub epoch: u64,
}

/// Which journal the agent goes by. Sent after [`Welcome`], before the first [`Resync`].
///
/// An attempt that was ordered under one journal and does not stand in another that took its place
/// may have run: the server calls it unknown and never orders it again. A server that does not know
/// this message answers `Unsupported` and judges by the reports alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Its id, drawn when it began.
    pub journal: JournalId,
    /// When it began, by the agent's clock.
    pub began_at_us: i64,
    /// It took the place of one that was lost.
    pub after_loss: bool,
}

/// What the agent's journal holds. Sent in portions; the last one says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Attempts that were not acknowledged to the end.
    pub reports: Vec<AttemptReport>,
    /// No more portions follow.
    pub last: bool,
}

/// One attempt as the agent's journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The task that it belongs to.
    pub task: TaskId,
    /// The epoch of the order that started it.
    pub epoch: u64,
    /// Where it stands.
    pub state: ReportedState,
    /// How many records its spool holds.
    pub records: u64,
}

/// Where an attempt stands on the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportedState {
    /// Journalled, not yet seen running.
    Accepted,
    /// Its supervisor is alive.
    Running,
    /// It is over.
    Ended(AttemptEnd),
}

/// The server's answer to [`Resync`]. Sent in portions; the last one says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resynced {
    /// What the server holds of each reported attempt.
    pub positions: Vec<AttemptPosition>,
    /// No more portions follow.
    pub last: bool,
}

/// What the server has committed of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptPosition {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The server knows this attempt. An unknown one is kept and not sent.
    pub known: bool,
    /// Records below this number are stored.
    pub next_seq: u64,
    /// The end is stored too: the agent may forget the attempt.
    pub end_stored: bool,
}

/// The server stored what is named; the agent may delete it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// What is stored of each attempt.
    pub positions: Vec<AttemptPosition>,
}

/// The server goes away in good order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoAway {
    /// Do not dial again before this.
    pub retry_after_ms: u32,
    /// Why, for the log.
    pub reason: String,
}

/// The answer to a message type that the receiver does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The type that was not understood.
    pub kind: u16,
}

/// Start an attempt, unless it was started before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAttempt {
    /// Repeated by the answer.
    pub request: u64,
    /// The answer is of no use after this.
    pub deadline_ms: u32,
    /// The epoch under which the server holds the task.
    pub epoch: u64,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The [`Order`](crate::order::Order) as JSON, handed to the supervisor untouched.
    pub order: Vec<u8>,
}

impl std::fmt::Debug for StartAttempt {
    /// Without the order, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartAttempt")
            .field("request", &self.request)
            .field("epoch", &self.epoch)
            .field("task", &self.task)
            .field("attempt", &self.attempt)
            .field("order_bytes", &self.order.len())
            .finish_non_exhaustive()
    }
}

/// What became of a [`StartAttempt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAnswer {
    /// The request's number.
    pub request: u64,
    /// The attempt.
    pub attempt: AttemptId,
    /// What became of it.
    pub result: StartResult,
}

/// The agent's decision on a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartResult {
    /// It is in the journal: it runs, or will. The same answer however often it is asked.
    Accepted,
    /// It was over before this order came; this is how it ended.
    Ended(AttemptEnd),
    /// It was not started and is not in the journal.
    Refused {
        /// Why.
        reason: StartRefusal,
        /// For people.
        message: String,
    },
}

/// Why an agent starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartRefusal {
    /// The journal or the workspace has no room.
    NoSpace,
    /// The journal could not be written for another reason.
    Journal,
    /// A newer epoch of this task was seen: the order comes from a server that lost it.
    Fenced,
    /// The server's counter is below what this agent has seen: a restored backup.
    StaleServer,
    /// The same attempt id came with another payload.
    Conflict,
    /// The agent is going down.
    Draining,
    /// The agent runs as many attempts as it may.
    Busy,
    /// The attempt was cancelled before it started.
    Voided,
    /// The order cannot be read or its action type is not known here.
    BadOrder,
}

/// Cancel an attempt: ask its processes to stop, then kill the whole tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAttempt {
    /// Repeated by the answer.
    pub request: u64,
    /// The answer is of no use after this.
    pub deadline_ms: u32,
    /// The epoch under which the server holds the task.
    pub epoch: u64,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// How long the processes have between the request to stop and the kill.
    pub grace_ms: u32,
}

/// What became of a [`CancelAttempt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAnswer {
    /// The request's number.
    pub request: u64,
    /// The attempt.
    pub attempt: AttemptId,
    /// What became of it.
    pub result: CancelResult,
}

/// The agent's word on a cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelResult {
    /// The request stands in the journal; the end will be reported.
    Cancelling,
    /// It was over before the cancel came.
    Ended(AttemptEnd),
    /// It was never started and never will be: the journal says so from now on.
    Voided,
    /// The order comes from a server that lost the task.
    Fenced,
    /// The journal could not be written; ask again.
    Failed,
}

/// Bring packages into the cache, ahead of the attempts that use them. Repeating it is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// Repeated by the answer.
    pub request: u64,
    /// The answer is of no use after this.
    pub deadline_ms: u32,
    /// The epoch under which the server holds the task.
    pub epoch: u64,
    /// The task that was granted these packages.
    pub task: TaskId,
    /// What to bring in.
    pub packages: Vec<PackageGrant>,
}

/// A package that a task may fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageGrant {
    /// The package's id, such as `OctoFX.Web`.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The digest of its manifest's root.
    pub root: Digest,
    /// The size of its files, taken apart.
    pub size_bytes: u64,
}

/// What became of an [`Acquire`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireAnswer {
    /// The request's number.
    pub request: u64,
    /// The task.
    pub task: TaskId,
    /// What became of it.
    pub result: AcquireResult,
}

/// How an acquisition ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcquireResult {
    /// All packages are in the cache, verified.
    Acquired {
        /// Bytes that travelled.
        fetched_bytes: u64,
        /// Bytes that were there already.
        reused_bytes: u64,
    },
    /// They are not; the same request may be made again.
    Failed {
        /// Why.
        reason: AcquireFailure,
        /// For people.
        message: String,
    },
}

/// Why packages could not be brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcquireFailure {
    /// Not enough room for the package and what it unpacks to.
    NoSpace,
    /// The server refused an object or does not have it.
    Refused,
    /// What came does not have the digest it was asked by, twice.
    Corrupt,
    /// The connection broke or stalled.
    Network,
    /// The cache could not be read or written.
    Disk,
    /// The order comes from a server that lost the task, or from a restored backup.
    Fenced,
    /// The manifest holds something that this platform cannot have.
    Platform,
    /// The agent is going down.
    Draining,
}

/// How far an acquisition is. Sent at most once a second for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireProgress {
    /// The request's number.
    pub request: u64,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Is anybody there?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Repeated by the answer.
    pub request: u64,
    /// Repeated by the answer, at most 1 KiB.
    pub payload: Vec<u8>,
}

/// The answer to [`Echo`], from either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoAnswer {
    /// The request's number.
    pub request: u64,
    /// What the request held.
    pub payload: Vec<u8>,
}
