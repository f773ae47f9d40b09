//! Steps that start together: one barrier, conditions judged once, failures seen by who follows.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::PlanStep;
use crate::process::{RunCondition, Start};

fn single(name: &str, target: u128) -> PlanStep {
    a_step(name, &[target], vec![an_action(name, &[target])])
}

fn beside(name: &str, target: u128) -> PlanStep {
    PlanStep {
        start: Start::WithPrevious,
        ..single(name, target)
    }
}

/// `a`, then `b` with `c` and `d`, then `e`.
fn a_group() -> Vec<PlanStep> {
    vec![
        single("a", 1),
        single("b", 1),
        beside("c", 2),
        beside("d", 1),
        single("e", 1),
    ]
}

#[test]
fn steps_of_a_group_run_together_and_the_next_waits_for_all_of_them() {
    let mut run = Run::of(a_plan(&[1, 2], a_group()));
    assert_eq!(run.live_names(), ["a@web01"]);
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["b@web01", "c@web02", "d@web01"]);
    run.end("c@web02", Outcome::Succeeded);
    run.end("b@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["d@web01"]);
    run.end("d@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["e@web01"]);
    run.end("e@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn a_failed_step_of_a_group_stops_none_of_it_and_all_that_follows() {
    let mut steps = a_group();
    // Two targets, one at a time, so that there is something left to start after the failure.
    steps[3] = PlanStep {
        start: Start::WithPrevious,
        ..a_rolling_step(&[1, 2], 1, &["d", "d2"])
    };
    steps.push(PlanStep {
        run: RunCondition::Failure,
        ..single("f", 2)
    });
    let mut run = Run::of(a_plan(&[1, 2], steps));
    run.end("a@web01", Outcome::Succeeded);
    run.end("b@web01", Outcome::Failed);
    run.end("c@web02", Outcome::Succeeded);
    for name in ["d@web01", "d2@web01", "d@web02", "d2@web02"] {
        assert_eq!(run.live_names(), [name]);
        run.end(name, Outcome::Succeeded);
    }
    assert_eq!(run.live_names(), ["f@web02"], "'e' is not run");
    run.end("f@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), "'b' failed on web01: exit code 3");
}

#[test]
fn conditions_are_judged_when_the_turn_of_the_group_comes() {
    // What runs after a failure does not run because its neighbour fails.
    let steps = vec![
        single("a", 1),
        PlanStep {
            run: RunCondition::Failure,
            ..beside("b", 2)
        },
        PlanStep {
            skipped: Some("not here".to_owned()),
            ..beside("c", 2)
        },
        single("d", 2),
    ];
    let mut run = Run::of(a_plan(&[1, 2], steps));
    assert_eq!(run.live_names(), ["a@web01"]);
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.state.attempts.len(), 1);
    assert_eq!(
        run.state.steps[1],
        StepState::Skipped {
            reason: SkipReason::NoFailure
        }
    );
}

#[test]
fn a_cancel_ends_a_group_step_by_step() {
    let mut run = Run::of(a_plan(
        &[1, 2],
        vec![single("a", 1), beside("b", 2), single("c", 1)],
    ));
    let (a, b) = (run.attempt("a@web01"), run.attempt("b@web02"));
    run.input(Input::CancelRequested {
        by: "ann".to_owned(),
    });
    for (attempt, outcome) in [(a, Outcome::Succeeded), (b, Outcome::Cancelled)] {
        run.input(Input::AttemptEnded {
            attempt,
            end: an_end(outcome),
            outputs: vec![],
            stored: 0,
        });
    }
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    let shown = view::progress(&run.state);
    let statuses: Vec<_> = shown.steps.iter().map(|step| step.status).collect();
    use view::Status::{Cancelled, Succeeded};
    assert_eq!(statuses, [Succeeded, Cancelled, Cancelled]);
}

#[test]
fn the_groups_of_a_plan() {
    let plan = a_plan(&[1, 2], a_group());
    let groups: Vec<_> = (0..5).map(|at| plan.group(at)).collect();
    assert_eq!(groups, [0..1, 1..4, 1..4, 1..4, 4..5]);
    // Nothing is before the first step; whatever a plan says, it begins a group.
    let odd = a_plan(&[1], vec![beside("a", 1), beside("b", 1)]);
    assert_eq!(odd.group(1), 0..2);
}
