//! What retention asks of the database: what is in use, and removing what is not.

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TaskId};
use mantle_shared::Digest;

use super::answered::AnsweredVariables;
use super::error::{Result, StoreError};
use super::release::ReleaseRow;
use super::snapshot::snapshot_drop_unused;
use super::tx::Tx;
use super::upkeep::task_retire;
use super::value::params;

/// Every environment in which a release of a project has succeeded, ever.
pub async fn release_reach_list(
    tx: &mut Tx,
    project: ProjectId,
) -> Result<Vec<(ReleaseId, EnvironmentId)>> {
    tx.rows(
        "SELECT DISTINCT release_id, environment_id FROM task
         WHERE project_id = $1 AND kind = 'deployment' AND outcome = 'succeeded'
           AND release_id IS NOT NULL AND environment_id IS NOT NULL
         ORDER BY release_id, environment_id",
        params![project],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("release_id")?, row.get("environment_id")?)))
    .collect()
}

/// The last other release that succeeded in an environment before the one that runs there.
pub async fn release_before(
    tx: &mut Tx,
    project: ProjectId,
    environment: EnvironmentId,
    running: ReleaseId,
) -> Result<Option<ReleaseId>> {
    let row = tx
        .row(
            "SELECT release_id FROM task
             WHERE project_id = $1 AND environment_id = $2 AND kind = 'deployment'
               AND outcome = 'succeeded' AND release_id IS NOT NULL AND release_id <> $3
             ORDER BY number DESC LIMIT 1",
            params![project, environment, running],
        )
        .await?;
    row.map(|row| row.get("release_id")).transpose()
}

/// The tasks about a project's releases that are not over: their numbers and releases.
pub async fn task_open_list(tx: &mut Tx, project: ProjectId) -> Result<Vec<(u64, ReleaseId)>> {
    tx.rows(
        "SELECT number, release_id FROM task
         WHERE project_id = $1 AND state <> 'done' AND release_id IS NOT NULL ORDER BY number",
        params![project],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("number")?, row.get("release_id")?)))
    .collect()
}

/// Removes a release with its tasks. A conflict if it is still shown anywhere; then nothing of the
/// transaction may be kept. The logs of its tasks are noted down to be removed after. Says which
/// variables with answers went with the tasks.
pub async fn release_delete(
    tx: &mut Tx,
    release: &ReleaseRow,
    at_us: i64,
) -> Result<Vec<AnsweredVariables>> {
    let id = release.id;
    let in_use = |error: StoreError| error.naming("release");
    let mut digests: Vec<Digest> = vec![release.process, release.packages];
    let history = tx
        .rows(
            "SELECT digest FROM release_variables WHERE release_id = $1",
            params![id],
        )
        .await?;
    for row in &history {
        digests.push(row.get("digest")?);
    }
    let mut answered = Vec::new();
    for task in task_list_of_release(tx, id).await? {
        answered.extend(task_retire(tx, task, at_us).await.map_err(in_use)?);
    }
    for sql in [
        "DELETE FROM automatic_deployment WHERE release_id = $1",
        "DELETE FROM release_variables WHERE release_id = $1",
    ] {
        tx.exec(sql, params![id]).await.map_err(in_use)?;
    }
    tx.exec_one(
        "DELETE FROM release WHERE id = $1",
        params![id],
        StoreError::not_found("release"),
    )
    .await
    .map_err(in_use)?;
    for digest in digests {
        snapshot_drop_unused(tx, digest).await?;
    }
    Ok(answered)
}

/// A release's tasks, in the order in which they go with it.
pub async fn task_list_of_release(tx: &mut Tx, release: ReleaseId) -> Result<Vec<TaskId>> {
    tx.rows(
        "SELECT id FROM task WHERE release_id = $1 ORDER BY number",
        params![release],
    )
    .await?
    .iter()
    .map(|row| row.get("id"))
    .collect()
}

/// Removes every version of a secret that is neither current nor in a snapshot; says how many.
pub async fn secret_version_prune_all(tx: &mut Tx) -> Result<u64> {
    tx.exec(
        "DELETE FROM secret_version
         WHERE NOT EXISTS (SELECT 1 FROM secret WHERE current_version = secret_version.id)
           AND NOT EXISTS (SELECT 1 FROM snapshot_secret
                           WHERE secret_version_id = secret_version.id)",
        params![],
    )
    .await
}

/// Tasks that are gone and whose logs are still there.
pub async fn retired_task_list(tx: &mut Tx, limit: u32) -> Result<Vec<TaskId>> {
    tx.rows(
        "SELECT task_id FROM retired_task ORDER BY task_id LIMIT $1",
        params![limit],
    )
    .await?
    .iter()
    .map(|row| row.get("task_id"))
    .collect()
}

/// A task's log is gone as well.
pub async fn retired_task_done(tx: &mut Tx, task: TaskId) -> Result<()> {
    tx.exec("DELETE FROM retired_task WHERE task_id = $1", params![task])
        .await?;
    Ok(())
}
