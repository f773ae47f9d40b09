//! Deployments: plan, queue, and what runs where.

use std::collections::{BTreeMap, HashMap};

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId};
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
    self, DashboardCell, ProjectRow, ReleaseRow, TaskKind, TaskRow, Tx, dashboard_cell_list,
    dashboard_project_list, dashboard_release_list, deployment_manifest_find, environment_list,
    release_fetch, release_list, task_fetch, task_list_running,
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
        let only = match project {
            Some(slug) => Some(names::project(&mut tx, slug).await?.id),
            None => None,
        };
        let projects = dashboard_project_list(&mut tx, only, SHOWN).await?;
        let known = environment_list(&mut tx).await?;
        let environments: HashMap<_, _> = known
            .iter()
            .map(|row| (row.id, row.name.as_str()))
            .collect();
        let remarkable: HashMap<_, _> = dashboard_release_list(&mut tx, only)
            .await?
            .into_iter()
            .map(|release| (release.id, release))
            .collect();
        let running = Running::read(&mut tx).await?;
        let mut cells: HashMap<ProjectId, Vec<StatusCell>> = HashMap::new();
        for row in dashboard_cell_list(&mut tx, only).await? {
            let Some(environment) = environments.get(&row.environment_id) else {
                continue;
            };
            let mut cell = cell(&mut tx, environment, &row, &remarkable).await?;
            cell.under_way = running.under_way(&mut tx, &row).await?;
            cells.entry(row.project_id).or_default().push(cell);
        }
        let rows = projects.into_iter().map(|row| StatusRow {
            cells: cells.remove(&row.id).unwrap_or_default(),
            latest_release: row.latest_release,
            project: row.slug,
        });
        let rows = rows.collect();
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

async fn cell(
    tx: &mut Tx,
    environment: &str,
    row: &DashboardCell,
    remarkable: &HashMap<ReleaseId, ReleaseRow>,
) -> Result<StatusCell> {
    let (mut blocked, mut older) = (None, None);
    if let Some((task, release, _)) = &row.succeeded
        && let Some(release) = remarkable.get(release)
    {
        older = older_variables(tx, release, *task).await?;
        blocked = release.blocked.as_ref().map(|block| block.reason.clone());
    }
    // What is over stays as it was noted; of what is not, the task itself says more.
    let (last_state, awaits_person) = match row.state {
        store::TaskState::Done => (tasks::state_word(row.state, row.outcome, false), false),
        store::TaskState::Queued | store::TaskState::Running => {
            let task = task_fetch(tx, row.task_id).await?;
            let awaits = task.awaits_person_since_us.is_some();
            (tasks::task_state(&task), awaits)
        }
    };
    Ok(StatusCell {
        older_variables: older,
        blocked,
        environment: environment.to_owned(),
        running: row
            .succeeded
            .as_ref()
            .map(|(_, _, version)| version.clone()),
        last_version: row.release_version.clone(),
        last_task: tasks::number(row.task_number),
        last_state,
        awaits_person,
        at: at(row.changed_at_us),
        under_way: None,
    })
}

/// The deployments that run, by their place.
struct Running(HashMap<(ProjectId, EnvironmentId), Vec<TaskRow>>);

impl Running {
    async fn read(tx: &mut Tx) -> Result<Self> {
        let mut places: HashMap<_, Vec<TaskRow>> = HashMap::new();
        for task in task_list_running(tx, u32::MAX).await? {
            if task.kind == TaskKind::Deployment
                && let Some(place) = task.project_id.zip(task.environment_id)
            {
                places.entry(place).or_default().push(task);
            }
        }
        Ok(Self(places))
    }

    /// The deployment that runs at a place although a later one was asked for.
    async fn under_way(&self, tx: &mut Tx, row: &DashboardCell) -> Result<Option<StatusUnderWay>> {
        let there = self.0.get(&(row.project_id, row.environment_id));
        let mut others = there.into_iter().flatten();
        let Some(task) = others.find(|task| task.id != row.task_id) else {
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
}
