//! JSON values as a file lays its own out.

use super::parse::{Kind, Node, unquoted};

/// How a file is laid out.
#[derive(Debug)]
pub(super) enum Layout {
    /// All on one line.
    Compact,
    /// A line each, and this much deeper.
    Lines(String),
}

impl Layout {
    pub(super) fn of(source: &str) -> Self {
        if !source.trim().contains('\n') {
            return Self::Compact;
        }
        let unit = source
            .lines()
            .map(|line| &line[..line.len() - line.trim_start_matches([' ', '\t']).len()])
            .find(|blank| !blank.is_empty());
        Self::Lines(unit.unwrap_or("  ").to_owned())
    }
}

/// The blanks that the line begins with on which this byte stands.
pub(super) fn indent_at(source: &str, offset: usize) -> String {
    let before = source.get(..offset).unwrap_or_default();
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    line.chars()
        .take_while(|c| matches!(c, ' ' | '\t'))
        .collect()
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
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
            // Line ends to JavaScript.
            '\0'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value that was read from `source`, for a place whose line begins with `indent`.
pub(super) fn node(
    node: &Node,
    source: &str,
    layout: &Layout,
    indent: &str,
    line_end: &str,
) -> String {
    let mut writer = Writer {
        source,
        layout,
        line_end,
        out: String::new(),
    };
    writer.node(node, indent);
    writer.out
}

struct Writer<'a> {
    source: &'a str,
    layout: &'a Layout,
    line_end: &'a str,
    out: String,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node, indent: &str) {
        let raw = self.source.get(node.start..node.end).unwrap_or_default();
        match &node.kind {
            Kind::Number | Kind::Bool | Kind::Null => self.out.push_str(raw),
            Kind::String => self.out.push_str(&quoted(&unquoted(raw))),
            Kind::Object(fields) => {
                self.list('{', '}', fields.len(), indent, |writer, at, deeper| {
                    let Some((key, value)) = fields.get(at) else {
                        return;
                    };
                    writer.out.push_str(&quoted(key));
                    writer.out.push_str(match writer.layout {
                        Layout::Compact => ":",
                        Layout::Lines(_) => ": ",
                    });
                    writer.node(value, deeper);
                });
            }
            Kind::Array(items) => self.list('[', ']', items.len(), indent, |writer, at, deeper| {
                if let Some(item) = items.get(at) {
                    writer.node(item, deeper);
                }
            }),
        }
    }

    fn list(
        &mut self,
        open: char,
        close: char,
        count: usize,
        indent: &str,
        mut one: impl FnMut(&mut Self, usize, &str),
    ) {
        self.out.push(open);
        let deeper = match self.layout {
            Layout::Compact => String::new(),
            Layout::Lines(unit) => format!("{indent}{unit}"),
        };
        for at in 0..count {
            if at > 0 {
                self.out.push(',');
            }
            self.break_line(&deeper);
            one(self, at, &deeper);
        }
        if count > 0 {
            self.break_line(indent);
        }
        self.out.push(close);
    }

    fn break_line(&mut self, indent: &str) {
        match self.layout {
            Layout::Compact => {}
            Layout::Lines(_) => {
                self.out.push_str(self.line_end);
                self.out.push_str(indent);
            }
        }
    }
}
