//! The spool: what is written is read back over any segments, damage is cut off and said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher, Stream};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, Digest};
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
        (any::<bool>(), any::<String>()).prop_map(|(is_stderr, text)| RecordBody::Piece {
            stream: if is_stderr {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
            level: Level::Info,
            text,
        }),
        (any::<String>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
            |(name, size_bytes, digest)| {
                RecordBody::Artifact {
                    name,
                    size_bytes,
                    digest: Digest::from_bytes(digest),
                }
            }
        ),
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

/// All that a reader gives from this number on, until there is nothing.
fn read_from(dir: &Path, seq: u64) -> Vec<Next> {
    let mut reader = SpoolReader::open(dir, seq).unwrap().unwrap();
    let mut all = Vec::new();
    if reader.next_seq() > seq {
        let until = reader.next_seq();
        all.push(Next::Missing { until });
    }
    reader.skip_to(seq).unwrap();
    if all.is_empty() && reader.next_seq() > seq {
        let until = reader.next_seq();
        all.push(Next::Missing { until });
    }
    loop {
        match reader.advance().unwrap() {
            Next::Nothing => return all,
            next => all.push(next),
        }
    }
}

/// Writes lines, each as an append of its own, into segments of so many bytes; gives their hasher.
fn write(dir: &Path, lines: &[String], segment_bytes: u64) -> RecordHasher {
    let mut writer = SpoolWriter::with_segments(dir, attempt(), segment_bytes).unwrap();
    let mut hasher = RecordHasher::new();
    for text in lines {
        let record = line(text);
        let mut bytes = Vec::new();
        encode(&record, &mut bytes);
        writer.append(&hasher, &bytes).unwrap();
        hasher.update(&record);
    }
    writer.sync().unwrap();
    hasher
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("line {index}")).collect()
}

fn lines(from: u64, to: u64) -> Vec<Next> {
    let line = |index| Next::Record(line(&format!("line {index}")));
    (from..to).map(line).collect()
}

fn segment_names(dir: &Path) -> Vec<u64> {
    let segments = segments::list(dir).unwrap();
    segments.iter().map(|segment| segment.first_seq).collect()
}

proptest! {
    /// However it is cut into segments and whatever was acknowledged, the rest is read from any place,
    /// and count and digest are those of all records.
    #[test]
    fn segments_do_not_show(
        count in 1_usize..60,
        segment_bytes in 100_u64..1000,
        acknowledged in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let hasher = write(dir.path(), &numbered(count), segment_bytes);
        let acknowledged = acknowledged.index(count + 1) as u64;
        remove_below(dir.path(), acknowledged).unwrap();
        let names = segment_names(dir.path());
        prop_assert!(names[0] <= acknowledged, "what is not acknowledged stays: {names:?}");
        if let Some(second) = names.get(1) {
            prop_assert!(*second > acknowledged, "what is goes: {names:?}");
        }
        let left = usize::try_from(count as u64 - acknowledged).unwrap();
        let from = acknowledged + from.index(left + 1) as u64;
        prop_assert_eq!(read_from(dir.path(), from), lines(from, count as u64));
        prop_assert_eq!(super::count(dir.path()), count as u64);
        let settled = settle(dir.path(), attempt(), 5).unwrap();
        prop_assert_eq!(settled, Settled { records: count as u64, log: hasher.digest(), cut_bytes: 0 });
    }
}

#[test]
fn s42_records_that_are_gone_or_damaged_are_passed_over_and_said() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &numbered(50), 400);
    let names = segment_names(dir.path());
    assert!(names.len() >= 5, "{names:?}");
    let (second, third, fourth) = (names[1], names[2], names[3]);
    fs::remove_file(segments::path(dir.path(), second)).unwrap();
    let mut expected = lines(0, second);
    expected.push(Next::Missing { until: third });
    expected.extend(lines(third, 50));
    assert_eq!(read_from(dir.path(), 0), expected);
    let inside = read_from(dir.path(), second + 1);
    assert_eq!(inside[0], Next::Missing { until: third });

    // A byte of the first record of the third.
    let path = segments::path(dir.path(), third);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut expected = vec![Next::Missing { until: fourth }];
    expected.extend(lines(fourth, 50));
    assert_eq!(read_from(dir.path(), third), expected);
    assert_eq!(settle(dir.path(), attempt(), 5).unwrap().records, 50);

    // The first is gone as well: whoever asks for it learns from where on there is something.
    fs::remove_file(segments::path(dir.path(), 0)).unwrap();
    assert_eq!(read_from(dir.path(), 0)[0], Next::Missing { until: third });
}

#[test]
fn a_reader_follows_a_writer_over_segments_and_is_told_of_nothing_early() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SpoolReader::open(dir.path(), 0).unwrap().is_none());
    let mut writer = SpoolWriter::with_segments(dir.path(), attempt(), 250).unwrap();
    let mut reader = SpoolReader::open(dir.path(), 0).unwrap().unwrap();
    let mut hasher = RecordHasher::new();
    for index in 0..40 {
        assert_eq!(reader.advance().unwrap(), Next::Nothing);
        let record = line(&format!("line {index}"));
        let mut bytes = Vec::new();
        encode(&record, &mut bytes);
        writer.append(&hasher, &bytes).unwrap();
        hasher.update(&record);
        let before = extent(dir.path());
        assert_eq!(reader.advance().unwrap(), Next::Record(record));
        assert_eq!(extent(dir.path()), before);
        // What was read may be removed under the reader.
        remove_below(dir.path(), reader.next_seq()).unwrap();
        assert!(segment_names(dir.path()).len() <= 1);
    }
    assert_eq!(reader.next_seq(), 40);
    assert!(is_there(dir.path()));
}

/// A spool of three records, cut to each length in turn, gives every whole record and a marker.
#[test]
fn s36_a_torn_end_is_cut_off_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = segments::path(dir.path(), 0);
    let mut whole = segments::header(attempt(), &RecordHasher::new()).into_bytes();
    let mut ends = vec![whole.len()];
    for index in 0..3 {
        encode(&line(&format!("line {index}")), &mut whole);
        ends.push(whole.len());
    }
    for length in ends[0]..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let settled = settle(dir.path(), attempt(), 5).unwrap();
        let good = ends.iter().filter(|end| **end <= length).count() - 1;
        let torn = length - ends[good];
        let mut reader = SpoolReader::open(dir.path(), 0).unwrap().unwrap();
        let mut hasher = RecordHasher::new();
        for index in 0..good {
            let expected = line(&format!("line {index}"));
            hasher.update(&expected);
            assert_eq!(reader.advance().unwrap(), Next::Record(expected));
        }
        if torn > 0 {
            let Next::Record(marker) = reader.advance().unwrap() else {
                panic!("there is a marker");
            };
            hasher.update(&marker);
            match marker.body {
                RecordBody::Gap { bytes, reason, .. } => {
                    assert_eq!(bytes, torn as u64);
                    assert!(reason.starts_with("truncated here"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.advance().unwrap(), Next::Nothing);
        assert_eq!(settled.cut_bytes, torn as u64);
        assert_eq!(settled.records, (good + usize::from(torn > 0)) as u64);
        assert_eq!(settled.log, hasher.digest());
        // Settling once more changes nothing.
        assert_eq!(settle(dir.path(), attempt(), 9).unwrap().log, settled.log);
    }
    // A segment that was being begun holds nothing, and what is before it counts.
    fs::write(&path, &whole).unwrap();
    fs::write(segments::path(dir.path(), 3), "mantle-sp").unwrap();
    assert_eq!(settle(dir.path(), attempt(), 9).unwrap().records, 3);
    assert_eq!(segment_names(dir.path()), [0]);
}

#[test]
fn a_record_that_is_being_written_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    encode(&line("one"), &mut bytes);
    let mut file = File::create(segments::path(dir.path(), 0)).unwrap();
    let header = segments::header(attempt(), &RecordHasher::new());
    file.write_all(header.as_bytes()).unwrap();
    let mut reader = SpoolReader::open(dir.path(), 0).unwrap().unwrap();
    let (head, tail) = bytes.split_at(10);
    file.write_all(head).unwrap();
    assert_eq!(reader.advance().unwrap(), Next::Nothing);
    file.write_all(tail).unwrap();
    assert_eq!(reader.advance().unwrap(), Next::Record(line("one")));
    assert_eq!(reader.advance().unwrap(), Next::Nothing);
    assert_eq!(reader.next_seq(), 1);
}

#[test]
fn the_one_file_of_the_release_before_is_read_and_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let mut bytes = format!("mantle-spool 1 {}\n", attempt()).into_bytes();
    let mut hasher = RecordHasher::new();
    for index in 0..2 {
        let record = line(&format!("line {index}"));
        hasher.update(&record);
        encode(&record, &mut bytes);
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(read_from(dir.path(), 0), lines(0, 2));
    let settled = settle(dir.path(), attempt(), 5).unwrap();
    assert_eq!((settled.records, settled.log), (2, hasher.digest()));
    fs::remove_file(path).unwrap();
    fs::write(segments::path(dir.path(), 0), "mantle-spool 9 x\n").unwrap();
    assert!(matches!(
        SpoolReader::open(dir.path(), 0),
        Err(SpoolError::Header { .. })
    ));
}

#[test]
fn that_output_is_held_back_is_seen_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_held(dir.path()));
    let mut writer = SpoolWriter::create(dir.path(), attempt()).unwrap();
    for (held, seen) in [(Held::Yes, true), (Held::No, false), (Held::Yes, true)] {
        writer.note_held(held);
        assert_eq!(is_held(dir.path()), seen);
    }
    assert!(writer.release() && !writer.release());
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
