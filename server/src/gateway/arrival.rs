//! What comes in from agents.

use std::net::SocketAddr;

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::{
    AcquireAnswer, AcquireProgress, AttemptEnded, AttemptReport, CancelAnswer, Hello, Journal,
    OutputHeld, Records, RecordsGone, StartAnswer,
};

use super::sessions::SessionId;

/// Something that an agent said, or that happened to its connection.
///
/// Arrivals of one stream come in order. After a [`Arrival::Resync`] the receiver answers with
/// `Resynced` and only then orders anything of that session.
#[derive(Debug)]
pub enum Arrival {
    /// An agent connected and reported its whole journal.
    Resync {
        /// Who.
        agent: AgentId,
        /// On which connection.
        session: SessionId,
        /// Where from.
        remote: SocketAddr,
        /// What it said of itself.
        hello: Box<Hello>,
        /// Which journal it goes by; none if it did not say.
        journal: Option<Journal>,
        /// Every attempt that it has not been told to forget.
        reports: Vec<AttemptReport>,
    },
    /// A connection is gone.
    Disconnected {
        /// Whose.
        agent: AgentId,
        /// Which; a newer one of the same agent may be there already.
        session: SessionId,
    },
    /// Records of an attempt.
    Records {
        /// Who.
        agent: AgentId,
        /// What.
        records: Records,
    },
    /// Records of an attempt that its agent cannot give.
    RecordsGone {
        /// Who.
        agent: AgentId,
        /// Which.
        gone: RecordsGone,
    },
    /// The output of an attempt is held back on its agent.
    OutputHeld {
        /// Who.
        agent: AgentId,
        /// Whose.
        held: OutputHeld,
    },
    /// The end of an attempt; its records came before on the same stream.
    AttemptEnded {
        /// Who.
        agent: AgentId,
        /// What.
        ended: AttemptEnded,
    },
    /// The answer to a start.
    StartAnswered {
        /// Who.
        agent: AgentId,
        /// What.
        answer: StartAnswer,
    },
    /// The answer to a cancel.
    CancelAnswered {
        /// Who.
        agent: AgentId,
        /// What.
        answer: CancelAnswer,
    },
    /// The answer to an acquisition.
    AcquireAnswered {
        /// Who.
        agent: AgentId,
        /// What.
        answer: AcquireAnswer,
    },
    /// How far an acquisition is.
    AcquireProgressed {
        /// Who.
        agent: AgentId,
        /// What.
        progress: AcquireProgress,
    },
    /// A connection was refused. At most a few a minute are told.
    Refused(Refusal),
}

/// A refused connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where from.
    pub remote: SocketAddr,
    /// Who it claimed to be, if its certificate could be read.
    pub agent: Option<AgentId>,
    /// Why.
    pub reason: String,
    /// How many more were refused since the last one that was told.
    pub more: u64,
}
