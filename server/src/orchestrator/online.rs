//! Who is connected and resynced, kept by the orchestrator for everybody who asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use mantle_shared::ids::{AgentId, JournalId};

use crate::gateway::SessionId;
use crate::services::Presence;

/// The agents that may be given orders, by the connection on which they reported their journal.
#[derive(Debug, Default)]
pub struct Online {
    agents: RwLock<HashMap<AgentId, Entry>>,
    /// All that were there since this process began.
    known: RwLock<BTreeSet<AgentId>>,
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
}
