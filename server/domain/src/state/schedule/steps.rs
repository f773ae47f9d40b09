//! Steps: whose turn has come, which subjects are inside, what is done about each of them next.

use std::collections::BTreeMap;

use mantle_shared::fault;
use mantle_shared::ids::{AttemptId, AttemptKey, TargetId};
use mantle_shared::protocol::Outcome;

use super::super::decide::{after, after_ms};
use super::super::event::{Event, NodeEnd, SkipReason};
use super::super::model::{NodeState, StepState, SubjectState};
use super::Look;
use crate::plan::{NodeRef, PlanAction, PlanNode, PlanStep};
use crate::process::RunCondition;

impl Look<'_> {
    pub(super) fn steps(&self) -> Vec<Event> {
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
}
