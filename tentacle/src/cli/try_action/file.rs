//! The file of one action: the part of a process that an agent gets to see.

use std::path::Path;

use mantle_shared::inputs;
use serde_json::{Map, Value};

use super::super::{EXIT_INVALID, EXIT_NOT_FOUND, EXIT_REFUSED, Failure, warn};
use crate::actions;
use crate::config::{self, file};

/// What an action has where its file does not say.
const TIMEOUT_MS: u64 = 60 * 60 * 1000;
const GRACE_MS: u64 = 10 * 1000;
/// Keys of an action that the server heeds.
const OF_THE_SERVER: &[&str] = &[
    "run",
    "when",
    "run_on",
    "retries",
    "locks",
    "secrets",
    "disabled",
    "description",
];

/// One action.
#[derive(Debug)]
pub(super) struct ActionFile {
    pub(super) name: String,
    pub(super) uses: String,
    pub(super) with: Map<String, Value>,
    pub(super) timeout_ms: u64,
    pub(super) grace_ms: u64,
}

impl ActionFile {
    /// Reads it, and refuses what cannot be done here.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let bytes = file::read(path).map_err(|error| match error {
            file::FileError::Missing(_) => Failure::new(EXIT_NOT_FOUND, error.to_string()),
            other => Failure::from_error(EXIT_INVALID, &other),
        })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Failure::new(EXIT_INVALID, format!("{name}: it is not UTF-8")))?;
        let value = config::yaml_value(text)
            .map_err(|error| Failure::new(EXIT_INVALID, error.in_file(&name)))?;
        let action =
            Self::of(value).map_err(|why| Failure::new(EXIT_INVALID, format!("{name}: {why}")))?;
        action.possible_here()?;
        Ok(action)
    }

    fn of(value: Value) -> Result<Self, String> {
        let map = match value {
            Value::Object(map) if map.contains_key("process") => {
                return Err(
                    "this is a file of a project; copy one action of it into a file of its own"
                        .to_owned(),
                );
            }
            Value::Object(map) => map,
            Value::Array(mut items) if items.len() == 1 => match items.pop() {
                Some(Value::Object(map)) => map,
                _ => return Err(SHAPE.to_owned()),
            },
            _ => return Err(SHAPE.to_owned()),
        };
        let mut action = Self {
            name: "try".to_owned(),
            uses: String::new(),
            with: Map::new(),
            timeout_ms: TIMEOUT_MS,
            grace_ms: GRACE_MS,
        };
        for (key, value) in map {
            action.take(&key, value)?;
        }
        if action.uses.is_empty() {
            return Err(format!("'uses' is missing; {SHAPE}"));
        }
        if let Some(key) = secret_below(&action.with) {
            return Err(format!(
                "with.{key}: secrets are on the server; write \"#{{NAME}}\" in its place, and give NAME with --variables and --sensitive"
            ));
        }
        Ok(action)
    }

    fn take(&mut self, key: &str, value: Value) -> Result<(), String> {
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            other => Err(format!("'{key}' is to be a text, not {other}")),
        };
        let time = |value: Value| {
            let text = text(value)?;
            inputs::duration_ms(&text).ok_or_else(|| {
                format!("'{key}' is '{text}', which is no length of time; write one like 30s, 10m or 1h30m")
            })
        };
        match key {
            "action" | "step" => self.name = text(value)?,
            "uses" => self.uses = text(value)?,
            "timeout" => self.timeout_ms = time(value)?,
            "grace" => self.grace_ms = time(value)?,
            "with" => {
                self.with = match value {
                    Value::Object(map) => map,
                    Value::Null => Map::new(),
                    other => return Err(format!("'with' is to be a map of inputs, not {other}")),
                }
            }
            key if OF_THE_SERVER.contains(&key) => {
                warn(&format!(
                    "'{key}' is heeded by the server alone and means nothing here"
                ));
            }
            key => return Err(format!("an action has no '{key}'; {SHAPE}")),
        }
        Ok(())
    }

    /// What needs a server, or an agent that has been given something by one, is refused.
    fn possible_here(&self) -> Result<(), Failure> {
        let known = actions::REGISTRY.iter().map(|action| action.name());
        let known: Vec<&str> = known.collect();
        if !known.contains(&self.uses.as_str()) {
            let why = format!(
                "'{}' is nothing that this agent does by itself; it does: {}. What the server does is tried with it: type 'mantle plan PROJECT VERSION -e ENVIRONMENT'",
                self.uses,
                known.join(", ")
            );
            return Err(Failure::new(EXIT_REFUSED, why));
        }
        if self.with.get("package").is_some_and(|id| !id.is_null()) {
            let why = match self.uses.as_str() {
                "script" => "a file of a package comes from a server; put the script's text under 'run', or deploy it: type 'mantle deploy PROJECT VERSION -e ENVIRONMENT --target NAME'".to_owned(),
                uses => format!(
                    "'{uses}' needs a package, which comes from a server; deploy it to one target: type 'mantle deploy PROJECT VERSION -e ENVIRONMENT --target NAME'. What it writes into files is tried with 'tentacle config apply', 'transform' and 'substitute'"
                ),
            };
            return Err(Failure::new(EXIT_REFUSED, why));
        }
        Ok(())
    }
}

const SHAPE: &str = "write one action, such as {uses: script, with: {run: date}}";

/// Where `{ secret: PATH }` stands.
fn secret_below(map: &Map<String, Value>) -> Option<String> {
    map.iter().find_map(|(key, value)| match value {
        Value::Object(inner) if inner.len() == 1 && inner.contains_key("secret") => {
            Some(key.clone())
        }
        Value::Object(inner) => secret_below(inner).map(|below| format!("{key}.{below}")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_is_read_strictly_and_what_is_not_meant_says_what_would_be() {
        let action = ActionFile::of(json!([{"action": "A", "uses": "script", "with": {"run": "x"}, "timeout": "2m", "retries": 1}])).unwrap();
        assert_eq!((action.name.as_str(), action.timeout_ms), ("A", 120_000));
        for (value, why) in [
            (json!({"process": []}), "a file of a project"),
            (json!("x"), "write one action"),
            (json!([]), "write one action"),
            (json!({"with": {}}), "'uses' is missing"),
            (json!({"uses": "script", "wiht": {}}), "no 'wiht'"),
            (json!({"uses": 1}), "'uses' is to be a text"),
            (
                json!({"uses": "script", "timeout": "soon"}),
                "no length of time",
            ),
            (json!({"uses": "script", "with": []}), "a map of inputs"),
            (
                json!({"uses": "x", "with": {"a": {"b": {"secret": "p/q"}}}}),
                "with.a.b: secrets",
            ),
        ] {
            let found = ActionFile::of(value).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn what_needs_a_server_is_refused_with_what_to_type() {
        for (value, next) in [
            (
                json!({"uses": "manual", "with": {"instructions": "x"}}),
                "mantle plan",
            ),
            (
                json!({"uses": "package", "with": {"package": "Web"}}),
                "mantle deploy",
            ),
            (
                json!({"uses": "script", "with": {"package": "Web", "file": "a.sh"}}),
                "under 'run'",
            ),
        ] {
            let refused = ActionFile::of(value).unwrap().possible_here().unwrap_err();
            assert_eq!(refused.code, EXIT_REFUSED);
            assert!(refused.message.contains(next), "{}", refused.message);
        }
    }
}
