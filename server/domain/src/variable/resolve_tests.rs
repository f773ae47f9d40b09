//! The order of specificity, reference section 1.4.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::process::Process;
use crate::variable::{VariableValue, possible_ties};

fn set(text: &str) -> BTreeSet<String> {
    text.split('|')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `e=test t=web01 g=web s=Install c=stable n=Ring/Early p=deployment` as a scope; `lib=mail` says
/// which variable set the value is from.
fn scope(text: &str) -> Scope {
    let mut scope = Scope::default();
    for part in text.split_whitespace() {
        let (kind, names) = part.split_once('=').unwrap();
        *match kind {
            "e" => &mut scope.environments,
            "t" => &mut scope.targets,
            "g" => &mut scope.tags,
            "s" => &mut scope.steps,
            "c" => &mut scope.channels,
            "n" => &mut scope.tenant_tags,
            "p" => &mut scope.processes,
            "lib" => continue,
            other => unreachable!("{other}"),
        } = set(names);
    }
    scope
}

fn variable(scopes: &[&str]) -> Variable {
    Variable {
        name: "X".to_owned(),
        values: scopes
            .iter()
            .map(|text| ScopedValue {
                from: text
                    .split_whitespace()
                    .find_map(|part| part.strip_prefix("lib="))
                    .map(str::to_owned),
                ..ScopedValue::own(VariableValue::Text((*text).to_owned()), scope(text))
            })
            .collect(),
    }
}

fn tags() -> Vec<String> {
    vec!["linux".to_owned(), "web".to_owned()]
}

fn situation(tags: &[String]) -> Situation<'_> {
    Situation {
        environment: Some("test"),
        channel: Some("stable"),
        target: Some(SituationTarget {
            name: "web01",
            tags,
        }),
        step: Some("Farm"),
        step_tag: Some("web"),
        action: Some("Install"),
        tenant_tags: &[],
        process: Some(DEPLOYMENT_PROCESS),
    }
}

/// From the most specific to the least.
const LADDER: &[&str] = &[
    "s=Install t=web01",
    "s=Install e=test",
    "s=Install",
    "s=Farm t=web01 e=test c=stable",
    "s=Farm",
    "t=web01 g=web",
    "t=web01 e=test",
    "t=web01",
    "g=web e=test",
    "g=web",
    "g=linux e=test",
    "g=linux",
    "e=test c=stable",
    "e=test",
    "lib=mail e=test",
    "c=stable p=deployment",
    "c=stable",
    "p=deployment",
    "",
];

#[test]
fn each_rung_beats_all_below_it_in_either_order() {
    let tags = tags();
    for (index, upper) in LADDER.iter().enumerate() {
        for lower in &LADDER[index + 1..] {
            for pair in [[*upper, *lower], [*lower, *upper]] {
                let variable = variable(&pair);
                let winner = resolve(&variable, &situation(&tags)).unwrap().unwrap();
                assert_eq!(
                    winner.value,
                    VariableValue::Text((*upper).to_owned()),
                    "{pair:?}"
                );
            }
        }
    }
}

#[test]
fn a_scope_that_does_not_match_is_out() {
    let tags = tags();
    for other in [
        "e=live",
        "t=web02",
        "g=db",
        "s=Other",
        "c=hotfix",
        "t=web01 e=live",
        "n=Ring/Early",
        "p=other",
    ] {
        let variable = variable(&[other]);
        assert_eq!(resolve(&variable, &situation(&tags)), Ok(None), "{other}");
    }
    // Nothing scoped holds where the kind is absent.
    for scoped in LADDER.iter().filter(|scope| !scope.is_empty()) {
        assert_eq!(
            resolve(&variable(&[scoped]), &Situation::default()),
            Ok(None),
            "{scoped}"
        );
    }
}

#[test]
fn an_equal_rank_is_a_tie_that_names_both() {
    let tags = tags();
    let variable = variable(&["e=test|live", "e=test|dev", ""]);
    let tie = resolve(&variable, &situation(&tags)).unwrap_err();
    assert_eq!(tie.first, "environment dev or test");
    assert_eq!(tie.second, "environment live or test");
    // A more specific third value settles it.
    let settled = Variable {
        values: [
            variable.values.clone(),
            vec![ScopedValue::own(
                VariableValue::Text("best".to_owned()),
                scope("t=web01"),
            )],
        ]
        .concat(),
        ..variable
    };
    assert!(resolve(&settled, &situation(&tags)).is_ok());
}

#[test]
fn possible_ties_are_found_before_they_happen() {
    let process = Process::default();
    let both = [("web01".to_owned(), tags())];
    for (a, b, known, tie) in [
        ("", "", &[][..], true),
        ("e=test", "e=live", &[], false),
        ("e=test|live", "e=live", &[], true),
        ("e=test", "c=stable", &[], false),
        ("g=web", "g=linux", &[], false),
        ("g=web", "g=linux", &both[..], true),
        ("g=web e=test", "g=linux e=live", &both[..], false),
        ("g=web|db", "g=db", &[], true),
        ("t=web01 e=test", "t=web01 e=live", &[], false),
        ("t=web01 e=test", "t=web01|web02 e=test", &[], true),
        ("n=Ring/Early", "n=Ring/Early|Ring/Late", &[], true),
        ("n=Ring/Early", "n=Ring/Late", &[], false),
        ("p=deployment", "p=deployment", &[], true),
        ("s=Anywhere", "s=Anywhere", &[], true),
        ("s=Anywhere", "s=Elsewhere", &[], false),
        ("lib=a e=test", "lib=b e=test", &[], true),
        ("lib=a e=test", "e=test", &[], false),
        ("lib=a e=test", "lib=b e=live", &[], false),
    ] {
        let values = variable(&[a, b]).values;
        let found = possible_ties(&values, &process, known).next();
        assert_eq!(found.is_some(), tie, "{a} / {b}: {found:?}");
    }
}

#[test]
fn a_value_of_the_project_settles_what_two_sets_disagree_about() {
    let process = Process::default();
    let known = [("web01".to_owned(), tags())];
    for (own, a, b, tie) in [
        ("e=test", "lib=a e=test", "lib=b e=test", false),
        (
            "e=test|live",
            "lib=a e=test|live",
            "lib=b e=test|live",
            false,
        ),
        ("e=test", "lib=a e=test|live", "lib=b e=test|live", true),
        ("", "lib=a e=test", "lib=b e=test", true),
        ("e=test t=web01", "lib=a e=test", "lib=b e=test", true),
        ("g=web", "lib=a g=web", "lib=b g=linux", false),
        ("g=db", "lib=a g=web", "lib=b g=linux", true),
    ] {
        let values = variable(&[own, a, b]).values;
        let found = possible_ties(&values, &process, &known).next();
        assert_eq!(found.is_some(), tie, "{own} / {a} / {b}: {found:?}");
    }
}

#[test]
fn every_candidate_is_shown_best_first() {
    let tags = tags();
    let variable = variable(&["", "e=live", "e=test"]);
    let shown: Vec<usize> = candidates(&variable, &situation(&tags))
        .iter()
        .map(|c| c.index)
        .collect();
    assert_eq!(shown, [2, 0, 1]);
}

/// Values of the project and of two sets.
fn any_values(most: usize) -> impl Strategy<Value = Vec<ScopedValue>> {
    let from = proptest::sample::select(&[None, None, Some("mail"), Some("base")][..]);
    let value = (any_scope(), from).prop_map(|(scope, from)| ScopedValue {
        from: from.map(str::to_owned),
        ..ScopedValue::own(VariableValue::Text(describe_scope(&scope)), scope)
    });
    proptest::collection::vec(value, 0..most)
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let names = |all: &'static [&'static str]| {
        proptest::collection::btree_set(proptest::sample::select(all), 0..=2).prop_map(|names| {
            names
                .into_iter()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        })
    };
    (
        names(&["test", "live"]),
        names(&["web01", "web02"]),
        names(&["web", "linux", "db"]),
        names(&["Farm", "Install"]),
        names(&["stable", "hotfix"]),
        names(&["Ring/Early"]),
        names(&[DEPLOYMENT_PROCESS]),
    )
        .prop_map(
            |(environments, targets, tags, steps, channels, tenant_tags, processes)| Scope {
                environments,
                targets,
                tags,
                steps,
                channels,
                tenant_tags,
                processes,
            },
        )
}

proptest! {
    #[test]
    fn resolution_is_total_and_independent_of_the_order_of_the_values(
        values in any_values(7),
        rotation in 0_usize..6,
    ) {
        let tags = tags();
        let mut turned = values.clone();
        if !turned.is_empty() {
            let by = rotation % turned.len();
            turned.rotate_left(by);
        }
        turned.reverse();
        let a = Variable { name: "X".to_owned(), values };
        let b = Variable { name: "X".to_owned(), values: turned };
        let here = situation(&tags);
        match (resolve(&a, &here), resolve(&b, &here)) {
            (Ok(x), Ok(y)) => prop_assert_eq!(x, y),
            (Err(x), Err(y)) => prop_assert_eq!(x.situation, y.situation),
            (x, y) => prop_assert!(false, "{:?} {:?}", x, y),
        }
        prop_assert_eq!(resolve(&a, &here), resolve(&a, &here));
        // The first candidate is the winner, and there is none if nothing matches.
        let shown = candidates(&a, &here);
        prop_assert_eq!(shown.len(), a.values.len());
        if let Ok(winner) = resolve(&a, &here) {
            let first = shown.first().filter(|first| first.rank.is_ok());
            prop_assert_eq!(winner, first.map(|first| first.value));
        }
    }

    #[test]
    fn what_is_free_of_possible_ties_never_ties(values in any_values(6)) {
        let tags = tags();
        let known = vec![("web01".to_owned(), tags.clone())];
        let process = farm();
        if possible_ties(&values, &process, &known).next().is_none() {
            let variable = Variable { name: "X".to_owned(), values };
            for (step, action, environment, target) in [
                (Some("Farm"), Some("Install"), Some("test"), true),
                (Some("Farm"), None, Some("test"), true),
                (Some("Farm"), None, Some("live"), false),
                (None, None, Some("test"), false),
                (None, None, None, false),
            ] {
                let whole = situation(&tags);
                let here = Situation {
                    step,
                    action,
                    environment,
                    target: whole.target.filter(|_| target),
                    step_tag: whole.step_tag.filter(|_| step.is_some()),
                    ..whole
                };
                prop_assert!(resolve(&variable, &here).is_ok(), "{:?}", here);
            }
        }
    }
}

fn farm() -> Process {
    serde_json::from_value(serde_json::json!({"steps": [{
        "name": "Farm", "targets": {"tag": "web"}, "rolling": null, "max_parallel": 10,
        "run": "success", "when": {},
        "actions": [{
            "name": "Install", "uses": "script", "with": {}, "run_on": null, "run": "success",
            "when": {}, "timeout_ms": 1, "grace_ms": 1, "retries": {"count": 0, "backoff_ms": 0},
            "secrets": {"named": []}, "disabled": false
        }]
    }]}))
    .unwrap()
}
