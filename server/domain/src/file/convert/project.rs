//! A project: its own keys, packages and channels.

use std::collections::BTreeSet;

use super::super::Definitions;
use super::super::grammar::{ChannelItem, Document, VersionPackage};
use super::super::node::{Kind, Node, Position, Problem};
use super::super::report::Report;
use super::super::typed::At;
use super::references::{self, Doers};
use super::{Declared, Owner, World, library, process, variables};
use crate::channel::{ChannelDefinition, ChannelRule};
use crate::project::{PackageReference, ProjectDefinition, VersionSource};
use crate::version::{PrereleasePattern, Range, unknown_number, written_version};

/// What can be referred to inside a project.
#[derive(Debug, Default)]
pub(super) struct Inside {
    pub(super) packages: Vec<String>,
    pub(super) channels: Vec<String>,
    /// Steps and actions.
    pub(super) places: Vec<String>,
    /// The same in their order.
    pub(super) doers: Doers,
    /// Variables with at least one secret value.
    pub(super) secret_variables: BTreeSet<String>,
    /// All variables.
    pub(super) variables: BTreeSet<String>,
    /// It is a variable set: steps and channels are those of projects that are not known here.
    pub(super) library: bool,
    /// It includes a set that is not known here, whose variables may be any.
    pub(super) open: bool,
}

pub(super) fn convert(
    document: Document,
    world: &World,
    declared: &mut Declared,
    definitions: &mut Definitions,
    report: &mut Report,
) {
    let Some(slug) = document.project else {
        return;
    };
    check_slug(&slug, report);
    declared.once("project", &slug, report);
    if let Some(lifecycle) = &document.lifecycle {
        known_lifecycle(lifecycle, world, report);
    }
    let mut inside = Inside::default();
    let mut packages = Vec::new();
    let mut places: Vec<(String, Position)> = Vec::new();
    for item in report.each(document.packages) {
        report.word("package", &item.id, &[]);
        report.unique("package", &item.id, &places);
        places.push((item.id.value.clone(), item.id.at));
        inside.packages.push(item.id.value.clone());
        packages.push(PackageReference {
            id: item.value.id.value,
        });
    }
    let channels = channels(report.each(document.channels), world, &mut inside, report);
    let version = document
        .version
        .map_or_else(VersionSource::default, |node| {
            version(&node, &inside, report)
        });
    if let Some(notes) = &document.release_notes {
        report.template(notes.at, notes);
    }
    let steps = report.each(document.process);
    process::collect_names(&steps, &mut inside, report);
    let owner = Owner::Project(slug.value.clone());
    let include = library::include(document.include, &owner, world, declared, report);
    library::see(&include, world, &mut inside);
    let variable_nodes = variables::entries(document.variables, &mut inside, report);
    references::of_process(&steps, &inside, report);
    references::of_variables(&variable_nodes, &inside, report);
    let whole = process::Whole {
        timeouts: document.timeouts,
        unavailable: document.unavailable,
        unhealthy: document.unhealthy,
        guided_failure: document.guided_failure,
    };
    let process = process::convert(steps, whole, world, &inside, report);
    let (variables, places) = variables::convert(&variable_nodes, &process, world, &inside, report);
    declared.put(&owner, places, report);
    definitions.projects.push(ProjectDefinition {
        slug: slug.value,
        description: document.description.map(|text| text.value),
        lifecycle: document.lifecycle.map(|name| name.value),
        version,
        release_notes: document.release_notes.map(|notes| notes.value),
        packages,
        channels,
        include,
        variables,
        process,
    });
}

fn check_slug(slug: &At<String>, report: &mut Report) {
    let sound = slug.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && !slug.ends_with('-')
        && slug.len() <= 64
        && slug
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !sound {
        report.error(
            Problem::new(
                slug.at,
                format!("'{}' cannot be the slug of a project", slug.value),
            )
            .next("use lower-case letters, digits and '-', such as web-shop"),
        );
    }
}

fn known_lifecycle(name: &At<String>, world: &World, report: &mut Report) {
    if world.complete {
        let names = world.lifecycles.iter().map(String::as_str);
        report.reference(
            "lifecycle",
            name,
            names,
            "declare it under 'lifecycles:', here or in another file",
        );
    }
}

/// A reference to one of the project's packages.
pub(super) fn known_package(name: &At<String>, inside: &Inside, report: &mut Report) {
    let names = inside.packages.iter().map(String::as_str);
    report.reference("package", name, names, "add it under 'packages:'");
}

fn version(node: &Node, inside: &Inside, report: &mut Report) -> VersionSource {
    match &node.kind {
        Kind::Map(_) => match node.read::<VersionPackage>() {
            Ok(item) => {
                known_package(&item.package, inside, report);
                VersionSource::Package(item.package.value)
            }
            Err(problem) => {
                report.error(problem);
                VersionSource::default()
            }
        },
        Kind::Text(text) => {
            report.template(node.at, text);
            if let Some((name, meant)) = unknown_number(text) {
                let what = format!("there is no '{name}' in a version");
                report.error(Problem::new(node.at, what).meant(meant));
            }
            if !text.contains("#{") {
                // White space does not count, as when it is evaluated.
                let written: String = text.split_whitespace().collect();
                if let Err(error) = written_version(&written, &[]) {
                    report.error(
                        Problem::new(node.at, error.to_string()).next(
                            "or let it count on: version: \"1.0.#{Octopus.Version.NextPatch}\"",
                        ),
                    );
                }
            }
            VersionSource::Template(text.clone())
        }
        Kind::Plain(_) | Kind::List(_) => {
            report.error(
                Problem::new(
                    node.at,
                    "expected a template in quotes, or a map with 'package'",
                )
                .next("write version: \"1.0.#{Octopus.Version.NextPatch}\""),
            );
            VersionSource::default()
        }
    }
}

fn channels(
    items: Vec<At<ChannelItem>>,
    world: &World,
    inside: &mut Inside,
    report: &mut Report,
) -> Vec<ChannelDefinition> {
    let mut channels: Vec<ChannelDefinition> = Vec::new();
    let mut places: Vec<(String, Position)> = Vec::new();
    for At { at, value: item } in items {
        report.title("channel", &item.name);
        report.unique("channel", &item.name, &places);
        places.push((item.name.value.clone(), item.name.at));
        inside.channels.push(item.name.value.clone());
        if let Some(lifecycle) = &item.lifecycle {
            known_lifecycle(lifecycle, world, report);
        }
        if let Some(first) = channels
            .iter()
            .find(|channel| channel.default && item.default)
        {
            report.error(
                Problem::new(
                    at,
                    format!("channel '{}' is the default already", first.name),
                )
                .next("leave 'default: true' to one of them"),
            );
        }
        let mut rules = Vec::new();
        for rule in report.each(item.rules) {
            known_package(&rule.package, inside, report);
            if let Some(range) = &rule.range
                && let Err(error) = Range::parse(range)
            {
                report.error(Problem::new(range.at, error.to_string()));
            }
            if let Some(pattern) = &rule.prerelease
                && let Err(error) = PrereleasePattern::parse(pattern)
            {
                report.error(Problem::new(pattern.at, error.to_string()));
            }
            if rule.range.is_none() && rule.prerelease.is_none() {
                report.error(
                    Problem::new(
                        rule.at,
                        "a rule without 'range' and 'prerelease' says nothing",
                    )
                    .next("add one of them, or remove the rule"),
                );
            }
            rules.push(ChannelRule {
                package: rule.value.package.value,
                range: rule.value.range.map(|range| range.value),
                prerelease: rule.value.prerelease.map(|pattern| pattern.value),
            });
        }
        channels.push(ChannelDefinition {
            name: item.name.value,
            description: item.description,
            default: item.default,
            lifecycle: item.lifecycle.map(|name| name.value),
            rules,
        });
    }
    channels
}
