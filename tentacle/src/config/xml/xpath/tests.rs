//! What expressions select, and what they may cost.

use super::super::tree::{Document, Kind};
use super::*;

const DOCUMENT: &str = r#"<?xml version="1.0"?>
<doc xmlns:p="urn:p">
  <!-- first -->
  <a id="1" p:k="v">one</a>
  <a id="2"><![CDATA[two]]></a>
  <b xmlns="urn:d"><c>5</c><c>7</c></b>
  <p:c n="x">tail</p:c>
  <?go now?>
</doc>"#;

/// What an expression selects, each as `name=text`, or the error.
fn selected(expression: &str) -> String {
    let document = Document::parse(DOCUMENT).unwrap();
    let prefixes = document.all_prefixes();
    let mut context = Context::new(&document, &prefixes, Blanks::Unseen);
    let found = Expression::parse(expression)
        .and_then(|expression| expression.select(&mut context, Document::ROOT));
    match found {
        Err(error) => format!("error: {error}"),
        Ok(items) => items
            .into_iter()
            .map(|item| {
                let name = match item {
                    Item::Attribute(id, at) => {
                        document.element(id).unwrap().attributes[at].name.clone()
                    }
                    Item::Node(id) => match document.kind(id) {
                        Kind::Element(element) => element.name.clone(),
                        Kind::Root => "/".to_owned(),
                        Kind::Text(_) => "text".to_owned(),
                        Kind::CData(_) => "cdata".to_owned(),
                        Kind::Comment(_) => "comment".to_owned(),
                        Kind::Instruction { target, .. } => format!("?{target}"),
                        Kind::Verbatim(_) => "verbatim".to_owned(),
                    },
                };
                format!(
                    "{name}={}",
                    item.text(&document).split_whitespace().collect::<String>()
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[test]
fn paths_select_what_they_name() {
    for (expression, expected) in [
        ("/doc/a", "a=one a=two"),
        ("/doc/a[2]", "a=two"),
        ("/doc/a[last()]/@id", "id=2"),
        ("/doc/a[@id='1']/@id", "id=1"),
        ("/doc/a/text()", "text=one cdata=two"),
        ("//a[. = 'two']", "a=two"),
        ("/doc/comment()", "comment=first"),
        ("/doc/processing-instruction('go')", "?go=now"),
        ("/doc/processing-instruction()", "?go=now"),
        ("//c", ""),
        ("//*:c", "c=5 c=7 p:c=tail"),
        ("//p:c", "p:c=tail"),
        ("//p:*", "p:c=tail"),
        ("//@p:k", "p:k=v"),
        ("//*[@*:k]", "a=one"),
        (
            "//*[local-name()='c' and namespace-uri()='urn:d'][. > 5]",
            "c=7",
        ),
        ("//*[local-name()='b'][count(*)=2]/*[position() = 1]", "c=5"),
        ("/doc/a[2]/preceding-sibling::a", "a=one"),
        ("/doc/a[1]/following-sibling::*[1]", "a=two"),
        ("/doc/p:c/preceding::*[1]", "c=7"),
        ("/doc/a[2]/following::*:c[last()]", "p:c=tail"),
        ("//a[1]/..", "doc=onetwo57tail"),
        ("//@id/parent::a[@id=2]", "a=two"),
        ("//*:c[1]/ancestor::doc/@*", ""),
        ("(//a | //p:c)[last()]", "p:c=tail"),
        ("/doc/a[not(@id='1')]", "a=two"),
        ("/doc/a[@id = 3 - 1]", "a=two"),
        (
            "/doc/a[contains(., 'n') or starts-with(@id, '2')]",
            "a=one a=two",
        ),
        ("/doc/*[@n eq 'x']", "p:c=tail"),
        ("/", "/=onetwo57tail"),
        ("//a[translate(., 'o', 'O') = 'One']", "a=one"),
        (
            "//a[substring(., 2, 1) = 'w' and string-length(.) = 3]",
            "a=two",
        ),
        (
            "//a[sum(//*:b/*) = 12 and floor(1.5) = 1 and round(1.5) = 2]",
            "a=one a=two",
        ),
        ("//text()[normalize-space(.) = 'tail']", "text=tail"),
        ("/doc/child::node()[1]", "comment=first"),
        ("div", ""),
        ("//a[mod * 2 div 1 = -1]", ""),
    ] {
        assert_eq!(selected(expression), expected, "{expression}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for (expression, expected) in [
        ("//q:c", "the prefix 'q' is not declared"),
        ("count(//a)", "gives a number"),
        ("'x'", "gives a text"),
        ("1 = 1", "gives true or false"),
        ("//a[", "missing"),
        ("//a]", "too much"),
        ("/doc/", "missing"),
        ("//a['x]", "no end"),
        ("$x", "no variables"),
        ("nope(1)", "no function 'nope'"),
        ("count()", "does not take 0"),
        ("side::a", "'side' is no axis"),
        ("a#b", "'#' may not stand there"),
        ("'a'/b", "nodes are needed"),
    ] {
        let found = selected(expression);
        assert!(
            found.starts_with("error: ") && found.contains(expected),
            "{expression}: {found}"
        );
    }
}

#[test]
fn expressions_and_evaluations_are_bounded() {
    let deep = format!("{}a{}", "(".repeat(5_000 / 2), ")".repeat(5_000 / 2));
    assert!(selected(&deep).contains("nests too deep"));
    let long = "a".repeat(MAX_LENGTH + 1);
    assert!(selected(&long).contains("longer"));
    let wide = format!("<r>{}</r>", "<a/>".repeat(3_000));
    let document = Document::parse(&wide).unwrap();
    let prefixes = Vec::new();
    let mut context = Context::new(&document, &prefixes, Blanks::Seen);
    let costly = Expression::parse("//a[count(//a[count(//a) > 1]) > 1]").unwrap();
    assert_eq!(
        costly.select(&mut context, Document::ROOT),
        Err(XPathError::Budget)
    );
}
