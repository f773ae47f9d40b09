//! The face of the module: formats by name and content, encodings, what stays.

use jiff::Timestamp;

use super::*;

fn settings(json: &str) -> Settings {
    Settings::from_json(json, Timestamp::UNIX_EPOCH).unwrap()
}

fn new_text(format: Format, name: &str, source: &str, json: &str) -> (Format, String) {
    let applied = apply(format, name, source.as_bytes(), &settings(json)).unwrap();
    let bytes = applied.bytes.unwrap_or_else(|| source.as_bytes().to_vec());
    (applied.format, String::from_utf8(bytes).unwrap())
}

#[test]
fn the_format_is_found_by_name_and_then_by_content() {
    for (name, source, variable, format, after) in [
        ("a.json", "{\"k\":1}", "k", Format::Json, "{\"k\":2}"),
        ("A.JSON", "{\"k\":1}", "k", Format::Json, "{\"k\":2}"),
        ("a.yaml", "k: 1", "k", Format::Yaml, "k: 2"),
        ("a.yml", "{\"k\":1}", "k", Format::Json, "{\"k\":2}"),
        ("a.xml", "<k>1</k>", "/k", Format::Xml, "<k>2</k>"),
        ("a.properties", "k=1", "k", Format::Properties, "k=2"),
        ("a.config", "<k>1</k>", "/k", Format::Xml, "<k>2</k>"),
        ("a.config", "k: 1", "k", Format::Yaml, "k: 2"),
        ("plain", "k = 1\nx = %y", "k", Format::Yaml, "k = 1\nx = %y"),
        (
            "plain",
            "k: 1\n k2: [",
            "k",
            Format::Properties,
            "k: 2\n k2: [",
        ),
    ] {
        let json = format!("{{\"{variable}\": \"2\"}}");
        let found = new_text(Format::Auto, name, source, &json);
        assert_eq!(found, (format, after.to_owned()), "{name}: {source}");
    }
    let error = apply(Format::Auto, "a.yaml", b"a: [", &Settings::default()).unwrap_err();
    assert!(error.in_file("a.yaml").starts_with("a.yaml:1:"), "{error}");
    assert!(error.to_string().contains("not YAML"), "{error}");
    let error = apply(Format::Json, "a.yaml", b"a: 1", &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("not JSON"), "{error}");
}

#[test]
fn values_may_refer_to_each_other() {
    let json = r##"{"Server.Port": 8080, "k": "#{Server.Port}", "n": null, "b": true, "o": {"a": [1]}, "t": "#{None}"}"##;
    let source = r#"{"k": 1, "n": "x", "b": false, "o": {}, "t": ""}"#;
    let (_, text) = new_text(Format::Json, "", source, json);
    assert_eq!(
        text,
        "{\"k\": 8080, \"n\": null, \"b\": true, \"o\": {\"a\":[1]}, \"t\": \"#{None}\"}"
    );
    let list = r#"[{"name": "k", "value": "1"}, {"Name": "K", "Value": "2"}]"#;
    assert_eq!(new_text(Format::Json, "", "{\"k\":0}", list).1, "{\"k\":2}");
    for (json, why) in [
        ("[1]", "1 is no variable"),
        ("[{\"value\": 1}]", "has no name"),
        ("3", "3 holds no variables"),
        ("{", "not JSON"),
    ] {
        let error = Settings::from_json(json, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(
            error.in_file("v.json").contains(why),
            "{}",
            error.in_file("v.json")
        );
    }
}

#[test]
fn encodings_stay_or_become_utf8_where_they_must() {
    let name = |value: &str| {
        settings(&format!(
            "{{\"dagger\": \"{value}\", \"/d/dagger\": \"{value}\"}}"
        ))
    };
    for (format, before, value, after) in [
        (Format::Json, &b"{\r\n  \"dagger\": \"\x86\",\r\n  \"euro\": \"\x80\"\r\n}"[..], "\u{2021}", &b"{\r\n  \"dagger\": \"\x87\",\r\n  \"euro\": \"\x80\"\r\n}"[..]),
        (Format::Json, b"{\"dagger\": \"\x86\"}", "\u{ffe6}", b"{\"dagger\": \"\xef\xbf\xa6\"}"),
        (Format::Yaml, b"dagger: \x86\r\neuro: \x80\r\n", "\u{ffe6}", b"dagger: \xef\xbf\xa6\r\neuro: \xe2\x82\xac\r\n"),
        (Format::Yaml, b"\xef\xbb\xbfdagger: x\r\n", "\u{2020}", b"\xef\xbb\xbfdagger: \xe2\x80\xa0\r\n"),
        (Format::Properties, b"dagger=\x86", "\u{2021}", b"dagger=\\u2021"),
        (Format::Xml, b"<d>\r\n<dagger>\x86</dagger></d>", "\u{ffe6}", b"<d>\r\n<dagger>\xef\xbf\xa6</dagger></d>"),
        (
            Format::Xml,
            b"<?xml version=\"1.0\" encoding=\"iso-8859-2\" ?>\n<d><dagger/>\xb3</d>",
            "\u{142}",
            b"<?xml version=\"1.0\" encoding=\"iso-8859-2\" ?>\n<d><dagger>\xb3</dagger>\xb3</d>",
        ),
        (
            Format::Xml,
            b"<?xml version=\"1.0\" encoding=\"iso-8859-2\" ?>\n<d><dagger/>\xb3</d>",
            "\u{5f20}",
            b"<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<d><dagger>\xe5\xbc\xa0</dagger>\xc5\x82</d>",
        ),
    ] {
        let applied = apply(format, "", before, &name(value)).unwrap();
        assert_eq!(applied.bytes.as_deref(), Some(after), "{format}: {before:?}");
        let unchanged = apply(format, "", before, &Settings::default()).unwrap();
        assert_eq!(unchanged.bytes, None, "{format}");
        assert!(unchanged.set.is_empty());
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let large = vec![b' '; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
    let error = apply(Format::Auto, "a.json", &large, &Settings::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Limit(_)), "{error}");
}
