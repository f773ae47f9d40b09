//! A deployment's events as people and programs follow them: names instead of indexes, one
//! contract whatever the events' own format becomes.

use jiff::Timestamp;
use mantle_domain::interruption::Question;
use mantle_domain::plan::{NO_TARGET, NodeRef, Plan};
use mantle_domain::state::view::{self, Status};
use mantle_domain::state::{Closed, Event, SkipReason, State, Verdict, evolve};
use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::error::{Error, Result};
use crate::api::body::{
    ActionResolution, ActionView, StepView, SubjectView, TaskEvent, TaskEventKind, TaskState,
    WorkState,
};
use crate::store::TaskEventRow;

/// Folds a task's events and shapes each on the way.
#[derive(Debug, Default)]
pub struct EventReader {
    state: State,
    last: u64,
}

impl EventReader {
    /// Takes the next event; says what it means to those who watch, if anything.
    pub fn take(&mut self, row: &TaskEventRow) -> Result<Option<TaskEvent>> {
        let event: Event = serde_json::from_str(&row.body)
            .map_err(|error| Error::internal("reading a task's event", error))?;
        // What an attempt's node is stands in the state before or after, never in between.
        evolve(&mut self.state, &event);
        self.last = row.seq;
        let at = super::at(row.at_us);
        let blank = TaskEvent {
            seq: row.seq,
            at,
            kind: TaskEventKind::Note,
            task_state: None,
            step: None,
            target: None,
            action: None,
            executor: None,
            state: None,
            attempt: None,
            interruption: None,
            message: String::new(),
        };
        Ok(self.shape(&event, blank))
    }

    /// The last event that was taken.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The plan, once it has begun.
    pub fn plan(&self) -> Option<&Plan> {
        self.state.plan.as_deref()
    }

    /// Why it ended as it did.
    pub fn message(&self) -> String {
        view::progress(&self.state).message
    }

    /// What the events so far have established.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The matrix of steps and targets.
    pub fn steps(&self) -> Vec<StepView> {
        let progress = view::progress(&self.state);
        progress.steps.into_iter().map(step_view).collect()
    }

    fn shape(&self, event: &Event, blank: TaskEvent) -> Option<TaskEvent> {
        let task = |state| TaskEvent {
            kind: TaskEventKind::Task,
            task_state: Some(state),
            ..blank.clone()
        };
        let packages = |target: TargetId, state, message: String| TaskEvent {
            kind: TaskEventKind::Packages,
            target: Some(self.name(target)),
            state: Some(state),
            message,
            ..blank.clone()
        };
        let step = |step: u32, state, message: String| TaskEvent {
            kind: TaskEventKind::Step,
            step: Some(step + 1),
            state: Some(state),
            message,
            ..blank.clone()
        };
        let subject = |step: u32, target: TargetId, state, message: String| TaskEvent {
            kind: TaskEventKind::Target,
            step: Some(step + 1),
            target: Some(self.name(target)),
            state: Some(state),
            message,
            ..blank.clone()
        };
        let action = |node: NodeRef, state, message: String| {
            let placed = self.place(node, blank.clone());
            TaskEvent {
                kind: TaskEventKind::Action,
                state: Some(state),
                message,
                ..placed
            }
        };
        let text = String::new;
        Some(match event {
            Event::NodeBlocked { node, .. } => {
                let executor = self.state.plan.as_deref().and_then(|plan| plan.node(*node));
                let on = executor.map_or_else(String::new, |node| self.name(node.executor));
                let message = event.blocked().map(|blocked| blocked.sentence(&on));
                action(*node, WorkState::Waiting, message.unwrap_or_default())
            }
            Event::DeploymentBegan { .. } => task(TaskState::Running),
            Event::AcquisitionOrdered { target, .. } => {
                packages(*target, WorkState::Running, text())
            }
            Event::AcquisitionPutOff {
                target, message, ..
            } => packages(*target, WorkState::Waiting, message.clone()),
            Event::AcquisitionDone {
                target,
                fetched_bytes,
                reused_bytes,
            } => packages(
                *target,
                WorkState::Succeeded,
                format!("{fetched_bytes} bytes sent, {reused_bytes} bytes reused"),
            ),
            Event::AcquisitionFailed { target, message } => {
                packages(*target, WorkState::Failed, message.clone())
            }
            Event::StepStarted { step: s, .. } => step(*s, WorkState::Running, text()),
            Event::StepSkipped { step: s, reason } => {
                step(*s, WorkState::Skipped, reason.sentence())
            }
            Event::StepFinished {
                step: s, failed, ..
            } => step(
                *s,
                work_state(view::step_end(&self.state, *s, *failed)),
                view::step_message(&self.state, *s),
            ),
            Event::SubjectStarted {
                step, subject: s, ..
            } => subject(*step, *s, WorkState::Running, text()),
            Event::SubjectPassedOver {
                step,
                subject: s,
                reason,
            } => {
                let failed = matches!(reason, SkipReason::Unjudgeable { .. });
                let state = if failed {
                    WorkState::NotStarted
                } else {
                    WorkState::Skipped
                };
                subject(*step, *s, state, reason.sentence())
            }
            Event::SubjectFinished {
                step,
                subject: s,
                failed,
                ..
            } => subject(*step, *s, self.subject_end(*step, *s, *failed), text()),
            Event::NodeWaiting { node, .. } => {
                let why = view::why_waiting(&self.state, *node, None);
                action(*node, WorkState::Waiting, why)
            }
            Event::NodeSkipped { node, reason } => {
                action(*node, WorkState::Skipped, reason.sentence())
            }
            Event::NodeFinished { node, end, .. } => action(
                *node,
                work_state(Status::from(end.outcome)),
                end.message.clone(),
            ),
            Event::AttemptOrdered { node, number, .. } => TaskEvent {
                attempt: Some(*number),
                ..action(*node, WorkState::Running, text())
            },
            Event::AttemptFinished {
                attempt,
                outcome,
                message,
                ..
            } => {
                // A success is told by its node; a failure may be tried again, so it is told here.
                if *outcome == Outcome::Succeeded {
                    return None;
                }
                let known = self.state.attempts.get(attempt)?;
                TaskEvent {
                    kind: TaskEventKind::Note,
                    attempt: Some(known.number),
                    ..action(
                        known.node,
                        work_state(Status::from(*outcome)),
                        message.clone(),
                    )
                }
            }
            Event::AttemptFinishedLate { attempt, end, .. } => {
                let known = self.state.attempts.get(attempt)?;
                let outcome = work_state(Status::from(end.outcome)).as_str();
                let against = known.contradiction().map_or_else(String::new, |(said, _)| {
                    format!(
                        ", which contradicts {}, who resolved it as {}",
                        said.by,
                        said.ended.word()
                    )
                });
                TaskEvent {
                    message: format!("its agent said later how it ended: {outcome}{against}"),
                    attempt: Some(known.number),
                    ..self.place(known.node, blank)
                }
            }
            Event::AttemptResolved {
                attempt,
                ended,
                by,
                reason,
                ..
            } => {
                let known = self.state.attempts.get(attempt)?;
                TaskEvent {
                    message: format!("{by} resolved it as {}: {reason}", ended.word()),
                    attempt: Some(known.number),
                    ..self.place(known.node, blank)
                }
            }
            Event::CancelRequested { by, .. } => TaskEvent {
                message: format!("{by} asked for it to stop"),
                ..task(TaskState::Cancelling)
            },
            Event::InterruptionRaised {
                number, question, ..
            } => self.asked(*number, question, blank),
            Event::InterruptionAnswered { number, given } => {
                let notes = match given.notes.as_str() {
                    "" => String::new(),
                    notes => format!(": {notes}"),
                };
                TaskEvent {
                    interruption: Some(*number),
                    message: format!("{} answered '{}'{notes}", given.by, given.answer),
                    ..blank
                }
            }
            Event::InterruptionClosed { number, how, .. } => {
                return self.closed(*number, *how, blank);
            }
            Event::SubjectExcluded {
                step, subject, by, ..
            } => TaskEvent {
                step: Some(step + 1),
                target: Some(self.name(*subject)),
                message: format!("{by} said to go on without it"),
                ..blank
            },
            Event::StepTimedOut { step: s, .. } => TaskEvent {
                kind: TaskEventKind::Note,
                ..step(
                    *s,
                    WorkState::TimedOut,
                    format!(
                        "{}; what runs in it is stopped",
                        view::step_late(&self.state, *s)
                    ),
                )
            },
            Event::DeploymentTimedOut { .. } => TaskEvent {
                message: format!(
                    "{}; what runs is stopped",
                    view::deployment_late(&self.state)
                ),
                ..task(TaskState::Cancelling)
            },
            Event::AttemptStarted { .. }
            | Event::AttemptSeenRunning { .. }
            | Event::CancelDelivered { .. } => return None,
            Event::DeploymentFinished {
                verdict, message, ..
            } => TaskEvent {
                message: message.clone(),
                ..task(verdict_state(*verdict))
            },
        })
    }

    /// A question, where it is asked.
    fn asked(&self, number: u32, question: &Question, blank: TaskEvent) -> TaskEvent {
        let placed = match question.node() {
            Some(node) => TaskEvent {
                kind: TaskEventKind::Action,
                ..self.place(node, blank)
            },
            None => TaskEvent {
                kind: TaskEventKind::Step,
                step: Some(question.step() + 1),
                ..blank
            },
        };
        TaskEvent {
            state: Some(WorkState::Waiting),
            interruption: Some(number),
            message: view::asks(question),
            ..placed
        }
    }

    /// What became of a question. Of an action its own next event says what comes of it.
    fn closed(&self, number: u32, how: Closed, blank: TaskEvent) -> Option<TaskEvent> {
        let question = &self.state.interruptions.get(&number)?.question;
        let message = match how {
            Closed::Answered(_) => "",
            Closed::Expired => "nobody answered in time",
            Closed::Cancelled => "it is not waited for any more: the task is to stop",
            Closed::Moot => "it is of no concern any more: the target was excluded",
            Closed::Resolved => "it is of no concern any more: how the attempt ended is known now",
        };
        let note = TaskEvent {
            interruption: Some(number),
            message: message.to_owned(),
            ..blank
        };
        match (question.node(), how) {
            (None, _) => Some(TaskEvent {
                kind: TaskEventKind::Step,
                step: Some(question.step() + 1),
                state: Some(WorkState::Running),
                interruption: None,
                ..note
            }),
            (Some(_), Closed::Answered(_)) => None,
            (Some(_), Closed::Expired | Closed::Cancelled | Closed::Moot | Closed::Resolved) => {
                Some(note)
            }
        }
    }

    /// In the word that the matrix has for it.
    fn subject_end(&self, step: u32, subject: TargetId, failed: bool) -> WorkState {
        if !failed {
            return WorkState::Succeeded;
        }
        view::subject_status(&self.state, step, subject).map_or(WorkState::Failed, work_state)
    }

    fn place(&self, node: NodeRef, blank: TaskEvent) -> TaskEvent {
        let plan = self.state.plan.as_deref();
        let planned = plan.and_then(|plan| plan.node(node));
        let action = plan.and_then(|plan| plan.action(node));
        TaskEvent {
            step: Some(node.step + 1),
            action: action.map(|action| action.name.clone()),
            target: planned.map(|node| self.name(node.subject)),
            executor: planned.map(|node| self.name(node.executor)),
            ..blank
        }
    }

    fn name(&self, target: TargetId) -> String {
        if target == NO_TARGET {
            return view::ON_SERVER.to_owned();
        }
        let plan = self.state.plan.as_deref();
        plan.and_then(|plan| plan.target(target))
            .map_or_else(|| target.to_string(), |target| target.name.clone())
    }
}

fn verdict_state(verdict: Verdict) -> TaskState {
    match verdict {
        Verdict::Succeeded => TaskState::Succeeded,
        Verdict::Failed => TaskState::Failed,
        Verdict::Cancelled => TaskState::Cancelled,
        Verdict::TimedOut => TaskState::TimedOut,
    }
}

fn step_view(step: view::StepProgress) -> StepView {
    StepView {
        number: step.number,
        name: step.name,
        state: work_state(step.status),
        message: step.message,
        targets: step.subjects.into_iter().map(subject_view).collect(),
    }
}

fn subject_view(subject: view::SubjectProgress) -> SubjectView {
    SubjectView {
        target: subject.target,
        state: work_state(subject.status),
        started_at: subject.began,
        ended_at: subject.ended,
        actions: subject.actions.into_iter().map(action_view).collect(),
    }
}

fn action_view(action: view::ActionProgress) -> ActionView {
    ActionView {
        name: action.name,
        uses: action.uses,
        executor: action.executor,
        state: work_state(action.status),
        attempts: action.attempts,
        exit_code: action.exit_code,
        message: action.message,
        started_at: action.began,
        ended_at: action.ended,
        interruption: action.interruption,
        resolution: action.resolution.map(|said| ActionResolution {
            ended: said.ended.word().to_owned(),
            by: said.by,
            reason: said.reason,
            at: said.at,
            contradicted: said.is_contradicted,
        }),
        said_late: action.said_late.map(work_state),
    }
}

fn work_state(status: Status) -> WorkState {
    match status {
        Status::Pending => WorkState::Pending,
        Status::Waiting => WorkState::Waiting,
        Status::Running => WorkState::Running,
        Status::Succeeded => WorkState::Succeeded,
        Status::Failed => WorkState::Failed,
        Status::TimedOut => WorkState::TimedOut,
        Status::Cancelled => WorkState::Cancelled,
        Status::Skipped => WorkState::Skipped,
        Status::NotStarted => WorkState::NotStarted,
        Status::Interrupted => WorkState::Interrupted,
        Status::Unknown => WorkState::Unknown,
        Status::Abandoned => WorkState::Abandoned,
    }
}

/// Microseconds as the API shows them.
pub(super) fn moment(us: i64) -> Timestamp {
    super::at(us)
}
