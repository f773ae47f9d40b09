//! What evaluating templates may cost on the server, where one project's texts must not hold up the
//! deployments of the others. Agents evaluate in a process of the attempt's own.

use mantle_template::{Budget, Limits, Options};

/// For whatever is evaluated together: seconds, on a slow machine. A variable of a usual project takes
/// a handful of steps.
const STEPS: u64 = 1_000_000;
/// A large fleet may take more: so much for each target.
const STEPS_EACH: u64 = 20_000;
/// For a `run:` template, which is judged again and again.
pub(crate) const CONDITION_STEPS: u64 = 100_000;

/// What all texts of a plan, a manifest or an explanation may cost together.
pub(crate) fn budget(targets: usize) -> Budget {
    let each = STEPS_EACH.saturating_mul(targets as u64);
    Budget::new(STEPS.saturating_add(each))
}

/// What a `run:` template may cost.
pub(crate) fn of_a_condition(options: &Options) -> Options {
    Options {
        limits: Limits {
            steps: CONDITION_STEPS,
            ..options.limits
        },
        ..options.clone()
    }
}
