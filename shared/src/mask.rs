//! Finds secrets in a stream of bytes and puts asterisks in their place.
//!
//! What holds here: no byte of a match is emitted, wherever chunks begin and end; at most as many
//! bytes are held back as the longest form of a secret has; the work is linear in the input,
//! whatever the secrets look like.
//!
//! A secret is looked for as it is, with the line breaks of either platform, in base64 at each of
//! its three alignments, in hexadecimal, and as URLs, JSON, HTML, shells and languages spell it. The character at either end of a base64 form
//! that holds bits of the secret beside others is masked with it. Secrets under
//! [`SHORTEST_IN_STREAM`] bytes would turn every output into asterisks: they are masked where they
//! stand as a whole word.
//!
//! The agent masks what a step prints before it is written, the server once more before it stores it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

mod spelled;

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
    /// The bytes with which a form begins, by value: every other leaves the start where it is. Nearly all
    /// of what is printed is passed over by this table alone.
    begins: [bool; 256],
    /// How many bytes of a form each state has seen.
    depths: HashMap<StateID, usize>,
    /// Of each form whether the base64 character before it holds bits of the secret too.
    heads: Vec<bool>,
    /// Whether any does.
    any_head: bool,
}

/// The automaton over the secrets' forms could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the secrets are too large to be masked ({bytes} bytes in all forms)")]
pub struct TooManySecrets {
    /// How long all forms are.
    bytes: usize,
}

impl MaskSet {
    /// A set over these secrets. Empty ones are skipped.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManySecrets> {
        if crate::fault::sabotaged("secrets-not-known") {
            return Ok(Self::default());
        }
        let mut forms = Forms::default();
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

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.automaton.is_none() && self.words.is_empty()
    }

    /// About what it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        /// What a state takes in the table of depths.
        const STATE_BYTES: usize = 32;
        let words: usize = self.words.iter().map(String::len).sum();
        words
            + self.automaton.as_ref().map_or(0, |search| {
                search.nfa.memory_usage() + search.depths.len() * STATE_BYTES
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

/// What is looked for; `true` for base64 whose character before it holds bits of the secret too.
#[derive(Debug, Default)]
struct Forms(BTreeMap<Vec<u8>, bool>);

impl Forms {
    fn add(&mut self, form: Vec<u8>) {
        // Another secret may have the same text as it is; being wary is the safe side.
        self.0.entry(form).or_insert(false);
    }

    fn add_encoded(&mut self, form: String) {
        if form.len() >= SHORTEST_ENCODED {
            self.add(form.into_bytes());
        }
    }
}

fn add_forms(secret: &str, forms: &mut Forms) {
    let unix = secret.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    for text in BTreeSet::from([secret, &unix, &windows]) {
        forms.add(text.as_bytes().to_vec());
        add_encoded(text, forms);
    }
    if unix.contains('\n') {
        for line in unix.lines().map(str::trim) {
            // The armour of a key is no secret, and masking it would hide what was printed.
            if line.len() >= SHORTEST_LINE && !line.starts_with("-----") {
                forms.add(line.as_bytes().to_vec());
            }
        }
    }
}

fn add_encoded(text: &str, forms: &mut Forms) {
    for offset in 0..3 {
        add_base64(text.as_bytes(), offset, &STANDARD_NO_PAD, STANDARD, forms);
        add_base64(text.as_bytes(), offset, &URL_SAFE_NO_PAD, URL_SAFE, forms);
    }
    for spelling in spelled::all(text) {
        forms.add_encoded(spelling);
    }
}

/// The alphabets of base64, in order.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The part of the base64 text that depends on the secret alone, when `offset` other bytes stand
/// before it in its group of three; then the same with each character that may follow it and holds
/// the secret's last bits.
fn add_base64(
    secret: &[u8],
    offset: usize,
    engine: &impl Engine,
    alphabet: &[u8; 64],
    forms: &mut Forms,
) {
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
    let open_bits = match padded.len() % 3 {
        0 => 0,
        1 => 4,
        _ => 2,
    };
    let to = text.len() - usize::from(open_bits > 0);
    let inside = text.get(from..to).unwrap_or_default();
    if inside.len() < SHORTEST_ENCODED {
        return;
    }
    let mut add = |form: Vec<u8>| {
        *forms.0.entry(form).or_insert(false) |= offset > 0;
    };
    add(inside.as_bytes().to_vec());
    let last = text.as_bytes().get(to).and_then(|last| {
        let value = alphabet.iter().position(|c| c == last)?;
        alphabet.get(value..value + (1 << open_bits))
    });
    for c in last.unwrap_or_default() {
        add([inside.as_bytes(), &[*c]].concat());
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

impl Search {
    fn new(forms: &Forms) -> Result<Option<Self>, TooManySecrets> {
        if forms.0.is_empty() {
            return Ok(None);
        }
        let too_many = || TooManySecrets {
            bytes: forms.0.keys().map(Vec::len).sum(),
        };
        let nfa = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(forms.0.keys())
            .map_err(|_| too_many())?;
        let start = nfa.start_state(Anchored::No).map_err(|_| too_many())?;
        let mut depths = HashMap::from([(start, 0)]);
        for form in forms.0.keys() {
            let mut state = start;
            for (index, byte) in form.iter().enumerate() {
                state = nfa.next_state(Anchored::No, state, *byte);
                depths.insert(state, index + 1);
            }
        }
        let heads: Vec<bool> = forms.0.values().copied().collect();
        let any_head = heads.contains(&true);
        let begins = std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).unwrap_or(u8::MAX);
            nfa.next_state(Anchored::No, start, byte) != start
        });
        Ok(Some(Self {
            nfa,
            start,
            begins,
            depths,
            heads,
            any_head,
        }))
    }

    /// The state after one more byte.
    fn step(&self, state: StateID, byte: u8) -> StateID {
        let may_begin = self.begins.get(usize::from(byte)).copied().unwrap_or(true);
        if state == self.start && !may_begin {
            return state;
        }
        self.nfa.next_state(Anchored::No, state, byte)
    }

    /// Where the longest form begins that ends before `end` in this state.
    fn match_start(&self, state: StateID, bytes: &[u8], end: usize) -> usize {
        (0..self.nfa.match_len(state))
            .map(|index| {
                let pattern = self.nfa.match_pattern(state, index);
                let start = end.saturating_sub(self.nfa.pattern_len(pattern));
                let has_head = self.heads.get(pattern.as_usize()).copied().unwrap_or(false);
                let before = start.checked_sub(1).and_then(|at| bytes.get(at)).copied();
                start - usize::from(has_head && before.is_some_and(is_base64))
            })
            .min()
            .unwrap_or(end)
    }

    /// How many of the last bytes may be the beginning of a secret.
    fn depth(&self, state: StateID, bytes: &[u8]) -> usize {
        // A state without a depth cannot be; holding everything back is the safe side.
        let depth = self.depths.get(&state).copied().unwrap_or(bytes.len());
        let before = bytes.len().checked_sub(depth + 1);
        let head = self.any_head
            && before
                .and_then(|at| bytes.get(at))
                .is_some_and(|byte| is_base64(*byte));
        depth + usize::from(head)
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
            (Some(search), Some(state)) => search.depth(state, &self.held),
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
            state = search.step(state, *byte);
            if state != search.start && search.nfa.is_special(state) && search.nfa.is_match(state) {
                let end = index + 1;
                let start = search.match_start(state, &self.held, end);
                mark(&mut self.marks, start..end);
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

/// Looks through texts that follow each other, without holding anything back.
#[derive(Debug, Clone, Default)]
pub struct MaskScan {
    state: Option<StateID>,
}

impl MaskScan {
    /// The ranges of these bytes that belong to a secret, in order and apart; also of one that began
    /// in what was looked through before.
    pub fn find(&mut self, set: &MaskSet, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut marks = Vec::new();
        let Some(search) = &set.automaton else {
            return marks;
        };
        let mut state = self.state.unwrap_or(search.start);
        for (index, byte) in bytes.iter().enumerate() {
            state = search.step(state, *byte);
            if state != search.start && search.nfa.is_special(state) && search.nfa.is_match(state) {
                let end = index + 1;
                mark(&mut marks, search.match_start(state, bytes, end)..end);
            }
        }
        self.state = (state != search.start).then_some(state);
        marks
    }

    /// How many of the last bytes may be the beginning of a secret.
    pub fn open_bytes(&self, set: &MaskSet) -> usize {
        let state = set.automaton.as_ref().zip(self.state);
        state.map_or(0, |(search, state)| {
            search.depths.get(&state).copied().unwrap_or(0)
        })
    }

    /// Whether nothing of what was looked through matters any more.
    pub fn is_idle(&self) -> bool {
        self.state.is_none()
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
