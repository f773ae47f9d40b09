//! What must be carried out for the state to move on, and when it must be looked at again.

use jiff::Timestamp;
use mantle_shared::ids::{AgentId, AttemptId, TargetId};
use mantle_shared::order::OrderPackage;

use super::model::{AcquisitionStatus, AttemptStatus, NodeState, State, StepState};
use crate::plan::NodeRef;

/// Something to be carried out. Repeating it is harmless: agents know what they were told before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask an agent to bring in packages.
    Acquire {
        /// Whose agent.
        target: TargetId,
        /// The agent.
        agent: AgentId,
        /// What.
        packages: Vec<OrderPackage>,
        /// By when.
        deadline: Timestamp,
    },
    /// Ask an agent to start an attempt.
    Start {
        /// Which.
        attempt: AttemptId,
        /// The node that it starts.
        node: NodeRef,
        /// The agent.
        agent: AgentId,
    },
    /// Ask an agent to cancel an attempt.
    Cancel {
        /// Which.
        attempt: AttemptId,
        /// The node that it started.
        node: NodeRef,
        /// The agent.
        agent: AgentId,
    },
}

impl Effect {
    /// The agent that is asked.
    pub fn agent(&self) -> AgentId {
        match self {
            Self::Acquire { agent, .. }
            | Self::Start { agent, .. }
            | Self::Cancel { agent, .. } => *agent,
        }
    }
}

/// What is outstanding. Empty once the deployment is over.
pub fn outstanding(state: &State) -> Vec<Effect> {
    if state.is_finished() {
        return Vec::new();
    }
    let acquire = state
        .acquisitions
        .iter()
        .filter(|(_, acquisition)| matches!(acquisition.status, AcquisitionStatus::Ordered { .. }))
        .map(|(target, acquisition)| Effect::Acquire {
            target: *target,
            agent: acquisition.agent,
            packages: acquisition.packages.clone(),
            deadline: acquisition.deadline,
        });
    let attempts = state.live_attempts().filter_map(|(id, attempt)| {
        if attempt.cancelling {
            // Instead of the start: the agent answers for good that it never started it.
            Some(Effect::Cancel {
                attempt: *id,
                node: attempt.node,
                agent: attempt.agent,
            })
        } else {
            matches!(attempt.status, AttemptStatus::Starting).then(|| Effect::Start {
                attempt: *id,
                node: attempt.node,
                agent: attempt.agent,
            })
        }
    });
    acquire.chain(attempts).collect()
}

/// When the state must be looked at again even if nothing happens, by whoever looked at it at this
/// moment: a wait that was over by then has had its effect, and only its deadline is left. What
/// waits for an agent that is away would else have to be looked at all the time. Until `patient_until` agents
/// may come back to a server that began (see [`Moment`](super::Moment)): what was due when it was looked at
/// and is still there is due by then.
pub fn next_deadline(
    state: &State,
    seen: Timestamp,
    patient_until: Timestamp,
) -> Option<Timestamp> {
    if state.is_finished() {
        return None;
    }
    let due = |deadline: Timestamp| {
        if deadline <= seen {
            deadline.max(patient_until)
        } else {
            deadline
        }
    };
    let acquisitions = state.acquisitions.values().filter_map(|a| match &a.status {
        AcquisitionStatus::Pending | AcquisitionStatus::Ordered { .. } => Some(due(a.deadline)),
        AcquisitionStatus::Waiting { until, .. } => Some(still(*until, due(a.deadline), seen)),
        AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. } => None,
    });
    let nodes = state.nodes.values().filter_map(|node| match node {
        NodeState::Waiting {
            not_before,
            deadline,
            ..
        } => Some(still(*not_before, due(*deadline), seen)),
        NodeState::Running { .. }
        | NodeState::Asking { .. }
        | NodeState::Done { .. }
        | NodeState::Skipped { .. } => None,
    });
    let asked = state.open_interruptions().map(|(_, one)| one.deadline);
    let attempts = state
        .live_attempts()
        .map(|(_, attempt)| due(attempt.deadline));
    acquisitions
        .chain(nodes)
        .chain(attempts)
        .chain(asked)
        .chain(limits(state).into_iter().map(due))
        .min()
}

/// When its own time and that of its steps is up, or the patience with what was told to stop. A
/// clock that stands has no such time.
fn limits(state: &State) -> Vec<Timestamp> {
    if let Some(cancel) = &state.cancel {
        return vec![cancel.deadline];
    }
    let steps = state.steps.iter().filter_map(|step| match step {
        StepState::Running {
            end_by,
            stop,
            stands_since,
            ..
        } => stop.or(end_by.filter(|_| stands_since.is_none())),
        StepState::Pending | StepState::Finished { .. } | StepState::Skipped { .. } => None,
    });
    let own = state.end_by.filter(|_| state.stands_since.is_none());
    steps.chain(own).collect()
}

/// The end of a wait, or the deadline once it was over when it was last looked at.
fn still(until: Timestamp, deadline: Timestamp, seen: Timestamp) -> Timestamp {
    if until > seen {
        until.min(deadline)
    } else {
        deadline
    }
}
