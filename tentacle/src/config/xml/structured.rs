//! Variables whose names are XPaths, into XML.
//!
//! The rules are those of Octopus: only a name with a slash or a colon is an XPath; an element with
//! elements in it takes markup, another one text; what cannot be set stays, and is told.

use super::super::settings::{Setting, Settings};
use super::super::{ConfigError, Edited, Refused};
use super::escape;
use super::tree::{Document, Kind, NodeId};
use super::xpath::{Blanks, Context, Expression, Item, Prefixes, XPathError};

/// What all variables of a file may cost: as many XPaths are evaluated over a document of this many
/// nodes.
const MAX_WORK: usize = 200_000_000;

/// The text with every variable in its place.
pub(crate) fn replace(source: &str, settings: &Settings) -> Result<Edited, ConfigError> {
    let mut document = Document::parse(source)?;
    let prefixes = document.all_prefixes();
    let mut edited = Edited::default();
    let mut work = 0_usize;
    for setting in settings.iter() {
        work = work.saturating_add(document.len());
        if work > MAX_WORK {
            return Err(ConfigError::Limit(
                "so many XPaths over so large a file take too much work".to_owned(),
            ));
        }
        set(&mut document, &prefixes, setting, &mut edited)?;
    }
    edited.text = document.write(&|_| " ".to_owned());
    Document::parse(&edited.text).map_err(|error| ConfigError::Broken(error.to_string()))?;
    Ok(edited)
}

fn set(
    document: &mut Document,
    prefixes: &Prefixes,
    setting: &Setting,
    edited: &mut Edited,
) -> Result<(), ConfigError> {
    let (name, Some(value)) = (&setting.name, &setting.value) else {
        return Ok(());
    };
    // A plain name would select the outermost element.
    if !name.contains(['/', ':']) {
        return Ok(());
    }
    let found = Expression::parse(name).and_then(|expression| {
        let mut context = Context::new(document, prefixes, Blanks::Unseen);
        expression.select(&mut context, Document::ROOT)
    });
    let items = match found {
        Ok(items) => items,
        // Names of other things look like XPaths, as `Section:Key` does.
        Err(XPathError::Syntax(_) | XPathError::Prefix(_) | XPathError::NoNodes(_)) => {
            return Ok(());
        }
        Err(XPathError::Budget) => {
            return Err(ConfigError::Limit(format!("'{name}' takes too much work")));
        }
    };
    let mut done = false;
    for item in items {
        let outcome = match item {
            Item::Attribute(id, at) => {
                let element = document.element_mut(id);
                if let Some(attribute) = element.and_then(|e| e.attributes.get_mut(at)) {
                    attribute.set(value);
                }
                Ok(())
            }
            Item::Node(id) => set_node(document, id, value),
        };
        match outcome {
            Ok(()) => done = true,
            Err(why) => edited.refused.push(Refused {
                name: name.clone(),
                why,
            }),
        }
    }
    if done {
        edited.set.push(name.clone());
    }
    Ok(())
}

fn set_node(document: &mut Document, id: NodeId, value: &str) -> Result<(), String> {
    match document.kind(id).clone() {
        Kind::Root | Kind::Verbatim(_) => Err("the document itself has no value".to_owned()),
        Kind::Text(_) => {
            document.set_kind(id, Kind::Text(escape::text(value)));
            Ok(())
        }
        Kind::CData(_) => {
            document.set_kind(id, Kind::CData(escape::cdata(value)));
            Ok(())
        }
        Kind::Comment(_) if value.contains("--") || value.ends_with('-') => {
            Err("a comment can hold no '--'".to_owned())
        }
        Kind::Comment(_) => {
            document.set_kind(id, Kind::Comment(value.to_owned()));
            Ok(())
        }
        Kind::Instruction { .. } if value.contains("?>") => {
            Err("an instruction can hold no '?>'".to_owned())
        }
        Kind::Instruction { target, data } => {
            let blank = &data[..data.len() - data.trim_start().len()];
            let blank = if blank.is_empty() { " " } else { blank };
            let data = format!("{blank}{value}");
            document.set_kind(id, Kind::Instruction { target, data });
            Ok(())
        }
        Kind::Element(_) => set_element(document, id, value),
    }
}

fn set_element(document: &mut Document, id: NodeId, value: &str) -> Result<(), String> {
    let children: Vec<NodeId> = document
        .children(id)
        .iter()
        .filter(|child| !document.is_blank(**child))
        .copied()
        .collect();
    if let [only] = children[..]
        && matches!(document.kind(only), Kind::CData(_))
    {
        document.set_kind(only, Kind::CData(escape::cdata(value)));
        return Ok(());
    }
    if children
        .iter()
        .any(|child| document.element(*child).is_some())
    {
        return document.set_markup(id, value).map_err(|error| {
            format!("its value is no markup, which must replace elements: {error}")
        });
    }
    document.set_text(id, value);
    Ok(())
}
