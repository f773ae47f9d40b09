//! Kinds, paths, layout and refusals of JSON.

use super::super::settings::Setting;
use super::*;

fn settings(list: &[(&str, Option<&str>)]) -> Settings {
    Settings::new(list.iter().map(|(name, value)| Setting {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    }))
}

fn replaced(source: &str, list: &[(&str, Option<&str>)]) -> String {
    replace(source, &settings(list)).unwrap().text
}

const SETTINGS: &str = r#"{
    // What is logged.
    "Logging": { "LogLevel": { "Default": "Warning" } },
    "Port": 80, /* the usual one */
    "Enabled": false,
    "Hosts": ["a", "b"],
    "a:b": { "c": null },
    "Big": { "x": 1 },
}
"#;

#[test]
fn values_keep_their_kind_and_the_file_its_layout() {
    let text = replaced(
        SETTINGS,
        &[
            ("logging:loglevel:default", Some("Debug \"x\"")),
            ("Port", Some(" 8080 ")),
            ("ENABLED", Some("True")),
            ("Hosts:1", Some("x")),
            ("a:b:c", Some("7")),
            ("Big", Some(r#"{'y':[1,{}], z: "é"}"#)),
            ("NotThere:At:All", Some("z")),
        ],
    );
    assert_eq!(
        text,
        r#"{
    // What is logged.
    "Logging": { "LogLevel": { "Default": "Debug \"x\"" } },
    "Port": 8080, /* the usual one */
    "Enabled": true,
    "Hosts": ["a", "x"],
    "a:b": { "c": "7" },
    "Big": {
        "y": [
            1,
            {}
        ],
        "z": "é"
    },
}
"#
    );
}

#[test]
fn kinds_follow_the_rules_of_octopus() {
    for (before, value, after) in [
        ("1", Some("2.50"), "2.50"),
        ("1", Some("456e-5"), "456e-5"),
        ("1", Some("+5"), "5"),
        ("1", Some("1,000.5"), "1000.5"),
        ("1", Some("NaN"), "\"NaN\""),
        ("1", Some("null"), "\"null\""),
        ("1", Some("true"), "\"true\""),
        ("1", Some("[1]"), "\"[1]\""),
        ("1", Some(""), "\"\""),
        ("1", None, "1"),
        ("true", Some("52"), "\"52\""),
        ("true", Some(" FALSE"), "false"),
        ("true", None, "true"),
        ("\"kittens\"", Some("false"), "\"false\""),
        (
            "\"kittens\"",
            Some("a\nb\t\u{1}\u{2028}"),
            "\"a\\nb\\t\\u0001\\u2028\"",
        ),
        ("'kittens'", None, "null"),
        ("null", Some("33"), "\"33\""),
        ("null", Some("{\"x\": 1}"), "\"{\\\"x\\\": 1}\""),
        ("null", None, "null"),
        ("{\"a\": 1}", Some("\"a text\""), "\"a text\""),
        ("{\"a\": 1}", Some("[ ]"), "[]"),
        ("[1, 2]", Some("{\"b\":2,}"), "{\"b\":2}"),
        ("[1, 2]", Some("{<<<"), "[1, 2]"),
        ("[1, 2]", None, "[1, 2]"),
    ] {
        let source = format!("{{\"v\":{before}}}");
        let expected = format!("{{\"v\":{after}}}");
        assert_eq!(
            replaced(&source, &[("V", value)]),
            expected,
            "{before} <- {value:?}"
        );
    }
}

#[test]
fn what_stays_is_told() {
    let edited = replace("{\"a\": {}}", &settings(&[("a", Some("no json"))])).unwrap();
    assert!(edited.set.is_empty());
    assert!(
        edited.refused[0]
            .to_string()
            .contains("'a' stays as it was"),
        "{:?}",
        edited.refused
    );
}

#[test]
fn names_of_the_system_are_no_paths() {
    let source = r#"{"Octopus":{"Section":"a"},"OctopusRocks":1,"Octopus.Rocks":2,"Mantle.Task":3,"IThinkOctopusIsGreat":4}"#;
    let text = replaced(
        source,
        &[
            ("Octopus:Section", Some("b")),
            ("Octopus", Some("{}")),
            ("OctopusRocks", Some("9")),
            ("octopus.rocks", Some("9")),
            ("Mantle.Task", Some("9")),
            ("IThinkOctopusIsGreat", Some("5")),
        ],
    );
    assert_eq!(
        text,
        r#"{"Octopus":{"Section":"b"},"OctopusRocks":1,"Octopus.Rocks":2,"Mantle.Task":3,"IThinkOctopusIsGreat":5}"#
    );
}

#[test]
fn who_replaces_the_whole_wins_and_the_last_of_two_counts() {
    let list = [("a:b", Some("1")), ("a", Some("{\"c\":2}"))];
    assert_eq!(replaced("{\"a\":{\"b\":0}}", &list), "{\"a\":{\"c\":2}}");
    let twice = replaced("{\"a\":1,\"A\":2}", &[("a", Some("3"))]);
    assert_eq!(twice, "{\"a\":1,\"A\":3}");
    let list = replaced("[{\"p\":1}]", &[("0:p", Some("2"))]);
    assert_eq!(list, "[{\"p\":2}]");
    let crlf = replaced("{\r\n\t\"a\": [1]\r\n}", &[("a", Some("[2]"))]);
    assert_eq!(crlf, "{\r\n\t\"a\": [\r\n\t\t2\r\n\t]\r\n}");
}

#[test]
fn bad_documents_are_refused_by_their_place() {
    for (source, place) in [
        ("{\n  \"a\" 1\n}", "2:7"),
        ("{\"a\": 1 \"b\"}", "1:9"),
        ("[1, 2", "1:6"),
        ("{\"a\": \"b", "1:7"),
        ("{\"a\": wrong}", "1:7"),
        ("{} x", "1:4"),
        ("/* x", "1:1"),
        ("{\"a\": \"\\q\"}", "1:9"),
        ("key: value", "1:1"),
    ] {
        let error = replace(source, &Settings::default()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{place}: not JSON")),
            "{source}: {error}"
        );
    }
    let deep = "[".repeat(100_000);
    let error = replace(&deep, &Settings::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Limit(_)), "{error}");
}
