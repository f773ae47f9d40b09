//! Variable sets and those that include them: names, cycles, and ties between values of several
//! owners, which can only be told when everything has been read.

use mantle_template::fold;
use std::collections::{BTreeMap, BTreeSet};

use super::super::grammar::Document;
use super::super::report::Report;
use super::super::typed::{At, Many};
use super::super::{Definitions, FileError, Known};
use super::project::Inside;
use super::variables::{self, Places};
use super::{Declared, Owner, Place, SetOutline, World};
use crate::channel::effective;
use crate::project::ProjectDefinition;
use crate::variable::prompt::shared_labels;
use crate::variable::{
    MOST_TIES, PossibleTie, ScopedValue, Variable, VariableValue, describe_scope, find, scope_ties,
};
use crate::variable_set::{VariableSets, complete, cycle, reached};

/// The server's sets, as others refer to them.
pub(super) fn outlines(known: &Known) -> BTreeMap<String, SetOutline> {
    let outline = |variables: &[Variable]| {
        let secret = |variable: &&Variable| variable.values.iter().any(|v| v.value.is_secret());
        let name = |variable: &Variable| variable.name.clone();
        (
            variables.iter().map(name).collect(),
            variables.iter().filter(secret).map(name).collect(),
        )
    };
    let sets = known.variable_sets.values();
    sets.map(|set| {
        let (variables, secret_variables) = outline(&set.variables);
        let outline = SetOutline {
            include: set.include.clone(),
            variables,
            secret_variables,
        };
        (set.name.clone(), outline)
    })
    .collect()
}

/// A document's set, as others refer to it.
pub(super) fn outline(document: &Document) -> SetOutline {
    let (variables, secret_variables) = document
        .variables
        .as_ref()
        .map(variables::outline)
        .unwrap_or_default();
    SetOutline {
        include: document
            .include
            .0
            .iter()
            .map(|name| name.value.clone())
            .collect(),
        variables,
        secret_variables,
    }
}

/// What an owner includes, checked and noted.
pub(super) fn include(
    names: Many<At<String>>,
    owner: &Owner,
    world: &World,
    declared: &mut Declared,
    report: &mut Report,
) -> Vec<String> {
    let mut seen = Vec::new();
    let mut placed = Vec::new();
    for name in names.0 {
        report.unique("variable set", &name, &seen);
        seen.push((name.value.clone(), name.at));
        if world.complete {
            report.reference(
                "variable set",
                &name,
                world.variable_sets.keys().map(String::as_str),
                "declare it with 'variable_set:', here or in another file",
            );
        }
        let place = Place {
            file: report.file.clone(),
            at: name.at,
        };
        placed.push((name.value, place));
    }
    let include = placed.iter().map(|(name, _)| name.clone()).collect();
    declared.includes.insert(owner.clone(), placed);
    include
}

/// Lets a project refer to the variables of the sets that it includes.
pub(super) fn see(include: &[String], world: &World, inside: &mut Inside) {
    let known = |name: &str| {
        let set = world.variable_sets.get(name);
        set.map(|set| set.include.as_slice())
    };
    for name in reached(include, known) {
        match world.variable_sets.get(name) {
            Some(set) => {
                inside.variables.extend(set.variables.iter().cloned());
                let secret = set.secret_variables.iter().cloned();
                inside.secret_variables.extend(secret);
            }
            None => inside.open = true,
        }
    }
}

impl Declared {
    /// Notes where an owner's values stand.
    pub(super) fn put(&mut self, owner: &Owner, places: Places, report: &Report) {
        for (variable, places) in places {
            let places = places.into_iter().map(|at| Place {
                file: report.file.clone(),
                at,
            });
            let key = (owner.clone(), variable);
            self.values.insert(key, places.collect());
        }
    }
}

/// Sets that include each other, and ties between values of a project's sets. `definitions` are
/// sound in themselves.
pub(in super::super) fn library(
    definitions: &Definitions,
    known: &Known,
    declared: &Declared,
) -> Vec<FileError> {
    let mut sets: VariableSets = known.variable_sets.clone();
    for set in &definitions.variable_sets {
        sets.insert(set.name.clone(), set.clone());
    }
    let errors = cycles(&sets, declared);
    if !errors.is_empty() {
        return errors;
    }
    let declared_here: BTreeSet<&str> = definitions
        .projects
        .iter()
        .map(|project| project.slug.as_str())
        .collect();
    let changed: BTreeSet<&str> = definitions
        .variable_sets
        .iter()
        .map(|set| set.name.as_str())
        .collect();
    let of_set = |name: &str| sets.get(name).map(|set| set.include.as_slice());
    let others = known.projects.iter().filter(|project| {
        let names = reached(&project.include, of_set);
        !declared_here.contains(project.slug.as_str())
            && names.iter().any(|name| changed.contains(name))
    });
    let mut errors = Vec::new();
    for project in definitions.projects.iter().chain(others) {
        // Offline, a set may be one that only the server has.
        match complete(project.clone(), &sets) {
            Ok(whole) if !project.include.is_empty() => {
                errors.extend(ties(&whole, declared));
                errors.extend(labels(&whole, declared));
            }
            Ok(_) | Err(_) => errors.extend(labels(project, declared)),
        }
    }
    errors.sort();
    errors.dedup();
    errors
}

fn cycles(sets: &VariableSets, declared: &Declared) -> Vec<FileError> {
    let known = |name: &str| sets.get(name).map(|set| set.include.as_slice());
    let mut errors = Vec::new();
    for (owner, includes) in &declared.includes {
        let Owner::Set(name) = owner else { continue };
        let Some(way) = cycle(name, known) else {
            continue;
        };
        let next = way.get(1);
        if let Some((_, place)) = includes.iter().find(|(name, _)| Some(name) == next) {
            errors.push(place.error(
                format!(
                    "variable set '{name}' includes itself: {}",
                    way.join(" -> ")
                ),
                Some("remove one of these includes".to_owned()),
            ));
        }
    }
    errors.sort();
    errors
}

fn ties(project: &ProjectDefinition, declared: &Declared) -> Vec<FileError> {
    let mut errors = Vec::new();
    for variable in &project.variables {
        if variable.values.iter().all(|value| value.from.is_none()) {
            continue;
        }
        let ties = scope_ties(&variable.values, &project.process);
        for tie in ties.take(MOST_TIES) {
            errors.extend(tied(project, variable, &tie, declared));
        }
    }
    errors
}

/// Two values that tie, where one of them can be changed.
fn tied(
    project: &ProjectDefinition,
    variable: &Variable,
    tie: &PossibleTie,
    declared: &Declared,
) -> Option<FileError> {
    let told = told(project, variable, tie, declared)?;
    let near = format!(
        "give one of them a further scope, or the project a value of its own for {}",
        describe_scope(&told.this.scope)
    );
    let place = told.place.or_else(|| declared.include_place(project))?;
    Some(place.error(told.what, Some(near)))
}

/// A tie in a sentence.
pub(super) struct Told<'a> {
    /// One of the values, if any of the two stands in these files.
    pub(super) place: Option<&'a Place>,
    /// What the sentence calls this one.
    pub(super) this: &'a ScopedValue,
    pub(super) what: String,
}

/// Tells it from the side of the value that can be changed, if there is one.
pub(super) fn told<'a>(
    project: &ProjectDefinition,
    variable: &'a Variable,
    tie: &PossibleTie,
    declared: &'a Declared,
) -> Option<Told<'a>> {
    let known = |index: usize| declared.find(project, variable, index);
    let [(first, first_place), (second, second_place)] =
        [tie.first, tie.second].map(|index| (variable.values.get(index), known(index)));
    let (first, second) = (first?, second?);
    let (place, this, other, other_place) = match (first_place, second_place) {
        (first_place, Some(place)) => (Some(place), second, first, first_place),
        (Some(place), None) => (Some(place), first, second, None),
        (None, None) => (None, second, first, None),
    };
    let what = format!(
        "variable '{}' of project '{}' has two equally specific values for {}: this one ({}) and the one {} ({})",
        variable.name,
        project.slug,
        tie.situation,
        describe_scope(&this.scope),
        whereabouts(other, other_place),
        describe_scope(&other.scope),
    );
    Some(Told { place, this, what })
}

fn labels(project: &ProjectDefinition, declared: &Declared) -> Vec<FileError> {
    let errors = shared_labels(&project.variables).into_iter();
    let errors = errors.filter_map(|shared| {
        let place = |name: &String| {
            let variable = find(&project.variables, name)?;
            let asks = |value: &ScopedValue| matches!(value.value, VariableValue::Prompt(_));
            let index = variable.values.iter().position(asks)?;
            declared.find(project, variable, index)
        };
        let place = place(&shared.second)
            .or_else(|| place(&shared.first))
            .or_else(|| declared.include_place(project))?;
        Some(place.error(
            format!(
                "the prompts of '{}' and '{}' both go by '{}': whose answer is meant could not be told",
                shared.first, shared.second, shared.label
            ),
            Some("give one of them another label".to_owned()),
        ))
    });
    errors.collect()
}

/// Values of variable sets for steps or channels that no project with the set has. A project may
/// come that has them, so these are warnings; without any project, or a server, nothing is known.
pub(in super::super) fn unmatched(
    definitions: &Definitions,
    known: &Known,
    declared: &Declared,
) -> Vec<FileError> {
    if !known.complete {
        return Vec::new();
    }
    let mut sets: VariableSets = known.variable_sets.clone();
    for set in &definitions.variable_sets {
        sets.insert(set.name.clone(), set.clone());
    }
    let of_set = |name: &str| sets.get(name).map(|set| set.include.as_slice());
    let here = |slug: &String| definitions.projects.iter().any(|one| one.slug == *slug);
    let others = known.projects.iter().filter(|one| !here(&one.slug));
    let projects: Vec<&ProjectDefinition> = definitions.projects.iter().chain(others).collect();
    let mut warnings = Vec::new();
    for set in &definitions.variable_sets {
        let with: Vec<&ProjectDefinition> = projects
            .iter()
            .filter(|project| reached(&project.include, of_set).contains(&set.name.as_str()))
            .copied()
            .collect();
        if with.is_empty() {
            continue;
        }
        let steps: BTreeSet<&str> = with.iter().flat_map(|one| places(one)).collect();
        let channels: Vec<String> = with
            .iter()
            .flat_map(|one| effective(&one.channels))
            .map(|channel| channel.name)
            .collect();
        for variable in &set.variables {
            for (index, value) in variable.values.iter().enumerate() {
                let owner = (Owner::Set(set.name.clone()), fold(&variable.name));
                let place = declared.values.get(&owner).and_then(|all| all.get(index));
                let Some(place) = place else { continue };
                let mut warn = |kind: &str, name: &str| {
                    let what = format!(
                        "no project with variable set '{}' has {kind} '{name}', so this value of '{}' holds nowhere yet",
                        set.name, variable.name
                    );
                    warnings.push(place.error(what, None));
                };
                let scope = &value.scope;
                let unknown = scope
                    .steps
                    .iter()
                    .filter(|name| !steps.contains(name.as_str()));
                unknown.for_each(|name| warn("a step or action", name));
                let unknown = scope
                    .channels
                    .iter()
                    .filter(|name| !channels.contains(name));
                unknown.for_each(|name| warn("a channel", name));
            }
        }
    }
    warnings
}

/// The names of a project's steps and actions.
fn places(project: &ProjectDefinition) -> Vec<&str> {
    let steps = project.process.steps.iter();
    let names = steps.flat_map(|step| {
        let actions = step.actions.iter().map(|action| action.name.as_str());
        actions.chain([step.name.as_str()])
    });
    names.collect()
}

fn whereabouts(value: &ScopedValue, place: Option<&Place>) -> String {
    match (place, &value.from) {
        (Some(place), _) => format!("at {}:{}:{}", place.file, place.at.line, place.at.column),
        (None, Some(set)) => format!("of variable set '{set}'"),
        (None, None) => "of the project".to_owned(),
    }
}

impl Declared {
    /// Where a value of a project that was completed stands, if it stands in these files.
    pub(super) fn find(
        &self,
        project: &ProjectDefinition,
        variable: &Variable,
        index: usize,
    ) -> Option<&Place> {
        let value = variable.values.get(index)?;
        let owner = match &value.from {
            None => Owner::Project(project.slug.clone()),
            Some(set) => Owner::Set(set.clone()),
        };
        // The values of one owner are together and in its order.
        let before = variable.values.get(..index)?;
        let nth = before.iter().filter(|one| one.from == value.from).count();
        let key = (owner, fold(&variable.name));
        self.values.get(&key)?.get(nth)
    }

    pub(super) fn include_place(&self, project: &ProjectDefinition) -> Option<&Place> {
        let includes = self.includes.get(&Owner::Project(project.slug.clone()))?;
        includes.first().map(|(_, place)| place)
    }
}

impl Place {
    pub(super) fn error(&self, what: String, next: Option<String>) -> FileError {
        FileError {
            file: self.file.clone(),
            line: self.at.line,
            column: self.at.column,
            what,
            next,
        }
    }
}
