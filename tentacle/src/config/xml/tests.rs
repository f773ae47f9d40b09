//! Each kind of node, .NET settings, and what is refused.

use super::super::settings::{Setting, Settings};
use super::super::{ConfigError, Edited};
use super::*;

fn settings(list: &[(&str, &str)]) -> Settings {
    Settings::new(list.iter().map(|(name, value)| Setting {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    }))
}

const DOCUMENT: &str = "<?xml version='1.0' encoding=\"UTF-8\"?>\r\n<!DOCTYPE document [<!ENTITY a \"b>\">]>\r\n<document xmlns:u=\"urn:u\">\r\n    <!-- Comment -->\r\n    <s id='id-1'  other = \"o\" >value-1</s >\r\n    <s id=\"id-2\"><![CDATA[value-2]]></s>\r\n    <n xmlns=\"urn:n\">node</n>\r\n    <empty></empty><closed />\r\n    <more>\r\n        <s id=\"id-3\">value-3</s>\r\n    </more>\r\n    <mixed>This is <b>some</b> text</mixed>\r\n    <u:x>unique &amp; &#65;</u:x>\r\n    <?style  type=\"text\"?>\r\n</document>\r\n<!-- end -->";

fn changed(list: &[(&str, &str)]) -> Edited {
    replace(DOCUMENT, &settings(list)).unwrap()
}

#[test]
fn a_document_that_nobody_changes_is_the_same_bytes() {
    assert_eq!(changed(&[]).text, DOCUMENT);
    let names = [
        ("Plain", "x"),
        ("Section:Key", "x"),
        ("//q:c", "x"),
        ("http://[", "x"),
        ("document", "x"),
    ];
    let edited = changed(&names);
    assert_eq!(edited.text, DOCUMENT);
    assert!(
        edited.set.is_empty() && edited.refused.is_empty(),
        "{edited:?}"
    );
}

#[test]
fn each_kind_of_node_is_set_in_its_way() {
    for (path, value, before, after) in [
        (
            "/document/comment()",
            "New",
            "<!-- Comment -->",
            "<!--New-->",
        ),
        (
            "/document/s[@id='id-1']/@id",
            "a'b\"<",
            "id='id-1'",
            "id='a&apos;b\"&lt;'",
        ),
        ("/document/s[@id='id-1']/text()", "n", ">value-1<", ">n<"),
        (
            "/document/s[@id='id-1']",
            "a<b />",
            ">value-1<",
            ">a&lt;b /&gt;<",
        ),
        (
            "/document/s[2]",
            "a]]>b",
            "[CDATA[value-2]]>",
            "[CDATA[a]]]]><![CDATA[>b]]>",
        ),
        (
            "/document/s[2]/text()",
            "n",
            "[CDATA[value-2]]>",
            "[CDATA[n]]>",
        ),
        (
            "/document/empty",
            "n",
            "<empty></empty>",
            "<empty>n</empty>",
        ),
        ("/document/closed", "n", "<closed />", "<closed>n</closed>"),
        (
            "/document/mixed",
            "<c d='e'/>",
            "This is <b>some</b> text",
            "<c d='e'/>",
        ),
        ("//u:x", "n", "unique &amp; &#65;", "n"),
        ("//*:n", "n", ">node<", ">n<"),
        (
            "/document/processing-instruction('style')",
            "n",
            "<?style  type=\"text\"?>",
            "<?style  n?>",
        ),
        (
            "//more",
            "<a /> <u:b>t</u:b>",
            "<more>\r\n        <s id=\"id-3\">value-3</s>\r\n    </more>",
            "<more>\r\n        <a />\r\n        <u:b>t</u:b>\r\n    </more>",
        ),
        ("//s[. = 'unique']", "n", "", ""),
        ("//u:x[. = 'unique & A']", "n", "unique &amp; &#65;", "n"),
    ] {
        let edited = changed(&[(path, value)]);
        assert_eq!(edited.text, DOCUMENT.replacen(before, after, 1), "{path}");
        assert_eq!(edited.set.is_empty(), before.is_empty(), "{path}");
    }
    let all = changed(&[("//s", "n")]).text;
    assert_eq!(
        all.matches(">n<").count() + all.matches("[n]").count(),
        3,
        "{all}"
    );
}

#[test]
fn what_cannot_be_set_stays_and_is_told() {
    for (path, value, why) in [
        ("//more", "<<<<", "no markup"),
        ("//more", "<z:a/>", "prefix 'z'"),
        ("//more", "<a>", "not closed"),
        ("/document/comment()", "a--b", "--"),
        ("//processing-instruction()", "?>", "?>"),
        ("/", "x", "document itself"),
    ] {
        let edited = changed(&[(path, value)]);
        assert_eq!(edited.text, DOCUMENT, "{path}");
        assert!(edited.refused[0].why.contains(why), "{:?}", edited.refused);
    }
}

#[test]
fn bad_documents_are_refused_by_their_place() {
    for (source, place) in [
        ("<a>\n  <b>\n</a>", "3:1"),
        ("<a><b></b>", "1:11"),
        ("<a x=1/>", "1:6"),
        ("<a x='1' x='2'/>", "1:10"),
        ("<a>&lol;</a>", "1:4"),
        ("<a>a & b</a>", "1:6"),
        ("<a b='<'/>", "1:7"),
        ("<a/><b/>", "1:5"),
        ("text", "1:1"),
        ("<a/>text", "1:5"),
        ("<!-- only -->", "1:14"),
        ("<p:a/>", "1:7"),
        ("<a><!-- a -- b --></a>", "1:11"),
        ("<a>\u{1}</a>", "1:4"),
        ("<a>]]></a>", "1:4"),
        ("<a", "1:3"),
        ("</a>", "1:1"),
        ("<a><![CDATA[x</a>", "1:4"),
        ("<?xml version='1.0'", "1:1"),
        ("{\"a\": 1}", "1:1"),
    ] {
        let error = replace(source, &settings(&[])).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{place}: not XML")),
            "{source}: {error}"
        );
    }
    let deep = "<a>".repeat(100_000);
    let error = replace(&deep, &settings(&[])).unwrap_err();
    assert!(matches!(error, ConfigError::Limit(_)), "{error}");
}

#[test]
fn dotnet_settings_are_set_by_name() {
    let source = "<configuration>\n  <appSettings>\n    <add key=\"One\" value=\"1\" />\n    <add key=\"two\"/>\n    <other key=\"One\" value=\"1\" />\n  </appSettings>\n  <x:connectionStrings xmlns:x=\"urn:x\">\n    <x:add name=\"Db\" connectionString='a' />\n  </x:connectionStrings>\n  <applicationSettings><My.Settings>\n    <setting name=\"Deep\"><value>old</value></setting>\n    <setting name=\"Bare\" />\n  </My.Settings></applicationSettings>\n</configuration>";
    let list = settings(&[
        ("one", "C:\\x"),
        ("Two", "2"),
        ("DB", "a=1&b='2'"),
        ("deep", "<n>"),
        ("BARE", "b"),
        ("None", "x"),
    ]);
    let edited = replace_settings(source, &list).unwrap();
    let expected = source
        .replacen("\"One\" value=\"1\"", "\"One\" value=\"C:\\x\"", 1)
        .replace("\"two\"/>", "\"two\" value=\"2\"/>")
        .replace("'a'", "'a=1&amp;b=&apos;2&apos;'")
        .replace("old", "&lt;n&gt;")
        .replace("\"Bare\" />", "\"Bare\"><value>b</value></setting>");
    assert_eq!(edited.text, expected);
    assert_eq!(edited.set, ["one", "Two", "DB", "deep", "BARE"]);
    let null = Settings::new([Setting {
        name: "One".to_owned(),
        value: None,
    }]);
    assert!(
        replace_settings(source, &null)
            .unwrap()
            .text
            .contains("\"One\" value=\"\"")
    );
}

#[test]
fn declarations_say_their_encoding() {
    assert_eq!(
        declared_encoding(b"<?xml version=\"1.0\" encoding = 'iso-8859-2' ?><a/>").as_deref(),
        Some("iso-8859-2")
    );
    assert_eq!(
        declared_encoding(b"<?xml version=\"1.0\"?><a encoding='x'/>"),
        None
    );
    assert_eq!(declared_encoding(b"<a encoding='x'/>"), None);
    assert_eq!(
        declare_utf8("<?xml version=\"1.0\" encoding='iso-8859-2' ?><a/>"),
        "<?xml version=\"1.0\" encoding='utf-8' ?><a/>"
    );
    assert_eq!(declare_utf8("<a/>"), "<a/>");
}
