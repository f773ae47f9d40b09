//! The locks that attempts hold, written with the order that takes them and gone with the word of
//! their end, so that whoever takes the server's place knows them.

use mantle_domain::ids::{AgentId, AttemptId, TargetId, TaskId};
use mantle_shared::lock::LockMode;

use super::error::Result;
use super::tx::Tx;
use super::value::{Row, params, word_enum};

word_enum! {
    /// How an attempt ended that may live all the same.
    pub enum LockEnd {
        /// What became of it is not known.
        Unknown = "unknown",
        /// It could not be stopped.
        Abandoned = "abandoned",
    }
}

/// One lock of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLockRow {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The lock's name.
    pub name: String,
    /// How it is held.
    pub mode: LockMode,
    /// The target on which it is held.
    pub executor_id: TargetId,
    /// That target's agent.
    pub agent_id: AgentId,
    /// The task.
    pub task_id: TaskId,
    /// Who holds it, for people.
    pub holder: String,
    /// Since when.
    pub taken_at_us: i64,
    /// The attempt is over by the server's word, and may live.
    pub ended: Option<LockEnd>,
    /// When it was broken.
    pub broken_at_us: Option<i64>,
    /// By whom.
    pub broken_by: Option<String>,
}

/// Notes a lock that an attempt holds. Noting it twice is harmless.
pub async fn held_lock_insert(tx: &mut Tx, row: &HeldLockRow) -> Result<()> {
    tx.exec(
        "INSERT INTO held_lock (attempt_id, name, mode, executor_id, agent_id, task_id, holder,
             taken_at_us, ended)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (attempt_id, name)
             DO UPDATE SET ended = COALESCE(held_lock.ended, excluded.ended)",
        params![
            row.attempt_id,
            row.name,
            row.mode,
            row.executor_id,
            row.agent_id,
            row.task_id,
            row.holder,
            row.taken_at_us,
            row.ended,
        ],
    )
    .await
    .map(|_| ())
}

/// An attempt holds nothing any more.
pub async fn held_lock_release(tx: &mut Tx, attempt: AttemptId) -> Result<()> {
    tx.exec(
        "DELETE FROM held_lock WHERE attempt_id = $1",
        params![attempt],
    )
    .await
    .map(|_| ())
}

/// An attempt is over and may live: it keeps its locks.
pub async fn held_lock_mark_ended(tx: &mut Tx, attempt: AttemptId, end: LockEnd) -> Result<()> {
    tx.exec(
        "UPDATE held_lock SET ended = $2 WHERE attempt_id = $1",
        params![attempt, end],
    )
    .await
    .map(|_| ())
}

/// A person said how an attempt ended that may live. What its agent may still know of is passed over by
/// name, as what was broken is; of the rest the agent's journal says in time whether it lives. An attempt
/// that an earlier identity of the agent was ordered to run stays in that journal until it is over.
pub async fn held_lock_resolve(
    tx: &mut Tx,
    attempt: AttemptId,
    by: &str,
    at_us: i64,
) -> Result<()> {
    tx.exec(
        "UPDATE held_lock SET broken_at_us = COALESCE(broken_at_us, $2),
             broken_by = COALESCE(broken_by, $3)
         WHERE attempt_id = $1 AND (ended = 'abandoned'
             OR EXISTS (SELECT 1 FROM attempt
                 WHERE attempt.id = $1 AND attempt.agent_id <> held_lock.agent_id))",
        params![attempt, at_us, by],
    )
    .await?;
    tx.exec(
        "DELETE FROM held_lock WHERE attempt_id = $1 AND (ended IS NULL OR ended <> 'abandoned')
             AND NOT EXISTS (SELECT 1 FROM attempt
                 WHERE attempt.id = $1 AND attempt.agent_id <> held_lock.agent_id)",
        params![attempt],
    )
    .await
    .map(|_| ())
}

/// Breaks the locks of all attempts that hold this one on this target. Gives the attempts.
pub async fn held_lock_mark_broken(
    tx: &mut Tx,
    executor: TargetId,
    name: &str,
    by: &str,
    at_us: i64,
) -> Result<Vec<AttemptId>> {
    let rows = tx
        .rows(
            "SELECT attempt_id FROM held_lock
             WHERE executor_id = $1 AND name = $2 AND broken_at_us IS NULL ORDER BY attempt_id",
            params![executor, name],
        )
        .await?;
    let mut broken = Vec::with_capacity(rows.len());
    for row in &rows {
        let attempt: AttemptId = row.get("attempt_id")?;
        tx.exec(
            "UPDATE held_lock SET broken_at_us = $2, broken_by = $3 WHERE attempt_id = $1",
            params![attempt, at_us, by],
        )
        .await?;
        broken.push(attempt);
    }
    Ok(broken)
}

/// Every lock that is held, the oldest first.
pub async fn held_lock_list(tx: &mut Tx) -> Result<Vec<HeldLockRow>> {
    tx.rows(
        "SELECT * FROM held_lock ORDER BY taken_at_us, attempt_id, name",
        params![],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &Row) -> Result<HeldLockRow> {
    Ok(HeldLockRow {
        attempt_id: row.get("attempt_id")?,
        name: row.get("name")?,
        mode: row.get("mode")?,
        executor_id: row.get("executor_id")?,
        agent_id: row.get("agent_id")?,
        task_id: row.get("task_id")?,
        holder: row.get("holder")?,
        taken_at_us: row.get("taken_at_us")?,
        ended: row.find("ended")?,
        broken_at_us: row.find("broken_at_us")?,
        broken_by: row.find("broken_by")?,
    })
}
