//! The language rule by rule, in the order of section 1.4 ("Octostache syntax") of the reference of behaviours
//! that this implementation answers to. What the rules leave open is in the tables of the other files.

use super::{Row, check, lenient, options, variables};
use crate::filters::NAMES;
use crate::{Error, ProblemKind, render};

/// Section 1.4: `#{Name}`, nested indexes, properties, escapes, identifiers, and values that are JSON.
#[test]
fn substitution() {
    check(&[
        (&[("Name", "v")], "<#{Name}>", "<v>"),
        (&[("name", "v")], "#{NAME}", "v"),
        (&[("A[b]", "v"), ("B", "b")], "#{A[#{B}]}", "v"),
        (
            &[("A[b]", "v"), ("B[c]", "b"), ("C", "c")],
            "#{A[#{B[#{C}]}]}",
            "v",
        ),
        (&[("A[x].Prop", "v")], "#{A[x].Prop}", "v"),
        (&[("A[x].B[y].C", "v")], "#{A[x].B[y].C}", "v"),
        (&[("A", "v")], "##{A}", "#{A}"),
        (&[("A", "v")], "###{A}", "#v"),
        (&[("a.b-c_d e1", "v")], "#{a.b-c_d e1}", "v"),
        (&[("Json", r#"{"prop":["v"]}"#)], "#{Json.prop[0]}", "v"),
        (&[("Json", r#"{"prop":["v"]}"#)], "#{Json[prop][0]}", "v"),
        // A name of its own counts more than a member.
        (
            &[("Json", r#"{"prop":"m"}"#), ("Json.prop", "v")],
            "#{Json.prop}",
            "v",
        ),
    ]);
}

/// Section 1.4: conditionals with `==` and `!=` between names and quoted texts, filters in them, and what is false.
#[test]
fn conditionals() {
    const V: &[(&str, &str)] = &[("A", "x"), ("B", "x"), ("C", "y"), ("Up", "X")];
    for (condition, holds) in [
        ("A", true),
        ("Missing", false),
        ("A == B", true),
        ("A != B", false),
        ("A == C", false),
        ("A == \"x\"", true),
        ("A != \"x\"", false),
        ("\"x\" == A", true),
        ("\"x\" == \"y\"", false),
        ("A == \"X\"", false),
        ("Up | ToLower == A", true),
        ("A == Up | ToLower", true),
        ("A | Contains x", true),
        ("Missing == AlsoMissing", true),
    ] {
        let chosen = lenient(V, &format!("#{{if {condition}}}t#{{else}}f#{{/if}}"))
            .text
            .into_owned();
        assert_eq!(chosen == "t", holds, "if {condition}");
        let chosen = lenient(
            V,
            &format!("#{{unless {condition}}}f#{{else}}t#{{/unless}}"),
        )
        .text
        .into_owned();
        assert_eq!(chosen == "t", holds, "unless {condition}");
        let chosen = lenient(
            V,
            &format!("#{{if No}}n#{{elseif {condition}}}t#{{else}}f#{{/if}}"),
        )
        .text
        .into_owned();
        assert_eq!(chosen == "t", holds, "elseif {condition}");
    }
    for (value, truth) in [
        ("", false),
        ("false", false),
        (" FALSE ", false),
        ("no", false),
        (" No", false),
        ("0", false),
        ("true", true),
        ("yes", true),
        ("1", true),
        ("00", true),
        ("off", true),
    ] {
        let chosen = lenient(&[("V", value)], "#{if V}t#{else}f#{/if}")
            .text
            .into_owned();
        assert_eq!(chosen == "t", truth, "{value:?}");
    }
}

/// Section 1.4: iteration over indexed names, JSON and lists, in their order, with the loop's own variables.
#[test]
fn iteration() {
    check(&[
        (
            &[("L[b].N", "1"), ("L[a].N", "2")],
            "#{each i in L}#{i}#{i.N}#{/each}",
            "b1a2",
        ),
        (
            &[("L", "[1,\"b\"]")],
            "#{each i in L}<#{i}>#{/each}",
            "<1><b>",
        ),
        (
            &[("L", r#"{"k":"v","l":{"m":1}}"#)],
            "#{each i in L}#{i.Key}=#{i.Value};#{/each}",
            "k=v;l={\"m\":1};",
        ),
        (&[("L", "a,b")], "#{each i in L}<#{i}>#{/each}", "<a><b>"),
        (&[], "#{each i in L}<#{i}>#{/each}", ""),
        (
            &[("L", "a,b,c")],
            "#{each i in L}#{Octopus.Template.Each.Index}#{Octopus.Template.Each.First}#{Octopus.Template.Each.Last} #{/each}",
            "0TrueFalse 1FalseFalse 2FalseTrue ",
        ),
    ]);
}

/// Section 1.4: `calc` with the four operations and parentheses.
#[test]
fn calculation() {
    const V: &[(&str, &str)] = &[("A", "3"), ("B", "5")];
    let rows: Vec<Row> = vec![
        (V, "#{calc A * (B + 2)}", "21"),
        (V, "#{calc A*B+2}", "17"),
        (V, "#{calc B - A}", "2"),
        (V, "#{calc A / 2}", "1.5"),
        (V, "#{calc (A + B) / (B - A)}", "4"),
        (V, "#{calc A + Missing}", "#{A+Missing}"),
    ];
    check(&rows);
}

/// Section 1.4: the list of filters, each by name, with a result that only it gives.
#[test]
fn filters() {
    let rows = [
        ("Ab", "ToLower", "ab"),
        ("Ab", "ToUpper", "AB"),
        ("Bar", "ToBase64", "QmFy"),
        ("QmFy", "FromBase64", "Bar"),
        ("1 < 2/'", "HtmlEscape", "1 &lt; 2&#x2F;&apos;"),
        ("A b:c+d/e", "UriEscape", "A%20b:c+d/e"),
        ("A b:c+d/e", "UriDataEscape", "A%20b%3Ac%2Bd%2Fe"),
        ("1 < 2/", "XmlEscape", "1 &lt; 2/"),
        ("\"a\"\t", "JsonEscape", "\\\"a\\\"\\t"),
        ("bee's", "YamlSingleQuoteEscape", "bee''s"),
        ("\"H\"\\G", "YamlDoubleQuoteEscape", "\\\"H\\\"\\\\G"),
        ("Hey: x=y", "PropertiesKeyEscape", "Hey\\:\\ x\\=y"),
        ("a\\b=c", "PropertiesValueEscape", "a\\\\b=c"),
        ("_r_", "Markdown", "<p><em>r</em></p>\n\n"),
        ("_r_", "MarkdownToHtml", "<p><em>r</em></p>\n\n"),
        (
            "2030-05-04T10:00:00Z",
            "AddHours 2",
            "2030-05-04T12:00:00.0000000Z",
        ),
        (
            "2030-05-04T10:00:00Z",
            "AddDays -4",
            "2030-04-30T10:00:00.0000000Z",
        ),
        ("4.3", "Format C", "$4.30"),
        ("abc", "Match \"b.\"", "true"),
        ("ab12c3", "Replace \"[0-9]+\" X", "abXcX"),
        ("abc", "StartsWith ab", "true"),
        ("abc", "EndsWith ab", "false"),
        ("a b(c", "Contains \" b(\"", "true"),
        ("Octopus Deploy", "Substring 8 6", "Deploy"),
        ("Octopus Deploy", "Truncate 7", "Octopus..."),
        (" B ", "Trim", "B"),
        (" B ", "Trim start", "B "),
        (" B ", "Trim end", " B"),
        ("a\nb", "Indent 2", "  a\n  b"),
        ("https://o.com/docs", "UriPart Host", "o.com"),
        ("1.2.3.4-b.5+m", "VersionMajor", "1"),
        ("1.2.3.4-b.5+m", "VersionMinor", "2"),
        ("1.2.3.4-b.5+m", "VersionPatch", "3"),
        ("1.2.3.4-b.5+m", "VersionPreRelease", "b.5"),
        ("1.2.3.4-b.5+m", "VersionPreReleasePrefix", "b"),
        ("1.2.3.4-b.5+m", "VersionPreReleaseCounter", "5"),
        ("1.2.3.4-b.5+m", "VersionRevision", "4"),
        ("1.2.3.4-b.5+m", "VersionMetadata", "m"),
        ("b", "Append c", "bc"),
        ("b", "Prepend a", "ab"),
        ("x", "Md5", "9dd4e461268c8034f5c8564e155c67a6"),
        ("x", "Sha1", "11f6ad8ec52a2984abaafd7c3b516503785c2072"),
        ("x", "Sha256 4", "2d711642"),
        ("x", "Sha384 4", "d752c2c5"),
        ("x", "Sha512 4", "a4abd444"),
        ("x", "Null", ""),
        ("", "NowDate", ""),
        ("", "NowDateUtc", ""),
    ];
    for (value, filter, expected) in rows {
        if filter.starts_with("NowDate") {
            let text = lenient(&[], &format!("#{{ | {filter}}}")).text.into_owned();
            assert!(text.starts_with("2030-05-04T09:07:03.25"), "{text}");
            continue;
        }
        let text = lenient(&[("V", value)], &format!("#{{V | {filter}}}"))
            .text
            .into_owned();
        assert_eq!(text, expected, "{value:?} | {filter}");
        let lower = filter.replacen(
            filter.split(' ').next().unwrap(),
            &filter.split(' ').next().unwrap().to_ascii_lowercase(),
            1,
        );
        let again = lenient(&[("V", value)], &format!("#{{V|{lower}}}"))
            .text
            .into_owned();
        assert_eq!(again, expected, "{lower}");
    }
    for name in NAMES {
        let template = format!("#{{V | {name} a b c d}}");
        let known = lenient(&[("V", "x")], &template);
        let unknown = |kind: &ProblemKind| matches!(kind, ProblemKind::UnknownFilter { .. });
        assert!(
            !known.problems.iter().any(|problem| unknown(&problem.kind)),
            "{name}"
        );
    }
}

/// Section 1.4: chained with `|`; of an unknown filter the source text is left in place.
#[test]
fn chains_and_unknown_filters() {
    check(&[
        (
            &[("A", " aB ")],
            "#{A | Trim | ToUpper | Append !}",
            "#{A | Trim | ToUpper | Append !}",
        ),
        (
            &[("A", " aB ")],
            "#{A | Trim | ToUpper | Append \"!\"}",
            "AB!",
        ),
        (&[("A", "a")], "#{A | Nope}", "#{A | Nope}"),
        (
            &[("A", "a")],
            "#{A|Nope  1 \"b c\"  #{A}}",
            "#{A|Nope  1 \"b c\"  #{A}}",
        ),
        (
            &[("A", "a")],
            "<#{A | ToUpper | Nope | ToLower}>",
            "<#{A | ToUpper | Nope | ToLower}>",
        ),
    ]);
}

/// Section 1.4: a missing variable leaves its token, with a warning; recursion is an error that names the chain.
#[test]
fn what_is_missing_and_what_is_endless() {
    let rendered = lenient(&[("A", "[#{Gone}]")], "#{A}#{Gone}");
    assert_eq!(rendered.text, "[#{Gone}]#{Gone}");
    assert_eq!(rendered.unresolved().collect::<Vec<_>>(), ["#{Gone}"]);
    assert!(rendered.first_error().is_none());
    let endless = variables(&[("Foo", "#{Bar}"), ("Bar", "#{Baz}"), ("Baz", "#{foo}")]);
    let rendered = render("<#{Foo}>", &endless, &options()).unwrap();
    assert_eq!(rendered.text, "<#{Foo}>");
    let message = rendered.first_error().unwrap().to_string();
    assert!(message.contains("Foo -> Bar -> Baz -> foo"), "{message}");
    let strict = render("<#{Foo}>", &endless, &options().strict());
    assert!(matches!(strict, Err(Error::Recursion(_))));
}
