//! Which variables an action gets: what its inputs reach, what its script may look up, and of the
//! secrets only those that it uses.

use std::collections::BTreeSet;

use mantle_template::{References, references};
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

/// What an action gets, and what it must not look up; each in the set's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares<'a> {
    /// The variables that it gets.
    pub given: Vec<&'a Effective>,
    /// The secrets that it does not use, and the variables that reach one of them. Empty for an
    /// action that looks nothing up by name.
    pub withheld: Vec<&'a Effective>,
}

/// Shares out the variables of a set to an action.
///
/// `scanned` are the names found in its scripts and files when the release was created. A variable
/// that is no secret but reaches one that the action does not use is left out: it could not be
/// evaluated, and a look-up of it fails like that of the secret.
pub fn variables_for<'a>(
    action: &Action,
    set: &'a EffectiveSet,
    scanned: Option<&BTreeSet<String>>,
) -> Shares<'a> {
    let mut reached = set.closure(input_texts(action));
    let mut named: BTreeSet<&str> = scanned.into_iter().flatten().map(String::as_str).collect();
    named.extend(action::told_by(action));
    let mut every_secret = false;
    match &action.secrets {
        SecretAccess::Named(names) => named.extend(names.iter().map(String::as_str)),
        SecretAccess::All => every_secret = true,
    }
    for name in named {
        if let Some(variable) = set.get(name) {
            reached.insert(variable.name.clone());
            if let EffectiveValue::Text(text) = &variable.value {
                reached.extend(set.closure([&**text]));
            }
        }
    }
    let all = action::sees_all_variables(action);
    let blocked = if all && !every_secret {
        blocked(set, &reached)
    } else {
        BTreeSet::new()
    };
    let mut shares = Shares::default();
    for variable in set.iter() {
        let seen = match &variable.value {
            EffectiveValue::Text(_) => all && !blocked.contains(variable.name.as_str()),
            EffectiveValue::Secret(_)
            | EffectiveValue::Sealed { .. }
            | EffectiveValue::Unpinned(_) => every_secret,
        };
        if seen || reached.contains(&variable.name) {
            shares.given.push(variable);
        } else if all {
            shares.withheld.push(variable);
        }
    }
    shares
}

/// The secrets that are not granted, and the variables that reach one of them through any number
/// of others.
fn blocked<'a>(set: &'a EffectiveSet, granted: &BTreeSet<String>) -> BTreeSet<&'a str> {
    let mut blocked: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<(&str, References)> = Vec::new();
    for variable in set.iter() {
        match &variable.value {
            EffectiveValue::Text(text) if text.contains("#{") => {
                open.push((&variable.name, references(text)));
            }
            EffectiveValue::Text(_) => {}
            _ if granted.contains(&variable.name) => {}
            _ => {
                blocked.insert(&variable.name);
            }
        }
    }
    // Each round but the last blocks one more, so this ends.
    loop {
        let before = open.len();
        open.retain(|(name, references)| {
            let reaches = blocked.iter().any(|other| references.reaches(other));
            if reaches {
                blocked.insert(name);
            }
            !reaches
        });
        if open.len() == before {
            return blocked;
        }
    }
}
