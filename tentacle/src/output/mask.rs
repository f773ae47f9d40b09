//! Finds secrets in a stream of bytes and puts asterisks in their place.
//!
//! What holds here: no byte of a match is emitted, wherever chunks begin and end; at most as many
//! bytes are held back as the longest form of a secret has; the work is linear in the input,
//! whatever the secrets look like.
//!
//! A secret is looked for as it is, with the line breaks of either platform, in base64 at each of
//! its three alignments, URL-encoded and JSON-escaped. Secrets under [`SHORTEST_IN_STREAM`] bytes
//! would turn every output into asterisks: they are masked where they stand as a whole word.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What stands in place of a secret. Its length says nothing about the secret's.
pub const MASK: &str = "********";
/// Secrets with fewer bytes are masked as whole words only.
pub const SHORTEST_IN_STREAM: usize = 4;
/// Encoded forms with fewer bytes would match by chance.
const SHORTEST_ENCODED: usize = 6;
/// Single lines of a secret with several are looked for from this length on.
const SHORTEST_LINE: usize = 8;

/// The forms of all secrets of an attempt, ready to be looked for. Immutable; a new secret makes a
/// new set.
#[derive(Debug, Default)]
pub struct MaskSet {
    automaton: Option<Search>,
    words: Vec<String>,
}

#[derive(Debug)]
struct Search {
    nfa: NFA,
    start: StateID,
    /// How many bytes of a form each state has seen.
    depths: HashMap<StateID, usize>,
}

/// The automaton over the secrets' forms could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the secrets of this attempt are too large to be masked ({bytes} bytes in all forms)")]
pub struct TooManySecrets {
    /// How long all forms are.
    bytes: usize,
}

impl MaskSet {
    /// A set over these secrets. Empty ones are skipped.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManySecrets> {
        let mut forms = BTreeSet::new();
        let mut words = Vec::new();
        for secret in secrets {
            if secret.len() < SHORTEST_IN_STREAM {
                if !secret.is_empty() {
                    words.push(secret.to_owned());
                }
                continue;
            }
            add_forms(secret, &mut forms);
        }
        Ok(Self {
            automaton: Search::new(&forms)?,
            words,
        })
    }

    /// Masks a whole text at once.
    pub fn mask(self: &Arc<Self>, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let mut stream = MaskStream::new(Arc::clone(self));
        stream.push(text.as_bytes(), &mut out);
        stream.flush(&mut out);
        self.mask_words(String::from_utf8_lossy(&out).into_owned())
    }

    /// Whether any secret stands in this text.
    pub fn finds(self: &Arc<Self>, text: &str) -> bool {
        self.mask(text) != text
    }

    /// Masks the short secrets where they stand as a whole word of a line.
    pub fn mask_words(&self, line: String) -> String {
        let mut line = line;
        for word in &self.words {
            if line.contains(word.as_str()) {
                line = replace_word(&line, word);
            }
        }
        line
    }
}

fn replace_word(line: &str, word: &str) -> String {
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    let mut before: Option<char> = None;
    while let Some(at) = rest.find(word) {
        let (head, tail) = rest.split_at(at);
        let after = tail.get(word.len()..).unwrap_or_default();
        out.push_str(head);
        before = head.chars().next_back().or(before);
        if joined(before) || joined(after.chars().next()) {
            out.push_str(word);
        } else {
            out.push_str(MASK);
        }
        before = word.chars().next_back();
        rest = after;
    }
    out.push_str(rest);
    out
}

fn add_forms(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let unix = secret.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    for text in [secret, &unix, &windows] {
        forms.insert(text.as_bytes().to_vec());
        add_encoded(text, forms);
    }
    if unix.contains('\n') {
        for line in unix.lines().map(str::trim) {
            // The armour of a key is no secret, and masking it would hide what was printed.
            if line.len() >= SHORTEST_LINE && !line.starts_with("-----") {
                forms.insert(line.as_bytes().to_vec());
            }
        }
    }
}

fn add_encoded(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let mut add = |form: String| {
        if form.len() >= SHORTEST_ENCODED {
            forms.insert(form.into_bytes());
        }
    };
    for offset in 0..3 {
        add(base64_inside(text.as_bytes(), offset, &STANDARD_NO_PAD));
        add(base64_inside(text.as_bytes(), offset, &URL_SAFE_NO_PAD));
    }
    for plus in [false, true] {
        add(url_encoded(text, plus, b"0123456789ABCDEF"));
        add(url_encoded(text, plus, b"0123456789abcdef"));
    }
    if let Ok(quoted) = serde_json::to_string(text) {
        let inner = quoted.trim_start_matches('"');
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        add(inner.to_owned());
        add(inner.replace('/', "\\/"));
    }
}

/// The part of the base64 text that depends on the secret alone, when `offset` other bytes stand
/// before it in its group of three.
fn base64_inside(secret: &[u8], offset: usize, engine: &impl Engine) -> String {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset)
        .chain(secret.iter().copied())
        .collect();
    let text = engine.encode(&padded);
    // Bytes before shape the first characters: 8 or 16 bits reach into the second or third.
    let from = match offset {
        0 => 0,
        1 => 2,
        _ => 3,
    };
    // What follows shapes the last character unless the text ends on a group.
    let to = if padded.len().is_multiple_of(3) {
        text.len()
    } else {
        text.len().saturating_sub(1)
    };
    text.get(from..to).unwrap_or_default().to_owned()
}

fn url_encoded(text: &str, plus: bool, digits: &[u8; 16]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' if plus => out.push('+'),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    let digit = digits.get(usize::from(nibble)).copied().unwrap_or(b'0');
                    out.push(char::from(digit));
                }
            }
        }
    }
    out
}

impl Search {
    fn new(forms: &BTreeSet<Vec<u8>>) -> Result<Option<Self>, TooManySecrets> {
        if forms.is_empty() {
            return Ok(None);
        }
        let too_many = || TooManySecrets {
            bytes: forms.iter().map(Vec::len).sum(),
        };
        let nfa = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(forms)
            .map_err(|_| too_many())?;
        let start = nfa.start_state(Anchored::No).map_err(|_| too_many())?;
        let mut depths = HashMap::from([(start, 0)]);
        for form in forms {
            let mut state = start;
            for (index, byte) in form.iter().enumerate() {
                state = nfa.next_state(Anchored::No, state, *byte);
                depths.insert(state, index + 1);
            }
        }
        Ok(Some(Self { nfa, start, depths }))
    }

    /// The longest form that ends in this state.
    fn longest_match(&self, state: StateID) -> usize {
        (0..self.nfa.match_len(state))
            .map(|index| self.nfa.pattern_len(self.nfa.match_pattern(state, index)))
            .max()
            .unwrap_or(0)
    }
}

/// Masks one stream of bytes.
#[derive(Debug)]
pub struct MaskStream {
    set: Arc<MaskSet>,
    state: Option<StateID>,
    /// Bytes that may be the beginning of a secret.
    held: Vec<u8>,
    /// Which of the held bytes are of a secret, in order, apart.
    marks: Vec<Range<usize>>,
    /// What was emitted last was a mask, so that the rest of the same match adds none.
    in_mask: bool,
}

impl MaskStream {
    /// A stream that begins here.
    pub fn new(set: Arc<MaskSet>) -> Self {
        Self {
            set,
            state: None,
            held: Vec::new(),
            marks: Vec::new(),
            in_mask: false,
        }
    }

    /// Looks for the secrets of another set from here on, also in what is held back.
    pub fn replace_set(&mut self, set: &Arc<MaskSet>) {
        if Arc::ptr_eq(&self.set, set) {
            return;
        }
        self.set = Arc::clone(set);
        self.state = None;
        self.scan(0);
    }

    /// Takes the next bytes; appends to `out` those of which it is known whether they are secret.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.set.automaton.is_none() && self.held.is_empty() {
            self.in_mask = false;
            out.extend_from_slice(bytes);
            return;
        }
        let from = self.held.len();
        self.held.extend_from_slice(bytes);
        self.scan(from);
        let depth = match (&self.set.automaton, self.state) {
            (Some(search), Some(state)) => {
                // A state without a depth cannot be; holding everything back is the safe side.
                search
                    .depths
                    .get(&state)
                    .copied()
                    .unwrap_or(self.held.len())
            }
            _ => 0,
        };
        self.emit(self.held.len().saturating_sub(depth), out);
    }

    /// The stream ended: what is held back is no secret, or only the beginning of one.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.emit(self.held.len(), out);
        self.state = None;
        self.in_mask = false;
    }

    fn scan(&mut self, from: usize) {
        let Some(search) = &self.set.automaton else {
            return;
        };
        let mut state = self.state.unwrap_or(search.start);
        for (index, byte) in self.held.iter().enumerate().skip(from) {
            state = search.nfa.next_state(Anchored::No, state, *byte);
            if state != search.start && search.nfa.is_special(state) && search.nfa.is_match(state) {
                let end = index + 1;
                mark(
                    &mut self.marks,
                    end.saturating_sub(search.longest_match(state))..end,
                );
            }
        }
        self.state = Some(state);
    }

    /// Emits the first `count` held bytes.
    fn emit(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut at = 0;
        for range in &self.marks {
            let start = range.start.min(count);
            let end = range.end.min(count);
            if start > at {
                out.extend_from_slice(self.held.get(at..start).unwrap_or_default());
                self.in_mask = false;
            }
            if end > start {
                if !(self.in_mask && start == at) {
                    out.extend_from_slice(MASK.as_bytes());
                }
                self.in_mask = true;
            }
            at = end.max(at);
        }
        if count > at {
            out.extend_from_slice(self.held.get(at..count).unwrap_or_default());
            self.in_mask = false;
        }
        self.held.drain(..count);
        self.marks.retain_mut(|range| {
            range.start = range.start.saturating_sub(count);
            range.end = range.end.saturating_sub(count);
            range.end > range.start
        });
    }
}

/// Adds a range, merged with those that it overlaps or touches. Ranges come in order of their ends.
fn mark(marks: &mut Vec<Range<usize>>, mut range: Range<usize>) {
    while let Some(last) = marks.last() {
        if last.end < range.start {
            break;
        }
        range.start = range.start.min(last.start);
        range.end = range.end.max(last.end);
        marks.pop();
    }
    marks.push(range);
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
