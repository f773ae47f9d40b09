//! Whose an attempt is, for lines that the server itself writes into a task's log: such a line stands under
//! no step and no target, so it names both.

use mantle_domain::plan::Plan;
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::lock::Lock;

use super::error::{Error, Result};
use super::tasks::read_events;
use crate::store::{AttemptRow, Store, StoreError, Tx, attempt_find};

/// Which step, about which target: `step 'Install' on web01`. Of what cannot be read only that is said, for
/// the line matters more.
pub async fn whose(store: &Store, task: TaskId, attempt: AttemptId) -> String {
    let read = async {
        let mut tx = store.read().await?;
        let row = attempt_find(&mut tx, attempt).await?;
        let row = row.ok_or(StoreError::not_found("attempt"))?;
        let events = read_events(&mut tx, task).await?;
        Ok::<_, Error>(events.plan().and_then(|plan| words(plan, &row)))
    };
    let named: Result<Option<String>> = read.await;
    let named = named.ok().flatten();
    named.unwrap_or_else(|| "a step that is not known any more".to_owned())
}

/// The name of an attempt's action, and the locks that it holds; nothing if its task has no plan.
pub async fn planned(
    tx: &mut Tx,
    row: &AttemptRow,
) -> std::result::Result<Option<(String, Vec<Lock>)>, StoreError> {
    let events = read_events(tx, row.task_id).await;
    let events =
        events.map_err(|error| StoreError::corrupt(format!("the events of a task: {error}")))?;
    let step = events.plan().and_then(|plan| plan.step(row.step));
    let action = step.and_then(|step| step.actions.get(row.action as usize));
    Ok(action.map(|action| (action.name.clone(), action.locks_of(row.subject_id))))
}

/// How long an attempt has between being asked to end and being made to, in milliseconds; nothing if its
/// task has no plan.
pub async fn grace_of(
    tx: &mut Tx,
    row: &AttemptRow,
) -> std::result::Result<Option<u64>, StoreError> {
    let events = read_events(tx, row.task_id).await;
    let events =
        events.map_err(|error| StoreError::corrupt(format!("the events of a task: {error}")))?;
    let step = events.plan().and_then(|plan| plan.step(row.step));
    let action = step.and_then(|step| step.actions.get(row.action as usize));
    Ok(action.map(|action| action.grace_ms))
}

fn words(plan: &Plan, row: &AttemptRow) -> Option<String> {
    let step = plan.step(row.step)?;
    let action = step.actions.get(row.action as usize)?;
    let mut words = format!("step '{}'", step.name);
    // A step of one action mostly has its name.
    if action.name != step.name {
        words = format!("{words} (action '{}')", action.name);
    }
    let subject = &plan.target(row.subject_id)?.name;
    let executor = &plan.target(row.executor_id)?.name;
    words = format!("{words} on {subject}");
    if executor != subject {
        words = format!("{words} (run on {executor})");
    }
    Some(words)
}
