//! The recorder: numbering, limits, gaps and what is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use mantle_shared::uuid::Uuid;

use std::io;

use super::*;
use crate::output::capture::CaptureSink as _;
use crate::output::service_message::ServiceMessage;
use crate::output::spool::END_RESERVE_BYTES;

/// A disk with so much room; the test looks at its bytes and makes room.
#[derive(Clone)]
struct Disk(
    Arc<Mutex<(Vec<u8>, usize)>>,
    Arc<AtomicUsize>,
    Arc<Mutex<Vec<Held>>>,
);

/// A disk that gives no room free at the end.
const TAKEN: usize = 120;

impl Disk {
    fn new(room: usize) -> Self {
        Self(
            Arc::new(Mutex::new((Vec::new(), room))),
            Arc::default(),
            Arc::default(),
        )
    }
    fn make_room(&self, room: usize) {
        self.0.lock().unwrap().1 = room;
    }
    fn records(&self) -> Vec<RecordBody> {
        let bytes = self.0.lock().unwrap().0.clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| spool::decode(line).expect("a record").body)
            .collect()
    }
}

impl SpoolStore for Disk {
    fn append(&mut self, _: &RecordHasher, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.0.len() + bytes.len() > disk.1 {
            self.1.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.0.extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn note_held(&mut self, held: Held) {
        self.2.lock().unwrap().push(held);
    }
    fn release(&mut self) -> bool {
        let room = &mut self.0.lock().unwrap().1;
        let had = *room != TAKEN && *room != usize::MAX;
        if had {
            *room += END_RESERVE_BYTES;
        }
        had
    }
}

#[test]
fn on_a_disk_that_stays_full_gap_and_tail_go_where_room_was_set_aside() {
    let limits = OutputLimits {
        stall_ms: 0,
        ..Default::default()
    };
    let disk = Disk::new(150);
    let mut kept = recorder(&disk, limits);
    for index in 0..5_000 {
        kept.line(Stream::Stdout, Ends::Whole, format!("line {index}"));
    }
    kept.set_variable("Kept", "yes", false);
    let (count, _) = kept.finish();
    let shown = texts(&disk.records());
    assert_eq!(count, shown.len() as u64);
    assert!(shown[0].starts_with("<gap"), "{}", shown[0]);
    assert_eq!(&shown[shown.len() - 2..], ["line 4999", "<Kept false>"]);
    assert_eq!(kept.lost(), None);
}

#[test]
fn where_even_that_is_taken_the_end_counts_a_record_that_is_missing_and_names_what_is_lost() {
    let limits = OutputLimits {
        stall_ms: 0,
        ..Default::default()
    };
    let disk = Disk::new(TAKEN);
    let mut lost = recorder(&disk, limits);
    for index in 0..50 {
        lost.line(Stream::Stdout, Ends::Whole, format!("line {index}"));
    }
    lost.set_variable("Gone", "yes", false);
    let (count, _) = lost.finish();
    assert_eq!(count, disk.records().len() as u64 + 1);
    let said = lost.lost().unwrap();
    assert_eq!(
        said,
        "the agent's disk was full to the end: 50 lines of output are lost, and the output variables Gone"
    );
}

fn recorder(disk: &Disk, limits: OutputLimits) -> Recorder {
    let attempt = AttemptId::from_uuid(Uuid::from_u128(1));
    let key = base64::engine::general_purpose::STANDARD.encode([1_u8; 32]);
    let options = RecorderOptions {
        attempt,
        limits,
        secrets: vec![Zeroizing::new("hunter2".to_owned())],
        sealer: Sealer::new(&key, attempt).unwrap(),
        stop: StopToken::new(),
        wake: Box::new(|| {}),
    };
    Recorder::new(Box::new(disk.clone()), options).unwrap()
}

fn texts(records: &[RecordBody]) -> Vec<String> {
    records
        .iter()
        .map(|body| match body {
            RecordBody::Line { text, .. } => text.clone(),
            RecordBody::Gap { lines, .. } => format!("<gap {lines}>"),
            RecordBody::Variable {
                name, sensitive, ..
            } => format!("<{name} {sensitive}>"),
            RecordBody::Progress { percent, .. } => format!("<{percent}>"),
            RecordBody::Artifact { name, .. } => format!("<file {name}>"),
            RecordBody::Piece { text, .. } => format!("<{text}...>"),
        })
        .collect()
}

#[test]
fn s38_past_the_cap_the_head_a_gap_and_the_tail_are_kept() {
    let disk = Disk::new(usize::MAX);
    let mut recorder = recorder(
        &disk,
        OutputLimits {
            stall_ms: 0,
            cap_bytes: 100_000,
        },
    );
    for index in 0..10_000 {
        recorder.line(Stream::Stdout, Ends::Whole, format!("line {index}"));
    }
    recorder.set_variable("Kept", "yes", false);
    let (count, digest) = recorder.finish();
    let records = disk.records();
    let shown = texts(&records);
    assert_eq!(count, records.len() as u64);
    assert_eq!(shown.first().unwrap(), "line 0");
    let gap = shown
        .iter()
        .position(|text| text.starts_with("<gap"))
        .unwrap();
    let RecordBody::Gap { lines, .. } = &records[gap] else {
        panic!()
    };
    let kept = shown.iter().filter(|text| text.starts_with("line")).count() as u64;
    assert_eq!(kept + lines, 10_000);
    assert_eq!(&shown[shown.len() - 2..], ["line 9999", "<Kept false>"]);
    let mut hasher = RecordHasher::new();
    let bytes = disk.0.lock().unwrap().0.clone();
    for line in bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        hasher.update(&spool::decode(line).unwrap());
    }
    assert_eq!(digest, hasher.digest());
}

#[test]
fn what_a_reader_has_at_the_end_is_told_as_a_gap() {
    let disk = Disk::new(usize::MAX);
    let mut recorder = recorder(&disk, OutputLimits::default());
    recorder.say(Level::Info, "stored");
    let in_hand = recorder.in_hand();
    assert_eq!(in_hand.waiting(), None);
    drop(in_hand.hold(b"taken\n"));
    let late = in_hand.hold(b"one\ntwo\nthr");
    assert_eq!(in_hand.waiting(), Some(1));
    let (count, _) = recorder.finish();
    recorder.line(Stream::Stdout, Ends::Whole, "one".to_owned());
    recorder.flush();
    drop(late);
    assert_eq!(in_hand.waiting(), None);
    let records = disk.records();
    assert_eq!(
        (texts(&records), count),
        (vec!["stored".to_owned(), "<gap 2>".to_owned()], 2)
    );
    assert!(
        matches!(&records[1], RecordBody::Gap { bytes: 11, .. }),
        "{records:?}"
    );
}

#[test]
fn a_full_disk_holds_the_writer_back_until_there_is_room() {
    let disk = Disk::new(120);
    let mut recorder = recorder(
        &disk,
        OutputLimits {
            stall_ms: 60_000,
            ..Default::default()
        },
    );
    recorder.say(Level::Info, "fits");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            recorder.say(Level::Info, &"x".repeat(200));
            recorder.finish()
        });
        let begun = Instant::now();
        // Long enough to be told of.
        while disk.1.load(Ordering::SeqCst) < 3 || disk.2.lock().unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30) && !writer.is_finished());
            std::thread::yield_now();
        }
        disk.make_room(100_000);
        assert_eq!(writer.join().unwrap().0, 2);
    });
    assert_eq!(disk.records().len(), 2);
    assert_eq!(*disk.2.lock().unwrap(), [Held::Yes, Held::No]);
}

#[test]
fn after_the_stall_lines_are_counted_and_variables_kept() {
    let disk = Disk::new(120);
    let mut recorder = recorder(
        &disk,
        OutputLimits {
            stall_ms: 0,
            ..Default::default()
        },
    );
    recorder.say(Level::Info, "fits");
    for _ in 0..2000 {
        recorder.line(Stream::Stdout, Ends::Whole, "x".repeat(100));
        recorder.flush();
    }
    recorder.set_variable("A", "1", false);
    disk.make_room(10_000_000);
    recorder.finish();
    let shown = texts(&disk.records());
    assert_eq!(shown.first().unwrap(), "fits");
    assert!(
        shown.get(1).unwrap().starts_with("<gap"),
        "{:?}",
        shown.get(1)
    );
    assert_eq!(shown.last().unwrap(), "<A false>");
}

#[test]
fn no_secret_reaches_the_disk() {
    let disk = Disk::new(usize::MAX);
    let mut recorder = recorder(&disk, OutputLimits::default());
    recorder.say(Level::Info, "the password is hunter2");
    recorder.set_variable("Leak", "it is hunter2", false);
    recorder.set_variable("Fresh", "brand-new-secret", true);
    recorder.say(Level::Info, "and brand-new-secret");
    recorder.message(ServiceMessage::ResultMessage {
        message: "because hunter2".to_owned(),
    });
    assert_eq!(recorder.result_message(), Some("because ********"));
    recorder.finish();
    let bytes = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
    assert!(
        !bytes.contains("hunter2") && !bytes.contains("brand-new"),
        "{bytes}"
    );
    assert!(texts(&disk.records()).contains(&"<Leak true>".to_owned()));
}

#[test]
fn output_variables_beyond_the_limits_are_left_out_by_name() {
    let disk = Disk::new(usize::MAX);
    let mut recorder = recorder(&disk, OutputLimits::default());
    let large = "x".repeat(120 * 1024);
    recorder.set_variable("Url", "old", false);
    for index in 0..800 {
        recorder.set_variable(&format!("Big{index}"), &large, false);
    }
    recorder.set_variable("Url", "new", false);
    recorder.finish();
    let records = disk.records();
    let variables: Vec<(&str, usize)> = records
        .iter()
        .filter_map(|body| match body {
            RecordBody::Variable { name, value, .. } => Some((name.as_str(), value.len())),
            _ => None,
        })
        .collect();
    assert_eq!(variables.len(), 10, "{variables:?}");
    assert_eq!(variables.last(), Some(&("Url", 3)));
    let warnings: Vec<&str> = records
        .iter()
        .filter_map(|body| match body {
            RecordBody::Line { level, text, .. } if *level == Level::Warning => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(warnings.len(), 21);
    assert!(
        warnings[0].contains("'Big8' of 122880 bytes"),
        "{}",
        warnings[0]
    );
    assert!(warnings[20].starts_with("772 more"), "{}", warnings[20]);
}

#[test]
fn a_full_disk_does_not_make_the_variables_in_memory_grow() {
    let disk = Disk::new(120);
    let limits = OutputLimits {
        stall_ms: 0,
        ..Default::default()
    };
    let mut recorder = recorder(&disk, limits);
    for round in 0..100 {
        recorder.set_variable("Again", &format!("{round:060000}"), false);
    }
    let kept = recorder.dropping.as_ref().unwrap();
    assert!(kept.tail_bytes < 70_000, "{}", kept.tail_bytes);
    disk.make_room(1_000_000);
    recorder.finish();
    assert_eq!(texts(&disk.records()), ["<Again false>"]);
}
