//! What `mantle plan` shows: each action about each target with its inputs evaluated, and why what
//! does not run does not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mantle_shared::ids::TargetId;
use mantle_template::{Budget, Options, Variables};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PlanRequest;
use super::pool::Pool;
use super::steps::Planner;
use crate::action;
use crate::fleet::Fleet;
use crate::order::{Done, OrderContext, effective_among, inputs};
use crate::plan::{NO_TARGET, Plan, PlanAction, PlanBefore, PlanStep};
use crate::process::{Action, OnFailure, RunCondition, Start};
use crate::state::view::ON_SERVER;
use crate::variable::uses::substitutes;
use crate::variable::{Effective, StandIn, made};
use crate::work;

/// A plan for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The steps.
    pub steps: Vec<PreviewStep>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewStep {
    /// Its name.
    pub name: String,
    /// Its number for people.
    pub number: u32,
    /// Why it does not apply here.
    pub skipped: Option<String>,
    /// Under which condition it runs, in words; empty for "on success".
    pub condition: String,
    /// When its turn comes.
    pub start: Start,
    /// Nobody may leave it out.
    pub required: bool,
    /// It rolls.
    pub rolling: bool,
    /// The most targets inside it at once.
    pub parallel: u32,
    /// So many of its targets may fail, and it has not failed.
    pub max_failed: u32,
    /// What becomes of the targets that wait once more have failed, if it rolls.
    pub on_failure: OnFailure,
    /// After the first target a person is asked whether to go on.
    pub pause_after_first: bool,
    /// The whole step is stopped after this long.
    pub timeout_ms: Option<u64>,
    /// Its targets by name, in order.
    pub subjects: Vec<String>,
    /// Its actions.
    pub actions: Vec<PreviewAction>,
    /// It is the way back of another step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<PreviewBack>,
}

/// What a way back would lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewBack {
    /// The step that it undoes, by name.
    pub of: String,
    /// That step's targets, the last first, each with what runs there now.
    pub targets: Vec<(String, Option<PlanBefore>)>,
    /// What would not be undone.
    pub left: Vec<PreviewLeft>,
}

/// An action that would not be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewLeft {
    /// The action's name.
    pub action: String,
    /// Why.
    pub why: String,
    /// About whom, by name; empty for all of its targets.
    pub targets: Vec<String>,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewAction {
    /// Its name.
    pub name: String,
    /// Its type.
    pub uses: String,
    /// Why it has no nodes.
    pub skipped: Option<String>,
    /// Under which condition it runs, in words.
    pub condition: String,
    /// Its packages.
    pub packages: Vec<PreviewPackage>,
    /// About whom, by whom, with what.
    pub nodes: Vec<PreviewNode>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewPackage {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The size of its files.
    pub size_bytes: u64,
}

/// One action about one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewNode {
    /// The target that it is about.
    pub subject: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// Its inputs, evaluated as far as they can be: secrets as their names, what is only known
    /// later as the template.
    pub with: Map<String, Value>,
}

/// Shows a plan. `now` is what `NowDate` prints.
pub fn preview(request: &PlanRequest<'_>, plan: &Plan, now: Timestamp) -> Preview {
    let pool = Pool::new(request);
    let planner = Planner::new(request, &pool);
    let context = OrderContext {
        plan,
        process: request.process,
        variables: request.variables,
        task_number: "",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let mut budget = work::budget(plan.targets.len());
    let fleet = Fleet::of_texts(plan, request.process, request.variables);
    let steps = plan
        .steps
        .iter()
        .map(|step| {
            let actions = step
                .actions
                .iter()
                .map(|planned| {
                    let done = Done::find(&context, step, planned);
                    let planned = (step, planned);
                    let context = (&context, &fleet);
                    show_action(context, &planner, planned, done.as_ref(), now, &mut budget)
                })
                .collect();
            PreviewStep {
                name: step.name.clone(),
                number: step.number,
                skipped: step.skipped.clone(),
                condition: condition(&step.run),
                start: step.start,
                required: step.required,
                rolling: step.rolling,
                parallel: step.parallel,
                max_failed: step.may_fail(),
                on_failure: step.on_failure,
                pause_after_first: step.pause_after_first,
                timeout_ms: step.timeout_ms,
                subjects: step
                    .subjects
                    .iter()
                    .map(|id| target_name(&fleet, *id))
                    .collect(),
                actions,
                back: back((plan, &fleet), step),
            }
        })
        .collect();
    Preview {
        steps,
        warnings: plan.warnings.clone(),
    }
}

fn show_action(
    (context, fleet): (&OrderContext<'_>, &Fleet<'_>),
    planner: &Planner<'_>,
    (step, planned): (&PlanStep, &PlanAction),
    done: Option<&Done<'_>>,
    now: Timestamp,
    budget: &mut Budget,
) -> PreviewAction {
    let skipped = done
        .map(|done| &*done.action)
        .and_then(|action| planner.action_skipped(action))
        .or_else(|| {
            let idle = planned.nodes.is_empty() && step.skipped.is_none();
            idle.then(|| "none of the targets is on its platform".to_owned())
        });
    let nodes = planned
        .nodes
        .iter()
        .map(|node| PreviewNode {
            subject: target_name(fleet, node.subject),
            executor: target_name(fleet, node.executor),
            with: done
                .map(|done| {
                    let place = (done.step, Some(done.planned));
                    let subject = fleet.target(node.subject);
                    let variables = effective_among(context, fleet.lists(), place, subject)
                        .map(|set| set.shown_variables(named, made))
                        .unwrap_or_default();
                    let with = inputs(context.plan, done.step, &done.action);
                    evaluated(&done.action, with, &variables, now, budget)
                })
                .unwrap_or_default(),
        })
        .collect();
    PreviewAction {
        name: planned.name.clone(),
        uses: planned.uses.clone(),
        skipped,
        condition: condition(&planned.run),
        packages: planned
            .packages
            .iter()
            // What undoes an action brings no package in.
            .filter(|_| planned.undoes.is_none())
            .map(|package| PreviewPackage {
                id: package.id.clone(),
                version: package.version.clone(),
                size_bytes: package.size_bytes,
            })
            .collect(),
        nodes,
    }
}

fn evaluated(
    action: &Action,
    mut with: Map<String, Value>,
    variables: &Variables,
    now: Timestamp,
    budget: &mut Budget,
) -> Map<String, Value> {
    let literal = action::literal_inputs(&action.uses, substitutes(&action.with));
    let options = Options::new(now);
    for (key, value) in &mut with {
        if !literal.contains(&key.as_str()) {
            evaluate(value, variables, &options, budget);
        }
    }
    with
}

fn evaluate(value: &mut Value, variables: &Variables, options: &Options, budget: &mut Budget) {
    match value {
        Value::String(text) => {
            if let Ok(rendered) = budget.render(text, variables, options) {
                *text = rendered.text.into_owned();
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| evaluate(item, variables, options, budget)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|item| evaluate(item, variables, options, budget)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A secret by its variable, as `(NAME)`.
fn named(secret: &Effective) -> StandIn {
    StandIn {
        text: format!("({})", secret.name),
        ..StandIn::of(secret)
    }
}

/// What a way back would lead to; `None` for a step that is none.
fn back((plan, fleet): (&Plan, &Fleet<'_>), step: &PlanStep) -> Option<PreviewBack> {
    let (back, undone) = step.back.as_ref().zip(plan.undone_by(step))?;
    let known = back.before.iter();
    let before: BTreeMap<TargetId, &PlanBefore> = known.map(|one| (one.target, one)).collect();
    let targets = undone.subjects.iter().rev();
    let targets = targets.map(|id| (target_name(fleet, *id), before.get(id).copied().cloned()));
    let left = back.left.iter().filter_map(|left| {
        let action = undone.actions.get(left.action as usize)?;
        let all = action.nodes.iter();
        let all: BTreeSet<TargetId> = all.map(|node| node.subject).collect();
        let names = left.targets.iter().map(|id| target_name(fleet, *id));
        Some(PreviewLeft {
            action: action.name.clone(),
            why: left.why.clone(),
            targets: if left.targets.len() == all.len() {
                Vec::new()
            } else {
                names.collect()
            },
        })
    });
    Some(PreviewBack {
        of: undone.name.clone(),
        targets: targets.collect(),
        left: left.collect(),
    })
}

fn condition(run: &RunCondition) -> String {
    match run {
        RunCondition::Success => String::new(),
        RunCondition::Failure => "only after a failure".to_owned(),
        RunCondition::Always => "always".to_owned(),
        RunCondition::Template(template) => format!("if {template}"),
    }
}

fn target_name(fleet: &Fleet<'_>, id: TargetId) -> String {
    if id == NO_TARGET {
        return ON_SERVER.to_owned();
    }
    fleet
        .target(id)
        .map(|target| target.name.clone())
        .unwrap_or_default()
}
