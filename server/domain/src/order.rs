//! Drafts the order of one attempt: all that its supervisor needs, but the values of secrets.
//!
//! The server replaces each [`DraftValue::Secret`] by the value of exactly that version, adds the
//! attempt's id and key, and sends the result.

use std::borrow::Cow;

use mantle_shared::ids::AttemptId;
use mantle_shared::order::OrderPackage;
use mantle_template::Options;
use serde_json::{Map, Value};

use crate::action::undo::{Undo, undo, without_undo};
use crate::explain::Refusal;
use crate::fleet::Lists;
use crate::plan::{NodeRef, Plan, PlanAction, PlanStep, PlanTarget};
use crate::process::{Action, OnFailure};
use crate::snapshot::{ProcessSnapshot, VariableSnapshot};
use crate::state::{Failure, OutputVariable};
use crate::variable::uses::variables_for;
use crate::variable::{
    DEPLOYMENT_PROCESS, Effective, EffectiveSet, EffectiveValue, PinnedSecret, Situation,
    SituationTarget, StandIn, Surroundings, Tie, made, resolve,
};
use crate::work::of_a_condition;

/// The longest instructions of a manual action, in characters: they are read by people.
const LONGEST_INSTRUCTIONS: usize = 16_000;

/// What orders and conditions of one deployment are made of: all of it is fixed, or recorded by
/// the state machine, so that a repeated order is the same order.
#[derive(Debug, Clone, Copy)]
pub struct OrderContext<'a> {
    /// The deployment's plan.
    pub plan: &'a Plan,
    /// The release's process.
    pub process: &'a ProcessSnapshot,
    /// The release's variables.
    pub variables: &'a VariableSnapshot,
    /// The task's number for people.
    pub task_number: &'a str,
    /// The output variables known when the attempt was ordered.
    pub outputs: &'a [OutputVariable],
    /// What had failed by then.
    pub failed: Option<&'a Failure>,
    /// The lists of the plan's targets, from who has them; else they are made anew each time.
    pub lists: Option<&'a Lists>,
}

impl OrderContext<'_> {
    /// The lists of the plan's targets.
    pub(crate) fn lists(&self) -> Cow<'_, Lists> {
        self.lists
            .map_or_else(|| Cow::Owned(Lists::of(&self.plan.targets)), Cow::Borrowed)
    }
}

/// The order of a node, or why there can be none.
pub fn draft_order(context: &OrderContext<'_>, node: NodeRef) -> Result<OrderDraft, OrderError> {
    let plan = context.plan;
    let unknown = || OrderError::NotPlanned { node };
    let step = plan.step(node.step).ok_or_else(unknown)?;
    let planned = plan.action(node).ok_or_else(unknown)?;
    let pair = plan.node(node).ok_or_else(unknown)?;
    let subject = plan.target(pair.subject).ok_or_else(unknown)?;
    let executor = plan.target(pair.executor).ok_or_else(unknown)?;
    let done = Done::find(context, step, planned).ok_or_else(unknown)?;
    let action = &*done.action;
    let set = effective(context, done.step, Some(done.planned), Some(subject))?;
    let scanned = context.process.scanned_secrets.get(&action.name);
    let shares = variables_for(action, &set, scanned);
    let variables = shares
        .given
        .into_iter()
        .map(|variable| draft_variable(variable, &action.name))
        .collect::<Result<_, _>>()?;
    // What stands for a secret in some action's inputs has no name that a person would look up.
    let withheld = shares
        .withheld
        .into_iter()
        .filter(|variable| !crate::release::inline_secret::is_one(&variable.name))
        .map(|variable| variable.name.clone())
        .collect();
    Ok(OrderDraft {
        project: plan.project.clone(),
        environment: plan.environment.clone(),
        release: plan.release.clone(),
        step: step.name.clone(),
        action: planned.name.clone(),
        subject: subject.name.clone(),
        executor: executor.name.clone(),
        uses: planned.uses.clone(),
        with: inputs(plan, done.step, action),
        variables,
        withheld,
        packages: planned.packages.clone(),
        timeout_ms: planned.timeout_ms,
        grace_ms: planned.grace_ms,
    })
}

/// What is done in the place of an action of a plan: the release's own action, or what undoes it.
pub(crate) struct Done<'a> {
    /// The step as the release has it.
    pub(crate) step: &'a PlanStep,
    /// The action as the release has it: by its names variables have their scopes.
    pub(crate) planned: &'a PlanAction,
    /// What is done.
    pub(crate) action: Cow<'a, Action>,
}

impl<'a> Done<'a> {
    /// Finds it.
    pub(crate) fn find(
        context: &OrderContext<'a>,
        step: &'a PlanStep,
        planned: &'a PlanAction,
    ) -> Option<Self> {
        let (own_step, own) = context.plan.stands_for(step, planned);
        let steps = &context.process.process.steps;
        let process = steps.iter().find(|other| other.name == own_step.name)?;
        let action = process.actions.iter().find(|a| a.name == own.name)?;
        let action = match planned.undoes {
            None => Cow::Borrowed(action),
            Some(_) => match undo(action, process) {
                Undo::By(by) => Cow::Owned(*by),
                Undo::Nothing | Undo::Impossible(_) => return None,
            },
        };
        Some(Self {
            step: own_step,
            planned: own,
            action,
        })
    }
}

/// What an action takes: its own inputs, and what the lifecycle says where it does not. What a step
/// may have to put back stays on the target.
pub(crate) fn inputs(plan: &Plan, step: &PlanStep, action: &Action) -> Map<String, Value> {
    let mut with = without_undo(action);
    if action.uses != "package" {
        return with;
    }
    if let Some(keep) = plan.keep_on_target
        && !with.contains_key("keep")
    {
        with.insert("keep".to_owned(), Value::from(keep));
    }
    let none = |keep: &Value| keep == &Value::from(0) || keep == &Value::from("0");
    if step.on_failure == OnFailure::Rollback && with.get("keep").is_some_and(none) {
        with.insert("keep".to_owned(), Value::from(1));
    }
    with
}

/// What a manual action asks people to look at. Secrets stand in it by name; what cannot be
/// evaluated stays the template that it is, and of a text without end the begin is shown.
pub fn instructions(context: &OrderContext<'_>, node: NodeRef, options: &Options) -> String {
    let plan = context.plan;
    let place = plan.step(node.step).zip(plan.action(node));
    let Some(((step, planned), ask)) = place.and_then(|place| Some((place, place.1.ask.as_ref()?)))
    else {
        return String::new();
    };
    let subject = plan.node(node).and_then(|node| plan.target(node.subject));
    let text = ask.instructions.as_str();
    let shown = effective(context, step, Some(planned), subject)
        .ok()
        .and_then(|set| {
            let shown = |secret: &Effective| StandIn::named(&secret.name);
            let variables = set.shown_variables(shown, made);
            let rendered = mantle_template::render(text, &variables, &of_a_condition(options));
            rendered.ok().map(|rendered| rendered.text.into_owned())
        });
    let shown = shown.unwrap_or_else(|| text.to_owned());
    shown.chars().take(LONGEST_INSTRUCTIONS).collect()
}

/// Every variable as an action (or step) about a target sees it.
pub(crate) fn effective(
    context: &OrderContext<'_>,
    step: &PlanStep,
    action: Option<&PlanAction>,
    subject: Option<&PlanTarget>,
) -> Result<EffectiveSet, Tie> {
    let lists = context.lists();
    effective_among(context, &lists, (step, action), subject)
}

/// The same for who asks for many targets: the lists are those of the plan.
pub(crate) fn effective_among(
    context: &OrderContext<'_>,
    lists: &Lists,
    (step, action): (&PlanStep, Option<&PlanAction>),
    subject: Option<&PlanTarget>,
) -> Result<EffectiveSet, Tie> {
    let situation = situation(context, step, action, subject);
    let around = Surroundings {
        plan: context.plan,
        lists,
        task_number: context.task_number,
        step: Some(step),
        action,
        subject,
        step_tag: situation.step_tag,
        failed: context.failed,
    };
    EffectiveSet::new(
        &context.variables.variables,
        &situation,
        context.outputs,
        Some(&around),
    )
}

/// Every variable that has no value there because two of them tie; [`effective`] tells one.
pub(crate) fn tied(
    context: &OrderContext<'_>,
    step: &PlanStep,
    action: Option<&PlanAction>,
    subject: Option<&PlanTarget>,
) -> Vec<Tie> {
    let situation = situation(context, step, action, subject);
    let variables = context.variables.variables.iter();
    variables
        .filter_map(|variable| resolve(variable, &situation).err())
        .collect()
}

fn situation<'a>(
    context: &OrderContext<'a>,
    step: &'a PlanStep,
    action: Option<&'a PlanAction>,
    subject: Option<&'a PlanTarget>,
) -> Situation<'a> {
    let steps = &context.process.process.steps;
    let tag = steps
        .iter()
        .find(|other| other.name == step.name)
        .and_then(|step| step.targets.as_ref())
        .map(|selector| selector.tag.as_str());
    Situation {
        environment: Some(&context.plan.environment),
        channel: Some(&context.plan.channel),
        target: subject.map(|target| SituationTarget {
            name: &target.name,
            tags: &target.tags,
        }),
        step: Some(&step.name),
        step_tag: tag,
        action: action.map(|action| action.name.as_str()),
        tenant_tags: &[],
        process: Some(DEPLOYMENT_PROCESS),
    }
}

fn draft_variable(variable: &Effective, action: &str) -> Result<DraftVariable, OrderError> {
    let value = match &variable.value {
        EffectiveValue::Text(text) => DraftValue::Text(text.to_string()),
        EffectiveValue::Secret(secret) => DraftValue::Secret(secret.clone()),
        EffectiveValue::Sealed { value, by } => DraftValue::Sealed {
            value: value.clone(),
            by: *by,
        },
        EffectiveValue::Unpinned(path) => {
            return Err(OrderError::Unpinned {
                action: action.to_owned(),
                path: path.clone(),
            });
        }
    };
    Ok(DraftVariable {
        exported: !crate::release::inline_secret::is_one(&variable.name),
        name: variable.name.clone(),
        value,
    })
}

/// An order that cannot be made. None of these happens to a plan made by the planner from the same
/// release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The plan has no such node, or the release no such action.
    #[error("the plan and the release do not agree about node {node:?}")]
    NotPlanned {
        /// The node.
        node: NodeRef,
    },
    /// A variable has two equally specific values.
    #[error("{0}")]
    Tie(Tie),
    /// A secret that the release does not pin.
    #[error("action '{action}' uses the secret '{path}', which the release does not pin")]
    Unpinned {
        /// The action.
        action: String,
        /// The secret's path.
        path: String,
    },
}

impl From<Tie> for OrderError {
    fn from(tie: Tie) -> Self {
        Self::Tie(tie)
    }
}

impl From<Tie> for Refusal {
    fn from(tie: Tie) -> Self {
        Self::Tie(tie)
    }
}

/// An order whose secrets are still references.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderDraft {
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The step's name.
    pub step: String,
    /// The action's name.
    pub action: String,
    /// The target that the work is about.
    pub subject: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// The action type.
    pub uses: String,
    /// What the action takes; texts in it are templates.
    pub with: Map<String, Value>,
    /// The variables that the action can reach, one winner a name, in order.
    pub variables: Vec<DraftVariable>,
    /// The names that it must not look up: secrets that it does not use, and what reaches one.
    pub withheld: Vec<String>,
    /// The packages that it uses.
    pub packages: Vec<OrderPackage>,
    /// The attempt is stopped after this long.
    pub timeout_ms: u64,
    /// Between the request to stop and the kill.
    pub grace_ms: u64,
}

/// A variable's winner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: DraftValue,
    /// It is handed to a script's environment.
    pub exported: bool,
}

/// A value, or which secret's version holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftValue {
    /// Text, which may be a template over the other variables.
    Text(String),
    /// A secret that the server fills in.
    Secret(PinnedSecret),
    /// A sensitive output variable: its sealed value, which the server opens.
    Sealed {
        /// The sealed value.
        value: String,
        /// The attempt whose key seals it.
        by: AttemptId,
    },
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
