//! Judges `run:` templates: each is true, or false, or cannot be judged.
//!
//! What must hold: what cannot be judged is never taken for either. The planner refuses what it can
//! tell beforehand, the state machine fails what is left; neither skips it nor runs it. The server has
//! no secret's value here, so what hangs on one cannot be judged either.

use mantle_template::{Budget, Error, Options, Problem, ProblemKind, is_truthy};

use crate::explain::listed;
use crate::fleet::Lists;
use crate::order::{OrderContext, effective_among};
use crate::plan::{PlanAction, PlanStep, PlanTarget};
use crate::variable::{StandIn, Tie, is_of_server, made};
use crate::work::{CONDITION_STEPS, of_a_condition};

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
    /// It hangs on secrets, by variable, of which only targets have the values.
    #[error("{}", of_secrets(.0))]
    Secrets(Vec<String>),
    /// It takes more than it may.
    #[error("{0}")]
    Limit(Error),
}

fn shown(problem: &Problem) -> String {
    problem.to_string().chars().take(LONGEST_REASON).collect()
}

fn of_secrets(names: &[String]) -> String {
    let what = match names {
        [one] => format!("the secret '{one}', whose value"),
        several => format!("the secrets {}, whose values", listed(several)),
    };
    format!(
        "it hangs on {what} only targets have; let a variable decide that is no secret, or the script of the action"
    )
}

/// Whether a template is true at a place. A name of the server's that has no value, such as
/// `Octopus.Deployment.Error` while all is well, is empty.
pub fn judge(
    context: &OrderContext<'_>,
    place: &Place<'_>,
    template: &str,
    options: &Options,
) -> Result<bool, Unjudgeable> {
    let lists = context.lists();
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
    let mut variables = set.shown_variables(StandIn::of, made);
    variables.empty_if(is_of_server);
    let rendered = budget
        .render(template, &variables, &of_a_condition(options))
        .map_err(Unjudgeable::Limit)?;
    if !rendered.is_complete() {
        let (mut first, rest): (Vec<_>, Vec<_>) = rendered
            .problems
            .into_iter()
            .partition(|problem| is_syntax(&problem.kind));
        first.extend(rest);
        return Err(Unjudgeable::Problems(first));
    }
    if !rendered.hidden.is_empty() {
        return Err(Unjudgeable::Secrets(rendered.hidden));
    }
    Ok(is_truthy(&rendered.text))
}

fn is_syntax(kind: &ProblemKind) -> bool {
    matches!(kind, ProblemKind::Syntax { .. })
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
