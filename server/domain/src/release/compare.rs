//! How two releases differ, or a release and its project as it is now: process, variables, packages.
//!
//! Secrets are compared by their marks, so that the same value under another version is the same,
//! and a changed one shows without being readable. The files of packages are compared elsewhere,
//! by their manifests.

use mantle_shared::order::OrderPackage;
use mantle_template::{fold, same_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assemble::replace_inline_secrets;
use crate::file::diff::{self, Change, ChangeKind};
use crate::process::{Action, Process, Step};
use crate::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot};
use crate::variable::{Variable, VariableValue};

/// So much of a mark tells two values apart.
const MARK_SHOWN: usize = 16;
/// More changed lines of one text than this help nobody.
const MOST_LINES: usize = 40;

/// The three snapshots of a release.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Its process.
    pub process: &'a ProcessSnapshot,
    /// Its variables.
    pub variables: &'a VariableSnapshot,
    /// Its packages.
    pub packages: &'a PackageSnapshot,
}

/// How two differ. Everything is empty if they do not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// In what they do.
    pub process: Vec<Change>,
    /// With which values.
    pub variables: Vec<Change>,
    /// With which bytes.
    pub packages: Vec<PackageChange>,
}

/// A package that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// The package's id.
    pub id: String,
    /// What the first holds.
    pub from: Option<OrderPackage>,
    /// What the second holds.
    pub to: Option<OrderPackage>,
}

impl Comparison {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.process.is_empty() && self.variables.is_empty() && self.packages.is_empty()
    }
}

/// How the second differs from the first.
pub fn compare(first: &Contents<'_>, second: &Contents<'_>) -> Comparison {
    Comparison {
        process: process(&first.process.process, &second.process.process),
        variables: variables(&first.variables.variables, &second.variables.variables),
        packages: packages(&first.packages.packages, &second.packages.packages),
    }
}

/// A project's process in the form that releases hold, to compare it with one.
pub fn as_released(process: &Process) -> Process {
    let mut process = process.clone();
    replace_inline_secrets(&mut process);
    process
}

/// How a process differs from another: the steps and actions, and of inputs the lines.
pub fn process(first: &Process, second: &Process) -> Vec<Change> {
    let mut changes = Vec::new();
    diff::steps(&mut changes, &first.steps, &second.steps);
    diff::whole_process(&mut changes, first, second);
    let actions = |steps: &[Step]| -> Vec<Action> {
        let steps = steps.iter();
        steps.flat_map(|step| step.actions.clone()).collect()
    };
    let before = actions(&diff::as_now_called(&first.steps, &second.steps));
    for action in actions(&second.steps) {
        if let Some(old) = before.iter().find(|old| old.name == action.name) {
            inputs(&mut changes, old, &action);
        }
    }
    changes
}

/// The inputs of an action in which it differs from what it was.
fn inputs(changes: &mut Vec<Change>, old: &Action, new: &Action) {
    let keys = new.with.keys();
    let gone = old.with.keys().filter(|key| !new.with.contains_key(*key));
    for key in keys.chain(gone) {
        let (before, after) = (old.with.get(key), new.with.get(key));
        if before == after {
            continue;
        }
        let subject = format!("'{}' {key}", new.name);
        let text = |value: Option<&Value>| match value {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        lines(changes, &subject, &text(before), &text(after));
    }
}

/// The lines that only one of two texts has, in order. Common heads and tails are left out first,
/// then what stands in both; that is no smallest difference, but a true one and quickly made.
fn lines(changes: &mut Vec<Change>, subject: &str, old: &str, new: &str) {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old
        .iter()
        .skip(head)
        .rev()
        .zip(new.iter().skip(head).rev())
        .take_while(|(a, b)| a == b)
        .count();
    let middle = |lines: &[&str]| -> Vec<String> {
        let count = lines.len().saturating_sub(head + tail);
        let inside = lines.iter().skip(head).take(count);
        inside.map(|line| (*line).to_owned()).collect()
    };
    let (before, after) = (middle(&old), middle(&new));
    let said = |kind: ChangeKind, from: &[String], others: &[String]| -> Vec<Change> {
        let own = from.iter().filter(|line| !others.contains(line));
        own.map(|line| Change {
            kind,
            subject: subject.to_owned(),
            detail: Some(diff::short(line.trim_end())),
        })
        .collect()
    };
    let mut all = said(ChangeKind::Removed, &before, &after);
    all.extend(said(ChangeKind::Added, &after, &before));
    let more = all.len().saturating_sub(MOST_LINES);
    all.truncate(MOST_LINES);
    if more > 0 || all.is_empty() {
        let what = if more > 0 {
            format!("{more} more lines")
        } else {
            "the order of its lines".to_owned()
        };
        all.push(Change {
            kind: ChangeKind::Changed,
            subject: subject.to_owned(),
            detail: Some(what),
        });
    }
    changes.extend(all);
}

/// How a list of variables differs from another.
pub fn variables(first: &[Variable], second: &[Variable]) -> Vec<Change> {
    let mut changes = Vec::new();
    diff::variables(&mut changes, &marked(first), &marked(second));
    changes
}

/// Pinned secrets as what tells them apart: their path and their mark.
fn marked(variables: &[Variable]) -> Vec<Variable> {
    let mut marked = variables.to_vec();
    for scoped in marked.iter_mut().flat_map(|variable| &mut variable.values) {
        if let VariableValue::PinnedSecret(secret) = &scoped.value {
            let mark: String = secret.mark.chars().take(MARK_SHOWN).collect();
            scoped.value = VariableValue::Secret(format!("{} ({mark})", secret.path));
        }
    }
    marked
}

/// What a package is; how it is brought makes no other.
fn content(package: Option<&OrderPackage>) -> Option<OrderPackage> {
    Some(OrderPackage {
        as_pushed: None,
        ..package?.clone()
    })
}

/// The packages that are not the same, by id.
pub fn packages(first: &[OrderPackage], second: &[OrderPackage]) -> Vec<PackageChange> {
    let of = |held: &[OrderPackage], id: &str| -> Option<OrderPackage> {
        let mut held = held.iter();
        held.find(|package| same_name(&package.id, id)).cloned()
    };
    let mut ids: Vec<&str> = first
        .iter()
        .chain(second)
        .map(|package| package.id.as_str())
        .collect();
    ids.sort_by_key(|id| fold(id));
    ids.dedup_by(|a, b| same_name(a, b));
    ids.into_iter()
        .map(|id| PackageChange {
            id: id.to_owned(),
            from: of(first, id),
            to: of(second, id),
        })
        .filter(|change| content(change.from.as_ref()) != content(change.to.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ids::SecretVersionId;
    use crate::release::ScannedFiles;
    use crate::testing::{a_package, a_project, a_release, octofx};

    const FIRST: &str = "variables: { Port: 80, Password: { secret: shop/password } }\nprocess:\n  - { step: A, targets: { tag: web }, uses: script, with: { run: \"one\\ntwo\\nthree\" } }\n";
    const SECOND: &str = "variables: { Port: 81, Password: { secret: shop/password } }\nprocess:\n  - { step: A, targets: { tag: web }, uses: script, timeout: 5m, with: { run: \"one\\n2\\nthree\" } }\n  - { step: B, targets: { tag: web }, uses: script, with: { run: x } }\n";

    fn said(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_releases_differ_in_what_was_changed_and_in_nothing_else() {
        let first = a_release(&a_project(FIRST), &ScannedFiles::new());
        let second = a_release(&a_project(SECOND), &ScannedFiles::new());
        fn contents(draft: &crate::release::ReleaseDraft) -> Contents<'_> {
            Contents {
                process: &draft.process,
                variables: &draft.variables,
                packages: &draft.packages,
            }
        }
        let found = compare(&contents(&first), &contents(&second));
        assert_eq!(
            said(&found.process),
            [
                "~ step 'A': with, timeout_ms",
                "+ step 'B'",
                "- 'A' run: two",
                "+ 'A' run: 2",
            ]
        );
        assert_eq!(said(&found.variables), ["~ variable Port: 80 -> 81"]);
        assert!(found.packages.is_empty());
        assert!(compare(&contents(&first), &contents(&first)).is_empty());
    }

    #[test]
    fn a_secret_that_was_set_to_the_same_value_again_is_the_same() {
        let first = a_release(&a_project(FIRST), &ScannedFiles::new());
        let mut second = first.variables.variables.clone();
        for scoped in second.iter_mut().flat_map(|variable| &mut variable.values) {
            if let VariableValue::PinnedSecret(secret) = &mut scoped.value {
                secret.secret_version = SecretVersionId::from_uuid(uuid::Uuid::from_u128(99));
            }
        }
        assert!(variables(&first.variables.variables, &second).is_empty());
        for scoped in second.iter_mut().flat_map(|variable| &mut variable.values) {
            if let VariableValue::PinnedSecret(secret) = &mut scoped.value {
                secret.mark = "another".to_owned();
            }
        }
        assert_eq!(
            said(&variables(&first.variables.variables, &second)),
            [
                "~ variable Password: secret shop/password (mark of shop/pas) -> secret shop/password (another)"
            ]
        );
    }

    #[test]
    fn packages_differ_by_bytes_also_under_one_version() {
        let (one, two) = (a_package("Web", "1.0"), a_package("Web", "1.1"));
        let mut forged = one.clone();
        forged.archive = two.archive;
        let api = a_package("Api", "2.0");
        let alone = std::slice::from_ref(&one);
        assert!(packages(alone, alone).is_empty());
        let found = packages(&[one.clone(), api], &[two]);
        let ids: Vec<&str> = found.iter().map(|change| change.id.as_str()).collect();
        assert_eq!(ids, ["Api", "Web"]);
        assert_eq!(found[0].to, None);
        assert_eq!(packages(alone, &[forged]).len(), 1);
    }

    #[test]
    fn an_unchanged_project_has_not_drifted_from_its_release() {
        let project = &octofx().projects[0];
        let release = a_release(project, &ScannedFiles::new());
        let now = as_released(&project.process);
        assert_eq!(process(&release.process.process, &now), []);
    }
}
