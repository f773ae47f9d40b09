//! What a run of a check found about each of its targets, once it is over.

use std::collections::BTreeMap;

use mantle_shared::ids::{AttemptId, TargetId};
use mantle_shared::protocol::Outcome;

use super::CheckStatus;
use crate::plan::NodeRef;
use crate::state::{AttemptStatus, NodeState, State};

/// What a run found about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The target.
    pub target: TargetId,
    /// The attempt that looked, if there was one: its log says more.
    pub attempt: Option<AttemptId>,
    /// How it is.
    pub status: CheckStatus,
    /// Why, in a sentence; may be empty.
    pub message: String,
}

/// What a run that is over found. A target that its scripts never came to has nothing: what was found
/// before still stands.
pub fn findings(state: &State) -> Vec<Finding> {
    let Some(plan) = state.plan.as_deref() else {
        return Vec::new();
    };
    // Of the attempts of a node the last: they are gone through in order.
    let mut attempts: Vec<(NodeRef, u32, AttemptId)> = state
        .attempts
        .iter()
        .map(|(id, attempt)| (attempt.node, attempt.number, *id))
        .collect();
    attempts.sort();
    let last: BTreeMap<NodeRef, AttemptId> = attempts
        .into_iter()
        .map(|(node, _, id)| (node, id))
        .collect();
    let nodes = state.nodes.iter();
    nodes
        .filter_map(|(node, known)| {
            let attempt = last.get(node).copied();
            let own = attempt.and_then(|id| outcome(state, id));
            let (status, message) = judge(known, own)?;
            Some(Finding {
                target: plan.node(*node)?.subject,
                attempt,
                status,
                message,
            })
        })
        .collect()
}

/// How the script itself ended.
fn outcome(state: &State, attempt: AttemptId) -> Option<Outcome> {
    match &state.attempts.get(&attempt)?.status {
        AttemptStatus::Over { outcome, .. } => Some(*outcome),
        AttemptStatus::Starting | AttemptStatus::Running { .. } => None,
    }
}

/// What a node's end says of its subject, and how its script ended, if one began.
fn judge(node: &NodeState, script: Option<Outcome>) -> Option<(CheckStatus, String)> {
    let NodeState::Done {
        outcome, message, ..
    } = node
    else {
        return None;
    };
    let status = match outcome {
        Outcome::Succeeded => CheckStatus::Healthy,
        Outcome::Failed => CheckStatus::Unhealthy,
        // The script had its time, or else the run had, of which it got too little.
        Outcome::TimedOut if script == Some(Outcome::TimedOut) => CheckStatus::Unhealthy,
        Outcome::TimedOut => CheckStatus::Unknown,
        // Somebody did not want to know.
        Outcome::Cancelled => return None,
        Outcome::NotStarted | Outcome::Interrupted | Outcome::Unknown | Outcome::Abandoned => {
            CheckStatus::Unknown
        }
    };
    Some((status, message.clone()))
}
