//! What runs after a failure is told which, of whom and why; and always the same.

use jiff::SignedDuration;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::PlanStep;
use crate::process::RunCondition;

/// What an attempt that is live was told.
fn told(run: &Run, name: &str) -> Option<Failure> {
    let attempt = run.attempt(name);
    run.state.attempts[&attempt]
        .failed_before
        .as_deref()
        .cloned()
}

fn end_saying(run: &mut Run, name: &str, message: &str) {
    let attempt = run.attempt(name);
    let mut end = an_end(Outcome::Failed);
    end.message = message.to_owned();
    run.input(Input::AttemptEnded {
        attempt,
        end,
        outputs: Vec::new(),
        stored: 0,
    });
}

fn always(name: &str) -> PlanStep {
    PlanStep {
        run: RunCondition::Always,
        ..a_step(name, &[1], vec![an_action(name, &[1])])
    }
}

#[test]
fn what_runs_after_a_failure_is_told_of_step_target_and_cause() {
    let farm = a_step("farm", &[1, 2], vec![an_action("install", &[1, 2])]);
    let mut run = Run::of(a_plan(&[1, 2], vec![farm, always("tell"), always("sweep")]));
    assert_eq!(told(&run, "install@web01"), None);
    end_saying(&mut run, "install@web02", "no room on /srv\nfree some");
    run.after(SignedDuration::from_secs(1));
    run.end("install@web01", Outcome::Failed);
    let first = told(&run, "tell@web01").unwrap();
    assert_eq!(
        first.error,
        "step 'farm': 'install' failed on web02: no room on /srv free some"
    );
    assert_eq!(
        first.detail,
        "step 'farm': 'install' failed on web02: no room on /srv\nfree some\n\
         step 'farm': 'install' failed on web01: exit code 3"
    );
    // What fails later comes after it, and what was told stays what it was.
    run.end("tell@web01", Outcome::Failed);
    let later = told(&run, "sweep@web01").unwrap();
    assert_eq!(later.error, first.error);
    assert_eq!(
        later.detail,
        format!("{}\n'tell' failed on web01: exit code 3", first.detail)
    );
    let again = fold(&run.log);
    assert_eq!(again, run.state, "whoever folds the events says the same");
}

#[test]
fn what_was_allowed_to_fail_is_not_told_and_a_long_text_is_cut() {
    let farm = PlanStep {
        max_failed: 1,
        ..a_rolling_step(&[1, 2], 1, &["a"])
    };
    let bad = a_step("bad", &[2], vec![an_action("b", &[2])]);
    let mut tell = always("tell");
    tell.subjects = vec![target(2)];
    tell.actions = vec![an_action("tell", &[2])];
    let mut run = Run::of(a_plan(&[1, 2], vec![farm, bad, tell]));
    run.end("a@web01", Outcome::Failed);
    run.end("a@web02", Outcome::Succeeded);
    assert_eq!(told(&run, "b@web02"), None, "nothing has failed yet");
    end_saying(&mut run, "b@web02", &"x".repeat(10_000));
    let failure = told(&run, "tell@web02").unwrap();
    let begin = "step 'bad': 'b' failed on web02: xxx";
    assert!(failure.error.starts_with(begin), "{}", failure.error);
    assert!(failure.error.ends_with("x…"));
    assert_eq!(failure.error.chars().count(), 500);
    assert_eq!(failure.detail.chars().count(), 4_000);
}

#[test]
fn of_many_failures_twenty_are_told_and_the_rest_is_counted() {
    let all: Vec<u128> = (1..=30).collect();
    let farm = a_step("farm", &all, vec![an_action("a", &all)]);
    let mut run = Run::of(a_plan(&all, vec![farm, always("tell")]));
    for number in &all {
        run.end(&format!("a@web{number:02}"), Outcome::Failed);
    }
    let detail = told(&run, "tell@web01").unwrap().detail;
    let lines: Vec<&str> = detail.lines().collect();
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20], "and 10 more");
}

#[test]
fn an_action_that_runs_after_a_failure_about_its_target_is_told_of_that_one() {
    let farm = a_step(
        "farm",
        &[1, 2],
        vec![an_action("a", &[1, 2]), an_action("b", &[1, 2])],
    );
    let mut run = Run::of(a_plan(&[1, 2], vec![farm]));
    run.end("a@web01", Outcome::Failed);
    let node = |node| {
        Some(crate::plan::NodeRef {
            step: 0,
            action: 1,
            node,
        })
    };
    let here = run.state.failure_for(0, node(0)).unwrap();
    assert_eq!(here.error, "step 'farm': 'a' failed on web01: exit code 3");
    assert_eq!(run.state.failure_for(0, node(1)), None);
    assert_eq!(run.state.failure_for(0, None), None);
}
