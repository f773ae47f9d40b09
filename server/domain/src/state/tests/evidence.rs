//! What agents say against what is known: lost journals, lost records, starts that are denied.

use mantle_shared::ids::JournalId;
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::uuid::Uuid;

use super::super::*;
use super::builders::*;

fn a_run() -> Run {
    Run::of(a_plan(
        &[1],
        vec![a_step("s", &[1], vec![an_action("a", &[1])])],
    ))
}

fn journal(number: u128) -> JournalId {
    JournalId::from_uuid(Uuid::from_u128(number))
}

fn end_of(outcome: Outcome, records: u64) -> AttemptEnd {
    AttemptEnd {
        records,
        ..an_end(outcome)
    }
}

#[test]
fn an_end_is_taken_by_the_evidence() {
    use Outcome::{Failed, Interrupted, NotStarted, Succeeded, Unknown};
    // (said, its records, stored, seen running) -> (taken, part of the message)
    let table = [
        (NotStarted, 0, 0, false, NotStarted, ""),
        (NotStarted, 0, 0, true, Unknown, "reported the running step"),
        (
            NotStarted,
            0,
            1,
            false,
            Unknown,
            "a record of the step is stored",
        ),
        (
            NotStarted,
            0,
            12,
            true,
            Unknown,
            "12 records of the step are stored",
        ),
        (Unknown, 0, 12, true, Unknown, "kept 0 of its 12 records"),
        (
            Interrupted,
            3,
            5,
            true,
            Interrupted,
            "kept 3 of its 5 records",
        ),
        (
            Failed,
            5,
            3,
            true,
            Failed,
            "exit code 3 (2 of its 5 records were lost",
        ),
        (
            Succeeded,
            5,
            3,
            true,
            Succeeded,
            "2 of its 5 records were lost",
        ),
        (Succeeded, 5, 5, true, Succeeded, ""),
        (Failed, 5, 5, false, Failed, ""),
    ];
    for (said, records, stored, seen_running, taken, message) in table {
        let evidence = Evidence {
            stored,
            seen_running,
        };
        let end = judge(end_of(said, records), evidence);
        let case = format!("{said:?} {records} {evidence:?}: {end:?}");
        assert_eq!(end.outcome, taken, "{case}");
        assert!(end.message.contains(message), "{case}");
        assert_eq!(end.message.is_empty(), message.is_empty(), "{case}");
        assert_eq!(
            judge(end_of(said, records), evidence),
            end,
            "the same again"
        );
    }
}

#[test]
fn who_denies_a_start_that_is_proved_is_not_asked_again() {
    for (stored, seen_running, denied) in [(0, false, true), (0, true, false), (4, false, false)] {
        let mut run = a_run();
        let attempt = run.attempt("a@web01");
        if seen_running {
            run.input(Input::AttemptSeenRunning { attempt });
            assert_eq!(run.input(Input::AttemptSeenRunning { attempt }), vec![]);
        }
        run.input(Input::AttemptEnded {
            attempt,
            end: end_of(Outcome::NotStarted, 0),
            outputs: Vec::new(),
            stored,
        });
        run.after(jiff::SignedDuration::from_secs(2));
        if denied {
            assert_ne!(run.attempt("a@web01"), attempt, "it is ordered anew");
        } else {
            assert_eq!(run.verdict(), Some(Verdict::Failed));
            assert!(run.message().contains("not known"), "{}", run.message());
            assert_eq!(run.state.attempts.len(), 1);
        }
    }
}

#[test]
fn the_same_denial_twice_is_one_end() {
    let mut run = a_run();
    let attempt = run.attempt("a@web01");
    let denial = || Input::AttemptEnded {
        attempt,
        end: end_of(Outcome::NotStarted, 0),
        outputs: Vec::new(),
        stored: 4,
    };
    run.input(denial());
    assert_eq!(run.try_input(denial()), Ok(vec![]));
}

#[test]
fn an_unanswered_order_is_repeated_under_the_same_journal_alone() {
    // (journal when it was ordered, journal now) -> it is ordered again
    let table = [
        (Some(1), Some(1), true),
        (Some(1), Some(2), false),
        (Some(1), None, false),
        // Of an agent that never said which journal it goes by, nothing can be told.
        (None, None, true),
        (None, Some(1), true),
    ];
    for (ordered, now, again) in table {
        let mut run = Run::queued();
        run.online.insert(agent(1));
        run.journals
            .extend(ordered.map(|number| (agent(1), journal(number))));
        run.input(Input::Begin {
            plan: std::sync::Arc::new(a_plan(
                &[1],
                vec![a_step("s", &[1], vec![an_action("a", &[1])])],
            )),
        });
        let attempt = run.attempt("a@web01");
        run.input(Input::AttemptForgotten {
            attempt,
            journal: now.map(journal),
        });
        let case = format!("{ordered:?} {now:?}");
        let starts = outstanding(&run.state)
            .iter()
            .any(|effect| matches!(effect, Effect::Start { .. }));
        assert_eq!(starts, again, "{case}");
        if !again {
            assert_eq!(run.verdict(), Some(Verdict::Failed), "{case}");
            assert!(
                run.message().contains("lost the journal"),
                "{}",
                run.message()
            );
            assert_eq!(run.state.attempts.len(), 1, "never a second try");
        }
    }
}
