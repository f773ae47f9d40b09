//! The end of a deployment that is to stop: somebody asked for it, or its time is up.

use mantle_shared::fault;
use mantle_shared::protocol::Outcome;

use super::super::decide::finished;
use super::super::event::{Event, NodeEnd};
use super::super::model::{
    AcquisitionStatus, AttemptStatus, CancelCause, NodeState, StepState, SubjectState,
};
use super::super::verdict;
use super::Look;
use super::answers::joined;
use super::steps::why_no_more;
use crate::plan::NodeRef;

/// Why what waits is not started any more.
pub(in crate::state) enum GivenUp {
    /// Somebody cancelled.
    Cancelled,
    /// Its time is over, in a sentence that names the limit.
    Late(String),
}

impl Look<'_> {
    /// Nothing new starts; what runs is waited for. If everything ran to its end all the same, the
    /// deployment ends by what the agents' journals say, not by the wish to cancel it.
    pub(super) fn cancelling(&self) -> Vec<Event> {
        let assumed = self.assumed_cancelled();
        if !assumed.is_empty() {
            return assumed;
        }
        let asked = self.nobody_waits();
        if !asked.is_empty() {
            return asked;
        }
        let waiting: Vec<Event> = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, NodeState::Waiting { .. }))
            .map(|(node, _)| {
                let why = match self.state.cancel.as_ref().map(|cancel| &cancel.cause) {
                    Some(CancelCause::OutOfTime) => {
                        GivenUp::Late(verdict::deployment_late(self.state))
                    }
                    Some(CancelCause::Asked { .. }) | None => GivenUp::Cancelled,
                };
                Event::NodeFinished {
                    node: *node,
                    end: self.given_up(*node, Outcome::Cancelled, &why),
                    at: self.moment.now,
                    waived_by: None,
                }
            })
            .collect();
        if !waiting.is_empty() {
            return waiting;
        }
        let acquired = self.state.acquisitions.values().all(|a| {
            matches!(
                a.status,
                AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. }
            )
        });
        let next = if acquired { self.steps() } else { Vec::new() };
        let starts = |event: &Event| {
            matches!(
                event,
                Event::StepStarted { .. }
                    | Event::SubjectStarted { .. }
                    | Event::NodeWaiting { .. }
                    | Event::AttemptOrdered { .. }
                    | Event::InterruptionRaised { .. }
            )
        };
        let settles: Vec<Event> = next
            .iter()
            .filter(|event| !starts(event))
            .cloned()
            .collect();
        if !settles.is_empty() {
            return settles;
        }
        if self.state.live_attempts().next().is_some() {
            return Vec::new();
        }
        self.close_cancelled()
    }

    /// How a node ends that waits and is not started any more: as its last attempt did that may have run.
    pub(super) fn given_up(&self, node: NodeRef, never: Outcome, why: &GivenUp) -> NodeEnd {
        let ran = self.state.attempts_of(node).filter_map(|attempt| {
            let end = attempt.node_end()?;
            (end.outcome != Outcome::NotStarted).then_some((attempt.number, end))
        });
        match ran.max_by_key(|(number, _)| *number) {
            Some((_, end)) => NodeEnd {
                outcome: end.outcome,
                message: joined(
                    &end.message,
                    &match why {
                        GivenUp::Late(late) => format!("{late}; it was not tried again"),
                        GivenUp::Cancelled => "cancelled before it was tried again".to_owned(),
                    },
                ),
            },
            None => NodeEnd {
                outcome: never,
                message: match why {
                    GivenUp::Late(late) => format!("{late}; it had not started"),
                    GivenUp::Cancelled => "cancelled before it started".to_owned(),
                },
            },
        }
    }

    /// Nothing: whether a start in flight was cancelled is the agent's word. Sabotage does not wait.
    fn assumed_cancelled(&self) -> Vec<Event> {
        if !fault::sabotaged("start-taken-for-cancelled") {
            return Vec::new();
        }
        self.state
            .live_attempts()
            .filter(|(_, attempt)| matches!(attempt.status, AttemptStatus::Starting))
            .map(|(id, _)| {
                let message = "taken for cancelled".to_owned();
                finished(*id, Outcome::Cancelled, message, self.moment.now)
            })
            .collect()
    }

    /// Closes everything that is open, as cancelled.
    fn close_cancelled(&self) -> Vec<Event> {
        let now = self.moment.now;
        let mut events = Vec::new();
        for ((index, step), state) in (0_u32..).zip(&self.plan.steps).zip(&self.state.steps) {
            match state {
                StepState::Pending => events.push(Event::StepSkipped {
                    step: index,
                    reason: why_no_more(self.state),
                }),
                StepState::Running { subjects, .. } => {
                    for subject in &step.subjects {
                        match subjects.get(subject) {
                            Some(SubjectState::Active { .. }) => {
                                events.push(Event::SubjectFinished {
                                    step: index,
                                    subject: *subject,
                                    at: now,
                                    failed: true,
                                });
                            }
                            Some(SubjectState::Done { .. } | SubjectState::PassedOver { .. }) => {}
                            None => events.push(Event::SubjectPassedOver {
                                step: index,
                                subject: *subject,
                                reason: why_no_more(self.state),
                            }),
                        }
                    }
                    events.push(Event::StepFinished {
                        step: index,
                        at: now,
                        failed: true,
                    });
                }
                StepState::Finished { .. } | StepState::Skipped { .. } => {}
            }
        }
        if let Some(cancel) = &self.state.cancel {
            let (verdict, message) = verdict::stopped(self.state, cancel);
            events.push(Event::DeploymentFinished {
                verdict,
                message,
                at: now,
            });
        }
        events
    }
}
