//! YAML as a tree whose nodes know where they stand.

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use super::super::{ConfigError, Format, MAX_DEPTH, Position};

/// One document of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) root: Option<Node>,
    /// The first comment, if nothing but it and the document's mark stands before it: where, and
    /// what follows the `#`.
    pub(super) first_comment: Option<(usize, String)>,
    /// The first comment that may have been meant as a template.
    pub(super) template: Option<usize>,
}

/// A node and its places, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    /// From the first byte to behind the last one; properties are not in it. Of a block scalar: its
    /// lines, without the header.
    pub(super) span: Range<usize>,
    /// Behind the `:` or `-` that leads to it. `None` if there is none.
    pub(super) lead: Option<usize>,
    /// `&name`.
    pub(super) anchor: Option<Range<usize>>,
    /// `!tag`.
    pub(super) tag: Option<Range<usize>>,
    /// Whether it is written in brackets.
    pub(super) flow: bool,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    Scalar {
        value: String,
        style: ScalarStyle,
    },
    /// Nothing is written, which means null.
    Empty,
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    Alias,
}

impl Node {
    /// Where its properties end, or what leads to it.
    pub(super) fn after_properties(&self) -> Option<usize> {
        let ends = [&self.anchor, &self.tag]
            .into_iter()
            .flatten()
            .map(|range| range.end);
        ends.chain(self.lead).max()
    }

    /// Its style, of a scalar.
    pub(super) fn style(&self) -> ScalarStyle {
        match &self.content {
            Content::Scalar { style, .. } => *style,
            Content::Empty | Content::Sequence(_) | Content::Mapping(_) | Content::Alias => {
                ScalarStyle::Plain
            }
        }
    }
}

/// Reads all documents of a file.
pub(super) fn documents(source: &str) -> Result<Vec<Document>, ConfigError> {
    let mut options = Options::default();
    options.emit_anchor_events = true;
    options.emit_comments = true;
    options.block_nesting_limit = MAX_DEPTH;
    options.flow_nesting_limit = MAX_DEPTH;
    let mut reader = Reader {
        source,
        parser: Parser::new_from_str_with_options(source, options),
        held: None,
    };
    reader.documents()
}

struct Reader<'a> {
    source: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    held: Option<(Event<'a>, Span)>,
}

/// What is being read, from the outermost in.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<Node>,
    /// Where what was read last ends.
    end: usize,
}

impl<'a> Reader<'a> {
    fn error(error: &ScanError) -> ConfigError {
        ConfigError::Syntax {
            format: Format::Yaml,
            position: Position {
                line: error.marker().line().max(1),
                column: error.marker().col() + 1,
            },
            what: error.kind().to_string(),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, ConfigError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(Self::error(&error)),
        }
    }

    fn documents(&mut self) -> Result<Vec<Document>, ConfigError> {
        let mut found = Vec::new();
        let mut current = Document::default();
        // Until the first node or a second comment.
        let mut at_start = true;
        let mut open: Vec<Open> = Vec::new();
        while let Some((event, span)) = self.next()? {
            let range = span.byte_range().unwrap_or_default();
            match event {
                Event::Comment(text, _) => {
                    if text.starts_with('{') {
                        current.template.get_or_insert(range.start);
                    }
                    if at_start {
                        current.first_comment = Some((range.start, text.into_owned()));
                    }
                    at_start = false;
                }
                Event::DocumentEnd => {
                    found.push(std::mem::take(&mut current));
                    at_start = true;
                }
                Event::UnresolvedAlias(_) | Event::Alias(_) => {
                    at_start = false;
                    let node = Self::node(Content::Alias, range, &span, false);
                    self.put(node, &mut open, &mut current);
                }
                Event::Scalar(value, style, ..) => {
                    at_start = false;
                    // What is not written is read as null; an empty block has its header.
                    let empty = range.is_empty() && style == ScalarStyle::Plain;
                    let content = if empty {
                        Content::Empty
                    } else {
                        let value = value.into_owned();
                        Content::Scalar { value, style }
                    };
                    let node = Self::node(content, range, &span, false);
                    self.anchored(node, &mut open, &mut current)?;
                }
                Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                    at_start = false;
                    if open.len() >= MAX_DEPTH {
                        return Err(ConfigError::Limit(format!(
                            "it nests deeper than {MAX_DEPTH} levels"
                        )));
                    }
                    let content = if matches!(event, Event::SequenceStart(..)) {
                        Content::Sequence(Vec::new())
                    } else {
                        Content::Mapping(Vec::new())
                    };
                    let flow = style == StructureStyle::Flow;
                    let node = Self::node(content, range.start..range.start, &span, flow);
                    self.open(node, &mut open)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(mut done) = open.pop() {
                        done.node.span.end = if done.node.flow && !range.is_empty() {
                            range.end
                        } else {
                            done.end
                        };
                        self.put(done.node, &mut open, &mut current);
                    }
                }
                // Marks without content, and whatever the parser learns to tell.
                _ => {}
            }
        }
        Ok(found)
    }

    fn node(content: Content, span: Range<usize>, of: &Span, flow: bool) -> Node {
        let tag = of.tag_span().and_then(|tag| tag.byte_range());
        Node {
            content,
            span,
            lead: None,
            anchor: None,
            tag,
            flow,
        }
    }

    /// The anchor of a node is told behind it.
    fn take_anchor(&mut self) -> Result<Option<Range<usize>>, ConfigError> {
        match self.next()? {
            Some((Event::Anchor(..), span)) => Ok(span.byte_range()),
            other => {
                self.held = other;
                Ok(None)
            }
        }
    }

    fn anchored(
        &mut self,
        mut node: Node,
        open: &mut [Open],
        document: &mut Document,
    ) -> Result<(), ConfigError> {
        node.anchor = self.take_anchor()?;
        self.put(node, open, document);
        Ok(())
    }

    fn open(&mut self, mut node: Node, open: &mut Vec<Open>) -> Result<(), ConfigError> {
        node.anchor = self.take_anchor()?;
        node.lead = open.last().and_then(|parent| self.lead(parent));
        if let (Content::Sequence(_), false, Some(from)) =
            (&node.content, node.flow, node.after_properties())
        {
            // A sequence as deep as its key is told at its first item only.
            let dash = skip(self.source, from);
            node.span.start = node.span.start.min(dash);
        }
        let end = node.span.start;
        open.push(Open {
            node,
            key: None,
            end,
        });
        Ok(())
    }

    /// Gives a finished node to what holds it.
    fn put(&mut self, mut node: Node, open: &mut [Open], document: &mut Document) {
        let Some(parent) = open.last_mut() else {
            document.root = Some(node);
            return;
        };
        if node.lead.is_none() {
            node.lead = self.lead(parent);
        }
        let end = match node.content {
            Content::Empty => node.after_properties().unwrap_or(node.span.end),
            Content::Scalar { .. }
            | Content::Sequence(_)
            | Content::Mapping(_)
            | Content::Alias => node.span.end,
        };
        parent.end = parent.end.max(end);
        match &mut parent.node.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping(pairs) => match parent.key.take() {
                Some(key) => pairs.push((key, node)),
                None => parent.key = Some(node),
            },
            Content::Scalar { .. } | Content::Empty | Content::Alias => {}
        }
    }

    /// Behind the sign that leads to the next child.
    fn lead(&self, parent: &Open) -> Option<usize> {
        let (from, sign) = match (&parent.node.content, &parent.key) {
            (Content::Mapping(_), Some(key)) => {
                let end = match key.content {
                    Content::Empty => key.after_properties().unwrap_or(key.span.end),
                    Content::Scalar { .. }
                    | Content::Sequence(_)
                    | Content::Mapping(_)
                    | Content::Alias => key.span.end,
                };
                (end, ':')
            }
            (Content::Sequence(_), _) if !parent.node.flow => (parent.end, '-'),
            _ => return None,
        };
        let at = skip(self.source, from);
        self.source
            .get(at..)
            .is_some_and(|rest| rest.starts_with(sign))
            .then_some(at + 1)
    }
}

/// Past blanks, line ends and comments.
pub(super) fn skip(source: &str, mut at: usize) -> usize {
    loop {
        let rest = source.get(at..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let rest = &rest[blank..];
        let after_blank = blank > 0 || at == 0 || source[..at].ends_with([' ', '\t', '\n', '\r']);
        at += blank;
        if rest.starts_with('#') && after_blank {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            return at;
        }
    }
}
