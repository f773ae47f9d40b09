//! Which variables an action gets: what its inputs reach, what its script may look up, and of the
//! secrets only those that it uses.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::effective::{Effective, EffectiveSet, EffectiveValue};
use crate::action;
use crate::process::{Action, SecretAccess};

/// The inputs of an action that are templates, as texts.
pub fn input_texts(action: &Action) -> Vec<&str> {
    let substitutes = substitutes(&action.with);
    let literal = action::literal_inputs(&action.uses, substitutes);
    let mut texts = Vec::new();
    for (key, value) in &action.with {
        if !literal.contains(&key.as_str()) {
            collect(value, &mut texts);
        }
    }
    texts
}

/// A script asks for its text to be substituted; a template that may say so counts as yes.
pub fn substitutes(with: &Map<String, Value>) -> bool {
    with.get("substitute").is_some_and(|value| match value {
        Value::Bool(flag) => *flag,
        Value::Null => false,
        _ => true,
    })
}

fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(map) => map.values().for_each(|item| collect(item, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The variables for an action, in the set's order.
///
/// `scanned` are the names found in its scripts and files when the release was created. A variable
/// that is no secret but reaches one that the action does not use is left out: it could not be
/// evaluated, and its absence says so where it is looked up.
pub fn variables_for<'a>(
    action: &Action,
    set: &'a EffectiveSet,
    scanned: Option<&BTreeSet<String>>,
) -> Vec<&'a Effective> {
    let mut reached = set.closure(input_texts(action));
    let mut named: BTreeSet<&str> = scanned.into_iter().flatten().map(String::as_str).collect();
    let mut every_secret = false;
    match &action.secrets {
        SecretAccess::Named(names) => named.extend(names.iter().map(String::as_str)),
        SecretAccess::All => every_secret = true,
    }
    for name in named {
        if let Some(variable) = set.get(name) {
            reached.insert(variable.name.clone());
            if let EffectiveValue::Text(text) = &variable.value {
                reached.extend(set.closure([text.as_str()]));
            }
        }
    }
    let all = action::sees_all_variables(action);
    set.iter()
        .filter(|variable| {
            if reached.contains(&variable.name) {
                return true;
            }
            match &variable.value {
                EffectiveValue::Text(text) => {
                    all && (every_secret || reaches_only(set, text, &reached))
                }
                _ => every_secret,
            }
        })
        .collect()
}

/// Whether a text reaches no secret but those in `granted`.
fn reaches_only(set: &EffectiveSet, text: &str, granted: &BTreeSet<String>) -> bool {
    if !text.contains("#{") {
        return true;
    }
    set.closure([text]).iter().all(|name| {
        granted.contains(name)
            || set
                .get(name)
                .is_none_or(|variable| !variable.value.is_secret())
    })
}
