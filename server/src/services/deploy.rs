//! Deploying: check, plan, queue. Who plans here promises nothing: the orchestrator plans again
//! when the task's turn comes, from the same release and the targets of that moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::explain::Refusal;
use mantle_domain::file::duration;
use mantle_domain::ids::{EnvironmentId, TaskId};
use mantle_domain::permission::Permission;
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_domain::plan::{Guidance, PlanBefore, PlanFacts};
use mantle_domain::planner::able::as_if_able;
use mantle_domain::planner::preview::preview;
use mantle_domain::planner::{self, PlanOptions};
use mantle_domain::queue::Priority;
use mantle_domain::queue::schedule::{self, Window};
use mantle_domain::release::notes::{check_comment, check_fields};
use mantle_domain::snapshot::VariableSnapshot;
use mantle_domain::target::TargetFacts;
use serde_json::json;

use super::declared::{project_definition, read};
use super::error::{Error, Result};
use super::planning::{Pins, Wanted};
use super::plans::Footing;
use super::progress::{Course, NewDeployment, Queued, Way, queue};
use super::{
    Caller, Deed, Services, choices, facts, mint, names, plan_shape, plans, prompts, rollback,
    teams,
};
use crate::api::body::{
    Answers, DeploymentCreate, PlanBody, PlanPrompt, PlanTarget, Task, TaskPriority,
};
use crate::store::{
    DeploymentCurrentRow, EnvironmentRow, ProjectRow, ReleaseRow, Tx, deployment_current_list,
    release_fetch, release_list, task_fetch,
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
        let request = &*self.as_before(request).await?;
        let mut tx = self.store.read().await?;
        let now = self.now();
        let (made_of, prompts) = self
            .gather(&mut tx, caller, request, now, prompts::asked)
            .await?;
        let members = teams::members(&mut tx).await?;
        drop(tx);
        let planned = move || {
            let wanted = made_of.wanted();
            let question = wanted.request(&made_of.targets);
            let (plan, shown, refused) = match planner::plan(&question) {
                Ok(plan) => {
                    let shown = preview(&question, &plan, now);
                    (plan, shown, Vec::new())
                }
                Err(refused) => {
                    let Some(able) = as_if_able(&made_of.targets, &refused) else {
                        return Err(refused);
                    };
                    let question = wanted.request(&able);
                    let plan = planner::plan(&question)?;
                    let shown = preview(&question, &plan, now);
                    (plan, shown, refused)
                }
            };
            Ok((made_of.place, plan, shown, refused))
        };
        let (place, plan, shown, refused) = self.evaluations.looking.run(planned).await??;
        let warnings = teams::unanswerable(&plan, &members);
        let given = self.given(request, &prompts)?;
        // A plan is kept for those who may deploy it, if it can be: whoever may only look writes nothing.
        let id = if refused.is_empty() && caller.may(Permission::Deploy).is_ok() {
            self.plan_keep(&plan, place.footing(&given)).await?
        } else {
            String::new()
        };
        Ok(PlanBody {
            id,
            back_from: place.back_from.as_ref().map(|from| from.version.clone()),
            left_out: plan_shape::left_out(&plan),
            time_limit: plan.timeouts.deployment_ms.map(duration::format),
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
            steps: shown.steps.into_iter().map(plan_shape::step).collect(),
            warnings: [warnings, shown.warnings].concat(),
            refused: refused.iter().map(Refusal::to_string).collect(),
            guided_failure: plan.guidance == Guidance::Guided,
            prompts,
        })
    }

    /// What a deployment would ask for, and what of it the request answers already. Refused if the
    /// deployment is not allowed anyway, so that nobody answers in vain.
    pub async fn deployment_prompts(
        &self,
        caller: &Caller,
        request: &DeploymentCreate,
    ) -> Result<Vec<PlanPrompt>> {
        caller.may(Permission::Deploy)?;
        let request = &*self.as_before(request).await?;
        let mut tx = self.store.read().await?;
        let place = place(&mut tx, request).await?;
        let pins = Pins::read(&mut tx, place.digests).await?;
        prompts::open(&place, &pins.variables, &request.variables)
    }

    /// Queues a deployment, if the rules allow it and it could be planned now.
    pub async fn deploy(&self, caller: &Caller, request: &DeploymentCreate) -> Result<Task> {
        caller.may(Permission::Deploy)?;
        self.must_not_be_held()?;
        if request.priority == Some(TaskPriority::High) {
            caller.may(Permission::Prioritise)?;
        }
        let now = self.now();
        let window = Window {
            at: request.at,
            expires: request.expires,
        };
        schedule::check(window, now)?;
        let request = &*self.as_before(request).await?;
        let foreseen = self.foresee(self.store.read().await?, caller, request, now);
        let foreseen = if let Ok(foreseen) = foreseen.await {
            foreseen
        } else {
            // What an agent that has just connected said of itself may be on its way into the
            // database: nothing is refused but by what stands there once that is written.
            let turn = self.store.begin().await?;
            self.foresee(turn, caller, request, now).await?
        };
        let mut tx = self.store.begin().await?;
        let place = place(&mut tx, request).await?;
        if place.digests != foreseen {
            return Err(Error::refused(
                "changed-meanwhile",
                format!(
                    "the variables of {} {} were changed at the same moment",
                    place.project.slug, place.release.version
                ),
                "look at the plan, and deploy again",
            ));
        }
        let id = TaskId::from_uuid(mint());
        let pins = Pins::read(&mut tx, place.digests).await?;
        let answers = &request.variables;
        let prompts = prompts::open(&place, &pins.variables, answers)?;
        let given = self.given(request, &prompts)?;
        let answered = prompts::keep(self, &mut tx, caller, id, &place, &pins, answers).await?;
        let asked = asked(caller, request, &place.options, now)?;
        let shown_answers = shown(&answered.shown);
        let new = NewDeployment {
            project: &place.project,
            release: &place.release,
            environment: (place.environment.id, &place.environment.name),
            options: place.options.clone(),
            unanswered: place.digests.variables,
            variables: answered.digest,
            answers: answered.shown,
            plan: request.plan.clone(),
            priority: match request.priority {
                None => place.priority,
                // Whoever says so beforehand that it is not urgent means this one deployment.
                Some(TaskPriority::Normal) => Priority::Normal,
                Some(TaskPriority::High) => Priority::High,
            },
            window,
            back_from: place.back_from.as_ref().map(|from| from.id),
            by: asked.by,
            comment: request.comment.clone(),
            fields: request.fields.clone(),
            given,
        };
        let Queued {
            number: shown,
            title,
            ..
        } = queue(&mut tx, id, new, now.as_microsecond()).await?;
        let deed = Deed {
            action: "deployment.create",
            subject: &title,
            id: Some(id.as_uuid()),
            detail: json!({
                "task": shown,
                "plan": request.plan,
                "variables": shown_answers,
                "comment": request.comment,
                "fields": request.fields,
                "choices": request.choices,
                "priority": request.priority,
                "at": request.at,
                "expires": request.expires,
                "back_from": place.back_from.as_ref().map(|from| &from.version),
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = task_fetch(&mut tx, id).await?;
        let task = self.task_in_queue(&mut tx, &row, now).await?;
        tx.commit().await?;
        self.wake.task_queued(id);
        Ok(task)
    }

    /// Plans what is asked for, so that what could not be done is refused at once, and says what
    /// that rests on of the release. A fleet takes a while, so nobody's turn to write is taken. It
    /// is planned again, for the targets of that moment, when the deployment's own turn comes.
    async fn foresee(
        &self,
        mut tx: Tx,
        caller: &Caller,
        request: &DeploymentCreate,
        now: Timestamp,
    ) -> Result<ReleaseDigests> {
        let (made_of, prompts) = self
            .gather(&mut tx, caller, request, now, prompts::open)
            .await?;
        drop(tx);
        let planned = move || {
            let plan = planner::plan(&made_of.wanted().request(&made_of.targets))?;
            Ok::<_, Vec<Refusal>>((made_of.place, plan))
        };
        let (place, plan) = self.evaluations.deploying.run(planned).await??;
        if let Some(asked) = &request.plan {
            let given = self.given(request, &prompts)?;
            let mut tx = self.store.read().await?;
            plans::check(&mut tx, asked, &plan, place.footing(&given)).await?;
        }
        Ok(place.digests)
    }

    /// Reads all that a plan is made of, and what is asked for it.
    async fn gather(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        request: &DeploymentCreate,
        now: Timestamp,
        prompts: fn(&Place, &VariableSnapshot, &Answers) -> Result<Vec<PlanPrompt>>,
    ) -> Result<(MadeOf, Vec<PlanPrompt>)> {
        let place = place(tx, request).await?;
        let mut pins = Pins::read(tx, place.digests).await?;
        let prompts = prompts(&place, &pins.variables, &request.variables)?;
        pins.variables = prompts::preview(&place, pins.variables, &request.variables)?;
        let asked = asked(caller, request, &place.options, now)?;
        let made_of = MadeOf {
            facts: facts::of_plan(tx, &place.release, &place.environment, asked).await?,
            before: facts::before(tx, place.project.id, place.environment.id).await?,
            targets: facts::targets(tx, &*self.presence).await?,
            place,
            pins,
        };
        Ok((made_of, prompts))
    }
}

/// Who asks, and what they say, if it can be kept.
fn asked<'a>(
    caller: &'a Caller,
    request: &'a DeploymentCreate,
    options: &'a PlanOptions,
    at: Timestamp,
) -> Result<facts::Asked<'a>> {
    check_fields("a deployment", &request.fields)?;
    check_comment(&request.comment)?;
    Ok(facts::Asked {
        at,
        by: &caller.actor.name,
        comment: &request.comment,
        fields: &request.fields,
        expires: request.expires,
        options,
    })
}

/// What a deployment is about.
pub(super) struct Place {
    project: ProjectRow,
    pub(super) release: ReleaseRow,
    pub(super) environment: EnvironmentRow,
    /// What the release's lifecycle says of earlier versions of packages on targets.
    keep_on_target: Option<u32>,
    /// How long a deployment into the environment may take, unless its project says.
    time_limit_ms: Option<u64>,
    /// Whether a failure asks a person there, unless project or operator say.
    guided_failure: bool,
    /// What the operator chose.
    options: PlanOptions,
    /// How urgent deployments there are.
    priority: Priority,
    /// What the deployment is made of, before anything is answered: what the release pins, or what
    /// the deployment that is repeated had of it.
    pub(super) digests: ReleaseDigests,
    /// The release that is gone back from.
    back_from: Option<ReleaseRow>,
}

impl Place {
    /// What a plan of it rests on, with what was given for it.
    fn footing<'a>(&self, given: &'a BTreeMap<String, String>) -> Footing<'a> {
        Footing {
            digests: self.digests,
            back_from: self.back_from.as_ref().map(|from| from.id),
            given,
        }
    }
}

/// All that a plan is made of, read.
struct MadeOf {
    facts: PlanFacts,
    before: Vec<PlanBefore>,
    targets: Vec<TargetFacts>,
    place: Place,
    pins: Pins,
}

impl MadeOf {
    fn wanted(&self) -> Wanted<'_> {
        let place = &self.place;
        Wanted {
            task: TaskId::from_uuid(mint()),
            environment: &place.environment.name,
            version: &place.release.version,
            channel: &place.release.channel,
            pins: &self.pins,
            options: &place.options,
            keep_on_target: place.keep_on_target,
            time_limit_ms: place.time_limit_ms,
            guided_failure: place.guided_failure,
            facts: &self.facts,
            before: &self.before,
        }
    }
}

/// Finds what a request names and checks the lifecycle.
async fn place(tx: &mut Tx, request: &DeploymentCreate) -> Result<Place> {
    let project = names::project(tx, &request.project).await?;
    let environment = names::environment(tx, &request.environment).await?;
    if request.from.as_ref() == Some(&environment.name) {
        let (slug, name) = (&project.slug, &environment.name);
        return Err(Error::invalid(
            "bad-environment",
            format!("a release cannot be promoted from '{name}' to '{name}'"),
            format!(
                "name another environment, or deploy it again: mantle deploy {slug} VERSION -e {name}"
            ),
        ));
    }
    let (release, then, back_from) = match &request.rollback {
        None => (asked_for(tx, request, &project).await?, None, None),
        Some(rollback) => {
            let to = request.version.as_deref();
            let earlier = rollback::earlier(tx, &project, &environment, to).await?;
            let then = (!rollback.current_variables).then_some(earlier.digests);
            (earlier.release, then, Some(earlier.from))
        }
    };
    let way = match back_from {
        Some(_) => Way::Back,
        None => Way::Forward,
    };
    let course = Course::read(tx, &project_definition(&project)?, &release).await?;
    course.check(&project.slug, &release, &environment.name, way)?;
    let options = choices::read(
        tx,
        &request.choices,
        &project,
        &environment,
        &release.version,
    )
    .await?;
    let defined: EnvironmentDefinition =
        read("reading an environment's definition", &environment.body)?;
    Ok(Place {
        time_limit_ms: defined.timeout_ms,
        guided_failure: defined.guided_failure,
        options,
        digests: then.unwrap_or_else(|| release.digests()),
        back_from,
        keep_on_target: course.keep_on_target(),
        priority: course.priority(&environment.name),
        project,
        release,
        environment,
    })
}

/// The release that a request names, or that runs where it says.
async fn asked_for(
    tx: &mut Tx,
    request: &DeploymentCreate,
    project: &ProjectRow,
) -> Result<ReleaseRow> {
    match (&request.version, &request.from) {
        (Some(version), None) => names::release(tx, project, version).await,
        (None, Some(from)) => running_in(tx, project, from).await,
        (Some(version), Some(from)) => {
            let release = names::release(tx, project, version).await?;
            proven_in(tx, project, &release, from).await?;
            Ok(release)
        }
        (None, None) => Err(Error::invalid(
            "no-version",
            format!("which release of {} is meant is not said", project.slug),
            format!("'mantle release list {}' shows them", project.slug),
        )),
    }
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
    let succeeded = facts::succeeded(tx, release.id).await?;
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

/// What was answered, for the audit trail: secrets by name only.
fn shown(shown: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let shown = shown.iter();
    shown
        .map(|(name, value)| {
            let value = value.as_deref().unwrap_or("(secret)");
            (name.clone(), value.to_owned())
        })
        .collect()
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
