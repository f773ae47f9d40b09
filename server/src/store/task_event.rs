//! The events of a task: the facts from which its state is folded. They are only ever added.

use mantle_domain::ids::TaskId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// How many events one statement adds: a step on a thousand targets has thousands of them, and each
/// statement costs more than its row.
const AT_ONCE: usize = 16;
const INSERT_SEVERAL: &str = "INSERT INTO task_event (task_id, seq, at_us, body) VALUES \
    ($1, $2, $3, $4), ($1, $5, $6, $7), ($1, $8, $9, $10), ($1, $11, $12, $13), \
    ($1, $14, $15, $16), ($1, $17, $18, $19), ($1, $20, $21, $22), ($1, $23, $24, $25), \
    ($1, $26, $27, $28), ($1, $29, $30, $31), ($1, $32, $33, $34), ($1, $35, $36, $37), \
    ($1, $38, $39, $40), ($1, $41, $42, $43), ($1, $44, $45, $46), ($1, $47, $48, $49)";

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

/// What [`task_event_append`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsAppended {
    /// They stand there now.
    Now,
    /// The very same stood there before: an earlier commit was kept although its answer was lost.
    Before,
}

/// Adds events in order from this number on, if it is the next one, the task is not over and this
/// epoch is its lease's.
pub async fn task_event_append(
    tx: &mut Tx,
    task: TaskId,
    epoch: u64,
    first: u64,
    events: &[NewTaskEvent],
) -> Result<EventsAppended> {
    let touched = tx
        .exec(
            "UPDATE task SET next_event = next_event + $4
             WHERE id = $1 AND lease_epoch = $2 AND next_event = $3 AND lease_node IS NOT NULL
               AND state <> 'done'",
            params![task, epoch, first, events.len()],
        )
        .await?;
    if touched == 0 {
        let limit = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let standing = task_event_list(tx, task, first.saturating_sub(1), limit).await?;
        let bodies = standing.iter().map(|row| &row.body);
        return if !events.is_empty() && bodies.eq(events.iter().map(|event| &event.body)) {
            Ok(EventsAppended::Before)
        } else {
            Err(StoreError::conflict("task"))
        };
    }
    let mut seq = first;
    let (many, rest) = events.as_chunks::<AT_ONCE>();
    for several in many {
        let mut values = params![task];
        for event in several {
            values.extend(params![seq, event.at_us, event.body]);
            seq += 1;
        }
        tx.exec(INSERT_SEVERAL, values).await?;
    }
    for event in rest {
        tx.exec(
            "INSERT INTO task_event (task_id, seq, at_us, body) VALUES ($1, $2, $3, $4)",
            params![task, seq, event.at_us, event.body],
        )
        .await?;
        seq += 1;
    }
    Ok(EventsAppended::Now)
}

/// Adds what became known of a task after its end: it changes no verdict. False, and nothing is added,
/// if the task is not over.
pub async fn task_event_append_after_end(
    tx: &mut Tx,
    task: TaskId,
    event: &NewTaskEvent,
) -> Result<bool> {
    let row = tx
        .row(
            "SELECT next_event FROM task WHERE id = $1 AND state = 'done'",
            params![task],
        )
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let seq: u64 = row.get("next_event")?;
    tx.exec_one(
        "UPDATE task SET next_event = next_event + 1 WHERE id = $1 AND next_event = $2",
        params![task, seq],
        StoreError::conflict("task"),
    )
    .await?;
    tx.exec(
        "INSERT INTO task_event (task_id, seq, at_us, body) VALUES ($1, $2, $3, $4)",
        params![task, seq, event.at_us, event.body],
    )
    .await?;
    Ok(true)
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
