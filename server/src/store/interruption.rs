//! What deployments ask people, and what they answered. The events of a task say the same; these
//! rows are what people look for and write to, whichever server drives the task.

use mantle_domain::ids::TaskId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// Something that people were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptionRow {
    /// The task.
    pub task_id: TaskId,
    /// Its number within the task, from 1.
    pub number: u32,
    /// What is asked and about what, as JSON.
    pub body: String,
    /// When.
    pub raised_at_us: i64,
    /// It is over if nobody has answered by then.
    pub deadline_us: i64,
    /// Who takes care of it.
    pub taken_by: Option<String>,
    /// Since when.
    pub taken_at_us: Option<i64>,
    /// What became of it, as JSON.
    pub closed: Option<String>,
    /// When it was over.
    pub closed_at_us: Option<i64>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptionAnswerRow {
    /// The interruption's number within the task.
    pub number: u32,
    /// Who.
    pub answered_by: String,
    /// What: a word.
    pub answer: String,
    /// What they said about it.
    pub notes: String,
    /// When.
    pub at_us: i64,
}

/// Adds one that was raised.
pub async fn interruption_insert(tx: &mut Tx, row: &InterruptionRow) -> Result<()> {
    tx.exec(
        "INSERT INTO interruption (task_id, number, body, raised_at_us, deadline_us)
         VALUES ($1, $2, $3, $4, $5)",
        params![
            row.task_id,
            row.number,
            row.body,
            row.raised_at_us,
            row.deadline_us,
        ],
    )
    .await
    .map(|_| ())
    .map_err(|error| error.naming("interruption"))
}

/// It is over.
pub async fn interruption_mark_closed(
    tx: &mut Tx,
    task: TaskId,
    number: u32,
    closed: &str,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE interruption SET closed = $3, closed_at_us = $4
         WHERE task_id = $1 AND number = $2 AND closed_at_us IS NULL",
        params![task, number, closed, at_us],
        StoreError::conflict("interruption"),
    )
    .await
}

/// Somebody takes care of it. A conflict if it is over.
pub async fn interruption_mark_taken(
    tx: &mut Tx,
    task: TaskId,
    number: u32,
    by: &str,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE interruption SET taken_by = $3, taken_at_us = $4
         WHERE task_id = $1 AND number = $2 AND closed_at_us IS NULL",
        params![task, number, by, at_us],
        StoreError::conflict("interruption"),
    )
    .await
}

/// Somebody answers. A conflict if it is over, or if they gave this answer before.
pub async fn interruption_answer_insert(
    tx: &mut Tx,
    task: TaskId,
    row: &InterruptionAnswerRow,
) -> Result<()> {
    // Writing to it, though nothing is changed, is what a server that closes it meets.
    tx.exec_one(
        "UPDATE interruption SET taken_by = taken_by
         WHERE task_id = $1 AND number = $2 AND closed_at_us IS NULL",
        params![task, row.number],
        StoreError::conflict("interruption"),
    )
    .await?;
    tx.exec(
        "INSERT INTO interruption_answer (task_id, number, answered_by, answer, notes, at_us)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            task,
            row.number,
            row.answered_by,
            row.answer,
            row.notes,
            row.at_us,
        ],
    )
    .await
    .map(|_| ())
    .map_err(|error| error.naming("interruption"))
}

/// One of a task.
pub async fn interruption_find(
    tx: &mut Tx,
    task: TaskId,
    number: u32,
) -> Result<Option<InterruptionRow>> {
    tx.row(
        "SELECT * FROM interruption WHERE task_id = $1 AND number = $2",
        params![task, number],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// All of a task, in order.
pub async fn interruption_list_of_task(
    tx: &mut Tx,
    task: TaskId,
    limit: u32,
) -> Result<Vec<InterruptionRow>> {
    tx.rows(
        "SELECT * FROM interruption WHERE task_id = $1 ORDER BY number LIMIT $2",
        params![task, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Those that are open, of every task, the oldest first.
pub async fn interruption_list_open(tx: &mut Tx, limit: u32) -> Result<Vec<InterruptionRow>> {
    tx.rows(
        "SELECT * FROM interruption WHERE closed_at_us IS NULL
         ORDER BY raised_at_us, task_id, number LIMIT $1",
        params![limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// All answers within a task, in the order in which they were given.
pub async fn interruption_answer_list(
    tx: &mut Tx,
    task: TaskId,
) -> Result<Vec<InterruptionAnswerRow>> {
    tx.rows(
        "SELECT * FROM interruption_answer WHERE task_id = $1
         ORDER BY at_us, number, answered_by, answer LIMIT 10000",
        params![task],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(InterruptionAnswerRow {
            number: row.get("number")?,
            answered_by: row.get("answered_by")?,
            answer: row.get("answer")?,
            notes: row.get("notes")?,
            at_us: row.get("at_us")?,
        })
    })
    .collect()
}

/// What somebody let go on in questions that are still open counts no more. Gives the tasks that asked.
pub async fn interruption_answer_withdraw(
    tx: &mut Tx,
    by: &str,
    at_us: i64,
) -> Result<Vec<TaskId>> {
    let rows = tx
        .rows(
            "SELECT answer.task_id, answer.number FROM interruption_answer answer
             JOIN interruption ON interruption.task_id = answer.task_id
                 AND interruption.number = answer.number
             WHERE answer.answered_by = $1 AND answer.answer = 'proceed'
                 AND interruption.closed_at_us IS NULL
             ORDER BY answer.task_id, answer.number LIMIT 10000",
            params![by],
        )
        .await?;
    let mut tasks = Vec::with_capacity(rows.len());
    for row in &rows {
        let task: TaskId = row.get("task_id")?;
        let number: u32 = row.get("number")?;
        tx.exec(
            "INSERT INTO interruption_answer (task_id, number, answered_by, answer, notes, at_us)
             VALUES ($1, $2, $3, 'withdrawn', '', $4)
             ON CONFLICT (task_id, number, answered_by, answer) DO NOTHING",
            params![task, number, by, at_us],
        )
        .await?;
        tasks.push(task);
    }
    Ok(tasks)
}

/// Notes since when nothing but a person is awaited in a task, or that something else goes on.
pub async fn task_mark_awaiting(
    tx: &mut Tx,
    task: TaskId,
    epoch: u64,
    since_us: Option<i64>,
) -> Result<()> {
    let sql = match since_us {
        Some(_) => {
            "UPDATE task SET awaits_person_since_us = COALESCE(awaits_person_since_us, $3)
             WHERE id = $1 AND lease_epoch = $2"
        }
        None => "UPDATE task SET awaits_person_since_us = $3 WHERE id = $1 AND lease_epoch = $2",
    };
    tx.exec_one(
        sql,
        params![task, epoch, since_us],
        StoreError::conflict("task"),
    )
    .await
}

fn read(row: &Row) -> Result<InterruptionRow> {
    Ok(InterruptionRow {
        task_id: row.get("task_id")?,
        number: row.get("number")?,
        body: row.get("body")?,
        raised_at_us: row.get("raised_at_us")?,
        deadline_us: row.get("deadline_us")?,
        taken_by: row.find("taken_by")?,
        taken_at_us: row.find("taken_at_us")?,
        closed: row.find("closed")?,
        closed_at_us: row.find("closed_at_us")?,
    })
}
