//! Steps: whose turn has come, which subjects are inside, what is done about each of them next.

use std::collections::BTreeMap;

use mantle_shared::fault;
use mantle_shared::ids::{AttemptId, AttemptKey, TargetId};
use mantle_shared::protocol::Outcome;

use super::super::asking;
use super::super::back::has_begun;
use super::super::decide::{after, after_ms};
use super::super::event::{Event, NodeEnd, SkipReason};
use super::super::locks::{self, Claimed};
use super::super::model::{CancelCause, NodeState, State, StepState, SubjectState};
use super::super::verdict;
use super::Look;
use super::cancelling::GivenUp;
use super::pause::Gate;
use crate::plan::{NodeRef, PlanAction, PlanNode, PlanStep};
use crate::process::OnFailure;

/// What there is room for in a step that runs.
struct Room {
    /// Nothing more is begun: more failed than may.
    no_more: bool,
    /// Nothing is begun before a person has judged a failure.
    held: bool,
    /// How many subjects are inside.
    active: u32,
    /// Whether a person lets more in, once that was looked at.
    gate: Option<Gate>,
}

impl Look<'_> {
    /// What the steps do whose turn it is: those of the first group that is not over. Their
    /// conditions are judged together, when the group's turn comes, so that none of them depends
    /// on how soon another fails.
    pub(super) fn steps(&self) -> Vec<Event> {
        let Some(first) = self.state.steps.iter().position(|step| !step.is_over()) else {
            return vec![self.finish()];
        };
        let group: Vec<(u32, &PlanStep, &StepState)> = self
            .plan
            .group(first)
            .filter_map(|at| {
                let index = u32::try_from(at).ok()?;
                Some((index, self.plan.steps.get(at)?, self.state.steps.get(at)?))
            })
            .collect();
        let pending = group
            .iter()
            .filter(|(_, _, state)| matches!(state, StepState::Pending));
        let begun: Vec<Event> = pending
            .flat_map(|(index, step, _)| self.begin_step(*index, step))
            .collect();
        if !begun.is_empty() {
            return begun;
        }
        let running = group.into_iter().map(|(index, step, state)| match state {
            StepState::Running {
                stop: Some(_),
                subjects,
                ..
            } => self.stop_step(index, step, subjects),
            StepState::Running { subjects, .. } => self.run_step(index, step, subjects),
            StepState::Pending | StepState::Finished { .. } | StepState::Skipped { .. } => {
                Vec::new()
            }
        });
        running.flatten().collect()
    }

    /// Why nothing more is begun after something did not succeed: what was cancelled did not fail.
    pub(super) fn why_no_more(&self) -> SkipReason {
        why_no_more(self.state)
    }

    /// Why nothing more is done about a subject that failed in an earlier step which allowed that,
    /// or about which there is nothing to undo.
    fn set_aside(&self, step: &PlanStep, subject: TargetId) -> Option<SkipReason> {
        if let Some(reason) = self.excluded(subject) {
            return Some(reason);
        }
        if let Some(back) = &step.back {
            let touched = has_begun(self.state, back.of, subject);
            return (!touched).then_some(SkipReason::Untouched);
        }
        let step = self.state.set_aside.get(&subject)?;
        let step = self.plan.step(*step)?.name.clone();
        Some(SkipReason::SetAside { step })
    }

    /// Why nothing more is done about a subject that a person said to go on without.
    fn excluded(&self, subject: TargetId) -> Option<SkipReason> {
        let known = self.state.excluded.get(&subject)?;
        let by = known.by.clone();
        Some(SkipReason::Excluded { by })
    }

    fn run_step(
        &self,
        index: u32,
        step: &PlanStep,
        subjects: &BTreeMap<TargetId, SubjectState>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut active = 0_u32;
        let mut failures = 0_u32;
        for state in subjects.values() {
            let failed = match state {
                SubjectState::Active { failed, .. } => {
                    active += 1;
                    *failed
                }
                SubjectState::Done { failed, .. } => *failed,
                SubjectState::PassedOver { .. } => false,
            };
            failures += u32::from(failed);
        }
        // Until then the step has not failed: the subjects that did are set aside. A cancel leaves
        // no room for that, for what it stopped has failed too.
        let allowed = match self.state.cancel {
            Some(_) => 0,
            None => step.max_failed,
        };
        let stops = step.rolling
            && match step.on_failure {
                OnFailure::Stop | OnFailure::Rollback => true,
                OnFailure::Continue => false,
            };
        let failed = failures > allowed
            || subjects.values().any(was_not_gone_on_to)
            || (failures > 0 && went_well(self.state, subjects).is_none());
        let mut room = Room {
            no_more: failures > allowed && stops,
            // What a person will say of a failure is not known yet.
            held: stops && failures + self.undecided(index) > allowed,
            active,
            gate: None,
        };
        let mut over = true;
        for subject in &step.subjects {
            match subjects.get(subject) {
                Some(SubjectState::Active { failed, .. }) => {
                    over = false;
                    self.run_subject(index, *subject, *failed, &mut events);
                }
                Some(SubjectState::Done { .. } | SubjectState::PassedOver { .. }) => {}
                None => {
                    over = false;
                    let gate = || self.gate(index, step, subjects);
                    events.extend(self.begin_subject((index, step), *subject, &mut room, gate));
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

    /// Lets a subject in if there is room for it, or passes it over.
    fn begin_subject(
        &self,
        (index, step): (u32, &PlanStep),
        subject: TargetId,
        room: &mut Room,
        gate: impl Fn() -> Gate,
    ) -> Option<Event> {
        let passed_over = |reason| {
            Some(Event::SubjectPassedOver {
                step: index,
                subject,
                reason,
            })
        };
        let aside = self.set_aside(step, subject);
        if let Some(reason) = aside.or_else(|| room.no_more.then(|| self.why_no_more())) {
            return passed_over(reason);
        }
        if room.held {
            return None;
        }
        let most = match room.gate.get_or_insert_with(gate) {
            Gate::Closed => return passed_over(SkipReason::NotGoneOn),
            Gate::Shut(question) => return question.take(),
            Gate::OneAtATime => 1,
            Gate::Open => step.parallel,
        };
        (room.active < most).then(|| {
            room.active += 1;
            Event::SubjectStarted {
                step: index,
                subject,
                at: self.moment.now,
            }
        })
    }

    /// Every node of a step about a subject, in order.
    fn about(&self, index: u32, subject: TargetId) -> &[NodeRef] {
        self.state.by_subject.about(index, subject)
    }

    /// Takes an active subject to its next action.
    fn run_subject(
        &self,
        step_index: u32,
        subject: TargetId,
        failed: bool,
        events: &mut Vec<Event>,
    ) {
        if let Some(reason) = self.excluded(subject) {
            self.drop_subject(step_index, subject, &reason, events);
            return;
        }
        let of_action = |one: &NodeRef, next: &NodeRef| one.action == next.action;
        for nodes in self.about(step_index, subject).chunk_by(of_action) {
            let over = |node: &NodeRef| self.state.nodes.get(node).is_some_and(NodeState::is_over);
            if nodes.iter().all(over) {
                continue;
            }
            for &node in nodes {
                let planned = self.plan.action(node).zip(self.plan.node(node));
                let Some((action, planned)) = planned else {
                    continue;
                };
                match self.state.nodes.get(&node) {
                    None => events.push(self.begin_node(node, action, failed)),
                    Some(NodeState::Waiting {
                        not_before,
                        deadline,
                        ..
                    }) => events.extend(self.order(node, planned, action, *not_before, *deadline)),
                    Some(
                        NodeState::Running { .. }
                        | NodeState::Asking { .. }
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

    /// Nothing more is done about a subject: what runs is waited for.
    fn drop_subject(
        &self,
        index: u32,
        subject: TargetId,
        reason: &SkipReason,
        events: &mut Vec<Event>,
    ) {
        let mut open = false;
        for &node in self.about(index, subject) {
            match self.state.nodes.get(&node) {
                None | Some(NodeState::Waiting { .. } | NodeState::Asking { .. }) => {
                    open = true;
                    events.extend(self.moot(node));
                    events.push(Event::NodeSkipped {
                        node,
                        reason: reason.clone(),
                    });
                }
                Some(NodeState::Running { .. }) => open = true,
                Some(NodeState::Done { .. } | NodeState::Skipped { .. }) => {}
            }
        }
        if !open {
            events.push(Event::SubjectFinished {
                step: index,
                subject,
                at: self.moment.now,
                failed: false,
            });
        }
    }

    /// What is left to do in a step whose time is up: what waits is over, what runs was told to
    /// stop and is waited for, nothing else is begun.
    fn stop_step(
        &self,
        index: u32,
        step: &PlanStep,
        subjects: &BTreeMap<TargetId, SubjectState>,
    ) -> Vec<Event> {
        let at = self.moment.now;
        let mut events = Vec::new();
        let mut over = true;
        for subject in &step.subjects {
            match subjects.get(subject) {
                None => {
                    over = false;
                    events.push(Event::SubjectPassedOver {
                        step: index,
                        subject: *subject,
                        reason: SkipReason::StepTimedOut,
                    });
                }
                Some(SubjectState::Active { failed, .. }) => {
                    over = false;
                    let (mut open, mut ended) = (false, Vec::new());
                    for &node in self.about(index, *subject) {
                        match self.state.nodes.get(&node) {
                            None => ended.push(Event::NodeSkipped {
                                node,
                                reason: SkipReason::StepTimedOut,
                            }),
                            Some(NodeState::Waiting { .. }) => ended.push(Event::NodeFinished {
                                node,
                                end: self.given_up(
                                    node,
                                    Outcome::TimedOut,
                                    &GivenUp::Late(verdict::step_late(self.state, index)),
                                ),
                                at,
                                waived_by: None,
                            }),
                            // While it asks, the step's clock stands.
                            Some(NodeState::Running { .. } | NodeState::Asking { .. }) => {
                                open = true;
                            }
                            Some(NodeState::Done { .. } | NodeState::Skipped { .. }) => {}
                        }
                    }
                    if ended.is_empty() && !open {
                        ended.push(Event::SubjectFinished {
                            step: index,
                            subject: *subject,
                            at,
                            failed: *failed || self.is_cut_short(index, *subject),
                        });
                    }
                    events.extend(ended);
                }
                Some(SubjectState::Done { .. } | SubjectState::PassedOver { .. }) => {}
            }
        }
        if over {
            events.push(Event::StepFinished {
                step: index,
                at,
                failed: true,
            });
        }
        events
    }

    /// An action about a subject was not begun because the step's time was up.
    fn is_cut_short(&self, index: u32, subject: TargetId) -> bool {
        self.about(index, subject).iter().any(|node| {
            let known = self.state.nodes.get(node);
            matches!(known, Some(NodeState::Skipped { reason }) if *reason == SkipReason::StepTimedOut)
        })
    }

    /// Something in a running step has not ended.
    pub(super) fn has_more(
        &self,
        index: u32,
        step: &PlanStep,
        subjects: &BTreeMap<TargetId, SubjectState>,
    ) -> bool {
        let is_open = |node: &NodeRef| !self.state.nodes.get(node).is_some_and(NodeState::is_over);
        step.subjects
            .iter()
            .any(|subject| match subjects.get(subject) {
                None => true,
                Some(SubjectState::Active { .. }) => {
                    self.about(index, *subject).iter().any(is_open)
                }
                Some(SubjectState::Done { .. } | SubjectState::PassedOver { .. }) => false,
            })
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
            let place = (self.state, self.plan, self.moment);
            let despite = match locks::claim(place, (node, attempt), planned, action) {
                Claimed::Granted(despite) => despite,
                Claimed::Waits(waits) => return waits,
            };
            let runs_ms = action.timeout_ms.saturating_add(action.grace_ms);
            let deadline = after(after_ms(now, runs_ms), self.moment.policy.silence);
            return Some(Event::AttemptOrdered {
                attempt,
                node,
                number,
                at: now,
                deadline,
                journal: self.moment.journals.get(&executor.agent).copied(),
                despite,
            });
        }
        if fault::sabotaged("pickup-never-ends") {
            return None;
        }
        let returns = (self.moment.returning)(executor.agent);
        (now >= deadline && !returns).then(|| {
            let end = NodeEnd {
                outcome: Outcome::NotStarted,
                message: format!("the agent of {} was not connected in time", executor.name),
            };
            asking::ended((self.state, self.plan, self.moment), node, end)
        })
    }
}

/// The first subject that went through well. Where there is none nothing was deployed, however many may
/// fail.
pub(in super::super) fn went_well(
    state: &State,
    subjects: &BTreeMap<TargetId, SubjectState>,
) -> Option<TargetId> {
    let well = subjects.iter().find(|(target, subject)| match subject {
        SubjectState::Done { failed, .. } => !failed && !state.excluded.contains_key(*target),
        SubjectState::Active { .. } | SubjectState::PassedOver { .. } => false,
    });
    well.map(|(target, _)| *target)
}

/// A person said, or nobody said otherwise, not to go on to it.
fn was_not_gone_on_to(subject: &SubjectState) -> bool {
    matches!(
        subject,
        SubjectState::PassedOver {
            reason: SkipReason::NotGoneOn
        }
    )
}

/// Why nothing more is begun after something did not succeed: what was stopped did not fail.
pub(in super::super) fn why_no_more(state: &State) -> SkipReason {
    match state.cancel.as_ref().map(|cancel| &cancel.cause) {
        Some(CancelCause::Asked { .. }) => SkipReason::Cancelled,
        Some(CancelCause::OutOfTime) => SkipReason::DeploymentTimedOut,
        None => SkipReason::EarlierFailure,
    }
}
