//! Which variables a template can reach.

use super::variables;
use crate::{closure, references};

#[test]
fn names_and_prefixes_are_told_from_the_text() {
    for (template, names, prefixes) in [
        ("plain ##{A}", "", ""),
        ("#{A} #{b}", "a b", ""),
        ("#{A.B[c].D}", "a.b[c].d", ""),
        ("#{A[#{B}].C}", "a[*].c b", "a"),
        ("#{A[*].C}", "a", "a"),
        ("#{A | Append #{B} #{C | ToUpper}}", "a b c", ""),
        (
            "#{if A == B}#{C}#{elseif D | ToLower == \"e\"}#{else}#{F}#{/if}",
            "a b c d f",
            "",
        ),
        ("#{unless A}#{/unless}", "a", ""),
        ("#{each x in L.M}#{x.P}#{/each}", "l.m x.p", "l.m"),
        ("#{calc A * (B + 2)}", "a b", ""),
        ("#{A | Append #{if B}#{C}#{/if}}", "a b c", ""),
        ("#{ | NowDate}", "", ""),
        ("#{oops #{A}", "a", ""),
    ] {
        let found = references(template);
        let joined = |set: &std::collections::BTreeSet<String>| {
            set.iter().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (
                joined(&found.names).as_str(),
                joined(&found.prefixes).as_str()
            ),
            (names, prefixes),
            "{template}"
        );
    }
}

#[test]
fn reaches_compares_paths() {
    let found = references("#{Db[main].Host} #{each s in Sites}#{/each}");
    for (name, reached) in [
        ("db[MAIN].host", true),
        ("Db[main]", true),
        ("Db", true),
        ("D", false),
        ("Db[main].Hos", false),
        ("Db[other].Host", false),
        ("Db.Host", false),
        ("Sites", true),
        ("Sites[a].Url", true),
        ("Sites.Count", false),
        ("Sitess", false),
    ] {
        assert_eq!(found.reaches(name), reached, "{name}");
    }
}

#[test]
fn the_closure_follows_values() {
    let variables = variables(&[
        ("Url", "http://#{Host}:#{Port}"),
        ("Host", "#{Hosts[#{Env}].Name}"),
        ("Hosts[a].Name", "x"),
        ("Hosts[b].Name", "#{Secret}"),
        ("Env", "a"),
        ("Port", "80"),
        ("Secret", "s"),
        ("Loop", "#{Loop2}"),
        ("Loop2", "#{Loop}"),
        ("Unused", "#{Secret2}"),
        ("Secret2", "s"),
    ]);
    let names = |texts: &[&str]| {
        closure(texts.iter().copied(), &variables)
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&["#{Url}"]),
        [
            "Env",
            "Host",
            "Hosts[a].Name",
            "Hosts[b].Name",
            "Port",
            "Secret",
            "Url"
        ]
    );
    assert_eq!(names(&["#{Port}", "#{ENV}"]), ["Env", "Port"]);
    assert_eq!(names(&["#{loop}"]), ["Loop", "Loop2"]);
    assert_eq!(names(&["plain", "#{Nothing}"]), Vec::<String>::new());
}

/// Rendering with the closed set alone gives what rendering with everything gives.
#[test]
fn the_closed_set_is_enough_to_render() {
    let all = variables(&[
        (
            "A",
            "#{B}#{each x in L}#{x.P}#{if x.Q == \"1\"}!#{/if}#{/each}",
        ),
        ("B", "#{J.name} #{M[#{K}]}"),
        ("J", r##"{"name":"#{N}"}"##),
        ("N", "n"),
        ("M[k]", "m"),
        ("K", "k"),
        ("L[a].P", "1"),
        ("L[b].P", "#{calc Two*2}"),
        ("L[b].Q", "1"),
        ("Two", "2"),
        ("Other", "o"),
    ]);
    let names = closure(["#{A}"], &all);
    assert!(!names.contains("Other"));
    let mut closed = crate::Variables::new();
    for (name, value) in all.iter().filter(|(name, _)| names.contains(*name)) {
        closed.insert(name, value.map(str::to_owned));
    }
    let render = |variables| {
        crate::render("#{A}", variables, &super::options())
            .unwrap()
            .text
            .into_owned()
    };
    assert_eq!(render(&all), "n m14!");
    assert_eq!(render(&closed), render(&all));
}

#[test]
fn filters_that_do_not_exist_are_told_wherever_they_stand() {
    for (template, unknown) in [
        ("#{A | ToUpper | null | Match x | markdown}", &[][..]),
        ("#{A | Nope | ToUpper | Other}", &["Nope", "Other"]),
        ("#{if A | Shout == \"x\"}y#{/if}", &["Shout"]),
        ("#{if A}#{A | Nope}#{/if}", &["Nope"]),
        ("#{A | Append #{B | Nope}}", &["Nope"]),
        ("#{each x in A | Reverse}#{x}#{/each}", &[]),
        ("#{A | Reverse}", &["Reverse"]),
        ("##{A | Nope} | Nope", &[]),
    ] {
        let found = references(template).unknown_filters;
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, unknown, "{template}");
    }
}
