//! The events of a task: the facts from which its state is folded. They are only ever added.

use mantle_domain::ids::TaskId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// An event to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTaskEvent {
    /// When it was decided.
    pub at_us: i64,
    /// The event, as versioned JSON.
    pub body: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEventRow {
    /// Its number in the task, from 1, without gaps.
    pub seq: u64,
    /// When it was decided.
    pub at_us: i64,
    /// The event, as versioned JSON.
    pub body: String,
}

/// Adds events in order, if the task is not over and this epoch is its lease's. Says which number
/// the first one got.
pub async fn task_event_append(
    tx: &mut Tx,
    task: TaskId,
    epoch: u64,
    events: &[NewTaskEvent],
) -> Result<u64> {
    let next: u64 = tx
        .row(
            "UPDATE task SET next_event = next_event + $3
             WHERE id = $1 AND lease_epoch = $2 AND lease_node IS NOT NULL AND state <> 'done'
             RETURNING next_event",
            params![task, epoch, events.len()],
        )
        .await?
        .ok_or(StoreError::conflict("task"))?
        .get("next_event")?;
    let first = next - events.len() as u64;
    for (seq, event) in (first..).zip(events) {
        tx.exec(
            "INSERT INTO task_event (task_id, seq, at_us, body) VALUES ($1, $2, $3, $4)",
            params![task, seq, event.at_us, event.body],
        )
        .await?;
    }
    Ok(first)
}

/// Events with a higher number than this, in order. 0 reads from the start.
pub async fn task_event_list(
    tx: &mut Tx,
    task: TaskId,
    after: u64,
    limit: u32,
) -> Result<Vec<TaskEventRow>> {
    tx.rows(
        "SELECT seq, at_us, body FROM task_event WHERE task_id = $1 AND seq > $2
         ORDER BY seq LIMIT $3",
        params![task, after, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &Row) -> Result<TaskEventRow> {
    Ok(TaskEventRow {
        seq: row.get("seq")?,
        at_us: row.get("at_us")?,
        body: row.get("body")?,
    })
}
