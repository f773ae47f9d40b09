//! Looks into variables whose values are JSON, without building a tree: one pass validates the whole text and
//! finds the member asked for, so that a huge value costs no memory.
//!
//! Reads what people write by hand as well: single quotes, names without quotes, a comma too many, comments.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use crate::number;

/// Objects in arrays in objects; deeper text is not taken for JSON.
const MAX_DEPTH: usize = 64;

/// A member of an object or an element of an array.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

/// Whether a whole text is an object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Array,
}

/// The member `property` of the object, or element of the array, that `text` is. A missing member is the empty
/// text; `None` says that `text` is not JSON of that kind.
pub(crate) fn get(text: &str, property: &str) -> Option<String> {
    let mut reader = Reader {
        text,
        pos: 0,
        depth: 0,
    };
    let mut found = None;
    let wanted = property.trim().parse::<usize>().ok();
    let mut at = 0_usize;
    let shape = reader.document(|reader, member| {
        let hit = match &member.key {
            Some(key) => reader.key(key) == property,
            None => Some(at) == wanted,
        };
        if hit {
            // The last of several members of one name counts.
            found = Some(member.value.clone());
        }
        at += 1;
    })?;
    if shape == Shape::Array && wanted.is_none() {
        return None;
    }
    Some(found.map(|value| to_text(text, value)).unwrap_or_default())
}

/// Whether `text` is a JSON object or array, all of it.
pub(crate) fn shape(text: &str) -> Option<Shape> {
    Reader {
        text,
        pos: 0,
        depth: 0,
    }
    .document(|_, _| {})
}

/// Walks over the members of a text that [`shape`] has accepted.
pub(crate) struct Members<'t> {
    reader: Reader<'t>,
    shape: Shape,
}

impl<'t> Members<'t> {
    pub(crate) fn new(text: &'t str, shape: Shape, pos: usize) -> Self {
        let mut reader = Reader {
            text,
            pos,
            depth: 0,
        };
        if pos == 0 {
            reader.space();
            reader.pos += 1;
        }
        Self { reader, shape }
    }

    /// Where to go on later.
    pub(crate) fn position(&self) -> usize {
        self.reader.pos
    }

    /// The next member as (key, value).
    pub(crate) fn next_pair(&mut self) -> Option<(Option<String>, String)> {
        self.reader.space();
        let close = if self.shape == Shape::Object {
            b'}'
        } else {
            b']'
        };
        if self.reader.byte()? == close {
            return None;
        }
        let member = self.reader.member(self.shape)?;
        self.reader.space();
        self.reader.eat(b',');
        let key = member
            .key
            .as_ref()
            .map(|key| self.reader.key(key).into_owned());
        Some((key, to_text(self.reader.text, member.value)))
    }

    /// Whether there is no further member.
    pub(crate) fn at_end(&mut self) -> bool {
        self.reader.space();
        matches!(self.reader.byte(), None | Some(b'}' | b']'))
    }
}

#[derive(Debug, Clone)]
struct Reader<'t> {
    text: &'t str,
    pos: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    fn space(&mut self) {
        loop {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with("//") {
                self.pos += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(end) = rest.strip_prefix("/*").and_then(|rest| rest.find("*/")) {
                self.pos += end + 4;
            } else {
                return;
            }
        }
    }

    fn document(&mut self, mut visit: impl FnMut(&Self, &Member)) -> Option<Shape> {
        self.space();
        let shape = match self.byte()? {
            b'{' => Shape::Object,
            b'[' => Shape::Array,
            _ => return None,
        };
        self.container(shape, &mut visit)?;
        self.space();
        (self.pos == self.text.len()).then_some(shape)
    }

    fn container(&mut self, shape: Shape, visit: &mut dyn FnMut(&Self, &Member)) -> Option<()> {
        let close = if shape == Shape::Object { b'}' } else { b']' };
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.pos += 1;
        loop {
            self.space();
            if self.eat(close) {
                self.depth -= 1;
                return Some(());
            }
            let member = self.member(shape)?;
            visit(self, &member);
            self.space();
            if !self.eat(b',') && self.byte() != Some(close) {
                return None;
            }
        }
    }

    fn member(&mut self, shape: Shape) -> Option<Member> {
        let key = if shape == Shape::Object {
            let key = self.name()?;
            self.space();
            if !self.eat(b':') {
                return None;
            }
            self.space();
            Some(key)
        } else {
            None
        };
        let value = self.value()?;
        Some(Member { key, value })
    }

    fn name(&mut self) -> Option<Range<usize>> {
        if matches!(self.byte(), Some(b'"' | b'\'')) {
            return self.string();
        }
        let rest = self.rest();
        let accept = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let end = rest.find(|c: char| !accept(c)).unwrap_or(rest.len());
        let start = self.pos;
        self.pos += end;
        (end > 0).then_some(start..self.pos)
    }

    /// A quoted text, the quotes included.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.pos;
        let quote = self.byte()?;
        self.pos += 1;
        loop {
            let byte = self.byte()?;
            self.pos += 1;
            if byte == quote {
                return Some(start..self.pos);
            }
            if byte == b'\\' {
                let rest = self.text.as_bytes().get(self.pos..)?;
                let length = match rest.first()? {
                    b'u' if rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit) => 5,
                    b'"' | b'\'' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
                    _ => return None,
                };
                self.pos += length;
            }
        }
    }

    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.pos;
        match self.byte()? {
            b'{' => self.container(Shape::Object, &mut |_, _| {})?,
            b'[' => self.container(Shape::Array, &mut |_, _| {})?,
            b'"' | b'\'' => {
                self.string()?;
            }
            _ => {
                let rest = self.rest();
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
                    .unwrap_or(rest.len());
                let word = rest.get(..end)?;
                let known = matches!(word, "true" | "false" | "null" | "undefined" | "NaN");
                if !known && parse_number(word).is_none() {
                    return None;
                }
                self.pos += end;
            }
        }
        Some(start..self.pos)
    }

    fn key(&self, range: &Range<usize>) -> Cow<'t, str> {
        let raw = self.text.get(range.clone()).unwrap_or_default();
        if raw.starts_with(['"', '\'']) {
            unescape(raw)
        } else {
            Cow::Borrowed(raw)
        }
    }
}

fn parse_number(word: &str) -> Option<f64> {
    let first = word.bytes().next()?;
    (first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.'))
        .then(|| word.parse::<f64>().ok().filter(|value| value.is_finite()))
        .flatten()
}

/// What `#{...}` shows of a value: text without quotes, numbers and booleans as .NET prints them, nothing for
/// null, and for objects and arrays their compact JSON.
fn to_text(text: &str, range: Range<usize>) -> String {
    let raw = text.get(range.clone()).unwrap_or_default();
    match raw.as_bytes().first() {
        Some(b'"' | b'\'') => unescape(raw).into_owned(),
        Some(b'{' | b'[') => {
            let mut out = String::new();
            let mut reader = Reader {
                text,
                pos: range.start,
                depth: 0,
            };
            compact(&mut reader, &mut out);
            out
        }
        _ => scalar(raw),
    }
}

fn scalar(raw: &str) -> String {
    match raw {
        "true" => "True".to_owned(),
        "false" => "False".to_owned(),
        "null" | "undefined" => String::new(),
        "NaN" => "NaN".to_owned(),
        _ if raw
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-') =>
        {
            raw.to_owned()
        }
        _ => raw
            .parse::<f64>()
            .map_or_else(|_| raw.to_owned(), number::shortest),
    }
}

/// Writes the value at the reader without white space; the text has been validated, the depth with it.
fn compact(reader: &mut Reader<'_>, out: &mut String) -> Option<()> {
    let (shape, open, close) = match reader.byte()? {
        b'{' => (Shape::Object, '{', '}'),
        b'[' => (Shape::Array, '[', ']'),
        _ => {
            let range = reader.value()?;
            let raw = reader.text.get(range)?;
            if raw.starts_with(['"', '\'']) {
                quote(&unescape(raw), out);
            } else if raw.contains(['.', 'e', 'E']) && raw.parse::<f64>().is_ok() {
                // A fraction stays one, as the original writes it.
                let number = scalar(raw);
                out.push_str(&number);
                if !number.contains(['.', 'E']) {
                    out.push_str(".0");
                }
            } else {
                out.push_str(raw);
            }
            return Some(());
        }
    };
    reader.pos += 1;
    out.push(open);
    let mut first = true;
    loop {
        reader.space();
        if reader.byte()? == close as u8 {
            reader.pos += 1;
            out.push(close);
            return Some(());
        }
        if !first {
            out.push(',');
        }
        first = false;
        if shape == Shape::Object {
            let name = reader.name()?;
            quote(&reader.key(&name), out);
            reader.space();
            reader.pos += 1;
            reader.space();
            out.push(':');
        }
        compact(reader, out)?;
        reader.space();
        reader.eat(b',');
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            _ if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// The text of a quoted string.
fn unescape(raw: &str) -> Cow<'_, str> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let plain = if c == '\\' {
            match chars.next() {
                Some('u') => {
                    let hex: String = chars.by_ref().take(4).collect();
                    // Halves of a pair are put together once both are there.
                    units.push(u16::from_str_radix(&hex, 16).unwrap_or(0xFFFD));
                    continue;
                }
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            }
        } else {
            c
        };
        flush(&mut units, &mut out);
        out.push(plain);
    }
    flush(&mut units, &mut out);
    Cow::Owned(out)
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if !units.is_empty() {
        out.push_str(&String::from_utf16_lossy(units));
        units.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Members, Shape, get, shape};

    #[test]
    fn members_are_found_and_shown_as_text() {
        let cases = [
            (r#"{"a":1}"#, "a", Some("1")),
            (r#"{"a":1.50}"#, "a", Some("1.5")),
            (r#"{"a":true}"#, "a", Some("True")),
            (r#"{"a":null}"#, "a", Some("")),
            (r#"{"a":"x\ny\u0041\ud83d\ude00"}"#, "a", Some("x\nyA😀")),
            (
                r#"{"a":{ "b" : [ 1, 'two', {} ] }}"#,
                "a",
                Some(r#"{"b":[1,"two",{}]}"#),
            ),
            (
                r#"{"a":[1.50,2.0,1e2,-3,1e99]}"#,
                "a",
                Some("[1.5,2.0,100.0,-3,1E+99]"),
            ),
            (r#"{"a":1}"#, "b", Some("")),
            (r#"{"a":1,"a":2}"#, "a", Some("2")),
            ("{a: 1, 'b': 2,}", "b", Some("2")),
            ("{a: 1 /* note */, // more\n b: 3}", "b", Some("3")),
            ("[5,6]", "1", Some("6")),
            ("[5,6]", "2", Some("")),
            ("[5,6]", "x", None),
            ("{a: nope}", "a", None),
            ("{a: 1} x", "a", None),
            ("{a 1}", "a", None),
            ("12", "a", None),
            ("", "a", None),
            (r#"{"a":"open"#, "a", None),
        ];
        for (text, property, expected) in cases {
            assert_eq!(
                get(text, property).as_deref(),
                expected,
                "{text} . {property}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(shape(&deep(64)), Some(Shape::Array));
        assert_eq!(shape(&deep(65)), None);
        assert_eq!(shape(&deep(1_000_000)), None);
    }

    #[test]
    fn members_are_walked_in_order_and_resumed() {
        let text = "{\"a\": 1, b: [2]}";
        let mut members = Members::new(text, Shape::Object, 0);
        assert_eq!(
            members.next_pair(),
            Some((Some("a".to_owned()), "1".to_owned()))
        );
        assert!(!members.at_end());
        let mut rest = Members::new(text, Shape::Object, members.position());
        assert_eq!(
            rest.next_pair(),
            Some((Some("b".to_owned()), "[2]".to_owned()))
        );
        assert!(rest.at_end());
        assert_eq!(rest.next_pair(), None);
    }
}
