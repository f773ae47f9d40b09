//! A connection: what is under way in it. QUIC keeps the order within a stream and between streams
//! none; a connection that is cut loses all that is under way. So this line delays each stream on its
//! own, loses by being cut, and repeats what is on the control stream (which real peers do over a
//! reconnection).

use std::collections::{BTreeMap, VecDeque};

use mantle_shared::ids::{AttemptId, JournalId};
use mantle_shared::protocol::{AttemptEnd, AttemptReport, Message};

/// On the control stream, from the agent.
#[derive(Debug, Clone)]
pub enum Up {
    /// Its whole journal.
    Resync {
        /// Which journal.
        journal: Option<JournalId>,
        /// What it holds.
        reports: Vec<AttemptReport>,
    },
    /// An answer.
    Answer(Message),
}

/// On an attempt's own stream, from the agent.
#[derive(Debug, Clone)]
pub enum Report {
    /// Lines, from this number on.
    Records {
        /// The number of the first.
        first_seq: u64,
        /// They.
        lines: Vec<u32>,
    },
    /// It is over.
    Ended(AttemptEnd),
}

/// A connection's streams.
#[derive(Debug)]
pub struct Line {
    /// The number of the connection.
    pub session: u64,
    /// Control, to the server.
    pub up: VecDeque<Up>,
    /// Reports, to the server.
    pub reports: BTreeMap<AttemptId, VecDeque<Report>>,
    /// Control, to the agent.
    pub down: VecDeque<Message>,
}

impl Line {
    /// A new connection.
    pub fn new(session: u64) -> Self {
        Self {
            session,
            up: VecDeque::new(),
            reports: BTreeMap::new(),
            down: VecDeque::new(),
        }
    }

    /// Takes what one of the streams of reports brings next.
    pub fn take_report(&mut self, pick: usize) -> Option<(AttemptId, Report)> {
        let attempt = *self.reports.keys().nth(pick % self.reports.len().max(1))?;
        let stream = self.reports.get_mut(&attempt)?;
        let report = stream.pop_front()?;
        if stream.is_empty() {
            self.reports.remove(&attempt);
        }
        Some((attempt, report))
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.up.is_empty() && self.reports.is_empty() && self.down.is_empty()
    }
}
