//! A YAML text as a tree in which every node knows where it stands.
//!
//! Bounded in size, depth and number of nodes (aliases count as what they stand for), since files
//! come from outside. A comment that begins with `#{` is refused here: it is a template that
//! somebody forgot to quote, and YAML would drop it without a word.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle};

use super::scalar::{Scalar, resolve};

/// A file larger than this is no hand-written one.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Nodes, aliases expanded: a large project has a few thousand.
const MAX_NODES: usize = 200_000;
/// Far deeper than the grammar goes; `with:` of one action is all that nests freely.
const MAX_DEPTH: usize = 48;
/// Comment lines in a row that the parser holds at once.
const MAX_COMMENTS: usize = 100_000;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A key or name and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Unquoted: what it means depends on what is expected.
    Plain(String),
    /// Quoted, or a block of text.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// Something wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// `None` until somebody who knows says where.
    pub(super) at: Option<Position>,
    pub(super) what: String,
    pub(super) next: Option<String>,
}

impl Problem {
    pub(super) fn new(at: Position, what: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            what: what.into(),
            next: None,
        }
    }

    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// `did you mean ...`, if there is a name close enough.
    pub(super) fn meant(self, suggestion: Option<String>) -> Self {
        match suggestion {
            Some(name) => self.next(format!("did you mean '{name}'?")),
            None => self,
        }
    }
}

impl Node {
    /// The value as JSON; unquoted scalars by YAML's core schema.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Text(text) => Value::String(text.clone()),
            Kind::Plain(text) => match resolve(text) {
                Scalar::Null => Value::Null,
                Scalar::Bool(value) => Value::Bool(value),
                Scalar::Integer(number) => Value::Number(number.into()),
                Scalar::Unsigned(number) => Value::Number(number.into()),
                Scalar::Float(number) => {
                    Number::from_f64(number).map_or(Value::Null, Value::Number)
                }
                Scalar::Text => Value::String(text.clone()),
            },
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.text.clone(), value.to_json()))
                    .collect::<Map<String, Value>>(),
            ),
        }
    }

    /// Whether this is exactly that text.
    pub(super) fn is(&self, word: &str) -> bool {
        match &self.kind {
            Kind::Plain(text) | Kind::Text(text) => text == word,
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// The value under a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries
                .iter()
                .find(|(name, _)| name.text == key)
                .map(|(_, value)| value),
            Kind::Plain(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }
}

/// The documents of a text. Empty ones are left out.
pub(super) fn load(text: &str) -> Result<Vec<Node>, Vec<Problem>> {
    let start = Position { line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        return Err(vec![Problem::new(start, "the file is larger than 8 MiB")]);
    }
    let mut loader = Loader::default();
    let outcome = loader.run(text);
    // An unquoted template swallows the rest of its line, so every other complaint follows from it.
    if !loader.templates.is_empty() {
        return Err(loader.templates);
    }
    outcome.map_err(|problem| vec![problem])?;
    Ok(loader.documents)
}

#[derive(Default)]
struct Loader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    templates: Vec<Problem>,
}

/// A list or map whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        seen: HashSet<String>,
        key: Option<Key>,
    },
}

impl Loader {
    fn run(&mut self, text: &str) -> Result<(), Problem> {
        let options = granit_parser::options! {
            max_buffered_comment_events: MAX_COMMENTS,
            disallow_directives: true,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                Problem::new(
                    position(error.marker()),
                    format!("not YAML: {}", error.info()),
                )
            })?;
            self.take(event, position(&span.start))?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Problem> {
        match event {
            Event::Comment(comment, _) => {
                if comment.starts_with('{') {
                    self.templates.push(forgotten_quotes(at, &comment));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                no_tag(tag.is_some(), at)?;
                let text = text.into_owned();
                let kind = if style == ScalarStyle::Plain {
                    Kind::Plain(text)
                } else {
                    Kind::Text(text)
                };
                self.add(Node { at, kind }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(tag.is_some(), at)?;
                self.open(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(tag.is_some(), at)?;
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                };
                self.open(at, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(anchor) => {
                let mut node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    Problem::new(at, "an alias may not stand inside its own anchor")
                })?;
                self.count(weight(&node), at)?;
                node.at = at;
                self.place(node)
            }
            Event::UnresolvedAlias(name) => Err(Problem::new(
                at,
                format!("there is no anchor '&{name}' before this"),
            )),
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) => {
                Ok(())
            }
            // The parser's own enum may grow; what is not known is not dropped in silence.
            _ => Err(Problem::new(at, "this kind of YAML is not supported")),
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(at, "the file holds more than 200000 values"));
        }
        Ok(())
    }

    fn open(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Problem> {
        self.count(1, at)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::new(at, "values are nested more than 48 deep"));
        }
        self.open.push(Open {
            at,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else {
            return Err(Problem::new(
                at,
                "not YAML: something ends here that never began",
            ));
        };
        let kind = match open.content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        let node = Node { at: open.at, kind };
        self.remember(&node, open.anchor);
        self.place(node)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.count(1, node.at)?;
        self.remember(&node, anchor);
        self.place(node)
    }

    fn remember(&mut self, node: &Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    /// Puts a finished node where it belongs: as document, item, key or value.
    fn place(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => {
                if node.kind != Kind::Plain(String::new()) {
                    self.documents.push(node);
                }
            }
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, seen, key }) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => *key = Some(new_key(node, seen)?),
            },
        }
        Ok(())
    }
}

fn new_key(node: Node, seen: &mut HashSet<String>) -> Result<Key, Problem> {
    let text = match node.kind {
        Kind::Plain(text) | Kind::Text(text) => text,
        Kind::List(_) | Kind::Map(_) => {
            return Err(Problem::new(node.at, "a key must be text")
                .next("quote a value that begins with '{' or '['"));
        }
    };
    if text == "<<" {
        return Err(Problem::new(node.at, "merge keys '<<' are not supported")
            .next("write the keys out, or use an alias for the whole value"));
    }
    if !seen.insert(text.clone()) {
        return Err(
            Problem::new(node.at, format!("key '{text}' stands here twice"))
                .next("remove one of the two"),
        );
    }
    Ok(Key { at: node.at, text })
}

fn forgotten_quotes(at: Position, comment: &str) -> Problem {
    let shown: String = comment.chars().take(40).collect();
    Problem::new(
        at,
        format!("'#{shown}' is a comment to YAML, so the template in it would be dropped"),
    )
    .next(
        "quote the whole value: \"...#{Name}...\"; or put a space after the '#' of a real comment",
    )
}

fn no_tag(tagged: bool, at: Position) -> Result<(), Problem> {
    if tagged {
        return Err(Problem::new(at, "YAML tags ('!...') are not supported")
            .next("quote the value if it should begin with '!'"));
    }
    Ok(())
}

fn weight(node: &Node) -> usize {
    match &node.kind {
        Kind::Plain(_) | Kind::Text(_) => 1,
        Kind::List(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Kind::Map(entries) => {
            1 + entries
                .iter()
                .map(|(_, value)| 1 + weight(value))
                .sum::<usize>()
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(marker.col()).map_or(u32::MAX, |column| column.saturating_add(1)),
    }
}
