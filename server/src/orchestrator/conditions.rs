//! Evaluates `run:` templates, and the instructions of manual actions, for the state machine, which
//! has no variables of its own.

use jiff::Timestamp;
use mantle_domain::condition::{Place, judge};
use mantle_domain::order::{self, OrderContext};
use mantle_domain::plan::{NodeRef, Plan};
use mantle_domain::state::{Asked, Failure, State};
use mantle_template::Options;

use super::active::Context;

/// Whether a template is true where it stands, with what is known in this state; or why that cannot
/// be judged.
pub(super) fn holds(
    context: &Context,
    state: &State,
    asked: Asked<'_>,
    now: Timestamp,
) -> Result<bool, String> {
    let lost = || "the plan does not have its place".to_owned();
    let plan = state.plan.as_deref().ok_or_else(lost)?;
    let planned = asked.node.and_then(|node| plan.node(node));
    let place = Place {
        step: plan.step(asked.step).ok_or_else(lost)?,
        action: asked.node.and_then(|node| plan.action(node)),
        subject: planned.and_then(|planned| plan.target(planned.subject)),
    };
    let failed = state.failure_for(asked.step, asked.node);
    let known = known(context, state, plan, failed.as_deref());
    judge(&known, &place, asked.template, &Options::new(now)).map_err(|why| why.to_string())
}

/// What a manual action asks people to look at, with what is known in this state.
pub(super) fn instructions(
    context: &Context,
    state: &State,
    node: NodeRef,
    now: Timestamp,
) -> String {
    let Some(plan) = state.plan.as_deref() else {
        return String::new();
    };
    let failed = state.failure_for(node.step, Some(node));
    let known = known(context, state, plan, failed.as_deref());
    order::instructions(&known, node, &Options::new(now))
}

fn known<'a>(
    context: &'a Context,
    state: &'a State,
    plan: &'a Plan,
    failed: Option<&'a Failure>,
) -> OrderContext<'a> {
    OrderContext {
        plan,
        process: &context.pins.process,
        variables: &context.pins.variables,
        task_number: &context.number,
        outputs: &state.outputs,
        failed,
        lists: Some(context.lists(plan)),
    }
}
