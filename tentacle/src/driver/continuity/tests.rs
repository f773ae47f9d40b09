//! A journal that is gone, empty, older or another agent's is noticed, and nothing of it starts twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::lock::Lock;
use mantle_shared::protocol::RecordHasher;
use mantle_shared::tls::Fingerprint;
use mantle_shared::uuid::Uuid;

use super::*;
use crate::journal::{Phase, Weight};
use crate::process::{boot_id, own_identity};
use crate::supervisor::files::{Claim, ResultFile};

fn id(number: u128) -> JournalId {
    JournalId::from_uuid(Uuid::from_u128(number))
}

fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

fn facts(number: u128) -> Facts {
    Facts {
        attempt: attempt(number),
        task: TaskId::from_uuid(Uuid::from_u128(9)),
        epoch: 4,
        payload: Digest::of(b"order"),
        locks: vec![Lock::exclusive("target")],
    }
}

fn state() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"));
    state.create().unwrap();
    (dir, state)
}

/// The folder of an attempt that was accepted.
fn accepted(state: &StateDir, number: u128) -> PathBuf {
    let dir = state.attempt(attempt(number));
    files::prepare(&dir).unwrap();
    files::write_facts(&dir, &facts(number)).unwrap();
    dir
}

fn open_it(state: &StateDir) -> (Journal, Ledger) {
    open(&DriverConfig::new(state.clone()), &boot_id(), 7).unwrap()
}

/// Opens it as an agent of the server with this authority.
fn open_for(state: &StateDir, server: u8) -> (Journal, Ledger) {
    let config = DriverConfig {
        authority: Some(Fingerprint::from_bytes([server; 32])),
        ..DriverConfig::new(state.clone())
    };
    open(&config, &boot_id(), 7).unwrap()
}

#[test]
fn another_server_begins_with_a_counter_of_its_own() {
    let (_dir, state) = state();
    // A version that noted no server wrote the mark.
    drop(open_it(&state));
    let (mut journal, ledger) = open_for(&state, 1);
    let first = ledger.began().unwrap();
    let Facts {
        attempt,
        task,
        epoch,
        payload,
        locks,
    } = facts(1);
    accepted(&state, 1);
    let record = Record::Accepted {
        attempt,
        task,
        epoch,
        payload,
        at_us: 1,
        locks,
    };
    journal.append(&[record], Weight::Begins).unwrap();
    drop(journal);
    let same = open_for(&state, 1).1;
    assert_eq!((same.began(), same.highest_epoch()), (Some(first), epoch));

    let other = open_for(&state, 2).1;
    assert_eq!((other.highest_epoch(), other.task_epoch(task)), (0, 0));
    assert_eq!(
        phase(&other, 1),
        Phase::Accepted(payload),
        "it may still run"
    );
    let began = other.began().unwrap();
    assert!(began.journal != first.journal && !began.after_loss);
    let again = open_for(&state, 2).1;
    assert_eq!((again.began(), again.highest_epoch()), (Some(began), 0));
}

fn phase(ledger: &Ledger, number: u128) -> Phase {
    ledger.get(attempt(number)).unwrap().phase.clone()
}

fn outcome(ledger: &Ledger, number: u128) -> Outcome {
    match phase(ledger, number) {
        Phase::Ended(_, end) => end.outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_journal_with_every_mark() {
    use Held::{Named, Nameless, Nothing};
    let table = [
        (Nothing, None, false, Standing::First),
        (Nothing, None, true, Standing::Lost),
        (Nothing, Some(id(1)), false, Standing::Lost),
        (Nothing, Some(id(1)), true, Standing::Lost),
        (Nameless, None, false, Standing::Unnamed),
        (Nameless, None, true, Standing::Unnamed),
        (Nameless, Some(id(1)), false, Standing::Lost),
        (Nameless, Some(id(1)), true, Standing::Lost),
        (Named(id(1)), None, false, Standing::Unmarked),
        (Named(id(1)), None, true, Standing::Unmarked),
        (Named(id(1)), Some(id(1)), false, Standing::Same),
        (Named(id(1)), Some(id(1)), true, Standing::Same),
        (Named(id(1)), Some(id(2)), false, Standing::Lost),
        (Named(id(1)), Some(id(2)), true, Standing::Lost),
    ];
    for (held, mark, folders, expected) in table {
        assert_eq!(
            standing(held, mark, folders),
            expected,
            "{held:?} {mark:?} folders={folders}"
        );
    }
}

#[test]
fn a_new_agent_has_one_journal_for_good() {
    let (_dir, state) = state();
    let first = open_it(&state).1.began().unwrap();
    assert!(!first.after_loss);
    let again = open_it(&state).1.began().unwrap();
    assert_eq!(first, again);
    // The mark alone is made good: a kill between journal and mark leaves this.
    std::fs::remove_file(state.identity().join(MARK)).unwrap();
    assert_eq!(open_it(&state).1.began(), Some(first));
    assert_eq!(
        read_mark(&state.identity().join(MARK))
            .unwrap()
            .map(|mark| mark.journal),
        Some(first.journal)
    );
}

#[test]
fn a_lost_journal_takes_up_what_folders_prove_and_the_rest_is_unknown() {
    let (_dir, state) = state();
    let before = open_it(&state).1.began().unwrap();
    // 1: nothing but its folder. 2: it has a result. 3: its supervisor lives. 4: nobody knows.
    accepted(&state, 1);
    let end = AttemptEnd {
        exit_code: Some(3),
        ..recover::without_result(Outcome::Failed, "no".to_owned())
    };
    let result = ResultFile {
        attempt: attempt(2),
        end,
    };
    files::write_result(&accepted(&state, 2), &result).unwrap();
    let process = own_identity();
    let claim = Claim::Supervisor {
        process: process.clone(),
    };
    files::take_claim(&accepted(&state, 3), &claim).unwrap();
    files::prepare(&state.attempt(attempt(4))).unwrap();
    std::fs::write(state.attempts().join("notes"), b"").unwrap();
    for file in ["journal", "reserve"] {
        std::fs::remove_file(state.journal().join(file)).unwrap();
    }

    let (_journal, ledger) = open_it(&state);
    let began = ledger.began().unwrap();
    assert!(began.after_loss);
    assert_ne!(began.journal, before.journal);
    assert_eq!(outcome(&ledger, 1), Outcome::Unknown);
    assert_eq!(outcome(&ledger, 2), Outcome::Failed);
    assert_eq!(phase(&ledger, 3), Phase::Spawned(facts(3).payload, process));
    assert_eq!(outcome(&ledger, 4), Outcome::Unknown);
    assert_eq!(ledger.attempts().count(), 4);
    // It stands on the disk, and is no loss any more.
    assert_eq!(open_it(&state).1, ledger);
}

#[test]
fn a_journal_from_elsewhere_keeps_what_it_says_under_another_id() {
    let (_dir, state) = state();
    let (_other_dir, other) = self::state();
    let (mut journal, ledger) = open_it(&other);
    let Facts {
        attempt,
        task,
        epoch,
        payload,
        locks,
    } = facts(5);
    let record = Record::Accepted {
        attempt,
        task,
        epoch,
        payload,
        at_us: 1,
        locks,
    };
    journal.append(&[record], Weight::Begins).unwrap();
    open_it(&state);
    std::fs::copy(
        other.journal().join("journal"),
        state.journal().join("journal"),
    )
    .unwrap();
    let taken = open_it(&state).1;
    assert!(taken.began().unwrap().after_loss);
    assert_ne!(
        taken.began().unwrap().journal,
        ledger.began().unwrap().journal
    );
    assert_eq!(phase(&taken, 5), Phase::Accepted(payload));
}

#[test]
fn s85_a_journal_of_the_version_before_is_no_loss_and_gets_an_id() {
    let (_dir, state) = state();
    let Facts {
        attempt,
        task,
        epoch,
        payload,
        locks,
    } = facts(1);
    let dir = state.attempt(attempt);
    files::prepare(&dir).unwrap();
    let disk = Box::new(Disk::new(state.journal()));
    let mut before = Journal::open(disk, 0).unwrap().journal;
    let record = Record::Accepted {
        attempt,
        task,
        epoch,
        payload,
        at_us: 1,
        locks,
    };
    before.append(&[record], Weight::Begins).unwrap();
    drop(before);

    let ledger = open_it(&state).1;
    let began = ledger.began().unwrap();
    assert!(!began.after_loss);
    assert_eq!(phase(&ledger, 1), Phase::Accepted(payload));
    assert_eq!(ledger.highest_epoch(), epoch);
    assert_eq!(open_it(&state).1, ledger, "for good");
}

#[test]
fn a_kill_between_the_new_journal_and_its_mark_is_another_loss_and_takes_up_nothing_twice() {
    let (_dir, state) = state();
    open_it(&state);
    let mark = std::fs::read(state.identity().join(MARK)).unwrap();
    std::fs::remove_file(state.journal().join("journal")).unwrap();
    accepted(&state, 1);
    let first = open_it(&state).1;
    std::fs::write(state.identity().join(MARK), mark).unwrap();
    let second = open_it(&state).1;
    assert_ne!(
        second.began().unwrap().journal,
        first.began().unwrap().journal
    );
    assert_eq!(phase(&second, 1), phase(&first, 1));
}

#[test]
fn a_mark_that_cannot_be_read_agrees_with_no_journal() {
    let (_dir, state) = state();
    let first = open_it(&state).1.began().unwrap();
    std::fs::write(state.identity().join(MARK), b"{").unwrap();
    let second = open_it(&state).1.began().unwrap();
    assert_ne!(first.journal, second.journal);
    assert!(second.after_loss);
}

#[test]
fn an_unreadable_folder_is_unknown() {
    let (_dir, state) = state();
    let dir = accepted(&state, 1);
    std::fs::write(dir.join("claim"), b"not JSON").unwrap();
    let ledger = open_it(&state).1;
    assert_eq!(outcome(&ledger, 1), Outcome::Unknown);
    let Phase::Ended(_, end) = phase(&ledger, 1) else {
        unreachable!()
    };
    assert_eq!(end.log, RecordHasher::new().digest());
}
