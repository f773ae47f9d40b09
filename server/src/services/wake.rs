//! How a use case, after its commit, sets the machinery in motion.
//!
//! Each call is a hint: whoever receives it looks at the whole state in the store. Nothing here can
//! fail or wait, because what a hint tells of stands in the store: the orchestrator's sweep, which
//! also comes first after a start, finds queued tasks, requests to stop and revoked agents by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mantle_domain::queue::Awaited;
use mantle_shared::ids::{AgentId, TaskId};

/// What services tell the orchestrator and the gateway.
pub trait Wake: Send + Sync + 'static {
    /// A task was queued.
    fn task_queued(&self, task: TaskId);
    /// Somebody asked for a task to stop.
    fn cancel_requested(&self, task: TaskId);
    /// Somebody answered what a task asks.
    fn answered(&self, task: TaskId);
    /// Somebody said how attempts of a task ended.
    fn resolved(&self, task: TaskId);
    /// An agent was revoked: close its connection now, let its work end as it will.
    fn agent_revoked(&self, agent: AgentId);
    /// A target's tags, environments or switch changed: what waits for it may look again.
    fn targets_changed(&self);
    /// Locks were broken: what waits for them may go on.
    fn locks_changed(&self);
    /// The server was restored from a backup and not yet recovered: nothing is begun.
    fn is_held(&self) -> bool {
        false
    }
    /// The agents that saw a higher epoch than this server gave out, and which.
    fn ahead(&self) -> BTreeMap<AgentId, u64> {
        BTreeMap::new()
    }
    /// The other machine that asks to be let in with this agent's identity: its name and where it is.
    fn copy_of(&self, _agent: AgentId) -> Option<(String, SocketAddr)> {
        None
    }
    /// The epoch counter was raised above all that agents may have seen: let them in, and go on.
    fn recovered(&self, _epoch: u64) {}
}

/// How much of its packages an agent says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Wakes nobody: for tests of services, and for a server that only serves its API.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWake;

/// Who is there now. The gateway knows; the database only remembers.
pub trait Presence: Send + Sync + 'static {
    /// The agent is connected and has been resynced.
    fn is_online(&self, agent: AgentId) -> bool;
    /// The agents that a queued task waits for since its turn came.
    fn awaited(&self, _task: TaskId) -> Option<Awaited> {
        None
    }
    /// How much of what a task needs an agent says is there.
    fn arrived(&self, _task: TaskId, _agent: AgentId) -> Option<Arrived> {
        None
    }
}

impl Presence for NoWake {
    fn is_online(&self, _agent: AgentId) -> bool {
        false
    }
}

impl Wake for NoWake {
    fn task_queued(&self, _task: TaskId) {}
    fn cancel_requested(&self, _task: TaskId) {}
    fn answered(&self, _task: TaskId) {}
    fn resolved(&self, _task: TaskId) {}
    fn agent_revoked(&self, _agent: AgentId) {}
    fn targets_changed(&self) {}
    fn locks_changed(&self) {}
}
