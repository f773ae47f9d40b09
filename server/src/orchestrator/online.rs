//! Who is connected and resynced, kept by the orchestrator for everybody who asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use mantle_domain::queue::Awaited;
use mantle_shared::ids::{AgentId, JournalId, TaskId};

use super::transfers::Transfers;
use crate::gateway::SessionId;
use crate::services::{Arrived, Presence};

/// The agents that may be given orders, by the connection on which they reported their journal.
#[derive(Debug, Default)]
pub struct Online {
    agents: RwLock<HashMap<AgentId, Entry>>,
    /// All that were there since this process began.
    known: RwLock<BTreeSet<AgentId>>,
    /// Whom queued tasks wait for since their turn came.
    awaited: RwLock<HashMap<TaskId, Awaited>>,
    /// How far packages are on their way.
    pub(super) transfers: Transfers,
}

/// How an agent is there.
#[derive(Debug, Clone, Copy)]
struct Entry {
    session: SessionId,
    /// The journal that it goes by, if it said so.
    journal: Option<JournalId>,
}

impl Online {
    /// Nobody is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// The connection on which an agent reported its journal.
    pub fn session(&self, agent: AgentId) -> Option<SessionId> {
        self.agents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&agent)
            .map(|entry| entry.session)
    }

    /// Whether an agent is there, or was since this process began.
    pub(super) fn was_here(&self, agent: AgentId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains(&agent)
    }

    /// All of them.
    pub fn agents(&self) -> BTreeSet<AgentId> {
        self.agents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    /// The journals that they go by, of those that said so.
    pub(super) fn journals(&self) -> BTreeMap<AgentId, JournalId> {
        self.agents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter_map(|(agent, entry)| Some((*agent, entry.journal?)))
            .collect()
    }

    /// A queued task waits for agents.
    pub(super) fn note_awaited(&self, task: TaskId, whom: Awaited) {
        self.awaited
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task, whom);
    }

    /// It is another's turn.
    pub(super) fn forget_awaited(&self, task: TaskId) {
        self.awaited
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&task);
    }

    /// Only these tasks are still queued.
    pub(super) fn keep_awaited(&self, queued: &BTreeSet<TaskId>) {
        self.awaited
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|task, _| queued.contains(task));
    }

    pub(super) fn enter(&self, agent: AgentId, session: SessionId, journal: Option<JournalId>) {
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent, Entry { session, journal });
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent);
    }

    /// Takes an agent out, unless a newer connection of it is there.
    pub(super) fn leave(&self, agent: AgentId, session: SessionId) -> bool {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let gone = agents
            .get(&agent)
            .is_some_and(|entry| entry.session == session);
        if gone {
            agents.remove(&agent);
        }
        gone
    }

    pub(super) fn revoke(&self, agent: AgentId) {
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&agent);
    }
}

impl Presence for Online {
    fn is_online(&self, agent: AgentId) -> bool {
        self.session(agent).is_some()
    }

    fn awaited(&self, task: TaskId) -> Option<Awaited> {
        let awaited = self.awaited.read().unwrap_or_else(PoisonError::into_inner);
        awaited.get(&task).cloned()
    }

    fn arrived(&self, task: TaskId, agent: AgentId) -> Option<Arrived> {
        self.transfers.arrived(task, agent)
    }
}
