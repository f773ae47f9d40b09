//! Who is connected and resynced, kept by the orchestrator for everybody who asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use mantle_shared::ids::AgentId;

use crate::gateway::SessionId;
use crate::services::Presence;

/// The agents that may be given orders, by the connection on which they reported their journal.
#[derive(Debug, Default)]
pub struct Online {
    agents: RwLock<HashMap<AgentId, SessionId>>,
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
            .copied()
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

    pub(super) fn enter(&self, agent: AgentId, session: SessionId) {
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent, session);
    }

    /// Takes an agent out, unless a newer connection of it is there.
    pub(super) fn leave(&self, agent: AgentId, session: SessionId) -> bool {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        let gone = agents.get(&agent) == Some(&session);
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
