//! Environments, lifecycles and targets.

use std::collections::BTreeSet;

use super::super::grammar::{Document, LifecycleItem, PhaseItem};
use super::super::node::{Kind, Problem};
use super::super::report::Report;
use super::super::typed::{At, Many};
use super::super::{Definitions, Each};
use super::process::span;
use super::{Declared, Place, World};
use crate::environment::EnvironmentDefinition;
use crate::lifecycle::{DeployMode, Gate, LifecycleDefinition, Phase, Retention};
use crate::name;
use crate::target::TargetDefinition;

/// What helps when an environment is unknown.
pub(super) const ENVIRONMENT_HINT: &str =
    "declare it under 'environments:', here or in another file";

/// Converts what is no project; whether there was anything.
pub(super) fn convert(
    document: &Document,
    world: &World,
    declared: &mut Declared,
    definitions: &mut Definitions,
    report: &mut Report,
) -> bool {
    for item in sound(document.environments.as_ref(), report) {
        report.word("environment", &item.name, name::IN_ENVIRONMENTS);
        declared.once("environment", &item.name, report);
        definitions.environments.push(EnvironmentDefinition {
            name: item.name.value.clone(),
            description: item.description.clone(),
            guided_failure: item.guided_failure.unwrap_or(false),
            timeout_ms: span(item.timeout.clone(), report),
            priority: item.priority,
        });
    }
    for item in sound(document.lifecycles.as_ref(), report) {
        report.title("lifecycle", &item.name);
        declared.once("lifecycle", &item.name, report);
        definitions.lifecycles.push(lifecycle(item, world, report));
    }
    for item in sound(document.targets.as_ref(), report) {
        report.word("target", &item.name, name::IN_TARGETS);
        declared.once("target", &item.name, report);
        let place = Place {
            file: report.file.clone(),
            at: item.name.at,
        };
        declared.targets.insert(item.name.value.clone(), place);
        for tag in &item.tags.0 {
            report.word("tag", tag, name::IN_TAGS);
        }
        for environment in &item.environments.0 {
            known_environment(environment, world, report);
        }
        definitions.targets.push(TargetDefinition {
            name: item.name.value.clone(),
            tags: sorted(&item.tags.0),
            environments: sorted(&item.environments.0),
        });
    }
    let health_checks = super::health::convert(document, world, declared, definitions, report);
    document.environments.is_some()
        || document.lifecycles.is_some()
        || document.targets.is_some()
        || health_checks
}

/// A reference to an environment, if it can be known whether there is one.
pub(super) fn known_environment(name: &At<String>, world: &World, report: &mut Report) {
    if world.complete || world.environments.contains(&name.value) {
        let names = world.environments.iter().map(String::as_str);
        report.reference("environment", name, names, ENVIRONMENT_HINT);
    }
}

fn lifecycle(item: &LifecycleItem, world: &World, report: &mut Report) -> LifecycleDefinition {
    let mut phases: Vec<Phase> = Vec::new();
    let mut places = Vec::new();
    for phase in sound(item.phases.as_ref(), report) {
        report.title("phase", &phase.name);
        report.unique("phase", &phase.name, &places);
        places.push((phase.name.value.clone(), phase.name.at));
        for environment in &phase.environments.0 {
            known_environment(environment, world, report);
            if let Some(earlier) = phases
                .iter()
                .find(|p| p.environments.contains(&environment.value))
            {
                report.error(
                    Problem::new(
                        environment.at,
                        format!(
                            "environment '{}' is in phase '{}' already",
                            environment.value, earlier.name
                        ),
                    )
                    .next("an environment stands in one phase only"),
                );
            }
        }
        let (deploy, automatic) = deploy(phase, world, report);
        let by_itself = deploy == DeployMode::Automatic || !automatic.is_empty();
        if phase.optional && by_itself {
            report.warn(
                Problem::new(
                    phase.name.at,
                    format!(
                        "phase '{}' is optional, so nothing is deployed to it by itself",
                        phase.name.value
                    ),
                )
                .next("remove 'deploy' or 'optional: true'"),
            );
        }
        enough(phase, &phases, world, report);
        phases.push(Phase {
            name: phase.name.value.clone(),
            environments: phase
                .environments
                .0
                .iter()
                .map(|name| name.value.clone())
                .collect(),
            deploy,
            automatic,
            gate: gate(phase, report),
            priority: phase.priority,
        });
    }
    let retention = item.retention.as_ref();
    LifecycleDefinition {
        name: item.name.value.clone(),
        description: item.description.clone(),
        phases,
        retention: Retention {
            releases: retention.and_then(|kept| kept.releases),
            days: retention.and_then(|kept| kept.days),
            packages: retention.and_then(|kept| kept.packages),
            on_target: retention.and_then(|kept| kept.on_target),
        },
    }
}

/// Whether all of a phase's environments are deployed to by themselves, or which are.
fn deploy(phase: &PhaseItem, world: &World, report: &mut Report) -> (DeployMode, Vec<String>) {
    let Some(node) = &phase.deploy else {
        return (DeployMode::Manual, Vec::new());
    };
    if !matches!(node.kind, Kind::List(_)) {
        let mode = node.read::<DeployMode>().unwrap_or_else(|problem| {
            report.error(problem);
            DeployMode::Manual
        });
        return (mode, Vec::new());
    }
    let names = match node.read::<Many<At<String>>>() {
        Ok(Many(names)) => names,
        Err(problem) => {
            report.error(problem);
            return (DeployMode::Manual, Vec::new());
        }
    };
    let own = &phase.environments.0;
    for name in &names {
        if own.is_empty() {
            known_environment(name, world, report);
        } else {
            let own = own.iter().map(|name| name.value.as_str());
            report.reference(
                "environment of this phase",
                name,
                own,
                "add it to 'environments'",
            );
        }
    }
    (DeployMode::Manual, sorted(&names))
}

/// A phase that asks for more successes than it has environments would hold back every release.
fn enough(phase: &PhaseItem, earlier: &[Phase], world: &World, report: &mut Report) {
    let Some(minimum) = &phase.minimum else {
        return;
    };
    let named: BTreeSet<&String> = phase
        .environments
        .0
        .iter()
        .map(|name| &name.value)
        .collect();
    let count = match (named.is_empty(), world.complete) {
        (false, _) => named.len(),
        // All that no earlier phase names.
        (true, true) => {
            let taken = |name: &&String| earlier.iter().any(|p| p.environments.contains(*name));
            world
                .environments
                .iter()
                .filter(|name| !taken(name))
                .count()
        }
        (true, false) => return,
    };
    let needed = minimum.value;
    if u32::try_from(count).is_ok_and(|count| needed > count) {
        report.error(
            Problem::new(
                minimum.at,
                format!(
                    "phase '{}' needs success in {needed} of its environments and has {count}, so no release could pass it",
                    phase.name.value
                ),
            )
            .next("lower 'minimum', leave it out for all of them, or name further environments"),
        );
    }
}

fn gate(phase: &PhaseItem, report: &mut Report) -> Gate {
    match &phase.minimum {
        Some(minimum) if phase.optional => {
            report.error(
                Problem::new(minimum.at, "a phase is either optional or has a minimum")
                    .next("remove 'optional' or 'minimum'"),
            );
            Gate::Optional
        }
        Some(minimum) if minimum.value == 0 => {
            report.error(
                Problem::new(minimum.at, "a minimum of 0 is no minimum")
                    .next("write 'optional: true'"),
            );
            Gate::Optional
        }
        Some(minimum) => Gate::Minimum(minimum.value),
        None if phase.optional => Gate::Optional,
        None => Gate::All,
    }
}

/// The items that could be read, by reference; the others are reported.
pub(super) fn sound<'a, T>(items: Option<&'a Each<T>>, report: &mut Report) -> Vec<&'a T> {
    let mut sound = Vec::new();
    for item in items.map(|each| each.0.as_slice()).unwrap_or_default() {
        match item {
            Ok(item) => sound.push(&item.value),
            Err(problem) => report.error(problem.clone()),
        }
    }
    sound
}

pub(super) fn sorted(names: &[At<String>]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| name.value.clone()).collect();
    names.sort();
    names.dedup();
    names
}
