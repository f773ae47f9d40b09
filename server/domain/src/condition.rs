//! Judges `run:` templates: each is true, or false, or cannot be judged.
//!
//! What must hold: what cannot be judged is never taken for either. The planner refuses what it can
//! tell beforehand, the state machine fails what is left; neither skips it nor runs it.

use mantle_template::{Budget, Error, Options, Problem, ProblemKind, Variables, is_truthy};

use crate::fleet::Lists;
use crate::order::{OrderContext, effective_among};
use crate::plan::{PlanAction, PlanStep, PlanTarget};
use crate::variable::{Tie, is_of_server};
use crate::work::{CONDITION_STEPS, of_a_condition};

/// A template that a server's name without a value keeps from being evaluated is evaluated once
/// more, and may then lead to the next one: so often at most.
const MOST_ROUNDS: usize = 16;
/// The longest reason that is kept, in characters: a chain of variables may be of any length.
const LONGEST_REASON: usize = 1_000;

/// Where a condition stands: at a step, or at an action about a subject.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The step.
    pub step: &'a PlanStep,
    /// The action, if it is its condition.
    pub action: Option<&'a PlanAction>,
    /// The target that the action is about.
    pub subject: Option<&'a PlanTarget>,
}

/// Why a condition is neither true nor false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unjudgeable {
    /// Two values of a variable are equally specific where it stands.
    #[error("{0}")]
    Tie(Tie),
    /// It cannot be read, or something in it has no value. The first is the one to tell.
    #[error("{}", .0.first().map(shown).unwrap_or_default())]
    Problems(Vec<Problem>),
    /// It takes more than it may.
    #[error("{0}")]
    Limit(Error),
}

fn shown(problem: &Problem) -> String {
    problem.to_string().chars().take(LONGEST_REASON).collect()
}

/// Whether a template is true at a place. A secret is empty here, so that none decides; so is a name
/// of the server's that has no value, such as `Octopus.Deployment.Error` while all is well.
pub fn judge(
    context: &OrderContext<'_>,
    place: &Place<'_>,
    template: &str,
    options: &Options,
) -> Result<bool, Unjudgeable> {
    let lists = Lists::of(&context.plan.targets);
    let mut budget = Budget::new(CONDITION_STEPS);
    judge_within((context, &lists), place, template, options, &mut budget)
}

/// The same for who asks for many targets: the lists are those of the plan, and the budget is what
/// all of it may cost together.
pub(crate) fn judge_within(
    (context, lists): (&OrderContext<'_>, &Lists),
    place: &Place<'_>,
    template: &str,
    options: &Options,
    budget: &mut Budget,
) -> Result<bool, Unjudgeable> {
    let Place {
        step,
        action,
        subject,
    } = *place;
    let set = effective_among(context, lists, (step, action), subject);
    let set = set.map_err(Unjudgeable::Tie)?;
    let mut variables = set.to_template_variables(|_| Some(String::new()));
    let options = of_a_condition(options);
    let mut rounds = 0;
    loop {
        let rendered = budget
            .render(template, &variables, &options)
            .map_err(Unjudgeable::Limit)?;
        if rendered.is_complete() {
            return Ok(is_truthy(&rendered.text));
        }
        rounds += 1;
        let emptied = empty_of_server(&rendered.problems, &mut variables);
        if !emptied || rounds == MOST_ROUNDS {
            let (mut first, rest): (Vec<_>, Vec<_>) = rendered
                .problems
                .into_iter()
                .partition(|problem| is_syntax(&problem.kind));
            first.extend(rest);
            return Err(Unjudgeable::Problems(first));
        }
    }
}

fn is_syntax(kind: &ProblemKind) -> bool {
    matches!(kind, ProblemKind::Syntax { .. })
}

/// Gives the server's names that are missing the empty value; whether there were any.
fn empty_of_server(problems: &[Problem], variables: &mut Variables) -> bool {
    let mut found = false;
    for problem in problems {
        if problem.kind != ProblemKind::Missing {
            continue;
        }
        for name in mantle_template::references(&problem.token).names {
            if is_of_server(&name) && !variables.contains(&name) {
                variables.set(name, "");
                found = true;
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
