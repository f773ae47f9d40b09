//! Puts text or markup into an element.

use super::tree::{Document, Kind, NodeId, Origin};
use super::{escape, names};

impl Document {
    /// Makes a text the whole content of an element.
    pub(super) fn set_text(&mut self, id: NodeId, value: &str) {
        self.clear(id);
        let text = self.create(Kind::Text(escape::text(value)), Origin::Added, 0);
        self.append(id, text);
    }

    /// Makes markup the content of an element, laid out as what was there. An error leaves the
    /// element as it is.
    pub(super) fn set_markup(&mut self, id: NodeId, markup: &str) -> Result<(), String> {
        let fragment = Self::parse_fragment(markup).map_err(|error| error.to_string())?;
        self.check_fragment(id, &fragment)?;
        let old = self.children(id).to_vec();
        let blank = |at: Option<&NodeId>| {
            at.filter(|id| self.is_blank(**id))
                .map(|id| self.kind(*id).clone())
        };
        let before = blank(old.first());
        let after = blank(old.last());
        let top = fragment.children(Self::ROOT).to_vec();
        let has_text = top.iter().any(|id| match fragment.kind(*id) {
            Kind::Text(_) => !fragment.is_blank(*id),
            Kind::CData(_) => true,
            Kind::Root
            | Kind::Element(_)
            | Kind::Comment(_)
            | Kind::Instruction { .. }
            | Kind::Verbatim(_) => false,
        });
        self.clear(id);
        for child in top {
            if !has_text {
                if fragment.is_blank(child) {
                    continue;
                }
                if let Some(before) = &before {
                    let blank = self.create(before.clone(), Origin::Added, 0);
                    self.append(id, blank);
                }
            }
            let copy = self.copy(&fragment, child);
            self.append(id, copy);
        }
        if !has_text && let Some(after) = after {
            let blank = self.create(after, Origin::Added, 0);
            self.append(id, blank);
        }
        Ok(())
    }

    /// Every prefix of the fragment must mean something where it goes.
    fn check_fragment(&self, at: NodeId, fragment: &Self) -> Result<(), String> {
        for id in fragment.descendants(Self::ROOT) {
            let Some(element) = fragment.element(id) else {
                continue;
            };
            let attributes = element
                .attributes
                .iter()
                .filter(|attribute| names::declared_prefix(&attribute.name).is_none())
                .map(|attribute| attribute.name.as_str());
            for name in std::iter::once(element.name.as_str()).chain(attributes) {
                let (prefix, _) = names::split(name);
                let known = prefix.is_empty()
                    || fragment.namespace_at(id, prefix).is_some()
                    || self.namespace_at(at, prefix).is_some();
                if !known {
                    return Err(format!("the prefix '{prefix}' of '{name}' is not declared"));
                }
            }
        }
        Ok(())
    }

    /// A copy of another document's node and all below it.
    fn copy(&mut self, from: &Self, id: NodeId) -> NodeId {
        let copy = self.create(from.kind(id).clone(), Origin::Added, 0);
        for child in from.children(id).to_vec() {
            let child = self.copy(from, child);
            self.append(copy, child);
        }
        copy
    }
}
