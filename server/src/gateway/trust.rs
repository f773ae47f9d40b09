//! Who may work here: an allow-list by agent id and key, looked at on each connection and order.
//!
//! It is kept in memory and changed together with the database: a revoked agent is out at once,
//! and there is no list that could expire. While a certificate is renewed an agent has two keys, and
//! either is as good as the other.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use mantle_shared::ids::{AgentId, TargetId};
use mantle_shared::tls::Fingerprint;

/// A key that got a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedKey {
    /// The SHA-256 of the public key (SPKI, DER).
    pub spki: Fingerprint,
    /// When its certificate was issued.
    pub issued_at_us: i64,
    /// When its certificate ends.
    pub not_after_us: i64,
}

impl TrustedKey {
    /// When its certificate is to be renewed: at half of its life.
    pub fn due_at_us(&self) -> i64 {
        let life_us = self.not_after_us.saturating_sub(self.issued_at_us).max(0);
        self.issued_at_us.saturating_add(life_us / 2)
    }
}

/// What is known of an agent that may work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedAgent {
    /// The key that was seen in use last.
    pub key: TrustedKey,
    /// A key that was issued to renew the certificate, and was not seen in use yet.
    pub offered: Option<TrustedKey>,
    /// The target that it runs on.
    pub target: TargetId,
    /// The target's name.
    pub name: String,
}

/// Which of an agent's keys one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was seen in use.
    Current(TrustedKey),
    /// It is new.
    Offered(TrustedKey),
}

impl Standing {
    /// The key.
    pub fn key(self) -> TrustedKey {
        match self {
            Self::Current(key) | Self::Offered(key) => key,
        }
    }
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
        self.write(|agents| {
            agents.insert(agent, entry);
        });
    }

    /// This agent may not work any more. Its connections are closed by the caller.
    pub fn withdraw(&self, agent: AgentId) {
        self.write(|agents| {
            agents.remove(&agent);
        });
    }

    /// The agent may show this key as well from now on, in the place of another that it was offered.
    /// Nothing happens for an agent that may not work.
    pub fn offer(&self, agent: AgentId, key: Option<TrustedKey>) {
        self.write(|agents| {
            if let Some(entry) = agents.get_mut(&agent) {
                entry.offered = key;
            }
        });
    }

    /// The offered key was seen in use: it takes the other's place.
    pub fn confirm(&self, agent: AgentId, key: Fingerprint) {
        self.write(|agents| {
            if let Some(entry) = agents.get_mut(&agent)
                && let Some(offered) = entry.offered.filter(|offered| offered.spki == key)
            {
                entry.key = offered;
                entry.offered = None;
            }
        });
    }

    /// What this key is to the agent, if both may work.
    pub fn find(&self, agent: AgentId, key: Fingerprint) -> Option<Standing> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        let entry = agents.get(&agent)?;
        let offered = entry.offered.filter(|offered| offered.spki == key);
        if entry.key.spki == key {
            Some(Standing::Current(entry.key))
        } else {
            offered.map(Standing::Offered)
        }
    }

    /// The agent may still work.
    pub fn holds(&self, agent: AgentId) -> bool {
        self.agents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&agent)
    }

    fn write(&self, change: impl FnOnce(&mut HashMap<AgentId, TrustedAgent>)) {
        change(&mut self.agents.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::uuid::Uuid;

    use super::*;

    fn key(n: u8) -> TrustedKey {
        TrustedKey {
            spki: Fingerprint::from_bytes([n; 32]),
            issued_at_us: 100,
            not_after_us: 300,
        }
    }

    #[test]
    fn both_keys_are_good_until_the_new_one_was_seen() {
        let (trust, agent) = (Trust::new(), AgentId::from_uuid(Uuid::from_u128(1)));
        let holds = |n| trust.find(agent, key(n).spki);
        trust.offer(agent, Some(key(2)));
        assert_eq!(holds(2), None, "who may not work is offered nothing");
        trust.allow(
            agent,
            TrustedAgent {
                key: key(1),
                offered: None,
                target: TargetId::from_uuid(Uuid::from_u128(2)),
                name: "web01".to_owned(),
            },
        );
        trust.offer(agent, Some(key(2)));
        assert_eq!(holds(1), Some(Standing::Current(key(1))));
        assert_eq!(holds(2), Some(Standing::Offered(key(2))));
        // A later offer takes the place of one that never arrived.
        trust.offer(agent, Some(key(3)));
        assert_eq!(holds(2), None);
        trust.confirm(agent, key(1).spki);
        assert_eq!(holds(1), Some(Standing::Current(key(1))), "it is no offer");
        trust.confirm(agent, key(3).spki);
        assert_eq!(holds(1), None);
        assert_eq!(holds(3), Some(Standing::Current(key(3))));
        trust.withdraw(agent);
        assert_eq!(holds(3), None);
    }

    #[test]
    fn a_certificate_is_due_at_half_of_its_life() {
        assert_eq!(key(1).due_at_us(), 200);
    }
}
