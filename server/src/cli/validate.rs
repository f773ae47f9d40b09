//! `mantle validate`: reads files as `apply` does, without a server.
//!
//! What only the server knows (an environment, lifecycle, variable set or secret that no file
//! declares) is taken for granted; everything else is said in the same words.

use std::path::PathBuf;

use clap::Args;
use mantle_domain::file::{Definitions, Known, Source, parse};
use serde::Serialize;

use super::apply::read_all;
use super::exit::{CliResult, Exit, Failure};
use super::output::Output;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Files, folders of .yaml files with those in their folders, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Validated {
    files: usize,
    projects: Vec<String>,
    variable_sets: Vec<String>,
    environments: Vec<String>,
    lifecycles: Vec<String>,
    health_checks: Vec<String>,
    targets: Vec<String>,
}

/// Does it.
pub(super) fn run(args: &ValidateArgs, out: Output) -> CliResult {
    let files = read_all(&args.files, out)?;
    let sources: Vec<Source<'_>> = files
        .iter()
        .map(|file| Source {
            name: &file.name,
            text: &file.text,
        })
        .collect();
    let definitions =
        parse(&sources, &Known::default()).map_err(|errors| match errors.as_slice() {
            [one] => Failure {
                exit: Exit::Invalid,
                message: format!("{}:{}:{}: {}", one.file, one.line, one.column, one.what),
                reasons: Vec::new(),
                help: one.next.clone(),
            },
            many => Failure {
                exit: Exit::Invalid,
                message: format!("{} things in the files are wrong", many.len()),
                reasons: many.iter().map(ToString::to_string).collect(),
                help: None,
            },
        })?;
    for warning in &definitions.warnings {
        out.warn(&warning.to_string());
    }
    out.object(&validated(files.len(), &definitions), lines)
}

fn validated(files: usize, found: &Definitions) -> Validated {
    fn names<T>(items: &[T], name: impl Fn(&T) -> &String) -> Vec<String> {
        items.iter().map(|item| name(item).clone()).collect()
    }
    Validated {
        files,
        projects: names(&found.projects, |one| &one.slug),
        variable_sets: names(&found.variable_sets, |one| &one.name),
        environments: names(&found.environments, |one| &one.name),
        lifecycles: names(&found.lifecycles, |one| &one.name),
        health_checks: names(&found.health_checks, |one| &one.name),
        targets: names(&found.targets, |one| &one.name),
    }
}

fn lines(found: &Validated) -> Vec<String> {
    let kinds = [
        ("project", &found.projects),
        ("variable set", &found.variable_sets),
        ("environment", &found.environments),
        ("lifecycle", &found.lifecycles),
        ("health check", &found.health_checks),
        ("target", &found.targets),
    ];
    let named = kinds.iter().flat_map(|(kind, names)| {
        let names = names.iter();
        names.map(move |name| format!("{kind} {name}"))
    });
    let mut lines: Vec<String> = named.collect();
    lines.push("valid".to_owned());
    lines
}
