//! What deployments leave behind: their manifests, and the two tables that say what runs where.
//!
//! Those tables are kept current in the transaction that changes what they show, so that the
//! dashboard reads rows instead of computing them.

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TargetId, TaskId};
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::task::{TaskOutcome, TaskState};
use super::tx::Tx;
use super::value::{Row, params, word_enum};

word_enum! {
    /// How far a release came on a target.
    pub enum TargetState {
        /// It is being deployed.
        Deploying = "deploying",
        /// It runs there.
        Deployed = "deployed",
        /// It was begun and did not get through: what runs there may be a mixture.
        Failed = "failed",
    }
}

/// The latest deployment of a project in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentCurrentRow {
    /// The project.
    pub project_id: ProjectId,
    /// The environment.
    pub environment_id: EnvironmentId,
    /// The deployment.
    pub task_id: TaskId,
    /// Its release.
    pub release_id: ReleaseId,
    /// Its release's version.
    pub release_version: String,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub outcome: Option<TaskOutcome>,
    /// Something in it is worth a look.
    pub has_warnings: bool,
    /// When this last changed.
    pub changed_at_us: i64,
    /// The last one that succeeded.
    pub succeeded: Option<DeploymentSucceeded>,
}

/// The last deployment that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentSucceeded {
    /// The deployment.
    pub task_id: TaskId,
    /// Its release.
    pub release_id: ReleaseId,
    /// Its release's version.
    pub release_version: String,
    /// When it ended.
    pub at_us: i64,
}

/// What runs on a target of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetCurrentRow {
    /// The target.
    pub target_id: TargetId,
    /// The project.
    pub project_id: ProjectId,
    /// The environment.
    pub environment_id: EnvironmentId,
    /// The deployment that brought it.
    pub task_id: TaskId,
    /// The release.
    pub release_id: ReleaseId,
    /// The release's version.
    pub release_version: String,
    /// How far it came.
    pub state: TargetState,
    /// When this last changed.
    pub changed_at_us: i64,
}

/// Notes that a lifecycle sends a release to an environment; `false` if it has done so before.
pub async fn automatic_deployment_claim(
    tx: &mut Tx,
    release: ReleaseId,
    environment: EnvironmentId,
    task: TaskId,
    at_us: i64,
) -> Result<bool> {
    let claimed = tx
        .exec(
            "INSERT INTO automatic_deployment (release_id, environment_id, task_id, at_us)
             VALUES ($1, $2, $3, $4) ON CONFLICT (release_id, environment_id) DO NOTHING",
            params![release, environment, task, at_us],
        )
        .await?;
    Ok(claimed == 1)
}

/// The environments to which a release has been deployed or sent, however that ended, and whether
/// with success.
pub async fn release_place_list(
    tx: &mut Tx,
    release: ReleaseId,
) -> Result<Vec<(EnvironmentId, bool)>> {
    tx.rows(
        "SELECT environment_id,
             CAST(MAX(CASE WHEN outcome = 'succeeded' THEN 1 ELSE 0 END) AS BIGINT) AS succeeded
         FROM task
         WHERE release_id = $1 AND kind = 'deployment' AND environment_id IS NOT NULL
         GROUP BY environment_id ORDER BY environment_id",
        params![release],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("environment_id")?, row.get("succeeded")?)))
    .collect()
}

/// Writes down what a deployment in fact used. Once; a conflict if it has a manifest.
pub async fn deployment_manifest_insert(
    tx: &mut Tx,
    task: TaskId,
    body: &[u8],
    at_us: i64,
) -> Result<Digest> {
    let digest = Digest::of(body);
    let text =
        std::str::from_utf8(body).map_err(|_| StoreError::corrupt("a manifest, not UTF-8"))?;
    tx.exec(
        "INSERT INTO deployment_manifest (task_id, digest, body, created_at_us)
         VALUES ($1, $2, $3, $4)",
        params![task, digest, text, at_us],
    )
    .await
    .map_err(|error| error.naming("deployment manifest"))?;
    Ok(digest)
}

/// A deployment's manifest, if it got that far.
pub async fn deployment_manifest_find(tx: &mut Tx, task: TaskId) -> Result<Option<Vec<u8>>> {
    let row = tx
        .row(
            "SELECT digest, body FROM deployment_manifest WHERE task_id = $1",
            params![task],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let body: String = row.get("body")?;
    if Digest::of(body.as_bytes()) != row.get("digest")? {
        return Err(StoreError::corrupt(format!("the manifest of task {task}")));
    }
    Ok(Some(body.into_bytes()))
}

/// Shows where a deployment stands, unless a later one was queued for the same place since. Its
/// `succeeded` is ignored: it is this deployment if its outcome says so, else what it was before.
pub async fn deployment_current_show(tx: &mut Tx, row: &DeploymentCurrentRow) -> Result<()> {
    let values = params![
        row.project_id,
        row.environment_id,
        row.task_id,
        row.release_id,
        row.release_version,
        row.state,
        row.outcome,
        row.has_warnings,
        row.changed_at_us,
    ];
    tx.exec(
        "INSERT INTO deployment_current (project_id, environment_id, task_id, release_id,
             release_version, state, outcome, has_warnings, changed_at_us, task_number)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT number FROM task WHERE id = $3))
         ON CONFLICT (project_id, environment_id) DO UPDATE SET task_id = excluded.task_id,
             task_number = excluded.task_number,
             release_id = excluded.release_id, release_version = excluded.release_version,
             state = excluded.state, outcome = excluded.outcome,
             has_warnings = excluded.has_warnings, changed_at_us = excluded.changed_at_us
         WHERE (SELECT number FROM task WHERE id = excluded.task_id)
             >= (SELECT number FROM task WHERE id = deployment_current.task_id)",
        values,
    )
    .await?;
    if row.outcome == Some(TaskOutcome::Succeeded) {
        tx.exec(
            "UPDATE deployment_current SET succeeded_task_id = $3, succeeded_release_id = $4,
                 succeeded_version = $5, succeeded_at_us = $6
             WHERE project_id = $1 AND environment_id = $2",
            params![
                row.project_id,
                row.environment_id,
                row.task_id,
                row.release_id,
                row.release_version,
                row.changed_at_us,
            ],
        )
        .await?;
    }
    Ok(())
}

/// The dashboard: every place, or those of one project.
pub async fn deployment_current_list(
    tx: &mut Tx,
    project: Option<ProjectId>,
) -> Result<Vec<DeploymentCurrentRow>> {
    tx.rows(
        "SELECT * FROM deployment_current WHERE $1 IS NULL OR project_id = $1
         ORDER BY project_id, environment_id",
        params![project],
    )
    .await?
    .iter()
    .map(read_current)
    .collect()
}

/// Shows what runs on a target. False if there is no such target any more: then nothing is shown.
pub async fn target_current_show(tx: &mut Tx, row: &TargetCurrentRow) -> Result<bool> {
    // Looked for by the statement itself: one that breaks the foreign key spoils its transaction.
    let shown = tx
        .exec(
        "INSERT INTO target_current (target_id, project_id, environment_id, task_id, release_id,
             release_version, state, changed_at_us)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE EXISTS (SELECT 1 FROM target WHERE id = $1)
         ON CONFLICT (target_id, project_id, environment_id) DO UPDATE SET
             task_id = excluded.task_id, release_id = excluded.release_id,
             release_version = excluded.release_version, state = excluded.state,
             changed_at_us = excluded.changed_at_us",
        params![
            row.target_id,
            row.project_id,
            row.environment_id,
            row.task_id,
            row.release_id,
            row.release_version,
            row.state,
            row.changed_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("target"))?;
    Ok(shown == 1)
}

/// Which rows of [`target_current_list`] are wanted. Nothing set means all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetCurrentFilter {
    /// Only of this target.
    pub target_id: Option<TargetId>,
    /// Only of this project.
    pub project_id: Option<ProjectId>,
    /// Only of this environment.
    pub environment_id: Option<EnvironmentId>,
}

/// What runs where.
pub async fn target_current_list(
    tx: &mut Tx,
    filter: TargetCurrentFilter,
) -> Result<Vec<TargetCurrentRow>> {
    tx.rows(
        "SELECT * FROM target_current
         WHERE ($1 IS NULL OR target_id = $1) AND ($2 IS NULL OR project_id = $2)
           AND ($3 IS NULL OR environment_id = $3)
         ORDER BY target_id, project_id, environment_id",
        params![filter.target_id, filter.project_id, filter.environment_id],
    )
    .await?
    .iter()
    .map(read_target)
    .collect()
}

fn read_current(row: &Row) -> Result<DeploymentCurrentRow> {
    let succeeded = match row.find("succeeded_task_id")? {
        None => None,
        Some(task_id) => Some(DeploymentSucceeded {
            task_id,
            release_id: row.get("succeeded_release_id")?,
            release_version: row.get("succeeded_version")?,
            at_us: row.get("succeeded_at_us")?,
        }),
    };
    Ok(DeploymentCurrentRow {
        project_id: row.get("project_id")?,
        environment_id: row.get("environment_id")?,
        task_id: row.get("task_id")?,
        release_id: row.get("release_id")?,
        release_version: row.get("release_version")?,
        state: row.get("state")?,
        outcome: row.find("outcome")?,
        has_warnings: row.get("has_warnings")?,
        changed_at_us: row.get("changed_at_us")?,
        succeeded,
    })
}

fn read_target(row: &Row) -> Result<TargetCurrentRow> {
    Ok(TargetCurrentRow {
        target_id: row.get("target_id")?,
        project_id: row.get("project_id")?,
        environment_id: row.get("environment_id")?,
        task_id: row.get("task_id")?,
        release_id: row.get("release_id")?,
        release_version: row.get("release_version")?,
        state: row.get("state")?,
        changed_at_us: row.get("changed_at_us")?,
    })
}
