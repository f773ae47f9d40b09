//! Plans a deployment: release x environment x targets of now -> plan, or a list of reasons.
//!
//! Deterministic: the same request gives the same plan, whatever the order of the targets in it.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::{TargetId, TaskId};

use crate::explain::{Refusal, nearest};
use crate::plan::{
    Guidance, LeftOutReason, PLAN_FORMAT, Plan, PlanBefore, PlanFacts, PlanStep, PlanTarget,
    read_by,
};
use crate::process::{Timeouts, Unavailable, Unhealthy};
use crate::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot};
use crate::target::TargetFacts;
use crate::variable::prompt::answer;
use crate::variable::{DEPLOYMENT_PROCESS, Situation};

pub mod able;
mod back;
mod conditions;
mod locks;
mod pool;
pub mod preview;
mod steps;
mod ties;
pub(crate) mod values;

use pool::Pool;
use steps::Planner;
use ties::Ties;

#[cfg(test)]
mod law_tests;
#[cfg(test)]
mod tests;

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The deployment.
    pub task: TaskId,
    /// The environment's name.
    pub environment: &'a str,
    /// The release's version.
    pub release: &'a str,
    /// The release's channel.
    pub channel: &'a str,
    /// The release's process.
    pub process: &'a ProcessSnapshot,
    /// The release's variables.
    pub variables: &'a VariableSnapshot,
    /// The release's packages.
    pub packages: &'a PackageSnapshot,
    /// All targets that the server knows, of every environment.
    pub targets: &'a [TargetFacts],
    /// What the operator chose.
    pub options: &'a PlanOptions,
    /// What the lifecycle says of earlier versions of packages on targets.
    pub keep_on_target: Option<u32>,
    /// How long a deployment into the environment may take, unless its project says.
    pub time_limit_ms: Option<u64>,
    /// What a failure leads to in the environment, unless project or operator say.
    pub guided_failure: bool,
    /// What is known beside it.
    pub facts: &'a PlanFacts,
    /// What of the project runs on targets in the environment.
    pub before: &'a [PlanBefore],
}

/// What the operator chose for one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PlanOptions {
    /// Only these targets, by name; empty means all.
    #[serde(default)]
    pub only_targets: BTreeSet<String>,
    /// Not these targets.
    #[serde(default)]
    pub not_targets: BTreeSet<String>,
    /// Not these steps.
    #[serde(default)]
    pub skip_steps: BTreeSet<String>,
    /// The deployment whose failed targets `only_targets` are, which nobody named one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_in: Option<String>,
    /// Steps that run once and went well in a deployment that this one repeats for what failed there, and
    /// which that was. One that `only_steps` names runs all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub done_steps: BTreeMap<String, String>,
    /// How long it may take, whatever project and environment say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// Only targets with one of these tags; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only_tags: BTreeSet<String>,
    /// Only these steps; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only_steps: BTreeSet<String>,
    /// What becomes of targets that are away, whatever project and steps say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
    /// What becomes of targets that are unhealthy, whatever project and steps say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<Unhealthy>,
    /// Whether a failure asks a person, whatever project and environment say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guided_failure: Option<bool>,
}

impl PlanOptions {
    /// They say which targets or steps take part.
    pub fn is_a_choice(&self) -> bool {
        let chosen = [
            &self.only_targets,
            &self.not_targets,
            &self.skip_steps,
            &self.only_tags,
            &self.only_steps,
        ];
        chosen.iter().any(|names| !names.is_empty())
    }

    /// A target was chosen by its name, and not excluded.
    fn names(&self, target: &str) -> bool {
        self.failed_in.is_none()
            && self.only_targets.contains(target)
            && !self.not_targets.contains(target)
    }

    /// The deployment in which a step that runs once went well, if it is not to run again.
    pub fn done_in(&self, step: &str) -> Option<&str> {
        let done = self.done_steps.get(step)?;
        (!self.only_steps.contains(step)).then_some(done)
    }

    /// A step does not take part.
    pub fn leaves_out(&self, step: &str) -> bool {
        self.skip_steps.contains(step)
            || (!self.only_steps.is_empty() && !self.only_steps.contains(step))
    }
}

/// Plans, or says every reason why not.
pub fn plan(request: &PlanRequest<'_>) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = unknown_names(request);
    refusals.extend(unanswered(request));
    let pool = Pool::new(request);
    if pool.is_empty() && process_needs_targets(request) {
        refusals.push(Refusal::NoTargetInEnvironment {
            environment: request.environment.to_owned(),
            remedy: pool.remedy(None),
        });
        return Err(refusals);
    }
    let mut planner = Planner::new(request, &pool);
    let steps = back::with_ways_back(request, &pool, planner.steps());
    refusals.append(&mut planner.refusals);
    let steps_wanted = planner.wanted_tags();
    let taking_part: BTreeSet<_> = steps
        .iter()
        .flat_map(|step| &step.actions)
        .flat_map(|action| &action.nodes)
        .flat_map(|node| [node.subject, node.executor])
        .collect();
    let (subjects, for_others) = parts(&steps);
    refusals.extend(pool.offline(&subjects, &for_others));
    if refusals.is_empty() && taking_part.is_empty() && request.options.is_a_choice() {
        refusals.push(Refusal::NothingToDo {
            project: request.process.project.clone(),
            version: request.release.to_owned(),
            environment: request.environment.to_owned(),
        });
    }
    let mut targets: Vec<PlanTarget> = pool
        .all()
        .filter(|member| taking_part.contains(&member.id))
        .cloned()
        .collect();
    targets.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    let mut plan = Plan {
        format: PLAN_FORMAT,
        task: request.task,
        project: request.process.project.clone(),
        environment: request.environment.to_owned(),
        release: request.release.to_owned(),
        channel: request.channel.to_owned(),
        targets,
        steps,
        warnings: Vec::new(),
        keep_on_target: request.keep_on_target,
        left_out: pool.left_out(&steps_wanted, &taking_part),
        timeouts: timeouts(request),
        facts: request.facts.clone(),
        guidance: guidance(request),
        reads: read_by(request.process, request.variables),
    };
    refusals.extend(not_joined(request, &plan));
    locks::assign(request, &mut plan);
    let mut ties = Ties::default();
    let (beyond, mut warnings) = values::check(request, &plan, &mut ties);
    let conditions = conditions::check(request, &plan, &mut ties);
    refusals.extend(ties.refusals(&plan));
    refusals.extend(beyond);
    refusals.extend(conditions.refusals);
    warnings.extend(conditions.warnings);
    if !refusals.is_empty() {
        return Err(deduplicated(refusals));
    }
    plan.warnings = Pool::warnings(&plan);
    plan.warnings.extend(warnings);
    Ok(plan)
}

/// The targets that are left out since no agent has joined as them, if whoever asks wants none to be away.
/// Otherwise that is warned about: a fleet's file may name machines that are not there yet.
fn not_joined(request: &PlanRequest<'_>, plan: &Plan) -> Vec<Refusal> {
    if request.options.unavailable != Some(Unavailable::Fail) {
        return Vec::new();
    }
    let left_out = plan.left_out.iter();
    let missing = left_out.filter(|target| target.why == LeftOutReason::NotJoined);
    missing
        .map(|target| Refusal::NotJoined {
            target: target.name.clone(),
        })
        .collect()
}

/// The targets that steps are about, and those that run anything for others.
fn parts(steps: &[PlanStep]) -> (BTreeSet<TargetId>, BTreeSet<TargetId>) {
    let nodes = || {
        let actions = steps.iter().flat_map(|step| &step.actions);
        actions.flat_map(|action| &action.nodes)
    };
    let others = nodes().filter(|node| node.executor != node.subject);
    (
        nodes().map(|node| node.subject).collect(),
        others.map(|node| node.executor).collect(),
    )
}

/// How long it may take: as the operator says, else the project, else the environment.
fn timeouts(request: &PlanRequest<'_>) -> Timeouts {
    let own = request.process.process.timeouts;
    let chosen = request.options.time_limit_ms;
    Timeouts {
        packages_ms: own.packages_ms,
        deployment_ms: chosen.or(own.deployment_ms).or(request.time_limit_ms),
    }
}

/// What a failure leads to: as the operator says, else the project, else the environment.
fn guidance(request: &PlanRequest<'_>) -> Guidance {
    let own = request.process.process.guided_failure;
    let guided = request.options.guided_failure.or(own);
    if guided.unwrap_or(request.guided_failure) {
        Guidance::Guided
    } else {
        Guidance::Unguided
    }
}

/// What the deployment asks for and nobody answered. Who creates one answers before; a lifecycle
/// that deploys by itself does not.
fn unanswered(request: &PlanRequest<'_>) -> Vec<Refusal> {
    let situation = Situation {
        environment: Some(request.environment),
        channel: Some(request.channel),
        process: Some(DEPLOYMENT_PROCESS),
        ..Situation::default()
    };
    let variables = &request.variables.variables;
    answer(variables, &situation, &BTreeMap::new())
        .err()
        .unwrap_or_default()
}

fn process_needs_targets(request: &PlanRequest<'_>) -> bool {
    request
        .process
        .process
        .steps
        .iter()
        .any(|step| step.targets.is_some())
}

/// Options that name what does not exist.
fn unknown_names(request: &PlanRequest<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let here: Vec<&TargetFacts> = request
        .targets
        .iter()
        .filter(|target| {
            target
                .environments
                .iter()
                .any(|name| name == request.environment)
        })
        .collect();
    let by_name: BTreeMap<&str, &TargetFacts> = here
        .iter()
        .rev()
        .map(|target| (target.name.as_str(), *target))
        .collect();
    for name in request
        .options
        .only_targets
        .iter()
        .chain(&request.options.not_targets)
    {
        match by_name.get(name.as_str()) {
            None => refusals.push(Refusal::UnknownTarget {
                target: name.clone(),
                suggestion: nearest(name, here.iter().map(|target| target.name.as_str())),
                elsewhere: request
                    .targets
                    .iter()
                    .find(|target| target.name == *name)
                    .map_or_else(Vec::new, |target| target.environments.clone()),
            }),
            Some(target)
                if target.agent.is_none() && request.options.only_targets.contains(name) =>
            {
                refusals.push(Refusal::NotJoined {
                    target: name.clone(),
                });
            }
            // Who names it counts on it: it is not left out in silence.
            Some(target)
                if target.disabled
                    && request.options.only_targets.contains(name)
                    && !request.options.not_targets.contains(name) =>
            {
                refusals.push(Refusal::TargetDisabled {
                    target: name.clone(),
                });
            }
            Some(target) if request.options.names(name) => {
                if let Some(reason) = &target.maintenance {
                    refusals.push(Refusal::TargetInMaintenance {
                        target: name.clone(),
                        reason: reason.clone(),
                    });
                }
            }
            Some(_) => {}
        }
    }
    for tag in &request.options.only_tags {
        let known = here.iter().flat_map(|target| &target.tags);
        if !known.clone().any(|own| own == tag) {
            refusals.push(Refusal::UnknownTag {
                place: "this deployment".to_owned(),
                tag: tag.clone(),
                suggestion: nearest(tag, known.map(String::as_str)),
                target: here.first().map(|target| target.name.clone()),
            });
        }
    }
    let steps: Vec<&str> = request
        .process
        .process
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    for step in &request.process.process.steps {
        if step.is_required() && request.options.leaves_out(&step.name) {
            refusals.push(Refusal::RequiredStep {
                step: step.name.clone(),
            });
        }
    }
    for name in request
        .options
        .skip_steps
        .iter()
        .chain(&request.options.only_steps)
    {
        if !steps.contains(&name.as_str()) {
            refusals.push(Refusal::UnknownStep {
                project: request.process.project.clone(),
                version: request.release.to_owned(),
                step: name.clone(),
                suggestion: nearest(name, steps.iter().copied()),
                steps: steps.iter().map(|step| (*step).to_owned()).collect(),
            });
        }
    }
    refusals
}

/// Each once, by all that it says: a large fleet can have as many as it has targets.
fn deduplicated(mut refusals: Vec<Refusal>) -> Vec<Refusal> {
    let mut seen = BTreeSet::new();
    refusals.retain(|refusal| seen.insert(format!("{refusal:?}")));
    refusals
}
