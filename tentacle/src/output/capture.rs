//! One output stream of a process: finds service messages, masks the rest, makes lines.
//!
//! Messages are found *before* masking, since a message that carries a secret would otherwise be
//! masked away; their values are masked or sealed by who handles them.

use std::sync::Arc;

use mantle_shared::mask::{MaskSet, MaskStream};
use mantle_shared::protocol::Stream;

use super::lines::{Ends, LineSplitter};
use super::service_message::{self, LONGEST_BYTES, MARKERS, MessageRules, ServiceMessage};

/// Where lines and messages go.
pub trait CaptureSink {
    /// The secrets as they are known now.
    fn masks(&self) -> Arc<MaskSet>;
    /// A masked line, or a piece of one.
    fn line(&mut self, stream: Stream, ends: Ends, text: String);
    /// A message; its values are not masked.
    fn message(&mut self, message: ServiceMessage);
    /// Something that was to be a message and is not obeyed, and why. It stays in the output.
    fn not_obeyed(&mut self, why: NotObeyed);
}

/// Why a message is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotObeyed {
    /// The step takes messages of its helper functions alone.
    Forbidden,
    /// It is damaged.
    Malformed(String),
}

/// The state of one stream.
pub struct Capture {
    stream: Stream,
    rules: MessageRules,
    stage: Stage,
    /// The line so far consisted of a message alone, so its end is not a line's end.
    swallow_line_end: bool,
    mask: MaskStream,
    lines: LineSplitter,
    masked: Vec<u8>,
}

enum Stage {
    /// Ordinary output; the bytes are the beginning of a marker, perhaps.
    Text(Vec<u8>),
    /// Inside a message: marker and body so far.
    Message(Vec<u8>),
}

impl Capture {
    /// A stream that begins here.
    pub fn new(stream: Stream, rules: MessageRules, masks: Arc<MaskSet>) -> Self {
        Self {
            stream,
            rules,
            stage: Stage::Text(Vec::new()),
            swallow_line_end: false,
            mask: MaskStream::new(masks),
            lines: LineSplitter::default(),
            masked: Vec::new(),
        }
    }

    /// Takes what a read returned.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn CaptureSink) {
        self.mask.replace_set(&sink.masks());
        let mut rest = chunk;
        loop {
            match std::mem::replace(&mut self.stage, Stage::Text(Vec::new())) {
                Stage::Text(mut held) => {
                    if !held.is_empty() {
                        held.extend_from_slice(rest);
                        // Once only: nothing is held any more.
                        return self.push(&held, sink);
                    }
                    match self.text(rest, sink) {
                        Some(consumed) => rest = rest.get(consumed..).unwrap_or_default(),
                        None => return,
                    }
                }
                Stage::Message(mut body) => {
                    let Some(consumed) = self.message(&mut body, rest, sink) else {
                        self.stage = Stage::Message(body);
                        return;
                    };
                    rest = rest.get(consumed..).unwrap_or_default();
                }
            }
        }
    }

    /// The stream ended.
    pub fn finish(&mut self, sink: &mut dyn CaptureSink) {
        let held = match std::mem::replace(&mut self.stage, Stage::Text(Vec::new())) {
            Stage::Text(held) => held,
            Stage::Message(held) => {
                self.refuse("it does not end", sink);
                held
            }
        };
        self.plain(&held, sink);
        self.flush_mask(sink);
        let stream = self.stream;
        let masks = sink.masks();
        self.lines
            .finish(&mut |ends, line| sink.line(stream, ends, masks.mask_words(line)));
    }

    /// Text up to a marker. Gives how much was consumed if a message begins there; otherwise all
    /// was consumed or is held as the possible beginning of a marker.
    fn text(&mut self, bytes: &[u8], sink: &mut dyn CaptureSink) -> Option<usize> {
        let mut from = 0;
        while let Some(at) = find_hashes(bytes, from) {
            let tail = bytes.get(at..).unwrap_or_default();
            if let Some(marker) = MARKERS.iter().find(|marker| tail.starts_with(marker)) {
                self.plain(bytes.get(..at).unwrap_or_default(), sink);
                self.flush_mask(sink);
                self.stage = Stage::Message(marker.to_vec());
                return Some(at + marker.len());
            }
            if MARKERS.iter().any(|marker| marker.starts_with(tail)) {
                self.plain(bytes.get(..at).unwrap_or_default(), sink);
                self.stage = Stage::Text(tail.to_vec());
                return None;
            }
            from = at + 1;
        }
        self.plain(bytes, sink);
        None
    }

    /// Inside a message. Gives how much was consumed once it ended.
    fn message(
        &mut self,
        body: &mut Vec<u8>,
        bytes: &[u8],
        sink: &mut dyn CaptureSink,
    ) -> Option<usize> {
        let end = bytes
            .iter()
            .position(|byte| *byte == b']' || *byte == b'\n');
        let Some(at) = end else {
            body.extend_from_slice(bytes);
            if body.len() > LONGEST_BYTES {
                // Nobody sends that: it is output that looks like a message.
                self.refuse("it is longer than 1 MiB", sink);
                self.plain(&std::mem::take(body), sink);
                return Some(bytes.len());
            }
            return None;
        };
        body.extend_from_slice(bytes.get(..at).unwrap_or_default());
        let text = String::from_utf8_lossy(body).into_owned();
        let inner = text.split_once('[').map_or("", |(_, inner)| inner);
        let closed = bytes.get(at) == Some(&b']');
        match self.rules.admit(inner).map(service_message::parse) {
            Some(Ok(message)) if closed => {
                self.swallow_line_end = self.lines.is_empty();
                sink.message(message);
                self.mask.replace_set(&sink.masks());
                return Some(at + 1);
            }
            Some(Ok(_)) => self.refuse("it does not end on its line", sink),
            Some(Err(why)) => sink.not_obeyed(NotObeyed::Malformed(why)),
            None => sink.not_obeyed(NotObeyed::Forbidden),
        }
        if closed {
            body.push(b']');
        }
        self.plain(body, sink);
        Some(if closed { at + 1 } else { at })
    }

    fn refuse(&self, why: &str, sink: &mut dyn CaptureSink) {
        sink.not_obeyed(if self.rules.from_anybody {
            NotObeyed::Malformed(why.to_owned())
        } else {
            NotObeyed::Forbidden
        });
    }

    fn plain(&mut self, bytes: &[u8], sink: &mut dyn CaptureSink) {
        let mut bytes = bytes;
        if self.swallow_line_end && !bytes.is_empty() {
            if bytes == b"\r" {
                return;
            }
            bytes = bytes
                .strip_prefix(b"\r\n")
                .or_else(|| bytes.strip_prefix(b"\n"))
                .unwrap_or(bytes);
            self.swallow_line_end = false;
        }
        self.mask.push(bytes, &mut self.masked);
        self.hand_on(sink);
    }

    fn flush_mask(&mut self, sink: &mut dyn CaptureSink) {
        self.mask.flush(&mut self.masked);
        self.hand_on(sink);
    }

    fn hand_on(&mut self, sink: &mut dyn CaptureSink) {
        if self.masked.is_empty() {
            return;
        }
        let stream = self.stream;
        let masks = sink.masks();
        self.lines.push(&self.masked, &mut |ends, line| {
            sink.line(stream, ends, masks.mask_words(line));
        });
        self.masked.clear();
    }
}

/// Where the next `#` stands from which a marker could begin: followed by another, or the last byte.
fn find_hashes(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let next = bytes.get(at..)?.iter().position(|byte| *byte == b'#')? + at;
        match bytes.get(next + 1) {
            None | Some(b'#') => return Some(next),
            Some(_) => at = next + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::output::service_message::render;

    struct Sink {
        secrets: Vec<String>,
        masks: Arc<MaskSet>,
        seen: Vec<String>,
        refused: Vec<NotObeyed>,
    }

    impl CaptureSink for Sink {
        fn masks(&self) -> Arc<MaskSet> {
            Arc::clone(&self.masks)
        }
        fn line(&mut self, _: Stream, _: Ends, text: String) {
            self.seen.push(text);
        }
        fn message(&mut self, message: ServiceMessage) {
            if let ServiceMessage::Mask { value } = &message {
                self.secrets.push(value.clone());
                let set = MaskSet::new(self.secrets.iter().map(String::as_str)).unwrap();
                self.masks = Arc::new(set);
            }
            self.seen.push(format!("<{message:?}>"));
        }
        fn not_obeyed(&mut self, why: NotObeyed) {
            self.refused.push(why);
        }
    }

    fn rules(from_anybody: bool) -> MessageRules {
        MessageRules {
            key: "k3y".to_owned(),
            from_anybody,
        }
    }

    fn run(text: &str, chunk: usize) -> Vec<String> {
        run_by(rules(true), text, chunk).0
    }

    fn run_by(rules: MessageRules, text: &str, chunk: usize) -> (Vec<String>, Vec<NotObeyed>) {
        let masks = Arc::new(MaskSet::new(["hunter2"]).unwrap());
        let mut sink = Sink {
            secrets: vec!["hunter2".to_owned()],
            masks: Arc::clone(&masks),
            seen: Vec::new(),
            refused: Vec::new(),
        };
        let mut capture = Capture::new(Stream::Stdout, rules, masks);
        for piece in text.as_bytes().chunks(chunk) {
            capture.push(piece, &mut sink);
        }
        capture.finish(&mut sink);
        (sink.seen, sink.refused)
    }

    #[test]
    fn where_it_is_forbidden_output_cannot_forge_a_message_and_the_helpers_still_speak() {
        let forged = render(None, "setVariable", &[("name", "A"), ("value", "b")]);
        let guessed = render(Some("guess"), "progress", &[("percentage", "9")]);
        let own = render(Some("k3y"), "setVariable", &[("name", "A"), ("value", "b")]);
        let text = format!("{forged}\n{own}\nx {guessed}\n##octopus[mask");
        for chunk in 1..text.len() {
            let (seen, refused) = run_by(rules(false), &text, chunk);
            let expected = [
                forged.as_str(),
                "<SetVariable>",
                &format!("x {guessed}"),
                "##octopus[mask",
            ];
            assert_eq!(seen, expected, "chunks of {chunk}");
            assert_eq!(refused, vec![NotObeyed::Forbidden; 3]);
        }
        let (seen, refused) = run_by(rules(true), &text, 7);
        let guess = format!("x {guessed}");
        let all = ["<SetVariable>", "<SetVariable>", &guess, "##octopus[mask"];
        assert_eq!(seen, all);
        let malformed = |why: &NotObeyed| matches!(why, NotObeyed::Malformed(_));
        assert!(
            refused.len() == 2 && refused.iter().all(malformed),
            "{refused:?}"
        );
    }

    #[test]
    fn a_damaged_message_stays_in_the_output_and_its_reason_is_told() {
        let text =
            "##octopus[setVariable name='!!']\n##octopus[progress\nx\n##octopus[mask value=''";
        let (seen, refused) = run_by(rules(true), text, 5);
        assert_eq!(
            seen,
            [
                "##octopus[setVariable name='!!']",
                "##octopus[progress",
                "x",
                "##octopus[mask value=''"
            ]
        );
        let malformed = |why: &str| NotObeyed::Malformed(why.to_owned());
        assert_eq!(
            refused,
            [
                malformed("setVariable: the value of 'name' is not base64"),
                malformed("progress: 'percentage' is missing or empty"),
                malformed("it does not end"),
            ]
        );
    }

    #[test]
    fn messages_are_found_in_any_chunks() {
        let set = render(None, "setVariable", &[("name", "A"), ("value", "hunter2")]);
        let mask = render(None, "mask", &[("value", "later-secret")]);
        let text = format!(
            "one ## two #\n{set}\r\nthree hunter2\nfour{set}five\n##octopus[nonsense x\n\n{mask}\nlater-secret\n##octop"
        );
        let expected = [
            "one ## two #",
            "<SetVariable>",
            "three ********",
            "<SetVariable>",
            "fourfive",
            "##octopus[nonsense x",
            "",
            "<Mask>",
            "********",
            "##octop",
        ];
        for chunk in 1..text.len() {
            assert_eq!(run(&text, chunk), expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_message_that_never_ends_is_output() {
        let text = format!(
            "##octopus[setVariable name='{}",
            "A".repeat(LONGEST_BYTES + 10)
        );
        let seen = run(&text, 8192);
        assert!(seen.first().unwrap().starts_with("##octopus[setVariable"));
        assert!(seen.len() > 60);
    }
}
