//! Values that tie on a target only because it has tags of both. What these files bring about, by a
//! value, a step or a tag, is refused where it stands. What was so before, since a target was tagged
//! by hand or a person's file is as the server has it, is none of their doing: it is a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Definitions, FileError, Known};
use super::{Declared, World, library};
use crate::project::ProjectDefinition;
use crate::variable::tags::{Tagged, may_tie_by_tags, ties_by_tags};
use crate::variable::{MOST_TIES, PossibleTie, Variable, describe_value, find, tag_ties};
use crate::variable_set::{VariableSets, complete};

/// Says so in each error that projects as the server has them can turn into a warning.
pub(in super::super) const OF_BOTH: &str = "tags of both";

/// What was found.
#[derive(Debug, Default)]
pub(in super::super) struct TiedByTags {
    /// What these files bring about.
    pub(in super::super) errors: Vec<FileError>,
    /// What was so before.
    pub(in super::super) warnings: Vec<FileError>,
}

/// The ties on known targets of the projects in these files, and of those of the server that their
/// sets and tags can put in the wrong.
pub(in super::super) fn tied_by_tags(
    definitions: &Definitions,
    known: &Known,
    world: &World,
    declared: &Declared,
) -> TiedByTags {
    let mut sets: VariableSets = known.variable_sets.clone();
    for set in &definitions.variable_sets {
        sets.insert(set.name.clone(), set.clone());
    }
    let here = |slug: &str| definitions.projects.iter().any(|one| one.slug == slug);
    let concerns_others =
        !definitions.variable_sets.is_empty() || !definitions.retagged(known).is_empty();
    let others = known
        .projects
        .iter()
        .filter(|one| concerns_others && !here(&one.slug));
    let mut found = TiedByTags::default();
    for project in definitions.projects.iter().chain(others) {
        // Offline, a set may be one that only the server has.
        let whole = complete(project.clone(), &sets).unwrap_or_else(|_| project.clone());
        let before = Before::of(&project.slug, known);
        for variable in whole.variables.iter().filter(|one| may_tie_by_tags(one)) {
            for (pair, on) in pairs(&whole, variable, world, &before) {
                let place = (&whole, variable, pair);
                let ours = here(&project.slug);
                match on {
                    On { new: None, .. } if !ours => {}
                    On { new: None, old } => {
                        let warning = old.and_then(|on| on.warning(place, declared));
                        found.warnings.extend(warning);
                    }
                    On { new: Some(on), .. } => found.errors.extend(on.error(place, declared)),
                }
            }
        }
    }
    found
}

/// A project as the server has it, and the tags that targets have there.
struct Before<'a> {
    project: Option<ProjectDefinition>,
    targets: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> Before<'a> {
    fn of(slug: &str, known: &'a Known) -> Self {
        let project = known.projects.iter().find(|one| one.slug == slug);
        Self {
            project: project.and_then(|one| complete(one.clone(), &known.variable_sets).ok()),
            targets: &known.targets,
        }
    }

    /// Where the values stood of each pair that tied on a target.
    fn ties(&self, variable: &str, target: &str) -> BTreeSet<(String, String)> {
        let project = self.project.as_ref();
        let tags = self.targets.get(target);
        let (Some(project), Some(tags)) = (project, tags) else {
            return BTreeSet::new();
        };
        let variables: Vec<Variable> = find(&project.variables, variable)
            .cloned()
            .into_iter()
            .collect();
        let tagged = Tagged {
            name: target,
            tags,
            before: None,
        };
        let ties = ties_by_tags(&variables, &project.process, tagged).into_iter();
        ties.map(|tie| sorted(tie.first, tie.second)).collect()
    }
}

fn sorted(a: String, b: String) -> (String, String) {
    if a <= b { (a, b) } else { (b, a) }
}

/// On which targets a pair of values ties.
#[derive(Default)]
struct On {
    /// Where it did not before.
    new: Option<Targets>,
    /// Where it did.
    old: Option<Targets>,
}

/// The first of some targets, and how many more they are.
struct Targets {
    target: String,
    situation: String,
    more: usize,
}

/// The pairs that tie on some target, by index.
fn pairs(
    project: &ProjectDefinition,
    variable: &Variable,
    world: &World,
    before: &Before<'_>,
) -> BTreeMap<(usize, usize), On> {
    let mut found: BTreeMap<(usize, usize), On> = BTreeMap::new();
    let (values, process) = (&variable.values, &project.process);
    if tag_ties(values, process, &world.tagged).next().is_none() {
        return found;
    }
    for target in &world.tagged {
        let mut ties = tag_ties(values, process, std::slice::from_ref(target)).peekable();
        if ties.peek().is_none() {
            continue;
        }
        let before = before.ties(&variable.name, &target.name);
        for tie in ties {
            let of = |index: usize| values.get(index).map(describe_value).unwrap_or_default();
            let known = before.contains(&sorted(of(tie.first), of(tie.second)));
            let pair = (tie.first, tie.second);
            if found.len() == MOST_TIES && !found.contains_key(&pair) {
                continue;
            }
            let on = found.entry(pair).or_default();
            let on = if known { &mut on.old } else { &mut on.new };
            match on {
                Some(on) => on.more += 1,
                None => {
                    *on = Some(Targets {
                        target: target.name.clone(),
                        situation: tie.situation,
                        more: 0,
                    });
                }
            }
        }
    }
    found
}

type Tied<'a> = (&'a ProjectDefinition, &'a Variable, (usize, usize));

impl Targets {
    fn so(&self) -> String {
        match self.more {
            0 => format!("{}, which has {OF_BOTH}", self.situation),
            1 => format!(
                "{} and on one further target, which have {OF_BOTH}",
                self.situation
            ),
            more => format!(
                "{} and on {more} further targets, which have {OF_BOTH}",
                self.situation
            ),
        }
    }

    fn tie(&self, (first, second): (usize, usize)) -> PossibleTie {
        PossibleTie {
            first,
            second,
            situation: self.so(),
        }
    }

    fn warning(
        &self,
        (project, variable, pair): Tied<'_>,
        declared: &Declared,
    ) -> Option<FileError> {
        let told = library::told(project, variable, &self.tie(pair), declared)?;
        let remedy = "a plan that needs it there is refused until one of them has a further scope, or the target one of the tags less";
        Some(told.place?.error(told.what, Some(remedy.to_owned())))
    }

    /// At one of the values, if it stands in these files, or at the target.
    fn error(&self, (project, variable, pair): Tied<'_>, declared: &Declared) -> Option<FileError> {
        let remedy =
            "give one of the two values a further scope, or the target one of the tags less";
        let remedy = Some(remedy.to_owned());
        let told = library::told(project, variable, &self.tie(pair), declared)?;
        if let Some(place) = told.place {
            return Some(place.error(told.what, remedy));
        }
        let of = |index: usize| variable.values.get(index).map(describe_value);
        let what = format!(
            "variable '{}' has two equally specific values for {}: the one for {} and the one for {}, both of project '{}'",
            variable.name,
            self.so(),
            of(pair.0)?,
            of(pair.1)?,
            project.slug
        );
        match declared.targets.get(&self.target) {
            Some(place) => {
                let what = format!("with these tags of target '{}' {what}", self.target);
                Some(place.error(what, remedy))
            }
            None => Some(declared.include_place(project)?.error(what, remedy)),
        }
    }
}
