//! A rolling step that waits for a person after its first target.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::TargetId;

use super::super::asking::raised;
use super::super::decide::after;
use super::super::event::Event;
use super::super::model::{Closed, SubjectState};
use super::Look;
use super::steps::went_well;
use crate::interruption::{Answer, Question};
use crate::plan::PlanStep;

/// Whether a step may begin further targets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// One at a time, until one went through well.
    OneAtATime,
    /// A person is to be asked, or is being asked.
    Shut(Option<Event>),
    /// It does not go on.
    Closed,
}

impl Look<'_> {
    /// Whether a step may begin further targets, as far as it asks after the first.
    pub(super) fn gate(
        &self,
        index: u32,
        step: &PlanStep,
        subjects: &BTreeMap<TargetId, SubjectState>,
    ) -> Gate {
        if !step.rolling || !step.pause_after_first {
            return Gate::Open;
        }
        let asked =
            self.state.interruptions.values().find(
                |one| matches!(&one.question, Question::Pause { step, .. } if *step == index),
            );
        match asked.map(|one| one.closed) {
            Some(None) => return Gate::Shut(None),
            Some(Some(Closed::Answered(Answer::Proceed))) => return Gate::Open,
            Some(Some(
                Closed::Answered(_)
                | Closed::Expired
                | Closed::Cancelled
                | Closed::Moot
                | Closed::Resolved,
            )) => {
                return Gate::Closed;
            }
            None => {}
        }
        match went_well(self.state, subjects) {
            None => Gate::OneAtATime,
            Some(subject) => {
                let question = Question::Pause {
                    step: index,
                    subject,
                };
                let deadline = after(self.moment.now, self.moment.policy.person);
                Gate::Shut(Some(raised(self.moment, question, deadline)))
            }
        }
    }

    /// How many targets of a step hang on what a person will say of a failure.
    pub(super) fn undecided(&self, step: u32) -> u32 {
        let open = self.state.open_interruptions();
        let asked = open.filter_map(|(_, one)| match &one.question {
            Question::Failure { node, .. } if node.step == step => Some(self.plan.node(*node)?),
            Question::Failure { .. } | Question::Manual { .. } | Question::Pause { .. } => None,
        });
        let subjects: BTreeSet<TargetId> = asked.map(|planned| planned.subject).collect();
        u32::try_from(subjects.len()).unwrap_or(u32::MAX)
    }
}
