//! Replacements in a text, by spans of bytes.

use std::ops::Range;

/// Replacements that are made all at once. One that lies within an earlier span is dropped: who
/// replaces an object has replaced what is in it.
#[derive(Debug, Default)]
pub(super) struct Edits {
    list: Vec<(Range<usize>, String)>,
}

impl Edits {
    /// Puts `text` where `span` is.
    pub(super) fn replace(&mut self, span: Range<usize>, text: String) {
        self.list.push((span, text));
    }

    /// The text with all of it done.
    pub(super) fn apply(mut self, source: &str) -> String {
        // The outer of two spans that begin together comes first.
        self.list
            .sort_by_key(|(span, _)| (span.start, std::cmp::Reverse(span.end)));
        let mut out = String::with_capacity(source.len());
        let mut at = 0;
        for (span, text) in self.list {
            if span.start < at {
                continue;
            }
            out.push_str(source.get(at..span.start).unwrap_or_default());
            out.push_str(&text);
            at = span.end;
        }
        out.push_str(source.get(at..).unwrap_or_default());
        out
    }
}

/// How most lines of a text end. A text without line ends takes the line feed.
pub(super) fn line_end(text: &str) -> &'static str {
    let all = text.matches('\n').count();
    let carriage = text.matches("\r\n").count();
    if carriage * 2 > all { "\r\n" } else { "\n" }
}

/// Lines that end as the file's do.
pub(super) fn with_line_ends(text: &str, line_end: &str) -> String {
    let plain = text.replace("\r\n", "\n");
    if line_end == "\n" {
        plain
    } else {
        plain.replace('\n', line_end)
    }
}
