//! The variables of a try, in the forms that `tentacle config apply` takes, with a word on which of
//! them are secrets.

use std::path::Path;

use mantle_shared::order::OrderVariable;
use mantle_template::same_name;
use serde_json::Value;

use super::super::{EXIT_INVALID, EXIT_NOT_FOUND, Failure};
use crate::config::{as_text, file};

const SHAPE: &str = "write an object of names and values, {\"Name\": \"value\"}, or a list of {\"name\": ..., \"value\": ..., \"sensitive\": true}";

/// Those of a file; `sensitive` are the names that were said to be secrets.
pub(super) fn read(path: &Path, sensitive: &[String]) -> Result<Vec<OrderVariable>, Failure> {
    let name = path.display().to_string();
    let bytes = file::read(path).map_err(|error| match error {
        file::FileError::Missing(_) => Failure::new(EXIT_NOT_FOUND, error.to_string()),
        other => Failure::from_error(EXIT_INVALID, &other),
    })?;
    let invalid = |why: String| Failure::new(EXIT_INVALID, format!("{name}:{why}"));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let value = serde_json::from_slice(bytes).map_err(|error| {
        // The error itself may quote a secret.
        invalid(format!("{}:{}: not JSON", error.line(), error.column()))
    })?;
    let mut variables = of(value).map_err(|why| invalid(format!(" {why}; {SHAPE}")))?;
    mark(&mut variables, sensitive)?;
    Ok(variables)
}

/// Without a file there is nothing that could be a secret.
pub(super) fn none(sensitive: &[String]) -> Result<Vec<OrderVariable>, Failure> {
    let mut variables = Vec::new();
    mark(&mut variables, sensitive)?;
    Ok(variables)
}

/// A name that is not there would leave a secret in clear under another.
fn mark(variables: &mut [OrderVariable], sensitive: &[String]) -> Result<(), Failure> {
    for name in sensitive {
        let mut own = variables.iter_mut();
        let Some(variable) = own.find(|own| same_name(&own.name, name)) else {
            return Err(Failure::new(
                EXIT_NOT_FOUND,
                format!(
                    "--sensitive {name}: there is no such variable; name one of the file under --variables"
                ),
            ));
        };
        variable.sensitive = true;
    }
    Ok(())
}

fn of(value: Value) -> Result<Vec<OrderVariable>, String> {
    let mut variables: Vec<OrderVariable> = Vec::new();
    let mut take = |name: String, value: Value, sensitive: bool| {
        variables.retain(|own| !same_name(&own.name, &name));
        // Null is not there.
        variables.extend(as_text(value).map(|value| OrderVariable {
            name,
            value,
            sensitive,
            exported: true,
        }));
    };
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                take(name, value, false);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.into_iter().enumerate() {
                let Value::Object(mut fields) = item else {
                    return Err(format!("entry {} of the list is no variable", at + 1));
                };
                let Some(Value::String(name)) = fields.remove("name") else {
                    return Err(format!("entry {} of the list has no name", at + 1));
                };
                let value = fields.remove("value").unwrap_or(Value::Null);
                let sensitive = match fields.remove("sensitive") {
                    None | Some(Value::Null) => false,
                    Some(Value::Bool(flag)) => flag,
                    Some(_) => {
                        return Err(format!("'sensitive' of '{name}' is neither true nor false"));
                    }
                };
                if let Some(key) = fields.keys().next() {
                    return Err(format!("a variable has no '{key}' ('{name}' does)"));
                }
                take(name, value, sensitive);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err("it holds no variables".to_owned());
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read_and_errors_never_quote_a_value() {
        let list = json!([
            {"name": "A", "value": "1"},
            {"name": "Pin", "value": "s3cret", "sensitive": true},
            {"name": "a", "value": true},
            {"name": "Gone", "value": null},
        ]);
        let found = of(list).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.value.as_str(), one.sensitive))
            .collect();
        assert_eq!(found, [("Pin", "s3cret", true), ("a", "True", false)]);
        let mut found = of(json!({"Port": 80, "Pin": "s3cret"})).unwrap();
        mark(&mut found, &["pin".to_owned()]).unwrap();
        assert!(found.iter().any(|one| one.name == "Pin" && one.sensitive));
        assert_eq!(
            mark(&mut found, &["Pni".to_owned()]).unwrap_err().code,
            EXIT_NOT_FOUND
        );
        for wrong in [
            json!("s3cret"),
            json!(["s3cret"]),
            json!([{"value": "s3cret"}]),
            json!([{"name": "A", "value": "s3cret", "sensitiv": true}]),
            json!([{"name": "A", "value": "s3cret", "sensitive": "s3cret"}]),
        ] {
            let why = of(wrong).unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
