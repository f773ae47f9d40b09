//! Deploying: check, plan, queue. Who plans here promises nothing: the orchestrator plans again
//! when the task's turn comes, from the same release and the targets of that moment.

use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::explain::Refusal;
use mantle_domain::ids::{EnvironmentId, TaskId};
use mantle_domain::lifecycle;
use mantle_domain::permission::Permission;
use mantle_domain::planner::PlanOptions;
use mantle_domain::planner::preview::preview;
use serde_json::json;

use super::declared::{environment_order, lifecycle_definition, project_definition, read};
use super::error::{Error, Result};
use super::planning::{Pins, Wanted};
use super::tasks::{number, task_shape};
use super::{Caller, Deed, DeploymentOrder, Services, facts, mint, names};
use crate::api::body::{DeploymentCreate, PlanBody, PlanTarget, Task};
use crate::store::{
    DeploymentCurrentRow, EnvironmentRow, NewTask, ProjectRow, ReleaseRow, TaskKind, TaskState, Tx,
    deployment_current_list, deployment_current_show, lifecycle_find, release_fetch, release_list,
    task_fetch, task_insert,
};

/// Use cases of deployments.
impl Services {
    /// What a deployment would do. Changes nothing.
    pub async fn deployment_plan(
        &self,
        caller: &Caller,
        request: &DeploymentCreate,
    ) -> Result<PlanBody> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let place = place(&mut tx, request).await?;
        let pins = Pins::read(&mut tx, &place.release).await?;
        let targets = facts::targets(&mut tx, &*self.presence).await?;
        drop(tx);
        let options = PlanOptions::default();
        let wanted = place.wanted(TaskId::from_uuid(mint()), &pins, &options);
        let asked = wanted.request(&targets);
        let plan = mantle_domain::planner::plan(&asked)?;
        let shown = preview(&asked, &plan, self.now());
        let warnings = unheeded(&place.environment)?.into_iter();
        Ok(PlanBody {
            project: plan.project,
            version: plan.release,
            channel: plan.channel,
            environment: plan.environment,
            targets: plan
                .targets
                .into_iter()
                .map(|target| PlanTarget {
                    name: target.name,
                    tags: target.tags,
                    platform: facts::platform_word(target.platform).to_owned(),
                })
                .collect(),
            steps: shown
                .steps
                .into_iter()
                .map(super::plan_shape::step)
                .collect(),
            warnings: warnings.chain(shown.warnings).collect(),
        })
    }

    /// Queues a deployment, if the rules allow it and it could be planned now.
    pub async fn deploy(&self, caller: &Caller, request: &DeploymentCreate) -> Result<Task> {
        caller.may(Permission::Deploy)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let place = place(&mut tx, request).await?;
        let id = TaskId::from_uuid(mint());
        let order = DeploymentOrder {
            project: place.project.slug.clone(),
            version: place.release.version.clone(),
            environment: place.environment.name.clone(),
            options: PlanOptions::default(),
        };
        let pins = Pins::read(&mut tx, &place.release).await?;
        let wanted = place.wanted(id, &pins, &order.options);
        wanted.plan(&mut tx, &*self.presence).await??;
        let title = format!(
            "{} {} -> {}",
            order.project, order.version, order.environment
        );
        let task = NewTask {
            id,
            kind: TaskKind::Deployment,
            title: title.clone(),
            project_id: Some(place.project.id),
            environment_id: Some(place.environment.id),
            release_id: Some(place.release.id),
            // Two deployments of a project into an environment would tread on each other.
            queue_key: Some(format!(
                "deploy/{}/{}",
                place.project.id, place.environment.id
            )),
            body: serde_json::to_string(&order)
                .map_err(|error| Error::internal("writing a task", error))?,
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
        };
        let shown = number(task_insert(&mut tx, &task).await?);
        show_queued(&mut tx, &place, id, now.as_microsecond()).await?;
        let deed = Deed {
            action: "deployment.create",
            subject: &title,
            id: Some(id.as_uuid()),
            detail: json!({"task": shown}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = task_fetch(&mut tx, id).await?;
        tx.commit().await?;
        self.wake.task_queued(id);
        Ok(task_shape(&row))
    }
}

/// What the environment asks for and a deployment will not do.
fn unheeded(environment: &EnvironmentRow) -> Result<Option<String>> {
    let what = "reading an environment's definition";
    let asked: EnvironmentDefinition = read(what, &environment.body)?;
    Ok(asked.guided_failure.then(|| {
        format!(
            "environment '{}' asks for guided_failure, which this version does not act on: a failure fails the deployment, and nobody is asked",
            environment.name
        )
    }))
}

/// What a deployment is about.
struct Place {
    project: ProjectRow,
    release: ReleaseRow,
    environment: EnvironmentRow,
}

impl Place {
    fn wanted<'a>(&'a self, task: TaskId, pins: &'a Pins, options: &'a PlanOptions) -> Wanted<'a> {
        Wanted {
            task,
            environment: &self.environment.name,
            version: &self.release.version,
            channel: &self.release.channel,
            pins,
            options,
        }
    }
}

/// Finds what a request names and checks the lifecycle.
async fn place(tx: &mut Tx, request: &DeploymentCreate) -> Result<Place> {
    let project = names::project(tx, &request.project).await?;
    let environment = names::environment(tx, &request.environment).await?;
    let release = match (&request.version, &request.from) {
        (Some(version), None) => names::release(tx, &project, version).await?,
        (None, Some(from)) => running_in(tx, &project, from).await?,
        (Some(version), Some(from)) => {
            let release = names::release(tx, &project, version).await?;
            proven_in(tx, &project, &release, from).await?;
            release
        }
        (None, None) => {
            return Err(Error::invalid(
                "no-version",
                format!("which release of {} is meant is not said", project.slug),
                format!("'mantle release list {}' shows them", project.slug),
            ));
        }
    };
    check_lifecycle(tx, &project, &release, &environment.name).await?;
    Ok(Place {
        project,
        release,
        environment,
    })
}

/// The release that was last deployed with success.
async fn running_in(tx: &mut Tx, project: &ProjectRow, from: &str) -> Result<ReleaseRow> {
    let from = names::environment(tx, from).await?;
    let current = current(tx, project, from.id).await?;
    if let Some(succeeded) = current.and_then(|row| row.succeeded) {
        return Ok(release_fetch(tx, succeeded.release_id).await?);
    }
    let (slug, environment) = (&project.slug, &from.name);
    let newest = release_list(tx, project.id, None, 1).await?.pop();
    let help = match newest {
        Some(release) => format!(
            "deploy one there first: mantle deploy {slug} {} -e {environment}",
            release.version
        ),
        None => format!("create one first: mantle release create {slug}"),
    };
    let detail = format!("no release of {slug} runs in {environment}");
    Err(Error::refused("nothing-to-promote", detail, help))
}

async fn proven_in(
    tx: &mut Tx,
    project: &ProjectRow,
    release: &ReleaseRow,
    from: &str,
) -> Result<()> {
    let from = names::environment(tx, from).await?;
    let succeeded = facts::succeeded(tx, project.id, release.id).await?;
    if succeeded.contains(&from.name) {
        return Ok(());
    }
    let (slug, version) = (&project.slug, &release.version);
    Err(Error::refused(
        "not-proven",
        format!(
            "{slug} {version} was never deployed to {} with success",
            from.name
        ),
        format!(
            "deploy it there first: mantle deploy {slug} {version} -e {}",
            from.name
        ),
    ))
}

async fn check_lifecycle(
    tx: &mut Tx,
    project: &ProjectRow,
    release: &ReleaseRow,
    environment: &str,
) -> Result<()> {
    let definition = project_definition(project)?;
    let channels = mantle_domain::channel::effective(&definition.channels);
    let channel = channels
        .iter()
        .find(|channel| channel.name == release.channel);
    let name = channel
        .and_then(|channel| channel.lifecycle.clone())
        .or(definition.lifecycle);
    let lifecycle = match &name {
        None => None,
        Some(name) => lifecycle_find(tx, name).await?,
    };
    let lifecycle = lifecycle.as_ref().map(lifecycle_definition).transpose()?;
    let environments = environment_order(tx).await?;
    let succeeded = facts::succeeded(tx, project.id, release.id).await?;
    let name = lifecycle::ReleaseName {
        project: &project.slug,
        version: &release.version,
    };
    let checked: std::result::Result<(), Refusal> = lifecycle::check(
        name,
        lifecycle.as_ref(),
        &environments,
        &succeeded,
        environment,
    );
    Ok(checked?)
}

async fn current(
    tx: &mut Tx,
    project: &ProjectRow,
    environment: EnvironmentId,
) -> Result<Option<DeploymentCurrentRow>> {
    let rows = deployment_current_list(tx, Some(project.id)).await?;
    Ok(rows
        .into_iter()
        .find(|row| row.environment_id == environment))
}

async fn show_queued(tx: &mut Tx, place: &Place, task: TaskId, at_us: i64) -> Result<()> {
    let row = DeploymentCurrentRow {
        project_id: place.project.id,
        environment_id: place.environment.id,
        task_id: task,
        release_id: place.release.id,
        release_version: place.release.version.clone(),
        state: TaskState::Queued,
        outcome: None,
        has_warnings: false,
        changed_at_us: at_us,
        succeeded: None,
    };
    Ok(deployment_current_show(tx, &row).await?)
}
