//! What comes of what people answered, or did not answer in time.

use jiff::Timestamp;
use mantle_shared::protocol::Outcome;

use super::super::asking;
use super::super::decide::after;
use super::super::event::{Event, NodeEnd, OutputVariable};
use super::super::model::{Closed, Interruption, NodeState};
use super::super::resolution::is_known_end;
use super::Look;
use crate::explain::listed;
use crate::file::duration;
use crate::interruption::{Answer, Given, Question, approved_by, decided};
use crate::plan::NodeRef;
use crate::variable::literal;

impl Look<'_> {
    /// The interruptions that are over: the answers came to something, or the time is up. Of a
    /// deployment that is to stop none is answered any more.
    pub(super) fn answered(&self) -> Vec<Event> {
        if self.state.cancel.is_some() {
            return Vec::new();
        }
        let open = self.state.open_interruptions();
        let over = open.filter_map(|(number, one)| {
            if let Some(resolved) = self.resolved(number, one) {
                return Some(resolved);
            }
            let found = decided(&one.question, &one.given);
            match found {
                Some((answer, given)) => Some(self.close(number, one, answer, given)),
                None => (one.deadline <= self.moment.now).then(|| self.expire(number, one)),
            }
        });
        over.flatten().collect()
    }

    /// What was asked because nobody knew how an attempt had ended, of which somebody or its agent has
    /// said so since: it goes on as if that had been known, which may be another question. What went
    /// well is not asked about at all.
    fn resolved(&self, number: u32, one: &Interruption) -> Option<Vec<Event>> {
        let Question::Failure { node, outcome, .. } = &one.question else {
            return None;
        };
        let last = self.state.last_attempt(*node)?;
        let end = last.node_end()?;
        let is_news = !is_known_end(*outcome) && !last.is_unresolved();
        if !is_news && end.outcome != Outcome::Succeeded {
            return None;
        }
        let place = (self.state, self.plan, self.moment);
        Some(vec![
            self.closed(number, Closed::Resolved, Vec::new()),
            asking::ended(place, *node, end),
        ])
    }

    /// Nobody is waited for any more: the deployment is to stop.
    pub(super) fn nobody_waits(&self) -> Vec<Event> {
        let at = self.moment.now;
        let open = self.state.open_interruptions();
        let closed = open.flat_map(|(number, one)| {
            let close = self.closed(number, Closed::Cancelled, Vec::new());
            let end = match &one.question {
                Question::Failure {
                    outcome, message, ..
                } => Some(NodeEnd {
                    outcome: *outcome,
                    message: joined(
                        message,
                        "the deployment was to stop before anybody answered",
                    ),
                }),
                Question::Manual { .. } => Some(NodeEnd {
                    outcome: Outcome::Cancelled,
                    message: "cancelled while it waited for a person".to_owned(),
                }),
                Question::Pause { .. } => None,
            };
            let node = one.question.node().zip(end);
            let node = node.map(|(node, end)| finished(node, end, at, None));
            [Some(close), node].into_iter().flatten()
        });
        closed.collect()
    }

    /// The open interruption that a node waits for is of no concern any more.
    pub(super) fn moot(&self, node: NodeRef) -> Option<Event> {
        let Some(NodeState::Asking { interruption }) = self.state.nodes.get(&node) else {
            return None;
        };
        let open = self.state.interruptions.get(interruption)?.closed.is_none();
        open.then(|| self.closed(*interruption, Closed::Moot, Vec::new()))
    }

    fn closed(&self, number: u32, how: Closed, outputs: Vec<OutputVariable>) -> Event {
        Event::InterruptionClosed {
            number,
            at: self.moment.now,
            how,
            outputs,
        }
    }

    fn close(&self, number: u32, one: &Interruption, answer: Answer, given: &Given) -> Vec<Event> {
        let how = Closed::Answered(answer);
        match &one.question {
            Question::Failure {
                node,
                outcome,
                message,
                ..
            } => {
                let mut events = vec![self.closed(number, how, Vec::new())];
                let end = NodeEnd {
                    outcome: *outcome,
                    message: message.clone(),
                };
                events.extend(self.judged(*node, end, answer, given));
                events
            }
            Question::Manual { node, .. } => {
                let outputs = self.outputs(*node, one, answer, given);
                let (outcome, message) = if answer == Answer::Proceed {
                    let counted = approved_by(&one.question, &one.given);
                    let names: Vec<String> = counted.iter().map(|one| one.by.clone()).collect();
                    (
                        Outcome::Succeeded,
                        format!("approved by {}", listed(&names)),
                    )
                } else {
                    let said = said(&format!("stopped by {}", given.by), given);
                    (Outcome::Failed, said)
                };
                let end = NodeEnd { outcome, message };
                vec![
                    self.closed(number, how, outputs),
                    finished(*node, end, self.moment.now, None),
                ]
            }
            Question::Pause { .. } => vec![self.closed(number, how, Vec::new())],
        }
    }

    /// What a person made of a failure.
    fn judged(&self, node: NodeRef, end: NodeEnd, answer: Answer, given: &Given) -> Vec<Event> {
        let at = self.moment.now;
        let by = given.by.clone();
        let noted = |what: &str| NodeEnd {
            outcome: end.outcome,
            message: joined(&end.message, &said(&format!("{what} {by}"), given)),
        };
        match answer {
            Answer::Retry => vec![Event::NodeWaiting {
                node,
                at,
                not_before: at,
                deadline: after(at, self.moment.policy.pick_up),
            }],
            Answer::Ignore => vec![finished(node, noted("ignored by"), at, Some(by.clone()))],
            Answer::Exclude => {
                let subject = self.plan.node(node).map(|planned| planned.subject);
                let excluded = subject.map(|subject| Event::SubjectExcluded {
                    step: node.step,
                    subject,
                    by: by.clone(),
                    at,
                });
                let end = noted("the target was excluded by");
                let over = finished(node, end, at, Some(by.clone()));
                excluded.into_iter().chain([over]).collect()
            }
            // The others are not offered for a failure.
            Answer::Fail | Answer::Proceed | Answer::Abort | Answer::Withdrawn => {
                vec![finished(node, noted("left failed by"), at, None)]
            }
        }
    }

    /// Nobody answered in time: it is as if nobody could have been asked.
    fn expire(&self, number: u32, one: &Interruption) -> Vec<Event> {
        let waited = one.deadline.duration_since(one.since).as_millis();
        let waited = duration::format(u64::try_from(waited).unwrap_or(0));
        let nobody = format!("nobody answered within {waited}");
        let end = match &one.question {
            Question::Failure {
                outcome, message, ..
            } => Some(NodeEnd {
                outcome: *outcome,
                message: joined(message, &nobody),
            }),
            Question::Manual { .. } => Some(NodeEnd {
                outcome: Outcome::TimedOut,
                message: nobody,
            }),
            Question::Pause { .. } => None,
        };
        let mut events = vec![self.closed(number, Closed::Expired, Vec::new())];
        let node = one.question.node().zip(end);
        events.extend(node.map(|(node, end)| finished(node, end, self.moment.now, None)));
        events
    }

    /// What later steps can know of a manual action, under the names that Octopus gives it.
    fn outputs(
        &self,
        node: NodeRef,
        one: &Interruption,
        answer: Answer,
        given: &Given,
    ) -> Vec<OutputVariable> {
        let Some((action, planned)) = self.plan.action(node).zip(self.plan.node(node)) else {
            return Vec::new();
        };
        let subject = self.plan.target(planned.subject);
        let subject = subject.map_or_else(String::new, |target| target.name.clone());
        let approved = if answer == Answer::Proceed {
            "True"
        } else {
            "False"
        };
        let values = [
            ("Manual.Approved", approved.to_owned()),
            ("Manual.Notes", notes(one)),
            ("Manual.ResponsibleUser.Id", given.by.clone()),
            ("Manual.ResponsibleUser.Username", given.by.clone()),
            ("Manual.ResponsibleUser.DisplayName", given.by.clone()),
        ];
        values
            .into_iter()
            .map(|(name, value)| OutputVariable {
                action: action.name.clone(),
                subject: subject.clone(),
                name: name.to_owned(),
                // What somebody writes is data: it reads no variable.
                value: literal(&value),
                sealed_by: None,
            })
            .collect()
    }
}

/// All notes: one person's as they are, several people's each with the name before it.
fn notes(one: &Interruption) -> String {
    let with_notes = one.given.iter().filter(|given| !given.notes.is_empty());
    let all: Vec<&Given> = with_notes.collect();
    match all.as_slice() {
        [only] => only.notes.clone(),
        all => {
            let lines = all
                .iter()
                .map(|given| format!("{}: {}", given.by, given.notes));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn finished(node: NodeRef, end: NodeEnd, at: Timestamp, waived_by: Option<String>) -> Event {
    Event::NodeFinished {
        node,
        end,
        at,
        waived_by,
    }
}

/// What was decided, with what was said about it.
fn said(what: &str, given: &Given) -> String {
    if given.notes.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {}", given.notes)
    }
}

pub(super) fn joined(first: &str, second: &str) -> String {
    if first.is_empty() {
        second.to_owned()
    } else {
        format!("{first}; {second}")
    }
}
