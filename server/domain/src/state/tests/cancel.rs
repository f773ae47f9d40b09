//! Cancelling: of what waits, what starts, what runs, and when the answer never comes.

use std::sync::Arc;

use jiff::SignedDuration;
use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::{Outcome, StartRefusal};

use super::super::view::{Status, progress};
use super::super::*;
use super::builders::*;
use crate::plan::Plan;
use crate::process::RunCondition;

fn two_steps() -> Plan {
    let step = |name: &str, action: &str| a_step(name, &[1], vec![an_action(action, &[1])]);
    a_plan(&[1], vec![step("s", "a"), step("t", "b")])
}

fn cancel(run: &mut Run) -> Vec<Event> {
    run.input(Input::CancelRequested {
        by: "ann".to_owned(),
    })
}

/// The first action, which its agent has accepted.
fn runs(run: &mut Run) -> AttemptId {
    let attempt = run.attempt("a@web01");
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Accepted,
    });
    attempt
}

#[test]
fn s43_what_was_never_ordered_is_cancelled_without_the_agent() {
    let mut run = Run::queued();
    run.input(Input::Begin {
        plan: Arc::new(two_steps()),
    });
    cancel(&mut run);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert!(run.state.attempts.is_empty());
    assert!(outstanding(&run.state).is_empty());

    let mut queued = Run::queued();
    cancel(&mut queued);
    assert_eq!(queued.verdict(), Some(Verdict::Cancelled));
}

#[test]
fn s43_a_target_whose_turn_had_not_come_is_cancelled_and_not_failed() {
    let step = a_rolling_step(&[1, 2], 1, &["a"]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    let attempt = runs(&mut run);
    cancel(&mut run);
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Cancelled),
        outputs: vec![],
        stored: 0,
    });
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert_eq!(run.state.attempts.len(), 1);
    let shown = progress(&run.state);
    let waited = &shown.steps[0].subjects[1];
    assert_eq!(waited.status, Status::Cancelled);
    let action = &waited.actions[0];
    assert_eq!((action.status, action.attempts), (Status::Cancelled, 0));
    assert_eq!(action.message, "the deployment was cancelled");
}

#[test]
fn s44_a_start_in_flight_is_settled_by_the_agents_word() {
    let mut run = Run::of(two_steps());
    let attempt = run.attempt("a@web01");
    cancel(&mut run);
    assert!(matches!(
        outstanding(&run.state).as_slice(),
        [Effect::Cancel { .. }]
    ));
    assert_eq!(run.verdict(), None);
    let mut voided = run.clone();
    voided.input(Input::CancelAnswered {
        attempt,
        answer: CancelAnswer::Voided,
    });
    assert_eq!(voided.verdict(), Some(Verdict::Cancelled));
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Accepted,
    });
    run.input(Input::CancelAnswered {
        attempt,
        answer: CancelAnswer::Cancelling,
    });
    assert!(
        outstanding(&run.state).is_empty(),
        "a cancel that was taken note of is not repeated"
    );
    assert_eq!(run.verdict(), None);
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Cancelled),
        outputs: vec![],
        stored: 0,
    });
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
}

#[test]
fn what_a_cancel_leaves_open_is_named() {
    let step = a_step("s", &[1, 2], vec![an_action("a", &[1, 2])]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    cancel(&mut run);
    run.end("a@web01", Outcome::Abandoned);
    run.end("a@web02", Outcome::Unknown);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert_eq!(
        run.message(),
        "cancelled by ann; it is not known how 'a' on web02 ended; 'a' on web01 could not be stopped"
    );
}

#[test]
fn s47_a_cancel_that_races_the_end_gives_what_the_journal_says() {
    let plan = a_plan(&[1], vec![a_step("s", &[1], vec![an_action("a", &[1])])]);
    let mut run = Run::of(plan);
    let attempt = runs(&mut run);
    cancel(&mut run);
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Succeeded),
        outputs: vec![],
        stored: 0,
    });
    assert_eq!(
        run.verdict(),
        Some(Verdict::Succeeded),
        "everything ran to its end all the same"
    );

    let mut run = Run::of(two_steps());
    let attempt = runs(&mut run);
    cancel(&mut run);
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Succeeded),
        outputs: vec![],
        stored: 0,
    });
    assert_eq!(
        run.verdict(),
        Some(Verdict::Cancelled),
        "the second step was not started"
    );
    assert_eq!(run.state.attempts.len(), 1);
}

#[test]
fn a_cancel_that_is_never_answered_is_unknown_and_says_so() {
    let mut run = Run::of(two_steps());
    run.end("a@web01", Outcome::Succeeded);
    run.online.clear();
    cancel(&mut run);
    run.after(SignedDuration::from_mins(3));
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert!(run.message().contains("not known"), "{}", run.message());
}

#[test]
fn a_failed_attempt_is_not_repeated_under_a_cancel() {
    let mut action = an_action("a", &[1]);
    action.retries.count = 5;
    let mut run = Run::of(a_plan(&[1], vec![a_step("s", &[1], vec![action])]));
    let attempt = run.attempt("a@web01");
    cancel(&mut run);
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Failed),
        outputs: vec![],
        stored: 0,
    });
    assert!(run.state.is_finished());
    assert_eq!(run.state.attempts.len(), 1);
}

#[test]
fn what_waits_for_another_try_when_it_is_cancelled_ends_as_its_last_try_did() {
    let mut action = an_action("a", &[1]);
    action.retries.count = 5;
    action.retries.backoff_ms = 60_000;
    let plan = a_plan(&[1], vec![a_step("s", &[1], vec![action])]);
    let mut run = Run::of(plan.clone());
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.live_names(), [""; 0], "it waits");
    run.after(SignedDuration::from_secs(1));
    cancel(&mut run);
    let ended = |run: &Run| {
        let shown = progress(&run.state).steps[0].subjects[0].actions[0].clone();
        (shown.status, shown.message)
    };
    let why = "exit code 3; cancelled before it was tried again";
    assert_eq!(ended(&run), (Status::Failed, why.to_owned()));
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    let message = format!("'a' failed on web01: {why}; then cancelled by ann");
    assert_eq!(run.message(), message);

    // Where no try ran, nothing was started.
    let mut run = Run::of(plan);
    let attempt = run.attempt("a@web01");
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Refused {
            reason: StartRefusal::Draining,
            message: "it is stopping".to_owned(),
        },
    });
    cancel(&mut run);
    let why = "cancelled before it started";
    assert_eq!(ended(&run), (Status::Cancelled, why.to_owned()));
}

#[test]
fn asking_twice_is_asking_once() {
    let mut run = Run::of(two_steps());
    assert!(!cancel(&mut run).is_empty());
    assert_eq!(cancel(&mut run), vec![]);
}

#[test]
fn what_runs_always_is_kept_out_by_a_cancel_and_the_end_says_so() {
    let mut always = an_action("Always", &[1]);
    always.run = RunCondition::Always;
    let step = a_step("s", &[1], vec![an_action("a", &[1]), always]);
    let mut run = Run::of(a_plan(&[1], vec![step]));
    let attempt = runs(&mut run);
    cancel(&mut run);
    let ended = Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Cancelled),
        outputs: vec![],
        stored: 0,
    };
    run.input(ended);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    let shown = progress(&run.state);
    let step = &shown.steps[0];
    assert_eq!(step.status, Status::Cancelled);
    let action = &step.subjects[0].actions[1];
    assert_eq!(
        (action.status, action.message.as_str()),
        (Status::Cancelled, "the deployment was cancelled")
    );
    assert_eq!(
        shown.message,
        "cancelled by ann; a cancel also keeps from running what runs always or after a failure: 'Always'"
    );
}

#[test]
fn a_step_that_failed_before_the_cancel_has_failed() {
    let step = a_rolling_step(&[1, 2], 2, &["a"]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    run.end("a@web01", Outcome::Failed);
    cancel(&mut run);
    run.end("a@web02", Outcome::Cancelled);
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert_eq!(progress(&run.state).steps[0].status, Status::Failed);
}
