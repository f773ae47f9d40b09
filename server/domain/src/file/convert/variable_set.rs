//! A variable set's document.

use super::super::Definitions;
use super::super::grammar::Document;
use super::super::node::{Position, Problem};
use super::super::report::Report;
use super::project::Inside;
use super::{Declared, Owner, World, library, variables};
use crate::process::Process;
use crate::variable_set::VariableSetDefinition;

pub(super) fn convert(
    document: Document,
    world: &World,
    declared: &mut Declared,
    definitions: &mut Definitions,
    report: &mut Report,
) {
    let Some(name) = document.variable_set else {
        return;
    };
    report.word("variable set", &name, &[' ']);
    declared.once("variable set", &name, report);
    let stray: [(&str, Option<Position>); 7] = [
        ("project", document.project.as_ref().map(|value| value.at)),
        (
            "lifecycle",
            document.lifecycle.as_ref().map(|value| value.at),
        ),
        ("version", document.version.as_ref().map(|value| value.at)),
        (
            "release_notes",
            document.release_notes.as_ref().map(|value| value.at),
        ),
        ("packages", document.packages.as_ref().map(|_| name.at)),
        ("channels", document.channels.as_ref().map(|_| name.at)),
        ("process", document.process.as_ref().map(|_| name.at)),
    ];
    for (key, at) in stray {
        if let Some(at) = at {
            report.error(
                Problem::new(
                    at,
                    format!(
                        "'{key}' belongs to a project, and this document is the variable set '{}'",
                        name.value
                    ),
                )
                .next("put the two into documents of their own, with '---' between"),
            );
        }
    }
    let owner = Owner::Set(name.value.clone());
    let include = library::include(document.include, &owner, world, declared, report);
    let mut inside = Inside {
        library: true,
        ..Inside::default()
    };
    let nodes = variables::entries(document.variables, &mut inside, report);
    let process = Process::default();
    let (variables, places) = variables::convert(&nodes, &process, world, &inside, report);
    declared.put(&owner, places, report);
    definitions.variable_sets.push(VariableSetDefinition {
        name: name.value,
        description: document.description.map(|text| text.value),
        include,
        variables,
    });
}
