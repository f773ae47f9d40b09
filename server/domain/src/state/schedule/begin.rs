//! What becomes of a step or an action whose turn has come, given its condition.
//!
//! What must hold: a condition that cannot be judged neither skips nor runs anything. Its step, or
//! its action, has failed, and says why.

use mantle_shared::protocol::Outcome;

use super::super::asking::raised;
use super::super::back::{is_due, is_touched};
use super::super::decide::{after, after_ms, within};
use super::super::event::{Event, NodeEnd, SkipReason};
use super::super::input::Asked;
use super::Look;
use crate::interruption::Question;
use crate::plan::{Eyes, NodeRef, PlanAction, PlanStep};
use crate::process::RunCondition;

impl Look<'_> {
    /// A step's turn has come: it starts, is skipped, or has failed before it did anything.
    pub(super) fn begin_step(&self, index: u32, step: &PlanStep) -> Vec<Event> {
        let skip = match (&step.skipped, &step.back) {
            (_, Some(back)) if !is_due(self.state, back.of) => Some(SkipReason::NothingToUndo),
            (Some(detail), _) => Some(SkipReason::NotApplicable {
                detail: detail.clone(),
            }),
            (None, Some(_)) => self.state.cancel.as_ref().map(|_| self.why_no_more()),
            (None, None) => self.skip(&step.run, self.state.failed, index, None),
        };
        let started = || Event::StepStarted {
            step: index,
            at: self.moment.now,
            end_by: Some(within(
                self.moment,
                step.timeout_ms,
                self.moment.policy.step,
            )),
        };
        match skip {
            None => vec![started()],
            Some(reason @ SkipReason::Unjudgeable { .. }) => {
                // It has failed before any of its actions was begun, whatever their own conditions.
                let passed_over = step
                    .subjects
                    .iter()
                    .map(|subject| Event::SubjectPassedOver {
                        step: index,
                        subject: *subject,
                        reason: reason.clone(),
                    });
                let finished = Event::StepFinished {
                    step: index,
                    at: self.moment.now,
                    failed: true,
                };
                let begun = std::iter::once(started());
                begun.chain(passed_over).chain([finished]).collect()
            }
            Some(reason) => vec![Event::StepSkipped {
                step: index,
                reason,
            }],
        }
    }

    /// A node's turn has come: it waits for its agent, asks, is skipped, or has failed.
    pub(super) fn begin_node(&self, node: NodeRef, action: &PlanAction, failed: bool) -> Event {
        let now = self.moment.now;
        let undone = || self.plan.undone(node);
        let idle = action.undoes.is_some()
            && !undone().is_some_and(|undone| is_touched(self.state, undone));
        let skip = if idle {
            Some(SkipReason::Untouched)
        } else {
            self.skip(&action.run, failed, node.step, Some(node))
        };
        match (skip, &action.ask) {
            // Nobody is asked about it: no answer would make it judgeable, and none may let it run.
            (Some(reason @ SkipReason::Unjudgeable { .. }), _) => Event::NodeFinished {
                node,
                end: NodeEnd {
                    outcome: Outcome::NotStarted,
                    message: reason.sentence(),
                },
                at: now,
                waived_by: None,
            },
            (Some(reason), _) => Event::NodeSkipped { node, reason },
            (None, Some(ask)) => {
                let deployer = &self.plan.facts.created_by;
                let question = Question::Manual {
                    node,
                    instructions: (self.moment.instructions)(self.state, node),
                    teams: ask.teams.clone(),
                    approvals: ask.approvals,
                    not_by: (ask.eyes == Eyes::Four).then(|| deployer.clone()),
                };
                raised(self.moment, question, after_ms(now, action.timeout_ms))
            }
            (None, None) => Event::NodeWaiting {
                node,
                at: now,
                not_before: now,
                deadline: after(now, self.moment.policy.pick_up),
            },
        }
    }

    /// Why something does not run under its condition; `None` if it does.
    fn skip(
        &self,
        run: &RunCondition,
        failed: bool,
        step: u32,
        node: Option<NodeRef>,
    ) -> Option<SkipReason> {
        match run {
            RunCondition::Success => failed.then(|| self.why_no_more()),
            RunCondition::Failure => (!failed).then_some(SkipReason::NoFailure),
            RunCondition::Always => None,
            RunCondition::Template(template) => {
                let asked = Asked {
                    template,
                    step,
                    node,
                };
                let template = template.clone();
                match (self.moment.condition)(self.state, asked) {
                    Ok(true) => None,
                    Ok(false) => Some(SkipReason::Condition { template }),
                    Err(why) => Some(SkipReason::Unjudgeable { template, why }),
                }
            }
        }
    }
}
