//! What goes into the brain and what comes out.

use mantle_shared::lock::Lock;
use mantle_shared::protocol::{Acquire, AttemptEnd, AttemptPosition, Message, Welcome};
use mantle_shared::{AttemptId, Digest, TaskId};

use crate::journal::{Record, Weight};
use crate::process::ProcessIdentity;

/// What does not change while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrainConfig {
    /// How many attempts may be open at once.
    pub most_attempts: usize,
}

impl Default for BrainConfig {
    /// Each attempt costs a process; nobody deploys so much to one machine at once by intent.
    fn default() -> Self {
        Self { most_attempts: 64 }
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The server took the agent in.
    Connected(Welcome),
    /// The connection is gone.
    Disconnected,
    /// The server's answer to the resync.
    Resynced(Vec<AttemptPosition>),
    /// The server stored something.
    Acknowledged(Vec<AttemptPosition>),
    /// The server orders a start.
    Start(Start),
    /// The server orders a stop.
    Cancel(Cancel),
    /// The server orders packages to be brought in.
    Acquire(Acquire),
    /// A supervisor process exists.
    Spawned {
        /// Whose.
        attempt: AttemptId,
        /// The process.
        process: ProcessIdentity,
    },
    /// An attempt is over.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        end: AttemptEnd,
    },
    /// The agent is going down.
    Drain,
}

/// An order to start.
#[derive(Debug, Clone)]
pub struct Start {
    /// Repeated by the answer.
    pub request: u64,
    /// The epoch of the server's hold on the task.
    pub epoch: u64,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The digest of the order's bytes.
    pub payload: Digest,
    /// What the order claims, if it can be read and its action type is known; otherwise why not.
    pub order: Result<Claims, String>,
    /// Whether the attempt's folder is there, with room set aside.
    pub workspace: Result<(), JournalFailure>,
}

/// What an order claims on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// What its attempt holds while it lives.
    pub locks: Vec<Lock>,
    /// The attempts whose locks somebody broke.
    pub despite: Vec<AttemptId>,
}

/// An order to stop.
#[derive(Debug, Clone, Copy)]
pub struct Cancel {
    /// Repeated by the answer.
    pub request: u64,
    /// The epoch of the server's hold on the task.
    pub epoch: u64,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// How long processes have between the request to stop and the kill.
    pub grace_ms: u32,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Must be in the journal first.
    pub records: Vec<Record>,
    /// How much they matter.
    pub weight: Weight,
    /// What to do then.
    pub then: Vec<Effect>,
    /// What to do if they cannot be written.
    pub otherwise: Otherwise,
}

impl Decision {
    /// Nothing to record.
    pub fn just(then: Vec<Effect>) -> Self {
        Self {
            then,
            ..Self::default()
        }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send on the control stream.
    Send(Message),
    /// Send the reports of [`Brain::reports`](super::Brain::reports).
    Resync,
    /// Start the attempt's supervisor with the order that is at hand.
    Spawn {
        /// Which.
        attempt: AttemptId,
    },
    /// Remove the folder of an attempt that was refused.
    Discard {
        /// Which.
        attempt: AttemptId,
    },
    /// Tell the supervisor to stop.
    WriteCancel {
        /// Which.
        attempt: AttemptId,
        /// How long processes have.
        grace_ms: u32,
    },
    /// Bring packages in.
    Acquire(Acquire),
    /// Send the records from this number on.
    Ship {
        /// Whose.
        attempt: AttemptId,
        /// The first that the server does not have.
        from_seq: u64,
    },
    /// Send the records from the first on, unless they are being sent.
    ShipIfIdle {
        /// Whose.
        attempt: AttemptId,
    },
    /// Send nothing any more: the connection is gone.
    StopShipping,
    /// The server stored the records below this number.
    Stored {
        /// Whose.
        attempt: AttemptId,
        /// The first that it does not have.
        next_seq: u64,
    },
    /// The attempt is over: send its end after its records.
    Complete {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        end: AttemptEnd,
    },
    /// The end could not be recorded; try again later.
    EndLater {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        end: AttemptEnd,
    },
    /// The server has everything: remove the folder.
    Forget {
        /// Which.
        attempt: AttemptId,
    },
}

/// What to do if the records cannot be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Otherwise {
    /// Nothing: it will come up again.
    #[default]
    Nothing,
    /// Send the reports all the same.
    Resync,
    /// Refuse the start.
    RefuseStart {
        /// The request.
        request: u64,
        /// Which.
        attempt: AttemptId,
    },
    /// Answer that the cancel failed.
    FailCancel {
        /// The request.
        request: u64,
        /// Which.
        attempt: AttemptId,
    },
    /// Answer that the packages are not brought in.
    FailAcquire {
        /// The request.
        request: u64,
        /// The task.
        task: TaskId,
    },
    /// Record the end later.
    EndLater {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        end: AttemptEnd,
    },
}

/// Why records could not be written, or a folder not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalFailure {
    /// The disk is full.
    NoSpace,
    /// Something else.
    Other,
}
