//! Variable sets: variables that several projects share.
//!
//! A project includes sets, a set may include others. The values of all of them are candidates like
//! the project's own, each with the name of its set; of equally specific ones the project's own
//! holds, and two of different sets are a tie (reference section 1.4, where that is left open).
//! A release pins the values, so it does not follow a set that changes.

use std::collections::{BTreeMap, BTreeSet};

use mantle_template::fold;
use serde::{Deserialize, Serialize};

use crate::explain::{Refusal, nearest};
use crate::project::ProjectDefinition;
use crate::variable::{ScopedValue, Variable};

/// A variable set as its file defines it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VariableSetDefinition {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The sets that it includes, in the author's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Its variables, sorted by name.
    pub variables: Vec<Variable>,
}

/// Sets by name.
pub type VariableSets = BTreeMap<String, VariableSetDefinition>;

/// The names of all sets that are reached from `include`, each once, in order; those that `known`
/// does not have are among them.
pub fn reached<'a>(
    include: &'a [String],
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Vec<&'a str> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut order = Vec::new();
    let mut todo: Vec<&'a str> = include.iter().rev().map(String::as_str).collect();
    while let Some(name) = todo.pop() {
        if seen.insert(name) {
            order.push(name);
            let inner = known(name).unwrap_or_default();
            todo.extend(inner.iter().rev().map(String::as_str));
        }
    }
    order
}

/// The way from a set back to itself, as `[a, b, a]`, if it includes itself.
pub fn cycle<'a>(
    start: &'a str,
    known: impl Fn(&str) -> Option<&'a [String]>,
) -> Option<Vec<String>> {
    let mut parent: BTreeMap<&str, &str> = BTreeMap::new();
    let mut todo: Vec<&'a str> = vec![start];
    while let Some(name) = todo.pop() {
        for inner in known(name).unwrap_or_default() {
            if inner == start {
                let mut way = vec![start.to_owned(), name.to_owned()];
                let mut at = name;
                while let Some(before) = parent.get(at) {
                    way.push((*before).to_owned());
                    at = before;
                }
                if name == start {
                    way.pop();
                    way.push(start.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            if !parent.contains_key(inner.as_str()) {
                parent.insert(inner, name);
                todo.push(inner);
            }
        }
    }
    None
}

/// The project with the variables of all sets that it includes.
pub fn complete(
    mut project: ProjectDefinition,
    sets: &VariableSets,
) -> Result<ProjectDefinition, Vec<Refusal>> {
    let known = |name: &str| sets.get(name).map(|set| set.include.as_slice());
    let mut refusals = Vec::new();
    let mut included = Vec::new();
    for name in reached(&project.include, known) {
        match sets.get(name) {
            Some(set) => included.push(set),
            None => refusals.push(Refusal::UnknownVariableSet {
                project: project.slug.clone(),
                set: name.to_owned(),
                suggestion: nearest(name, sets.keys().map(String::as_str)),
            }),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    project.variables = merge(std::mem::take(&mut project.variables), &included);
    Ok(project)
}

/// A project's own variables and those of sets, one variable a name, sorted by name.
fn merge(own: Vec<Variable>, sets: &[&VariableSetDefinition]) -> Vec<Variable> {
    let mut all: BTreeMap<String, Variable> = own
        .into_iter()
        .map(|variable| (fold(&variable.name), variable))
        .collect();
    for set in sets {
        for variable in &set.variables {
            let slot = all.entry(fold(&variable.name)).or_insert_with(|| Variable {
                name: variable.name.clone(),
                values: Vec::new(),
            });
            slot.values
                .extend(variable.values.iter().map(|value| ScopedValue {
                    from: Some(set.name.clone()),
                    ..value.clone()
                }));
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::a_project;
    use crate::variable::{
        EffectiveSet, EffectiveValue, Scope, Situation, VariableValue, find, resolve,
    };

    fn a_set(name: &str, include: &[&str], variables: &[(&str, &str)]) -> VariableSetDefinition {
        let value = |text: &str| {
            let text = VariableValue::Text(text.to_owned());
            vec![ScopedValue::own(text, Scope::default())]
        };
        VariableSetDefinition {
            name: name.to_owned(),
            description: None,
            include: include.iter().map(|name| (*name).to_owned()).collect(),
            variables: variables
                .iter()
                .map(|(name, text)| Variable {
                    name: (*name).to_owned(),
                    values: value(text),
                })
                .collect(),
        }
    }

    fn sets(all: Vec<VariableSetDefinition>) -> VariableSets {
        all.into_iter().map(|set| (set.name.clone(), set)).collect()
    }

    #[test]
    fn the_project_outranks_its_sets_and_two_sets_tie() {
        let sets = sets(vec![
            a_set(
                "mail",
                &["base"],
                &[("smtp", "mail"), ("Port", "25"), ("Own", "set")],
            ),
            a_set("base", &[], &[("Port", "26"), ("Deep", "yes")]),
        ]);
        let mut project = a_project("variables: { own: project }\n");
        project.include = vec!["mail".to_owned()];
        let complete = complete(project, &sets).unwrap();
        let here = Situation::default();
        let text = |name: &str| {
            let variable = find(&complete.variables, name).unwrap();
            resolve(variable, &here).map(|value| value.unwrap().value.clone())
        };
        assert_eq!(text("SMTP"), Ok(VariableValue::Text("mail".to_owned())));
        assert_eq!(text("Own"), Ok(VariableValue::Text("project".to_owned())));
        assert_eq!(text("Deep"), Ok(VariableValue::Text("yes".to_owned())));
        let tie = text("Port").unwrap_err();
        assert_eq!(tie.first, "every situation in variable set 'base'");
        assert_eq!(tie.second, "every situation in variable set 'mail'");
    }

    #[test]
    fn names_are_the_same_without_case_wherever_they_are_looked_for() {
        // Each pair is one name to `fold`, and so to whatever looks names up.
        for (own, other) in [("É", "é"), ("ΣΑΣ", "σασ"), ("Port", "pORT")] {
            let sets = sets(vec![a_set("mail", &[], &[(other, "set")])]);
            let mut project = a_project(&format!("variables: {{ {own}: project }}\n"));
            project.include = vec!["mail".to_owned()];
            let complete = complete(project, &sets).unwrap();
            assert_eq!(complete.variables.len(), 1, "{own}");
            let set = EffectiveSet::new(&complete.variables, &Situation::default(), &[], None);
            let set = set.unwrap();
            for name in [own, other] {
                assert!(find(&complete.variables, name).is_some(), "find {name}");
                let got = set.get(name).map(|one| &one.value);
                assert_eq!(got, Some(&EffectiveValue::Text("project".into())), "{name}");
                let rendered = set.to_template_variables(|_| None);
                assert_eq!(rendered.get(name), Some("project"), "#{{{name}}}");
            }
        }
    }

    #[test]
    fn a_set_that_is_not_there_is_refused_with_what_may_have_been_meant() {
        let mut project = a_project("");
        project.include = vec!["mial".to_owned()];
        let refused = complete(project, &sets(vec![a_set("mail", &[], &[])])).unwrap_err();
        assert_eq!(
            refused[0].to_string(),
            "project 'shop' includes the variable set 'mial', which does not exist; did you mean 'mail'?"
        );
    }

    #[test]
    fn cycles_are_found_with_their_way_and_reaching_ends_in_spite_of_them() {
        let sets = sets(vec![
            a_set("a", &["b"], &[]),
            a_set("b", &["x", "c"], &[]),
            a_set("c", &["a"], &[]),
            a_set("x", &[], &[]),
            a_set("self", &["self"], &[]),
        ]);
        let known = |name: &str| sets.get(name).map(|set| set.include.as_slice());
        assert_eq!(cycle("a", known).unwrap(), ["a", "b", "c", "a"]);
        assert_eq!(cycle("self", known).unwrap(), ["self", "self"]);
        assert_eq!(cycle("x", known), None);
        let include = ["a".to_owned(), "x".to_owned()];
        assert_eq!(reached(&include, known), ["a", "b", "x", "c"]);
    }
}
