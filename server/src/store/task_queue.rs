//! The queue: the tasks that wait, as far as their order hangs on it.

use mantle_domain::ids::{ProjectId, TaskId};
use mantle_domain::queue::Priority;

use super::error::{Result, StoreError};
use super::task::TaskKind;
use super::tx::Tx;
use super::value::{Row, params};

/// A task that waits or runs, without what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its id.
    pub id: TaskId,
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: TaskKind,
    /// The project that it is about.
    pub project_id: Option<ProjectId>,
    /// Of tasks with the same key one runs at a time.
    pub queue_key: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was moved to the top.
    pub moved_up_at_us: Option<i64>,
    /// It does not begin before.
    pub not_before_us: Option<i64>,
    /// It does not begin any more from then on.
    pub expires_at_us: Option<i64>,
    /// Since when nothing but a person is awaited in it.
    pub awaits_person_since_us: Option<i64>,
}

/// The tasks that wait, the oldest first.
pub async fn task_queue_list(tx: &mut Tx, limit: u32) -> Result<Vec<QueueRow>> {
    tx.rows(
        "SELECT id, number, kind, project_id, queue_key, priority, moved_up_at_us, not_before_us,
             expires_at_us, awaits_person_since_us
         FROM task WHERE state = 'queued' ORDER BY number LIMIT $1",
        params![limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The tasks that run, the oldest first.
pub async fn task_queue_list_running(tx: &mut Tx) -> Result<Vec<QueueRow>> {
    tx.rows(
        "SELECT id, number, kind, project_id, queue_key, priority, moved_up_at_us, not_before_us,
             expires_at_us, awaits_person_since_us
         FROM task WHERE state = 'running' ORDER BY number",
        params![],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// How urgent the tasks were that began last, and whether they had been moved to the top; the
/// latest first. Those of a kind that takes no turns do not count.
pub async fn task_start_list(tx: &mut Tx, limit: u32) -> Result<Vec<(Priority, Option<i64>)>> {
    tx.rows(
        "SELECT priority, moved_up_at_us FROM task
         WHERE started_at_us IS NOT NULL AND kind <> $2
         ORDER BY started_at_us DESC, number DESC LIMIT $1",
        params![limit, TaskKind::HealthCheck],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("priority")?, row.find("moved_up_at_us")?)))
    .collect()
}

/// Moves a task that waits to the top. A conflict if it does not wait.
pub async fn task_mark_moved_up(tx: &mut Tx, id: TaskId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET moved_up_at_us = $2 WHERE id = $1 AND state = 'queued'",
        params![id, at_us],
        StoreError::conflict("task"),
    )
    .await
}

fn read(row: &Row) -> Result<QueueRow> {
    Ok(QueueRow {
        id: row.get("id")?,
        number: row.get("number")?,
        kind: row.get("kind")?,
        project_id: row.find("project_id")?,
        queue_key: row.find("queue_key")?,
        priority: row.get("priority")?,
        moved_up_at_us: row.find("moved_up_at_us")?,
        not_before_us: row.find("not_before_us")?,
        expires_at_us: row.find("expires_at_us")?,
        awaits_person_since_us: row.find("awaits_person_since_us")?,
    })
}
