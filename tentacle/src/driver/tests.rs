//! The driver with a link of the tests' own: what it does between the network and the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use mantle_shared::protocol::Outcome;
use mantle_shared::uuid::Uuid;
use mantle_shared::{Digest, TaskId};

use super::recover::look;
use super::*;
use crate::process::{ProcessIdentity, own_identity};
use crate::supervisor::files::{self, Claim, take_claim};

fn attempt() -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(1))
}

fn outcome(found: Found) -> (Outcome, String) {
    match found {
        Found::Ended(end) => (end.outcome, end.message),
        other => panic!("{other}"),
    }
}

/// A claim of a process that is not there.
fn claim(change: impl FnOnce(&mut ProcessIdentity)) -> Claim {
    let mut process = own_identity();
    change(&mut process);
    Claim::Supervisor { process }
}

/// The folder of an attempt that was accepted, as the driver makes it.
fn prepared() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join(attempt().to_string());
    files::prepare(&dir).unwrap();
    let facts = Facts {
        attempt: attempt(),
        task: TaskId::from_uuid(Uuid::from_u128(2)),
        epoch: 1,
        payload: Digest::of(b"order"),
        locks: Vec::new(),
    };
    files::write_facts(&dir, &facts).unwrap();
    (parent, dir)
}

/// A supervisor that is not there any more.
fn gone() -> ProcessIdentity {
    let mut process = own_identity();
    process.start_time += 1;
    process
}

fn look_now(dir: &Path, spawned: Option<&ProcessIdentity>) -> Found {
    look(dir, attempt(), &process::boot_id(), spawned)
}

#[test]
fn s27_an_attempt_that_nobody_claimed_is_voided_and_was_not_started() {
    // A supervisor that ended before it claimed did nothing either.
    for spawned in [None, Some(gone())] {
        let (_parent, dir) = prepared();
        // Also the second time, as after a kill before the first answer was journalled.
        for _ in 0..2 {
            let (outcome, _) = outcome(look_now(&dir, spawned.as_ref()));
            assert_eq!(outcome, Outcome::NotStarted);
        }
        assert!(
            !take_claim(&dir, &claim(|_| {})).unwrap(),
            "a late supervisor loses"
        );
    }
}

#[test]
fn a_folder_that_is_gone_proves_nothing_whatever_the_journal_says() {
    for spawned in [None, Some(gone())] {
        let (_parent, dir) = prepared();
        std::fs::remove_dir_all(&dir).unwrap();
        for _ in 0..2 {
            let (outcome, message) = outcome(look_now(&dir, spawned.as_ref()));
            assert_eq!(outcome, Outcome::Unknown);
            assert!(message.contains("folder is gone"), "{message}");
        }
        assert!(
            !dir.exists(),
            "nothing that a later look might take for proof"
        );
        assert!(
            take_claim(&dir, &claim(|_| {})).is_err(),
            "a late supervisor cannot claim"
        );
    }
}

#[test]
fn a_supervisor_whose_folder_is_gone_is_waited_for() {
    let (_parent, dir) = prepared();
    std::fs::remove_dir_all(&dir).unwrap();
    let found = look_now(&dir, Some(&own_identity()));
    assert!(matches!(found, Found::Running(process) if process == own_identity()));
}

#[test]
fn a_supervisor_that_has_not_claimed_yet_is_waited_for() {
    let (_parent, dir) = prepared();
    let found = look_now(&dir, Some(&own_identity()));
    assert!(matches!(found, Found::Running(process) if process == own_identity()));
    assert!(
        take_claim(&dir, &claim(|_| {})).unwrap(),
        "it claims when it gets to it"
    );
}

#[test]
fn a_folder_that_was_disturbed_proves_nothing() {
    type Disturb = fn(&Path);
    let table: [(&str, Disturb); 5] = [
        ("emptied", |dir| {
            std::fs::remove_dir_all(dir).unwrap();
            std::fs::create_dir(dir).unwrap();
        }),
        ("another attempt's", |dir| {
            let facts = files::read_facts(dir).unwrap().unwrap();
            let other = AttemptId::from_uuid(Uuid::from_u128(3));
            files::write_facts(
                dir,
                &Facts {
                    attempt: other,
                    ..facts
                },
            )
            .unwrap();
        }),
        ("facts damaged", |dir| {
            std::fs::write(dir.join("attempt.json"), b"{").unwrap();
        }),
        ("records without a claim", |dir| {
            std::fs::write(dir.join("spool-00000000000000000000"), b"").unwrap();
        }),
        ("work without a claim", |dir| {
            std::fs::create_dir(dir.join(files::WORK_DIR)).unwrap();
        }),
    ];
    for (what, disturb) in table {
        let (_parent, dir) = prepared();
        disturb(&dir);
        for _ in 0..2 {
            let (outcome, message) = outcome(look_now(&dir, None));
            assert_eq!(outcome, Outcome::Unknown, "{what}");
            assert!(message.contains("not as the agent left it"), "{message}");
        }
        assert!(
            !take_claim(&dir, &claim(|_| {})).unwrap(),
            "{what}: a late supervisor loses"
        );
    }
}

#[test]
fn s55_a_claim_of_another_boot_was_interrupted() {
    let (_parent, dir) = prepared();
    take_claim(
        &dir,
        &claim(|process| process.boot_id = "before".to_owned()),
    )
    .unwrap();
    let (outcome, _) = outcome(look_now(&dir, None));
    assert_eq!(outcome, Outcome::Interrupted);
}

#[test]
fn s56_a_pid_that_belongs_to_another_program_now_is_not_taken_for_the_supervisor() {
    let (_parent, dir) = prepared();
    // This very process has the pid, and another start time.
    take_claim(&dir, &claim(|process| process.start_time += 1)).unwrap();
    let (outcome, message) = outcome(look_now(&dir, None));
    assert_eq!(outcome, Outcome::Unknown);
    assert!(message.contains("cannot be known"), "{message}");
}

/// A driver in a folder of its own; nothing is started.
fn driver(parent: &Path) -> Driver {
    let state = StateDir::at(parent.join("state"));
    state.create().unwrap();
    Driver::open(DriverConfig::new(state)).unwrap()
}

#[tokio::test]
async fn tombstones_are_forgotten_while_the_agent_runs() {
    let parent = tempfile::tempdir().unwrap();
    let mut driver = driver(parent.path());
    driver.handle(Input::Cancel(Cancel {
        request: 1,
        epoch: 1,
        task: TaskId::from_uuid(Uuid::from_u128(2)),
        attempt: attempt(),
        grace_ms: 1,
    }));
    driver.prune(now_us());
    assert!(driver.brain.ledger().get(attempt()).is_some());
    driver.prune(now_us() + 31 * 24 * 3600 * 1_000_000);
    assert!(driver.brain.ledger().get(attempt()).is_none());
    assert_eq!(
        driver
            .brain
            .ledger()
            .task_epoch(TaskId::from_uuid(Uuid::from_u128(2))),
        0
    );
}

#[tokio::test]
async fn a_cancel_that_could_not_be_handed_on_is_tried_again_until_the_attempt_is_over() {
    let parent = tempfile::tempdir().unwrap();
    let mut driver = driver(parent.path());
    let task = TaskId::from_uuid(Uuid::from_u128(2));
    let dir = driver.config.state_dir.attempt(attempt());
    files::prepare(&dir).unwrap();
    driver.handle(Input::Start(Start {
        request: 1,
        epoch: 1,
        task,
        attempt: attempt(),
        payload: Digest::of(b"order"),
        order: Ok(crate::brain::Claims::default()),
        workspace: Ok(()),
    }));
    // While it is elsewhere nothing can be written into it.
    let aside = parent.path().join("aside");
    std::fs::rename(&dir, &aside).unwrap();
    driver.handle(Input::Cancel(Cancel {
        request: 2,
        epoch: 1,
        task,
        attempt: attempt(),
        grace_ms: 7,
    }));
    driver.tick();
    assert_eq!(files::read_cancel(&aside), None);
    std::fs::rename(&aside, &dir).unwrap();
    driver.tick();
    let written = files::read_cancel(&dir).unwrap();
    assert_eq!(written.grace_ms, 7);
    assert_eq!(driver.unwritten, BTreeMap::new());

    driver.unwritten.insert(attempt(), 7);
    std::fs::remove_dir_all(&dir).unwrap();
    driver.handle(Input::Ended {
        attempt: attempt(),
        end: recover::without_result(Outcome::Cancelled, String::new()),
    });
    driver.tick();
    assert_eq!(
        driver.unwritten,
        BTreeMap::new(),
        "nobody is there to take it"
    );
}

#[test]
fn a_status_that_cannot_be_written_now_holds_up_nothing_and_the_last_one_stays() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let parent = tempfile::tempdir().unwrap();
        let mut driver = driver(parent.path());
        let path = driver.config.state_dir.status_file();
        // As a scanner that holds the file would: the one thread that may wait is kept.
        let (free, kept) = std::sync::mpsc::channel::<()>();
        let keeper = tokio::task::spawn_blocking(move || kept.recv());
        driver.write_status();
        driver.status.running = 1;
        driver.write_status();
        assert_eq!(Status::read(&path).unwrap(), None);
        driver.status.connection = Connection::Stopped;
        free.send(()).unwrap();
        keeper.await.unwrap().unwrap();
        driver.write_last_status().await;
        let written = Status::read(&path).unwrap().unwrap();
        assert_eq!(written, driver.status);
    });
}

#[tokio::test]
async fn records_are_sent_again_only_if_the_server_stays_where_it_was() {
    let mut attempts = Attempts::default();
    attempts.insert(attempt(), PathBuf::new());
    let task = tokio::spawn(std::future::pending::<()>());
    attempts.set_shipper(attempt(), 10, task.abort_handle());
    // Forward, also when it came late; then twice the same.
    for (says, stuck) in [
        (15, false),
        (20, false),
        (20, true),
        (25, false),
        (25, true),
        (20, true),
    ] {
        attempts.stored(attempt(), says);
        let live = attempts.get(attempt()).unwrap();
        assert_eq!(live.is_stuck(), stuck, "{says}");
    }
    assert_eq!(attempts.take_stuck(), [(attempt(), 25)]);
    assert_eq!(attempts.take_stuck(), []);
    // A connection that is gone: the resync says from where on.
    attempts.stored(attempt(), 25);
    attempts.stop_shipping();
    assert_eq!(attempts.take_stuck(), []);
}

#[test]
fn a_living_supervisor_is_found_again() {
    let (_parent, dir) = prepared();
    take_claim(&dir, &claim(|_| {})).unwrap();
    let found = look_now(&dir, None);
    assert!(matches!(found, Found::Running(process) if process == own_identity()));
}
