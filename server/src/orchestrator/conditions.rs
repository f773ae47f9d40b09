//! Evaluates `run:` templates, and the instructions of manual actions, for the state machine, which
//! has no variables of its own.

use jiff::Timestamp;
use mantle_domain::order::{self, OrderContext, condition_holds};
use mantle_domain::plan::{NodeRef, Plan};
use mantle_domain::state::State;
use mantle_shared::ids::TargetId;
use mantle_template::Options;

use super::active::Context;

/// Whether a template is true for a step, or for an action about a subject, with what is known in
/// this state. One that cannot be evaluated is not true.
pub(super) fn holds(
    context: &Context,
    state: &State,
    template: &str,
    step: u32,
    subject: Option<TargetId>,
    now: Timestamp,
) -> bool {
    let Some(plan) = state.plan.as_deref() else {
        return false;
    };
    let known = known(context, state, plan, state.has_failed_for(step, subject));
    let subject = subject.and_then(|target| plan.target(target));
    condition_holds(&known, template, step, subject, &Options::new(now))
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
    let subject = plan.node(node).map(|planned| planned.subject);
    let failed = state.has_failed_for(node.step, subject);
    let known = known(context, state, plan, failed);
    order::instructions(&known, node, &Options::new(now))
}

fn known<'a>(
    context: &'a Context,
    state: &'a State,
    plan: &'a Plan,
    failed: bool,
) -> OrderContext<'a> {
    OrderContext {
        plan,
        process: &context.pins.process,
        variables: &context.pins.variables,
        task_number: &context.number,
        outputs: &state.outputs,
        failed,
    }
}
