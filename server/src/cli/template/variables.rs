//! Variables as a flat JSON object, read in the order in which they stand: loops follow it.

use std::fmt;
use std::path::Path;

use mantle_template::Variables;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::cli::exit::{Exit, Failure};

/// Names with texts or nothing.
#[derive(Debug, Default)]
pub(super) struct FlatVariables(pub(super) Variables);

impl<'de> Deserialize<'de> for FlatVariables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flat;
        impl<'de> Visitor<'de> for Flat {
            type Value = FlatVariables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of variables, such as {\"Name\": \"value\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut variables = Variables::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    let value = match value {
                        Value::String(text) => Some(text),
                        Value::Null => None,
                        Value::Bool(_) | Value::Number(_) => {
                            return Err(A::Error::custom(format!(
                                "the value of '{name}' is not a text; put it in quotes: \"{value}\""
                            )));
                        }
                        Value::Array(_) | Value::Object(_) => {
                            return Err(A::Error::custom(format!(
                                "the value of '{name}' is not a text; write JSON in a variable as a text in quotes"
                            )));
                        }
                    };
                    variables.insert(name, value);
                }
                Ok(FlatVariables(variables))
            }
        }
        deserializer.deserialize_map(Flat)
    }
}

/// Reads them from a file.
pub(super) fn read(path: &Path) -> Result<FlatVariables, Failure> {
    let text = super::read(path)?;
    // Editors on Windows put a mark in front.
    let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(json).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("{} holds no variables: {error}", path.display()),
        )
    })
}
