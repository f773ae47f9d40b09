//! A deployment that is under way: its state, what it was made of, what was sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mantle_domain::fleet::Lists;
use mantle_domain::health::{Finding, HealthOrder};
use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId};
use mantle_domain::interruption::Given;
use mantle_domain::plan::Plan;
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_domain::state::{Effect, Event, State};
use mantle_shared::ids::{AgentId, AttemptId, TargetId, TaskId};

use crate::gateway::SessionId;
use crate::services::planning::Pins;

/// What a task carries out.
#[derive(Debug)]
pub(super) struct Context {
    /// The task.
    pub(super) task: TaskId,
    /// Its number for people, such as `T-1042`.
    pub(super) number: String,
    /// What its orders are made of: what a release pins, with the variables as they were when the
    /// deployment was asked for; or a health check's script.
    pub(super) pins: Pins,
    /// What it is about.
    pub(super) about: About,
    /// The lists of its plan's targets, once it is planned: every order is made of them.
    pub(super) lists: OnceLock<Lists>,
}

/// What a task is about.
#[derive(Debug)]
pub(super) enum About {
    /// A release into an environment.
    Deployment(Deploys),
    /// How targets are.
    HealthCheck(Checks),
}

/// What a deployment deploys, and where.
#[derive(Debug)]
pub(super) struct Deploys {
    /// The project.
    pub(super) project_id: ProjectId,
    /// The environment.
    pub(super) environment_id: EnvironmentId,
    /// Its name.
    pub(super) environment: String,
    /// The release.
    pub(super) release_id: ReleaseId,
    /// Its version.
    pub(super) version: String,
    /// Its channel.
    pub(super) channel: String,
    /// The digests of what it pins.
    pub(super) digests: ReleaseDigests,
    /// What the deployment in fact uses, once it is planned. Made before the transaction that
    /// writes it down: for a large fleet that takes a while, and there is one writer.
    pub(super) manifest: OnceLock<String>,
}

/// What a run of a health check looks at.
#[derive(Debug)]
pub(super) struct Checks {
    /// What it was asked for with.
    pub(super) order: HealthOrder,
    /// What it found, once it is over. Read out of the log before the transaction that writes it down.
    pub(super) found: OnceLock<Vec<Finding>>,
}

impl Context {
    /// The lists of its plan's targets.
    pub(super) fn lists(&self, plan: &Plan) -> &Lists {
        self.lists.get_or_init(|| Lists::of(&plan.targets))
    }

    /// The word that its entries in the audit trail begin with.
    pub(super) fn noun(&self) -> &'static str {
        match self.about {
            About::Deployment(_) => "deployment",
            About::HealthCheck(_) => "health-check",
        }
    }
}

/// A deployment, or another task that runs as one, that this server drives.
pub(super) struct Deployment {
    /// What it is made of.
    pub(super) context: Arc<Context>,
    /// How far it is: exactly what is committed.
    pub(super) state: State,
    /// The epoch of its lease.
    pub(super) epoch: u64,
    /// Somebody asked for it to stop; not yet an event.
    pub(super) cancel_by: Option<String>,
    /// What people answered; not yet events.
    pub(super) answers: Vec<(u32, Given)>,
    /// Agents that were revoked; not yet events.
    pub(super) revoked: Vec<AgentId>,
    /// On which connection each order was sent. A new connection gets it again.
    pub(super) sent: HashMap<Order, SessionId>,
    /// Attempts that were ordered before this process took it up, and may have been sent then.
    pub(super) inherited: BTreeSet<AttemptId>,
    /// Orders that could not be made or were not taken; they are sent again at the next sweep.
    pub(super) again: BTreeSet<Order>,
    /// Attempts that their agent has no room for yet; they are ordered again at the next sweep.
    pub(super) busy: BTreeSet<AttemptId>,
    /// Why their agents do not take them yet, as the task's log says.
    pub(super) put_off: BTreeMap<AttemptId, String>,
    /// The number that its next event gets.
    pub(super) next_event: u64,
    /// How long it was parked before it was taken up, until something of it was committed since.
    pub(super) parked_for: Duration,
}

/// Names an order that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Order {
    Acquire(TargetId),
    Start(AttemptId),
    Cancel(AttemptId),
}

impl From<&Effect> for Order {
    fn from(effect: &Effect) -> Self {
        match effect {
            Effect::Acquire { target, .. } => Self::Acquire(*target),
            Effect::Start { attempt, .. } => Self::Start(*attempt),
            Effect::Cancel { attempt, .. } => Self::Cancel(*attempt),
        }
    }
}

/// What was decided about one deployment in one turn, before it is committed.
pub(super) struct Decided {
    /// Which.
    pub(super) task: TaskId,
    /// The state that the events lead to.
    pub(super) next: State,
    /// The events.
    pub(super) events: Vec<Event>,
}
