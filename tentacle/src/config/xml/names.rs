//! Names of XML, and what their prefixes mean.

use super::tree::{Document, NodeId};

/// What `xml:` always means.
pub(super) const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// Prefix and local part.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// The prefix that an attribute declares; `Some("")` for the default.
pub(super) fn declared_prefix(attribute: &str) -> Option<&str> {
    if attribute == "xmlns" {
        Some("")
    } else {
        attribute.strip_prefix("xmlns:")
    }
}

/// First character of a name.
pub(super) fn is_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == ':'
}

/// Any further one.
pub(super) fn is_part(c: char) -> bool {
    is_start(c) || c.is_alphanumeric() || matches!(c, '-' | '.' | '\u{b7}')
}

impl Document {
    /// What a prefix means at an element; the default namespace for "". Nothing declared is "".
    pub(crate) fn namespace_at(&self, element: NodeId, prefix: &str) -> Option<String> {
        if prefix == "xml" {
            return Some(XML_NAMESPACE.to_owned());
        }
        let mut at = Some(element);
        while let Some(id) = at {
            if let Some(element) = self.element(id) {
                let found = element
                    .attributes
                    .iter()
                    .find(|attribute| declared_prefix(&attribute.name) == Some(prefix));
                if let Some(attribute) = found {
                    return Some(attribute.value());
                }
            }
            at = self.parent(id);
        }
        prefix.is_empty().then(String::new)
    }

    /// The namespace of an element.
    pub(crate) fn namespace(&self, element: NodeId) -> String {
        let prefix = self.element(element).map_or("", |e| split(&e.name).0);
        self.namespace_at(element, prefix).unwrap_or_default()
    }

    /// The namespace of an attribute by its name; without a prefix it has none.
    pub(crate) fn attribute_namespace(&self, element: NodeId, name: &str) -> String {
        let (prefix, _) = split(name);
        if prefix.is_empty() {
            return String::new();
        }
        self.namespace_at(element, prefix).unwrap_or_default()
    }

    /// Every prefix that is declared in the document, of two with one prefix the first one.
    pub(crate) fn all_prefixes(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for id in self.descendants(Self::ROOT) {
            for attribute in self.element(id).map_or(&[][..], |e| &e.attributes) {
                if let Some(prefix) = declared_prefix(&attribute.name)
                    && !prefix.is_empty()
                    && !found.iter().any(|(known, _)| known == prefix)
                {
                    found.push((prefix.to_owned(), attribute.value()));
                }
            }
        }
        found
    }

    /// The prefixes that hold at an element, the innermost first, the default as "".
    pub(crate) fn prefixes_at(&self, element: NodeId) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut at = Some(element);
        while let Some(id) = at {
            for attribute in self.element(id).map_or(&[][..], |e| &e.attributes) {
                if let Some(prefix) = declared_prefix(&attribute.name)
                    && !found.iter().any(|(known, _)| known == prefix)
                {
                    found.push((prefix.to_owned(), attribute.value()));
                }
            }
            at = self.parent(id);
        }
        found
    }
}
