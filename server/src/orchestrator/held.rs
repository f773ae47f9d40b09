//! The tasks whose output cannot be masked for now, and the agents that were not listened to.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::{AgentId, TaskId};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Held {
    agents: BTreeMap<TaskId, BTreeSet<AgentId>>,
}

impl Held {
    /// Something of this agent's was not taken. Says whether it is the task's first.
    pub(super) fn hold(&mut self, task: TaskId, agent: AgentId) -> bool {
        let first = !self.agents.contains_key(&task);
        self.agents.entry(task).or_default().insert(agent);
        first
    }

    /// Whether something of this task was not taken.
    pub(super) fn is_held(&self, task: TaskId) -> bool {
        self.agents.contains_key(&task)
    }

    /// The tasks of which something was not taken.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        self.agents.keys().copied().collect()
    }

    /// It is taken again: gives the agents that must report anew.
    pub(super) fn release(&mut self, task: TaskId) -> BTreeSet<AgentId> {
        self.agents.remove(&task).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mantle_shared::uuid::Uuid;

    use super::*;

    #[test]
    fn each_agent_that_was_not_listened_to_reports_anew_once() {
        let task = TaskId::from_uuid(Uuid::nil());
        let agent = |n| AgentId::from_uuid(Uuid::from_u128(n));
        let mut held = Held::default();
        assert!(held.hold(task, agent(1)));
        assert!(!held.hold(task, agent(2)));
        assert!(!held.hold(task, agent(1)));
        assert_eq!(held.tasks(), [task]);
        assert!(held.is_held(task));
        assert_eq!(held.release(task), BTreeSet::from([agent(1), agent(2)]));
        assert!(!held.is_held(task) && held.release(task).is_empty());
    }
}
