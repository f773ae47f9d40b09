//! The variables that go into files: names without case, and values evaluated over each other.

use std::collections::HashMap;

use jiff::Timestamp;
use mantle_template::{Budget, Options};
use serde_json::Value;

/// What the values of a file may cost together, in the units of the template language: seconds.
const VALUE_STEPS: u64 = 5_000_000;

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, which is the path of a value.
    pub name: String,
    /// Its text; `None` for null.
    pub value: Option<String>,
}

/// All of them, in order; of two with one name the later one holds.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    list: Vec<Setting>,
    by_name: HashMap<String, usize>,
}

/// A file of variables that is none.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no JSON.
    #[error("{line}:{column}: not JSON: {what}")]
    Json {
        /// The line of the first wrong character, from one.
        line: usize,
        /// Its column.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// It is JSON of another shape.
    #[error(
        "{0}; write an object of names and values, {{\"Name\": \"value\"}}, or a list of \
         {{\"name\": ..., \"value\": ...}}"
    )]
    Shape(String),
}

impl SettingsError {
    /// The error with its file: `FILE:LINE:COLUMN: ...` where there is a place.
    pub fn in_file(&self, file: &str) -> String {
        match self {
            Self::Json { .. } => format!("{file}:{self}"),
            Self::Shape(_) => format!("{file}: {self}"),
        }
    }
}

impl Settings {
    /// These variables, as they stand.
    pub fn new(list: impl IntoIterator<Item = Setting>) -> Self {
        let mut all = Self::default();
        for setting in list {
            let name = fold(&setting.name);
            let known = all.by_name.get(&name).copied();
            if let Some(slot) = known.and_then(|at| all.list.get_mut(at)) {
                slot.value = setting.value;
            } else {
                all.by_name.insert(name, all.list.len());
                all.list.push(setting);
            }
        }
        all
    }

    /// The variables of a JSON file, their templates evaluated over each other. A template that
    /// cannot be evaluated stays as it stands.
    pub fn from_json(text: &str, now: Timestamp) -> Result<Self, SettingsError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value = serde_json::from_str(text).map_err(|error| SettingsError::Json {
            line: error.line(),
            column: error.column(),
            what: error.to_string(),
        })?;
        let list = match value {
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| Setting {
                    name,
                    value: as_text(value),
                })
                .collect(),
            Value::Array(items) => items
                .into_iter()
                .map(named)
                .collect::<Result<Vec<_>, _>>()?,
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                return Err(SettingsError::Shape(format!("{other} holds no variables")));
            }
        };
        Ok(Self::new(list).evaluated(now))
    }

    fn evaluated(mut self, now: Timestamp) -> Self {
        let raw = self.for_templates();
        let options = Options::new(now);
        let mut budget = Budget::new(VALUE_STEPS);
        for setting in &mut self.list {
            if let Some(value) = &mut setting.value
                && let Ok(rendered) = budget.render(value, &raw, &options)
            {
                let text = rendered.text.into_owned();
                *value = text;
            }
        }
        self
    }

    /// The same for templates; null is not there.
    pub fn for_templates(&self) -> mantle_template::Variables {
        let mut variables = mantle_template::Variables::new();
        for setting in &self.list {
            if let Some(value) = &setting.value {
                variables.set(setting.name.as_str(), value.as_str());
            }
        }
        variables
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.list.iter()
    }

    /// The one of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.by_name
            .get(&fold(name))
            .and_then(|at| self.list.get(*at))
    }
}

fn named(item: Value) -> Result<Setting, SettingsError> {
    let Value::Object(fields) = item else {
        return Err(SettingsError::Shape(format!("{item} is no variable")));
    };
    let field = |wanted: &str| {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.clone())
    };
    let Some(Value::String(name)) = field("name") else {
        return Err(SettingsError::Shape(format!(
            "{} has no name",
            Value::Object(fields)
        )));
    };
    Ok(Setting {
        name,
        value: as_text(field("value").unwrap_or(Value::Null)),
    })
}

/// The text of a value, as the server has it; `None` for null.
pub(crate) fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        // As .NET writes a boolean, and so the server.
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// Names are compared without case.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// The system's own names are no paths, unless a colon makes them one.
pub(super) fn is_reserved(name: &str) -> bool {
    let folded = fold(name);
    ["octopus", "mantle."].iter().any(|own| {
        folded
            .strip_prefix(own)
            .is_some_and(|rest| !rest.starts_with(':'))
    })
}
