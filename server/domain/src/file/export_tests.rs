//! What is exported applies without a difference.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::channel::ChannelRule;
use crate::file::{Known, Source, parse};
use crate::lifecycle::{Phase, Retention};
use crate::process::{Process, Retries, Timeouts, Unhealthy};
use crate::project::PackageReference;
use crate::testing::octofx;
use crate::variable::{Scope, scope_ties};

fn reread(text: &str) -> Definitions {
    let source = Source {
        name: "export.yaml",
        text,
    };
    parse(&[source], &Known::default()).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}\n{text}", lines.join("\n"))
    })
}

#[test]
fn the_reference_example_comes_back_the_same() {
    let definitions = octofx();
    let text = project(&definitions.projects[0]);
    assert_eq!(reread(&text).projects[0], definitions.projects[0], "{text}");
    let text = infrastructure(&definitions).unwrap();
    let back = reread(&text);
    assert_eq!(back.environments, definitions.environments);
    assert_eq!(back.lifecycles, definitions.lifecycles);
    assert_eq!(back.targets, definitions.targets);
}

#[test]
fn an_export_is_what_a_person_would_write() {
    let text = project(&octofx().projects[0]);
    for part in [
        "mantle: v1\nproject: octofx\ndescription: The OctoFX trading website\n",
        "\npackages:\n  - id: OctoFX.Web\n",
        "  SitePort: \"8080\"\n",
        "    - value: Server=sql-dr;Database=octofx\n      environment: production\n      target: web09\n",
        "  - step: Migrate the database\n    targets:\n      tag: database\n      pick: one\n    uses: script\n",
        "    timeout: 10m\n",
        "    rolling:\n      window: 1\n",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,10}",
        "[a-z \n]{0,30}",
        Just("#{Name} and #{Other}".to_owned())
    ]
    // A template that cannot be read is refused where one is expected.
    .prop_map(|text| {
        if mantle_template::Template::parse(&text)
            .problems()
            .is_empty()
        {
            text
        } else {
            text.replace("#{", "# {")
        }
    })
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set(
        proptest::sample::select(all).prop_map(str::to_owned),
        0..=all.len(),
    )
}

fn scopes() -> impl Strategy<Value = Scope> {
    let rare = (
        some_of(&["Ring/Early", "Ring/Late one"]),
        some_of(&["deployment"]),
    );
    (
        some_of(&["test", "live"]),
        some_of(&["web01"]),
        some_of(&["web", "db"]),
        some_of(&["default"]),
        rare,
    )
        .prop_map(
            |(environments, targets, tags, channels, (tenant_tags, processes))| Scope {
                environments,
                targets,
                tags,
                steps: BTreeSet::new(),
                channels,
                tenant_tags,
                processes,
            },
        )
}

fn controls() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Text),
        Just(Control::MultiLine),
        Just(Control::Checkbox),
        proptest::collection::vec("[a-z: ]{1,9}", 1..4).prop_map(Control::Select),
        Just(Control::Sensitive),
    ]
}

fn prompts() -> impl Strategy<Value = Prompt> {
    (
        proptest::option::of("[A-Za-z][ -<>-~]{0,12}"),
        proptest::option::of(text()),
        proptest::bool::ANY,
        proptest::bool::ANY,
        controls(),
    )
        .prop_map(|(label, description, required, with_default, control)| {
            let default = match &control {
                Control::Text | Control::MultiLine => Some("a: #{Template}".to_owned()),
                Control::Checkbox => Some("True".to_owned()),
                Control::Select(options) => options.first().cloned(),
                Control::Sensitive => None,
            };
            Prompt {
                label,
                description,
                required,
                default: default.filter(|_| with_default),
                control,
            }
        })
}

fn variables() -> impl Strategy<Value = Vec<Variable>> {
    let value = prop_oneof![
        3 => text().prop_map(VariableValue::Text),
        1 => Just(VariableValue::Secret("shop/password".to_owned())),
        1 => prompts().prop_map(VariableValue::Prompt),
    ];
    let values = proptest::collection::vec((value, scopes()), 1..4).prop_map(|values| {
        let mut kept: Vec<ScopedValue> = Vec::new();
        for (value, mut scope) in values {
            if matches!(value, VariableValue::Prompt(_)) {
                scope.targets.clear();
                scope.tags.clear();
            }
            kept.push(ScopedValue::own(value, scope));
            if scope_ties(&kept, &Process::default()).next().is_some() {
                kept.pop();
            }
        }
        kept
    });
    proptest::collection::btree_map("[a-z][a-z:.]{0,8}[a-z]", values, 0..4).prop_map(|map| {
        map.into_iter()
            .map(|(name, values)| Variable { name, values })
            .collect()
    })
}

fn conditions() -> impl Strategy<Value = RunCondition> {
    prop_oneof![
        Just(RunCondition::Success),
        Just(RunCondition::Failure),
        Just(RunCondition::Always),
        Just(RunCondition::Template(
            "#{if A == \"b: c\"}yes#{/if}".to_owned()
        )),
    ]
}

fn whens() -> impl Strategy<Value = When> {
    (
        some_of(&["test"]),
        some_of(&["live"]),
        some_of(&["default"]),
        proptest::option::of(Just(Platform::Linux)),
    )
        .prop_map(
            |(environments, not_environments, channels, platform)| When {
                environments,
                not_environments,
                channels,
                platform,
            },
        )
}

fn selectors() -> impl Strategy<Value = TargetSelector> {
    (
        proptest::sample::select(&["web", "load-balancer"][..]),
        proptest::bool::ANY,
    )
        .prop_map(|(tag, one)| TargetSelector {
            tag: tag.to_owned(),
            pick: if one { Pick::One } else { Pick::All },
        })
}

fn actions() -> impl Strategy<Value = Action> {
    let with = proptest::collection::btree_map("[a-z]{1,6}", text(), 0..3);
    (
        with,
        proptest::option::of(selectors()),
        conditions(),
        whens(),
        1_u64..100_000_000,
        0_u64..100_000,
        0_u32..4,
        proptest::bool::ANY,
    )
        .prop_map(
            |(with, run_on, run, when, timeout_ms, grace_ms, count, flag)| Action {
                name: String::new(),
                uses: "deploy.release".to_owned(),
                with: with
                    .into_iter()
                    .filter(|(key, _)| key != "package")
                    .map(|(key, text)| (key, json!({ "text": text, "n": [1, 2.5, true, null] })))
                    .collect(),
                run_on,
                run,
                when,
                timeout_ms,
                grace_ms,
                retries: Retries {
                    count,
                    backoff_ms: u64::from(count) * 1500,
                    max_backoff_ms: (count > 2).then_some(60_000),
                },
                secrets: if flag {
                    SecretAccess::All
                } else {
                    SecretAccess::default()
                },
                disabled: flag,
                locks: flag.then(|| {
                    let shared = Lock::shared("data/disk");
                    vec![Lock::exclusive("db"), shared]
                }),
            },
        )
}

fn shares() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1_u32..9).prop_map(Window::Targets),
        (1_u32..=100).prop_map(Window::Percent)
    ]
}

fn rolls() -> impl Strategy<Value = Rolling> {
    const ON: &[OnFailure] = &[OnFailure::Stop, OnFailure::Continue, OnFailure::Rollback];
    let (pause, on) = (proptest::bool::ANY, proptest::sample::select(ON));
    (shares(), proptest::option::of(shares()), pause, on).prop_map(
        |(window, max_failed, pause_after_first, on_failure)| Rolling {
            window,
            max_failed,
            pause_after_first,
            on_failure,
        },
    )
}

fn processes() -> impl Strategy<Value = Process> {
    let step = (
        selectors(),
        proptest::option::of(rolls()),
        1_u32..20,
        conditions(),
        whens(),
        proptest::collection::vec(actions(), 1..3),
    );
    proptest::collection::vec(step, 0..3).prop_map(|steps| Process {
        timeouts: Timeouts {
            packages_ms: (steps.len() == 1).then_some(1_000),
            deployment_ms: (steps.len() == 2).then_some(7_200_000),
        },
        unavailable: match steps.len() {
            2 => Unavailable::Skip,
            _ => Unavailable::Fail,
        },
        unhealthy: match steps.len() {
            0 => Unhealthy::Deploy,
            1 => Unhealthy::Skip,
            _ => Unhealthy::Fail,
        },
        guided_failure: match steps.len() {
            0 => None,
            one => Some(one == 1),
        },
        steps: (0..)
            .zip(steps)
            .map(
                |(number, (targets, rolling, max_parallel, run, when, mut actions))| {
                    let name = format!("Step {number}");
                    let alone = actions.len() == 1;
                    for (index, action) in (0..).zip(&mut actions) {
                        action.name = if alone {
                            name.clone()
                        } else {
                            format!("Action {number}.{index}")
                        };
                    }
                    Step {
                        name,
                        targets: Some(targets),
                        rolling,
                        max_parallel,
                        run,
                        when,
                        start: if number > 0 && max_parallel % 2 == 0 {
                            Start::WithPrevious
                        } else {
                            Start::AfterPrevious
                        },
                        timeout_ms: (max_parallel % 5 == 0).then_some(90_000),
                        unavailable: match max_parallel % 4 {
                            0 => Some(Unavailable::Skip),
                            1 => Some(Unavailable::Fail),
                            _ => None,
                        },
                        unhealthy: match max_parallel % 7 {
                            0 => Some(Unhealthy::Deploy),
                            1 => Some(Unhealthy::Skip),
                            2 => Some(Unhealthy::Fail),
                            _ => None,
                        },
                        required: max_parallel % 3 == 0 && actions.iter().all(|a| !a.disabled),
                        actions,
                    }
                },
            )
            .collect(),
    })
}

fn rules() -> impl Strategy<Value = Vec<ChannelRule>> {
    let range = proptest::sample::select(&["[1.0,2.0)", "1.*", "(,3.0]", "*"][..]);
    let prerelease = proptest::sample::select(&["^$", "^(?!beta).+", "a: \"b\" # c", "rc"][..]);
    let rule = (range, prerelease, 0_u8..3).prop_map(|(range, prerelease, which)| ChannelRule {
        package: "Shop.Web".to_owned(),
        range: (which != 1).then(|| range.to_owned()),
        prerelease: (which != 0).then(|| prerelease.to_owned()),
    });
    proptest::collection::vec(rule, 0..3)
}

/// With the channel that conditions and scopes name.
fn channels() -> impl Strategy<Value = Vec<ChannelDefinition>> {
    let description = proptest::option::of(text());
    let own = proptest::option::of(Just("fast lane".to_owned()));
    let one = (description, own, rules());
    (proptest::collection::vec(one, 0..3), 0_usize..4).prop_map(|(all, chosen)| {
        let names = ["default", "hot fix", "preview: x"];
        let made = names.into_iter().zip(all).enumerate();
        made.map(
            |(index, (name, (description, lifecycle, rules)))| ChannelDefinition {
                name: name.to_owned(),
                description,
                default: index == chosen,
                lifecycle,
                rules,
            },
        )
        .collect()
    })
}

fn version_sources() -> impl Strategy<Value = VersionSource> {
    prop_oneof![
        Just(VersionSource::default()),
        Just(VersionSource::Template("1.2.i".to_owned())),
        Just(VersionSource::Template(
            "2026.#{Octopus.Date.Month}.\n  i".to_owned()
        )),
        Just(VersionSource::Package("Shop.Web".to_owned())),
    ]
}

fn projects() -> impl Strategy<Value = ProjectDefinition> {
    (
        proptest::option::of(text()),
        variables(),
        processes(),
        channels(),
        version_sources(),
        proptest::option::of(Just("fast lane".to_owned())),
    )
        .prop_map(
            |(description, mut variables, process, channels, version, lifecycle)| {
                for variable in &mut variables {
                    // One value at least stays, for one does not tie.
                    while scope_ties(&variable.values, &process).next().is_some() {
                        variable.values.pop();
                    }
                }
                ProjectDefinition {
                    release_notes: lifecycle
                        .as_ref()
                        .map(|_| "What is new in #{Octopus.Release.Number}:\n".to_owned()),
                    slug: "shop".to_owned(),
                    description,
                    lifecycle,
                    version,
                    packages: ["Shop.Web", "1.0", "true"]
                        .map(|id| PackageReference { id: id.to_owned() })
                        .into(),
                    channels,
                    include: Vec::new(),
                    variables,
                    process,
                }
            },
        )
}

/// What of `Known` is about them.
fn stored(project: &ProjectDefinition, targets: &BTreeMap<String, Vec<String>>) -> Known {
    Known {
        targets: targets.clone(),
        projects: vec![project.clone()],
        ..Known::default()
    }
}

fn sets() -> impl Strategy<Value = Vec<VariableSetDefinition>> {
    let set = (proptest::option::of(text()), variables());
    proptest::collection::vec(set, 1..4).prop_map(|sets| {
        (0..)
            .zip(sets)
            .map(|(number, (description, variables))| VariableSetDefinition {
                name: format!("set {number}"),
                description,
                include: (0..number).map(|before| format!("set {before}")).collect(),
                variables,
            })
            .collect()
    })
}

fn urgency(high: bool) -> Priority {
    if high {
        Priority::High
    } else {
        Priority::Normal
    }
}

fn environments() -> impl Strategy<Value = Vec<EnvironmentDefinition>> {
    let names = proptest::collection::btree_set("[a-z]([a-z0-9 _.-]{0,8}[a-z0-9])?", 0..4);
    (names, proptest::option::of(text()), proptest::bool::ANY).prop_map(
        |(names, description, guided_failure)| {
            names
                .into_iter()
                .map(|name| EnvironmentDefinition {
                    name,
                    description: description.clone(),
                    guided_failure,
                    timeout_ms: guided_failure.then_some(3_600_000),
                    priority: urgency(guided_failure),
                })
                .collect()
        },
    )
}

/// Environments, a lifecycle over them, and a target in all of them.
fn infrastructures() -> impl Strategy<Value = Definitions> {
    (
        environments(),
        proptest::bool::ANY,
        0_u8..3,
        proptest::option::of(1_u32..50),
        some_of(&["web", "load-balancer", "role/db"]),
    )
        .prop_map(|(environments, automatic, gate, kept, tags)| {
            let names = environments.iter().map(|one| one.name.clone());
            let phase = |name: String| Phase {
                name: format!("Phase {name}"),
                automatic: if !automatic && gate == 1 {
                    vec![name.clone()]
                } else {
                    Vec::new()
                },
                environments: vec![name],
                deploy: if automatic {
                    DeployMode::Automatic
                } else {
                    DeployMode::Manual
                },
                gate: match gate {
                    0 => Gate::Optional,
                    1 => Gate::Minimum(1),
                    _ => Gate::All,
                },
                priority: urgency(automatic),
            };
            let lifecycle = LifecycleDefinition {
                name: "standard".to_owned(),
                description: None,
                phases: names.clone().map(phase).collect(),
                retention: Retention {
                    releases: kept,
                    ..Retention::default()
                },
            };
            let target = TargetDefinition {
                name: "web01".to_owned(),
                tags: tags.into_iter().collect(),
                environments: names.collect(),
            };
            Definitions {
                environments,
                lifecycles: vec![lifecycle],
                targets: vec![target],
                ..Definitions::default()
            }
        })
}

proptest! {
    #[test]
    fn any_infrastructure_comes_back_the_same(definitions in infrastructures()) {
        let text = infrastructure(&definitions).unwrap();
        let back = Definitions {
            // What a file asks for in vain is told when it is read.
            warnings: Vec::new(),
            ..reread(&text)
        };
        prop_assert_eq!(back, definitions, "{}", text);
    }

    #[test]
    fn any_variable_sets_come_back_the_same(sets in sets()) {
        let text = variable_sets(&sets).unwrap();
        prop_assert_eq!(reread(&text).variable_sets, sets, "{}", text);
    }

    #[test]
    fn what_is_exported_applies_whatever_tags_targets_have(
        definition in projects(),
        tags in proptest::collection::btree_map(
            "web0[1-4]", some_of(&["web", "db", "load-balancer", "server-worker"]), 0..4),
    ) {
        let tags = tags.into_iter().map(|(name, tags)| (name, tags.into_iter().collect()));
        let known = stored(&definition, &tags.collect());
        let text = project(&definition);
        let read = parse(&[Source { name: "x", text: &text }], &known);
        prop_assert_eq!(read.map(|all| all.projects), Ok(vec![definition]), "{}", text);
    }

    #[test]
    fn any_project_comes_back_the_same(definition in projects()) {
        let text = project(&definition);
        let back = reread(&text).projects.remove(0);
        prop_assert_eq!(back, definition, "{}", text);
    }
}
