//! What people are asked, as rows that they look for, and what they answered, as inputs.
//!
//! An answer is written by whoever takes it, with its audit row; here it is only found, at a hint
//! or at the next sweep, so that none is lost with a server.

use jiff::Timestamp;
use mantle_domain::interruption::{Given, Question};
use mantle_domain::plan::NO_TARGET;
use mantle_domain::state::{Closed, State, view};
use mantle_shared::ids::{TargetId, TaskId};
use serde_json::json;

use super::Orchestrator;
use super::active::Context;
use super::commit::{audit, moment};
use crate::services::InterruptionBody;
use crate::store::{
    InterruptionAnswerRow, InterruptionRow, StoreError, Tx, interruption_answer_list,
    interruption_insert, interruption_mark_closed, task_mark_awaiting,
};

impl Orchestrator {
    /// Looks again at every deployment that asks something: a hint can be lost.
    pub(super) fn find_answers(&mut self) {
        let asks = self
            .deployments
            .iter()
            .filter(|(_, deployment)| deployment.state.open_interruptions().next().is_some());
        self.answered.extend(asks.map(|(task, _)| *task));
    }

    /// Reads what was answered in these tasks and is not taken in yet.
    pub(super) async fn read_answers(&mut self, tasks: &[TaskId]) {
        if tasks.is_empty() {
            return;
        }
        let Ok(mut tx) = self.parts.store.read().await else {
            return;
        };
        for task in tasks {
            let Some(deployment) = self.deployments.get_mut(task) else {
                continue;
            };
            match interruption_answer_list(&mut tx, *task).await {
                Ok(rows) => deployment.answers = new_answers(&deployment.state, rows),
                Err(error) => tracing::warn!(
                    task.id = %task,
                    error = &error as &dyn std::error::Error,
                    "what was answered cannot be read; it is looked at again"
                ),
            }
        }
    }
}

/// The answers to what is open that the state does not know.
fn new_answers(state: &State, rows: Vec<InterruptionAnswerRow>) -> Vec<(u32, Given)> {
    let mut found = Vec::new();
    for row in rows {
        let Some(known) = state.interruptions.get(&row.number) else {
            continue;
        };
        let Ok(answer) = row.answer.parse() else {
            tracing::error!(answer = row.answer, "a stored answer is no answer");
            continue;
        };
        let same = |given: &Given| given.by == row.answered_by && given.answer == answer;
        if known.closed.is_none() && !known.given.iter().any(same) {
            let given = Given {
                by: row.answered_by,
                answer,
                notes: row.notes,
                at: moment(row.at_us),
            };
            found.push((row.number, given));
        }
    }
    found
}

/// A question, with the names of what it is about.
pub(super) async fn write_raised(
    tx: &mut Tx,
    context: &Context,
    next: &State,
    number: u32,
    question: &Question,
    deadline: Timestamp,
    now_us: i64,
) -> Result<(), StoreError> {
    let body = body(next, question);
    let detail = json!({
        "interruption": format!("{}.{number}", context.number),
        "asks": view::asks(question),
        "step": &body.step,
        "action": &body.action,
        "target": &body.target,
    });
    let body = serde_json::to_string(&body)
        .map_err(|error| StoreError::corrupt(format!("a question to be written: {error}")))?;
    let row = InterruptionRow {
        task_id: context.task,
        number,
        body,
        raised_at_us: now_us,
        deadline_us: deadline.as_microsecond(),
        taken_by: None,
        taken_at_us: None,
        closed: None,
        closed_at_us: None,
    };
    interruption_insert(tx, &row).await?;
    audit(tx, context, "interruption.raise", detail, now_us).await
}

fn body(next: &State, question: &Question) -> InterruptionBody {
    let plan = next.plan.as_deref();
    let name = |target: TargetId| {
        let known = plan.and_then(|plan| plan.target(target));
        match known {
            Some(target) => target.name.clone(),
            None if target == NO_TARGET => String::new(),
            None => target.to_string(),
        }
    };
    let node = question.node();
    let planned = plan.zip(node).and_then(|(plan, node)| plan.node(node));
    let action = plan.zip(node).and_then(|(plan, node)| plan.action(node));
    let step = plan.and_then(|plan| plan.step(question.step()));
    let subject = match question {
        Question::Pause { subject, .. } => Some(*subject),
        Question::Failure { .. } | Question::Manual { .. } => {
            planned.map(|planned| planned.subject)
        }
    };
    InterruptionBody {
        question: question.clone(),
        step: step.map_or_else(String::new, |step| step.name.clone()),
        action: action.map_or_else(String::new, |action| action.name.clone()),
        target: subject.map_or_else(String::new, name),
        executor: planned.map_or_else(String::new, |planned| name(planned.executor)),
    }
}

/// What became of a question.
pub(super) async fn write_closed(
    tx: &mut Tx,
    context: &Context,
    number: u32,
    how: Closed,
    now_us: i64,
) -> Result<(), StoreError> {
    let closed = serde_json::to_string(&how)
        .map_err(|error| StoreError::corrupt(format!("an answer to be written: {error}")))?;
    interruption_mark_closed(tx, context.task, number, &closed, now_us).await?;
    let detail = json!({
        "interruption": format!("{}.{number}", context.number),
        "how": how,
    });
    audit(tx, context, "interruption.close", detail, now_us).await
}

/// Whether nothing but a person is awaited: such a task takes no place among those that run.
pub(super) async fn write_awaiting(
    tx: &mut Tx,
    context: &Context,
    epoch: u64,
    next: &State,
    now_us: i64,
) -> Result<(), StoreError> {
    // What is over awaits nobody, and its end says so; what never asked has nothing to take back.
    if next.is_finished() || next.interruptions.is_empty() {
        return Ok(());
    }
    let since = next.awaits_person().then_some(now_us);
    task_mark_awaiting(tx, context.task, epoch, since).await
}
