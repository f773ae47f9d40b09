//! Names that only their case tells apart, and phases that no release could pass.
#![allow(clippy::unwrap_used)]

use super::*;

/// A server with these environments, a lifecycle, a target and a variable set.
fn a_server(environments: &[&str]) -> Known {
    let set = VariableSetDefinition {
        name: "mail".to_owned(),
        description: None,
        include: Vec::new(),
        variables: Vec::new(),
    };
    Known {
        complete: true,
        environments: environments.iter().map(|name| (*name).to_owned()).collect(),
        lifecycles: ["standard".to_owned()].into(),
        targets: [("web01".to_owned(), Vec::new())].into(),
        variable_sets: [("mail".to_owned(), set)].into(),
        ..Known::default()
    }
}

fn refusals(texts: &[&str], known: &Known) -> Vec<String> {
    let names = ["a.yaml", "b.yaml"];
    let sources = texts.iter().zip(names);
    let sources: Vec<Source<'_>> = sources.map(|(text, name)| Source { name, text }).collect();
    match parse(&sources, known) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn names_that_differ_by_case_only_are_refused_with_both_places() {
    let head = "mantle: v1\n";
    for (first, second, said) in [
        (
            "environments: [{ name: live }]",
            "environments: [{ name: Live }]",
            "b.yaml:2:24: environment 'Live' and 'live' at a.yaml:2 differ by letter case only; give one of them another name",
        ),
        (
            "targets: [{ name: db01 }]",
            "targets: [{ name: DB01 }]",
            "b.yaml:2:19: target 'DB01' and 'db01' at a.yaml:2 differ by letter case only; give one of them another name",
        ),
        (
            "lifecycles: [{ name: fast }]",
            "lifecycles: [{ name: Fast }]",
            "b.yaml:2:22: lifecycle 'Fast' and 'fast' at a.yaml:2 differ by letter case only; give one of them another name",
        ),
        (
            "variable_set: web",
            "variable_set: Web",
            "b.yaml:2:15: variable set 'Web' and 'web' at a.yaml:2 differ by letter case only; give one of them another name",
        ),
    ] {
        let texts = [format!("{head}{first}\n"), format!("{head}{second}\n")];
        let found = refusals(&[&texts[0], &texts[1]], &a_server(&[]));
        assert_eq!(found, [said]);
        let twice = refusals(&[&texts[0], &texts[0]], &a_server(&[]));
        assert!(
            twice[0].contains("is declared at a.yaml:2 already"),
            "{twice:?}"
        );
    }
}

#[test]
fn names_inside_a_project_are_told_apart_by_more_than_case() {
    let project = "mantle: v1\nproject: shop\n";
    let step = |name: &str| {
        format!(
            "  - {{ step: {name}, targets: {{ tag: web }}, uses: script, with: {{ run: 'true' }} }}\n"
        )
    };
    let steps = format!("{project}process:\n{}{}", step("Install"), step("install"));
    assert_eq!(
        refusals(&[&steps], &a_server(&[])),
        [
            "a.yaml:5:13: step or action 'install' and 'Install' at line 4 differ by letter case only; give one of them another name"
        ]
    );
    let channels = format!("{project}channels: [{{ name: hotfix }}, {{ name: Hotfix }}]\n");
    let found = refusals(&[&channels], &a_server(&[]));
    assert!(
        found[0].contains("channel 'Hotfix' and 'hotfix' at line 3"),
        "{found:?}"
    );
    let packages = format!("{project}packages: [{{ id: Web }}, {{ id: web }}]\n");
    let found = refusals(&[&packages], &a_server(&[]));
    assert!(
        found[0].contains("package 'web' and 'Web' at line 3"),
        "{found:?}"
    );
}

#[test]
fn what_the_server_has_is_not_doubled_in_another_case_and_keeps_its_name() {
    let other = "mantle: v1\nenvironments: [{ name: Live }]\n";
    assert_eq!(
        refusals(&[other], &a_server(&["live"])),
        [
            "a.yaml:2:24: environment 'Live' and 'live' of the server differ by letter case only; write 'live'"
        ]
    );
    let both = "mantle: v1\nenvironments: [{ name: Live }, { name: live }]\n";
    assert_eq!(refusals(&[both], &a_server(&["live", "Live"])), [""; 0]);
    assert_eq!(refusals(&[other], &a_server(&["live", "Live"])), [""; 0]);
    // Offline nothing is known of the server.
    assert_eq!(refusals(&[other], &Known::default()), [""; 0]);
}

#[test]
fn a_phase_needs_no_more_successes_than_it_has_environments() {
    let known = a_server(&["test", "live"]);
    let phases = |phases: &str| {
        let text = format!("mantle: v1\nlifecycles:\n  - name: fast\n    phases: [{phases}]\n");
        refusals(&[&text], &known)
    };
    for (accepted, text) in [
        (true, "{ name: A, environments: [test, live], minimum: 2 }"),
        (false, "{ name: A, environments: [test, live], minimum: 3 }"),
        (false, "{ name: A, environments: [test, test], minimum: 2 }"),
        (true, "{ name: A, minimum: 2 }"),
        (false, "{ name: A, minimum: 3 }"),
        (
            true,
            "{ name: A, environments: test }, { name: B, minimum: 1 }",
        ),
        (
            false,
            "{ name: A, environments: test }, { name: B, minimum: 2 }",
        ),
    ] {
        assert_eq!(
            phases(text).is_empty(),
            accepted,
            "{text}: {:?}",
            phases(text)
        );
    }
    assert_eq!(
        phases("{ name: A, environments: [test, live], minimum: 3 }"),
        [
            "a.yaml:4:62: phase 'A' needs success in 3 of its environments and has 2, so no release could pass it; lower 'minimum', leave it out for all of them, or name further environments"
        ]
    );
    // What the rest is, only the server knows.
    let rest = "mantle: v1\nlifecycles: [{ name: fast, phases: [{ name: A, minimum: 3 }] }]\n";
    assert_eq!(refusals(&[rest], &Known::default()), [""; 0]);
}
