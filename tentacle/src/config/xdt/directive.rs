//! What an element of a transform asks for: `xdt:Transform` and `xdt:Locator`.

use super::super::Position;
use super::super::xml::{Attribute, Document, NodeId};
use super::{Message, NAMESPACE};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    Replace,
    Remove,
    RemoveAll,
    Insert,
    InsertIfMissing,
    InsertBefore,
    InsertAfter,
    SetAttributes,
    RemoveAttributes,
}

impl Transform {
    const ALL: [Self; 9] = [
        Self::Replace,
        Self::Remove,
        Self::RemoveAll,
        Self::Insert,
        Self::InsertIfMissing,
        Self::InsertBefore,
        Self::InsertAfter,
        Self::SetAttributes,
        Self::RemoveAttributes,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replace => "Replace",
            Self::Remove => "Remove",
            Self::RemoveAll => "RemoveAll",
            Self::Insert => "Insert",
            Self::InsertIfMissing => "InsertIfMissing",
            Self::InsertBefore => "InsertBefore",
            Self::InsertAfter => "InsertAfter",
            Self::SetAttributes => "SetAttributes",
            Self::RemoveAttributes => "RemoveAttributes",
        }
    }

    /// Whether it works on the parent of what is located.
    pub(super) fn inserts(self) -> bool {
        match self {
            Self::Insert | Self::InsertIfMissing | Self::InsertBefore | Self::InsertAfter => true,
            Self::Replace
            | Self::Remove
            | Self::RemoveAll
            | Self::SetAttributes
            | Self::RemoveAttributes => false,
        }
    }
}

/// A transform with what stands in its parentheses.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) what: Transform,
    pub(super) arguments: Vec<String>,
    /// Where it stands.
    pub(super) position: Position,
}

impl Directive {
    /// The transform of an element, if it has one.
    pub(super) fn transform(rules: &Document, id: NodeId) -> Result<Option<Self>, Message> {
        let Some(attribute) = own(rules, id, "Transform") else {
            return Ok(None);
        };
        let position = rules.position_of(attribute.start);
        let fail = |text: String| Message { position, text };
        let (name, arguments) = parse(&attribute.value()).map_err(fail)?;
        let what = Transform::ALL
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Transform::ALL.iter().map(|known| known.name()).collect();
                fail(format!(
                    "'{name}' is no transform; there are {}",
                    names.join(", ")
                ))
            })?;
        Ok(Some(Self {
            what,
            arguments: arguments.map(|text| split(&text)).unwrap_or_default(),
            position,
        }))
    }
}

/// An attribute of the transform's namespace.
pub(super) fn own<'a>(rules: &'a Document, id: NodeId, local: &str) -> Option<&'a Attribute> {
    let element = rules.element(id)?;
    element.attributes.iter().find(|attribute| {
        attribute.name.ends_with(&format!(":{local}"))
            && rules.attribute_namespace(id, &attribute.name) == NAMESPACE
    })
}

/// Whether warnings are wanted; the name is misspelt in the original.
pub(super) fn is_quiet(rules: &Document, id: NodeId) -> Option<bool> {
    let value = own(rules, id, "SupressWarnings")?.value();
    Some(value.trim().eq_ignore_ascii_case("true"))
}

/// `Name` or `Name(arguments)`.
pub(super) fn parse(value: &str) -> Result<(String, Option<String>), String> {
    let wrong = || {
        format!("'{value}' is neither a name nor a name with something in parentheses behind it")
    };
    let value = value.trim();
    let end = value
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(value.len());
    let (name, rest) = value.split_at(end);
    if name.is_empty() {
        return Err(wrong());
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok((name.to_owned(), None));
    }
    let inside = rest
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(wrong)?;
    let arguments = (!inside.is_empty()).then(|| inside.to_owned());
    Ok((name.to_owned(), arguments))
}

/// Arguments by commas that stand in no parentheses.
pub(super) fn split(text: &str) -> Vec<String> {
    if !text.contains(',') {
        return vec![text.to_owned()];
    }
    let mut found = Vec::new();
    let mut current = String::new();
    let mut depth = 0_i64;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            found.push(std::mem::take(&mut current));
        } else {
            current.push(c);
        }
    }
    found.push(current);
    found.iter().map(|part| part.trim().to_owned()).collect()
}
