//! Windows, whole chains of actions a target, and what a failure stops.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;

#[test]
fn a_target_goes_through_all_actions_before_its_slot_is_given_on() {
    let mut run = Run::of(a_plan(
        &[1, 2],
        vec![a_rolling_step(&[1, 2], 1, &["drain", "install"])],
    ));
    assert_eq!(run.live_names(), ["drain@web01"]);
    run.end("drain@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["install@web01"]);
    run.end("install@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["drain@web02"]);
    run.end("drain@web02", Outcome::Succeeded);
    run.end("install@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn no_more_targets_than_the_window_are_inside() {
    let mut run = Run::of(a_plan(
        &[1, 2, 3],
        vec![a_rolling_step(&[1, 2, 3], 2, &["x"])],
    ));
    assert_eq!(run.live_names(), ["x@web01", "x@web02"]);
    run.end("x@web02", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["x@web01", "x@web03"]);
}

#[test]
fn a_failure_stops_new_targets_but_not_those_inside() {
    let mut run = Run::of(a_plan(
        &[1, 2, 3, 4],
        vec![a_rolling_step(&[1, 2, 3, 4], 2, &["a", "b"])],
    ));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.live_names(), ["a@web02"]);
    run.end("a@web02", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["b@web02"], "a target inside goes on");
    run.end("b@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), "'a' failed on web01: exit code 3");
    let farm = &view::progress(&run.state).steps[0];
    let statuses: Vec<_> = farm.subjects.iter().map(|s| s.status).collect();
    use view::Status::{Failed, Skipped, Succeeded};
    assert_eq!(statuses, [Failed, Succeeded, Skipped, Skipped]);
}

#[test]
fn a_step_that_does_not_roll_goes_on_with_the_other_targets() {
    let step = a_step(
        "all",
        &[1, 2],
        vec![an_action("a", &[1, 2]), an_action("b", &[1, 2])],
    );
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    run.end("a@web01", Outcome::Failed);
    run.end("a@web02", Outcome::Succeeded);
    run.end("b@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
}

#[test]
fn an_action_waits_for_all_of_its_executors_and_fails_with_any() {
    use crate::plan::PlanNode;
    let mut drain = an_action("drain", &[]);
    drain.nodes = [8, 9]
        .iter()
        .map(|e| PlanNode {
            subject: target(1),
            executor: target(*e),
        })
        .collect();
    let step = a_step("farm", &[1], vec![drain, an_action("install", &[1])]);
    let mut run = Run::of(a_plan(&[1, 8, 9], vec![step]));
    let live = run.live();
    assert_eq!(
        live.len(),
        2,
        "one on each load balancer, on behalf of web01"
    );
    let end = |run: &mut Run, i: usize, outcome| {
        run.input(Input::AttemptEnded {
            attempt: live[i].2,
            end: an_end(outcome),
            outputs: vec![],
            stored: 0,
        })
    };
    end(&mut run, 0, Outcome::Succeeded);
    assert_eq!(run.live().len(), 1);
    end(&mut run, 1, Outcome::Failed);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert!(run.message().contains("for web01"), "{}", run.message());
}
