//! Single rules: retries, acquisition, deadlines, answers that come twice or late.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::AttemptId;
use mantle_shared::protocol::{Outcome, StartRefusal};
use mantle_shared::uuid::Uuid;

use super::super::*;
use super::builders::*;
use crate::plan::Plan;
use crate::process::Retries;

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn one_action(retries: u32) -> Plan {
    let mut action = an_action("a", &[1]);
    action.retries = Retries {
        count: retries,
        backoff_ms: 5_000,
        max_backoff_ms: None,
    };
    a_plan(&[1], vec![a_step("s", &[1], vec![action])])
}

#[test]
fn a_failed_attempt_is_repeated_as_often_as_the_action_says() {
    let mut run = Run::of(one_action(1));
    let first = run.attempt("a@web01");
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.live_names(), [""; 0], "it waits for the backoff");
    run.after(SignedDuration::from_secs(4));
    assert_eq!(run.live_names(), [""; 0]);
    run.after(SignedDuration::from_secs(1));
    assert_ne!(run.attempt("a@web01"), first, "a retry is another attempt");
    run.end("a@web01", Outcome::TimedOut);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
}

#[test]
fn what_was_not_started_is_ordered_anew_without_using_up_retries() {
    let mut run = Run::of(one_action(0));
    for _ in 0..3 {
        let attempt = run.attempt("a@web01");
        let (reason, message) = (StartRefusal::NoSpace, "no room".to_owned());
        run.input(Input::StartAnswered {
            attempt,
            answer: StartAnswer::Refused { reason, message },
        });
        run.after(SignedDuration::from_secs(2));
    }
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn an_agent_that_never_has_room_fails_the_action_in_the_end() {
    let mut run = Run::of(one_action(0));
    for _ in 0..4 {
        let attempt = run.attempt("a@web01");
        let (reason, message) = (StartRefusal::NoSpace, "no room".to_owned());
        run.input(Input::StartAnswered {
            attempt,
            answer: StartAnswer::Refused { reason, message },
        });
        run.after(SignedDuration::from_secs(2));
    }
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), "'a' was not started on web01: no room");
}

#[test]
fn an_order_that_cannot_be_carried_out_is_not_made_again() {
    let mut run = Run::of(one_action(3));
    let attempt = run.attempt("a@web01");
    let (reason, message) = (StartRefusal::BadOrder, "too large".to_owned());
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Refused { reason, message },
    });
    assert_eq!(run.state.attempts.len(), 1);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), "'a' was not started on web01: too large");
}

#[test]
fn an_order_that_cannot_be_made_was_not_started_only_if_it_never_left() {
    for (sent, outcome) in [
        (Sent::Never, Outcome::NotStarted),
        (Sent::Perhaps, Outcome::Unknown),
    ] {
        let mut run = Run::of(one_action(3));
        let attempt = run.attempt("a@web01");
        run.input(Input::OrderImpossible {
            attempt,
            sent,
            message: "no key".to_owned(),
        });
        let known = &run.state.attempts[&attempt];
        assert!(
            matches!(&known.status, AttemptStatus::Over { outcome: got, message, .. }
                if *got == outcome && message.contains("no key")),
            "{known:?}"
        );
        run.after(SignedDuration::from_secs(6));
        assert_eq!(run.state.attempts.len(), 1, "{sent:?}");
    }
    // An agent that has taken it is believed.
    let mut run = Run::of(one_action(0));
    let attempt = run.attempt("a@web01");
    let answer = StartAnswer::Accepted;
    run.input(Input::StartAnswered { attempt, answer });
    let (sent, message) = (Sent::Perhaps, String::new());
    let events = run.input(Input::OrderImpossible {
        attempt,
        sent,
        message,
    });
    assert_eq!(events, []);
}

#[test]
fn a_wait_that_is_over_leaves_only_its_deadline() {
    let mut run = Run::of(one_action(1));
    run.end("a@web01", Outcome::Failed);
    run.online.clear();
    let retry = run.now + SignedDuration::from_secs(5);
    assert_eq!(
        next_deadline(&run.state, run.now, Timestamp::MIN),
        Some(retry)
    );
    run.after(SignedDuration::from_secs(5));
    let next = next_deadline(&run.state, run.now, Timestamp::MIN).unwrap();
    assert!(next >= run.now + minutes(9), "{next}");
    run.after(minutes(12));
    assert_eq!(run.verdict(), Some(Verdict::Failed));

    let mut run = Run::of(with_packages());
    run.input(Input::AcquireEnded {
        target: target(1),
        end: AcquireEnd::Failed {
            message: "away".to_owned(),
            transient: true,
        },
    });
    run.online.remove(&agent(1));
    let retry = run.now + SignedDuration::from_secs(2);
    assert_eq!(
        next_deadline(&run.state, run.now, Timestamp::MIN),
        Some(retry)
    );
    run.after(SignedDuration::from_secs(2));
    let next = next_deadline(&run.state, run.now, Timestamp::MIN).unwrap();
    assert!(next >= run.now + minutes(9), "{next}");
}

#[test]
fn unknown_is_never_success_and_never_repeated() {
    let mut run = Run::of(one_action(3));
    run.input(Input::AgentRevoked { agent: agent(1) });
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.state.attempts.len(), 1);
    assert!(run.message().contains("revoked"), "{}", run.message());
}

#[test]
fn what_waits_for_a_revoked_agent_does_not_wait_for_its_deadline() {
    let mut run = Run::queued();
    run.input(Input::Begin {
        plan: Arc::new(one_action(0)),
    });
    run.input(Input::AgentRevoked { agent: agent(2) });
    assert_eq!(run.verdict(), None, "another agent's revocation");
    run.input(Input::AgentRevoked { agent: agent(1) });
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.state.attempts.len(), 0);
    assert!(run.message().contains("revoked"), "{}", run.message());
    assert_eq!(
        run.try_input(Input::AgentRevoked { agent: agent(1) }),
        Ok(vec![])
    );
}

#[test]
fn s13_a_start_that_nobody_collects_is_not_delivered_later() {
    let mut run = Run::queued();
    run.input(Input::Begin {
        plan: Arc::new(one_action(0)),
    });
    assert_eq!(
        run.state.attempts.len(),
        0,
        "nothing is ordered while the agent is away"
    );
    run.after(minutes(10));
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert!(
        run.message().contains("was not connected in time"),
        "{}",
        run.message()
    );
    run.online.insert(agent(1));
    run.input(Input::Tick);
    assert!(
        outstanding(&run.state).is_empty(),
        "an agent that comes later hears nothing of it"
    );
    assert_eq!(run.state.attempts.len(), 0);
}

#[test]
fn s14_a_start_that_was_collected_has_its_own_deadline() {
    let mut run = Run::of(one_action(0));
    let attempt = run.attempt("a@web01");
    run.online.clear();
    run.after(minutes(11));
    assert_eq!(
        run.verdict(),
        None,
        "the pick-up deadline does not count any more"
    );
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Succeeded),
        outputs: vec![],
        stored: 0,
    });
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn silence_beyond_every_deadline_is_unknown_and_a_late_word_is_kept() {
    let mut run = Run::of(one_action(0));
    let attempt = run.attempt("a@web01");
    run.after(minutes(32));
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    let end = an_end(Outcome::Succeeded);
    let events = run.input(Input::AttemptEnded {
        attempt,
        end: end.clone(),
        outputs: Vec::new(),
        stored: 0,
    });
    assert!(matches!(
        events.as_slice(),
        [Event::AttemptFinishedLate { .. }]
    ));
    assert_eq!(
        run.verdict(),
        Some(Verdict::Failed),
        "a verdict that was given stands"
    );
    assert_eq!(run.state.attempts[&attempt].end, Some(end));
}

#[test]
fn s17_what_the_deployment_never_ordered_changes_nothing() {
    let mut run = Run::of(one_action(0));
    let before = run.state.clone();
    let stranger = nobodys_attempt();
    let inputs = [
        Input::AttemptEnded {
            attempt: stranger,
            end: an_end(Outcome::Failed),
            outputs: vec![],
            stored: 0,
        },
        Input::StartAnswered {
            attempt: stranger,
            answer: StartAnswer::Accepted,
        },
        Input::CancelAnswered {
            attempt: stranger,
            answer: CancelAnswer::Voided,
        },
    ];
    for input in inputs {
        assert_eq!(
            run.try_input(input),
            Err(Illegal::UnknownAttempt { attempt: stranger })
        );
        assert_eq!(run.state, before);
    }
}

/// An attempt's id that no plan has.
fn nobodys_attempt() -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(5))
}

#[test]
fn the_same_end_twice_is_one_end_and_another_end_is_a_contradiction() {
    let mut run = Run::of(one_action(0));
    let attempt = run.attempt("a@web01");
    run.end("a@web01", Outcome::Succeeded);
    let again = Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Succeeded),
        outputs: vec![],
        stored: 0,
    };
    assert_eq!(run.try_input(again), Ok(vec![]));
    let other = Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Failed),
        outputs: vec![],
        stored: 0,
    };
    assert_eq!(
        run.try_input(other),
        Err(Illegal::Contradiction { attempt })
    );
}

#[test]
fn an_accepted_attempt_that_the_journal_forgot_is_unknown_an_unanswered_one_is_ordered_again() {
    let mut run = Run::of(one_action(0));
    let attempt = run.attempt("a@web01");
    assert_eq!(
        run.input(Input::AttemptForgotten {
            attempt,
            journal: None
        }),
        vec![]
    );
    assert!(matches!(
        outstanding(&run.state).as_slice(),
        [Effect::Start { .. }]
    ));
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Accepted,
    });
    run.input(Input::AttemptForgotten {
        attempt,
        journal: None,
    });
    assert_eq!(run.verdict(), Some(Verdict::Failed));
}

fn with_packages() -> Plan {
    let mut action = an_action("install", &[1, 2]);
    action.packages = vec![a_package()];
    let first = a_step("first", &[1], vec![an_action("a", &[1])]);
    a_plan(&[1, 2], vec![first, a_step("s", &[1, 2], vec![action])])
}

#[test]
fn every_byte_is_in_place_before_the_first_target_is_touched() {
    let mut run = Run::of(with_packages());
    assert_eq!(run.live_names(), [""; 0]);
    assert_eq!(outstanding(&run.state).len(), 2);
    let end = AcquireEnd::Done {
        fetched_bytes: 1,
        reused_bytes: 0,
    };
    run.input(Input::AcquireEnded {
        target: target(1),
        end: end.clone(),
    });
    assert_eq!(run.live_names(), [""; 0]);
    run.input(Input::AcquireEnded {
        target: target(2),
        end,
    });
    assert_eq!(run.live_names(), ["a@web01"]);
}

#[test]
fn an_acquisition_is_tried_again_when_that_may_help_and_else_fails_before_anything_is_touched() {
    let mut run = Run::of(with_packages());
    let failed = |transient| AcquireEnd::Failed {
        message: "lost".to_owned(),
        transient,
    };
    run.input(Input::AcquireEnded {
        target: target(1),
        end: failed(true),
    });
    assert_eq!(outstanding(&run.state).len(), 1);
    run.after(SignedDuration::from_secs(2));
    assert_eq!(outstanding(&run.state).len(), 2);
    let done = AcquireEnd::Done {
        fetched_bytes: 1,
        reused_bytes: 0,
    };
    run.input(Input::AcquireEnded {
        target: target(2),
        end: done,
    });
    run.input(Input::AcquireEnded {
        target: target(1),
        end: failed(false),
    });
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.state.attempts.len(), 0);
    assert_eq!(
        run.message(),
        "packages could not be brought to web01: lost"
    );
}

#[test]
fn a_refused_deployment_is_over_with_the_reason() {
    let mut run = Run::queued();
    run.input(Input::Refuse {
        message: "no target".to_owned(),
    });
    assert_eq!(
        (run.verdict(), run.message()),
        (Some(Verdict::Failed), "no target".to_owned())
    );
    assert_eq!(
        run.try_input(Input::Begin {
            plan: Arc::new(one_action(0))
        }),
        Err(Illegal::Finished)
    );
}

#[test]
fn an_order_is_made_of_the_outputs_that_were_known_when_it_was_given() {
    let step = a_step(
        "s",
        &[1, 2],
        vec![an_action("a", &[1, 2]), an_action("b", &[1, 2])],
    );
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    let (first, second) = (run.attempt("a@web01"), run.attempt("a@web02"));
    let output = |subject: &str| OutputVariable {
        action: "a".to_owned(),
        subject: subject.to_owned(),
        name: "X".to_owned(),
        value: "1".to_owned(),
        sealed_by: None,
    };
    let end = an_end(Outcome::Succeeded);
    let outputs = vec![output("web01")];
    run.input(Input::AttemptEnded {
        attempt: first,
        end: end.clone(),
        outputs,
        stored: 0,
    });
    let ordered = run.attempt("b@web01");
    run.input(Input::AttemptEnded {
        attempt: second,
        end,
        outputs: vec![output("web02")],
        stored: 0,
    });
    assert_eq!(run.state.outputs.len(), 2);
    assert_eq!(run.state.attempts[&ordered].outputs_before, 1);
    assert_eq!(
        run.state.attempts[&run.attempt("b@web02")].outputs_before,
        2
    );
}
