//! What follows from a state at a moment: deadlines that passed, nodes that settled, what starts.
//!
//! Each pass finds everything that can be said of the state as it is; passes are repeated on the
//! state that they lead to until one finds nothing. Every pass either settles something or starts
//! something that was not started before, so they end.

use std::borrow::Cow;

use jiff::Timestamp;
use mantle_shared::fault;
use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::asking;
use super::decide::{after, after_ms, stopped_by, take, unknown};
use super::event::{Event, NodeEnd};
use super::input::Moment;
use super::model::{
    AcquisitionStatus, Attempt, AttemptStatus, NodeState, OrderFitness, Phase, State, StepState,
    Verdict,
};
use super::verdict;
use crate::plan::{NodeRef, Plan};

mod answers;
mod begin;
mod cancelling;
mod pause;
mod steps;

pub(super) use steps::{went_well, why_no_more};

/// Takes the state as far as it goes at this moment; the events that led there are appended.
pub(super) fn advance(state: &mut Cow<'_, State>, moment: &Moment<'_>, events: &mut Vec<Event>) {
    loop {
        let found = pass(state, moment);
        if found.is_empty() {
            return;
        }
        for event in found {
            take(state.to_mut(), event, events);
        }
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
    let answered = looked_at.answered();
    if !answered.is_empty() {
        return answered;
    }
    let out_of_time = looked_at.out_of_time();
    if !out_of_time.is_empty() {
        return out_of_time;
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
            let stop_is_over = || {
                let stop = self.state.step_stop(attempt.node.step);
                cancel_is_over || stop.is_some_and(|deadline| deadline <= now)
            };
            if (self.moment.returning)(attempt.agent) {
                None
            } else if attempt.deadline <= now || pickup_counts {
                Some(unknown(*id, "no word of its end came in time", now))
            } else {
                stop_is_over().then(|| unknown(*id, "the cancel was not answered in time", now))
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
            let executor = self.plan.target(*target);
            let returns = executor.is_some_and(|target| (self.moment.returning)(target.agent));
            (a.deadline <= now && !returns).then_some(Event::AcquisitionFailed {
                target: *target,
                message,
            })
        });
        attempts.chain(acquisitions).collect()
    }

    /// Nodes whose attempt is over: they are over too, or wait to be tried again.
    fn settled(&self) -> Vec<Event> {
        let over = self.state.nodes.iter().filter_map(|(node, state)| {
            let NodeState::Running { attempt } = state else {
                return None;
            };
            let attempt = self.state.attempts.get(attempt)?;
            Some(self.settle(*node, attempt, attempt.node_end()?))
        });
        over.chain(self.done_after_all()).collect()
    }

    /// Nodes that wait to be tried again, and of which it became known since that they went well:
    /// what succeeded is not run again.
    fn done_after_all(&self) -> impl Iterator<Item = Event> {
        let nodes = self.state.nodes.iter();
        let waiting = nodes.filter(|(_, known)| matches!(known, NodeState::Waiting { .. }));
        waiting.filter_map(|(node, _)| {
            let end = self.state.last_attempt(*node)?.node_end()?;
            (end.outcome == Outcome::Succeeded).then_some(Event::NodeFinished {
                node: *node,
                end,
                at: self.moment.now,
                waived_by: None,
            })
        })
    }

    /// The deployment, or a step, whose time is up and which has something left to do.
    fn out_of_time(&self) -> Vec<Event> {
        let (state, now) = (self.state, self.moment.now);
        if state.cancel.is_some() {
            return Vec::new();
        }
        let is_up = |end_by: &Option<Timestamp>| end_by.is_some_and(|end_by| end_by <= now);
        if state.stands_since.is_none()
            && is_up(&state.end_by)
            && state.steps.iter().any(|step| !step.is_over())
        {
            return vec![Event::DeploymentTimedOut {
                at: now,
                deadline: stopped_by(state, self.moment, |_| true),
            }];
        }
        let steps = (0_u32..).zip(self.plan.steps.iter().zip(&state.steps));
        let late = steps.filter_map(|(index, (step, known))| match known {
            StepState::Running {
                end_by,
                stop: None,
                stands_since: None,
                subjects,
                ..
            } if is_up(end_by) && self.has_more(index, step, subjects) => {
                Some(Event::StepTimedOut {
                    step: index,
                    at: now,
                    deadline: stopped_by(state, self.moment, |node| node.step == index),
                })
            }
            StepState::Running { .. }
            | StepState::Pending
            | StepState::Finished { .. }
            | StepState::Skipped { .. } => None,
        });
        late.collect()
    }

    fn settle(&self, node: NodeRef, attempt: &Attempt, mut end: NodeEnd) -> Event {
        let now = self.moment.now;
        let late = self.state.step_stop(node.step).is_some();
        if end.outcome == Outcome::Cancelled && late && self.state.cancel.is_none() {
            end = NodeEnd {
                outcome: Outcome::TimedOut,
                message: verdict::step_late(self.state, node.step),
            };
        }
        // What a person said of it is final: they looked, and its machine may be gone for good.
        let again = if late || self.state.cancel.is_some() || attempt.resolution.is_some() {
            None
        } else {
            self.retry_after_ms(node, end.outcome)
        };
        if let Some(wait_ms) = again {
            let not_before = after_ms(now, wait_ms);
            return Event::NodeWaiting {
                node,
                at: now,
                not_before,
                deadline: after(not_before, self.moment.policy.pick_up),
            };
        }
        asking::ended((self.state, self.plan, self.moment), node, end)
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
                let failed = so_far(&[Outcome::Failed, Outcome::TimedOut]);
                (failed <= retries.count).then(|| retries.wait_ms(failed))
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

    fn finish(&self) -> Event {
        let (verdict, message) = match (self.state.failed, &self.state.cancel) {
            (false, _) => (Verdict::Succeeded, verdict::success(self.state, self.plan)),
            (true, None) => (Verdict::Failed, verdict::failed(self.state, self.plan)),
            (true, Some(cancel)) => verdict::stopped(self.state, cancel),
        };
        Event::DeploymentFinished {
            verdict,
            message,
            at: self.moment.now,
        }
    }
}
