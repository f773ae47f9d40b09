//! What the dashboard shows: every project by every environment, in as few rows and statements as there
//! can be, for it is asked for often and whole.

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TaskId};

use super::error::Result;
use super::extent::Extent;
use super::release::{ReleaseRow, read as read_release};
use super::task::{TaskOutcome, TaskState};
use super::tx::Tx;
use super::value::{Row, params};

/// A project's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardProject {
    /// The project.
    pub id: ProjectId,
    /// Its slug.
    pub slug: String,
    /// The version of its newest release.
    pub latest_release: Option<String>,
}

/// The latest deployment of a project in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardCell {
    /// The project.
    pub project_id: ProjectId,
    /// The environment.
    pub environment_id: EnvironmentId,
    /// The deployment.
    pub task_id: TaskId,
    /// Its number.
    pub task_number: u64,
    /// Its release's version.
    pub release_version: String,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub outcome: Option<TaskOutcome>,
    /// When this last changed.
    pub changed_at_us: i64,
    /// The last one that succeeded: its task, its release and that one's version.
    pub succeeded: Option<(TaskId, ReleaseId, String)>,
}

/// The projects, or one of them, by slug.
pub async fn dashboard_project_list(
    tx: &mut Tx,
    project: Option<ProjectId>,
    extent: Extent,
) -> Result<Vec<DashboardProject>> {
    tx.rows(
        "SELECT id, slug, (SELECT version FROM release WHERE project_id = project.id
             ORDER BY created_at_us DESC, id DESC LIMIT 1) AS latest
         FROM project WHERE $1 IS NULL OR id = $1 ORDER BY slug LIMIT $2",
        params![project, extent],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(DashboardProject {
            id: row.get("id")?,
            slug: row.get("slug")?,
            latest_release: row.find("latest")?,
        })
    })
    .collect()
}

/// Every place, or those of one project.
pub async fn dashboard_cell_list(
    tx: &mut Tx,
    project: Option<ProjectId>,
) -> Result<Vec<DashboardCell>> {
    tx.rows(
        "SELECT project_id, environment_id, task_id, task_number, release_version, state, outcome,
             changed_at_us, succeeded_task_id, succeeded_release_id, succeeded_version
         FROM deployment_current WHERE $1 IS NULL OR project_id = $1
         ORDER BY project_id, environment_id",
        params![project],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The releases of which the dashboard has more to say than their versions: they are blocked, or have had
/// several snapshots of their variables.
pub async fn dashboard_release_list(
    tx: &mut Tx,
    project: Option<ProjectId>,
) -> Result<Vec<ReleaseRow>> {
    tx.rows(
        "SELECT * FROM release
         WHERE (blocked_at_us IS NOT NULL OR variables_number > 1) AND ($1 IS NULL OR project_id = $1)",
        params![project],
    )
    .await?
    .iter()
    .map(read_release)
    .collect()
}

fn read(row: &Row) -> Result<DashboardCell> {
    let succeeded = match row.find("succeeded_task_id")? {
        None => None,
        Some(task) => Some((
            task,
            row.get("succeeded_release_id")?,
            row.get("succeeded_version")?,
        )),
    };
    Ok(DashboardCell {
        project_id: row.get("project_id")?,
        environment_id: row.get("environment_id")?,
        task_id: row.get("task_id")?,
        task_number: row.get("task_number")?,
        release_version: row.get("release_version")?,
        state: row.get("state")?,
        outcome: row.find("outcome")?,
        changed_at_us: row.get("changed_at_us")?,
        succeeded,
    })
}
