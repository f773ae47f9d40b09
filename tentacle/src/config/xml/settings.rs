//! Variables into the settings of a .NET configuration file: the value of the setting that has a
//! variable's name.

use super::super::settings::{Settings, fold};
use super::super::{ConfigError, Edited};
use super::names;
use super::tree::{Attribute, Document, Element, Kind, NodeId, Origin};

/// The text with every variable in its place.
pub(crate) fn replace(source: &str, settings: &Settings) -> Result<Edited, ConfigError> {
    let mut document = Document::parse(source)?;
    let places = places(&document);
    let mut edited = Edited::default();
    for setting in settings.iter() {
        let value = setting.value.as_deref().unwrap_or_default();
        let mut done = false;
        for place in places
            .iter()
            .filter(|place| place.name == fold(&setting.name))
        {
            match place.value {
                Value::Attribute(name) => set_attribute(&mut document, place.id, name, value),
                Value::Element => set_value(&mut document, place.id, value),
            }
            done = true;
        }
        if done {
            edited.set.push(setting.name.clone());
        }
    }
    edited.text = document.write(&|_| " ".to_owned());
    Document::parse(&edited.text).map_err(|error| ConfigError::Broken(error.to_string()))?;
    Ok(edited)
}

/// Where a setting keeps its value.
#[derive(Debug, Clone, Copy)]
enum Value {
    Attribute(&'static str),
    Element,
}

#[derive(Debug)]
struct Place {
    id: NodeId,
    name: String,
    value: Value,
}

fn local(document: &Document, id: NodeId) -> &str {
    document
        .element(id)
        .map_or("", |element| names::split(&element.name).1)
}

fn places(document: &Document) -> Vec<Place> {
    let mut found = Vec::new();
    let mut add = |id: NodeId, key: &str, value: Value| {
        if let Some(name) = document.element(id).and_then(|e| e.attribute(key)) {
            found.push(Place {
                id,
                name: fold(&name.value()),
                value,
            });
        }
    };
    for section in document.descendants(Document::ROOT) {
        let adds = || {
            let children = document.children(section).iter();
            children.filter(|id| local(document, **id) == "add")
        };
        match local(document, section) {
            "appSettings" => adds().for_each(|id| add(*id, "key", Value::Attribute("value"))),
            "connectionStrings" => {
                adds().for_each(|id| add(*id, "name", Value::Attribute("connectionString")));
            }
            "applicationSettings" => document
                .descendants(section)
                .into_iter()
                .filter(|id| local(document, *id) == "setting")
                .for_each(|id| add(id, "name", Value::Element)),
            _ => {}
        }
    }
    found
}

fn set_attribute(document: &mut Document, id: NodeId, name: &str, value: &str) {
    let Some(element) = document.element_mut(id) else {
        return;
    };
    match element.attribute_mut(name) {
        Some(attribute) => attribute.set(value),
        None => element.attributes.push(Attribute::new(name, value)),
    }
}

fn set_value(document: &mut Document, id: NodeId, value: &str) {
    let children = document.children(id).to_vec();
    let found = children
        .iter()
        .find(|child| local(document, **child) == "value")
        .copied();
    if let Some(child) = found {
        document.set_text(child, value);
        return;
    }
    let element = Element {
        name: "value".to_owned(),
        ..Element::default()
    };
    let child = document.create(Kind::Element(element), Origin::Added, 0);
    document.append(id, child);
    document.set_text(child, value);
}
