//! The epoch counter as agents are told it, and who is told nothing more.
//!
//! Epochs come from one counter of the database, and an agent keeps the highest that it saw. A counter
//! that is below it belongs to a restored backup. Taking up deployments raises the counter, so an agent
//! that comes for the first time is compared with where the counter stood when this process started:
//! what it saw beyond that it saw from a server that this one knows nothing of.
//!
//! An agent that is ahead is not let in: it would obey nothing, and what the server believes of it is
//! wrong. A server that was restored by command lets nobody in. Both end with `mantle server recover`.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mantle_shared::fault;
use mantle_shared::ids::AgentId;
use tokio::sync::watch;

/// See the module's documentation.
#[derive(Debug)]
pub struct Epochs {
    current: AtomicU64,
    held: watch::Sender<bool>,
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    at_start: u64,
    seen: HashSet<AgentId>,
    ahead: BTreeMap<AgentId, u64>,
}

/// How an agent is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It is let in, and told this epoch.
    Fine(u64),
    /// The server was restored and not yet recovered.
    Held,
    /// The agent saw more than this server knows of.
    Ahead,
}

impl Epochs {
    /// The counter stands here; a restored server is held.
    pub fn new(current: u64, held: bool) -> Self {
        Self {
            current: AtomicU64::new(current),
            held: watch::Sender::new(held),
            met: Mutex::new(Met {
                at_start: current,
                ..Met::default()
            }),
        }
    }

    /// Where the counter stands.
    pub fn current(&self) -> u64 {
        self.current.load(Ordering::SeqCst)
    }

    /// The counter was raised.
    pub fn raise(&self, to: u64) {
        self.current.fetch_max(to, Ordering::SeqCst);
    }

    /// Judges an agent by the highest epoch that it saw.
    pub fn meet(&self, agent: AgentId, highest: u64) -> Meeting {
        let current = self.current();
        if fault::sabotaged("obeyed-though-restored") {
            return Meeting::Fine(current);
        }
        if self.is_held() {
            return Meeting::Held;
        }
        let mut met = self.lock();
        let bound = if met.seen.contains(&agent) {
            current
        } else {
            met.at_start
        };
        if highest > bound {
            met.ahead.insert(agent, highest);
            return Meeting::Ahead;
        }
        met.seen.insert(agent);
        met.ahead.remove(&agent);
        Meeting::Fine(current)
    }

    /// The agents that are ahead, and what they saw.
    pub fn ahead(&self) -> BTreeMap<AgentId, u64> {
        self.lock().ahead.clone()
    }

    /// Nothing is ordered, and nobody is let in.
    pub fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// The counter was raised above all that any agent may have seen.
    pub fn recovered(&self, epoch: u64) {
        self.raise(epoch);
        *self.lock() = Met {
            at_start: epoch,
            ..Met::default()
        };
        self.held.send_replace(false);
    }

    /// Waits until the server is not held.
    pub async fn released(&self) {
        let mut held = self.held.subscribe();
        // The sender lives as long as this.
        let _ = held.wait_for(|held| !held).await;
    }

    fn lock(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mantle_shared::uuid::Uuid;

    use super::*;

    fn agent(n: u128) -> AgentId {
        AgentId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn who_saw_more_than_this_server_is_ahead_until_it_was_recovered() {
        let epochs = Epochs::new(10, false);
        assert_eq!(epochs.meet(agent(1), 10), Meeting::Fine(10));
        assert_eq!(epochs.meet(agent(2), 11), Meeting::Ahead);
        // Deployments are taken up, which raises the counter: that proves nothing.
        epochs.raise(20);
        assert_eq!(epochs.meet(agent(2), 11), Meeting::Ahead);
        assert_eq!(epochs.meet(agent(3), 15), Meeting::Ahead);
        // One that was here saw it rise.
        assert_eq!(epochs.meet(agent(1), 20), Meeting::Fine(20));
        assert_eq!(epochs.meet(agent(1), 21), Meeting::Ahead);
        let ahead: Vec<_> = epochs.ahead().into_iter().collect();
        assert_eq!(ahead, [(agent(1), 21), (agent(2), 11), (agent(3), 15)]);
        epochs.recovered(1000);
        assert!(epochs.ahead().is_empty());
        for n in 1..4 {
            assert_eq!(epochs.meet(agent(n), 21), Meeting::Fine(1000));
        }
    }

    #[tokio::test]
    async fn a_held_server_lets_nobody_in_until_it_was_recovered() {
        let epochs = Epochs::new(10, true);
        assert_eq!(epochs.meet(agent(1), 0), Meeting::Held);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), epochs.released());
        assert!(waits.await.is_err());
        epochs.recovered(1000);
        epochs.released().await;
        assert_eq!(epochs.meet(agent(1), 0), Meeting::Fine(1000));
    }
}
