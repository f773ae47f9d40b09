//! The journal under torn writes, full disks and lost syncs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use mantle_shared::lock::{Lock, TARGET};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, Digest, TaskId};
use proptest::prelude::*;

use super::*;

/// A disk that a test can fill, break, and cut the power of.
#[derive(Clone, Default)]
struct FakeDisk(Arc<Mutex<Fake>>);

#[derive(Default)]
struct Fake {
    bytes: Option<Vec<u8>>,
    /// How many bytes still fit.
    room: Option<usize>,
    reserve: usize,
    fail_truncate: bool,
    /// A replacement fails; with `true` after the new journal is in place.
    fail_replace: Option<bool>,
    fail_settle: bool,
}

impl FakeDisk {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone().unwrap_or_default()
    }
    fn set(&self, bytes: Vec<u8>) {
        self.0.lock().unwrap().bytes = Some(bytes);
    }
    fn set_room(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }
    fn open(&self) -> Result<Opened, OpenError> {
        Journal::open(Box::new(self.clone()), 0)
    }
}

impl Storage for FakeDisk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().bytes.clone())
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.fail_truncate {
            return Err(io::Error::other("broken"));
        }
        let length = usize::try_from(length).unwrap();
        fake.bytes.as_mut().unwrap().truncate(length);
        Ok(())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        let fits = fake.room.unwrap_or(usize::MAX).min(bytes.len());
        fake.bytes
            .get_or_insert_default()
            .extend_from_slice(&bytes[..fits]);
        if let Some(room) = &mut fake.room {
            *room -= fits;
        }
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.fail_replace != Some(false) {
            fake.bytes = Some(bytes.to_vec());
        }
        match fake.fail_replace {
            Some(_) => Err(io::Error::other("broken")),
            None => Ok(()),
        }
    }
    fn settle(&mut self) -> io::Result<()> {
        if self.0.lock().unwrap().fail_settle {
            return Err(io::Error::other("broken"));
        }
        Ok(())
    }
    fn reserve(&mut self) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        if fake.room.is_some_and(|room| room < 1000) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        fake.reserve = 1000;
        Ok(())
    }
    fn release(&mut self) -> io::Result<()> {
        let mut fake = self.0.lock().unwrap();
        let freed = std::mem::take(&mut fake.reserve);
        if let Some(room) = &mut fake.room {
            *room += freed;
        }
        Ok(())
    }
}

fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(99))
}

fn accepted(number: u128) -> Record {
    Record::Accepted {
        attempt: attempt(number),
        task: task(),
        epoch: 3,
        payload: Digest::of(b"order"),
        at_us: 7,
        locks: Vec::new(),
    }
}

fn end() -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        message: String::new(),
        records: 0,
        log: Digest::of(b""),
        started_at_us: 1,
        ended_at_us: 2,
    }
}

fn finished(number: u128) -> Record {
    Record::Finished {
        attempt: attempt(number),
        end: end(),
    }
}

/// Every prefix of a journal opens to a prefix of its records, and can be written on.
#[test]
fn a_torn_end_is_cut_off_wherever_it_tore() {
    let records = [accepted(1), finished(1), accepted(2)];
    let disk = FakeDisk::default();
    let mut journal = disk.open().unwrap().journal;
    let mut ends = vec![HEADER.len()];
    for record in &records {
        journal
            .append(std::slice::from_ref(record), Weight::Settles)
            .unwrap();
        ends.push(disk.bytes().len());
    }
    let whole = disk.bytes();
    for length in 0..=whole.len() {
        for garbage in [&b""[..], b"\0\0\0\0", b"\n\n"] {
            let torn = [&whole[..length], garbage].concat();
            if length < HEADER.len() && !garbage.is_empty() {
                continue;
            }
            let disk = FakeDisk::default();
            disk.set(torn.clone());
            let opened = disk.open().unwrap();
            let mut good = ends
                .iter()
                .filter(|end| **end <= length)
                .count()
                .saturating_sub(1);
            // A line feed may complete a record of which all but that was written.
            if garbage.starts_with(b"\n") && ends.contains(&(length + 1)) {
                good += 1;
            }
            let mut expected = Ledger::default();
            for record in &records[..good] {
                expected.apply(record).unwrap();
            }
            assert_eq!(opened.ledger, expected, "cut at {length}");
            let mut journal = opened.journal;
            journal.append(&[accepted(3)], Weight::Begins).unwrap();
            expected.apply(&accepted(3)).unwrap();
            assert_eq!(disk.open().unwrap().ledger, expected);
        }
    }
}

#[test]
fn damage_in_the_middle_is_an_error_and_not_a_guess() {
    let disk = FakeDisk::default();
    let mut journal = disk.open().unwrap().journal;
    journal
        .append(&[accepted(1), accepted(2)], Weight::Begins)
        .unwrap();
    let mut bytes = disk.bytes();
    bytes[HEADER.len() + 20] ^= 1;
    disk.set(bytes);
    assert!(matches!(disk.open(), Err(OpenError::Damaged { .. })));
    disk.set(b"mantle-journal 2\n".to_vec());
    assert!(matches!(disk.open(), Err(OpenError::Format { .. })));
}

#[test]
fn s29_a_full_disk_refuses_a_start_and_still_takes_the_end_of_what_runs() {
    let disk = FakeDisk::default();
    let mut journal = disk.open().unwrap().journal;
    journal.append(&[accepted(1)], Weight::Begins).unwrap();
    disk.set_room(Some(10));
    let refused = journal.append(&[accepted(2)], Weight::Begins);
    assert!(matches!(refused, Err(AppendError::NoSpace)));
    journal.append(&[finished(1)], Weight::Settles).unwrap();
    // The reserve is used up: a start is refused before it is tried.
    let refused = journal.append(&[accepted(2)], Weight::Begins);
    assert!(matches!(refused, Err(AppendError::NoSpace)));
    disk.set_room(None);
    journal.append(&[accepted(2)], Weight::Begins).unwrap();
    let ledger = disk.open().unwrap().ledger;
    assert!(matches!(
        ledger.get(attempt(1)).unwrap().phase,
        Phase::Ended(..)
    ));
    assert!(matches!(
        ledger.get(attempt(2)).unwrap().phase,
        Phase::Accepted(_)
    ));
}

#[test]
fn after_a_failed_write_nothing_stands_behind_the_damage() {
    let disk = FakeDisk::default();
    let mut journal = disk.open().unwrap().journal;
    disk.0.lock().unwrap().fail_truncate = true;
    disk.set_room(Some(1010));
    assert!(
        journal
            .append(
                &[
                    accepted(1),
                    accepted(2),
                    accepted(3),
                    accepted(4),
                    accepted(5),
                    accepted(6)
                ],
                Weight::Begins
            )
            .is_err()
    );
    disk.set_room(None);
    assert!(
        journal.append(&[accepted(7)], Weight::Begins).is_err(),
        "the damage is still there"
    );
    disk.0.lock().unwrap().fail_truncate = false;
    journal.append(&[accepted(7)], Weight::Begins).unwrap();
    let ledger = disk.open().unwrap().ledger;
    assert_eq!(
        ledger.attempts().map(|(id, _)| id).collect::<Vec<_>>(),
        [attempt(7)]
    );
}

#[test]
fn what_was_abandoned_with_its_locks_is_never_forgotten() {
    let locks = vec![Lock::exclusive(TARGET)];
    let mut ledger = Ledger::default();
    for (number, outcome, locks) in [
        (1, Outcome::Abandoned, locks.clone()),
        (2, Outcome::Abandoned, Vec::new()),
        (3, Outcome::Failed, locks.clone()),
    ] {
        let attempt = attempt(number);
        let accepted = Record::Accepted {
            attempt,
            task: task(),
            epoch: 1,
            payload: Digest::of(b"order"),
            at_us: 0,
            locks,
        };
        let end = AttemptEnd { outcome, ..end() };
        let finished = Record::Finished { attempt, end };
        for record in [accepted, finished, Record::Acknowledged { attempt }] {
            ledger.apply(&record).unwrap();
        }
    }
    let late = 400 * 24 * 3600 * 1_000_000;
    let pruned = ledger.pruned(late).unwrap();
    let left: Vec<AttemptId> = pruned.attempts().map(|(attempt, _)| attempt).collect();
    assert_eq!(left, [attempt(1)]);
    let holder = pruned.holder(&locks, &[]);
    assert_eq!(holder, Some((TARGET.to_owned(), attempt(1))));
}

#[test]
fn s30_tombstones_are_kept_thirty_days_and_compaction_keeps_the_meaning() {
    let day = 24 * 3600 * 1_000_000;
    let mut ledger = Ledger::default();
    for record in [
        accepted(1),
        finished(1),
        Record::Acknowledged {
            attempt: attempt(1),
        },
        accepted(2),
        Record::CancelRequested {
            attempt: attempt(2),
            epoch: 3,
            grace_ms: 10,
        },
        Record::Voided {
            attempt: attempt(3),
            task: task(),
            epoch: 4,
            at_us: 20 * day,
        },
    ] {
        ledger.apply(&record).unwrap();
    }
    let mut again = Ledger::default();
    for record in ledger.records() {
        again.apply(&record).unwrap();
    }
    assert_eq!(again, ledger);
    assert_eq!(ledger.pruned(29 * day), None);
    let ledger = ledger.pruned(31 * day).unwrap();
    assert!(ledger.get(attempt(1)).is_none());
    assert!(ledger.get(attempt(2)).is_some(), "not over, however old");
    assert!(ledger.get(attempt(3)).is_some());
    assert_eq!(ledger.highest_epoch(), 4);
}

/// With a ledger that forgot by itself this journal could not be opened any more.
#[test]
fn what_is_forgotten_is_gone_from_the_journal_so_that_its_id_may_come_again() {
    let late = 31 * 24 * 3600 * 1_000_000;
    for at_open in [false, true] {
        let disk = FakeDisk::default();
        let Opened {
            mut journal,
            mut ledger,
            ..
        } = disk.open().unwrap();
        let over = [
            accepted(1),
            finished(1),
            Record::Acknowledged {
                attempt: attempt(1),
            },
        ];
        journal.append(&over, Weight::Settles).unwrap();
        for record in &over {
            ledger.apply(record).unwrap();
        }
        assert_eq!(journal.pruned(&ledger, 7), None);
        disk.0.lock().unwrap().fail_replace = Some(false);
        assert_eq!(journal.pruned(&ledger, late), None, "not written, so kept");
        disk.0.lock().unwrap().fail_replace = None;
        if at_open {
            let opened = Journal::open(Box::new(disk.clone()), late).unwrap();
            (journal, ledger) = (opened.journal, opened.ledger);
        } else {
            ledger = journal.pruned(&ledger, late).unwrap();
        }
        assert_eq!(ledger.get(attempt(1)), None);
        journal.append(&[accepted(1)], Weight::Begins).unwrap();
        let again = disk.open().unwrap().ledger;
        assert_eq!(
            again.get(attempt(1)).unwrap().phase,
            Phase::Accepted(Digest::of(b"order"))
        );
    }
}

#[test]
fn a_replacement_that_fails_half_way_leaves_no_doubt_where_the_next_record_goes() {
    for new_in_place in [false, true] {
        let disk = FakeDisk::default();
        let Opened {
            mut journal,
            mut ledger,
            ..
        } = disk.open().unwrap();
        // Longer than what it adds up to.
        let records: Vec<Record> = (0..50)
            .map(|epoch| Record::EpochSeen {
                task: None,
                epoch,
                at_us: 0,
            })
            .chain([accepted(1)])
            .collect();
        journal.append(&records, Weight::Settles).unwrap();
        for record in &records {
            ledger.apply(record).unwrap();
        }
        disk.0.lock().unwrap().fail_replace = Some(new_in_place);
        assert!(journal.rewrite(&ledger).is_err());
        disk.0.lock().unwrap().fail_settle = true;
        let refused = journal.append(&[accepted(2)], Weight::Settles);
        assert!(refused.is_err(), "which one the disk has is not known");
        disk.0.lock().unwrap().fail_settle = false;
        // A write that fails is cut off again, at the length of the one that is in place.
        disk.set_room(Some(20));
        let many: Vec<Record> = (10..30).map(accepted).collect();
        assert!(journal.append(&many, Weight::Settles).is_err());
        disk.set_room(None);
        journal.append(&[accepted(2)], Weight::Settles).unwrap();
        ledger.apply(&accepted(2)).unwrap();
        let opened = disk.open().unwrap();
        assert_eq!(
            (opened.ledger, opened.cut_bytes),
            (ledger, 0),
            "new in place: {new_in_place}"
        );
    }
}

#[test]
fn a_grown_journal_is_written_anew_with_the_same_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Journal::open(Box::new(Disk::new(dir.path().to_path_buf())), 0).unwrap();
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = open();
    let epochs: Vec<Record> = (0..20_000)
        .map(|epoch| Record::EpochSeen {
            task: None,
            epoch,
            at_us: 0,
        })
        .collect();
    journal.append(&epochs, Weight::Settles).unwrap();
    journal.append(&[accepted(1)], Weight::Begins).unwrap();
    for record in epochs.iter().chain([&accepted(1)]) {
        ledger.apply(record).unwrap();
    }
    let path = dir.path().join("journal");
    let before = std::fs::metadata(&path).unwrap().len();
    journal.compact_if_due(&ledger);
    assert!(std::fs::metadata(&path).unwrap().len() < before / 100);
    journal.append(&[finished(1)], Weight::Settles).unwrap();
    ledger.apply(&finished(1)).unwrap();
    assert_eq!(open().ledger, ledger);
}

proptest! {
    /// Whatever fails and whenever the power goes, what append accepted is there and nothing else.
    #[test]
    fn what_was_accepted_survives(rooms in proptest::collection::vec(proptest::option::of(0_usize..600), 1..20)) {
        let disk = FakeDisk::default();
        let mut journal = disk.open().unwrap().journal;
        let mut expected = Ledger::default();
        for (number, room) in rooms.into_iter().enumerate() {
            disk.set_room(room);
            let record = accepted(number as u128);
            if journal.append(std::slice::from_ref(&record), Weight::Settles).is_ok() {
                expected.apply(&record).unwrap();
            }
            prop_assert_eq!(&disk.open().unwrap().ledger, &expected);
        }
    }
}
