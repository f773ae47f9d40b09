//! Folding events into the state. Total: an event that was committed always applies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mantle_shared::order::OrderPackage;

use super::asking;
use super::event::Event;
use super::failure::Failure;
use super::index::NodeIndex;
use super::model::{
    Acquisition, AcquisitionStatus, Attempt, AttemptStatus, Cancel, CancelCause, Late, NodeState,
    OrderFitness, Phase, State, StepState, SubjectState,
};
use super::resolution::Resolution;
use super::verdict;
use crate::plan::Plan;

/// The state that these events establish.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> State {
    let mut state = State::default();
    for event in events {
        evolve(&mut state, event);
    }
    state
}

/// Takes one event in.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::DeploymentBegan {
            at,
            plan,
            acquire_by,
            end_by,
        } => {
            state.acquisitions = acquisitions(plan, *acquire_by);
            state.steps = vec![StepState::Pending; plan.steps.len()];
            state.plan = Some(Arc::clone(plan));
            state.by_subject = NodeIndex::of(plan);
            state.began_at = Some(*at);
            state.end_by = *end_by;
            state.phase = Phase::Running;
        }
        Event::AcquisitionOrdered { target, at } => {
            set_acquisition(state, *target, AcquisitionStatus::Ordered { since: *at });
        }
        Event::AcquisitionPutOff {
            target,
            until,
            message,
        } => set_acquisition(
            state,
            *target,
            AcquisitionStatus::Waiting {
                until: *until,
                message: message.clone(),
            },
        ),
        Event::AcquisitionDone {
            target,
            fetched_bytes,
            reused_bytes,
        } => set_acquisition(
            state,
            *target,
            AcquisitionStatus::Done {
                fetched_bytes: *fetched_bytes,
                reused_bytes: *reused_bytes,
            },
        ),
        Event::AcquisitionFailed { target, message } => {
            set_acquisition(
                state,
                *target,
                AcquisitionStatus::Failed {
                    message: message.clone(),
                },
            );
            state.failed = true;
        }
        Event::StepStarted { .. }
        | Event::StepSkipped { .. }
        | Event::SubjectStarted { .. }
        | Event::SubjectPassedOver { .. }
        | Event::SubjectFinished { .. }
        | Event::StepTimedOut { .. }
        | Event::StepFinished { .. } => {
            evolve_step(state, event);
            Failure::keep(state, event);
        }
        Event::NodeWaiting {
            node,
            at,
            not_before,
            deadline,
        } => {
            state.nodes.insert(
                *node,
                NodeState::Waiting {
                    since: *at,
                    not_before: *not_before,
                    deadline: *deadline,
                    blocked: None,
                },
            );
        }
        Event::NodeBlocked { node, deadline, .. } => {
            if let Some(NodeState::Waiting {
                blocked,
                deadline: by,
                ..
            }) = state.nodes.get_mut(node)
            {
                *blocked = event.blocked();
                *by = *deadline;
            }
        }
        Event::NodeSkipped { node, reason } => {
            state.nodes.insert(
                *node,
                NodeState::Skipped {
                    reason: reason.clone(),
                },
            );
        }
        Event::NodeFinished {
            node,
            end,
            at,
            waived_by,
        } => {
            let done = NodeState::Done {
                outcome: end.outcome,
                message: end.message.clone(),
                at: *at,
                waived_by: waived_by.clone(),
            };
            evolve_node_done(state, *node, done);
        }
        Event::InterruptionRaised { .. }
        | Event::InterruptionAnswered { .. }
        | Event::InterruptionClosed { .. }
        | Event::SubjectExcluded { .. } => asking::evolve_interruption(state, event),
        Event::AttemptOrdered { .. }
        | Event::AttemptStarted { .. }
        | Event::AttemptSeenRunning { .. }
        | Event::AttemptFinished { .. }
        | Event::AttemptFinishedLate { .. }
        | Event::AttemptResolved { .. }
        | Event::CancelDelivered { .. } => evolve_attempt(state, event),
        Event::CancelRequested { by, at, deadline } => {
            let by = by.clone();
            stop(state, CancelCause::Asked { by }, *at, *deadline);
        }
        Event::DeploymentTimedOut { at, deadline } => {
            stop(state, CancelCause::OutOfTime, *at, *deadline);
        }
        Event::DeploymentFinished {
            verdict,
            message,
            at,
        } => {
            state.phase = Phase::Finished {
                verdict: *verdict,
                message: message.clone(),
                at: *at,
            };
        }
    }
}

/// The deployment is to stop.
fn stop(state: &mut State, cause: CancelCause, at: jiff::Timestamp, deadline: jiff::Timestamp) {
    state.cancel = Some(Cancel {
        cause,
        at,
        deadline,
    });
    for attempt in state.attempts.values_mut() {
        attempt.cancelling = !attempt.is_over();
    }
}

fn evolve_step(state: &mut State, event: &Event) {
    let (Event::StepStarted { step, .. }
    | Event::StepSkipped { step, .. }
    | Event::SubjectStarted { step, .. }
    | Event::SubjectPassedOver { step, .. }
    | Event::SubjectFinished { step, .. }
    | Event::StepTimedOut { step, .. }
    | Event::StepFinished { step, .. }) = event
    else {
        return;
    };
    let limit = verdict::step_limit(state, *step);
    let Some(slot) = state.steps.get_mut(*step as usize) else {
        return;
    };
    match (event, &mut *slot) {
        (Event::StepStarted { at, end_by, .. }, _) => {
            *slot = StepState::Running {
                since: *at,
                end_by: *end_by,
                stood: jiff::SignedDuration::ZERO,
                stop: None,
                stands_since: None,
                subjects: BTreeMap::new(),
            };
        }
        (Event::StepSkipped { reason, .. }, _) => {
            *slot = StepState::Skipped {
                reason: reason.clone(),
            };
        }
        (Event::SubjectStarted { subject, at, .. }, StepState::Running { subjects, .. }) => {
            subjects.insert(
                *subject,
                SubjectState::Active {
                    since: *at,
                    failed: false,
                },
            );
        }
        (
            Event::SubjectPassedOver {
                subject, reason, ..
            },
            StepState::Running { subjects, .. },
        ) => {
            subjects.insert(
                *subject,
                SubjectState::PassedOver {
                    reason: reason.clone(),
                },
            );
        }
        (
            Event::SubjectFinished {
                subject,
                at,
                failed,
                ..
            },
            StepState::Running { subjects, .. },
        ) => {
            let began = match subjects.get(subject) {
                Some(SubjectState::Active { since, .. }) => *since,
                Some(SubjectState::Done { began, .. }) => *began,
                Some(SubjectState::PassedOver { .. }) | None => *at,
            };
            subjects.insert(
                *subject,
                SubjectState::Done {
                    began,
                    ended: *at,
                    failed: *failed,
                },
            );
        }
        (Event::StepTimedOut { deadline, at, .. }, StepState::Running { stop, .. }) => {
            *stop = Some(*deadline);
            state.late.insert(*step, Late { at: *at, limit });
            for attempt in state.attempts.values_mut() {
                if attempt.node.step == *step {
                    attempt.cancelling = !attempt.is_over();
                }
            }
        }
        (
            Event::StepFinished { at, failed, .. },
            StepState::Running {
                since, subjects, ..
            },
        ) => {
            let (began, subjects) = (*since, std::mem::take(subjects));
            if !*failed {
                let aside = subjects.iter().filter(|(_, subject)| subject.has_failed());
                let aside = aside.map(|(target, _)| (*target, *step));
                state.set_aside.extend(aside);
            }
            *slot = StepState::Finished {
                began,
                ended: *at,
                failed: *failed,
                subjects,
            };
            state.failed |= *failed;
        }
        // A committed event always finds the state that it was decided on.
        _ => {}
    }
}

fn evolve_node_done(state: &mut State, node: crate::plan::NodeRef, done: NodeState) {
    let failed = done.has_failed();
    state.nodes.insert(node, done);
    let subject = state
        .plan
        .as_ref()
        .and_then(|plan| plan.node(node))
        .map(|n| n.subject);
    if let Some(subject) = subject
        && let Some(StepState::Running { subjects, .. }) = state.steps.get_mut(node.step as usize)
        && let Some(SubjectState::Active {
            failed: subject_failed,
            ..
        }) = subjects.get_mut(&subject)
    {
        *subject_failed |= failed;
    }
}

fn evolve_attempt(state: &mut State, event: &Event) {
    match event {
        Event::AttemptOrdered {
            attempt,
            node,
            number,
            at,
            deadline,
            journal,
            despite,
        } => {
            let agent = state.plan.as_ref().and_then(|plan| {
                plan.target(plan.node(*node)?.executor)
                    .map(|target| target.agent)
            });
            if let Some(agent) = agent {
                state.tried.insert((*node, *attempt));
                state.attempts.insert(
                    *attempt,
                    Attempt {
                        node: *node,
                        agent,
                        number: *number,
                        ordered_at: *at,
                        deadline: *deadline,
                        status: AttemptStatus::Starting,
                        journal: *journal,
                        seen_running: false,
                        cancelling: false,
                        outputs_before: state.outputs.len(),
                        failed_before: state.failed_before(),
                        despite: despite.clone(),
                        end: None,
                        resolution: None,
                        order: OrderFitness::Fit,
                    },
                );
            }
            state
                .nodes
                .insert(*node, NodeState::Running { attempt: *attempt });
        }
        Event::AttemptStarted { attempt, at } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.status = AttemptStatus::Running { since: *at };
            }
        }
        Event::AttemptSeenRunning { attempt, .. } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.seen_running = true;
            }
        }
        Event::AttemptFinished {
            attempt,
            outcome,
            message,
            at,
            end,
            outputs,
            unfit,
        } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.status = AttemptStatus::Over {
                    outcome: *outcome,
                    message: message.clone(),
                    at: *at,
                };
                attempt.cancelling = false;
                attempt.end.clone_from(end);
                if *unfit {
                    attempt.order = OrderFitness::Unfit;
                }
            }
            state.outputs.extend(outputs.iter().cloned());
        }
        Event::AttemptFinishedLate {
            attempt,
            end,
            outputs,
            ..
        } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.end = Some(end.clone());
            }
            state.outputs.extend(outputs.iter().cloned());
        }
        Event::AttemptResolved {
            attempt,
            ended,
            by,
            reason,
            at,
        } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.resolution = Some(Resolution {
                    ended: *ended,
                    by: by.clone(),
                    reason: reason.clone(),
                    at: *at,
                });
            }
        }
        Event::CancelDelivered { attempt } => {
            if let Some(attempt) = state.attempts.get_mut(attempt) {
                attempt.cancelling = false;
            }
        }
        _ => {}
    }
}

fn set_acquisition(
    state: &mut State,
    target: mantle_shared::ids::TargetId,
    status: AcquisitionStatus,
) {
    if let Some(acquisition) = state.acquisitions.get_mut(&target) {
        acquisition.status = status;
    }
}

/// Which executor needs which packages: everything that any of its nodes uses, once.
fn acquisitions(
    plan: &Plan,
    deadline: jiff::Timestamp,
) -> BTreeMap<mantle_shared::ids::TargetId, Acquisition> {
    let mut needed: BTreeMap<_, Vec<&OrderPackage>> = BTreeMap::new();
    for action in plan.steps.iter().flat_map(|step| &step.actions) {
        if action.packages.is_empty() {
            continue;
        }
        let executors: BTreeSet<_> = action.nodes.iter().map(|node| node.executor).collect();
        for executor in executors {
            let packages = needed.entry(executor).or_default();
            for package in &action.packages {
                if !packages.iter().any(|known| known.root == package.root) {
                    packages.push(package);
                }
            }
        }
    }
    needed
        .into_iter()
        .filter_map(|(executor, packages)| {
            let agent = plan.target(executor)?.agent;
            let packages = packages.into_iter().cloned().collect();
            let status = AcquisitionStatus::Pending;
            Some((
                executor,
                Acquisition {
                    agent,
                    packages,
                    status,
                    deadline,
                },
            ))
        })
        .collect()
}
