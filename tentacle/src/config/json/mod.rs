//! Variables into JSON: a value is replaced where it stands and keeps its kind where the new text
//! is one of that kind; nothing is added.
//!
//! The rules are those of Octopus: a number stays a number if the text is one, a boolean likewise,
//! what was a text or null becomes a text; an object or a list takes any JSON value.

mod parse;
mod write;

use std::collections::HashMap;

use self::parse::{Kind, Node};
use super::edits::{Edits, line_end};
use super::settings::Settings;
use super::wanted::{Wanted, join};
use super::{ConfigError, Edited, Refused};

/// The text with every variable in its place.
pub(super) fn replace(source: &str, settings: &Settings) -> Result<Edited, ConfigError> {
    if source.is_empty() {
        return Ok(Edited::default());
    }
    let root = parse::document(source)?;
    let wanted = Wanted::new(settings);
    let mut places = HashMap::new();
    collect(&root, "", &wanted, &mut places);
    let layout = write::Layout::of(source);
    let mut edits = Edits::default();
    let mut edited = Edited::default();
    for setting in settings.iter() {
        let path = super::settings::fold(&setting.name);
        let (Some((name, value)), Some(node)) = (wanted.get(&path), places.get(&path)) else {
            continue;
        };
        match converted(node, value, source, &layout) {
            Ok(text) => {
                edits.replace(node.start..node.end, text);
                edited.set.push(name.to_owned());
            }
            Err(why) => edited.refused.push(Refused {
                name: name.to_owned(),
                why,
            }),
        }
    }
    edited.text = edits.apply(source);
    parse::document(&edited.text).map_err(|error| ConfigError::Broken(error.to_string()))?;
    Ok(edited)
}

/// The values that variables name, by their folded path. Of two with one path the later one counts,
/// as it does for who reads the file.
fn collect<'a>(
    node: &'a Node,
    path: &str,
    wanted: &Wanted<'_>,
    places: &mut HashMap<String, &'a Node>,
) {
    let mut visit = |step: &str, child: &'a Node| {
        let path = join(path, step);
        if !wanted.leads(&path) {
            return;
        }
        if wanted.get(&path).is_some() {
            places.insert(path.clone(), child);
        }
        collect(child, &path, wanted, places);
    };
    match &node.kind {
        Kind::Object(fields) => fields.iter().for_each(|(key, value)| visit(key, value)),
        Kind::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(at, item)| visit(&at.to_string(), item)),
        Kind::Number | Kind::Bool | Kind::Null | Kind::String => {}
    }
}

/// The new text of a value, or why it has none.
fn converted(
    node: &Node,
    value: Option<&str>,
    source: &str,
    layout: &write::Layout,
) -> Result<String, String> {
    let quoted = |text: &str| write::quoted(text);
    match (&node.kind, value) {
        (Kind::Object(_) | Kind::Array(_), Some(text)) => {
            let new = parse::document(text).map_err(|error| {
                format!(
                    "its value is no JSON, which must replace {}: {error}",
                    kind_name(&node.kind)
                )
            })?;
            let indent = write::indent_at(source, node.start);
            Ok(write::node(&new, text, layout, &indent, line_end(source)))
        }
        (Kind::Number, Some(text)) => Ok(number(text).unwrap_or_else(|| quoted(text))),
        (Kind::Bool, Some(text)) => Ok(match text.trim().to_ascii_lowercase().as_str() {
            "true" => "true".to_owned(),
            "false" => "false".to_owned(),
            _ => quoted(text),
        }),
        (Kind::String | Kind::Null, Some(text)) => Ok(quoted(text)),
        (Kind::String | Kind::Null, None) => Ok("null".to_owned()),
        (Kind::Object(_) | Kind::Array(_) | Kind::Number | Kind::Bool, None) => {
            Err(format!("null cannot replace {}", kind_name(&node.kind)))
        }
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Object(_) => "an object",
        Kind::Array(_) => "a list",
        Kind::Number => "a number",
        Kind::Bool => "true or false",
        Kind::Null => "null",
        Kind::String => "a text",
    }
}

/// The text as a number of JSON: as it is written if that is one, else as .NET would read it.
fn number(text: &str) -> Option<String> {
    let trimmed = text.trim();
    if serde_json::from_str::<serde_json::Number>(trimmed).is_ok() {
        return Some(trimmed.to_owned());
    }
    if let Ok(whole) = trimmed.parse::<i64>() {
        return Some(whole.to_string());
    }
    let digits = trimmed.trim_start_matches(['+', '-']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // Thousands may be set apart, before the point only.
    let (before, after) = trimmed.split_at(trimmed.find(['.', 'e', 'E']).unwrap_or(trimmed.len()));
    let number: f64 = format!("{}{after}", before.replace(',', "")).parse().ok()?;
    let value = serde_json::Number::from_f64(number)?;
    Some(value.to_string())
}

#[cfg(test)]
mod tests;
