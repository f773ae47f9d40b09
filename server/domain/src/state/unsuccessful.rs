//! Which targets a deployment did not reach with success: what a later one is to be about.

use std::collections::BTreeSet;

use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::back::{begun, is_due};
use super::event::SkipReason;
use super::model::{NodeState, State, StepState, SubjectState};
use crate::plan::{LeftOutReason, NodeRef};
use crate::process::{Pick, Process};

/// The names of the targets about which something did not go well, was not begun although it
/// should have been, or which were away; sorted. None before it has begun. What a person resolved as
/// succeeded went well.
pub fn unsuccessful(state: &State) -> BTreeSet<String> {
    let Some(plan) = state.plan.as_deref() else {
        return BTreeSet::new();
    };
    let mut targets: BTreeSet<TargetId> = BTreeSet::new();
    for (index, (step, known)) in (0_u32..).zip(plan.steps.iter().zip(&state.steps)) {
        if let Some(back) = &step.back {
            // What was begun there and undone is not there.
            if is_due(state, back.of) {
                targets.extend(begun(state, back.of));
            }
            continue;
        }
        let not_well = step.subjects.iter().filter(|subject| match known {
            StepState::Pending => true,
            StepState::Skipped { reason } => was_due(reason),
            StepState::Running { subjects, .. } | StepState::Finished { subjects, .. } => {
                match subjects.get(subject) {
                    None | Some(SubjectState::Active { .. } | SubjectState::PassedOver { .. }) => {
                        true
                    }
                    Some(SubjectState::Done { failed, .. }) => {
                        *failed && !went_well_after_all(state, index, **subject)
                    }
                }
            }
        });
        targets.extend(not_well);
    }
    targets.extend(state.excluded.keys());
    let names = targets.into_iter().filter_map(|id| plan.target(id));
    let away = plan.left_out.iter().filter(|target| match target.why {
        LeftOutReason::Unavailable
        | LeftOutReason::NotJoined
        | LeftOutReason::Maintenance
        | LeftOutReason::Unhealthy => true,
        LeftOutReason::Excluded | LeftOutReason::NotChosen => false,
    });
    names
        .map(|target| target.name.clone())
        .chain(away.map(|target| target.name.clone()))
        .collect()
}

/// The names of the steps that a process runs on one of several targets and that went well: whoever repeats
/// the deployment for what failed does not want them on another one.
pub fn done_once(state: &State, process: &Process) -> BTreeSet<String> {
    let Some(plan) = state.plan.as_deref() else {
        return BTreeSet::new();
    };
    let is_once = |name: &str| {
        let mut steps = process.steps.iter().filter(|step| step.name == name);
        steps.any(|step| {
            let targets = step.targets.as_ref();
            targets.is_some_and(|selector| selector.pick == Pick::One)
        })
    };
    let went_well = |known: &StepState| match known {
        StepState::Finished { subjects, .. } => subjects
            .values()
            .all(|subject| matches!(subject, SubjectState::Done { failed: false, .. })),
        StepState::Pending | StepState::Running { .. } | StepState::Skipped { .. } => false,
    };
    let steps = plan.steps.iter().zip(&state.steps);
    steps
        .filter(|(step, known)| step.back.is_none() && is_once(&step.name) && went_well(known))
        .map(|(step, _)| step.name.clone())
        .collect()
}

/// All that was to be done about a target of a step that counts as failed there was done, by what a
/// person or its agent said once that was decided. Where the two disagree it is not.
fn went_well_after_all(state: &State, step: u32, subject: TargetId) -> bool {
    let well = |node: &NodeRef| match state.nodes.get(node) {
        Some(known @ NodeState::Done { .. }) if known.has_failed() => {
            state.last_attempt(*node).is_some_and(|attempt| {
                attempt.contradiction().is_none()
                    && attempt
                        .node_end()
                        .is_some_and(|end| end.outcome == Outcome::Succeeded)
            })
        }
        Some(NodeState::Done { .. }) => true,
        Some(NodeState::Skipped { reason }) => !was_due(reason),
        Some(NodeState::Waiting { .. } | NodeState::Running { .. } | NodeState::Asking { .. })
        | None => false,
    };
    state.by_subject.about(step, subject).iter().all(well)
}

/// What was skipped for this reason would have run, had all gone well.
fn was_due(reason: &SkipReason) -> bool {
    match reason {
        SkipReason::EarlierFailure
        | SkipReason::Unjudgeable { .. }
        | SkipReason::Cancelled
        | SkipReason::StepTimedOut
        | SkipReason::DeploymentTimedOut
        | SkipReason::SetAside { .. }
        | SkipReason::Excluded { .. }
        | SkipReason::NotGoneOn => true,
        SkipReason::NotApplicable { .. }
        | SkipReason::NoFailure
        | SkipReason::Condition { .. }
        | SkipReason::NothingToUndo
        | SkipReason::Untouched => false,
    }
}
