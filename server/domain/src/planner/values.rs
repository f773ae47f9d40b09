//! What can be known of the values beforehand: ties are refusals, missing variables and generous
//! grants of secrets are warnings.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mantle_template::{Budget, Error, Options, ProblemKind};

use super::PlanRequest;
use super::ties::Ties;
use crate::explain::Refusal;
use crate::fleet::Fleet;
use crate::order::{Done, OrderContext, effective_among, tied};
use crate::plan::{Plan, PlanAction, PlanStep};
use crate::process::SecretAccess;
use crate::variable::uses::input_texts;
use crate::variable::{StandIn, made};
use crate::work;

/// More warnings of one kind than this help nobody.
const MOST_WARNINGS: usize = 20;

/// What takes more work than it may, and the warnings; the ties among the values of every node are
/// noted.
pub(super) fn check(
    request: &PlanRequest<'_>,
    plan: &Plan,
    ties: &mut Ties,
) -> (Vec<Refusal>, Vec<String>) {
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    let mut budget = work::budget(plan.targets.len());
    let fleet = Fleet::of_texts(plan, request.process, request.variables);
    for step in &plan.steps {
        for action in &step.actions {
            let found = (&mut *ties, &mut refusals, &mut warnings);
            check_action(request, (plan, &fleet), (step, action), &mut budget, found);
        }
    }
    warnings.truncate(MOST_WARNINGS);
    (refusals, warnings)
}

fn check_action(
    request: &PlanRequest<'_>,
    (plan, fleet): (&Plan, &Fleet<'_>),
    (step, planned): (&PlanStep, &PlanAction),
    budget: &mut Budget,
    (ties, refusals, warnings): (&mut Ties, &mut Vec<Refusal>, &mut Vec<String>),
) {
    let context = OrderContext {
        plan,
        process: request.process,
        variables: request.variables,
        task_number: "",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let Some(done) = Done::find(&context, step, planned) else {
        return;
    };
    let action = &*done.action;
    let is_own = planned.undoes.is_none();
    if action.secrets == SecretAccess::All && is_own && !planned.nodes.is_empty() {
        warnings.push(format!(
            "action '{}' gets every secret of the project ('secrets: all')",
            action.name
        ));
    }
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut broken: BTreeSet<String> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for node in &planned.nodes {
        if !seen.insert(node.subject) {
            continue;
        }
        let place = (done.step, Some(done.planned));
        let subject = fleet.target(node.subject);
        let Ok(set) = effective_among(&context, fleet.lists(), place, subject) else {
            let tied = tied(&context, done.step, Some(done.planned), subject);
            let target = subject.map(|target| target.name.as_str());
            ties.note(tied, &done.step.name, Some(&done.planned.name), target);
            continue;
        };
        let variables = set.shown_variables(StandIn::of, made);
        // The time only matters to what is shown, and nothing is shown here.
        let options = Options::new(Timestamp::UNIX_EPOCH);
        for text in input_texts(action) {
            let rendered = match budget.render(text, &variables, &options) {
                Ok(rendered) => rendered,
                Err(Error::TooMuchWork { .. } | Error::TooLarge { .. }) => {
                    let refusal = Refusal::TooMuchWork {
                        project: request.process.project.clone(),
                        action: action.name.clone(),
                    };
                    refusals.push(refusal);
                    return;
                }
                // Anything else is the action's to say when it runs.
                Err(_) => continue,
            };
            broken.extend(rendered.first_error().map(ToString::to_string));
            missing.extend(
                rendered
                    .problems
                    .iter()
                    .filter(|problem| problem.kind == ProblemKind::Missing)
                    .map(|problem| problem.token.clone())
                    .filter(|token| !is_known_later(token) || names_nobody(token, request)),
            );
        }
    }
    for problem in broken {
        warnings.push(format!(
            "action '{}' will fail, for its inputs cannot be evaluated: {problem}",
            planned.name
        ));
    }
    for token in missing {
        warnings.push(format!(
            "action '{}' uses {token}, for which no variable has a value here",
            planned.name
        ));
    }
}

/// It asks for something of an action that the process does not have. Files are checked for that
/// when they are applied, but not the values of variable sets.
fn names_nobody(token: &str, request: &PlanRequest<'_>) -> bool {
    let token = token.to_lowercase();
    let index = token.split_once("octopus.action[").map(|(_, rest)| rest);
    let Some((index, _)) = index.and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    let steps = request.process.process.steps.iter();
    let mut actions = steps.flat_map(|step| &step.actions);
    !index.contains('#') && actions.all(|action| action.name.to_lowercase() != index)
}

/// Outputs, installed packages and the like are only known when earlier actions have run.
pub(crate) fn is_known_later(token: &str) -> bool {
    let token = token.to_lowercase();
    token.contains("octopus.action")
        || token.contains("octopus.tentacle")
        || token.contains("octopus.deployment")
}
