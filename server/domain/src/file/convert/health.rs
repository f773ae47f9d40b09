//! Health checks.

use super::super::duration;
use super::super::grammar::{Document, HealthCheckItem};
use super::super::node::Problem;
use super::super::report::Report;
use super::super::typed::At;
use super::infrastructure::{known_environment, sorted, sound};
use super::{Declared, World};
use crate::explain::nearest;
use crate::file::Definitions;
use crate::health::{
    DEFAULT_TIMEOUT_MS, HealthCheckDefinition, LONGEST_TIMEOUT_MS, SHORTEST_INTERVAL_MS,
};
use crate::name;

/// Once a month: what runs less often is forgotten.
const LONGEST_INTERVAL_MS: u64 = 31 * 24 * 60 * 60 * 1000;
/// The shortest time that a script may have.
const SHORTEST_TIMEOUT_MS: u64 = 1000;

/// Converts the health checks of a document; whether there was anything.
pub(super) fn convert(
    document: &Document,
    world: &World,
    declared: &mut Declared,
    definitions: &mut Definitions,
    report: &mut Report,
) -> bool {
    for item in sound(document.health_checks.as_ref(), report) {
        report.word("health check", &item.name, name::IN_TARGETS);
        declared.once("health check", &item.name, report);
        let check = health_check(item, world, report);
        definitions.health_checks.push(check);
    }
    document.health_checks.is_some()
}

fn health_check(
    item: &HealthCheckItem,
    world: &World,
    report: &mut Report,
) -> HealthCheckDefinition {
    for tag in &item.tags.0 {
        report.word("tag", tag, name::IN_TAGS);
        known_tag(tag, &item.name, world, report);
    }
    for environment in &item.environments.0 {
        known_environment(environment, world, report);
    }
    if item.linux.is_none() && item.windows.is_none() {
        report.error(
            Problem::new(
                item.name.at,
                format!("health check '{}' has no script", item.name.value),
            )
            .next("write one under 'linux' or 'windows'"),
        );
    }
    for script in [&item.linux, &item.windows].into_iter().flatten() {
        if script.trim().is_empty() {
            report.error(
                Problem::new(script.at, "the script is empty")
                    .next("write one that ends with 0 on a healthy target, or remove the key"),
            );
        }
    }
    let every = item.every.as_ref();
    let timeout = item.timeout.as_ref();
    let interval = (SHORTEST_INTERVAL_MS, LONGEST_INTERVAL_MS);
    let limit = (SHORTEST_TIMEOUT_MS, LONGEST_TIMEOUT_MS);
    HealthCheckDefinition {
        name: item.name.value.clone(),
        description: item.description.clone(),
        tags: sorted(&item.tags.0),
        environments: sorted(&item.environments.0),
        linux: item.linux.as_ref().map(|script| script.value.clone()),
        windows: item.windows.as_ref().map(|script| script.value.clone()),
        every_ms: every.and_then(|text| span(text, interval, report)),
        timeout_ms: timeout
            .and_then(|text| span(text, limit, report))
            .unwrap_or(DEFAULT_TIMEOUT_MS),
        maintenance: item.maintenance,
    }
}

/// A length of time from the least to the most.
fn span(text: &At<String>, (least, most): (u64, u64), report: &mut Report) -> Option<u64> {
    let problem = match duration::parse(text) {
        Ok(ms) if (least..=most).contains(&ms) => return Some(ms),
        Ok(_) => {
            let (least, most) = (duration::format(least), duration::format(most));
            Problem::new(text.at, format!("it must be from {least} to {most}"))
        }
        Err(error) => Problem::new(text.at, error.to_string()),
    };
    report.error(problem);
    None
}

/// A check of a tag that no target has looks at nothing, which nobody would notice.
fn known_tag(tag: &At<String>, check: &At<String>, world: &World, report: &mut Report) {
    let tags = world.targets.iter().flat_map(|(_, tags)| tags);
    if !world.complete || tags.clone().any(|own| *own == tag.value) {
        return;
    }
    let what = format!(
        "no target has the tag '{}', so health check '{}' looks at nothing by it",
        tag.value, check.value
    );
    let problem = Problem::new(tag.at, what);
    report.warn(match nearest(&tag.value, tags.map(String::as_str)) {
        Some(meant) => problem.meant(Some(meant)),
        None => problem.next("give the tag to a target"),
    });
}
