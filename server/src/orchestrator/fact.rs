//! What the orchestrator is told, once the records that it rests on are committed.

use std::net::SocketAddr;

use mantle_domain::state::OutputVariable;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{
    AcquireAnswer, AttemptEnd, AttemptReport, CancelAnswer, Hello, Journal, StartAnswer,
};

use crate::gateway::{Refusal, SessionId};
use crate::store::HeldLockRow;

/// Something that an agent said.
#[derive(Debug)]
pub(super) enum Fact {
    /// It reported its whole journal.
    Resync {
        agent: AgentId,
        session: SessionId,
        remote: SocketAddr,
        hello: Box<Hello>,
        journal: Option<Journal>,
        reports: Vec<Reported>,
    },
    /// Its connection is gone.
    Disconnected { agent: AgentId, session: SessionId },
    /// An attempt ended, and of its records all are stored that its agent has.
    AttemptEnded {
        agent: AgentId,
        attempt: AttemptId,
        task: TaskId,
        end: AttemptEnd,
        outputs: Vec<NamedOutput>,
        stored: u64,
    },
    /// What an earlier identity of the agent was ordered to run is over.
    EarlierOver { agent: AgentId, attempt: AttemptId },
    /// It answered a start.
    StartAnswered { agent: AgentId, answer: StartAnswer },
    /// It answered a cancel.
    CancelAnswered {
        agent: AgentId,
        answer: CancelAnswer,
    },
    /// It answered an acquisition.
    AcquireAnswered {
        agent: AgentId,
        answer: AcquireAnswer,
    },
    /// A connection was refused.
    Refused(Refusal),
}

/// A report, with what is stored of it.
#[derive(Debug)]
pub(super) struct Reported {
    /// What the agent said.
    pub(super) report: AttemptReport,
    /// The task that the attempt belongs to; `None` if it is not one of ours, or another agent's.
    pub(super) task: Option<TaskId>,
    /// Records below this are stored.
    pub(super) next_seq: u64,
    /// Its end is stored.
    pub(super) end_stored: bool,
    /// What it holds of which our books show nothing: it was ordered of an earlier identity of the agent, or
    /// was resolved.
    pub(super) kept: Vec<HeldLockRow>,
}

/// An output variable of an attempt, before it is known whose action set it.
#[derive(Debug, Clone)]
pub(super) struct NamedOutput {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) sensitive: bool,
}

impl NamedOutput {
    /// The output variable, as the state keeps it.
    pub(super) fn of(self, action: &str, subject: &str, attempt: AttemptId) -> OutputVariable {
        OutputVariable {
            action: action.to_owned(),
            subject: subject.to_owned(),
            name: self.name,
            value: self.value,
            sealed_by: self.sensitive.then_some(attempt),
        }
    }
}
