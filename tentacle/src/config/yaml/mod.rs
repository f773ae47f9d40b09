//! Variables into YAML: a value is replaced where it stands and keeps the way it is written.
//!
//! The rules are those of Octopus: a scalar stays one in its own style (plain, quoted, block) as far
//! as that can hold the new text; a mapping or sequence takes any YAML, laid out as the file is; null
//! becomes `null`. A document whose first comment is `# patch: NAME` also takes the values of the
//! YAML that the variable NAME holds. Comments, anchors and documents beside each other stay.

mod analyse;
mod edit;
mod fragment;
mod parse;
mod scalar;
mod value;

use self::parse::{Content, Document, Node};
pub(super) use self::value::value;
use super::edits::Edits;
use super::settings::Settings;
use super::wanted::{Wanted, join};
use super::{ConfigError, Edited};

/// The text with every variable in its place.
pub(super) fn replace(source: &str, settings: &Settings) -> Result<Edited, ConfigError> {
    let documents = parse::documents(source)?;
    let wanted = Wanted::new(settings);
    let layout = edit::Layout::of(source, &documents);
    let mut edits = Edits::default();
    let mut edited = Edited::default();
    for document in &documents {
        let (name, patch) = patch(source, document, settings)?.unzip();
        edited.set.extend(name);
        let patch = patch.unwrap_or_default();
        let wanted = wanted.with(&patch);
        let mut walk = Walk {
            wanted: &wanted,
            layout: &layout,
            edits: &mut edits,
            set: &mut edited.set,
        };
        if let Some(root) = &document.root {
            walk.below(root, "", &edit::Place::root());
        }
    }
    edited.text = edits.apply(source);
    parse::documents(&edited.text).map_err(|error| ConfigError::Broken(error.to_string()))?;
    Ok(edited)
}

/// A variable's name, and the paths and values of the YAML that it holds.
type Patch = (String, Vec<(String, String)>);

/// The variable that a document names in its first comment, and the paths and values that it holds.
fn patch(
    source: &str,
    document: &Document,
    settings: &Settings,
) -> Result<Option<Patch>, ConfigError> {
    let Some((at, comment)) = &document.first_comment else {
        return Ok(None);
    };
    let name = comment.trim_start().strip_prefix("patch:").map(str::trim);
    let setting = name.and_then(|name| settings.get(name));
    let Some((name, value)) = setting.and_then(|s| Some((&s.name, s.value.as_deref()?))) else {
        return Ok(None);
    };
    let found = parse::documents(value).map_err(|error| {
        let what = format!("the variable that this comment names holds no YAML: {error}");
        ConfigError::syntax(super::Format::Yaml, source, *at, what)
    })?;
    let mut values = Vec::new();
    for root in found.iter().filter_map(|document| document.root.as_ref()) {
        flatten(root, "", &mut values);
    }
    Ok(Some((name.clone(), values)))
}

fn flatten(node: &Node, path: &str, values: &mut Vec<(String, String)>) {
    let step = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}:{key}"),
    };
    match &node.content {
        Content::Scalar { value, .. } => values.push((path.to_owned(), value.clone())),
        Content::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(item, &step(&at.to_string()), values);
            }
        }
        Content::Mapping(pairs) => {
            for (key, value) in pairs {
                if let Content::Scalar { value: key, .. } = &key.content {
                    flatten(value, &step(key), values);
                }
            }
        }
        Content::Empty | Content::Alias => {}
    }
}

struct Walk<'a> {
    wanted: &'a Wanted<'a>,
    layout: &'a edit::Layout<'a>,
    edits: &'a mut Edits,
    set: &'a mut Vec<String>,
}

impl Walk<'_> {
    /// Replaces what is named below a node.
    fn below(&mut self, node: &Node, path: &str, place: &edit::Place) {
        match &node.content {
            Content::Sequence(items) => {
                let place = place.inside(node, self.layout);
                for (at, item) in items.iter().enumerate() {
                    self.visit(item, &join(path, &at.to_string()), &place.item());
                }
            }
            Content::Mapping(pairs) => {
                let place = place.inside(node, self.layout);
                // Of two keys that differ in case only, both are meant.
                for (key, value) in pairs {
                    if let Content::Scalar { value: key, .. } = &key.content {
                        self.visit(value, &join(path, key), &place.value());
                    }
                }
            }
            Content::Scalar { .. } | Content::Empty | Content::Alias => {}
        }
    }

    fn visit(&mut self, node: &Node, path: &str, place: &edit::Place) {
        if !self.wanted.leads(path) {
            return;
        }
        match (self.wanted.get(path), &node.content) {
            // An alias is written elsewhere.
            (_, Content::Alias) => {}
            (Some((name, value)), Content::Scalar { .. } | Content::Empty) => {
                edit::scalar(node, value, place, self.layout, self.edits);
                self.set.push(name.to_owned());
            }
            (Some((name, value)), Content::Sequence(_) | Content::Mapping(_)) => {
                edit::structure(node, value, place, self.layout, self.edits);
                self.set.push(name.to_owned());
            }
            (None, _) => self.below(node, path, place),
        }
    }
}

/// For tests and patches: every scalar of a text by its path.
#[cfg(test)]
fn values(source: &str) -> std::collections::HashMap<String, String> {
    let mut found = Vec::new();
    for document in parse::documents(source).unwrap() {
        if let Some(root) = &document.root {
            flatten(root, "", &mut found);
        }
    }
    found
        .into_iter()
        .map(|(path, value)| (super::settings::fold(&path), value))
        .collect()
}

#[cfg(test)]
mod tests;
