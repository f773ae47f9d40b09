//! The driver with a link of the tests' own: what it does between the network and the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::protocol::Outcome;
use mantle_shared::uuid::Uuid;

use super::recover::look;
use super::*;
use crate::process::{ProcessIdentity, own_identity};
use crate::supervisor::files::{Claim, take_claim};

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

#[test]
fn s27_an_attempt_that_nobody_claimed_is_voided_and_was_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let boot = process::boot_id();
    let (outcome, _) = outcome(look(dir.path(), attempt(), &boot));
    assert_eq!(outcome, Outcome::NotStarted);
    assert!(
        !take_claim(dir.path(), &claim(|_| {})).unwrap(),
        "a late supervisor loses"
    );
}

#[test]
fn s55_a_claim_of_another_boot_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    take_claim(
        dir.path(),
        &claim(|process| process.boot_id = "before".to_owned()),
    )
    .unwrap();
    let (outcome, _) = outcome(look(dir.path(), attempt(), &process::boot_id()));
    assert_eq!(outcome, Outcome::Interrupted);
}

#[test]
fn s56_a_pid_that_belongs_to_another_program_now_is_not_taken_for_the_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    // This very process has the pid, and another start time.
    take_claim(dir.path(), &claim(|process| process.start_time += 1)).unwrap();
    let (outcome, message) = outcome(look(dir.path(), attempt(), &process::boot_id()));
    assert_eq!(outcome, Outcome::Unknown);
    assert!(message.contains("cannot be known"), "{message}");
}

#[test]
fn a_living_supervisor_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    take_claim(dir.path(), &claim(|_| {})).unwrap();
    let found = look(dir.path(), attempt(), &process::boot_id());
    assert!(matches!(found, Found::Running(process) if process == own_identity()));
}
