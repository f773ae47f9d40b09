//! Drives deployments: looks at the whole state, lets the domain decide, commits, then acts.
//!
//! Two long-lived tasks work here. [`Ingest`] takes what agents say, stores their log records and
//! acknowledges them; only what rests on records that are committed goes on to [`Orchestrator`],
//! which owns every running deployment. It takes what has arrived together, decides on copies,
//! commits all of it in one transaction, and then evolves and carries out what is outstanding.
//! Recovery is the same code: fold the events, carry out what is outstanding.
//!
//! What must hold:
//! - nothing is ordered, acknowledged or shown before it is committed;
//! - every write is guarded by the epoch of the task's lease;
//! - the server never assumes what an agent did: it asks, and the agent's journal answers.

mod active;
mod admit;
mod answers;
mod commit;
mod conditions;
mod earlier;
mod effects;
mod fact;
mod finish;
mod grants;
mod health;
mod held;
mod ingest;
mod left_running;
mod locks;
mod masking;
mod masks;
mod online;
mod orders;
mod parked;
mod people;
mod recovery;
mod resolutions;
mod run;
mod transfers;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use mantle_domain::state::Policy;
use mantle_shared::ids::{AgentId, TaskId};
use tokio::sync::mpsc;

pub use grants::{GrantedObjects, Grants};
pub use ingest::Ingest;
pub use online::Online;
pub use orders::{OrderSecrets, SecretError};
pub use run::Orchestrator;

use crate::artifacts::Bell;
use crate::gateway::{Counters, Epochs, Sessions};
use crate::services::Feed;
use crate::store::{NodeId, Store};

/// How many hints wait. A hint that does not fit, or is lost with the process, is not needed: the
/// sweep, which comes first after a start, finds what it meant in the database.
const COMMANDS_QUEUE: usize = 1024;
/// How many facts wait to be judged.
const FACTS_QUEUE: usize = 1024;
/// How long a lease holds without being renewed, and how often it is renewed.
const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// The sweep that finds what no hint told of: whatever waits for it goes on within five seconds.
const SWEEP: Duration = Duration::from_secs(4);

/// What the orchestrator is made of.
#[derive(Clone)]
pub struct OrchestratorParts {
    /// The database.
    pub store: Store,
    /// The connected agents.
    pub sessions: Sessions,
    /// Who is connected and resynced, for everybody who asks.
    pub online: Arc<Online>,
    /// What happens, in numbers.
    pub counters: Arc<Counters>,
    /// Tells those who watch a task.
    pub feed: Feed,
    /// What agents may fetch.
    pub grants: Arc<Grants>,
    /// Rung when there are files to be collected.
    pub bell: Bell,
    /// Opens what orders need.
    pub secrets: Arc<dyn OrderSecrets>,
    /// The server's epoch counter, for `Welcome`; while the server is held nothing is begun.
    pub epochs: Arc<Epochs>,
    /// How long things may take.
    pub policy: Policy,
    /// This process.
    pub node: NodeId,
}

/// A hint that something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// A task was queued, or what a queued task waits for changed.
    LookAgain,
    /// Somebody asked for a task to stop.
    Cancel(TaskId),
    /// Somebody answered what a task asks.
    Answered(TaskId),
    /// Somebody said how attempts ended.
    Resolved(TaskId),
    /// An agent was revoked.
    Revoked(AgentId),
    /// Locks were broken.
    LocksChanged,
}

/// Gives hints to the orchestrator. Cheap to clone; never waits.
#[derive(Debug, Clone)]
pub struct Hints {
    commands: mpsc::Sender<Command>,
}

impl Hints {
    /// A task was queued, or what a queued task waits for changed.
    pub fn look_again(&self) {
        let _ = self.commands.try_send(Command::LookAgain);
    }

    /// Somebody asked for a task to stop.
    pub fn cancel(&self, task: TaskId) {
        let _ = self.commands.try_send(Command::Cancel(task));
    }

    /// Somebody answered what a task asks.
    pub fn answered(&self, task: TaskId) {
        let _ = self.commands.try_send(Command::Answered(task));
    }

    /// Somebody said how attempts of a task ended.
    pub fn resolved(&self, task: TaskId) {
        let _ = self.commands.try_send(Command::Resolved(task));
    }

    /// Locks were broken.
    pub fn locks_changed(&self) {
        let _ = self.commands.try_send(Command::LocksChanged);
    }

    /// An agent was revoked.
    pub fn revoked(&self, agent: AgentId) {
        let _ = self.commands.try_send(Command::Revoked(agent));
    }
}
