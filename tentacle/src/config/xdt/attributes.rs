//! The blanks between attributes when some came and some went: those that stay keep theirs, new
//! ones follow the custom of the tag.

use std::collections::HashMap;

use super::super::xml::tree::Origin;
use super::super::xml::{Attribute, Element};

/// How a tag was laid out when it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Tag {
    /// The names of its attributes, in order.
    ordered: Vec<String>,
    /// The blank before each.
    spaces: HashMap<String, String>,
    /// What stood before its end, if it was read.
    trailing: Option<String>,
}

impl Tag {
    pub(super) fn of(element: &Element, origin: Origin) -> Self {
        match origin {
            Origin::Added => Self::default(),
            Origin::Read => Self {
                ordered: names(element),
                spaces: element
                    .attributes
                    .iter()
                    .filter_map(|attribute| {
                        Some((attribute.name.clone(), attribute.leading.clone()?))
                    })
                    .collect(),
                trailing: Some(element.trailing.clone()),
            },
        }
    }

    /// Whether each attribute stands on a line of its own. A tag of one attribute counts as such,
    /// as it does in the original.
    fn one_a_line(&self) -> bool {
        let known = self.spaces.len() + usize::from(self.trailing.is_some());
        known > 1
            && self.ordered.iter().skip(1).all(|name| {
                let space = self.spaces.get(name);
                space.is_none_or(|space| space.contains('\n'))
            })
    }

    /// A blank of it that breaks the line.
    fn line_break(&self) -> Option<String> {
        let spaces = self.ordered.iter().filter_map(|name| self.spaces.get(name));
        spaces
            .chain(&self.trailing)
            .find(|space| space.contains('\n'))
            .cloned()
    }

    /// Lays the attributes out anew. `indent` gives the line break of new attributes where the tag
    /// has none itself; what is returned is the one that was taken, if one was needed.
    pub(super) fn lay_out(
        mut self,
        element: &mut Element,
        mut indent: impl FnMut() -> String,
    ) -> Option<String> {
        if element.attributes.is_empty() {
            if !self.ordered.is_empty() {
                element.trailing.clear();
            }
            return None;
        }
        let present = names(element);
        for name in &present {
            if !self.ordered.contains(name) {
                self.ordered.push(name.clone());
            }
        }
        let mut taken: Option<String> = None;
        let mut custom: Option<bool> = None;
        let mut first = true;
        let mut kept: Option<String> = None;
        for name in self.ordered.clone() {
            let exists = present.contains(&name);
            if !exists {
                // The blank before the first one stays, and of others one that breaks the line.
                if let Some(space) = self.spaces.remove(&name)
                    && ((first && kept.is_none()) || (!first && space.contains('\n')))
                {
                    kept = Some(space);
                }
            } else if let Some(space) = kept.take() {
                let own = self.spaces.get(&name);
                if first || own.is_none_or(|own| !own.contains('\n')) {
                    self.spaces.insert(name.clone(), space);
                }
            } else if !self.spaces.contains_key(&name) {
                if first {
                    self.spaces.insert(name.clone(), " ".to_owned());
                } else {
                    let one_a_line = *custom.get_or_insert_with(|| self.one_a_line());
                    let line_break = taken
                        .get_or_insert_with(|| self.line_break().unwrap_or_else(&mut indent))
                        .clone();
                    if one_a_line {
                        self.spaces.insert(name.clone(), line_break);
                    }
                }
            }
            first = first && !exists;
        }
        let mut old = std::mem::take(&mut element.attributes);
        for name in &self.ordered {
            if let Some(at) = old.iter().position(|attribute| attribute.name == *name) {
                let mut attribute: Attribute = old.remove(at);
                attribute.leading = self.spaces.get(name).cloned();
                element.attributes.push(attribute);
            }
        }
        taken
    }
}

fn names(element: &Element) -> Vec<String> {
    let names = element.attributes.iter().map(|attribute| &attribute.name);
    names.cloned().collect()
}

/// A blank between the attributes of an element that breaks the line.
pub(super) fn line_break(element: &Element) -> Option<String> {
    let spaces = element
        .attributes
        .iter()
        .filter_map(|attribute| attribute.leading.clone());
    spaces
        .chain(std::iter::once(element.trailing.clone()))
        .find(|space| space.contains('\n'))
}
