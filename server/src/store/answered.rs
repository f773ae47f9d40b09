//! Variables that people's answers are in. A release does not have them: they are kept as long as a task
//! is there that uses them, and go in the transaction in which the last one goes.

use std::collections::BTreeSet;

use mantle_domain::ids::{ReleaseId, TaskId};
use mantle_shared::Digest;

use super::error::Result;
use super::secret::ANSWER_PATH;
use super::snapshot::snapshot_drop_unused;
use super::tx::Tx;
use super::value::params;

/// Variables with answers in them, and the last task that has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredVariables {
    /// The task's number.
    pub task: u64,
    /// What it did, for people.
    pub title: String,
    /// What they hold, with the secrets among the answers.
    pub size_bytes: u64,
}

/// What is about to go, for who only says so.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    /// Tasks.
    pub tasks: BTreeSet<TaskId>,
    /// Releases, each once all of its tasks are among those.
    pub releases: BTreeSet<ReleaseId>,
}

/// The variables that a task uses, and what they hold; `None` if it notes none.
pub(super) async fn variables_of(
    tx: &mut Tx,
    task: TaskId,
) -> Result<Option<(Digest, AnsweredVariables)>> {
    let row = tx
        .row(
            "SELECT t.number, t.title, s.digest,
                CAST(octet_length(s.body) AS BIGINT) AS body_bytes,
                (SELECT CAST(COALESCE(SUM(octet_length(v.ciphertext)), 0) AS BIGINT)
                 FROM snapshot_secret x JOIN secret_version v ON v.id = x.secret_version_id
                 WHERE x.digest = s.digest AND v.path LIKE $2) AS secret_bytes
             FROM task t JOIN snapshot s ON s.digest = t.variables WHERE t.id = $1",
            params![task, format!("{ANSWER_PATH}%")],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (body, secrets): (u64, u64) = (row.get("body_bytes")?, row.get("secret_bytes")?);
    let answered = AnsweredVariables {
        task: row.get("number")?,
        title: row.get("title")?,
        size_bytes: body.saturating_add(secrets),
    };
    Ok(Some((row.get("digest")?, answered)))
}

/// The variables that would go with a task, if what leaves were gone already.
pub async fn task_answered(
    tx: &mut Tx,
    task: TaskId,
    leaving: &Leaving,
) -> Result<Option<AnsweredVariables>> {
    let Some((digest, answered)) = variables_of(tx, task).await? else {
        return Ok(None);
    };
    // The history holds the current ones as well.
    let releases = tx
        .rows(
            "SELECT DISTINCT release_id FROM release_variables WHERE digest = $1",
            params![digest],
        )
        .await?;
    for row in &releases {
        if !leaving.releases.contains(&row.get("release_id")?) {
            return Ok(None);
        }
    }
    let tasks = tx
        .rows("SELECT id FROM task WHERE variables = $1", params![digest])
        .await?;
    for row in &tasks {
        let other: TaskId = row.get("id")?;
        if other != task && !leaving.tasks.contains(&other) {
            return Ok(None);
        }
    }
    Ok(Some(answered))
}

/// So many of the variables that nothing has, with what each holds: a server that did not look after
/// them left them behind when it removed the last task that had them.
pub async fn answered_list_left(tx: &mut Tx, limit: u32) -> Result<Vec<(Digest, u64)>> {
    tx.rows(
        "SELECT digest, CAST(octet_length(body) + (
                SELECT COALESCE(SUM(octet_length(v.ciphertext)), 0)
                FROM snapshot_secret x JOIN secret_version v ON v.id = x.secret_version_id
                WHERE x.digest = s.digest AND v.path LIKE $2) AS BIGINT) AS size_bytes
         FROM snapshot s
         WHERE kind = 'variables'
           AND NOT EXISTS (SELECT 1 FROM release WHERE variables = s.digest)
           AND NOT EXISTS (SELECT 1 FROM release_variables WHERE digest = s.digest)
           AND NOT EXISTS (SELECT 1 FROM task WHERE variables = s.digest)
         ORDER BY digest LIMIT $1",
        params![limit, format!("{ANSWER_PATH}%")],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("digest")?, row.get("size_bytes")?)))
    .collect()
}

/// Removes those; says which went.
pub async fn answered_drop_left(tx: &mut Tx, limit: u32) -> Result<Vec<(Digest, u64)>> {
    let left = answered_list_left(tx, limit).await?;
    for (digest, _) in &left {
        snapshot_drop_unused(tx, *digest).await?;
    }
    Ok(left)
}
