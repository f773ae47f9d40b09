//! What upkeep asks of the database: tasks with why they must stay and how much they hold, and removing
//! tasks, logs and the beginning of the audit trail.

use mantle_domain::audit::Cut;
use mantle_domain::ids::TaskId;
use mantle_shared::Digest;

use super::answered::{AnsweredVariables, variables_of};
use super::error::{Result, StoreError};
use super::snapshot::snapshot_drop_unused;
use super::tx::{LogTx, Tx};
use super::value::{Row, params, word_enum};

/// Beside its texts, what an entry of the audit trail takes: number, time and hash.
const AUDIT_ROW_BYTES: u64 = 48;

word_enum! {
    /// Why a task must stay.
    pub enum TaskHold {
        /// It is not over.
        Open = "open",
        /// A dashboard shows it.
        Dashboard = "dashboard",
        /// A target runs what it brought.
        Target = "target",
        /// One of its attempts may live and holds a lock.
        Lock = "lock",
        /// It is the last one that took its release into its environment.
        History = "history",
    }
}

/// A task as upkeep sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTask {
    /// Its id.
    pub id: TaskId,
    /// Its number.
    pub number: u64,
    /// What it did, for people.
    pub title: String,
    /// When it was queued.
    pub created_at_us: i64,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// What its events and its manifest take.
    pub size_bytes: u64,
    /// Its log was removed.
    pub is_log_removed: bool,
    /// Why it must stay.
    pub hold: Option<TaskHold>,
}

/// Tasks after this number, in order.
pub async fn past_task_list(tx: &mut Tx, after: u64, limit: u32) -> Result<Vec<PastTask>> {
    let sql = "SELECT t.id, t.number, t.title, t.created_at_us, t.ended_at_us,
            t.log_removed_at_us,
            (SELECT COALESCE(SUM(octet_length(body)), 0) FROM task_event WHERE task_id = t.id)
              AS event_bytes,
            (SELECT COALESCE(SUM(octet_length(body)), 0) FROM deployment_manifest
             WHERE task_id = t.id) AS manifest_bytes,
            CASE
              WHEN t.state <> 'done' THEN 'open'
              WHEN EXISTS (SELECT 1 FROM deployment_current c
                           WHERE c.task_id = t.id OR c.succeeded_task_id = t.id) THEN 'dashboard'
              WHEN EXISTS (SELECT 1 FROM target_current c WHERE c.task_id = t.id) THEN 'target'
              WHEN EXISTS (SELECT 1 FROM held_lock h WHERE h.task_id = t.id) THEN 'lock'
              WHEN t.kind = 'deployment' AND t.outcome = 'succeeded' AND NOT EXISTS (
                SELECT 1 FROM task n
                WHERE n.release_id = t.release_id AND n.environment_id = t.environment_id
                  AND n.kind = 'deployment' AND n.outcome = 'succeeded' AND n.number > t.number
              ) THEN 'history'
            END AS hold
         FROM task t WHERE t.number > $1 ORDER BY t.number LIMIT $2";
    let rows = tx.rows(sql, params![after, limit]).await?;
    rows.iter().map(past_task).collect()
}

fn past_task(row: &Row) -> Result<PastTask> {
    let (events, manifest): (u64, u64) = (row.get("event_bytes")?, row.get("manifest_bytes")?);
    Ok(PastTask {
        id: row.get("id")?,
        number: row.get("number")?,
        title: row.get("title")?,
        created_at_us: row.get("created_at_us")?,
        ended_at_us: row.find("ended_at_us")?,
        size_bytes: events.saturating_add(manifest),
        is_log_removed: row.find::<i64>("log_removed_at_us")?.is_some(),
        hold: row.find("hold")?,
    })
}

/// What the events and manifests of all tasks take.
pub async fn past_task_bytes(tx: &mut Tx) -> Result<u64> {
    let row = tx
        .row(
            "SELECT (SELECT COALESCE(SUM(octet_length(body)), 0) FROM task_event) AS events,
                    (SELECT COALESCE(SUM(octet_length(body)), 0) FROM deployment_manifest)
                      AS manifests",
            params![],
        )
        .await?
        .ok_or(StoreError::corrupt("the size of tasks"))?;
    let (events, manifests): (u64, u64) = (row.get("events")?, row.get("manifests")?);
    Ok(events.saturating_add(manifests))
}

/// Removes a task that is over and that nothing shows, with all but its log, which is noted down to be
/// removed after. A conflict if it is not over or something shows it; then nothing of the transaction
/// may be kept. Variables that no other task and no release has go with it.
pub async fn task_retire(
    tx: &mut Tx,
    task: TaskId,
    at_us: i64,
) -> Result<Option<AnsweredVariables>> {
    let in_use = |error: StoreError| error.naming("task");
    let used = variables_of(tx, task).await?;
    retired_task_note(tx, task, at_us).await?;
    for sql in [
        "DELETE FROM artifact WHERE task_id = $1",
        "DELETE FROM resolution WHERE task_id = $1",
        "DELETE FROM attempt WHERE task_id = $1",
        "DELETE FROM interruption_answer WHERE task_id = $1",
        "DELETE FROM interruption WHERE task_id = $1",
        "DELETE FROM task_event WHERE task_id = $1",
        "DELETE FROM deployment_manifest WHERE task_id = $1",
    ] {
        tx.exec(sql, params![task]).await.map_err(in_use)?;
    }
    tx.exec_one(
        "DELETE FROM task WHERE id = $1 AND state = 'done'",
        params![task],
        StoreError::conflict("task"),
    )
    .await
    .map_err(in_use)?;
    let Some((digest, answered)) = used else {
        return Ok(None);
    };
    let dropped = snapshot_drop_unused(tx, digest).await?;
    Ok(dropped.map(|size_bytes| AnsweredVariables {
        size_bytes,
        ..answered
    }))
}

/// Gives the log of a task that is over up: it is noted down to be removed, and the task says so.
pub async fn task_log_retire(tx: &mut Tx, task: TaskId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET log_removed_at_us = $2 WHERE id = $1 AND state = 'done'",
        params![task, at_us],
        StoreError::conflict("task"),
    )
    .await?;
    retired_task_note(tx, task, at_us).await
}

/// Whether the task is there.
pub async fn task_exists(tx: &mut Tx, task: TaskId) -> Result<bool> {
    let sql = "SELECT 1 AS found FROM task WHERE id = $1";
    Ok(tx.row(sql, params![task]).await?.is_some())
}

async fn retired_task_note(tx: &mut Tx, task: TaskId, at_us: i64) -> Result<()> {
    tx.exec(
        "INSERT INTO retired_task (task_id, at_us) VALUES ($1, $2) ON CONFLICT (task_id) DO NOTHING",
        params![task, at_us],
    )
    .await
    .map(|_| ())
}

/// What all logs take, compressed as they are.
pub async fn log_bytes(tx: &mut LogTx) -> Result<u64> {
    let sql = "SELECT COALESCE(SUM(octet_length(body)), 0) AS size_bytes FROM log_chunk";
    size(tx.row(sql, params![]).await?)
}

/// What a task's log takes.
pub async fn log_bytes_of(tx: &mut LogTx, task: TaskId) -> Result<u64> {
    let sql = "SELECT COALESCE(SUM(octet_length(body)), 0) AS size_bytes FROM log_chunk
         WHERE task_id = $1";
    size(tx.row(sql, params![task]).await?)
}

fn size(row: Option<Row>) -> Result<u64> {
    row.ok_or(StoreError::corrupt("a sum of sizes"))?
        .get("size_bytes")
}

/// Removes the first so many chunks of a task's log; says how many went. Where its attempts stand is
/// kept, so that a late word of an agent is still taken for what it is.
pub async fn log_shorten(tx: &mut LogTx, task: TaskId, chunks: u32) -> Result<u64> {
    tx.exec(
        "DELETE FROM log_chunk WHERE task_id = $1 AND first_seq IN (
           SELECT first_seq FROM log_chunk WHERE task_id = $1 ORDER BY first_seq LIMIT $2)",
        params![task, chunks],
    )
    .await
}

/// An entry of the audit trail as upkeep sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastAudit {
    /// Its number.
    pub sequence: u64,
    /// When it was written.
    pub at_us: i64,
    /// What it takes.
    pub size_bytes: u64,
    /// Its hash.
    pub hash: Digest,
}

/// The entries after this number, in order.
pub async fn past_audit_list(tx: &mut Tx, after: u64, limit: u32) -> Result<Vec<PastAudit>> {
    tx.rows(
        "SELECT seq, at_us, hash, CAST(octet_length(actor) + octet_length(action)
              + octet_length(subject) + octet_length(detail) AS BIGINT) AS text_bytes
         FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
        params![after, limit],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(PastAudit {
            sequence: row.get("seq")?,
            at_us: row.get("at_us")?,
            size_bytes: row.get::<u64>("text_bytes")? + AUDIT_ROW_BYTES,
            hash: row.get("hash")?,
        })
    })
    .collect()
}

/// What all entries take.
pub async fn past_audit_bytes(tx: &mut Tx) -> Result<u64> {
    let row = tx
        .row(
            "SELECT COUNT(*) AS entries, COALESCE(SUM(octet_length(actor) + octet_length(action)
                + octet_length(subject) + octet_length(detail)), 0) AS text_bytes FROM audit",
            params![],
        )
        .await?
        .ok_or(StoreError::corrupt("the size of the audit trail"))?;
    let (entries, texts): (u64, u64) = (row.get("entries")?, row.get("text_bytes")?);
    Ok(texts.saturating_add(entries.saturating_mul(AUDIT_ROW_BYTES)))
}

/// Where the trail was cut; at 0 with the first hash if it never was.
pub async fn audit_cut_find(tx: &mut Tx) -> Result<Cut> {
    let row = tx
        .row("SELECT seq, hash FROM audit_cut WHERE id = 1", params![])
        .await?
        .ok_or(StoreError::corrupt("where the audit trail was cut"))?;
    Ok(Cut {
        through: row.get("seq")?,
        hash: row.get("hash")?,
    })
}

/// Removes the entries up to this one; says how many went. The transaction must also append the row
/// that vouches for it (`mantle_domain::audit::CUT_ACTION`), or the trail is broken.
pub async fn audit_cut(tx: &mut Tx, cut: &Cut) -> Result<u64> {
    tx.exec_one(
        "UPDATE audit_cut SET seq = $1, hash = $2 WHERE id = 1 AND seq < $1",
        params![cut.through, cut.hash],
        StoreError::conflict("audit trail"),
    )
    .await?;
    tx.exec("DELETE FROM audit WHERE seq <= $1", params![cut.through])
        .await
}
