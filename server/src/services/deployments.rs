//! Deployments: plan, queue, and what runs where.

use std::collections::BTreeMap;

use mantle_domain::ids::ReleaseId;
use mantle_domain::manifest::{self, Manifest};
use mantle_domain::permission::Permission;
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_domain::planner::PlanOptions;
use mantle_shared::Digest;
use serde::{Deserialize, Serialize};

use super::declared::read;
use super::error::{Error, Result};
use super::in_use::older_variables;
use super::plans::Footing;
use super::release_compare::lines;
use super::{Caller, SHOWN, Services, at, names, resolution, tasks};
use crate::api::body::{
    DeploymentDiff, DeploymentManifest, StatusBody, StatusCell, StatusRow, StatusUnderWay,
};
use crate::store::{
    DeploymentCurrentRow, ProjectRow, TaskKind, TaskRow, Tx, deployment_current_list,
    deployment_manifest_find, environment_list, project_list, release_fetch, release_list,
    task_fetch, task_list_running,
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
    /// The variables that it uses, whatever becomes of the release's: with the answers in place of
    /// the prompts. `None` in a task from before that was noted: those that the release had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Digest>,
    /// The same before the answers, if those made others of them: a plan rests on these. A rollback of
    /// an earlier version has its release's own here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_variables: Option<Digest>,
    /// What was answered, by variable; `None` for a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Option<String>>,
    /// The id of the plan that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What whoever asked for it said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Its own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// What was given for it, as marks: the plan that it is bound to is bound to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<String, String>,
    /// The release that it goes back from, if it is a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_from: Option<ReleaseId>,
}

impl DeploymentOrder {
    /// What its plan rests on, given what it uses in the end.
    pub fn footing(&self, used: ReleaseDigests) -> Footing<'_> {
        Footing {
            digests: ReleaseDigests {
                variables: self.release_variables.unwrap_or(used.variables),
                ..used
            },
            back_from: self.back_from,
            given: &self.given,
        }
    }
}

/// Use cases of what runs where.
impl Services {
    /// The dashboard: every project, or one.
    pub async fn status(&self, caller: &Caller, project: Option<&str>) -> Result<StatusBody> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let projects = match project {
            Some(slug) => vec![names::project(&mut tx, slug).await?],
            None => project_list(&mut tx, "", SHOWN).await?,
        };
        let only = project.and_then(|_| projects.first().map(|row| row.id));
        let current = deployment_current_list(&mut tx, only).await?;
        let known = environment_list(&mut tx).await?;
        let running = task_list_running(&mut tx, u32::MAX).await?;
        let mut rows = Vec::with_capacity(projects.len());
        for row in projects {
            let of_project = current.iter().filter(|c| c.project_id == row.id);
            let mut cells = Vec::new();
            for entry in of_project {
                let environment = known.iter().find(|e| e.id == entry.environment_id);
                if let Some(environment) = environment {
                    let mut cell = cell(&mut tx, &environment.name, entry).await?;
                    cell.under_way = under_way(&mut tx, &running, entry).await?;
                    cells.push(cell);
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
            full: self.full().await.map(|full| full.waits()),
        })
    }
}

/// Use cases of what deployments used.
impl Services {
    /// What a deployment in fact used.
    pub async fn deployment_manifest(
        &self,
        caller: &Caller,
        task: &str,
    ) -> Result<DeploymentManifest> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let (row, body) = manifest_of(&mut tx, task).await?;
        Ok(DeploymentManifest {
            number: tasks::number(row.number),
            digest: Digest::of(&body).to_string(),
            manifest: read("reading a manifest", &String::from_utf8_lossy(&body))?,
            resolved: resolution::of_task(&mut tx, &row).await?,
        })
    }

    /// How the second deployment differed from the first.
    pub async fn deployment_diff(
        &self,
        caller: &Caller,
        first: &str,
        second: &str,
    ) -> Result<DeploymentDiff> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let (first, before) = manifest_of(&mut tx, first).await?;
        let (second, after) = manifest_of(&mut tx, second).await?;
        drop(tx);
        let what = "reading a manifest";
        let before: Manifest = read(what, &String::from_utf8_lossy(&before))?;
        let after: Manifest = read(what, &String::from_utf8_lossy(&after))?;
        let found = manifest::compare(&before, &after);
        Ok(DeploymentDiff {
            from: tasks::number(first.number),
            to: tasks::number(second.number),
            same: found == manifest::ManifestDiff::default(),
            what: lines(&found.what),
            targets: lines(&found.targets),
            values: lines(&found.values),
            packages: self.package_diffs(found.packages).await?,
        })
    }
}

async fn manifest_of(tx: &mut Tx, task: &str) -> Result<(TaskRow, Vec<u8>)> {
    let row = names::task(tx, task).await?;
    if let Some(body) = deployment_manifest_find(tx, row.id).await? {
        return Ok((row, body));
    }
    let number = tasks::number(row.number);
    Err(Error::refused(
        "no-manifest",
        format!("{number} has not begun, so that it has used nothing"),
        format!("'mantle task show {number}' shows how it stands"),
    ))
}

/// The version of a project's newest release.
pub(super) async fn latest_release(tx: &mut Tx, project: &ProjectRow) -> Result<Option<String>> {
    let latest = release_list(tx, project.id, None, 1).await?;
    Ok(latest.into_iter().next().map(|release| release.version))
}

async fn cell(tx: &mut Tx, environment: &str, row: &DeploymentCurrentRow) -> Result<StatusCell> {
    let task = task_fetch(tx, row.task_id).await?;
    let (mut blocked, mut older) = (None, None);
    if let Some(succeeded) = &row.succeeded {
        let release = release_fetch(tx, succeeded.release_id).await?;
        older = older_variables(tx, &release, succeeded.task_id).await?;
        blocked = release.blocked;
    }
    Ok(StatusCell {
        older_variables: older,
        blocked: blocked.map(|block| block.reason),
        environment: environment.to_owned(),
        running: row.succeeded.as_ref().map(|s| s.release_version.clone()),
        last_version: row.release_version.clone(),
        last_task: tasks::number(task.number),
        last_state: tasks::task_state(&task),
        awaits_person: task.awaits_person_since_us.is_some(),
        at: at(row.changed_at_us),
        under_way: None,
    })
}

/// The deployment that runs at a place although a later one was asked for.
async fn under_way(
    tx: &mut Tx,
    running: &[TaskRow],
    row: &DeploymentCurrentRow,
) -> Result<Option<StatusUnderWay>> {
    let is_it = |task: &&TaskRow| {
        task.kind == TaskKind::Deployment
            && task.project_id == Some(row.project_id)
            && task.environment_id == Some(row.environment_id)
            && task.id != row.task_id
    };
    let Some(task) = running.iter().find(is_it) else {
        return Ok(None);
    };
    let Some(release) = task.release_id else {
        return Ok(None);
    };
    Ok(Some(StatusUnderWay {
        version: release_fetch(tx, release).await?.version,
        task: tasks::number(task.number),
        awaits_person: task.awaits_person_since_us.is_some(),
    }))
}
