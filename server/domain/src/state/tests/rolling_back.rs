//! What a step that failed undoes: what was done about which targets, in which order, and what is
//! said where that does not work.

use jiff::SignedDuration;
use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::interruption::Answer;
use crate::plan::{Plan, PlanStep};
use crate::process::{RunCondition, Start};

const GOOD: Outcome = Outcome::Succeeded;
const BAD: Outcome = Outcome::Failed;

/// Three targets, one at a time, drained and installed, and a step that tells in any case.
fn a_plan_that_rolls_back(change: impl Fn(&mut PlanStep)) -> Plan {
    let mut step = a_step_that_rolls_back(&[1, 2, 3], 1, &["drain", "install"]);
    change(&mut step);
    let way = a_way_back(0, &step, &["drain", "install"]);
    let tell = PlanStep {
        run: RunCondition::Always,
        ..a_step("tell", &[1], vec![an_action("tell", &[1])])
    };
    a_plan(&[1, 2, 3], vec![step, way, tell])
}

/// Ends what is live by these names, one after the other.
fn end_all(run: &mut Run, names: &[(&str, Outcome)]) {
    for (name, outcome) in names {
        run.end(name, *outcome);
    }
}

/// The first target is done, the second fails while it is installed.
fn failed_on_the_second(plan: Plan) -> Run {
    let mut run = Run::of(plan);
    end_all(
        &mut run,
        &[
            ("drain@web01", GOOD),
            ("install@web01", GOOD),
            ("drain@web02", GOOD),
            ("install@web02", BAD),
        ],
    );
    run
}

fn back_on(run: &Run) -> Vec<TargetId> {
    put_back(&run.state).keys().copied().collect()
}

fn reason(run: &Run, step: usize) -> Option<SkipReason> {
    match &run.state.steps[step] {
        StepState::Skipped { reason } => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn what_was_done_is_undone_in_reverse_the_last_target_first_and_no_other_is_touched() {
    let mut run = failed_on_the_second(a_plan_that_rolls_back(|_| {}));
    for name in ["undo install@web02", "undo drain@web02"] {
        assert_eq!(run.live_names(), [name]);
        run.end(name, GOOD);
    }
    for name in ["undo install@web01", "undo drain@web01"] {
        assert_eq!(run.live_names(), [name]);
        run.end(name, GOOD);
    }
    assert_eq!(
        run.live_names(),
        ["tell@web01"],
        "what always runs, after it"
    );
    run.end("tell@web01", GOOD);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'install' failed on web02: exit code 3; rolled back: web02 and web01"
    );
    assert_eq!(back_on(&run), [target(1), target(2)]);
    let later: Vec<String> = unsuccessful(&run.state).into_iter().collect();
    assert_eq!(later, ["web01", "web02", "web03"], "the release is nowhere");
    let shown = &view::progress(&run.state).steps[1];
    let statuses: Vec<_> = shown.subjects.iter().map(|s| s.status).collect();
    use view::Status::{Skipped, Succeeded};
    assert_eq!(statuses, [Skipped, Succeeded, Succeeded]);
    super::laws::hold(&run.log);
}

#[test]
fn nothing_is_undone_where_nothing_failed() {
    let mut run = Run::of(a_plan_that_rolls_back(|step| step.max_failed = 1));
    end_all(
        &mut run,
        &[
            ("drain@web01", BAD),
            ("drain@web02", GOOD),
            ("install@web02", GOOD),
            ("drain@web03", GOOD),
            ("install@web03", GOOD),
        ],
    );
    assert_eq!(reason(&run, 1), Some(SkipReason::NothingToUndo));
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(back_on(&run), []);
    assert!(!unsuccessful(&run.state).contains("web02"));
}

#[test]
fn beyond_the_budget_those_that_failed_within_it_are_put_back_too() {
    let mut run = Run::of(a_plan_that_rolls_back(|step| step.max_failed = 1));
    end_all(
        &mut run,
        &[
            ("drain@web01", GOOD),
            ("install@web01", BAD),
            ("drain@web02", GOOD),
            ("install@web02", Outcome::Unknown),
            ("undo install@web02", GOOD),
            ("undo drain@web02", GOOD),
            ("undo install@web01", GOOD),
            ("undo drain@web01", GOOD),
            ("tell@web01", GOOD),
        ],
    );
    assert!(run.message().ends_with("rolled back: web02 and web01"));
}

#[test]
fn only_what_was_begun_about_a_target_is_undone_about_it() {
    let mut run = Run::of(a_plan_that_rolls_back(|step| step.parallel = 2));
    assert_eq!(run.live_names(), ["drain@web01", "drain@web02"]);
    run.end("drain@web01", BAD);
    assert_eq!(run.live_names(), ["drain@web02"], "who is inside goes on");
    end_all(&mut run, &[("drain@web02", GOOD), ("install@web02", GOOD)]);
    assert_eq!(
        run.live_names(),
        ["undo drain@web01", "undo install@web02"],
        "in the window of the step; on web01 nothing was installed"
    );
    let untouched = run.state.nodes.values().any(
        |node| matches!(node, NodeState::Skipped { reason } if *reason == SkipReason::Untouched),
    );
    assert!(untouched);
}

#[test]
fn what_never_started_is_not_undone() {
    let mut run = Run::of(a_plan_that_rolls_back(|_| {}));
    end_all(&mut run, &[("drain@web01", GOOD), ("install@web01", GOOD)]);
    // Refused as it is, so that the same again is refused again.
    let attempt = run.attempt("drain@web02");
    run.input(Input::OrderImpossible {
        attempt,
        sent: Sent::Never,
        message: "too large".to_owned(),
    });
    assert_eq!(run.live_names(), ["undo install@web01"]);
    end_all(
        &mut run,
        &[
            ("undo install@web01", GOOD),
            ("undo drain@web01", GOOD),
            ("tell@web01", GOOD),
        ],
    );
    assert!(run.message().ends_with("; rolled back: web02 and web01"));
}

#[test]
fn what_cannot_be_undone_asks_a_person_and_holds_the_others() {
    for (answer, live, message) in [
        (
            Answer::Fail,
            vec!["tell@web01"],
            "not rolled back: web02 ('undo install' failed: exit code 3; left failed by ann) and web01 (it was not begun there)",
        ),
        (
            Answer::Ignore,
            vec!["undo drain@web02"],
            "rolled back: web02 and web01",
        ),
        (
            Answer::Exclude,
            vec!["undo install@web01"],
            "partly rolled back: web01, but not web02 (ann said to go on without it)",
        ),
        (
            Answer::Retry,
            vec!["undo install@web02"],
            "rolled back: web02 and web01",
        ),
    ] {
        let mut run = failed_on_the_second(a_plan_that_rolls_back(|_| {}));
        run.end("undo install@web02", BAD);
        assert_eq!(run.asked(), [1], "although failures are not guided");
        assert_eq!(run.live_names(), [""; 0], "nobody else is touched");
        run.answer(1, "ann", answer);
        assert_eq!(run.live_names(), live, "{answer}");
        while let Some((action, on, _)) = run.live().first().cloned() {
            run.end(&format!("{action}@{on}"), GOOD);
        }
        assert_eq!(run.verdict(), Some(Verdict::Failed));
        assert!(
            run.message().contains(message),
            "{answer}: {}",
            run.message()
        );
        assert!(run.asked().is_empty());
        super::laws::hold(&run.log);
    }
}

#[test]
fn a_way_back_that_stops_says_where_and_is_not_begun_again() {
    let mut run = failed_on_the_second(a_plan_that_rolls_back(|_| {}));
    end_all(
        &mut run,
        &[
            ("undo install@web02", GOOD),
            ("undo drain@web02", GOOD),
            ("undo install@web01", GOOD),
            ("undo drain@web01", Outcome::Unknown),
        ],
    );
    // Nobody answers.
    run.after(SignedDuration::from_hours(7 * 24));
    run.end("tell@web01", GOOD);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    let message = run.message();
    assert!(
        message.contains("partly rolled back: web02, but not web01 ('undo drain' ended in a way that is not known"),
        "{message}"
    );
    assert_eq!(back_on(&run), [target(2)]);
}

#[test]
fn a_cancel_stops_it_and_one_before_keeps_it_from_beginning() {
    let cancel = |run: &mut Run| {
        run.input(Input::CancelRequested {
            by: "ann".to_owned(),
        })
    };
    let mut run = failed_on_the_second(a_plan_that_rolls_back(|_| {}));
    end_all(
        &mut run,
        &[("undo install@web02", GOOD), ("undo drain@web02", GOOD)],
    );
    cancel(&mut run);
    run.end("undo install@web01", Outcome::Cancelled);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    let message = run.message();
    assert!(
        message
            .contains("; partly rolled back: web02, but not web01 ('undo install' was cancelled)"),
        "{message}"
    );
    assert_eq!(back_on(&run), [target(2)]);

    let mut run = Run::of(a_plan_that_rolls_back(|_| {}));
    run.end("drain@web01", GOOD);
    cancel(&mut run);
    run.end("install@web01", Outcome::Cancelled);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    let message = run.message();
    assert!(
        message.contains("; not rolled back: web01 (the deployment was cancelled)"),
        "{message}"
    );
    assert_eq!(back_on(&run), []);
}

#[test]
fn where_failures_are_guided_only_one_that_is_left_failed_leads_back() {
    for (answer, live) in [
        (Answer::Retry, "install@web02"),
        (Answer::Ignore, "drain@web03"),
        (Answer::Exclude, "drain@web03"),
        (Answer::Fail, "undo install@web02"),
    ] {
        let mut run = failed_on_the_second(guided(a_plan_that_rolls_back(|_| {})));
        assert_eq!(run.live_names(), [""; 0]);
        run.answer(1, "ann", answer);
        assert_eq!(run.live_names(), [live], "{answer}");
    }
}

#[test]
fn a_step_that_a_person_stops_or_that_runs_out_of_time_goes_back() {
    let mut run = Run::of(a_plan_that_rolls_back(|step| step.pause_after_first = true));
    end_all(&mut run, &[("drain@web01", GOOD), ("install@web01", GOOD)]);
    run.answer(1, "ann", Answer::Abort);
    assert_eq!(run.live_names(), ["undo install@web01"]);

    let mut run = Run::of(a_plan_that_rolls_back(|step| {
        step.timeout_ms = Some(60_000);
    }));
    run.end("drain@web01", GOOD);
    run.after(SignedDuration::from_secs(60));
    run.end("install@web01", Outcome::Cancelled);
    assert_eq!(run.live_names(), ["undo install@web01"]);
}

#[test]
fn what_nothing_undoes_is_named_and_a_package_that_stays_is_no_way_back() {
    for (undone, message, back) in [
        (
            &["install"][..],
            "; rolled back: web01; 'drain' is not undone on web01 (no script)",
            vec![target(1)],
        ),
        (
            &["drain"],
            "; not rolled back: web01; 'install' is not undone on web01 (no script)",
            vec![],
        ),
    ] {
        let step = a_step_that_rolls_back(&[1], 1, &["drain", "install"]);
        let way = a_way_back(0, &step, undone);
        let mut run = Run::of(a_plan(&[1], vec![step, way]));
        end_all(&mut run, &[("drain@web01", GOOD), ("install@web01", BAD)]);
        run.end(&format!("undo {}@web01", undone[0]), GOOD);
        assert!(run.message().ends_with(message), "{}", run.message());
        assert_eq!(back_on(&run), back);
    }
}

#[test]
fn the_reason_of_one_target_is_not_said_of_those_that_nothing_undoes() {
    let step = a_step_that_rolls_back(&[1, 2, 3], 1, &["install"]);
    let way = a_way_back(0, &step, &[]);
    let mut run = Run::of(guided(a_plan(&[1, 2, 3], vec![step, way])));
    run.end("install@web01", BAD);
    run.answer(1, "ann", Answer::Exclude);
    run.end("install@web02", GOOD);
    run.end("install@web03", BAD);
    run.answer(2, "ann", Answer::Fail);
    assert!(
        run.message().ends_with(
            "; not rolled back: web03 and web02, nor web01 (ann said to go on without it); \
             'install' is not undone on web03, web02 and web01 (no script)"
        ),
        "{}",
        run.message()
    );
}

#[test]
fn a_target_with_a_package_of_another_step_does_not_run_what_ran_there_before() {
    let mut other = a_step("other", &[1], vec![an_action("other", &[1])]);
    other.actions[0].uses = "package".to_owned();
    let step = a_step_that_rolls_back(&[1, 2], 1, &["install"]);
    let way = a_way_back(1, &step, &["install"]);
    let mut run = Run::of(a_plan(&[1, 2], vec![other, step, way]));
    end_all(
        &mut run,
        &[
            ("other@web01", GOOD),
            ("install@web01", GOOD),
            ("install@web02", BAD),
            ("undo install@web02", GOOD),
            ("undo install@web01", GOOD),
        ],
    );
    assert_eq!(back_on(&run), [target(2)]);
}

#[test]
fn it_waits_for_the_steps_that_run_beside() {
    let step = a_step_that_rolls_back(&[1], 1, &["install"]);
    let beside = PlanStep {
        start: Start::WithPrevious,
        ..a_step("beside", &[2], vec![an_action("watch", &[2])])
    };
    let way = a_way_back(0, &step, &["install"]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step, beside, way]));
    run.end("install@web01", BAD);
    assert_eq!(run.live_names(), ["watch@web02"]);
    run.end("watch@web02", GOOD);
    assert_eq!(run.live_names(), ["undo install@web01"]);
}

#[test]
fn what_undoes_an_action_puts_out_under_that_ones_name() {
    let plan = a_plan_that_rolls_back(|_| {});
    let node = |step, action| crate::plan::NodeRef {
        step,
        action,
        node: 0,
    };
    assert_eq!(plan.output_name(node(1, 0)), Some("install"));
    assert_eq!(plan.output_name(node(0, 0)), Some("drain"));
    assert_eq!(plan.output_name(node(2, 0)), Some("tell"));
    assert_eq!(plan.undone(node(1, 0)), Some(node(0, 1)));
    assert_eq!(plan.undone(node(0, 0)), None);
}
