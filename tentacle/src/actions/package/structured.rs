//! Variables named as paths (`Logging:LogLevel:Default`) into structured files.
//!
//! A value that is there is replaced and keeps its kind; nothing is added. Names are compared
//! without case, as configuration readers do. Files in which no variable has a place stay as they
//! are, byte for byte.

use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use super::super::Variables;

/// Formats that this build can write.
const FORMATS: &str = "JSON (.json)";

/// The new text and the names of the variables that were set in it; `None` if there were none.
pub(super) fn replace(
    path: &str,
    text: &str,
    variables: &Variables,
) -> Result<Option<(String, Vec<String>)>, String> {
    let mut document = parsed(path, text)?;
    let mut set = Vec::new();
    for variable in variables.iter() {
        // The system's own names have no colon and must not hit a top-level key by accident.
        if variable.name.starts_with("Octopus.") || variable.name.starts_with("Mantle.") {
            continue;
        }
        if let Some(place) = find(&mut document, &variable.name) {
            *place = converted(place, &variable.value).map_err(|kind| {
                format!(
                    "{path}: '{}' is {kind} there, but the variable's value is not one in JSON",
                    variable.name
                )
            })?;
            set.push(variable.name.clone());
        }
    }
    if set.is_empty() {
        return Ok(None);
    }
    Ok(Some((write(&document, text)?, set)))
}

/// The first of the withheld names that has a place in a file: the value there is not the one that the
/// author meant, and stays so if it goes on.
pub(super) fn withheld<'v>(
    path: &str,
    text: &str,
    variables: &'v Variables,
) -> Result<Option<&'v str>, String> {
    let mut names = variables.withheld().peekable();
    if names.peek().is_none() {
        return Ok(None);
    }
    let mut document = parsed(path, text)?;
    Ok(names.find(|name| find(&mut document, name).is_some()))
}

fn parsed(path: &str, text: &str) -> Result<Value, String> {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !extension.eq_ignore_ascii_case("json") {
        return Err(format!(
            "{path}: files of this format cannot be written yet; available: {FORMATS}"
        ));
    }
    serde_json::from_str(text).map_err(|error| {
        format!(
            "{path}:{}:{}: not JSON: {error}; comments and trailing commas are not JSON",
            error.line(),
            error.column()
        )
    })
}

/// The value at a path, keys compared without case. A key may itself hold a colon.
fn find<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => find_in_object(map, path),
        Value::Array(list) => {
            let (first, rest) = match path.split_once(':') {
                Some((first, rest)) => (first, Some(rest)),
                None => (path, None),
            };
            let item = list.get_mut(first.parse::<usize>().ok()?)?;
            match rest {
                None => Some(item),
                Some(rest) => find(item, rest),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn find_in_object<'a>(map: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    let folded = path.to_lowercase();
    let whole = map
        .keys()
        .find(|key| *key == path)
        .or_else(|| map.keys().find(|key| key.to_lowercase() == folded))
        .cloned();
    if let Some(key) = whole {
        return map.get_mut(&key);
    }
    let leads = |key: &str| {
        let rest = folded
            .strip_prefix(&key.to_lowercase())?
            .strip_prefix(':')?;
        // By characters from the end, since folding may change a key's length.
        let count = rest.chars().count();
        let total = path.chars().count();
        let rest: String = path.chars().skip(total.checked_sub(count)?).collect();
        Some(rest)
    };
    let (key, rest) = map.iter_mut().find_map(|(key, value)| {
        let rest = leads(key)?;
        find(value, &rest).is_some().then(|| (key.clone(), rest))
    })?;
    find(map.get_mut(&key)?, &rest)
}

/// The variable's text as the kind of value that stands there. The error names that kind.
fn converted(before: &Value, text: &str) -> Result<Value, &'static str> {
    let as_json = || serde_json::from_str::<Value>(text).ok();
    let string = || Value::String(text.to_owned());
    Ok(match before {
        Value::String(_) => string(),
        Value::Number(_) => as_json().filter(Value::is_number).unwrap_or_else(string),
        Value::Bool(_) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => string(),
        },
        Value::Null => as_json().unwrap_or_else(string),
        Value::Object(_) => as_json().filter(Value::is_object).ok_or("an object")?,
        Value::Array(_) => as_json().filter(Value::is_array).ok_or("a list")?,
    })
}

/// Writes JSON as the original was laid out: its indentation, line ends and final line break.
fn write(document: &Value, original: &str) -> Result<String, String> {
    let indent: String = original
        .lines()
        .find_map(|line| {
            let blank: String = line
                .chars()
                .take_while(|c| matches!(c, ' ' | '\t'))
                .collect();
            (!blank.is_empty() && blank.len() < line.trim_end().len()).then_some(blank)
        })
        .unwrap_or_else(|| "  ".to_owned());
    let mut out = Vec::new();
    let written = if original.trim().contains('\n') {
        let formatter = PrettyFormatter::with_indent(indent.as_bytes());
        document.serialize(&mut Serializer::with_formatter(&mut out, formatter))
    } else {
        document.serialize(&mut Serializer::new(&mut out))
    };
    written.map_err(|error| error.to_string())?;
    let mut text = String::from_utf8(out).map_err(|error| error.to_string())?;
    if original.ends_with('\n') {
        text.push('\n');
    }
    if original.contains("\r\n") {
        text = text.replace('\n', "\r\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::super::Variable;
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Variables {
        Variables::new(
            list.iter()
                .map(|(name, value)| Variable {
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                    sensitive: false,
                    exported: true,
                })
                .collect(),
        )
    }

    const SETTINGS: &str = r#"{
    "Logging": { "LogLevel": { "Default": "Warning" } },
    "Port": 80,
    "Enabled": false,
    "Hosts": ["a", "b"],
    "a:b": { "c": null },
    "Big": { "x": 1 }
}
"#;

    #[test]
    fn values_are_replaced_and_keep_their_kind() {
        let set = variables(&[
            ("logging:loglevel:default", "Debug"),
            ("Port", "8080"),
            ("ENABLED", "True"),
            ("Hosts:1", "x"),
            ("a:b:c", "7"),
            ("Big", r#"{"y":2}"#),
            ("NotThere:At:All", "z"),
            ("Octopus.Release.Number", "1"),
        ]);
        let (text, names) = replace("appsettings.json", SETTINGS, &set)
            .unwrap()
            .unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Logging"]["LogLevel"]["Default"], "Debug");
        assert_eq!(value["Port"], 8080);
        assert_eq!(value["Enabled"], true);
        assert_eq!(value["Hosts"][1], "x");
        assert_eq!(value["a:b"]["c"], 7);
        assert_eq!(value["Big"], serde_json::json!({"y": 2}));
        assert_eq!(names.len(), 6);
        assert!(text.contains("\n    \"Port\": 8080,\n") && text.ends_with("}\n"));
        let keys: Vec<_> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys[0], "Logging", "the order stays");
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let none = variables(&[("Other", "x")]);
        assert_eq!(replace("a.json", SETTINGS, &none).unwrap(), None);
        let error = replace("web.config", "<x/>", &none).unwrap_err();
        assert!(error.contains("available: JSON"), "{error}");
        let error = replace("a.json", "{\n // no\n}", &none).unwrap_err();
        assert!(error.starts_with("a.json:2:"), "{error}");
        let error = replace("a.json", SETTINGS, &variables(&[("Big", "text")])).unwrap_err();
        assert!(error.contains("an object"), "{error}");
    }

    #[test]
    fn line_ends_and_compact_files_stay() {
        let set = variables(&[("a", "2")]);
        let (text, _) = replace("a.json", "{\r\n\t\"a\": 1\r\n}", &set)
            .unwrap()
            .unwrap();
        assert_eq!(text, "{\r\n\t\"a\": 2\r\n}");
        let (text, _) = replace("a.json", "{\"a\":1}", &set).unwrap().unwrap();
        assert_eq!(text, "{\"a\":2}");
    }
}
