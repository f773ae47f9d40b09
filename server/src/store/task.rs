//! Tasks: anything queued. A deployment's id is its task's.
//!
//! `queued -> running -> done`, or `queued -> done` when it is cancelled before it began. Of the
//! tasks with the same queue key one runs at a time; an index sees to it.

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TaskId};
use mantle_domain::queue::Priority;
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::ids::NodeId;
use super::server_meta::counter_next;
use super::tx::Tx;
use super::value::{Row, params, word_enum};

word_enum! {
    /// What a task is.
    pub enum TaskKind {
        /// A release into an environment.
        Deployment = "deployment",
        /// A check of targets.
        HealthCheck = "health-check",
        /// An upgrade of agents.
        Upgrade = "upgrade",
        /// A runbook.
        Runbook = "runbook",
    }
}

word_enum! {
    /// Where a task stands.
    pub enum TaskState {
        /// It waits for its turn.
        Queued = "queued",
        /// It is under way.
        Running = "running",
        /// It is over.
        Done = "done",
    }
}

word_enum! {
    /// How a task ended.
    pub enum TaskOutcome {
        /// It did what it should.
        Succeeded = "succeeded",
        /// It did not.
        Failed = "failed",
        /// It ran out of time.
        TimedOut = "timed-out",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// What became of a part of it cannot be known.
        Unknown = "unknown",
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its number; people see `T-1042`.
    pub number: u64,
    /// What it is.
    pub kind: TaskKind,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub outcome: Option<TaskOutcome>,
    /// Something in it is worth a look although it went on.
    pub has_warnings: bool,
    /// What it does, for people.
    pub title: String,
    /// The project that it is about.
    pub project_id: Option<ProjectId>,
    /// The environment that it is about.
    pub environment_id: Option<EnvironmentId>,
    /// The release that it deploys.
    pub release_id: Option<ReleaseId>,
    /// Of tasks with the same key one runs at a time.
    pub queue_key: Option<String>,
    /// What was asked, as JSON.
    pub body: String,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was moved to the top of the queue.
    pub moved_up_at_us: Option<i64>,
    /// It does not begin before.
    pub not_before_us: Option<i64>,
    /// It does not begin any more from then on.
    pub expires_at_us: Option<i64>,
    /// When it was queued.
    pub created_at_us: i64,
    /// Who queued it.
    pub created_by: String,
    /// When it began.
    pub started_at_us: Option<i64>,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// When somebody asked to stop it.
    pub cancel_at_us: Option<i64>,
    /// Who.
    pub cancel_by: Option<String>,
    /// When its log was removed to make room.
    pub log_removed_at_us: Option<i64>,
    /// Since when nothing but a person is awaited in it.
    pub awaits_person_since_us: Option<i64>,
    /// Who drives it.
    pub lease: Option<Lease>,
    /// The number that its next event gets.
    pub next_event: u64,
}

/// A server node's right to drive a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub node: NodeId,
    /// Under which epoch; every command carries it.
    pub epoch: u64,
    /// Until when, by the database's clock.
    pub until_us: i64,
}

/// A task to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// What it is.
    pub kind: TaskKind,
    /// What it does, for people.
    pub title: String,
    /// The project that it is about.
    pub project_id: Option<ProjectId>,
    /// The environment that it is about.
    pub environment_id: Option<EnvironmentId>,
    /// The release that it deploys.
    pub release_id: Option<ReleaseId>,
    /// Of tasks with the same key one runs at a time.
    pub queue_key: Option<String>,
    /// What was asked, as JSON.
    pub body: String,
    /// The snapshot of the variables that it uses, which is kept as long as it is there.
    pub variables: Option<Digest>,
    /// How urgent it is.
    pub priority: Priority,
    /// It does not begin before.
    pub not_before_us: Option<i64>,
    /// It does not begin any more from then on.
    pub expires_at_us: Option<i64>,
    /// When.
    pub at_us: i64,
    /// By whom.
    pub by: String,
}

/// Queues a task and says which number it got.
pub async fn task_insert(tx: &mut Tx, task: &NewTask) -> Result<u64> {
    let number = counter_next(tx, "task").await?;
    tx.exec(
        "INSERT INTO task (id, number, kind, state, has_warnings, title, project_id,
             environment_id, release_id, queue_key, body, created_at_us, created_by, next_event,
             priority, not_before_us, expires_at_us, variables)
         VALUES ($1, $2, $3, 'queued', 0, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $13, $14, $15)",
        params![
            task.id,
            number,
            task.kind,
            task.title,
            task.project_id,
            task.environment_id,
            task.release_id,
            task.queue_key,
            task.body,
            task.at_us,
            task.by,
            task.priority,
            task.not_before_us,
            task.expires_at_us,
            task.variables,
        ],
    )
    .await
    .map_err(|error| error.naming("task"))?;
    Ok(number)
}

/// The task of this id.
pub async fn task_fetch(tx: &mut Tx, id: TaskId) -> Result<TaskRow> {
    tx.row("SELECT * FROM task WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("task"))
}

/// The task of this number.
pub async fn task_find(tx: &mut Tx, number: u64) -> Result<Option<TaskRow>> {
    tx.row("SELECT * FROM task WHERE number = $1", params![number])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Which tasks to list. Nothing set means all of them.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only of this project.
    pub project_id: Option<ProjectId>,
    /// Only of this environment.
    pub environment_id: Option<EnvironmentId>,
    /// Only of this release.
    pub release_id: Option<ReleaseId>,
    /// Only of this kind.
    pub kind: Option<TaskKind>,
    /// Of any kind but this.
    pub not_kind: Option<TaskKind>,
    /// Only with this queue key.
    pub queue_key: Option<String>,
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only with this outcome.
    pub outcome: Option<TaskOutcome>,
    /// Only with a lower number.
    pub before: Option<u64>,
}

/// Tasks, the newest first.
pub async fn task_list(tx: &mut Tx, filter: &TaskFilter, limit: u32) -> Result<Vec<TaskRow>> {
    tx.rows(
        "SELECT * FROM task
         WHERE number < $1 AND ($2 IS NULL OR project_id = $2)
           AND ($3 IS NULL OR environment_id = $3) AND ($4 IS NULL OR release_id = $4)
           AND ($5 IS NULL OR kind = $5) AND ($6 IS NULL OR state = $6)
           AND ($7 IS NULL OR outcome = $7) AND ($9 IS NULL OR kind <> $9)
           AND ($10 IS NULL OR queue_key = $10)
         ORDER BY number DESC LIMIT $8",
        params![
            filter.before.unwrap_or(u64::MAX),
            filter.project_id,
            filter.environment_id,
            filter.release_id,
            filter.kind,
            filter.state,
            filter.outcome,
            limit,
            filter.not_kind,
            filter.queue_key,
        ],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The latest task of a queue key that is not over.
pub async fn task_find_open(tx: &mut Tx, queue_key: &str) -> Result<Option<TaskRow>> {
    tx.row(
        "SELECT * FROM task WHERE queue_key = $1 AND state IN ('queued', 'running')
         ORDER BY number DESC LIMIT 1",
        params![queue_key],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// The tasks of a queue key that are over and more than so many of its latest, the oldest first.
pub async fn task_list_past(
    tx: &mut Tx,
    queue_key: &str,
    keep: u32,
    limit: u32,
) -> Result<Vec<TaskRow>> {
    tx.rows(
        "SELECT * FROM task WHERE queue_key = $1 AND state = 'done' AND number NOT IN (
             SELECT number FROM task WHERE queue_key = $1 AND state = 'done'
             ORDER BY number DESC LIMIT $2)
         ORDER BY number LIMIT $3",
        params![queue_key, keep, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The queue keys of this beginning that tasks have which are over.
pub async fn task_list_past_keys(tx: &mut Tx, prefix: &str) -> Result<Vec<String>> {
    // Behind every text with the prefix in the order of bytes, which both stores compare by.
    let end = format!("{prefix}\u{10ffff}");
    tx.rows(
        "SELECT DISTINCT queue_key FROM task WHERE queue_key >= $1 AND queue_key < $2 AND state = 'done'",
        params![prefix, end],
    )
    .await?
    .iter()
    .map(|row| row.get("queue_key"))
    .collect()
}

/// The tasks that are under way, in order: what recovery takes up.
pub async fn task_list_running(tx: &mut Tx, limit: u32) -> Result<Vec<TaskRow>> {
    tx.rows(
        "SELECT * FROM task WHERE state = 'running' ORDER BY number LIMIT $1",
        params![limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// A queued task begins, driven by the holder of this epoch. A conflict if it is not queued, the
/// epoch is not the lease's, or another task of its queue key runs.
pub async fn task_mark_started(tx: &mut Tx, id: TaskId, epoch: u64, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET state = 'running', started_at_us = $3
         WHERE id = $1 AND state = 'queued' AND lease_epoch = $2",
        params![id, epoch, at_us],
        StoreError::conflict("task"),
    )
    .await
    .map_err(|error| error.naming("task"))
}

/// A running task is over. Its lease ends with it.
pub async fn task_mark_done(
    tx: &mut Tx,
    id: TaskId,
    epoch: u64,
    outcome: TaskOutcome,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET state = 'done', outcome = $3, ended_at_us = $4, lease_node = NULL,
             lease_until_us = NULL, awaits_person_since_us = NULL
         WHERE id = $1 AND state = 'running' AND lease_epoch = $2",
        params![id, epoch, outcome, at_us],
        StoreError::conflict("task"),
    )
    .await
}

/// A queued task is over before it began.
pub async fn task_mark_dropped(
    tx: &mut Tx,
    id: TaskId,
    outcome: TaskOutcome,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET state = 'done', outcome = $2, ended_at_us = $3, lease_node = NULL,
             lease_until_us = NULL
         WHERE id = $1 AND state = 'queued'",
        params![id, outcome, at_us],
        StoreError::conflict("task"),
    )
    .await
}

/// Notes that something in the task is worth a look, also where it is shown as the latest of its
/// place.
pub async fn task_mark_warned(tx: &mut Tx, id: TaskId) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET has_warnings = 1 WHERE id = $1",
        params![id],
        StoreError::not_found("task"),
    )
    .await?;
    tx.exec(
        "UPDATE deployment_current SET has_warnings = 1 WHERE task_id = $1",
        params![id],
    )
    .await
    .map(|_| ())
}

/// Notes that somebody asked to stop the task. A conflict if it is over; asking twice is harmless.
pub async fn task_mark_cancel_asked(tx: &mut Tx, id: TaskId, by: &str, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET cancel_at_us = COALESCE(cancel_at_us, $3),
             cancel_by = COALESCE(cancel_by, $2)
         WHERE id = $1 AND state <> 'done'",
        params![id, by, at_us],
        StoreError::conflict("task"),
    )
    .await
}

/// The last deployments of a project into an environment that succeeded, the newest first: what
/// a rollback chooses from.
pub async fn task_list_succeeded(
    tx: &mut Tx,
    project: ProjectId,
    environment: EnvironmentId,
    limit: u32,
) -> Result<Vec<TaskRow>> {
    let filter = TaskFilter {
        project_id: Some(project),
        environment_id: Some(environment),
        kind: Some(TaskKind::Deployment),
        outcome: Some(TaskOutcome::Succeeded),
        ..TaskFilter::default()
    };
    task_list(tx, &filter, limit).await
}

pub(super) fn read(row: &Row) -> Result<TaskRow> {
    let node: Option<NodeId> = row.find("lease_node")?;
    let lease = match node {
        None => None,
        Some(node) => Some(Lease {
            node,
            epoch: row.get("lease_epoch")?,
            until_us: row.get("lease_until_us")?,
        }),
    };
    Ok(TaskRow {
        id: row.get("id")?,
        number: row.get("number")?,
        kind: row.get("kind")?,
        state: row.get("state")?,
        outcome: row.find("outcome")?,
        has_warnings: row.get("has_warnings")?,
        title: row.get("title")?,
        project_id: row.find("project_id")?,
        environment_id: row.find("environment_id")?,
        release_id: row.find("release_id")?,
        queue_key: row.find("queue_key")?,
        body: row.get("body")?,
        priority: row.get("priority")?,
        moved_up_at_us: row.find("moved_up_at_us")?,
        not_before_us: row.find("not_before_us")?,
        expires_at_us: row.find("expires_at_us")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
        started_at_us: row.find("started_at_us")?,
        ended_at_us: row.find("ended_at_us")?,
        cancel_at_us: row.find("cancel_at_us")?,
        cancel_by: row.find("cancel_by")?,
        log_removed_at_us: row.find("log_removed_at_us")?,
        awaits_person_since_us: row.find("awaits_person_since_us")?,
        lease,
        next_event: row.get("next_event")?,
    })
}
