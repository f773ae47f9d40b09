//! Writes a text as a scalar.

use std::fmt::Write as _;

use granit_parser::ScalarStyle;

use super::analyse::{self, Context};

/// A scalar that was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its text; of a block scalar with its header, without its last line end.
    pub(super) text: String,
    /// It ends with line ends that are part of it: what follows must begin a line.
    pub(super) keeps: bool,
    /// It needs the line end behind it.
    pub(super) needs_line_end: bool,
}

/// How deep its lines stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indent {
    /// Of further lines, in blanks.
    pub(super) lines: usize,
    /// How much deeper that is than what holds the scalar.
    pub(super) step: usize,
}

/// Writes a text in the style nearest to the wanted one.
pub(super) fn write(text: &str, wanted: ScalarStyle, context: Context, indent: Indent) -> Written {
    let block = matches!(wanted, ScalarStyle::Literal | ScalarStyle::Folded);
    let normal = text.replace("\r\n", "\n");
    // The lines of a block are the file's.
    let text = if block { &normal } else { text };
    let style = analyse::style(text, wanted, context);
    let inline = |text: String| Written {
        text,
        keeps: false,
        needs_line_end: false,
    };
    match style {
        ScalarStyle::Plain => inline(text.to_owned()),
        ScalarStyle::SingleQuoted => inline(single(text, indent.lines)),
        ScalarStyle::DoubleQuoted => inline(double(text)),
        ScalarStyle::Literal => blocked('|', text, text, indent),
        ScalarStyle::Folded => blocked('>', text, &unfolded(text), indent),
    }
}

/// A line end within quotes is written as an empty line.
fn single(text: &str, indent: usize) -> String {
    let mut out = String::from("'");
    let mut after_break = false;
    for c in text.chars() {
        if c == '\n' {
            if !after_break {
                out.push('\n');
            }
            out.push('\n');
            after_break = true;
            continue;
        }
        if after_break {
            out.push_str(&" ".repeat(indent));
            after_break = false;
        }
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
    }
    if after_break {
        out.push_str(&" ".repeat(indent));
    }
    out.push('\'');
    out
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            ' '..='~'
            | '\u{a0}'..='\u{d7ff}'
            | '\u{e000}'..='\u{fefe}'
            | '\u{ff00}'..='\u{fffd}'
            | '\u{10000}'.. => out.push(c),
            _ if u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02X}", u32::from(c));
            }
            _ => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// The lines of a folded text: an end of line between two lines that are not indented is doubled.
fn unfolded(text: &str) -> String {
    let body = text.trim_end_matches('\n');
    let mut out = String::new();
    let mut after_break = true;
    let mut indented = true;
    for (at, c) in body.char_indices() {
        if c == '\n' {
            let next = body[at..].trim_start_matches('\n');
            if !after_break && !indented && !next.starts_with([' ', '\t']) {
                out.push('\n');
            }
            after_break = true;
        } else {
            if after_break {
                indented = matches!(c, ' ' | '\t');
            }
            after_break = false;
        }
        out.push(c);
    }
    out.push_str(&text[body.len()..]);
    out
}

/// `lines` as a block under a header that says how `text` begins and ends.
fn blocked(sign: char, text: &str, lines: &str, indent: Indent) -> Written {
    let mut header = String::from(sign);
    if text.starts_with([' ', '\n', '\t']) {
        let _ = write!(header, "{}", indent.step);
    }
    let body = lines.trim_end_matches('\n');
    let ends = text.len() - text.trim_end_matches('\n').len();
    let keeps = ends > 1 || body.is_empty();
    if ends == 0 {
        header.push('-');
    } else if keeps {
        header.push('+');
    }
    for line in body.split('\n') {
        header.push('\n');
        if !line.is_empty() {
            header.push_str(&" ".repeat(indent.lines));
            header.push_str(line);
        }
    }
    header.push_str(&"\n".repeat(ends.saturating_sub(1)));
    Written {
        text: header,
        keeps,
        needs_line_end: ends > 0,
    }
}
