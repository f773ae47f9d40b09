//! Writes values as YAML that the reader of this house reads back as the same values.
//!
//! Block style throughout; text is quoted whenever YAML or a template could take it for something
//! else, so that nothing depends on a reader's schema.

use serde_json::{Map, Value};

use super::scalar::{Scalar, resolve};

/// Characters that mean something to YAML at the beginning of a plain scalar.
const LEADING: &str = "-?:,[]{}#&*!|>'\"%@` ";
/// Words that other readers of YAML take for booleans or nothing.
const WORDS: [&str; 10] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~",
];
/// The longest text that is written on one line if it has several.
const SHORT: usize = 60;

/// A map as a document.
pub(super) fn document(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (key, value) in map {
        // A line between the parts of a file; the first two belong together.
        let nested = matches!(value, Value::Array(items) if !items.is_empty())
            || matches!(value, Value::Object(entries) if !entries.is_empty());
        if nested && !out.is_empty() {
            out.push('\n');
        }
        entry(&mut out, 0, key, value);
    }
    out
}

fn entry(out: &mut String, indent: usize, key: &str, value: &Value) {
    out.push_str(&scalar(key, false));
    out.push(':');
    after_key(out, indent, value);
}

/// What follows a key or dash, to the end of the line or below it.
fn after_key(out: &mut String, indent: usize, value: &Value) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            for (key, value) in map {
                pad(out, indent + 2);
                entry(out, indent + 2, key, value);
            }
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(is_short) => {
            let items: Vec<String> = items.iter().map(|item| inline(item, true)).collect();
            out.push_str(" [");
            out.push_str(&items.join(", "));
            out.push_str("]\n");
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                pad(out, indent + 2);
                out.push('-');
                list_item(out, indent + 2, item);
            }
        }
        Value::String(text) if is_block(text) => block(out, indent + 2, text),
        other => {
            out.push(' ');
            out.push_str(&inline(other, false));
            out.push('\n');
        }
    }
}

/// The first entry of a map stands on the line of its dash.
fn list_item(out: &mut String, indent: usize, value: &Value) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index == 0 {
                    out.push(' ');
                } else {
                    pad(out, indent + 2);
                }
                entry(out, indent + 2, key, value);
            }
        }
        other => after_key(out, indent, other),
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\n') && text.len() <= SHORT,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn inline(value: &Value, flow: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => scalar(text, flow),
        // Only empty ones come here.
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// Plain if nobody can take it for anything but this text, otherwise in double quotes.
fn scalar(text: &str, flow: bool) -> String {
    let plain = !text.is_empty()
        && resolve(text) == Scalar::Text
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.starts_with(|c: char| {
            LEADING.contains(c) || c.is_ascii_digit() || c == '.' || c == '+' || c == '='
        })
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains('#')
        && !(flow && text.contains([',', '[', ']', '{', '}', ':']))
        && !text.starts_with("---")
        && text
            .chars()
            .all(|c| !c.is_control() && c.is_ascii() || c.is_alphanumeric());
    if plain || is_length_of_time(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// One begins with a digit and is plain to every reader all the same: digits and units alone. What
/// is read as one may have white space around it, a line break too, and only quotes keep that.
fn is_length_of_time(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && super::duration::parse(text).is_ok()
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => out.push(c),
            c => {
                let code = u32::from(c);
                let escape = match code {
                    0..=0xFF => format!("\\x{code:02X}"),
                    0x100..=0xFFFF => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                out.push_str(&escape);
            }
        }
    }
    out.push('"');
    out
}

/// Text of several lines that a literal block keeps exactly.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.lines().all(|line| !line.ends_with([' ', '\t']))
        && !text.ends_with("\n\n")
        && text
            .chars()
            .all(|c| c == '\n' || c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric())
        && text.lines().any(|line| !line.is_empty())
}

fn block(out: &mut String, indent: usize, text: &str) {
    out.push_str(if text.ends_with('\n') {
        " |\n"
    } else {
        " |-\n"
    });
    for line in text.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::node;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn back(map: &Map<String, Value>) -> Value {
        let text = document(map);
        let nodes = node::load(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        nodes.first().map_or(json!({}), node::Node::to_json)
    }

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for (text, written) in [
            ("plain words", "plain words"),
            ("OctoFX.Web", "OctoFX.Web"),
            ("8080", "\"8080\""),
            ("1.10", "\"1.10\""),
            ("true", "\"true\""),
            ("No", "\"No\""),
            ("", "\"\""),
            ("#{Name}", "\"#{Name}\""),
            ("a #{Name}", "\"a #{Name}\""),
            ("key: value", "\"key: value\""),
            ("http://x:80", "http://x:80"),
            ("- a", "\"- a\""),
            ("tab\tand\u{1}", "\"tab\\tand\\x01\""),
            ("[1.0,)", "\"[1.0,)\""),
            ("1h30m", "1h30m"),
            ("30s\n", "\"30s\\n\""),
            ("\t10m", "\"\\t10m\""),
        ] {
            assert_eq!(scalar(text, false), written);
        }
    }

    /// Found by the property below: such a key was written plain, with its line break.
    #[test]
    fn white_space_around_what_reads_as_a_length_of_time_is_kept() {
        for text in [
            "30s\n",
            "\n10m",
            "\r\n1h30m",
            "\t2d\t",
            "500ms\u{a0}",
            "\u{2028}5m",
        ] {
            let map = json!({ text: text, "list": [text, { text: [text] }] });
            let map = map.as_object().unwrap();
            assert_eq!(back(map), Value::Object(map.clone()), "{text:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| json!(number)),
            any_text().prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::btree_map(any_text(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            "[ -~\n]{0,20}",
            "(#\\{[a-z]{1,3}\\}|: |- |\n|  |[a-z0-9]{1,3}|'|\"|\\\\){0,6}",
            Just("null".to_owned()),
            Just("1e3".to_owned()),
            "[\n\r\t ]{0,1}(0|[1-9][0-9]?)(ms|s|m|h|d|e3|x1|\\.5)?[\n\r\t ]{0,1}",
        ]
        // A merge key is refused by the reader, and nothing of ours is named so.
        .prop_filter("merge key", |text| text != "<<")
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            map in proptest::collection::btree_map(any_text(), any_value(), 1..5),
        ) {
            let map: Map<String, Value> = map.into_iter().collect();
            prop_assert_eq!(back(&map), Value::Object(map));
        }
    }
}
