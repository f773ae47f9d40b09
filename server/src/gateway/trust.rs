//! Who may work here: an allow-list by agent id and key, looked at on each connection and order.
//!
//! It is kept in memory and changed together with the database: a revoked agent is out at once,
//! and there is no list that could expire.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use mantle_shared::ids::{AgentId, TargetId};
use mantle_shared::tls::Fingerprint;

/// What is known of an agent that may work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedAgent {
    /// The SHA-256 of its public key (SPKI, DER).
    pub key: Fingerprint,
    /// The target that it runs on.
    pub target: TargetId,
    /// The target's name.
    pub name: String,
}

/// The allow-list.
#[derive(Debug, Default)]
pub struct Trust {
    agents: RwLock<HashMap<AgentId, TrustedAgent>>,
}

impl Trust {
    /// An empty list: nobody may work.
    pub fn new() -> Self {
        Self::default()
    }

    /// This agent may work from now on.
    pub fn allow(&self, agent: AgentId, entry: TrustedAgent) {
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent, entry);
    }

    /// This agent may not work any more. Its connections are closed by the caller.
    pub fn withdraw(&self, agent: AgentId) {
        self.agents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&agent);
    }

    /// The agent, if it may work and this is its key.
    pub fn find(&self, agent: AgentId, key: Fingerprint) -> Option<TrustedAgent> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.get(&agent).filter(|entry| entry.key == key).cloned()
    }

    /// The agent may still work.
    pub fn holds(&self, agent: AgentId) -> bool {
        self.agents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&agent)
    }
}
