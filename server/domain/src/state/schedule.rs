//! What follows from a state at a moment: deadlines that passed, nodes that settled, what starts.
//!
//! Each pass finds everything that can be said of the state as it is; passes are repeated on the
//! state that they lead to until one finds nothing. Every pass either settles something or starts
//! something that was not started before, so they end.

use std::collections::BTreeMap;

use mantle_shared::fault;
use mantle_shared::ids::{AttemptId, AttemptKey, TargetId};
use mantle_shared::protocol::Outcome;

use super::decide::{after, after_ms, finished, unknown};
use super::event::{Event, NodeEnd, SkipReason};
use super::evolve::evolve;
use super::input::Moment;
use super::model::{
    AcquisitionStatus, AttemptStatus, NodeState, OrderFitness, Phase, State, StepState,
    SubjectState, Verdict,
};
use super::verdict;
use crate::plan::{NodeRef, Plan, PlanAction, PlanNode, PlanStep};
use crate::process::RunCondition;

/// Takes the state as far as it goes at this moment; the events that led there are appended.
pub(super) fn advance(state: &mut State, moment: &Moment<'_>, events: &mut Vec<Event>) {
    loop {
        let found = pass(state, moment);
        if found.is_empty() {
            return;
        }
        for event in &found {
            evolve(state, event);
        }
        events.extend(found);
    }
}

fn pass(state: &State, moment: &Moment<'_>) -> Vec<Event> {
    let (Phase::Running, Some(plan)) = (&state.phase, &state.plan) else {
        return Vec::new();
    };
    let looked_at = Look {
        state,
        plan,
        moment,
    };
    let overdue = looked_at.overdue();
    if !overdue.is_empty() {
        return overdue;
    }
    let settled = looked_at.settled();
    if !settled.is_empty() {
        return settled;
    }
    if state.cancel.is_some() {
        looked_at.cancelling()
    } else {
        looked_at.running()
    }
}

/// One look at a running deployment.
struct Look<'a> {
    state: &'a State,
    plan: &'a Plan,
    moment: &'a Moment<'a>,
}

impl Look<'_> {
    /// What is not known by its deadline is called unknown, what was not done by then failed.
    fn overdue(&self) -> Vec<Event> {
        let now = self.moment.now;
        let cancel_is_over = self
            .state
            .cancel
            .as_ref()
            .is_some_and(|c| c.deadline <= now);
        let attempts = self.state.live_attempts().filter_map(|(id, attempt)| {
            let pickup_counts = fault::sabotaged("pickup-counts-for-ever")
                && after(attempt.ordered_at, self.moment.policy.pick_up) <= now;
            if attempt.deadline <= now || pickup_counts {
                Some(unknown(*id, "no word of its end came in time", now))
            } else {
                cancel_is_over.then(|| unknown(*id, "the cancel was not answered in time", now))
            }
        });
        let acquisitions = self.state.acquisitions.iter().filter_map(|(target, a)| {
            let message = match &a.status {
                AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. } => return None,
                AcquisitionStatus::Pending => "its agent was not connected in time".to_owned(),
                AcquisitionStatus::Ordered { .. } => {
                    "the packages did not arrive in time".to_owned()
                }
                AcquisitionStatus::Waiting { message, .. } => message.clone(),
            };
            (a.deadline <= now).then_some(Event::AcquisitionFailed {
                target: *target,
                message,
            })
        });
        attempts.chain(acquisitions).collect()
    }

    /// Nodes whose attempt is over: they are over too, or wait to be tried again.
    fn settled(&self) -> Vec<Event> {
        self.state
            .nodes
            .iter()
            .filter_map(|(node, state)| {
                let NodeState::Running { attempt } = state else {
                    return None;
                };
                let attempt = self.state.attempts.get(attempt)?;
                let AttemptStatus::Over {
                    outcome, message, ..
                } = &attempt.status
                else {
                    return None;
                };
                Some(self.settle(*node, *outcome, message))
            })
            .collect()
    }

    fn settle(&self, node: NodeRef, outcome: Outcome, message: &str) -> Event {
        let now = self.moment.now;
        let again = if self.state.cancel.is_some() {
            None
        } else {
            self.retry_after_ms(node, outcome)
        };
        match again {
            Some(wait_ms) => {
                let not_before = after_ms(now, wait_ms);
                Event::NodeWaiting {
                    node,
                    at: now,
                    not_before,
                    deadline: after(not_before, self.moment.policy.pick_up),
                }
            }
            None => Event::NodeFinished {
                node,
                end: NodeEnd {
                    outcome,
                    message: message.to_owned(),
                },
                at: now,
            },
        }
    }

    /// How long to wait before a node is tried again; `None` if it is not.
    ///
    /// A failure uses up a retry of the action. Where nothing was run, trying again repeats
    /// nothing, so that is done a few times of our own accord, unless it is the order itself that
    /// cannot be carried out. What is unknown is never repeated.
    fn retry_after_ms(&self, node: NodeRef, outcome: Outcome) -> Option<u64> {
        let so_far = |wanted: &[Outcome]| {
            let ended = self.state.attempts_of(node).filter(|attempt| {
                matches!(&attempt.status, AttemptStatus::Over { outcome, .. } if wanted.contains(outcome))
            });
            u32::try_from(ended.count()).unwrap_or(u32::MAX)
        };
        match outcome {
            Outcome::Failed | Outcome::TimedOut => {
                let retries = self.plan.action(node)?.retries;
                (so_far(&[Outcome::Failed, Outcome::TimedOut]) <= retries.count)
                    .then_some(retries.backoff_ms)
            }
            Outcome::NotStarted
                if self
                    .state
                    .attempts_of(node)
                    .any(|attempt| attempt.order == OrderFitness::Unfit) =>
            {
                None
            }
            Outcome::NotStarted => {
                let wait = u64::try_from(self.moment.policy.backoff.as_millis()).unwrap_or(0);
                (so_far(&[Outcome::NotStarted]) <= self.moment.policy.restarts).then_some(wait)
            }
            Outcome::Succeeded
            | Outcome::Cancelled
            | Outcome::Interrupted
            | Outcome::Unknown
            | Outcome::Abandoned => None,
        }
    }

    fn running(&self) -> Vec<Event> {
        let acquisitions = self.acquisitions();
        if !acquisitions.is_empty() {
            return acquisitions;
        }
        let waits = |a: &super::model::Acquisition| {
            !matches!(
                a.status,
                AcquisitionStatus::Done { .. } | AcquisitionStatus::Failed { .. }
            )
        };
        if self.state.acquisitions.values().any(waits) {
            // Every byte is where it is needed before the first target is touched.
            return Vec::new();
        }
        self.steps()
    }

    fn acquisitions(&self) -> Vec<Event> {
        let due = |(target, a): (&TargetId, &super::model::Acquisition)| {
            let ready = match &a.status {
                AcquisitionStatus::Pending => true,
                AcquisitionStatus::Waiting { until, .. } => *until <= self.moment.now,
                AcquisitionStatus::Ordered { .. }
                | AcquisitionStatus::Done { .. }
                | AcquisitionStatus::Failed { .. } => false,
            };
            (ready && self.moment.online.contains(&a.agent)).then_some(Event::AcquisitionOrdered {
                target: *target,
                at: self.moment.now,
            })
        };
        self.state.acquisitions.iter().filter_map(due).collect()
    }

    fn steps(&self) -> Vec<Event> {
        let current = self.state.steps.iter().position(|step| !step.is_over());
        let Some((index, step, state)) = current.and_then(|index| {
            Some((
                u32::try_from(index).ok()?,
                self.plan.steps.get(index)?,
                self.state.steps.get(index)?,
            ))
        }) else {
            return vec![self.finish()];
        };
        match state {
            StepState::Pending => vec![self.begin_step(index, step)],
            StepState::Running { subjects, .. } => self.run_step(index, step, subjects),
            StepState::Finished { .. } | StepState::Skipped { .. } => Vec::new(),
        }
    }

    fn begin_step(&self, index: u32, step: &PlanStep) -> Event {
        let skip = match &step.skipped {
            Some(detail) => Some(SkipReason::NotApplicable {
                detail: detail.clone(),
            }),
            None => self.skip(&step.run, self.state.failed, index, None),
        };
        match skip {
            Some(reason) => Event::StepSkipped {
                step: index,
                reason,
            },
            None => Event::StepStarted {
                step: index,
                at: self.moment.now,
            },
        }
    }

    /// Why something does not run under its condition; `None` if it does.
    fn skip(
        &self,
        run: &RunCondition,
        failed: bool,
        step: u32,
        subject: Option<TargetId>,
    ) -> Option<SkipReason> {
        match run {
            RunCondition::Success => failed.then(|| self.why_no_more()),
            RunCondition::Failure => (!failed).then_some(SkipReason::NoFailure),
            RunCondition::Always => None,
            RunCondition::Template(template) => {
                let holds = (self.moment.condition)(template, step, subject);
                (!holds).then(|| SkipReason::Condition {
                    template: template.clone(),
                })
            }
        }
    }

    /// Why nothing more is begun after something did not succeed: what was cancelled did not fail.
    fn why_no_more(&self) -> SkipReason {
        match self.state.cancel {
            Some(_) => SkipReason::Cancelled,
            None => SkipReason::EarlierFailure,
        }
    }

    fn run_step(
        &self,
        index: u32,
        step: &PlanStep,
        subjects: &BTreeMap<TargetId, SubjectState>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut active = 0_u32;
        let mut failed = false;
        for state in subjects.values() {
            match state {
                SubjectState::Active { failed: so_far, .. } => {
                    active += 1;
                    failed |= so_far;
                }
                SubjectState::Done {
                    failed: in_the_end, ..
                } => failed |= in_the_end,
                SubjectState::PassedOver { .. } => {}
            }
        }
        let mut over = true;
        for subject in &step.subjects {
            match subjects.get(subject) {
                Some(SubjectState::Active { failed, .. }) => {
                    over = false;
                    self.run_subject(index, step, *subject, *failed, &mut events);
                }
                Some(SubjectState::Done { .. } | SubjectState::PassedOver { .. }) => {}
                None => {
                    over = false;
                    if step.rolling && failed {
                        events.push(Event::SubjectPassedOver {
                            step: index,
                            subject: *subject,
                            reason: self.why_no_more(),
                        });
                    } else if active < step.parallel {
                        active += 1;
                        events.push(Event::SubjectStarted {
                            step: index,
                            subject: *subject,
                            at: self.moment.now,
                        });
                    }
                }
            }
        }
        if over {
            events.push(Event::StepFinished {
                step: index,
                at: self.moment.now,
                failed,
            });
        }
        events
    }

    /// Takes an active subject to its next action.
    fn run_subject(
        &self,
        step_index: u32,
        step: &PlanStep,
        subject: TargetId,
        failed: bool,
        events: &mut Vec<Event>,
    ) {
        for (action_index, action) in (0_u32..).zip(&step.actions) {
            let nodes: Vec<(NodeRef, PlanNode)> = (0_u32..)
                .zip(&action.nodes)
                .filter(|(_, node)| node.subject == subject)
                .map(|(node, planned)| {
                    (
                        NodeRef {
                            step: step_index,
                            action: action_index,
                            node,
                        },
                        *planned,
                    )
                })
                .collect();
            let over = |(node, _): &(NodeRef, PlanNode)| {
                self.state.nodes.get(node).is_some_and(NodeState::is_over)
            };
            if nodes.iter().all(over) {
                continue;
            }
            for (node, planned) in nodes {
                match self.state.nodes.get(&node) {
                    None => events.push(self.begin_node(node, action, subject, failed)),
                    Some(NodeState::Waiting {
                        not_before,
                        deadline,
                        ..
                    }) => events.extend(self.order(node, planned, action, *not_before, *deadline)),
                    Some(
                        NodeState::Running { .. }
                        | NodeState::Done { .. }
                        | NodeState::Skipped { .. },
                    ) => {}
                }
            }
            return;
        }
        events.push(Event::SubjectFinished {
            step: step_index,
            subject,
            at: self.moment.now,
            failed,
        });
    }

    fn begin_node(
        &self,
        node: NodeRef,
        action: &PlanAction,
        subject: TargetId,
        failed: bool,
    ) -> Event {
        match self.skip(&action.run, failed, node.step, Some(subject)) {
            Some(reason) => Event::NodeSkipped { node, reason },
            None => Event::NodeWaiting {
                node,
                at: self.moment.now,
                not_before: self.moment.now,
                deadline: after(self.moment.now, self.moment.policy.pick_up),
            },
        }
    }

    /// Orders a waiting node's next attempt if its time has come and its agent is there.
    fn order(
        &self,
        node: NodeRef,
        planned: PlanNode,
        action: &PlanAction,
        not_before: jiff::Timestamp,
        deadline: jiff::Timestamp,
    ) -> Option<Event> {
        let now = self.moment.now;
        let executor = self.plan.target(planned.executor)?;
        if now >= not_before && self.moment.online.contains(&executor.agent) {
            let number = u32::try_from(self.state.attempts_of(node).count()).ok()? + 1;
            let attempt = AttemptId::derive(&AttemptKey {
                task: self.plan.task,
                step: node.step,
                action: node.action,
                subject: planned.subject,
                executor: planned.executor,
                attempt: number,
            });
            let runs_ms = action.timeout_ms.saturating_add(action.grace_ms);
            let deadline = after(after_ms(now, runs_ms), self.moment.policy.silence);
            return Some(Event::AttemptOrdered {
                attempt,
                node,
                number,
                at: now,
                deadline,
                journal: self.moment.journals.get(&executor.agent).copied(),
            });
        }
        if fault::sabotaged("pickup-never-ends") {
            return None;
        }
        (now >= deadline).then(|| Event::NodeFinished {
            node,
            end: NodeEnd {
                outcome: Outcome::NotStarted,
                message: format!("the agent of {} was not connected in time", executor.name),
            },
            at: now,
        })
    }

    /// Nothing new starts; what runs is waited for. If everything ran to its end all the same, the
    /// deployment ends by what the agents' journals say, not by the wish to cancel it.
    fn cancelling(&self) -> Vec<Event> {
        let assumed = self.assumed_cancelled();
        if !assumed.is_empty() {
            return assumed;
        }
        let waiting: Vec<Event> = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, NodeState::Waiting { .. }))
            .map(|(node, _)| Event::NodeFinished {
                node: *node,
                end: NodeEnd {
                    outcome: Outcome::Cancelled,
                    message: "cancelled before it started".to_owned(),
                },
                at: self.moment.now,
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
            )
        };
        let settles: Vec<Event> = next
            .iter()
            .filter(|event| !starts(event))
            .cloned()
            .collect();
        if !settles.is_empty() && settles.len() == next.len() {
            return settles;
        }
        if self.state.live_attempts().next().is_some() {
            return Vec::new();
        }
        self.close_cancelled()
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
                    reason: SkipReason::Cancelled,
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
                                reason: SkipReason::Cancelled,
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
        let message = verdict::cancelled(self.state);
        events.push(Event::DeploymentFinished {
            verdict: Verdict::Cancelled,
            message,
            at: now,
        });
        events
    }

    fn finish(&self) -> Event {
        let (verdict, message) = match (self.state.failed, &self.state.cancel) {
            (false, _) => (Verdict::Succeeded, String::new()),
            (true, None) => (Verdict::Failed, verdict::failure(self.state, self.plan)),
            (true, Some(_)) => (Verdict::Cancelled, verdict::cancelled(self.state)),
        };
        Event::DeploymentFinished {
            verdict,
            message,
            at: self.moment.now,
        }
    }
}
