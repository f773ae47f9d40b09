//! What people say of attempts whose end nobody knows. A row is written by whoever takes the word and
//! is taken in by the server that drives the task, or by any once the task is over; from then on the
//! task's events say the same.

use mantle_domain::ids::{AttemptId, TargetId, TaskId};
use mantle_domain::state::ResolvedAs;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Column, Param, Row, ToParam, params};

/// What a person said of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolutionRow {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its task.
    pub task_id: TaskId,
    /// What it was, for people, such as `'Install' on web01`.
    pub about: String,
    /// How it ended.
    pub ended: ResolvedAs,
    /// Who said so.
    pub resolved_by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at_us: i64,
    /// When it was taken in.
    pub taken_at_us: Option<i64>,
}

/// Notes what a person said. False if somebody has said something of this attempt before, which holds.
pub async fn resolution_insert(tx: &mut Tx, row: &ResolutionRow) -> Result<bool> {
    let touched = tx
        .exec(
            "INSERT INTO resolution (attempt_id, task_id, about, ended, resolved_by, reason, at_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (attempt_id) DO NOTHING",
            params![
                row.attempt_id,
                row.task_id,
                row.about,
                row.ended,
                row.resolved_by,
                row.reason,
                row.at_us,
            ],
        )
        .await?;
    Ok(touched == 1)
}

/// It was taken in: the task's events say it now.
pub async fn resolution_mark_taken(tx: &mut Tx, attempt: AttemptId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE resolution SET taken_at_us = $2 WHERE attempt_id = $1",
        params![attempt, at_us],
        StoreError::not_found("resolution"),
    )
    .await
}

/// What was said is not needed, and was never taken in: its agent says it itself.
pub async fn resolution_delete(tx: &mut Tx, attempt: AttemptId) -> Result<()> {
    tx.exec(
        "DELETE FROM resolution WHERE attempt_id = $1 AND taken_at_us IS NULL",
        params![attempt],
    )
    .await
    .map(|_| ())
}

/// What was said of an attempt, if anything was.
pub async fn resolution_find(tx: &mut Tx, attempt: AttemptId) -> Result<Option<ResolutionRow>> {
    tx.row(
        "SELECT * FROM resolution WHERE attempt_id = $1",
        params![attempt],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// What is not taken in yet, the oldest first.
pub async fn resolution_list_pending(tx: &mut Tx, limit: u32) -> Result<Vec<ResolutionRow>> {
    tx.rows(
        "SELECT * FROM resolution WHERE taken_at_us IS NULL ORDER BY at_us, attempt_id LIMIT $1",
        params![limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// All that was said within a task, in order.
pub async fn resolution_list_of_task(tx: &mut Tx, task: TaskId) -> Result<Vec<ResolutionRow>> {
    tx.rows(
        "SELECT * FROM resolution WHERE task_id = $1 ORDER BY at_us, attempt_id LIMIT 10000",
        params![task],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// What was said of the work that brought a target to where it is now, with the task's number.
pub async fn resolution_list_of_target(
    tx: &mut Tx,
    target: TargetId,
    limit: u32,
) -> Result<Vec<(u64, ResolutionRow)>> {
    tx.rows(
        "SELECT r.*, t.number FROM resolution r
         JOIN attempt a ON a.id = r.attempt_id
         JOIN task t ON t.id = r.task_id
         JOIN target_current c ON c.task_id = r.task_id AND c.target_id = a.subject_id
         WHERE a.subject_id = $1 ORDER BY r.at_us DESC, r.attempt_id LIMIT $2",
        params![target, limit],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("number")?, read(row)?)))
    .collect()
}

impl ToParam for ResolvedAs {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        Param::Text(Some(self.word().to_owned()))
    }
}

impl Column for ResolvedAs {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        raw.parse().ok()
    }
}

fn read(row: &Row) -> Result<ResolutionRow> {
    Ok(ResolutionRow {
        attempt_id: row.get("attempt_id")?,
        task_id: row.get("task_id")?,
        about: row.get("about")?,
        ended: row.get("ended")?,
        resolved_by: row.get("resolved_by")?,
        reason: row.get("reason")?,
        at_us: row.get("at_us")?,
        taken_at_us: row.find("taken_at_us")?,
    })
}
