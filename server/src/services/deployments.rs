//! Deployments: plan, queue, and what runs where.

use mantle_domain::permission::Permission;
use mantle_domain::planner::PlanOptions;
use serde::{Deserialize, Serialize};

use super::error::Result;
use super::{Caller, LIST_MOST, Services, at, names, tasks};
use crate::api::body::{StatusBody, StatusCell, StatusRow};
use crate::store::{
    DeploymentCurrentRow, ProjectRow, Tx, deployment_current_list, environment_list, project_list,
    release_list, task_fetch,
};

/// What was asked: the body of a deployment's task. Read for as long as the task is kept, so
/// fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeploymentOrder {
    /// The project's slug.
    #[serde(default)]
    pub project: String,
    /// The release's version.
    #[serde(default)]
    pub version: String,
    /// The environment's name.
    #[serde(default)]
    pub environment: String,
    /// What the operator chose.
    #[serde(default)]
    pub options: PlanOptions,
}

/// Use cases of what runs where.
impl Services {
    /// The dashboard: every project, or one.
    pub async fn status(&self, caller: &Caller, project: Option<&str>) -> Result<StatusBody> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let projects = match project {
            Some(slug) => vec![names::project(&mut tx, slug).await?],
            None => project_list(&mut tx, "", LIST_MOST).await?,
        };
        let only = project.and_then(|_| projects.first().map(|row| row.id));
        let current = deployment_current_list(&mut tx, only).await?;
        let known = environment_list(&mut tx).await?;
        let mut rows = Vec::with_capacity(projects.len());
        for row in projects {
            let of_project = current.iter().filter(|c| c.project_id == row.id);
            let mut cells = Vec::new();
            for entry in of_project {
                let environment = known.iter().find(|e| e.id == entry.environment_id);
                if let Some(environment) = environment {
                    cells.push(cell(&mut tx, &environment.name, entry).await?);
                }
            }
            rows.push(StatusRow {
                latest_release: latest_release(&mut tx, &row).await?,
                project: row.slug,
                cells,
            });
        }
        Ok(StatusBody {
            environments: known.into_iter().map(|row| row.name).collect(),
            projects: rows,
        })
    }
}

/// The version of a project's newest release.
pub(super) async fn latest_release(tx: &mut Tx, project: &ProjectRow) -> Result<Option<String>> {
    let latest = release_list(tx, project.id, None, 1).await?;
    Ok(latest.into_iter().next().map(|release| release.version))
}

async fn cell(tx: &mut Tx, environment: &str, row: &DeploymentCurrentRow) -> Result<StatusCell> {
    let task = task_fetch(tx, row.task_id).await?;
    Ok(StatusCell {
        environment: environment.to_owned(),
        running: row.succeeded.as_ref().map(|s| s.release_version.clone()),
        last_version: row.release_version.clone(),
        last_task: tasks::number(task.number),
        last_state: tasks::task_state(&task),
        at: at(row.changed_at_us),
    })
}
