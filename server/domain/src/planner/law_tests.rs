//! The law of plans: a plan is a function of the release's snapshots and of the live facts that it
//! names (targets of the environment with tags, switch, agent, platform, presence and features; the
//! operator's options), and of nothing else. Of the project, its channels and its lifecycle nothing
//! reaches the planner at all: its request has no place for them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::plan::{PastRelease, PlanChange, PlanFacts};
use crate::release::{ReleaseDraft, ScannedFiles};
use crate::target::{Platform, TargetFacts};
use crate::testing::{a_package, a_project, a_release, a_target, request};

const SHOP: &str = concat!(
    "packages: [{ id: Web }]\n",
    "channels: [{ name: stable, default: true, lifecycle: other, rules: [{ package: Web, range: \"[1.0,)\" }] }]\n",
    "variables:\n",
    "  Port: [{ value: 80 }, { value: 81, target: t3 }, { value: 82, tag: db }]\n",
    "  Password: { secret: shop/password }\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    rolling: { window: 40% }\n",
    "    actions:\n",
    "      - { action: Out, uses: haproxy.drain, run_on: { tag: lb }, with: { backend: b, server: \"#{Octopus.Machine.Name}\" } }\n",
    "      - { action: Install, uses: package, with: { package: Web } }\n",
    "      - { action: Start, uses: script, when: { platform: linux }, with: { run: x } }\n",
    "  - { step: Base, targets: { tag: db, pick: one }, uses: script, with: { run: \"y\" } }\n",
    "  - { step: Live, when: { environments: [live] }, targets: { tag: web }, uses: script, with: { run: z } }\n",
);

/// All that a plan is made of.
#[derive(Debug, Clone)]
struct World {
    release: ReleaseDraft,
    targets: Vec<TargetFacts>,
    options: PlanOptions,
    facts: PlanFacts,
}

fn a_world(facts: &[(u8, bool, bool, bool)], options: PlanOptions) -> World {
    let release = a_release(&a_project(SHOP), &ScannedFiles::new());
    let targets = (0..)
        .zip(facts)
        .map(|(n, (tags, online, disabled, windows)): (usize, _)| {
            let all = ["web", "db", "lb"];
            let tags: Vec<&str> = (0..3)
                .filter(|bit| tags & (1 << bit) != 0)
                .map(|bit| all[bit])
                .collect();
            let environments: &[&str] = if n % 4 == 3 {
                &["live"]
            } else {
                &["test", "live"]
            };
            let mut target = a_target(&format!("t{n}"), &tags, environments);
            target.disabled = *disabled;
            let agent = target.agent.as_mut().unwrap();
            agent.online = *online;
            if *windows {
                agent.platform = Platform::Windows;
            }
            target
        })
        .collect();
    World {
        release,
        targets,
        options,
        facts: PlanFacts::default(),
    }
}

/// The plan, but for the facts that it hands on to whoever carries it out.
fn planned(world: &World) -> Result<Plan, Vec<Refusal>> {
    let asked = PlanRequest {
        facts: &world.facts,
        ..request(&world.release, "test", &world.targets, &world.options)
    };
    let plan = plan(&asked)?;
    assert_eq!(plan.facts, world.facts, "they are handed on as they are");
    Ok(Plan {
        facts: PlanFacts::default(),
        ..plan
    })
}

prop_compose! {
    fn some_world()(
        facts in prop::collection::vec((0_u8..8, prop::bool::weighted(0.9), prop::bool::weighted(0.1), any::<bool>()), 0..9),
        skip in any::<bool>(),
        left_out in prop::option::of(0..9_usize),
        offline in any::<bool>(),
    ) -> World {
        let name = left_out.filter(|n| *n < facts.len() && n % 4 != 3).map(|n| format!("t{n}"));
        let options = PlanOptions {
            not_targets: name.into_iter().collect(),
            skip_steps: skip.then(|| "Base".to_owned()).into_iter().collect(),
            unavailable: offline.then_some(Unavailable::Skip),
            ..PlanOptions::default()
        };
        a_world(&facts, options)
    }
}

/// Changes what no plan may depend on.
fn disturb(world: &World, seed: u64) -> World {
    let mut other = world.clone();
    // The order in which the database gives the targets.
    let turn = usize::try_from(seed).unwrap() % other.targets.len().max(1);
    other.targets.rotate_left(turn);
    if seed.is_multiple_of(2) {
        other.targets.reverse();
    }
    // Targets that are nowhere near: another environment, no tag that anybody asks for.
    let far = a_target("far", &["mail"], &["lab"]);
    other.targets.push(far);
    // What an agent's computer is.
    for agent in other
        .targets
        .iter_mut()
        .filter_map(|target| target.agent.as_mut())
    {
        agent.arch = "riscv64".to_owned();
        agent.features.push("telemetry".to_owned());
        agent.features.reverse();
    }
    // What else a target is in, and in which order that is listed. Of one that is elsewhere a refusal says where.
    for target in other
        .targets
        .iter_mut()
        .filter(|target| target.environments.iter().any(|name| name == "test"))
    {
        target.environments.push("lab".to_owned());
        target.environments.rotate_left(turn % 2);
    }
    facts(&mut other.facts, seed);
    unused(&mut other.release, seed);
    other
}

/// Who asks, when, with which words, and what ran there: nothing of the shop's inputs refers to it.
fn facts(facts: &mut PlanFacts, seed: u64) {
    let past = |version: &str| PastRelease {
        id: format!("{version} {seed}"),
        version: version.to_owned(),
    };
    *facts = PlanFacts {
        project: format!("project {seed}"),
        environment: format!("environment {seed}"),
        environment_order: 7,
        release: format!("release {seed}"),
        release_notes: "all is new".to_owned(),
        release_fields: [("ticket".to_owned(), "OPS-1".to_owned())].into(),
        release_created: "2026-11-01T00:00:00Z".to_owned(),
        release_before: Some(past("0.8")),
        created: "2026-11-02T00:00:00Z".to_owned(),
        created_by: "grace".to_owned(),
        comment: "before the holidays".to_owned(),
        fields: [("ticket".to_owned(), "OPS-2".to_owned())].into(),
        current: Some(past("0.9")),
        previous: Some(past("0.7")),
        succeeded: Some("T-3".to_owned()),
        expires: Some("2026-11-03T00:00:00Z".to_owned()),
        chosen: vec!["far".to_owned()],
        excluded: vec!["further".to_owned()],
        changes: vec![PlanChange {
            version: "0.9.1".to_owned(),
            notes: "some is new".to_owned(),
        }],
    };
}

/// What no step of the release uses, and the order in which it holds what they use.
fn unused(release: &mut ReleaseDraft, seed: u64) {
    let variables = &mut release.variables.variables;
    variables.push(crate::variable::Variable {
        name: "Unused".to_owned(),
        values: vec![crate::variable::ScopedValue::own(
            crate::variable::VariableValue::Text(format!("#{{Port}} {seed}")),
            crate::variable::Scope::default(),
        )],
    });
    let turn = usize::try_from(seed).unwrap() % variables.len();
    variables.rotate_left(turn);
    for variable in variables {
        variable.values.reverse();
    }
    // A package of another step of another process, as far as this one goes.
    release.packages.packages.push(a_package("Depot", "3.1.4"));
    release.packages.packages.reverse();
}

proptest! {
    #[test]
    fn a_plan_depends_on_the_snapshots_and_the_named_facts_alone(world in some_world(), seed in any::<u64>()) {
        let first = planned(&world);
        prop_assert_eq!(&first, &planned(&world), "the same question has the same answer");
        prop_assert_eq!(&first, &planned(&disturb(&world, seed)));
    }

    #[test]
    fn what_no_step_uses_changes_no_plan_but_what_a_step_uses_may(world in some_world()) {
        let first = planned(&world);
        // A value that only another environment sees.
        let mut other = world.clone();
        for variable in &mut other.release.variables.variables {
            variable.values.push(crate::variable::ScopedValue {
                value: crate::variable::VariableValue::Text("x".to_owned()),
                scope: crate::variable::Scope {
                    environments: ["lab".to_owned()].into(),
                    ..crate::variable::Scope::default()
                },
                from: None,
            });
        }
        prop_assert_eq!(&first, &planned(&other));
        // The law is no law of planners that answer nothing: one more web server is in the plan.
        let mut grown = world;
        grown.targets.push(a_target("t8more", &["web", "lb", "db"], &["test"]));
        if let Ok(plan) = planned(&grown) {
            prop_assert!(plan.targets.iter().any(|target| target.name == "t8more"));
            prop_assert_ne!(Ok(plan), first);
        }
    }
}
