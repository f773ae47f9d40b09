//! Styles, structures, patches and refusals of YAML.

use super::super::settings::{Setting, Settings, fold};
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

const FILE: &str = r#"# top
server:   # the front
  ports:
  - "5555"   # first
  - 'x'
null1: ~
tagged: !!str no
anchored: &a one
alias: *a
empty:
list: [one, "two", {k: v}]
flow: {a: 1, b}
lit: |  # header
    line 1
     line 2

fold: >-
  a
  b
keep: |+
  x


deep:
  # comment of the first
  a: 1
  b:
  - c: 2
    d: 3
  # after
last: plain text
  on two lines
"#;

#[test]
fn a_file_that_nobody_changes_is_the_same_bytes() {
    assert_eq!(
        replaced(FILE, &[("none", Some("x")), ("Octopus", Some("x"))]),
        FILE
    );
}

#[test]
fn scalars_keep_the_way_they_are_written() {
    for (name, value, before, after) in [
        (
            "SERVER:Ports:0",
            Some("80\"1\n"),
            "\"5555\"",
            "\"80\\\"1\\n\"",
        ),
        ("server:ports:1", Some("it's"), "'x'", "'it''s'"),
        ("server:ports:1", Some("a\nb"), "'x'", "'a\n\n    b'"),
        ("server:ports:1", Some("a\u{1}"), "'x'", "\"a\\x01\""),
        ("null1", Some("33"), "~", "33"),
        ("null1", Some("{\"x\": 1}"), "~", "'{\"x\": 1}'"),
        ("null1", Some(""), "~", "''"),
        ("null1", Some("- a"), "~", "'- a'"),
        ("null1", Some("a: b"), "~", "'a: b'"),
        ("null1", Some("a #b"), "~", "'a #b'"),
        ("null1", Some("jdbc:x {v}"), "~", "jdbc:x {v}"),
        ("null1", None, "~", "null"),
        ("tagged", Some("yes"), "!!str no", "!!str yes"),
        ("tagged", None, "!!str no", "null"),
        ("anchored", Some("two"), "&a one", "&a two"),
        ("empty", Some("x"), "empty:", "empty: x"),
        ("empty", None, "empty:", "empty: null"),
        ("list:0", Some("a, b"), "[one", "['a, b'"),
        ("list:2:k", Some("x:y"), "k: v", "k: 'x:y'"),
        ("flow:a", Some("2"), "a: 1", "a: 2"),
        ("flow:b", Some("3"), "b}", "b: 3}"),
        (
            "lit",
            Some("one\r\ntwo\n"),
            "    line 1\n     line 2\n",
            "    one\n    two\n",
        ),
        (
            "lit",
            Some("one"),
            "|  # header\n    line 1\n     line 2\n",
            "|-  # header\n    one\n",
        ),
        (
            "lit",
            Some(" one\n"),
            "|  # header\n    line 1\n     line 2\n",
            "|4  # header\n     one\n",
        ),
        (
            "lit",
            Some(""),
            "|  # header\n    line 1\n     line 2\n",
            "\"\"\n",
        ),
        (
            "lit",
            Some("x\n\n"),
            "|  # header\n    line 1\n     line 2\n\n",
            "|+  # header\n    x\n\n",
        ),
        ("fold", Some("c\nd"), ">-\n  a\n  b\n", ">-\n  c\n\n  d\n"),
        (
            "fold",
            Some("c\n d\n\ne\n"),
            ">-\n  a\n  b\n",
            ">\n  c\n   d\n\n  e\n",
        ),
        ("keep", Some("y\n"), "|+\n  x\n\n\n", "|\n  y\n"),
        ("deep:b:0:d", Some("4"), "d: 3", "d: 4"),
        ("last", Some("short"), "plain text\n  on two lines", "short"),
    ] {
        let text = replaced(FILE, &[(name, value)]);
        assert!(FILE.contains(before), "{before}");
        assert_eq!(text, FILE.replacen(before, after, 1), "{name} <- {value:?}");
        let expected = value.unwrap_or("null").replace("\r\n", "\n");
        let found = values(&text).remove(&fold(name));
        assert_eq!(found.as_deref(), Some(expected.as_str()), "{name}");
    }
}

#[test]
fn structures_take_yaml_in_the_layout_of_the_file() {
    for (name, value, before, after) in [
        (
            "server",
            Some("local"),
            "server:   # the front\n  ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "server: local   # the front\n",
        ),
        (
            "server:ports",
            Some("none"),
            "ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "ports: none\n",
        ),
        (
            "server:ports",
            Some(""),
            "ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "ports: \"\"\n",
        ),
        (
            "server:ports",
            None,
            "ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "ports: null\n",
        ),
        (
            "server:ports",
            Some("[]"),
            "ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "ports: []\n",
        ),
        (
            "server:ports",
            Some("- a\r\n- b: 1\r\n  c:\r\n  - d\r\n"),
            "- \"5555\"   # first\n  - 'x'\n",
            "- a\n  - b: 1\n    c:\n    - d\n",
        ),
        (
            "server:ports",
            Some("  a: 1\n  b:    {c: [1,  2]}"),
            "  - \"5555\"   # first\n  - 'x'\n",
            "    a: 1\n    b: {c: [1, 2]}\n",
        ),
        (
            "server:ports",
            Some("a: [b"),
            "ports:\n  - \"5555\"   # first\n  - 'x'\n",
            "ports: \"a: [b\"\n",
        ),
        (
            "list",
            Some("- x\n- y"),
            "list: [one, \"two\", {k: v}]\n",
            "list:\n- x\n- y\n",
        ),
        (
            "list",
            Some("a: 1"),
            "list: [one, \"two\", {k: v}]\n",
            "list:\n  a: 1\n",
        ),
        (
            "list",
            Some("{\"x\": 1}"),
            "[one, \"two\", {k: v}]",
            "{\"x\": 1}",
        ),
        ("list:2", Some("- x\n- y: z"), "{k: v}", "[x, {y: z}]"),
        (
            "deep:b:0",
            Some("e: |\n  t\nf: 'g'"),
            "c: 2\n    d: 3\n",
            "e: |\n      t\n    f: 'g'\n",
        ),
        (
            "deep:b:0",
            Some("- 1\n- 2"),
            "c: 2\n    d: 3\n",
            "- 1\n    - 2\n",
        ),
        ("deep:b", Some("x"), "b:\n  - c: 2\n    d: 3\n", "b: x\n"),
        (
            "deep",
            Some("x"),
            "deep:\n  # comment of the first\n  a: 1\n  b:\n  - c: 2\n    d: 3\n",
            "deep: x\n  # comment of the first\n",
        ),
        (
            "deep",
            Some("- x"),
            "  # comment of the first\n  a: 1\n  b:\n  - c: 2\n    d: 3\n",
            "  # comment of the first\n- x\n",
        ),
    ] {
        let text = replaced(FILE, &[(name, value)]);
        assert!(FILE.contains(before), "{before}");
        assert_eq!(text, FILE.replacen(before, after, 1), "{name} <- {value:?}");
    }
}

#[test]
fn the_outer_of_two_wins_and_documents_are_separate() {
    let both = [("a:b", Some("1")), ("a", Some("none"))];
    assert_eq!(replaced("a:\n  b: 0\nc: 2\n", &both), "a: none\nc: 2\n");
    let two = "a: 1\n---\na: 1\n...\n";
    assert_eq!(replaced(two, &[("A", Some("2"))]), "a: 2\n---\na: 2\n...\n");
    assert_eq!(
        replaced("- eins\n- zwei", &[("1", Some("drei"))]),
        "- eins\n- drei"
    );
    let colon = replaced("a:b:\n  c: 1\n", &[("a:b:c", Some("2"))]);
    assert_eq!(colon, "a:b:\n  c: 2\n");
    let crlf = replaced("a:\r\n    b: 1\r\nc: x\r\n", &[("a", Some("d:\n  e: f"))]);
    assert_eq!(crlf, "a:\r\n    d:\r\n        e: f\r\nc: x\r\n");
    let indented = replaced("a:\n  - 1\nb:\n  c: 1\n", &[("b", Some("- x\n- y"))]);
    assert_eq!(indented, "a:\n  - 1\nb:\n  - x\n  - y\n");
}

#[test]
fn a_comment_may_name_a_patch() {
    let source = "# patch: My.Alice\nname: Alice\nlikes:\n  food: apple\n---\n# patch: My.Bob\nname: Bob\nlikes:\n  food: burger\n";
    let list = [
        ("My.Alice", Some("likes:\n  food: pear\n")),
        ("My.Bob", Some("likes:\n  food: bun\n  more: x\n")),
        ("name", Some("N")),
    ];
    let text = replaced(source, &list);
    assert_eq!(
        text,
        source
            .replace("apple", "pear")
            .replace("burger", "bun")
            .replace("name: Alice", "name: N")
            .replace("name: Bob", "name: N")
    );
    let error = replace(source, &settings(&[("My.Bob", Some("a: [b"))])).unwrap_err();
    assert!(error.to_string().starts_with("6:1: not YAML"), "{error}");
}

#[test]
fn an_anchor_that_others_need_is_not_lost() {
    let source = "a: &x\n  b: 1\nc: *x\n";
    let text = replaced(source, &[("a", Some("d: 2"))]);
    assert_eq!(text, "a: &x\n  d: 2\nc: *x\n");
    let error = replace("a:\n  b: &x 1\nc: *x\n", &settings(&[("a", Some("y"))])).unwrap_err();
    assert!(matches!(error, ConfigError::Broken(_)), "{error}");
}

#[test]
fn bad_documents_are_refused_by_their_place() {
    for (source, place) in [
        ("a: 1\nb: [1\nc: 2\n", "3:2"),
        ("a: 1\n b: 2\n", "2:"),
        ("a: *none\n", "1:4"),
        ("a: \"x\n", "1:"),
        ("\t- a: b\n  c", ""),
    ] {
        let error = replace(source, &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("not YAML"), "{source}: {error}");
        assert!(error.to_string().starts_with(place), "{source}: {error}");
    }
    let deep = "[".repeat(10_000);
    assert!(replace(&deep, &Settings::default()).is_err());
    let laughs = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n";
    assert_eq!(
        replaced(laughs, &[("a:0", Some("y"))]),
        laughs.replacen("[x", "[y", 1)
    );
}
