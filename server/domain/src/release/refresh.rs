//! Gives a release other variables: those that its project has now, all or some.
//!
//! The process and the packages of the release stay. What a deployment that is queued or under way
//! uses is not touched either: it names its own snapshot.

use mantle_template::same_name;
use std::collections::{BTreeMap, BTreeSet};

use super::SecretFacts;
use super::assemble::{pin, pin_variables, sort};
use super::inline_secret;
use crate::explain::{Refusal, nearest};
use crate::project::ProjectDefinition;
use crate::snapshot::{SNAPSHOT_FORMAT, VariableSnapshot};
use crate::variable::{ScopedValue, Variable, VariableValue, find};

/// Which variables of a release are to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Every one; those that the project no longer has go.
    All,
    /// These, whatever the case of their names; one that the project no longer has goes.
    Only(BTreeSet<String>),
}

/// A release's variables as they would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The snapshot.
    pub variables: VariableSnapshot,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// The variables that a release would have after a refresh.
///
/// Secrets that its own inputs name ([`inline_secret`]) are renewed with `All`: they are of the
/// release's process, which the project may no longer have.
pub fn refresh(
    project: &ProjectDefinition,
    current: &VariableSnapshot,
    which: &Which,
    secrets: &BTreeMap<String, SecretFacts>,
) -> Result<Refreshed, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut variables = match which {
        Which::All => {
            let mut all = pin_variables(&project.variables, secrets, &mut refusals);
            let inline = current.variables.iter();
            for variable in inline.filter(|variable| inline_secret::is_one(&variable.name)) {
                all.push(renew_inline(variable, secrets, &mut refusals));
            }
            all
        }
        Which::Only(names) => only(project, current, names, secrets, &mut refusals),
    };
    if !refusals.is_empty() {
        return Err(refusals);
    }
    sort(&mut variables);
    let warnings = new_secrets(current, &variables);
    Ok(Refreshed {
        variables: VariableSnapshot {
            format: SNAPSHOT_FORMAT,
            variables,
        },
        warnings,
    })
}

fn only(
    project: &ProjectDefinition,
    current: &VariableSnapshot,
    names: &BTreeSet<String>,
    secrets: &BTreeMap<String, SecretFacts>,
    refusals: &mut Vec<Refusal>,
) -> Vec<Variable> {
    let asked = |name: &str| names.iter().any(|other| same(other, name));
    for name in names {
        let here = find(&current.variables, name)
            .filter(|variable| !inline_secret::is_one(&variable.name));
        if here.is_none() && find(&project.variables, name).is_none() {
            let known = current.variables.iter().chain(&project.variables);
            refusals.push(Refusal::NoSuchVariable {
                project: project.slug.clone(),
                variable: name.clone(),
                suggestion: nearest(name, known.map(|variable| variable.name.as_str())),
            });
        }
    }
    let wanted: Vec<Variable> = project
        .variables
        .iter()
        .filter(|variable| asked(&variable.name))
        .cloned()
        .collect();
    let kept = current
        .variables
        .iter()
        .filter(|variable| inline_secret::is_one(&variable.name) || !asked(&variable.name));
    let mut all: Vec<Variable> = kept.cloned().collect();
    all.extend(pin_variables(&wanted, secrets, refusals));
    all
}

fn same(one: &str, other: &str) -> bool {
    same_name(one, other)
}

fn renew_inline(
    variable: &Variable,
    secrets: &BTreeMap<String, SecretFacts>,
    refusals: &mut Vec<Refusal>,
) -> Variable {
    let place = "the release's process".to_owned();
    let values = variable.values.iter().map(|scoped| {
        let value = match &scoped.value {
            VariableValue::PinnedSecret(secret) => pin(&secret.path, &place, secrets, refusals),
            VariableValue::Secret(path) => pin(path, &place, secrets, refusals),
            VariableValue::Text(_) | VariableValue::Prompt(_) => None,
        };
        ScopedValue {
            value: value.unwrap_or_else(|| scoped.value.clone()),
            ..scoped.clone()
        }
    });
    Variable {
        name: variable.name.clone(),
        values: values.collect(),
    }
}

/// Scripts and files were looked through when the release was created, for the secrets of then.
fn new_secrets(current: &VariableSnapshot, now: &[Variable]) -> Vec<String> {
    let secret = |variable: &&Variable| {
        let mut values = variable.values.iter();
        values.any(|scoped| scoped.value.is_secret())
    };
    now.iter()
        .filter(secret)
        .filter(|variable| {
            let before = find(&current.variables, &variable.name);
            before.as_ref().is_none_or(|before| !secret(before))
        })
        .map(|variable| {
            format!(
                "variable '{}' holds a secret that is new to this release: actions get it where their inputs or 'secrets:' name it, not where only a script or a file does; a new release looks through those again",
                variable.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::release::{ScannedFiles, compare};
    use crate::testing::{a_project, a_release, secrets};

    const OLD: &str = "variables: { Port: 80, Gone: x, Name: shop, Password: { secret: shop/password } }\nprocess:\n  - { step: Tell, targets: { tag: web }, uses: http.check, with: { url: { secret: shop/key } } }\n";
    const NEW: &str = "variables: { Port: 8080, Name: store, New: y, Password: { secret: shop/password }, Token: { secret: shop/token } }\n";

    fn refreshed(which: &Which) -> Result<Vec<String>, Vec<String>> {
        let old = a_release(&a_project(OLD), &ScannedFiles::new());
        // Every secret has got a new value meanwhile.
        let known = secrets(&["other", "shop/token", "shop/key", "shop/password"]);
        let known = known.into_iter().map(|(path, mut facts)| {
            facts.mark = format!("newer {}", facts.mark);
            (path, facts)
        });
        let now = refresh(&a_project(NEW), &old.variables, which, &known.collect());
        now.map(|now| {
            let changes = compare::variables(&old.variables.variables, &now.variables.variables);
            let lines = changes.iter().map(ToString::to_string);
            lines.chain(now.warnings).collect()
        })
        .map_err(|refusals| refusals.iter().map(ToString::to_string).collect())
    }

    fn names(names: &[&str]) -> Which {
        Which::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn all_variables_become_those_of_the_project() {
        let said = refreshed(&Which::All).unwrap();
        assert_eq!(
            said,
            [
                "~ variable Name: shop -> store",
                "+ variable New: y",
                "~ variable Octopus.Secret[shop/key]: secret shop/key (mark of shop/key) -> secret shop/key (newer mark of sh)",
                "~ variable Password: secret shop/password (mark of shop/pas) -> secret shop/password (newer mark of sh)",
                "~ variable Port: 80 -> 8080",
                "+ variable Token: secret shop/token (newer mark of sh)",
                "- variable Gone: x",
                "variable 'Token' holds a secret that is new to this release: actions get it where their inputs or 'secrets:' name it, not where only a script or a file does; a new release looks through those again",
            ]
        );
    }

    #[test]
    fn only_those_that_are_named_change_whatever_their_case() {
        // Reference section 7, number 1: fixing one value must not bring the rest.
        let said = refreshed(&names(&["port"])).unwrap();
        assert_eq!(said, ["~ variable Port: 80 -> 8080"]);
        let said = refreshed(&names(&["Gone", "New"])).unwrap();
        assert_eq!(said, ["+ variable New: y", "- variable Gone: x"]);
    }

    #[test]
    fn a_name_that_is_nowhere_is_refused() {
        let said = refreshed(&names(&["Prot", "Name"])).unwrap_err();
        assert_eq!(
            said,
            ["neither the release nor project 'shop' has a variable 'Prot'; did you mean 'Port'?"]
        );
    }
}
