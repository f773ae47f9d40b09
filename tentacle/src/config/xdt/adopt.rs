//! Elements and attributes of the transform, made ones of the file: without what is the
//! transform's, and with the prefixes of the place to which they go.

use super::super::xml::tree::Origin;
use super::super::xml::{Attribute, Document, Element, Kind, NodeId};
use super::{Engine, NAMESPACE};

/// An attribute of the transform.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: String,
    namespace: String,
    value: String,
}

fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

impl Engine<'_> {
    /// The attributes of a transform's element that are not the transform's own.
    pub(super) fn given(&self, rule: NodeId) -> Vec<Given> {
        let Some(element) = self.rules.element(rule) else {
            return Vec::new();
        };
        element
            .attributes
            .iter()
            .filter(|attribute| attribute.name != "xmlns" && !attribute.name.starts_with("xmlns:"))
            .map(|attribute| Given {
                name: attribute.name.clone(),
                namespace: self.rules.attribute_namespace(rule, &attribute.name),
                value: attribute.value(),
            })
            .filter(|given| given.namespace != NAMESPACE)
            .collect()
    }

    /// Gives an element of the file an attribute, or another value for it.
    pub(super) fn set_attribute(&mut self, id: NodeId, given: &Given) {
        let name = self.attribute_name(id, given);
        let Some(element) = self.target.element_mut(id) else {
            return;
        };
        match element.attribute_mut(&name) {
            Some(attribute) => attribute.set(&given.value),
            None => element.attributes.push(Attribute::new(&name, &given.value)),
        }
    }

    /// The name of an attribute at an element of the file; declares a prefix where none is.
    fn attribute_name(&mut self, id: NodeId, given: &Given) -> String {
        let (prefix, local) = split(&given.name);
        if given.namespace.is_empty() || prefix == "xml" {
            return given.name.clone();
        }
        let known = self.target.prefixes_at(id);
        let found = known
            .iter()
            .find(|(prefix, namespace)| !prefix.is_empty() && *namespace == given.namespace);
        if let Some((prefix, _)) = found {
            return format!("{prefix}:{local}");
        }
        self.declare(id, prefix, &given.namespace);
        format!("{prefix}:{local}")
    }

    fn declare(&mut self, id: NodeId, prefix: &str, namespace: &str) {
        let name = if prefix.is_empty() {
            "xmlns".to_owned()
        } else {
            format!("xmlns:{prefix}")
        };
        if let Some(element) = self.target.element_mut(id) {
            element.attributes.push(Attribute::new(&name, namespace));
        }
    }

    /// Puts a copy of a transform's element among the children of one of the file.
    pub(super) fn adopt(&mut self, rule: NodeId, parent: NodeId, at: usize) {
        let rules: &Document = self.rules;
        let Some(element) = rules.element(rule) else {
            return;
        };
        let namespace = rules.namespace(rule);
        let (prefix, local) = split(&element.name);
        let known = self.target.prefixes_at(parent);
        let default = known
            .iter()
            .find(|(prefix, _)| prefix.is_empty())
            .map_or("", |(_, namespace)| namespace.as_str());
        let in_scope = if namespace.is_empty() {
            default.is_empty().then_some("")
        } else {
            known
                .iter()
                .find(|(_, known)| *known == namespace)
                .map(|(prefix, _)| prefix.as_str())
        };
        let used = in_scope.unwrap_or(prefix);
        let name = if used.is_empty() {
            local.to_owned()
        } else {
            format!("{used}:{local}")
        };
        let copy = Element {
            name,
            empty: element.empty,
            ..Element::default()
        };
        let id = self.target.create(Kind::Element(copy), Origin::Added, 0);
        self.target.insert(parent, at, id);
        for given in self.given(rule) {
            self.set_attribute(id, &given);
        }
        if in_scope.is_none() {
            self.declare(id, prefix, &namespace);
        }
        for child in rules.children(rule).to_vec() {
            match rules.kind(child) {
                Kind::Element(_) => self.adopt(child, id, usize::MAX),
                Kind::Text(_) if rules.is_blank(child) => {}
                Kind::Text(_) | Kind::CData(_) | Kind::Comment(_) | Kind::Instruction { .. } => {
                    let kind = rules.kind(child).clone();
                    let child = self.target.create(kind, Origin::Added, 0);
                    self.target.append(id, child);
                }
                Kind::Root | Kind::Verbatim(_) => {}
            }
        }
    }
}
