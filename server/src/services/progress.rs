//! Where a release stands in its lifecycle, and the deployments that the lifecycle queues.
//!
//! A release that enters an automatic phase is sent to its environments in the transaction of the
//! fact that let it in: its creation, the success that passed the phase before, the end of a block.
//! So a server that is killed has written both or neither, and a row a release and environment sees
//! to it that it happens once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::explain::Refusal;
use mantle_domain::ids::{EnvironmentId, ReleaseId};
use mantle_domain::lifecycle::block::{self, Block, Blocked};
use mantle_domain::lifecycle::{self, LifecycleDefinition, Occasion};
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_domain::planner::PlanOptions;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::queue::Priority;
use mantle_domain::queue::schedule::Window;
use mantle_shared::Digest;
use mantle_shared::ids::TaskId;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::tasks::number;
use super::{DeploymentOrder, mint};
use crate::store::{
    AuditEntry, DeploymentCurrentRow, NewTask, ProjectRow, ReleaseBlock, ReleaseRow, StoreError,
    TaskKind, TaskState, Tx, audit_append, automatic_deployment_claim, deployment_current_show,
    environment_list, lifecycle_find, project_fetch, release_place_list, release_variables_list,
    task_insert,
};

/// Who acts when a lifecycle does.
pub const LIFECYCLE: &str = "lifecycle";

/// Which way a release goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through the phases of its lifecycle.
    Forward,
    /// Back to where it was before the one that runs there.
    Back,
}

/// Where a release stands in the lifecycle that it follows now.
pub struct Course {
    /// The lifecycle, if it follows one.
    pub lifecycle: Option<LifecycleDefinition>,
    /// All environments, in order.
    pub environments: Vec<String>,
    /// Those to which it was deployed with success, ever.
    pub succeeded: BTreeSet<String>,
    /// Those to which it was deployed or sent, however that ended.
    sent: BTreeSet<String>,
    ids: HashMap<String, EnvironmentId>,
    /// Those into which every deployment is urgent.
    urgent: BTreeSet<String>,
}

impl Course {
    /// Reads it.
    pub async fn read(
        tx: &mut Tx,
        definition: &ProjectDefinition,
        release: &ReleaseRow,
    ) -> Result<Self, StoreError> {
        let lifecycle = followed(tx, definition, &release.channel).await?;
        let rows = environment_list(tx).await?;
        let names: HashMap<EnvironmentId, String> =
            rows.iter().map(|row| (row.id, row.name.clone())).collect();
        let places = release_place_list(tx, release.id).await?;
        let named = |wanted: &dyn Fn(bool) -> bool| -> BTreeSet<String> {
            let places = places.iter().filter(|(_, succeeded)| wanted(*succeeded));
            places
                .filter_map(|(id, _)| names.get(id).cloned())
                .collect()
        };
        let mut urgent = BTreeSet::new();
        for row in &rows {
            let body: EnvironmentDefinition = stored(&row.body, "an environment's definition")?;
            if body.priority == Priority::High {
                urgent.insert(row.name.clone());
            }
        }
        Ok(Self {
            urgent,
            lifecycle,
            succeeded: named(&|succeeded| succeeded),
            sent: named(&|_| true),
            environments: rows.iter().map(|row| row.name.clone()).collect(),
            ids: rows.into_iter().map(|row| (row.name, row.id)).collect(),
        })
    }

    /// How urgent a deployment into an environment is, by that environment and by its phase.
    pub fn priority(&self, environment: &str) -> Priority {
        if self.urgent.contains(environment) {
            return Priority::High;
        }
        lifecycle::priority(self.lifecycle.as_ref(), &self.environments, environment)
    }

    /// How many earlier versions of a package stay on a target, if the lifecycle says.
    pub fn keep_on_target(&self) -> Option<u32> {
        self.lifecycle.as_ref()?.retention.on_target
    }

    /// May the release go there as things stand? Where it has succeeded it always may, blocked or
    /// not. Asked when a deployment is queued, and again when its turn comes.
    pub fn check(
        &self,
        project: &str,
        release: &ReleaseRow,
        environment: &str,
        way: Way,
    ) -> Result<(), Refusal> {
        match way {
            Way::Forward => lifecycle::check(
                lifecycle::ReleaseName {
                    project,
                    version: &release.version,
                },
                self.lifecycle.as_ref(),
                &self.environments,
                &self.succeeded,
                environment,
            )?,
            // It was there before, so that it may go there; only a block keeps it away.
            Way::Back => {}
        }
        self.check_block(project, release, environment)
    }

    /// May a release that is blocked go there? One that is not may.
    fn check_block(
        &self,
        project: &str,
        release: &ReleaseRow,
        environment: &str,
    ) -> Result<(), Refusal> {
        let Some(ReleaseBlock { by, reason, .. }) = &release.blocked else {
            return Ok(());
        };
        let block = Block {
            by: by.clone(),
            reason: reason.clone(),
        };
        let blocked = Blocked {
            project,
            version: &release.version,
            block: &block,
            succeeded: &self.succeeded,
        };
        block::check(
            self.lifecycle.as_ref(),
            &self.environments,
            &blocked,
            environment,
        )
    }
}

/// The lifecycle that releases of a channel follow.
pub async fn followed(
    tx: &mut Tx,
    definition: &ProjectDefinition,
    channel: &str,
) -> Result<Option<LifecycleDefinition>, StoreError> {
    let channels = mantle_domain::channel::effective(&definition.channels);
    let own = channels.into_iter().find(|known| known.name == channel);
    let name = own
        .and_then(|channel| channel.lifecycle)
        .or_else(|| definition.lifecycle.clone());
    match name {
        None => Ok(None),
        Some(name) => match lifecycle_find(tx, &name).await? {
            None => Ok(None),
            Some(row) => stored(&row.body, "a lifecycle's definition").map(Some),
        },
    }
}

/// A deployment to be queued.
pub struct NewDeployment<'a> {
    /// The project.
    pub project: &'a ProjectRow,
    /// The release.
    pub release: &'a ReleaseRow,
    /// The environment.
    pub environment: (EnvironmentId, &'a str),
    /// What the operator chose.
    pub options: PlanOptions,
    /// The variables that it was asked for with: the release's, or those of the deployment that it
    /// goes back to. A plan rests on these.
    pub unanswered: Digest,
    /// The variables that it uses: the same, with the answers in place of the prompts.
    pub variables: Digest,
    /// What was answered, by variable; `None` for a secret.
    pub answers: BTreeMap<String, Option<String>>,
    /// The plan that it is bound to.
    pub plan: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it may begin.
    pub window: Window,
    /// The release that it goes back from, if it is a rollback.
    pub back_from: Option<ReleaseId>,
    /// Who queues it.
    pub by: &'a str,
    /// What they said about it.
    pub comment: String,
    /// Its own fields.
    pub fields: BTreeMap<String, String>,
    /// What was given for it, as marks.
    pub given: BTreeMap<String, String>,
}

/// A deployment that was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its task.
    pub task: TaskId,
    /// Its number for people.
    pub number: String,
    /// Its environment.
    pub environment: String,
    /// What it does, for people.
    pub title: String,
}

/// Queues a deployment and shows it on the dashboard. Its audit row is the caller's.
pub async fn queue(
    tx: &mut Tx,
    id: TaskId,
    new: NewDeployment<'_>,
    at_us: i64,
) -> Result<Queued, StoreError> {
    let (environment_id, environment) = new.environment;
    let order = DeploymentOrder {
        project: new.project.slug.clone(),
        version: new.release.version.clone(),
        environment: environment.to_owned(),
        options: new.options,
        variables: Some(new.variables),
        release_variables: (new.variables != new.unanswered).then_some(new.unanswered),
        answers: new.answers,
        plan: new.plan,
        comment: new.comment,
        fields: new.fields,
        given: new.given,
        back_from: new.back_from,
    };
    let title = format!("{} {} -> {environment}", order.project, order.version);
    let task = NewTask {
        id,
        kind: TaskKind::Deployment,
        title: title.clone(),
        project_id: Some(new.project.id),
        environment_id: Some(environment_id),
        release_id: Some(new.release.id),
        // Two deployments of a project into an environment would tread on each other.
        queue_key: Some(format!("deploy/{}/{environment_id}", new.project.id)),
        body: serde_json::to_string(&order)
            .map_err(|error| StoreError::corrupt(format!("a task to be written: {error}")))?,
        variables: Some(new.variables),
        priority: new.priority,
        not_before_us: new.window.at.map(Timestamp::as_microsecond),
        expires_at_us: new.window.expires.map(Timestamp::as_microsecond),
        at_us,
        by: new.by.to_owned(),
    };
    let number = number(task_insert(tx, &task).await?);
    let shown = DeploymentCurrentRow {
        project_id: new.project.id,
        environment_id,
        task_id: id,
        release_id: new.release.id,
        release_version: order.version,
        state: TaskState::Queued,
        outcome: None,
        has_warnings: false,
        changed_at_us: at_us,
        succeeded: None,
    };
    deployment_current_show(tx, &shown).await?;
    Ok(Queued {
        task: id,
        number,
        environment: environment.to_owned(),
        title,
    })
}

/// Sends a release to the environments of the automatic phases that it has entered and was not
/// sent to yet. A release that is blocked goes nowhere by itself.
pub async fn progress(
    tx: &mut Tx,
    project: &ProjectRow,
    release: &ReleaseRow,
    occasion: Occasion<'_>,
    cause: &str,
    now: Timestamp,
) -> Result<Vec<Queued>, StoreError> {
    if release.blocked.is_some() {
        return Ok(Vec::new());
    }
    let definition: ProjectDefinition = stored(&project.body, "a project's definition")?;
    let course = Course::read(tx, &definition, release).await?;
    let Some(followed) = &course.lifecycle else {
        return Ok(Vec::new());
    };
    let due = lifecycle::automatic(
        followed,
        &course.environments,
        &course.succeeded,
        &course.sent,
        occasion,
    );
    let at_us = now.as_microsecond();
    let mut queued = Vec::with_capacity(due.len());
    for name in due {
        // An environment that a lifecycle names and that is not there any more.
        let Some(environment) = course.ids.get(&name).copied() else {
            continue;
        };
        let id = TaskId::from_uuid(mint());
        if !automatic_deployment_claim(tx, release.id, environment, id, at_us).await? {
            continue;
        }
        let new = NewDeployment {
            project,
            release,
            environment: (environment, &name),
            options: PlanOptions::default(),
            // Nobody is asked: defaults hold, and what has none refuses the plan.
            unanswered: release.variables,
            variables: release.variables,
            answers: BTreeMap::new(),
            plan: None,
            priority: course.priority(&name),
            window: Window::default(),
            back_from: None,
            by: LIFECYCLE,
            comment: String::new(),
            fields: BTreeMap::new(),
            given: BTreeMap::new(),
        };
        let task = queue(tx, id, new, at_us).await?;
        let entry = AuditEntry {
            at_us,
            actor: LIFECYCLE.to_owned(),
            action: "deployment.create".to_owned(),
            subject: task.title.clone(),
            detail: json!({
                "task": task.number,
                "lifecycle": followed.name,
                "cause": cause,
                "id": id,
            })
            .to_string(),
        };
        audit_append(tx, &entry).await?;
        queued.push(task);
    }
    Ok(queued)
}

/// [`progress`] after a deployment that succeeded. What cannot be read must not hold up the end of
/// that deployment, which is written in the same transaction.
pub async fn progress_after_success(
    tx: &mut Tx,
    release: &ReleaseRow,
    environment: &str,
    task_number: &str,
    now: Timestamp,
) -> Result<Vec<Queued>, StoreError> {
    let project = project_fetch(tx, release.project_id).await?;
    let cause = format!("{task_number} succeeded");
    let occasion = Occasion::Succeeded(environment);
    match progress(tx, &project, release, occasion, &cause, now).await {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                task.number = task_number,
                "what the lifecycle wants next cannot be read; nothing was queued by it"
            );
            Ok(Vec::new())
        }
        other => other,
    }
}

/// The digests that a deployment uses: those of its release, and the variables that it had when
/// the deployment was asked for. A later refresh does not reach it.
pub async fn digests_of(
    tx: &mut Tx,
    release: &ReleaseRow,
    ordered: Option<Digest>,
    asked_at_us: i64,
) -> Result<ReleaseDigests, StoreError> {
    let variables = match ordered {
        Some(digest) => digest,
        // Queued by a version that did not note it down: the snapshot of that moment.
        None => release_variables_list(tx, release.id)
            .await?
            .into_iter()
            .find(|entry| entry.changed_at_us <= asked_at_us)
            .map_or(release.variables, |entry| entry.digest),
    };
    Ok(ReleaseDigests {
        process: release.process,
        variables,
        packages: release.packages,
    })
}

/// A stored JSON document.
fn stored<T: DeserializeOwned>(body: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::corrupt(format!("{what}: {error}")))
}
