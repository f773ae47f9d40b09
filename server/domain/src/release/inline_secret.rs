//! Secrets that stand in an action's inputs as `{ secret: PATH }` rather than in a variable.
//!
//! In a release they are ordinary variables, so that they are pinned, granted and masked like every
//! other secret: the input becomes a template, and the variable is added to the snapshot. The name
//! begins like Octopus's system variables and is none of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const PREFIX: &str = "Octopus.Secret[";

/// The variable that holds the secret of this path.
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{path}]")
}

/// Whether a variable is one of these.
pub fn is_one(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The template that stands for the secret of this path.
pub fn template(path: &str) -> String {
    format!("#{{{}}}", variable(path))
}

/// Replaces each `{ secret: PATH }` by its template and returns the paths.
pub fn replace(with: &mut Map<String, Value>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for value in with.values_mut() {
        replace_in(value, &mut paths);
    }
    paths
}

fn replace_in(value: &mut Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if map.len() == 1
                && let Some(Value::String(path)) = map.get("secret")
            {
                let text = template(path);
                paths.insert(path.clone());
                *value = Value::String(text);
                return;
            }
            for inner in map.values_mut() {
                replace_in(inner, paths);
            }
        }
        Value::Array(items) => {
            for inner in items {
                replace_in(inner, paths);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
