//! The brain by tables: every start, cancel, report and acknowledgement, once, twice and too late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::Digest;
use mantle_shared::protocol::{Message, Outcome};
use mantle_shared::uuid::Uuid;

use super::*;

pub(super) fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(1000))
}

pub(super) fn end(outcome: Outcome) -> AttemptEnd {
    AttemptEnd {
        outcome,
        exit_code: Some(0),
        message: String::new(),
        records: 2,
        log: Digest::of(b""),
        started_at_us: 1,
        ended_at_us: 2,
    }
}

pub(super) fn start(number: u128, epoch: u64) -> Start {
    Start {
        request: 5,
        epoch,
        task: task(),
        attempt: attempt(number),
        payload: Digest::of(b"order"),
        order: Ok(Claims::default()),
        workspace: Ok(()),
    }
}

fn cancel(number: u128, epoch: u64) -> Input {
    let grace_ms = 100;
    Input::Cancel(Cancel {
        request: 6,
        epoch,
        task: task(),
        attempt: attempt(number),
        grace_ms,
    })
}

pub(super) fn welcome(epoch: u64) -> Welcome {
    Welcome {
        protocol: 1,
        version: String::new(),
        now_us: 0,
        epoch,
    }
}

fn brain() -> Brain {
    let mut brain = Brain::new(BrainConfig { most_attempts: 3 }, Ledger::default());
    run(&mut brain, Input::Connected(welcome(4)));
    brain
}

/// Decides, and the journal takes it.
fn run(brain: &mut Brain, input: Input) -> Vec<Effect> {
    let decision = brain.decide(7, input);
    brain.commit(&decision.records).unwrap();
    decision.then
}

fn start_result(effects: &[Effect]) -> StartResult {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Send(Message::StartAnswer(answer)) => Some(answer.result.clone()),
            _ => None,
        })
        .expect("an answer")
}

fn cancel_result(effects: &[Effect]) -> CancelResult {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Send(Message::CancelAnswer(answer)) => Some(answer.result.clone()),
            _ => None,
        })
        .expect("an answer")
}

fn refusal(effects: &[Effect]) -> StartRefusal {
    match start_result(effects) {
        StartResult::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn spawns(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Spawn { .. }))
        .count()
}

#[test]
fn s25_s26_the_same_start_fifty_times_is_one_spawn_and_equal_answers() {
    let mut brain = brain();
    let mut count = 0;
    for _ in 0..50 {
        let effects = run(&mut brain, Input::Start(start(1, 4)));
        count += spawns(&effects);
        assert_eq!(start_result(&effects), StartResult::Accepted);
    }
    assert_eq!(count, 1);
}

#[test]
fn another_order_under_the_same_id_is_a_conflict() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    let other = Start {
        payload: Digest::of(b"other"),
        ..start(1, 4)
    };
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(other))),
        StartRefusal::Conflict
    );
}

#[test]
fn s30_a_repeated_id_gets_its_outcome_after_everything_was_forgotten() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    let failed = end(Outcome::Failed);
    run(
        &mut brain,
        Input::Ended {
            attempt: attempt(1),
            end: failed.clone(),
        },
    );
    let position = AttemptPosition {
        attempt: attempt(1),
        known: true,
        next_seq: 2,
        end_stored: true,
    };
    let effects = run(&mut brain, Input::Acknowledged(vec![position]));
    assert_eq!(
        effects,
        [Effect::Forget {
            attempt: attempt(1)
        }]
    );
    assert!(brain.reports().is_empty());
    let effects = run(&mut brain, Input::Start(start(1, 4)));
    assert_eq!(start_result(&effects), StartResult::Ended(failed));
    assert_eq!(spawns(&effects), 0);
}

#[test]
fn s31_an_order_of_an_older_epoch_is_fenced() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 5)));
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(2, 4)))),
        StartRefusal::Fenced
    );
    assert_eq!(
        cancel_result(&run(&mut brain, cancel(1, 4))),
        CancelResult::Fenced
    );
    // A cancel or an acquisition teaches the epoch as well.
    run(&mut brain, cancel(9, 8));
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(2, 7)))),
        StartRefusal::Fenced
    );
}

#[test]
fn a_restored_backup_is_obeyed_in_nothing() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 9)));
    run(
        &mut brain,
        Input::Ended {
            attempt: attempt(1),
            end: end(Outcome::Succeeded),
        },
    );
    run(&mut brain, Input::Disconnected);
    let effects = run(&mut brain, Input::Connected(welcome(8)));
    assert_eq!(effects, [Effect::Resync]);
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(2, 99)))),
        StartRefusal::StaleServer
    );
    assert_eq!(
        cancel_result(&run(&mut brain, cancel(1, 99))),
        CancelResult::Fenced
    );
    let position = AttemptPosition {
        attempt: attempt(1),
        known: true,
        next_seq: 2,
        end_stored: true,
    };
    assert!(run(&mut brain, Input::Acknowledged(vec![position])).is_empty());
    assert!(run(&mut brain, Input::Resynced(vec![position])).is_empty());
    assert_eq!(brain.reports().len(), 1);
    run(&mut brain, Input::Connected(welcome(10)));
    assert_eq!(
        start_result(&run(&mut brain, Input::Start(start(2, 99)))),
        StartResult::Accepted
    );
}

#[test]
fn s44_a_cancel_before_its_start_keeps_it_from_starting() {
    let mut brain = brain();
    assert_eq!(
        cancel_result(&run(&mut brain, cancel(1, 4))),
        CancelResult::Voided
    );
    assert_eq!(
        cancel_result(&run(&mut brain, cancel(1, 4))),
        CancelResult::Voided
    );
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(1, 4)))),
        StartRefusal::Voided
    );
}

#[test]
fn s47_a_cancel_after_the_end_gets_the_end() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    run(
        &mut brain,
        Input::Ended {
            attempt: attempt(1),
            end: end(Outcome::Succeeded),
        },
    );
    assert_eq!(
        cancel_result(&run(&mut brain, cancel(1, 4))),
        CancelResult::Ended(end(Outcome::Succeeded))
    );
}

#[test]
fn s48_a_cancel_stands_once_in_the_journal_however_often_it_is_asked() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    let mut records = 0;
    for _ in 0..3 {
        let decision = brain.decide(7, cancel(1, 4));
        records += decision.records.len();
        brain.commit(&decision.records).unwrap();
        assert_eq!(cancel_result(&decision.then), CancelResult::Cancelling);
        assert!(decision.then.contains(&Effect::WriteCancel {
            attempt: attempt(1),
            grace_ms: 100
        }));
    }
    assert_eq!(records, 1);
}

#[test]
fn s29_without_a_journal_nothing_starts() {
    let mut brain = brain();
    let decision = brain.decide(7, Input::Start(start(1, 4)));
    let effects = brain.failed(decision.otherwise, JournalFailure::NoSpace);
    assert_eq!(refusal(&effects), StartRefusal::NoSpace);
    let no_room = Start {
        workspace: Err(JournalFailure::NoSpace),
        ..start(1, 4)
    };
    let effects = run(&mut brain, Input::Start(no_room));
    assert_eq!(
        (refusal(&effects), spawns(&effects)),
        (StartRefusal::NoSpace, 0)
    );
    let effects = run(&mut brain, Input::Start(start(1, 4)));
    assert_eq!(spawns(&effects), 1);
}

#[test]
fn refusals_that_leave_no_trace() {
    let mut brain = brain();
    let bad = Start {
        order: Err("no action type 'x'".to_owned()),
        ..start(1, 4)
    };
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(bad))),
        StartRefusal::BadOrder
    );
    for number in 1..=3 {
        run(&mut brain, Input::Start(start(number, 4)));
    }
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(4, 4)))),
        StartRefusal::Busy
    );
    run(&mut brain, Input::Drain);
    assert_eq!(
        refusal(&run(&mut brain, Input::Start(start(5, 4)))),
        StartRefusal::Draining
    );
    // What is known is still answered.
    assert_eq!(
        start_result(&run(&mut brain, Input::Start(start(1, 4)))),
        StartResult::Accepted
    );
}

fn discards(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Discard {
        attempt: attempt(1),
    })
}

#[test]
fn a_refused_start_leaves_no_folder_and_a_known_attempt_keeps_its_own() {
    // Fenced, stale: never seen, so the folder was made for nothing.
    let mut brain = brain();
    run(&mut brain, Input::Start(start(2, 9)));
    let effects = run(&mut brain, Input::Start(start(1, 4)));
    assert_eq!(refusal(&effects), StartRefusal::Fenced);
    assert!(discards(&effects));
    run(&mut brain, Input::Connected(welcome(8)));
    let effects = run(&mut brain, Input::Start(start(1, 99)));
    assert_eq!(refusal(&effects), StartRefusal::StaleServer);
    assert!(discards(&effects));

    // It runs in its folder: whatever is refused, the folder stays.
    run(&mut brain, Input::Connected(welcome(9)));
    run(&mut brain, Input::Start(start(1, 9)));
    let effects = run(&mut brain, Input::Start(start(1, 4)));
    assert_eq!(refusal(&effects), StartRefusal::Fenced);
    assert!(!discards(&effects));
    let decision = brain.decide(7, Input::Start(start(1, 10)));
    assert!(!decision.records.is_empty(), "the epoch is news");
    let effects = brain.failed(decision.otherwise, JournalFailure::NoSpace);
    assert_eq!(refusal(&effects), StartRefusal::NoSpace);
    assert!(!discards(&effects));
    run(&mut brain, Input::Connected(welcome(8)));
    let effects = run(&mut brain, Input::Start(start(1, 99)));
    assert_eq!(refusal(&effects), StartRefusal::StaleServer);
    assert!(!discards(&effects));
}

#[test]
fn what_the_server_does_not_know_is_forgotten_thirty_days_after_its_end() {
    let unknown = || {
        Input::Resynced(vec![AttemptPosition {
            attempt: attempt(1),
            known: false,
            next_seq: 0,
            end_stored: false,
        }])
    };
    let late = 31 * 24 * 3600 * 1_000_000;
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    let decision = brain.decide(late, unknown());
    assert!(
        decision.then.is_empty() && decision.records.is_empty(),
        "it runs, however long"
    );
    let over = Input::Ended {
        attempt: attempt(1),
        end: end(Outcome::Failed),
    };
    run(&mut brain, over);
    assert!(run(&mut brain, unknown()).is_empty(), "just over");
    assert_eq!(brain.reports().len(), 1);
    // A restored backup may know less than the server did, and gives no leave to forget.
    run(&mut brain, Input::Connected(welcome(3)));
    assert!(brain.decide(late, unknown()).then.is_empty());
    run(&mut brain, Input::Connected(welcome(4)));
    let decision = brain.decide(late, unknown());
    brain.commit(&decision.records).unwrap();
    assert_eq!(
        decision.then,
        [Effect::Forget {
            attempt: attempt(1)
        }]
    );
    assert!(brain.reports().is_empty());
    // It does not start a second time for all that.
    let effects = run(&mut brain, Input::Start(start(1, 4)));
    assert_eq!(
        start_result(&effects),
        StartResult::Ended(end(Outcome::Failed))
    );
}

#[test]
fn after_a_resync_known_attempts_are_shipped_from_where_the_server_is() {
    let mut brain = brain();
    run(&mut brain, Input::Start(start(1, 4)));
    run(&mut brain, Input::Start(start(2, 4)));
    let position = |number, known| AttemptPosition {
        attempt: attempt(number),
        known,
        next_seq: 17,
        end_stored: false,
    };
    let effects = run(
        &mut brain,
        Input::Resynced(vec![position(1, true), position(2, false)]),
    );
    assert_eq!(
        effects,
        [Effect::Ship {
            attempt: attempt(1),
            from_seq: 17
        }]
    );
}

#[test]
fn who_cannot_write_reports_all_the_same() {
    let mut brain = Brain::new(BrainConfig::default(), Ledger::default());
    let decision = brain.decide(1, Input::Connected(welcome(5)));
    assert!(matches!(
        decision.records[..],
        [Record::EpochSeen { epoch: 5, .. }]
    ));
    let effects = brain.failed(decision.otherwise, JournalFailure::NoSpace);
    assert_eq!(
        effects,
        [Effect::Resync],
        "the server orders nothing before it"
    );
    // What was not written is known all the same, as long as the agent runs.
    brain.decide(2, Input::Connected(welcome(4)));
    assert!(brain.is_stale());
    brain.decide(3, Input::Connected(welcome(5)));
    assert!(!brain.is_stale());
}
