//! Evaluates an order's templates: its variables' values over each other, then its inputs.

use jiff::Timestamp;
use mantle_shared::order::OrderVariable;
use mantle_template::{Budget, Options};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::actions::{ActionError, Variable, Variables};

/// What all values of an order may cost together, in the units of the template language: seconds. A
/// value that comes too late stays the template that it is, like any other that cannot be evaluated.
const VALUE_STEPS: u64 = 5_000_000;

/// The variables of an order as templates see them.
pub(super) struct Evaluator {
    raw: mantle_template::Variables,
    now: Timestamp,
}

impl Evaluator {
    /// Takes the variables as they were ordered.
    pub(super) fn new(variables: &[OrderVariable]) -> Self {
        let mut raw = mantle_template::Variables::new();
        for variable in variables {
            raw.set(variable.name.clone(), variable.value.clone());
        }
        Self {
            raw,
            now: Timestamp::now(),
        }
    }

    /// Every variable with its value evaluated. What cannot be evaluated stays as it stands: a value
    /// may hold `#{` for reasons of its own.
    pub(super) fn variables(&self, order: &[OrderVariable]) -> Variables {
        let options = Options::new(self.now);
        let mut budget = Budget::new(VALUE_STEPS);
        let mut value = |variable: &OrderVariable| {
            budget
                .render(&variable.value, &self.raw, &options)
                .map_or_else(
                    |_| variable.value.clone(),
                    |rendered| rendered.text.into_owned(),
                )
        };
        let entries = order
            .iter()
            .map(|variable| Variable {
                name: variable.name.clone(),
                value: value(variable),
                sensitive: variable.sensitive,
                exported: variable.exported,
            })
            .collect();
        Variables::new(entries)
    }

    /// A text, evaluated; anything that cannot be is an error that names token and place.
    pub(super) fn text(&self, text: &str) -> Result<String, String> {
        let options = Options::new(self.now).strict();
        mantle_template::render(text, &self.raw, &options)
            .map(|rendered| rendered.text.into_owned())
            .map_err(|error| error.to_string())
    }

    /// The inputs, every text in them evaluated except under the keys in `verbatim`.
    pub(super) fn inputs(
        &self,
        with: &Map<String, Value>,
        verbatim: &[&str],
    ) -> Result<Map<String, Value>, ActionError> {
        let mut evaluated = Map::new();
        for (key, value) in with {
            let value = if verbatim.contains(&key.as_str()) {
                value.clone()
            } else {
                self.value(key, value)?
            };
            evaluated.insert(key.clone(), value);
        }
        Ok(evaluated)
    }

    fn value(&self, path: &str, value: &Value) -> Result<Value, ActionError> {
        Ok(match value {
            Value::String(text) => Value::String(
                self.text(text)
                    .map_err(|error| ActionError::input(format!("with.{path}: {error}")))?,
            ),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.value(&format!("{path}[{index}]"), item))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, field)| {
                        Ok((key.clone(), self.value(&format!("{path}.{key}"), field)?))
                    })
                    .collect::<Result<_, ActionError>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }
}

/// What is to be masked: the secrets as ordered, and as they are once evaluated.
pub(super) fn secrets(order: &[OrderVariable], evaluated: &Variables) -> Vec<Zeroizing<String>> {
    let raw = order
        .iter()
        .filter(|variable| variable.sensitive)
        .map(|variable| &variable.value);
    let done = evaluated
        .iter()
        .filter(|variable| variable.sensitive)
        .map(|variable| &variable.value);
    raw.chain(done)
        .map(|value| Zeroizing::new(value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn variable(name: &str, value: &str) -> OrderVariable {
        OrderVariable {
            name: name.to_owned(),
            value: value.to_owned(),
            sensitive: false,
            exported: true,
        }
    }

    #[test]
    fn inputs_are_evaluated_deeply_and_errors_name_the_place() {
        let order = [variable("Host", "web#{No}"), variable("No", "01")];
        let evaluator = Evaluator::new(&order);
        assert_eq!(evaluator.variables(&order).get("host"), Some("web01"));
        let with =
            serde_json::json!({"a": ["x-#{Host}", 3], "run": "#{Host}", "b": {"c": "#{No}"}});
        let with = with.as_object().unwrap();
        let done = evaluator.inputs(with, &["run"]).unwrap();
        assert_eq!(
            Value::Object(done),
            serde_json::json!({"a": ["x-web01", 3], "run": "#{Host}", "b": {"c": "01"}})
        );
        let with = serde_json::json!({"a": {"b": ["#{Missing}"]}});
        let error = evaluator
            .inputs(with.as_object().unwrap(), &[])
            .unwrap_err();
        assert!(error.to_string().contains("with.a.b[0]"), "{error}");
        assert!(error.to_string().contains("Missing"), "{error}");
    }
}
