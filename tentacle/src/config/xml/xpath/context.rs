//! What an evaluation knows: the document, the prefixes, and how much work is left.

use super::super::tree::{Document, Kind, NodeId};
use super::XPathError;

/// What one evaluation may cost, in nodes looked at: a second or so.
const STEPS: usize = 2_000_000;

/// Whether texts of nothing but blanks are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blanks {
    /// They are nodes like others.
    Seen,
    /// They are layout.
    Unseen,
}

/// What the prefixes of an expression mean.
pub(crate) type Prefixes = Vec<(String, String)>;

/// What an evaluation works with.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(super) document: &'a Document,
    pub(super) prefixes: &'a Prefixes,
    blanks: Blanks,
    /// Where each node stands in the document's order.
    order: Vec<u32>,
    left: usize,
}

impl<'a> Context<'a> {
    pub(crate) fn new(document: &'a Document, prefixes: &'a Prefixes, blanks: Blanks) -> Self {
        let mut order = vec![u32::MAX; document.len()];
        for (at, id) in document.descendants(Document::ROOT).into_iter().enumerate() {
            if let Some(slot) = order.get_mut(Document::index(id)) {
                *slot = u32::try_from(at).unwrap_or(u32::MAX);
            }
        }
        Self {
            document,
            prefixes,
            blanks,
            order,
            left: STEPS,
        }
    }

    /// Counts work.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), XPathError> {
        self.left = self.left.checked_sub(steps).ok_or(XPathError::Budget)?;
        Ok(())
    }

    pub(super) fn order(&self, id: NodeId) -> u32 {
        self.order
            .get(Document::index(id))
            .copied()
            .unwrap_or(u32::MAX)
    }

    /// Whether a node is one to XPath.
    pub(super) fn is_seen(&self, id: NodeId) -> bool {
        match self.document.kind(id) {
            Kind::Verbatim(_) => false,
            Kind::Text(_) => self.blanks == Blanks::Seen || !self.document.is_blank(id),
            Kind::Root
            | Kind::Element(_)
            | Kind::CData(_)
            | Kind::Comment(_)
            | Kind::Instruction { .. } => true,
        }
    }

    pub(super) fn namespace_of(&self, prefix: &str) -> Result<String, XPathError> {
        if prefix == "xml" {
            return Ok(super::super::names::XML_NAMESPACE.to_owned());
        }
        self.prefixes
            .iter()
            .find(|(known, _)| known == prefix)
            .map(|(_, namespace)| namespace.clone())
            .ok_or_else(|| XPathError::Prefix(prefix.to_owned()))
    }
}
