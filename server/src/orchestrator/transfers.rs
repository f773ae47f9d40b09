//! How far packages are on their way to agents, as these say; only to be shown.
//!
//! What must hold: there is one entry for each order to fetch packages that is not answered, so that
//! what agents say of others is passed over and nothing grows.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::AcquireProgress;

use crate::services::Arrived;

/// The orders to fetch packages that are not answered.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    orders: RwLock<HashMap<AgentId, HashMap<TaskId, Ordered>>>,
}

#[derive(Debug, Clone, Copy)]
struct Ordered {
    request: u64,
    arrived: Option<Arrived>,
}

impl Transfers {
    /// An agent is told to fetch a task's packages. What it had said before holds until it says more.
    pub(super) fn ordered(&self, task: TaskId, agent: AgentId, request: u64) {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        let own = orders.entry(agent).or_default();
        let known = own.entry(task).or_insert(Ordered {
            request,
            arrived: None,
        });
        known.request = request;
    }

    /// An agent says how far it is.
    pub(super) fn progressed(&self, agent: AgentId, progress: AcquireProgress) {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        let mut own = orders.get_mut(&agent).into_iter().flatten();
        let ordered = own.find(|(_, known)| known.request == progress.request);
        if let Some((_, known)) = ordered {
            known.arrived = Some(Arrived {
                done_bytes: progress.done_bytes.min(progress.total_bytes),
                total_bytes: progress.total_bytes,
            });
        }
    }

    /// An agent answered an order. What answers one that was replaced leaves the newer one.
    pub(super) fn answered(&self, task: TaskId, agent: AgentId, request: u64) {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = orders.get_mut(&agent) {
            own.retain(|of, known| *of != task || known.request != request);
            if own.is_empty() {
                orders.remove(&agent);
            }
        }
    }

    /// A task is over, or another server drives it.
    pub(super) fn over(&self, task: TaskId) {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|_, own| {
            own.remove(&task);
            !own.is_empty()
        });
    }

    /// How far an agent says it is.
    pub(super) fn arrived(&self, task: TaskId, agent: AgentId) -> Option<Arrived> {
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner);
        orders.get(&agent)?.get(&task)?.arrived
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_what_was_ordered_and_is_not_answered_is_on_its_way() {
        let task = |n| TaskId::from_uuid(Uuid::from_u128(n));
        let agent = |n| AgentId::from_uuid(Uuid::from_u128(n));
        let says = |request, done_bytes| AcquireProgress {
            request,
            done_bytes,
            total_bytes: 80,
        };
        let transfers = Transfers::default();
        transfers.progressed(agent(1), says(7, 10));
        assert_eq!(transfers.arrived(task(1), agent(1)), None, "never ordered");
        transfers.ordered(task(1), agent(1), 7);
        transfers.ordered(task(1), agent(2), 8);
        let done = |n| Some(transfers.arrived(task(1), agent(n))?.done_bytes);
        assert_eq!(done(1), None, "it has not said anything");
        transfers.progressed(agent(1), says(7, 10));
        transfers.progressed(agent(2), says(7, 30));
        assert_eq!((done(1), done(2)), (Some(10), None), "another's order");
        transfers.ordered(task(1), agent(1), 9);
        assert_eq!(done(1), Some(10), "it goes on from there");
        transfers.progressed(agent(1), says(7, 20));
        assert_eq!(done(1), Some(10), "of an order that was replaced");
        transfers.progressed(agent(1), says(9, 100));
        assert_eq!(done(1), Some(80));
        transfers.answered(task(1), agent(1), 7);
        assert_eq!(
            done(1),
            Some(80),
            "the answer to an order that was replaced"
        );
        transfers.answered(task(1), agent(1), 9);
        assert_eq!(done(1), None);
        transfers.progressed(agent(2), says(8, 5));
        transfers.over(task(1));
        assert_eq!(done(2), None);
        let left = transfers.orders.read().unwrap().len();
        assert_eq!(left, 0, "nothing is left of agents without orders");
    }
}
