//! Names, paths, indexes, escapes and JSON.

use super::{check, lenient};

#[test]
fn names_are_replaced_by_their_values() {
    check(&[
        (&[], "", ""),
        (&[], "no tags here", "no tags here"),
        (&[("Port", "8080")], "#{Port}", "8080"),
        (&[("Port", "8080")], "<#{Port}>", "<8080>"),
        (&[("Port", "8080")], "#{Port}#{Port}", "80808080"),
        (
            &[("PORT", "8080")],
            "#{port} #{Port} #{pOrT}",
            "8080 8080 8080",
        ),
        (&[("Größe", "XL")], "#{grösse}#{GRÖßE}", "#{grösse}XL"),
        (&[("Port", "")], "[#{Port}]", "[]"),
        (&[("Web Port", "1")], "#{Web Port}", "1"),
        (&[("Port", "1")], "#{ Port}#{Port }#{  Port  }", "111"),
        (&[("Port", "1")], "#{\n Port\t}", "1"),
        (&[("a-b_c:d/e~f(g)", "1")], "#{a-b_c:d/e~f(g)}", "1"),
        (&[("Version2", "1")], "#{Version2}", "1"),
        (&[("2nd", "1")], "#{2nd}", "1"),
        (&[("日本", "1")], "#{日本}", "1"),
        (
            &[("if", "1"), ("each", "2"), ("calc", "3"), ("else", "4")],
            "#{if}#{each}#{calc}#{else}",
            "1234",
        ),
        (
            &[("iffy", "1"), ("eachone", "2")],
            "#{iffy}#{eachone}",
            "12",
        ),
        (&[("if ready", "1")], "#{if ready}", "#{if ready}"),
        (&[("calc ulus", "1")], "#{ulus}", "#{ulus}"),
        (
            &[("in", "1"), ("Made in Bern", "2")],
            "#{in}#{Made in Bern}",
            "12",
        ),
    ]);
}

#[test]
fn values_are_templates() {
    check(&[
        (&[("A", "#{B}"), ("B", "x")], "#{A}", "x"),
        (
            &[("A", "<#{B}>"), ("B", "#{C}#{C}"), ("C", "x")],
            "#{A}",
            "<xx>",
        ),
        (&[("A", "#{Missing}")], "[#{A}]", "[#{Missing}]"),
        (&[("A", "##{B}"), ("B", "x")], "#{A}", "#{B}"),
        (
            &[("A", "#{B | ToUpper}"), ("B", "x")],
            "#{A | ToLower}",
            "x",
        ),
        (&[("A", "#{if B}yes#{/if}"), ("B", "1")], "#{A}", "yes"),
        // A value that is not a well-formed template is taken as it is, all of it.
        (&[("A", "#{B} #{oops"), ("B", "x")], "#{A}", "#{B} #{oops"),
        (&[("A", "#{B} #{/if}"), ("B", "x")], "#{A}", "#{B} #{/if}"),
        (&[("A", "cost: 5# {no}")], "#{A}", "cost: 5# {no}"),
    ]);
}

#[test]
fn properties_and_indexes_form_paths() {
    check(&[
        (&[("Db.Host", "h")], "#{Db.Host}", "h"),
        (&[("Db.Host", "h")], "#{db.HOST}", "h"),
        (&[("Db.Host", "h")], "#{Db . Host}", "h"),
        (&[("Db.Host", "h")], "#{Db}", "#{Db}"),
        (&[("Db[main].Host", "h")], "#{Db[main].Host}", "h"),
        (&[("Db[main].Host", "h")], "#{Db[MAIN].Host}", "h"),
        (&[("Db[main]", "h")], "#{Db[main]}", "h"),
        (&[("Db[]", "h")], "#{Db[]}", "h"),
        (&[("Db[a b.c]", "h")], "#{Db[a b.c]}", "h"),
        (&[("Db[ a ]", "h")], "#{Db[a]}#{Db[  a  ]}", "hh"),
        (&[("P[c[0].d].Tag", "t")], "#{P[c[0].d].Tag}", "t"),
        (&[("A[x][y]", "1")], "#{A[x][y]}", "1"),
        (&[("A[x].B[y].C", "1")], "#{A[x].B[y].C}", "1"),
        // An index without a value of its own stands for itself.
        (&[("A[x].B", "1")], "#{A[x]}", "x"),
        (&[("A[x].B", "1")], "#{A[x].Key}", "x"),
        (&[("A[x].Key", "mine")], "#{A[x].Key}", "mine"),
        (&[("A[x]", "1")], "#{A[y]}", "#{A[y]}"),
        (&[("A[x].B", "1"), ("A[y].B", "2")], "#{A[*].B}", "1"),
        (&[("B", "1")], "#{A[*].B}", "#{A[*].B}"),
    ]);
}

#[test]
fn an_index_may_be_a_tag() {
    let region: &[(&str, &str)] = &[
        ("Url[eu]", "e"),
        ("Url[us].Path", "u"),
        ("Region", "eu"),
        ("Other", "US"),
    ];
    for (template, expected) in [
        ("#{Url[#{Region}]}", "e"),
        ("#{Url[ #{Region} ]}", "e"),
        ("#{Url[#{Other}].Path}", "u"),
        ("#{Url[#{Other | ToLower}].Path}", "u"),
        ("#{Url[#{Nowhere}]}", "#{Url[#{Nowhere}]}"),
        ("#{Url[x#{Region}]}", "#{Url[x#{Region}]}"),
    ] {
        assert_eq!(lenient(region, template).text, expected, "{template}");
    }
    check(&[
        (
            &[("A[k]", "b"), ("B[b]", "c"), ("X", "k")],
            "#{B[#{A[#{X}]}]}",
            "c",
        ),
        (
            &[("A[b]", "1"), ("X", "#{Y}"), ("Y", "b")],
            "#{A[#{X}]}",
            "1",
        ),
        (&[("X", "#{X[#{k}]}"), ("k", "v")], "#{X}", "#{X[#{k}]}"),
    ]);
}

#[test]
fn hashes_escape_tags() {
    check(&[
        (&[("A", "x")], "##{A}", "#{A}"),
        (&[("A", "x")], "###{A}", "#x"),
        (&[("A", "x")], "####{A}", "###{A}"),
        (&[("A", "x")], "#####{A}", "###x"),
        (&[("A", "x")], "##{A}#{A}##{A}", "#{A}x#{A}"),
        (&[("A", "x")], "a ## b # c ### d", "a ## b # c ### d"),
        (&[("A", "x")], "#", "#"),
        (&[("A", "x")], "##", "##"),
        (&[("A", "x")], "#{A}#", "x#"),
        (&[("A", "x")], "# {A} {A} $A", "# {A} {A} $A"),
        (&[("A", "x")], "##{if A}", "#{if A}"),
        (&[("A", "x")], "#{if A}##{/if}#{/if}", "#{/if}"),
    ]);
}

#[test]
fn json_values_are_walked_into() {
    const DOC: &str = r#"{"name":"web","ports":[80,443],"on":true,"none":null,"sub":{"deep":{"er":"x"}},"pi":3.140}"#;
    check(&[
        (&[("J", DOC)], "#{J.name}", "web"),
        (&[("J", DOC)], "#{J[name]}", "web"),
        (&[("J", DOC)], "#{j.name}", "web"),
        (&[("J", DOC)], "#{J.ports[1]}", "443"),
        (&[("J", DOC)], "#{J.ports}", "[80,443]"),
        (&[("J", DOC)], "[#{J.ports[2]}]", "[]"),
        (&[("J", DOC)], "#{J.ports.first}", "#{J.ports.first}"),
        (&[("J", DOC)], "#{J.on}", "True"),
        (&[("J", DOC)], "[#{J.none}]", "[]"),
        (&[("J", DOC)], "[#{J.Name}]", "[]"),
        (&[("J", DOC)], "[#{J.nothing}]", "[]"),
        (&[("J", DOC)], "#{J.sub.deep.er}#{J[sub][deep][er]}", "xx"),
        (&[("J", DOC)], "#{J.sub}", r#"{"deep":{"er":"x"}}"#),
        (&[("J", DOC)], "#{J.pi}", "3.14"),
        (&[("J", DOC), ("K", "name")], "#{J[#{K}]}", "web"),
        (&[("J", DOC)], "#{J.name | ToUpper}", "WEB"),
        (&[("J", DOC)], "[#{J.none | ToUpper}]", "[]"),
        (&[("J", DOC), ("J.name", "own")], "#{J.name}", "own"),
        (
            &[("J", DOC), ("J[name]", "own")],
            "#{J[name]}#{J.name}",
            "ownweb",
        ),
        (&[("J.name", "own"), ("J", DOC)], "#{J.name}", "own"),
        (&[("J", "not json")], "#{J.name}", "#{J.name}"),
        (&[("J", "{name: bare}")], "#{J.name}", "#{J.name}"),
        (&[("J", "{name: 'bare'}")], "#{J.name}", "bare"),
        (&[("J", "12")], "#{J.name}", "#{J.name}"),
        (&[("J", "")], "#{J.name}", "#{J.name}"),
        (&[("A[x]", r#"{"p":"q"}"#)], "#{A[x].p}", "q"),
    ]);
}

#[test]
fn json_may_hold_tags() {
    check(&[
        (&[("J", r##"{"a":"#{V}"}"##), ("V", "x")], "#{J.a}", "x"),
        (
            &[("J", r##"{#{K}:"#{V}"}"##), ("K", "a"), ("V", "x")],
            "#{J.a}#{J[a]}#{J[#{K}]}",
            "xxx",
        ),
        (&[("J", "#{Real}"), ("Real", r#"{"a":1}"#)], "#{J.a}", "1"),
        // Members that refer to each other.
        (&[("J", r#"{"a":"<#{J.b}>","b":"x"}"#)], "#{J.a}", "<x>"),
        (
            &[("J", r##"{"a":"#{J.b}","b":"#{J.c}","c":"x"}"##)],
            "#{J.a}",
            "x",
        ),
        (
            &[("J", r##"{"s":{"a":"#{J.l.p}","l":1}}"##)],
            "#{J.s.a.q}",
            "#{J.s.a.q}",
        ),
    ]);
}

#[test]
fn a_null_variable_exists_and_is_empty() {
    let mut variables = crate::Variables::new();
    variables.insert("N", None);
    let rendered = crate::render("[#{N}][#{N | ToUpper}]", &variables, &super::options()).unwrap();
    assert_eq!(rendered.text, "[][]");
    assert!(rendered.is_complete());
    assert!(variables.contains("n") && variables.get("N").is_none());
}

#[test]
fn a_variable_that_is_set_again_keeps_its_place() {
    let variables: crate::Variables = [("L[a]", "1"), ("L[b]", "2"), ("l[A]", "3")]
        .into_iter()
        .collect();
    let rendered =
        crate::render("#{each x in L}#{x}#{/each}", &variables, &super::options()).unwrap();
    assert_eq!(rendered.text, "32");
    assert_eq!(variables.len(), 2);
    assert_eq!(
        variables.iter().collect::<Vec<_>>(),
        [("L[a]", Some("3")), ("L[b]", Some("2"))]
    );
}
