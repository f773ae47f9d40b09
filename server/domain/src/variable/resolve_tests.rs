//! The order of specificity, reference section 1.4.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::process::Process;
use crate::variable::{PossibleTie, TaggedTarget, VariableValue, scope_ties, tag_ties};

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

/// A target somewhere.
fn web01(tags: impl IntoIterator<Item = String>) -> TaggedTarget {
    TaggedTarget {
        name: "web01".to_owned(),
        tags: tags.into_iter().collect(),
        environments: None,
    }
}

/// Every tie that can come up.
fn all_ties(
    values: &[ScopedValue],
    process: &Process,
    targets: &[TaggedTarget],
) -> Vec<PossibleTie> {
    let of_tags = tag_ties(values, process, targets);
    scope_ties(values, process).chain(of_tags).collect()
}

#[test]
fn ties_of_scopes_are_found_before_they_happen() {
    let process = Process::default();
    for (a, b, tie) in [
        ("", "", true),
        ("e=test", "e=live", false),
        ("e=test|live", "e=live", true),
        ("e=test", "c=stable", false),
        ("g=web", "g=linux", false),
        ("g=web", "g=web", true),
        ("g=web e=test", "g=web e=live", false),
        ("t=web01 e=test", "t=web01 e=live", false),
        ("t=web01 e=test", "t=web01|web02 e=test", true),
        ("n=Ring/Early", "n=Ring/Early|Ring/Late", true),
        ("n=Ring/Early", "n=Ring/Late", false),
        ("p=deployment", "p=deployment", true),
        ("s=Anywhere", "s=Anywhere", true),
        ("s=Anywhere", "s=Elsewhere", false),
        ("lib=a e=test", "lib=b e=test", true),
        ("lib=a e=test", "e=test", false),
        ("lib=a e=test", "lib=b e=live", false),
    ] {
        let values = variable(&[a, b]).values;
        let found = scope_ties(&values, &process).next();
        assert_eq!(found.is_some(), tie, "{a} / {b}: {found:?}");
        // Without a step nobody reads a value for tags of a target.
        let known = [web01(tags())];
        assert_eq!(tag_ties(&values, &process, &known).next(), None);
    }
}

/// A process with a step `By TAG` for each of these tags, and with `-` one that chooses no target.
fn choosing(tags: &str) -> Process {
    let mut process = farm();
    let step = process.steps.remove(0);
    process.steps = tags
        .split_whitespace()
        .map(|tag| {
            let mut step = step.clone();
            step.name = format!("By {tag}");
            match tag {
                "-" => step.targets = None,
                tag => step.targets.as_mut().unwrap().tag = tag.to_owned(),
            }
            step
        })
        .collect();
    process
}

#[test]
fn of_values_for_tags_only_what_no_step_decides_is_a_tie() {
    const NONE: &str = "";
    const SCOPES: &str = "of their scopes";
    for (a, b, steps, target, tie) in [
        // Reference 1.4, ranks 3 and 4: the tag by which the step chose is the more specific one.
        ("g=web", "g=linux", "web", "web linux", NONE),
        ("g=web", "g=linux", "web linux", "web linux", NONE),
        (
            "g=web",
            "g=linux",
            "db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01'",
        ),
        (
            "g=web",
            "g=linux",
            "web db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01'",
        ),
        // No step chooses the target by a tag that it does not have.
        ("g=web", "g=linux", "web db", "web linux", NONE),
        ("g=web", "g=linux", "db", "web db", NONE),
        // A step without targets is carried out by a worker, which it does not choose by a tag.
        ("g=web", "g=linux", "web -", "web linux", NONE),
        (
            "g=web",
            "g=linux",
            "web -",
            "web linux server-worker",
            "action 'Install' in step 'By -' in target 'web01'",
        ),
        ("g=web e=test", "g=linux e=live", "db", "web linux db", NONE),
        (
            "g=web e=test",
            "g=linux e=test",
            "db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01' in environment 'test'",
        ),
        (
            "g=web t=web01",
            "g=linux t=web01",
            "db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01'",
        ),
        (
            "g=web t=web02",
            "g=linux t=web02",
            "db",
            "web linux db",
            NONE,
        ),
        ("lib=a g=web", "g=linux", "db", "web linux db", NONE),
        (
            "lib=a g=web",
            "lib=b g=linux",
            "db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01'",
        ),
        (
            "g=web s=Install",
            "g=linux s=Install",
            "db",
            "web linux db",
            "action 'Install' in step 'By db' in target 'web01'",
        ),
        ("g=web s=Farm", "g=linux s=Farm", "db", "web linux db", NONE),
        // For another step than the one that they are scoped to, neither holds.
        // Scopes that share a tag are of the files: no target need be known.
        ("g=web", "g=web", "web", "", SCOPES),
        ("g=web", "g=web", "", "", SCOPES),
        ("g=web|db", "g=db", "db", "", SCOPES),
        ("g=web|db", "g=db", "app", "", SCOPES),
        ("g=web|db", "g=db", "web", "web db", NONE),
        ("g=web|db", "g=db", "", "web db", NONE),
        ("g=web|db", "g=db", "web app", "", SCOPES),
    ] {
        let values = variable(&[a, b]).values;
        let own: Vec<String> = target.split_whitespace().map(str::to_owned).collect();
        let known = [web01(own)];
        let process = choosing(steps);
        let of_scopes = scope_ties(&values, &process).next();
        let of_tags = tag_ties(&values, &process, &known).next();
        let found = match (of_scopes, of_tags) {
            (None, None) => NONE.to_owned(),
            (Some(_), None) => SCOPES.to_owned(),
            (None, Some(tie)) => tie.situation,
            (Some(_), Some(_)) => "both".to_owned(),
        };
        assert_eq!(found, tie, "{a} / {b} for steps by {steps} on {target}");
    }
}

#[test]
fn values_for_where_the_target_is_not_do_not_tie_there() {
    let both = ["g=web e=live", "g=linux e=live"];
    for (scopes, environments, steps, tie) in [
        (both, "live|test", "db", true),
        (both, "test", "db", false),
        // It is in none yet.
        (both, "", "db", true),
        (["g=web", "g=linux"], "test", "db", true),
        (
            ["g=web e=live|test", "g=linux e=live|test"],
            "test",
            "db",
            true,
        ),
        // A worker is not where it works.
        (both, "test", "-", true),
    ] {
        let values = variable(&scopes).values;
        let known = [TaggedTarget {
            environments: Some(set(environments)),
            ..web01(set("web|linux|db|server-worker"))
        }];
        let found = tag_ties(&values, &choosing(steps), &known).next();
        assert_eq!(
            found.is_some(),
            tie,
            "{scopes:?} in {environments}: {found:?}"
        );
    }
    // A step that is not done where the target is reads nothing for it.
    let mut process = choosing("db");
    process.steps[0].when.environments = set("live");
    let values = variable(&["g=web", "g=linux"]).values;
    for (environments, tie) in [("test", false), ("live", true)] {
        let known = [TaggedTarget {
            environments: Some(set(environments)),
            ..web01(set("web|linux|db"))
        }];
        let found = tag_ties(&values, &process, &known).next();
        assert_eq!(found.is_some(), tie, "{environments}");
    }
}

#[test]
fn what_a_more_specific_value_outranks_everywhere_does_not_tie() {
    let process = choosing("db");
    let known = [web01(set("web|linux|db"))];
    for (first, second, third, tie) in [
        ("g=web", "g=linux", "g=db", false),
        ("g=web", "g=linux", "t=web01", false),
        ("g=web", "g=linux", "t=web02", true),
        ("g=web", "g=linux", "g=db e=test", true),
        ("g=web e=test", "g=linux e=test", "g=db e=test", false),
        (
            "g=web e=test|live",
            "g=linux e=test|live",
            "g=db e=test",
            true,
        ),
        ("g=web", "g=linux", "", true),
        ("g=web", "g=linux", "s=Install", false),
        ("g=web", "g=linux", "lib=a g=db", false),
    ] {
        let values = variable(&[first, second, third]).values;
        let found = tag_ties(&values, &process, &known).next();
        assert_eq!(found.is_some(), tie, "{first} / {second} / {third}");
    }
}

#[test]
fn where_no_step_of_theirs_applies_values_for_tags_do_not_tie() {
    let mut process = choosing("db");
    let known = [web01(set("web|linux|db"))];
    let values = variable(&["g=web e=test|live", "g=linux e=test"]).values;
    assert!(tag_ties(&values, &process, &known).next().is_some());
    for (only, not, tie) in [("test", "", true), ("live", "", false), ("", "test", false)] {
        process.steps[0].when.environments = set(only);
        process.steps[0].when.not_environments = set(not);
        let found = tag_ties(&values, &process, &known).next();
        assert_eq!(found.is_some(), tie, "only {only}, not {not}");
    }
}

#[test]
fn a_value_of_the_project_settles_what_two_sets_disagree_about() {
    let process = choosing("app");
    let known = [web01(set("web|linux|app"))];
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
        let found = all_ties(&values, &process, &known);
        assert_eq!(!found.is_empty(), tie, "{own} / {a} / {b}: {found:?}");
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
    fn of_many_values_the_same_pairs_tie_as_of_every_two(values in any_values(7)) {
        let (process, known) = (farm(), [web01(tags())]);
        let own = |index: usize| values[index].from.is_none();
        let pairs = |all: Vec<PossibleTie>| -> BTreeSet<(usize, usize)> {
            let pairs = all.into_iter().map(|tie| (tie.first, tie.second));
            pairs.collect()
        };
        let found: BTreeSet<_> = pairs(scope_ties(&values, &process).collect())
            .into_iter()
            .filter(|(first, second)| own(*first) && own(*second))
            .collect();
        let mut expected = BTreeSet::new();
        let mut by_tags = BTreeSet::new();
        for second in 0..values.len() {
            for first in (0..second).filter(|first| own(*first) && own(second)) {
                let two = [values[first].clone(), values[second].clone()];
                if scope_ties(&two, &process).next().is_some() {
                    expected.insert((first, second));
                }
                if tag_ties(&two, &process, &known).next().is_some() {
                    by_tags.insert((first, second));
                }
            }
        }
        prop_assert_eq!(found, expected);
        // Of those a more specific third may be had instead.
        let tied = pairs(tag_ties(&values, &process, &known).collect());
        prop_assert!(tied.iter().all(|(a, b)| !own(*a) || by_tags.contains(&(*a, *b))));
    }

    #[test]
    fn what_is_free_of_possible_ties_never_ties(values in any_values(6)) {
        let tags = tags();
        let known = vec![web01(tags.clone())];
        let process = farm();
        if all_ties(&values, &process, &known).is_empty() {
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
