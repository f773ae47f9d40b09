//! A YAML text as a plain value, for files that people write for this program. What they cannot have
//! meant is refused, as in the files of the server: a key twice, an alias, a template that YAML takes
//! for a comment.

use granit_parser::ScalarStyle;
use serde_json::{Map, Number, Value};

use super::super::{ConfigError, Format};
use super::parse::{self, Content, Node};

/// The value of the one document of a text.
pub(in crate::config) fn value(source: &str) -> Result<Value, ConfigError> {
    let documents = parse::documents(source)?;
    let wrong = |at: usize, what: &str| ConfigError::syntax(Format::Yaml, source, at, what);
    if let Some(at) = documents.iter().find_map(|document| document.template) {
        return Err(wrong(
            at,
            "YAML takes what begins with ' #{' for a comment; quote the value",
        ));
    }
    let mut roots = documents.into_iter().filter_map(|document| document.root);
    let root = roots.next();
    if let Some(second) = roots.next() {
        return Err(wrong(second.span.start, "a second document begins here"));
    }
    root.map_or(Ok(Value::Null), |root| of(source, root))
}

fn of(source: &str, node: Node) -> Result<Value, ConfigError> {
    let at = node.span.start;
    let wrong = |at: usize, what: String| ConfigError::syntax(Format::Yaml, source, at, what);
    Ok(match node.content {
        Content::Empty => Value::Null,
        Content::Scalar { value, style } => scalar(value, style),
        Content::Alias => return Err(wrong(at, "aliases are not read here".to_owned())),
        Content::Sequence(items) => Value::Array(
            items
                .into_iter()
                .map(|item| of(source, item))
                .collect::<Result<_, _>>()?,
        ),
        Content::Mapping(entries) => {
            let mut map = Map::new();
            for (key, item) in entries {
                let at = key.span.start;
                let Content::Scalar { value: name, .. } = key.content else {
                    return Err(wrong(at, "a key is a text".to_owned()));
                };
                let item = of(source, item)?;
                if map.insert(name.clone(), item).is_some() {
                    return Err(wrong(
                        at,
                        format!("'{name}' stands here for the second time"),
                    ));
                }
            }
            Value::Object(map)
        }
    })
}

/// What a scalar means without a type that says so.
fn scalar(text: String, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text);
    }
    match text.as_str() {
        "null" | "~" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match text.parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::String(text),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_read_as_people_mean_it_and_what_they_cannot_mean_is_refused_with_its_place() {
        let text =
            "a: 1\nb: [true, '1', ~, x y]\nc:\n  run: |\n    echo #{No}\n  d: \"#{Yes}\"\ne:\n";
        assert_eq!(
            value(text).unwrap(),
            json!({"a": 1, "b": [true, "1", null, "x y"], "c": {"run": "echo #{No}\n", "d": "#{Yes}"}, "e": null})
        );
        assert_eq!(value("# nothing\n").unwrap(), Value::Null);
        for (text, error) in [
            ("a: x #{y}\n", "1:6: not YAML: YAML takes what begins"),
            (
                "a: 1\na: 2\n",
                "2:1: not YAML: 'a' stands here for the second time",
            ),
            ("a: &x 1\nb: *x\n", "2:4: not YAML: aliases"),
            ("a: 1\n---\nb: 1\n", "3:1: not YAML: a second document"),
            ("[a]: 1\n", "1:1: not YAML: a key is a text"),
        ] {
            let found = value(text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
