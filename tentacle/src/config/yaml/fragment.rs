//! The YAML of a variable, laid out for its place.

use granit_parser::ScalarStyle;

use super::analyse::Context;
use super::parse::{Content, Node, documents};
use super::scalar::{self, Indent};

/// What a variable's text becomes where a mapping or sequence stood.
#[derive(Debug)]
pub(super) enum Fragment<'a> {
    /// YAML of one node.
    Node { source: &'a str, node: Node },
    /// No YAML, or none of one node: the text itself, quoted.
    Text(&'a str),
    /// Null.
    Null,
}

impl<'a> Fragment<'a> {
    pub(super) fn of(value: Option<&'a str>) -> Self {
        let Some(source) = value else {
            return Self::Null;
        };
        let Ok(mut found) = documents(source) else {
            return Self::Text(source);
        };
        match (found.pop().and_then(|document| document.root), found.len()) {
            (Some(node), 0) if !matches!(node.content, Content::Empty | Content::Alias) => {
                Self::Node { source, node }
            }
            _ => Self::Text(source),
        }
    }

    /// Whether it takes lines of its own.
    pub(super) fn is_block(&self) -> bool {
        match self {
            Self::Node { node, .. } => is_block(node),
            Self::Text(_) | Self::Null => false,
        }
    }

    /// Whether it is a sequence in lines of its own.
    pub(super) fn is_sequence(&self) -> bool {
        match self {
            Self::Node { node, .. } => {
                matches!(node.content, Content::Sequence(_)) && is_block(node)
            }
            Self::Text(_) | Self::Null => false,
        }
    }

    /// It on one line, or a scalar's lines.
    pub(super) fn inline(&self, context: Context, indent: Indent) -> scalar::Written {
        match self {
            Self::Null => scalar::write("null", ScalarStyle::Plain, context, indent),
            Self::Text(text) => scalar::write(text, ScalarStyle::DoubleQuoted, context, indent),
            Self::Node { source, node } => match &node.content {
                Content::Scalar { value, style } => {
                    let mut written = scalar::write(value, *style, context, indent);
                    written.text.insert_str(0, &properties(source, node));
                    written
                }
                Content::Empty | Content::Sequence(_) | Content::Mapping(_) | Content::Alias => {
                    scalar::Written {
                        text: flow(source, node),
                        keeps: false,
                        needs_line_end: false,
                    }
                }
            },
        }
    }

    /// Its lines, the first one without the blanks before it.
    pub(super) fn block(&self, column: usize, unit: usize, list_offset: usize) -> String {
        let Self::Node { source, node } = self else {
            return String::new();
        };
        let mut writer = Writer {
            source,
            unit,
            list_offset,
            out: String::new(),
        };
        writer.block(node, column);
        writer.out
    }
}

fn is_block(node: &Node) -> bool {
    !node.flow
        && match &node.content {
            Content::Sequence(items) => !items.is_empty(),
            Content::Mapping(pairs) => !pairs.is_empty(),
            Content::Scalar { .. } | Content::Empty | Content::Alias => false,
        }
}

/// Anchor and tag as they are written, each with a blank behind it.
fn properties(source: &str, node: &Node) -> String {
    let mut out = String::new();
    for range in [&node.anchor, &node.tag].into_iter().flatten() {
        out.push_str(source.get(range.clone()).unwrap_or_default());
        out.push(' ');
    }
    out
}

/// A node within brackets or on one line.
fn flow(source: &str, node: &Node) -> String {
    let mut out = properties(source, node);
    let indent = Indent { lines: 2, step: 2 };
    match &node.content {
        Content::Empty => out.push_str("null"),
        Content::Alias => out.push_str(source.get(node.span.clone()).unwrap_or_default()),
        Content::Scalar { value, style } => {
            out.push_str(&scalar::write(value, *style, Context::Flow, indent).text);
        }
        Content::Sequence(items) => {
            let items: Vec<_> = items.iter().map(|item| flow(source, item)).collect();
            for part in ["[", &items.join(", "), "]"] {
                out.push_str(part);
            }
        }
        Content::Mapping(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| {
                    let blank = if matches!(key.content, Content::Alias) {
                        " "
                    } else {
                        ""
                    };
                    format!("{}{blank}: {}", flow(source, key), flow(source, value))
                })
                .collect();
            for part in ["{", &pairs.join(", "), "}"] {
                out.push_str(part);
            }
        }
    }
    out
}

struct Writer<'a> {
    source: &'a str,
    unit: usize,
    /// How much deeper than its key a sequence stands.
    list_offset: usize,
    out: String,
}

impl Writer<'_> {
    fn new_line(&mut self, column: usize) {
        self.out.push('\n');
        self.out.push_str(&" ".repeat(column));
    }

    /// A block node whose first line begins where the writer stands, at this column.
    fn block(&mut self, node: &Node, column: usize) {
        match &node.content {
            Content::Sequence(items) => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.new_line(column);
                    }
                    self.out.push('-');
                    self.item(item, column);
                }
            }
            Content::Mapping(pairs) => {
                for (at, (key, value)) in pairs.iter().enumerate() {
                    if at > 0 {
                        self.new_line(column);
                    }
                    self.key(key);
                    self.value(value, column);
                }
            }
            Content::Scalar { .. } | Content::Empty | Content::Alias => {}
        }
    }

    fn item(&mut self, item: &Node, column: usize) {
        if is_block(item) && item.anchor.is_none() && item.tag.is_none() {
            self.out.push(' ');
            self.block(item, column + 2);
        } else {
            self.value(item, column);
        }
    }

    fn key(&mut self, key: &Node) {
        let text = match &key.content {
            Content::Scalar { value, style } => {
                let indent = Indent { lines: 2, step: 2 };
                let style = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => ScalarStyle::DoubleQuoted,
                    ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                        *style
                    }
                };
                let written = scalar::write(value, style, Context::Key, indent).text;
                format!("{}{written}", properties(self.source, key))
            }
            Content::Alias => format!("{} ", flow(self.source, key)),
            // A key in brackets may be written on the line.
            Content::Empty | Content::Sequence(_) | Content::Mapping(_) => flow(self.source, key),
        };
        self.out.push_str(&text);
        self.out.push(':');
    }

    /// What follows the sign that leads to a node.
    fn value(&mut self, node: &Node, column: usize) {
        let properties = properties(self.source, node);
        if is_block(node) {
            if !properties.is_empty() {
                self.out.push(' ');
                self.out.push_str(properties.trim_end());
            }
            let deeper = match node.content {
                Content::Sequence(_) => column + self.list_offset,
                Content::Scalar { .. } | Content::Empty | Content::Mapping(_) | Content::Alias => {
                    column + self.unit
                }
            };
            self.new_line(deeper);
            self.block(node, deeper);
            return;
        }
        self.out.push(' ');
        match &node.content {
            Content::Scalar { value, style } => {
                let indent = Indent {
                    lines: column + self.unit,
                    step: self.unit,
                };
                let written = scalar::write(value, *style, Context::Block, indent);
                self.out.push_str(&properties);
                self.out.push_str(&written.text);
            }
            Content::Empty | Content::Sequence(_) | Content::Mapping(_) | Content::Alias => {
                let text = flow(self.source, node);
                self.out.push_str(&text);
            }
        }
    }
}
