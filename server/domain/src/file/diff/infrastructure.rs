//! What changes in environments, lifecycles, targets, health checks and
//! channels: the old and the new of each key,
//! for they decide where releases go and nobody should have to look up what they were.

use super::super::duration;
use super::{Change, added, changed, named, removed, text};
use crate::channel::{ChannelDefinition, ChannelRule};
use crate::environment::EnvironmentDefinition;
use crate::health::{DEFAULT_TIMEOUT_MS, HealthCheckDefinition, InMaintenance};
use crate::lifecycle::{DeployMode, Gate, LifecycleDefinition, Phase, Retention};
use crate::queue::Priority;
use crate::target::TargetDefinition;

/// What changes in an environment.
pub fn environment(
    old: Option<&EnvironmentDefinition>,
    new: &EnvironmentDefinition,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let fresh = EnvironmentDefinition {
        name: new.name.clone(),
        description: None,
        guided_failure: false,
        timeout_ms: None,
        priority: Priority::Normal,
    };
    if old.is_none() {
        changes.push(added(format!("environment '{}'", new.name)));
    }
    let old = old.unwrap_or(&fresh);
    text(
        &mut changes,
        "description",
        old.description.as_ref(),
        new.description.as_ref(),
    );
    if old.guided_failure != new.guided_failure {
        let [before, after] = [old, new].map(|one| one.guided_failure.to_string());
        became(&mut changes, "guided_failure", &before, &after);
    }
    if old.timeout_ms != new.timeout_ms {
        let [before, after] = [old, new].map(|one| span(one.timeout_ms));
        became(&mut changes, "timeout", &before, &after);
    }
    if old.priority != new.priority {
        let (before, after) = (old.priority.word(), new.priority.word());
        became(&mut changes, "priority", before, after);
    }
    changes
}

/// What changes in a lifecycle.
pub fn lifecycle(old: Option<&LifecycleDefinition>, new: &LifecycleDefinition) -> Vec<Change> {
    let mut changes = Vec::new();
    let fresh = LifecycleDefinition {
        name: new.name.clone(),
        description: None,
        phases: Vec::new(),
        retention: Retention::default(),
    };
    if old.is_none() {
        changes.push(added(format!("lifecycle '{}'", new.name)));
    }
    let old = old.unwrap_or(&fresh);
    text(
        &mut changes,
        "description",
        old.description.as_ref(),
        new.description.as_ref(),
    );
    named(
        &mut changes,
        "phase",
        &old.phases,
        &new.phases,
        |phase| &phase.name,
        |changes, before, phase| {
            let subject = format!("phase '{}'", phase.name);
            became(changes, &subject, &describe(before), &describe(phase));
        },
    );
    for change in &mut changes {
        let of = |phase: &&Phase| change.subject == format!("phase '{}'", phase.name);
        if change.detail.is_none() {
            let mut all = new.phases.iter().chain(&old.phases);
            change.detail = all.find(of).map(describe);
        }
    }
    if old.retention != new.retention {
        let (before, after) = (kept(&old.retention), kept(&new.retention));
        became(&mut changes, "retention", &before, &after);
    }
    changes
}

/// What changes in a declared target.
pub fn target(old: Option<&TargetDefinition>, new: &TargetDefinition) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.is_none() {
        changes.push(added(format!("target '{}'", new.name)));
    }
    let none: &[String] = &[];
    let (tags, environments) = old.map_or((none, none), |old| (&old.tags, &old.environments));
    members(&mut changes, "tag", tags, &new.tags);
    members(&mut changes, "environment", environments, &new.environments);
    changes
}

/// What changes in a health check.
pub fn health_check(
    old: Option<&HealthCheckDefinition>,
    new: &HealthCheckDefinition,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let fresh = HealthCheckDefinition {
        name: new.name.clone(),
        description: None,
        tags: Vec::new(),
        environments: Vec::new(),
        linux: None,
        windows: None,
        every_ms: None,
        timeout_ms: DEFAULT_TIMEOUT_MS,
        maintenance: InMaintenance::default(),
    };
    if old.is_none() {
        changes.push(added(format!("health check '{}'", new.name)));
    }
    let old = old.unwrap_or(&fresh);
    let scripts = [
        ("linux", &old.linux, &new.linux),
        ("windows", &old.windows, &new.windows),
    ];
    text(
        &mut changes,
        "description",
        old.description.as_ref(),
        new.description.as_ref(),
    );
    members(&mut changes, "tag", &old.tags, &new.tags);
    let (before, after) = (&old.environments, &new.environments);
    members(&mut changes, "environment", before, after);
    for (key, before, after) in scripts {
        text(&mut changes, key, before.as_ref(), after.as_ref());
    }
    if old.every_ms != new.every_ms {
        let [before, after] = [old, new].map(|one| span(one.every_ms));
        became(&mut changes, "every", &before, &after);
    }
    if old.timeout_ms != new.timeout_ms {
        let [before, after] = [old, new].map(|one| span(Some(one.timeout_ms)));
        became(&mut changes, "timeout", &before, &after);
    }
    if old.maintenance != new.maintenance {
        let [before, after] = [old, new].map(|one| match one.maintenance {
            InMaintenance::Check => "check",
            InMaintenance::Skip => "skip",
        });
        became(&mut changes, "maintenance", before, after);
    }
    changes
}

/// What changes in a channel that stays.
pub(super) fn channel(changes: &mut Vec<Change>, old: &ChannelDefinition, new: &ChannelDefinition) {
    let key = |key: &str| format!("channel '{}' {key}", new.name);
    text(
        changes,
        &key("description"),
        old.description.as_ref(),
        new.description.as_ref(),
    );
    text(
        changes,
        &key("lifecycle"),
        old.lifecycle.as_ref(),
        new.lifecycle.as_ref(),
    );
    if old.default != new.default {
        let [before, after] = [old, new].map(|one| one.default.to_string());
        became(changes, &key("default"), &before, &after);
    }
    if old.rules != new.rules {
        let (before, after) = (rules(&old.rules), rules(&new.rules));
        became(changes, &key("rules"), &before, &after);
    }
}

/// From what to what; neither is cut, for what differs may stand at the end.
pub(super) fn became(changes: &mut Vec<Change>, subject: &str, before: &str, after: &str) {
    let detail = format!("{before} -> {after}");
    changes.push(changed(subject.to_owned(), Some(detail)));
}

/// A length of time, or that there is none.
pub(super) fn span(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "none".to_owned(), duration::format)
}

fn members(changes: &mut Vec<Change>, kind: &str, old: &[String], new: &[String]) {
    let subject = |name: &String| format!("{kind} '{name}'");
    let come = new.iter().filter(|name| !old.contains(name));
    changes.extend(come.map(|name| added(subject(name))));
    let gone = old.iter().filter(|name| !new.contains(name));
    changes.extend(gone.map(|name| removed(subject(name))));
}

/// `live-a, live-b (automatic, 1 is enough)`.
fn describe(phase: &Phase) -> String {
    let environments = if phase.environments.is_empty() {
        "every other environment".to_owned()
    } else {
        phase.environments.join(", ")
    };
    let mut words = vec![match phase.deploy {
        DeployMode::Manual if phase.automatic.is_empty() => "manual".to_owned(),
        DeployMode::Manual => format!("automatic: {}", phase.automatic.join(", ")),
        DeployMode::Automatic => "automatic".to_owned(),
    }];
    match phase.gate {
        Gate::All => {}
        Gate::Minimum(count) => words.push(format!("minimum {count}")),
        Gate::Optional => words.push("optional".to_owned()),
    }
    match phase.priority {
        Priority::Normal => {}
        Priority::High => words.push("priority high".to_owned()),
    }
    format!("{environments} ({})", words.join(", "))
}

fn kept(retention: &Retention) -> String {
    let Retention {
        releases,
        days,
        packages,
        on_target,
    } = retention;
    let words: Vec<String> = [
        ("releases", releases),
        ("days", days),
        ("packages", packages),
        ("on_target", on_target),
    ]
    .into_iter()
    .filter_map(|(key, count)| Some(format!("{key} {}", (*count)?)))
    .collect();
    if words.is_empty() {
        "everything".to_owned()
    } else {
        words.join(", ")
    }
}

fn rules(rules: &[ChannelRule]) -> String {
    if rules.is_empty() {
        return "none".to_owned();
    }
    let rules = rules.iter();
    let said = rules.map(|rule| format!("{} {}", rule.package, rule.describe()));
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::file::{Definitions, Known, Source, diff, parse};
    use crate::testing::a_project;

    const OLD: &str = "\
mantle: v1
environments: [{ name: test }, { name: live-a }, { name: live-b }]
lifecycles:
  - name: standard
    phases:
      - { name: Test, environments: [test] }
      - { name: Gone, environments: [live-b] }
      - { name: Live, environments: [live-a] }
    retention: { releases: 5 }
targets: [{ name: one, tags: [web, old], environments: [test] }]
";
    const NEW: &str = "\
mantle: v1
environments: [{ name: test, guided_failure: true, timeout: 1h30m, priority: high }, { name: live-a }, { name: live-b }]
lifecycles:
  - name: standard
    description: All of it
    phases:
      - { name: Test, environments: [test], deploy: automatic }
      - { name: Live, environments: [live-a, live-b], minimum: 1, priority: high }
      - { name: Rest, optional: true }
    retention: { releases: 3, days: 30 }
targets: [{ name: one, tags: [new, web], environments: [live-a] }]
";

    fn read(text: &str) -> Definitions {
        let source = Source {
            name: "infrastructure.yaml",
            text,
        };
        parse(&[source], &Known::default()).unwrap()
    }

    fn lines(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_and_what_will_be_are_both_said() {
        let (old, new) = (read(OLD), read(NEW));
        assert_eq!(
            lines(&lifecycle(Some(&old.lifecycles[0]), &new.lifecycles[0])),
            [
                "~ description: none -> All of it",
                "~ phase 'Test': test (manual) -> test (automatic)",
                "~ phase 'Live': live-a (manual) -> live-a, live-b (manual, minimum 1, priority high)",
                "+ phase 'Rest': every other environment (manual, optional)",
                "- phase 'Gone': live-b (manual)",
                "~ retention: releases 5 -> releases 3, days 30",
            ]
        );
        assert_eq!(
            lines(&environment(
                Some(&old.environments[0]),
                &new.environments[0]
            )),
            [
                "~ guided_failure: false -> true",
                "~ timeout: none -> 1h30m",
                "~ priority: normal -> high",
            ]
        );
        assert_eq!(
            lines(&target(Some(&old.targets[0]), &new.targets[0])),
            [
                "+ tag 'new'",
                "- tag 'old'",
                "+ environment 'live-a'",
                "- environment 'test'",
            ]
        );
    }

    #[test]
    fn what_stays_says_nothing_and_what_is_new_says_all() {
        let old = read(OLD);
        assert!(lifecycle(Some(&old.lifecycles[0]), &old.lifecycles[0]).is_empty());
        assert!(environment(Some(&old.environments[0]), &old.environments[0]).is_empty());
        assert!(target(Some(&old.targets[0]), &old.targets[0]).is_empty());
        assert_eq!(
            lines(&lifecycle(None, &old.lifecycles[0]))[..2],
            ["+ lifecycle 'standard'", "+ phase 'Test': test (manual)"]
        );
        assert_eq!(
            lines(&environment(None, &old.environments[1])),
            ["+ environment 'live-a'"]
        );
        assert_eq!(
            lines(&target(None, &old.targets[0]))[..2],
            ["+ target 'one'", "+ tag 'old'"]
        );
    }

    #[test]
    fn a_channel_says_its_rules_and_a_project_its_times() {
        let old = "packages: [{ id: Web }]\nchannels: [{ name: stable, rules: [{ package: Web, range: '[1.0,)' }] }]\nversion: \"1.0.i\"\n";
        let new = "packages: [{ id: Web }]\nchannels: [{ name: stable, default: true }]\nversion: { package: Web }\ntimeouts: { deployment: 1h }\nunavailable: skip\n";
        assert_eq!(
            lines(&diff::project(Some(&a_project(old)), &a_project(new))),
            [
                "~ version: 1.0.i -> that of package Web",
                "~ channel 'stable' default: false -> true",
                "~ channel 'stable' rules: Web range [1.0,) -> none",
                "~ timeouts: packages none, deployment none -> packages none, deployment 1h",
                "~ unavailable: fail -> skip",
            ]
        );
    }
}
