//! Masks the records of an attempt once more before they are stored.
//!
//! The agent has done so before it wrote them down; this is for an agent that is old, broken or not
//! honest. A secret is found over the ends of lines, of cut pieces of a line and of messages. What was
//! stored before a secret's end came cannot be taken back, so the end of a cut piece that may begin
//! one is masked right away.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mantle_shared::ids::AttemptId;
use mantle_shared::mask::{MASK, MaskScan, MaskSet, SHORTEST_IN_STREAM};
use mantle_shared::protocol::{CUT_MARK, Record, RecordBody, Stream};

/// How many attempts' places within a secret are remembered.
const PLACES: usize = 10_000;

/// Where each attempt's output stands within a secret that may have begun.
#[derive(Debug, Default)]
pub(super) struct Places {
    open: HashMap<AttemptId, Place>,
}

#[derive(Debug, Default, Clone)]
struct Place {
    /// The number of the record that follows what was looked through.
    next_seq: u64,
    /// By stream.
    scans: [MaskScan; 3],
    /// The last line of each stream was cut and goes on.
    cut: [bool; 3],
}

/// What stands where in the text that was put together.
struct Piece {
    record: usize,
    range: Range<usize>,
}

impl Places {
    /// Masks these records, which are the attempt's from `first_seq` on. Says how many it changed.
    pub(super) fn mask(
        &mut self,
        set: &Arc<MaskSet>,
        attempt: AttemptId,
        first_seq: u64,
        records: &mut [Record],
    ) -> usize {
        if set.is_empty() {
            return 0;
        }
        let mut place = self.open.remove(&attempt).unwrap_or_default();
        if place.next_seq != first_seq {
            place = Place::default();
        }
        let mut changed = 0;
        for stream in [Stream::Stdout, Stream::Stderr, Stream::Agent] {
            changed += place.mask_lines(set, stream, records);
        }
        for record in records.iter_mut() {
            changed += usize::from(mask_others(set, record));
        }
        place.next_seq = first_seq + records.len() as u64;
        if place.scans.iter().any(|scan| !scan.is_idle()) {
            if self.open.len() >= PLACES {
                self.open.clear();
            }
            self.open.insert(attempt, place);
        }
        changed
    }

    /// A task's secrets have changed: places within the old ones mean nothing.
    pub(super) fn forget_all(&mut self) {
        self.open.clear();
    }
}

impl Place {
    /// Masks the lines of one stream, put together as they were printed.
    fn mask_lines(&mut self, set: &Arc<MaskSet>, stream: Stream, records: &mut [Record]) -> usize {
        let index = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Agent => 2,
        };
        let (Some(scan), Some(cut)) = (self.scans.get_mut(index), self.cut.get_mut(index)) else {
            return 0;
        };
        let mut whole = Vec::new();
        let mut pieces = Vec::new();
        for (record, text, is_piece) in records.iter().enumerate().filter_map(line_of(stream)) {
            let is_first = pieces.is_empty() && scan.is_idle();
            if !*cut && !is_first {
                whole.push(b'\n');
            }
            // An older agent marks a piece in its text.
            let kept = text.strip_suffix(CUT_MARK);
            *cut = is_piece || kept.is_some();
            let from = whole.len();
            whole.extend_from_slice(kept.unwrap_or(text).as_bytes());
            pieces.push(Piece {
                record,
                range: from..whole.len(),
            });
        }
        if pieces.is_empty() {
            return 0;
        }
        let mut found = scan.find(set, &whole);
        let open = scan.open_bytes(set).min(whole.len());
        if *cut && open >= SHORTEST_IN_STREAM {
            found.push(whole.len() - open..whole.len());
        }
        let mut changed = 0;
        for piece in &pieces {
            let Some(text) = records.get_mut(piece.record).and_then(text_of) else {
                continue;
            };
            if let Some(masked) = masked(set, text, &piece.range, &found) {
                *text = masked;
                changed += 1;
            }
        }
        changed
    }
}

/// The number, the text, and whether the line goes on, of the lines and pieces of a stream.
fn line_of(stream: Stream) -> impl Fn((usize, &Record)) -> Option<(usize, &str, bool)> {
    move |(index, record)| match &record.body {
        RecordBody::Line {
            stream: own, text, ..
        } => (*own == stream).then_some((index, text.as_str(), false)),
        RecordBody::Piece {
            stream: own, text, ..
        } => (*own == stream).then_some((index, text.as_str(), true)),
        RecordBody::Variable { .. }
        | RecordBody::Progress { .. }
        | RecordBody::Gap { .. }
        | RecordBody::Artifact { .. } => None,
    }
}

fn text_of(record: &mut Record) -> Option<&mut String> {
    match &mut record.body {
        RecordBody::Line { text, .. } | RecordBody::Piece { text, .. } => Some(text),
        RecordBody::Variable { .. }
        | RecordBody::Progress { .. }
        | RecordBody::Gap { .. }
        | RecordBody::Artifact { .. } => None,
    }
}

/// The text with what was found in it masked; `None` if that is nothing.
fn masked(
    set: &MaskSet,
    text: &str,
    piece: &Range<usize>,
    found: &[Range<usize>],
) -> Option<String> {
    let bytes = text.as_bytes();
    let from = found.partition_point(|range| range.end <= piece.start);
    let touching = found.iter().skip(from);
    let mut out = Vec::new();
    let mut at = 0;
    for range in touching.take_while(|range| range.start < piece.end) {
        let start = range.start.max(piece.start) - piece.start;
        let end = range.end.min(piece.end) - piece.start;
        if end <= at {
            continue;
        }
        out.extend_from_slice(bytes.get(at..start).unwrap_or_default());
        out.extend_from_slice(MASK.as_bytes());
        at = end;
    }
    let line = if at == 0 {
        text.to_owned()
    } else {
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        // A secret's form may begin within a character only where bytes are damaged already.
        String::from_utf8_lossy(&out).into_owned()
    };
    let line = set.mask_words(line);
    (line != text).then_some(line)
}

/// Masks what a record that is no line holds; says whether that changed anything.
fn mask_others(set: &Arc<MaskSet>, record: &mut Record) -> bool {
    let mask = |text: &mut String| {
        let masked = set.mask(text);
        let changed = masked != *text;
        *text = masked;
        changed
    };
    match &mut record.body {
        RecordBody::Line { .. } | RecordBody::Piece { .. } => false,
        // A sealed value cannot be read by anybody but us.
        RecordBody::Variable {
            name, sensitive, ..
        } if *sensitive => mask(name),
        RecordBody::Variable { name, value, .. } => mask(name) | mask(value),
        RecordBody::Progress { message, .. } => mask(message),
        RecordBody::Gap { reason, .. } => mask(reason),
        RecordBody::Artifact { name, .. } => mask(name),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::protocol::Level;
    use mantle_shared::uuid::Uuid;

    use super::*;

    fn set(secrets: &[&str]) -> Arc<MaskSet> {
        Arc::new(MaskSet::new(secrets.iter().copied()).unwrap())
    }

    fn line(stream: Stream, text: &str) -> Record {
        Record {
            at_us: 1,
            body: RecordBody::Line {
                stream,
                level: Level::Info,
                text: text.to_owned(),
            },
        }
    }

    fn texts(records: &[Record]) -> Vec<String> {
        let text = |record: &Record| match &record.body {
            RecordBody::Line { text, .. } => text.clone(),
            other => panic!("{other:?}"),
        };
        records.iter().map(text).collect()
    }

    /// Masks these lines of standard output, so many a message.
    fn run(secrets: &[&str], lines: &[&str], a_message: usize) -> Vec<String> {
        let (set, attempt) = (set(secrets), AttemptId::from_uuid(Uuid::nil()));
        let mut records: Vec<Record> = lines
            .iter()
            .map(|text| line(Stream::Stdout, text))
            .collect();
        let mut places = Places::default();
        let mut seq = 0;
        for part in records.chunks_mut(a_message) {
            places.mask(&set, attempt, seq, part);
            seq += part.len() as u64;
        }
        texts(&records)
    }

    #[test]
    fn s40_every_form_is_masked_on_the_server_too() {
        let lines = [
            "plain hunter2-and-more.",
            "base64 aHVudGVyMi1hbmQtbW9yZQ== end",
            "nothing",
        ];
        let expected = ["plain ********.", "base64 ********== end", "nothing"];
        for a_message in 1..=3 {
            assert_eq!(run(&["hunter2-and-more"], &lines, a_message), expected);
        }
    }

    #[test]
    fn s40_a_secret_over_lines_and_cut_pieces_is_masked() {
        let key = "-----BEGIN KEY-----\nabcdefghijkl\nQw==\n-----END KEY-----";
        let lines = [
            "x",
            "-----BEGIN KEY-----",
            "abcdefghijkl",
            "Qw==",
            "-----END KEY-----",
            "y",
        ];
        let found = run(&[key], &lines, 6);
        assert_eq!(found, ["x", MASK, MASK, MASK, MASK, "y"]);
        // In messages of their own, what was stored cannot be taken back; the rest is masked.
        let found = run(&[key], &lines, 2);
        assert_eq!(found, ["x", "-----BEGIN KEY-----", MASK, "Qw==", MASK, "y"]);

        let first = format!("abc hunter2-{CUT_MARK}");
        for a_message in 1..=2 {
            let found = run(
                &["hunter2-and-more"],
                &[&first, "and-more, next"],
                a_message,
            );
            let expected = [format!("abc {MASK}{CUT_MARK}"), format!("{MASK}, next")];
            assert_eq!(found, expected, "{a_message}");
        }
    }

    #[test]
    fn s40_a_secret_over_pieces_of_a_line_is_masked() {
        let set = set(&["hunter2-and-more"]);
        let attempt = AttemptId::from_uuid(Uuid::nil());
        let piece = Record {
            at_us: 1,
            body: RecordBody::Piece {
                stream: Stream::Stdout,
                level: Level::Info,
                text: "abc hunter2-".to_owned(),
            },
        };
        let records = [piece, line(Stream::Stdout, "and-more, next")];
        for a_message in 1..=2 {
            let mut records = records.clone();
            let mut places = Places::default();
            let mut seq = 0;
            for part in records.chunks_mut(a_message) {
                places.mask(&set, attempt, seq, part);
                seq += part.len() as u64;
            }
            let text = |record: &Record| match &record.body {
                RecordBody::Line { text, .. } | RecordBody::Piece { text, .. } => text.clone(),
                other => panic!("{other:?}"),
            };
            let found: Vec<String> = records.iter().map(text).collect();
            assert_eq!(found, [format!("abc {MASK}"), format!("{MASK}, next")]);
        }
    }

    #[test]
    fn streams_are_apart_and_other_records_are_masked() {
        let set = set(&["hunter2-and-more", "ab"]);
        let attempt = AttemptId::from_uuid(Uuid::nil());
        let mut records = vec![
            line(Stream::Stdout, "hunter2-"),
            line(Stream::Stderr, "and-more (ab)"),
            Record {
                at_us: 1,
                body: RecordBody::Progress {
                    percent: 1,
                    message: "hunter2-and-more".to_owned(),
                },
            },
            Record {
                at_us: 1,
                body: RecordBody::Variable {
                    name: "hunter2-and-more".to_owned(),
                    value: "hunter2-and-more".to_owned(),
                    sensitive: false,
                },
            },
        ];
        let changed = Places::default().mask(&set, attempt, 0, &mut records);
        assert_eq!(changed, 3);
        assert_eq!(texts(&records[..2]), ["hunter2-", "and-more (********)"]);
        let rest = format!("{:?}", &records[2..]);
        assert!(!rest.contains("hunter2"), "{rest}");
    }
}
