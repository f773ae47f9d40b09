//! Replaces a node where it stands.

use std::ops::Range;

use granit_parser::ScalarStyle;

use super::super::edits::{Edits, line_end, with_line_ends};
use super::analyse::Context;
use super::fragment::Fragment;
use super::parse::{Content, Document, Node};
use super::scalar::{self, Indent, Written};

/// How a file is laid out.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) source: &'a str,
    line_end: &'static str,
    /// How much deeper a mapping stands than its key, most often.
    unit: usize,
    /// How much deeper a sequence stands than its key.
    list_offset: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn of(source: &'a str, documents: &[Document]) -> Self {
        let mut steps = Steps::default();
        for root in documents
            .iter()
            .filter_map(|document| document.root.as_ref())
        {
            steps.look(source, root, 0);
        }
        Self {
            source,
            line_end: line_end(source),
            unit: steps.unit(),
            list_offset: steps.list_offset.unwrap_or(0),
        }
    }

    fn column(&self, offset: usize) -> usize {
        column(self.source, offset)
    }

    fn has_line_end(&self, range: Range<usize>) -> bool {
        self.source
            .get(range)
            .is_some_and(|text| text.contains('\n'))
    }

    fn lines(&self, text: &str) -> String {
        with_line_ends(text, self.line_end)
    }
}

/// The blanks and signs that stand before a byte on its line.
fn column(source: &str, offset: usize) -> usize {
    let before = source.get(..offset).unwrap_or_default();
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    line.chars().count()
}

/// How often each step from one level to the next is taken.
#[derive(Debug, Default)]
struct Steps {
    counts: [usize; 10],
    list_offset: Option<usize>,
}

impl Steps {
    fn look(&mut self, source: &str, node: &Node, outer: usize) {
        if node.flow {
            return;
        }
        let own = column(source, node.span.start);
        let children: Vec<(&Node, bool)> = match &node.content {
            Content::Sequence(items) => items.iter().map(|item| (item, false)).collect(),
            Content::Mapping(pairs) => pairs.iter().map(|(_, value)| (value, true)).collect(),
            Content::Scalar { .. } | Content::Empty | Content::Alias => return,
        };
        if let Some(count) = self.counts.get_mut(own.saturating_sub(outer)) {
            *count += 1;
        }
        for (child, of_key) in children {
            let block_list = matches!(child.content, Content::Sequence(_)) && !child.flow;
            if block_list && of_key && self.list_offset.is_none() {
                self.list_offset = column(source, child.span.start).checked_sub(own);
            }
            self.look(source, child, own);
        }
    }

    /// The most frequent step of two or more; of two alike the smaller one.
    fn unit(&self) -> usize {
        let mut best = 2;
        for step in 2..self.counts.len() {
            if self.counts[step] > self.counts[best] {
                best = step;
            }
        }
        best
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The column of what holds it.
    column: usize,
    context: Context,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Root,
    Item,
    Value,
}

impl Place {
    pub(super) fn root() -> Self {
        Self {
            column: 0,
            context: Context::Block,
            kind: Kind::Root,
        }
    }

    /// Within a collection that stands here.
    pub(super) fn inside(&self, node: &Node, layout: &Layout<'_>) -> Self {
        Self {
            column: layout.column(node.span.start),
            context: if node.flow {
                Context::Flow
            } else {
                self.context
            },
            kind: self.kind,
        }
    }

    pub(super) fn item(self) -> Self {
        Self {
            kind: Kind::Item,
            ..self
        }
    }

    pub(super) fn value(self) -> Self {
        Self {
            kind: Kind::Value,
            ..self
        }
    }

    fn indent(self, layout: &Layout<'_>) -> Indent {
        Indent {
            lines: self.column + layout.unit,
            step: layout.unit,
        }
    }
}

/// Gives a scalar another text.
pub(super) fn scalar(
    node: &Node,
    value: Option<&str>,
    place: &Place,
    layout: &Layout<'_>,
    edits: &mut Edits,
) {
    let indent = place.indent(layout);
    let text = value.unwrap_or("null");
    let style = match value {
        Some(_) => node.style(),
        None => ScalarStyle::Plain,
    };
    if value.is_none()
        && let Some(tag) = &node.tag
    {
        // `!!str null` would be a text.
        let rest = layout.source.get(tag.end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        edits.replace(tag.start..tag.end + blank, String::new());
    }
    match style_of(node) {
        Some(ScalarStyle::Literal | ScalarStyle::Folded) => {
            block_scalar(node, text, style, place, layout, edits);
        }
        Some(ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) => {
            let written = scalar::write(text, style, place.context, indent);
            edits.replace(node.span.clone(), layout.lines(&written.text));
        }
        None => {
            let written = scalar::write(text, style, place.context, indent).text;
            let at = node.after_properties().unwrap_or(node.span.start);
            let lead = if node.lead.is_some() { " " } else { ": " };
            edits.replace(at..at, layout.lines(&format!("{lead}{written}")));
        }
    }
}

/// The style in which a scalar is written; `None` if nothing is.
fn style_of(node: &Node) -> Option<ScalarStyle> {
    match &node.content {
        Content::Scalar { style, .. } => Some(*style),
        Content::Empty | Content::Sequence(_) | Content::Mapping(_) | Content::Alias => None,
    }
}

fn block_scalar(
    node: &Node,
    text: &str,
    style: ScalarStyle,
    place: &Place,
    layout: &Layout<'_>,
    edits: &mut Edits,
) {
    let source = layout.source;
    let from = node.after_properties().unwrap_or(0);
    let head = source.get(from..).unwrap_or_default();
    let Some(header) = head.find(['|', '>']).map(|at| from + at) else {
        return;
    };
    let line = source.get(header..).unwrap_or_default();
    let signs = line
        .find(|c: char| c.is_whitespace())
        .map_or(source.len(), |at| header + at);
    // Lines stay as deep as they were, unless a sign says how deep that is.
    let mut indent = place.indent(layout);
    let said = source
        .get(header..signs)
        .is_some_and(|signs| signs.contains(|c: char| c.is_ascii_digit()));
    let content = source.get(signs..node.span.end).unwrap_or_default();
    let first = content.lines().skip(1).find(|line| !line.trim().is_empty());
    if let (Some(first), false) = (first, said) {
        indent.lines = first.len() - first.trim_start_matches(' ').len();
        indent.step = indent.lines.saturating_sub(place.column).max(1);
    }
    let written = scalar::write(text, style, place.context, indent);
    let kept = source
        .get(header..signs)
        .is_some_and(|signs| signs.contains('+'));
    let end = content_end(source, signs, node.span.end, kept || written.keeps);
    if let Some((head, lines)) = written.text.split_once('\n')
        && written.text.starts_with(['|', '>'])
    {
        // A comment behind the header stays there.
        edits.replace(header..signs, head.to_owned());
        let first_line = line.find('\n').map_or(source.len(), |at| header + at);
        let first_line = first_line - usize::from(source[..first_line].ends_with('\r'));
        let mut body = layout.lines(&format!("\n{lines}"));
        if end >= source.len() && written.needs_line_end {
            body.push_str(layout.line_end);
        }
        edits.replace(first_line..end.max(first_line), body);
    } else {
        edits.replace(header..end, layout.lines(&written.text));
    }
}

/// Where a block's content ends: before its last line end, or before all that follow it.
fn content_end(source: &str, from: usize, end: usize, keeps: bool) -> usize {
    let text = source.get(from..end).unwrap_or_default();
    let trimmed = if keeps {
        let text = text.strip_suffix('\n').unwrap_or(text);
        text.strip_suffix('\r').unwrap_or(text)
    } else {
        text.trim_end_matches([' ', '\t', '\r', '\n'])
    };
    from + trimmed.len()
}

/// Puts other YAML in the place of a mapping or sequence.
pub(super) fn structure(
    node: &Node,
    value: Option<&str>,
    place: &Place,
    layout: &Layout<'_>,
    edits: &mut Edits,
) {
    let fragment = Fragment::of(value);
    let from = node.after_properties().unwrap_or(node.span.start);
    let end = if node.flow {
        node.span.end
    } else {
        content_end(layout.source, from, node.span.end, false)
    };
    let own_lines = layout.has_line_end(from..node.span.start);
    if let Some(tag) = &node.tag
        && fragment_has_own_kind(&fragment)
    {
        let rest = layout.source.get(tag.end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        edits.replace(tag.start..tag.end + blank, String::new());
    }
    if !fragment.is_block() || place.context == Context::Flow {
        let written = fragment.inline(place.context, place.indent(layout));
        let mut text = layout.lines(&written.text);
        finish(&written, end, layout, &mut text);
        if own_lines && !node.flow {
            // It goes to the line of its key; comments between the two stay.
            let gap = layout.source.get(from..node.span.start).unwrap_or_default();
            let gap = gap.trim_end_matches([' ', '\t']);
            let gap = gap.strip_suffix('\n').unwrap_or(gap);
            let gap = gap.strip_suffix('\r').unwrap_or(gap);
            if written.text.contains('\n') {
                edits.replace(from..end, format!(" {text}"));
            } else {
                edits.replace(from..end, format!(" {text}{gap}"));
            }
        } else {
            edits.replace(node.span.start..end, text);
        }
        return;
    }
    let column = block_column(node, &fragment, place, layout);
    let lines = fragment.block(column, layout.unit, layout.list_offset);
    let mut text = String::new();
    let start = if own_lines && !node.flow {
        let line = node.span.start - layout.column(node.span.start);
        text.push_str(&" ".repeat(column));
        line
    } else if place.kind == Kind::Value {
        text.push('\n');
        text.push_str(&" ".repeat(column));
        let before = layout.source.get(..node.span.start).unwrap_or_default();
        before.trim_end_matches([' ', '\t']).len()
    } else {
        node.span.start
    };
    text.push_str(&lines);
    edits.replace(start..end, layout.lines(&text));
}

/// A tag of the old kind would be wrong.
fn fragment_has_own_kind(fragment: &Fragment<'_>) -> bool {
    match fragment {
        Fragment::Node { .. } | Fragment::Null => true,
        Fragment::Text(_) => false,
    }
}

fn finish(written: &Written, end: usize, layout: &Layout<'_>, text: &mut String) {
    if written.needs_line_end && end >= layout.source.len() {
        text.push_str(layout.line_end);
    }
}

/// How deep the lines of new YAML stand.
fn block_column(node: &Node, fragment: &Fragment<'_>, place: &Place, layout: &Layout<'_>) -> usize {
    let own = layout.column(node.span.start);
    let was_list = matches!(node.content, Content::Sequence(_));
    match place.kind {
        Kind::Root | Kind::Item => own,
        Kind::Value if !node.flow && fragment.is_sequence() == was_list => own,
        Kind::Value if fragment.is_sequence() => place.column + layout.list_offset,
        Kind::Value if !node.flow && own > place.column => own,
        Kind::Value => place.column + layout.unit,
    }
}
