//! What expressions give.

use super::super::tree::{Document, NodeId};

/// A node that an expression selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Item {
    /// A node of the tree.
    Node(NodeId),
    /// An attribute: its element, and its place among the attributes.
    Attribute(NodeId, usize),
}

impl Item {
    /// The text that it stands for.
    pub(super) fn text(self, document: &Document) -> String {
        match self {
            Self::Node(id) => document.text(id),
            Self::Attribute(id, at) => document
                .element(id)
                .and_then(|element| element.attributes.get(at))
                .map(super::super::Attribute::value)
                .unwrap_or_default(),
        }
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nodes, in the document's order, each once.
    Nodes(Vec<Item>),
    Text(String),
    Number(f64),
    Truth(bool),
}

impl Value {
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Nodes(nodes) => !nodes.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Truth(truth) => *truth,
        }
    }

    pub(super) fn number(&self, document: &Document) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Truth(truth) => f64::from(u8::from(*truth)),
            Self::Text(text) => to_number(text),
            Self::Nodes(_) => to_number(&self.text(document)),
        }
    }

    pub(super) fn text(&self, document: &Document) -> String {
        match self {
            Self::Nodes(nodes) => nodes
                .first()
                .map(|item| item.text(document))
                .unwrap_or_default(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => show_number(*number),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

pub(super) fn to_number(text: &str) -> f64 {
    let text = text.trim();
    let plain = text
        .strip_prefix('-')
        .unwrap_or(text)
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

fn show_number(number: f64) -> String {
    if number == 0.0 {
        "0".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned()
    } else {
        number.to_string()
    }
}
