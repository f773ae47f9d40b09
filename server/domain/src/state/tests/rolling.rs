//! Windows, whole chains of actions a target, and what a failure stops.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::PlanStep;
use crate::process::{OnFailure, RunCondition};

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

#[test]
fn failures_within_the_budget_are_set_aside_and_the_rollout_goes_on() {
    let farm = PlanStep {
        max_failed: 1,
        ..a_rolling_step(&[1, 2, 3], 1, &["a", "b"])
    };
    let always = PlanStep {
        run: RunCondition::Always,
        ..a_step("tell", &[1, 2, 3], vec![an_action("tell", &[1, 2, 3])])
    };
    let mut run = Run::of(a_plan(&[1, 2, 3], vec![farm, always]));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.live_names(), ["a@web02"], "one may fail");
    run.end("a@web02", Outcome::Succeeded);
    run.end("b@web02", Outcome::Succeeded);
    run.end("a@web03", Outcome::Succeeded);
    run.end("b@web03", Outcome::Succeeded);
    assert_eq!(
        run.live_names(),
        ["tell@web02", "tell@web03"],
        "what failed takes no further part"
    );
    run.end("tell@web02", Outcome::Succeeded);
    run.end("tell@web03", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(
        run.message(),
        "1 of 3 targets failed in 'farm', which allows 1: web01"
    );
    let shown = view::progress(&run.state);
    assert_eq!(shown.steps[0].status, view::Status::Succeeded);
    assert_eq!(shown.steps[0].subjects[0].status, view::Status::Failed);
    let aside = &shown.steps[1].subjects[0];
    assert_eq!(aside.status, view::Status::Skipped);
    assert_eq!(
        aside.actions[0].message,
        "it failed in 'farm' and was set aside"
    );
}

#[test]
fn a_step_that_went_well_on_no_target_has_failed_whatever_its_budget() {
    let bad = Outcome::Failed;
    let good = Outcome::Succeeded;
    // What may fail, what ended how, in a step of so many targets; whether it failed.
    let table: &[(u32, &[Outcome], bool)] = &[
        (1, &[bad], true),
        (1, &[good], false),
        (2, &[bad, bad], true),
        (3, &[bad, Outcome::Unknown, bad], true),
        (2, &[bad, bad, good], false),
        (2, &[good, bad, bad], false),
        (9, &[bad, good], false),
    ];
    for on_failure in [OnFailure::Stop, OnFailure::Continue] {
        for (budget, ends, failed) in table {
            let targets: Vec<u128> = (1..).take(ends.len()).collect();
            let farm = PlanStep {
                max_failed: *budget,
                on_failure,
                ..a_rolling_step(&targets, 1, &["a"])
            };
            let mut run = Run::of(a_plan(&targets, vec![farm]));
            for (target, end) in targets.iter().zip(*ends) {
                run.end(&format!("a@web{target:02}"), *end);
            }
            let (verdict, aside) = if *failed {
                (Verdict::Failed, 0)
            } else {
                let bad = ends.iter().filter(|end| **end != good).count();
                (Verdict::Succeeded, bad)
            };
            assert_eq!(run.verdict(), Some(verdict), "{budget} {ends:?}");
            assert_eq!(run.state.set_aside.len(), aside, "{budget} {ends:?}");
            super::laws::hold(&run.log);
        }
    }
    let farm = PlanStep {
        max_failed: 1,
        ..a_rolling_step(&[1], 1, &["a"])
    };
    let mut run = Run::of(a_plan(&[1], vec![farm]));
    run.end("a@web01", bad);
    assert_eq!(
        run.message(),
        "'a' failed on web01: exit code 3; 'farm' went well on no target, so that it failed although 1 may fail"
    );
}

#[test]
fn one_failure_beyond_the_budget_stops_the_rollout_or_not() {
    for (on_failure, after) in [
        (OnFailure::Stop, vec![]),
        (OnFailure::Continue, vec!["a@web03"]),
    ] {
        let farm = PlanStep {
            max_failed: 1,
            on_failure,
            ..a_rolling_step(&[1, 2, 3], 1, &["a"])
        };
        let next = a_step("next", &[3], vec![an_action("b", &[3])]);
        let mut run = Run::of(a_plan(&[1, 2, 3], vec![farm, next]));
        run.end("a@web01", Outcome::Failed);
        run.end("a@web02", Outcome::Unknown);
        assert_eq!(run.live_names(), after, "{on_failure:?}");
        if !after.is_empty() {
            run.end("a@web03", Outcome::Succeeded);
        }
        assert_eq!(run.verdict(), Some(Verdict::Failed), "{on_failure:?}");
        assert_eq!(run.message(), "'a' failed on web01: exit code 3");
        assert_eq!(
            run.state.set_aside.len(),
            0,
            "a step that failed sets nobody aside"
        );
    }
}

#[test]
fn a_cancel_leaves_no_room_for_failures() {
    let farm = PlanStep {
        max_failed: 2,
        ..a_rolling_step(&[1, 2], 2, &["a"])
    };
    let mut run = Run::of(a_plan(&[1, 2], vec![farm]));
    run.input(Input::CancelRequested {
        by: "ann".to_owned(),
    });
    run.end("a@web01", Outcome::Cancelled);
    run.end("a@web02", Outcome::Cancelled);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
}
