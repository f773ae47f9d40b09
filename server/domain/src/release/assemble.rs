//! Pins everything: makes the three snapshots of a release.

use mantle_template::{fold, same_name};
use std::collections::{BTreeMap, BTreeSet};

use super::{ReleaseDraft, ScannedFiles, SecretFacts, Selection, inline_secret, scan};
use crate::explain::{Refusal, nearest};
use crate::process::{Process, SecretAccess};
use crate::project::ProjectDefinition;
use crate::snapshot::{PackageSnapshot, ProcessSnapshot, SNAPSHOT_FORMAT, VariableSnapshot};
use crate::variable::{PinnedSecret, Scope, ScopedValue, Variable, VariableValue};

/// Makes a release of what was selected. The project comes with the variables of its sets: see
/// [`crate::variable_set::complete`].
///
/// `secrets` are the current versions of the project's secrets by path; `scanned` is what
/// [`scan::names_in_text`] and [`scan::names_in_structure`] found in the files of packages.
pub fn assemble(
    project: &ProjectDefinition,
    selection: Selection,
    secrets: &BTreeMap<String, SecretFacts>,
    scanned: &ScannedFiles,
) -> Result<ReleaseDraft, Vec<Refusal>> {
    let mut process = project.process.clone();
    let inline = replace_inline_secrets(&mut process);
    let mut refusals = Vec::new();
    let mut variables = pin_variables(&project.variables, secrets, &mut refusals);
    for (path, action) in inline {
        let place = format!("action '{action}'");
        if let Some(secret) = pin(&path, &place, secrets, &mut refusals) {
            variables.push(Variable {
                name: inline_secret::variable(&path),
                values: vec![ScopedValue::own(secret, Scope::default())],
            });
        }
    }
    for action in process.steps.iter().flat_map(|step| &step.actions) {
        for package in crate::action::packages(action) {
            let held = selection
                .packages
                .iter()
                .any(|held| same_name(&held.id, &package));
            if !held && !package.contains("#{") {
                refusals.push(Refusal::PackageNotInRelease {
                    action: action.name.clone(),
                    package,
                });
            }
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    sort(&mut variables);
    let warnings = warnings(&process);
    Ok(ReleaseDraft {
        version: selection.version,
        channel: selection.channel,
        process: ProcessSnapshot {
            format: SNAPSHOT_FORMAT,
            project: project.slug.clone(),
            scanned_secrets: scanned_secrets(project, &process, scanned),
            process,
        },
        variables: VariableSnapshot {
            format: SNAPSHOT_FORMAT,
            variables,
        },
        packages: PackageSnapshot {
            format: SNAPSHOT_FORMAT,
            packages: selection.packages,
        },
        warnings,
    })
}

/// The variables that hold a secret anywhere, or whose values reach one: the names to look for.
pub fn sensitive_variables(project: &ProjectDefinition) -> BTreeSet<String> {
    let secret = |value: &ScopedValue| value.value.is_secret();
    let mut sensitive: BTreeSet<String> = project
        .variables
        .iter()
        .filter(|variable| variable.values.iter().any(secret))
        .map(|variable| variable.name.clone())
        .collect();
    // Grows until nothing reaches a member that is none itself; at most one round a variable.
    loop {
        let before = sensitive.len();
        for variable in &project.variables {
            let reaches = variable.values.iter().any(|value| match &value.value {
                VariableValue::Text(text) if text.contains("#{") => {
                    let references = mantle_template::references(text);
                    sensitive.iter().any(|name| references.reaches(name))
                }
                _ => false,
            });
            if reaches {
                sensitive.insert(variable.name.clone());
            }
        }
        if sensitive.len() == before {
            return sensitive;
        }
    }
}

/// The paths in order, each with the first action that names it.
pub(super) fn replace_inline_secrets(process: &mut Process) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    for action in process.steps.iter_mut().flat_map(|step| &mut step.actions) {
        for path in inline_secret::replace(&mut action.with) {
            first.entry(path).or_insert_with(|| action.name.clone());
        }
    }
    first
}

/// Variables with every secret that they name pinned to its current version.
pub(super) fn pin_variables(
    variables: &[Variable],
    secrets: &BTreeMap<String, SecretFacts>,
    refusals: &mut Vec<Refusal>,
) -> Vec<Variable> {
    variables
        .iter()
        .map(|variable| pin_variable(variable, secrets, refusals))
        .collect()
}

/// Brings variables into the order of snapshots.
pub(super) fn sort(variables: &mut [Variable]) {
    variables.sort_by(|a, b| (fold(&a.name), &a.name).cmp(&(fold(&b.name), &b.name)));
}

fn pin_variable(
    variable: &Variable,
    secrets: &BTreeMap<String, SecretFacts>,
    refusals: &mut Vec<Refusal>,
) -> Variable {
    let place = format!("variable '{}'", variable.name);
    let mut pinned = variable.clone();
    for value in &mut pinned.values {
        if let VariableValue::Secret(path) = &value.value
            && let Some(secret) = pin(path, &place, secrets, refusals)
        {
            value.value = secret;
        }
    }
    pinned
}

pub(super) fn pin(
    path: &str,
    place: &str,
    secrets: &BTreeMap<String, SecretFacts>,
    refusals: &mut Vec<Refusal>,
) -> Option<VariableValue> {
    if let Some(facts) = secrets.get(path) {
        return Some(VariableValue::PinnedSecret(PinnedSecret {
            path: path.to_owned(),
            secret_version: facts.version,
            mark: facts.mark.clone(),
        }));
    }
    refusals.push(Refusal::UnknownSecret {
        path: path.to_owned(),
        place: place.to_owned(),
        suggestion: nearest(path, secrets.keys().map(String::as_str)),
    });
    None
}

fn scanned_secrets(
    project: &ProjectDefinition,
    process: &Process,
    files: &ScannedFiles,
) -> BTreeMap<String, BTreeSet<String>> {
    let names = sensitive_variables(project);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for action in process.steps.iter().flat_map(|step| &step.actions) {
        let mut all = files.get(&action.name).cloned().unwrap_or_default();
        for text in scan::own_texts(action) {
            all.extend(scan::names_in_text(text, &names));
        }
        if !all.is_empty() {
            found.insert(action.name.clone(), all);
        }
    }
    found
}

fn warnings(process: &Process) -> Vec<String> {
    process
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .filter(|action| action.secrets == SecretAccess::All)
        .map(|action| {
            format!(
                "action '{}' gets every secret of the project ('secrets: all'); name those that it uses instead",
                action.name
            )
        })
        .collect()
}
