//! The files that attempts left behind: where each stands on its way from the agent.
//!
//! A row is written before the end of its attempt is, so that an agent that was told to forget the
//! attempt is asked for its files. Files of the same bytes of one attempt are one on the agent, so
//! they move together.

use mantle_domain::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::Digest;

use super::error::Result;
use super::tx::Tx;
use super::value::{Row, params, word_enum};

word_enum! {
    /// Where a file stands.
    pub enum ArtifactState {
        /// It lies on the agent.
        Waiting = "waiting",
        /// It is stored here, and on the agent as well.
        Stored = "stored",
        /// It is stored here alone.
        Kept = "kept",
        /// It will not come.
        Lost = "lost",
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// The task.
    pub task_id: TaskId,
    /// Its number in the task, from 1.
    pub number: u64,
    /// The attempt that left it behind.
    pub attempt_id: AttemptId,
    /// The agent that has or had it.
    pub agent_id: AgentId,
    /// What it is called.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Where it stands.
    pub state: ArtifactState,
    /// Why it is lost.
    pub note: Option<String>,
    /// When its attempt's end came.
    pub created_at_us: i64,
    /// When it was stored.
    pub stored_at_us: Option<i64>,
}

/// A file that an attempt recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArtifact {
    /// The number of its record in the attempt.
    pub attempt_seq: u64,
    /// What it is called.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// Adds the files of an attempt, each with the next number of its task. Those that are there already
/// stay as they are. Gives how many are new.
pub async fn artifact_insert_all(
    tx: &mut Tx,
    (task, attempt, agent): (TaskId, AttemptId, AgentId),
    files: &[NewArtifact],
    at_us: i64,
) -> Result<u64> {
    let mut added = 0;
    for file in files {
        added += tx
            .exec(
                "INSERT INTO artifact (task_id, number, attempt_id, attempt_seq, agent_id, name,
                     size_bytes, digest, state, created_at_us)
                 VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM artifact WHERE task_id = $1),
                     $2, $3, $4, $5, $6, $7, 'waiting', $8)
                 ON CONFLICT (attempt_id, attempt_seq) DO NOTHING",
                params![
                    task,
                    attempt,
                    file.attempt_seq,
                    agent,
                    file.name,
                    file.size_bytes,
                    file.digest,
                    at_us,
                ],
            )
            .await?;
    }
    Ok(added)
}

/// The files of a task, in the order of their numbers.
pub async fn artifact_list(tx: &mut Tx, task: TaskId) -> Result<Vec<ArtifactRow>> {
    tx.rows(
        "SELECT * FROM artifact WHERE task_id = $1 ORDER BY number",
        params![task],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// A file of a task.
pub async fn artifact_find(tx: &mut Tx, task: TaskId, number: u64) -> Result<Option<ArtifactRow>> {
    tx.row(
        "SELECT * FROM artifact WHERE task_id = $1 AND number = $2",
        params![task, number],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// The agents with which something is left to do.
pub async fn artifact_list_agents(tx: &mut Tx) -> Result<Vec<AgentId>> {
    tx.rows(
        "SELECT DISTINCT agent_id FROM artifact WHERE state IN ('waiting', 'stored')
         ORDER BY agent_id",
        params![],
    )
    .await?
    .iter()
    .map(|row| row.get("agent_id"))
    .collect()
}

/// What is left to do with an agent, the oldest first, so many at most.
pub async fn artifact_list_open(
    tx: &mut Tx,
    agent: AgentId,
    limit: u32,
) -> Result<Vec<ArtifactRow>> {
    tx.rows(
        "SELECT * FROM artifact WHERE agent_id = $1 AND state IN ('waiting', 'stored')
         ORDER BY created_at_us, task_id, number LIMIT $2",
        params![agent, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Whether a file of these bytes of an attempt is waited for.
pub async fn artifact_is_waiting(tx: &mut Tx, attempt: AttemptId, digest: Digest) -> Result<bool> {
    let row = tx
        .row(
            "SELECT 1 AS waiting FROM artifact
             WHERE attempt_id = $1 AND digest = $2 AND state = 'waiting' LIMIT 1",
            params![attempt, digest],
        )
        .await?;
    Ok(row.is_some())
}

/// The bytes of these files of an attempt are stored. False if nobody waits for them any more.
pub async fn artifact_mark_stored(
    tx: &mut Tx,
    attempt: AttemptId,
    digest: Digest,
    at_us: i64,
) -> Result<bool> {
    let touched = tx
        .exec(
            "UPDATE artifact SET state = 'stored', stored_at_us = $3
             WHERE attempt_id = $1 AND digest = $2 AND state = 'waiting'",
            params![attempt, digest, at_us],
        )
        .await?;
    Ok(touched > 0)
}

/// The agent has removed its copy.
pub async fn artifact_mark_kept(tx: &mut Tx, attempt: AttemptId, digest: Digest) -> Result<()> {
    tx.exec(
        "UPDATE artifact SET state = 'kept'
         WHERE attempt_id = $1 AND digest = $2 AND state = 'stored'",
        params![attempt, digest],
    )
    .await
    .map(|_| ())
}

/// The files will not come, and why. Gives how many that are.
pub async fn artifact_mark_lost(
    tx: &mut Tx,
    attempt: AttemptId,
    digest: Digest,
    why: &str,
) -> Result<u64> {
    tx.exec(
        "UPDATE artifact SET state = 'lost', note = $3
         WHERE attempt_id = $1 AND digest = $2 AND state = 'waiting'",
        params![attempt, digest, why],
    )
    .await
}

/// The digests of all files that are stored.
pub async fn artifact_list_digests(tx: &mut Tx) -> Result<Vec<Digest>> {
    tx.rows(
        "SELECT DISTINCT digest FROM artifact WHERE state IN ('stored', 'kept') ORDER BY digest",
        params![],
    )
    .await?
    .iter()
    .map(|row| row.get("digest"))
    .collect()
}

fn read(row: &Row) -> Result<ArtifactRow> {
    Ok(ArtifactRow {
        task_id: row.get("task_id")?,
        number: row.get("number")?,
        attempt_id: row.get("attempt_id")?,
        agent_id: row.get("agent_id")?,
        name: row.get("name")?,
        size_bytes: row.get("size_bytes")?,
        digest: row.get("digest")?,
        state: row.get("state")?,
        note: row.find("note")?,
        created_at_us: row.get("created_at_us")?,
        stored_at_us: row.find("stored_at_us")?,
    })
}
