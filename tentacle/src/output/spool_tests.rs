//! The spool's format: what is written is read back, damage is cut off and said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::uuid::Uuid;
use proptest::prelude::*;

use super::*;

fn attempt() -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(1))
}

fn line(text: &str) -> Record {
    Record {
        at_us: 1_700_000_000_000_000,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: text.to_owned(),
        },
    }
}

fn record() -> impl Strategy<Value = Record> {
    let body = prop_oneof![
        (0_usize..3, 0_usize..5, any::<String>()).prop_map(|(stream, level, text)| {
            RecordBody::Line {
                stream: [Stream::Stdout, Stream::Stderr, Stream::Agent][stream],
                level: [
                    Level::Verbose,
                    Level::Info,
                    Level::Highlight,
                    Level::Warning,
                    Level::Error,
                ][level],
                text,
            }
        }),
        (any::<String>(), "[\\\\\t\n\ra]*", any::<bool>()).prop_map(|(name, value, sensitive)| {
            RecordBody::Variable {
                name,
                value,
                sensitive,
            }
        }),
        (any::<u8>(), any::<String>())
            .prop_map(|(percent, message)| RecordBody::Progress { percent, message }),
        (any::<u64>(), any::<u64>(), any::<String>()).prop_map(|(lines, bytes, reason)| {
            RecordBody::Gap {
                lines,
                bytes,
                reason,
            }
        }),
    ];
    (any::<i64>(), body).prop_map(|(at_us, body)| Record { at_us, body })
}

proptest! {
    #[test]
    fn records_round_trip(record in record()) {
        let mut bytes = Vec::new();
        encode(&record, &mut bytes);
        prop_assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 2);
        prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), Some(record));
    }

    #[test]
    fn a_changed_byte_is_noticed(record in record(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = Vec::new();
        encode(&record, &mut bytes);
        bytes.pop();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn noise_is_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&bytes), None);
    }
}

#[test]
fn golden_lines_are_read_for_ever() {
    let mut bytes = Vec::new();
    encode(&line("a\tb\\"), &mut bytes);
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "e8827df6\toi\t1700000000000000\ta\\tb\\\\\n"
    );
}

/// A spool of `count` records, cut to each length in turn, gives every whole record and a marker.
#[test]
fn s36_a_torn_end_is_cut_off_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut whole = header(attempt()).into_bytes();
    let mut ends = vec![whole.len()];
    for index in 0..3 {
        encode(&line(&format!("line {index}")), &mut whole);
        ends.push(whole.len());
    }
    for length in ends[0]..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let settled = settle(&path, attempt(), 5).unwrap();
        let good = ends.iter().filter(|end| **end <= length).count() - 1;
        let torn = length - ends[good];
        let mut reader = SpoolReader::open(&path).unwrap().unwrap();
        let mut hasher = RecordHasher::new();
        for index in 0..good {
            let record = reader.next_record().unwrap().unwrap();
            hasher.update(&record);
            assert_eq!(record, line(&format!("line {index}")));
        }
        if torn > 0 {
            let marker = reader.next_record().unwrap().unwrap();
            hasher.update(&marker);
            match marker.body {
                RecordBody::Gap { bytes, reason, .. } => {
                    assert_eq!(bytes, torn as u64);
                    assert!(reason.starts_with("truncated here"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.next_record().unwrap(), None);
        assert_eq!(settled.cut_bytes, torn as u64);
        assert_eq!(settled.records, (good + usize::from(torn > 0)) as u64);
        assert_eq!(settled.log, hasher.digest());
        // Settling once more changes nothing.
        assert_eq!(settle(&path, attempt(), 9).unwrap().log, settled.log);
    }
}

#[test]
fn a_record_that_is_being_written_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut bytes = Vec::new();
    encode(&line("one"), &mut bytes);
    let mut file = File::create(&path).unwrap();
    file.write_all(header(attempt()).as_bytes()).unwrap();
    let mut reader = SpoolReader::open(&path).unwrap().unwrap();
    let (head, tail) = bytes.split_at(10);
    file.write_all(head).unwrap();
    assert_eq!(reader.next_record().unwrap(), None);
    file.write_all(tail).unwrap();
    assert_eq!(reader.next_record().unwrap(), Some(line("one")));
    assert_eq!(reader.next_record().unwrap(), None);
    assert_eq!(reader.next_seq(), 1);
}

#[test]
fn a_spool_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, "mantle-spool 9 x\n").unwrap();
    assert!(matches!(
        SpoolReader::open(&path),
        Err(SpoolError::Header { .. })
    ));
}

/// A million lines of a hundred bytes must not be what a step waits for. Without optimisation the
/// codec is some twenty times slower, hence the generous limit there.
#[test]
fn a_million_lines_are_written_and_read_in_moments() {
    let record = line(&"0123456789".repeat(10));
    let begun = std::time::Instant::now();
    let mut bytes = Vec::new();
    for _ in 0..1_000_000 {
        bytes.clear();
        encode(&record, &mut bytes);
    }
    let written = begun.elapsed();
    bytes.pop();
    let begun = std::time::Instant::now();
    for _ in 0..1_000_000 {
        assert!(decode(&bytes).is_some());
    }
    let read = begun.elapsed();
    let limit = std::time::Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });
    assert!(written < limit && read < limit, "{written:?} {read:?}");
}
