//! From what stands in the files to definitions, checking references on the way.

use mantle_template::fold;
use std::collections::{BTreeMap, BTreeSet};

use super::grammar::Document;
use super::node::{Position, Problem};
use super::report::{Report, case_only};
use super::{Definitions, Known};
use crate::variable::TaggedTarget;

mod circles;
mod health;
mod infrastructure;
mod library;
mod locks;
mod manual;
mod process;
mod project;
mod prompt;
mod references;
mod rolling;
mod tags;
mod variable_set;
mod variables;

pub(super) use circles::in_circles;
pub(super) use library::{library, unmatched};
pub(super) use tags::{OF_BOTH, tied_by_tags};

/// The only version of the file format.
const FORMAT: &str = "v1";

/// What can be referred to from anywhere: what the files declare and what the server has.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) complete: bool,
    pub(super) environments: BTreeSet<String>,
    pub(super) lifecycles: BTreeSet<String>,
    pub(super) secrets: BTreeSet<String>,
    /// Targets with their tags.
    pub(super) targets: Vec<(String, Vec<String>)>,
    /// The same with their environments.
    pub(super) tagged: Vec<TaggedTarget>,
    /// Variable sets, those of the files in place of the server's.
    pub(super) variable_sets: BTreeMap<String, SetOutline>,
}

/// What others refer to of a variable set.
#[derive(Debug, Default)]
pub(super) struct SetOutline {
    pub(super) include: Vec<String>,
    pub(super) variables: BTreeSet<String>,
    /// Variables with at least one secret value.
    pub(super) secret_variables: BTreeSet<String>,
}

impl World {
    /// What the server has, and what these documents add.
    pub(super) fn new(known: &Known, documents: &[(Report, Document)]) -> Self {
        let mut targets: BTreeMap<String, Vec<String>> = known.targets.clone();
        let mut places = known.target_environments.clone();
        let mut world = Self {
            complete: known.complete,
            environments: known.environments.clone(),
            lifecycles: known.lifecycles.clone(),
            secrets: known.secrets.clone(),
            targets: Vec::new(),
            tagged: Vec::new(),
            variable_sets: library::outlines(known),
        };
        for (_, document) in documents {
            let environments = document
                .environments
                .iter()
                .flat_map(|each| each.0.iter().flatten());
            world
                .environments
                .extend(environments.map(|item| item.name.value.clone()));
            let lifecycles = document
                .lifecycles
                .iter()
                .flat_map(|each| each.0.iter().flatten());
            world
                .lifecycles
                .extend(lifecycles.map(|item| item.name.value.clone()));
            for target in document
                .targets
                .iter()
                .flat_map(|each| each.0.iter().flatten())
            {
                // What the file says is all that it has.
                let tags = target.tags.0.iter().map(|tag| tag.value.clone());
                targets.insert(target.name.value.clone(), tags.collect());
                let of = target.environments.0.iter();
                let of = of.map(|name| name.value.clone()).collect();
                places.insert(target.name.value.clone(), of);
            }
            if let Some(name) = &document.variable_set {
                let outline = library::outline(document);
                world.variable_sets.insert(name.value.clone(), outline);
            }
        }
        let tagged = targets.iter().map(|(name, tags)| TaggedTarget {
            name: name.clone(),
            tags: tags.clone(),
            environments: places.remove(name),
        });
        world.tagged = tagged.collect();
        world.targets = targets.into_iter().collect();
        world
    }
}

/// Where each name of a kind was first declared, over all files, and where the values of variables
/// and the includes stand.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// By kind and name in lower case: the name, and where it stands.
    places: BTreeMap<(&'static str, String), (String, String)>,
    /// By kind and name in lower case: the names that the server has.
    on_server: BTreeMap<(&'static str, String), BTreeSet<String>>,
    /// By owner and variable in lower case: the place of each value, in order.
    values: BTreeMap<(Owner, String), Vec<Place>>,
    /// By owner: what it includes and where that stands.
    includes: BTreeMap<Owner, Vec<(String, Place)>>,
    /// Where each target stands.
    targets: BTreeMap<String, Place>,
}

/// Whose variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Project(String),
    Set(String),
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: String,
    at: Position,
}

impl Declared {
    /// With the names that the server has.
    pub(super) fn new(known: &Known) -> Self {
        let mut on_server: BTreeMap<(&'static str, String), BTreeSet<String>> = BTreeMap::new();
        let names = |kind: &'static str, names: Vec<&String>| {
            let named = names.into_iter();
            named
                .map(|name| ((kind, fold(name)), name.clone()))
                .collect::<Vec<_>>()
        };
        let all = [
            names("environment", known.environments.iter().collect()),
            names("lifecycle", known.lifecycles.iter().collect()),
            names("target", known.targets.keys().collect()),
            names("health check", known.health_checks.iter().collect()),
            names("variable set", known.variable_sets.keys().collect()),
        ];
        for (key, name) in all.into_iter().flatten() {
            on_server.entry(key).or_default().insert(name);
        }
        Self {
            on_server,
            ..Self::default()
        }
    }

    /// A name that is declared once only, and that no other one is like but for its case. Those that
    /// the server has keep their names.
    fn once(&mut self, kind: &'static str, name: &super::typed::At<String>, report: &mut Report) {
        let key = (kind, fold(name));
        let of_server = self.on_server.get(&key);
        let is_known = |name: &String| of_server.is_some_and(|names| names.contains(name));
        if let Some((first, place)) = self.places.get(&key) {
            let (what, next) = if *first == name.value {
                let what = format!("{kind} '{first}' is declared at {place} already");
                (what, "remove one of the two, or give it another name")
            } else if is_known(first) && is_known(&name.value) {
                return;
            } else {
                let what = case_only(kind, &name.value, first, &format!("at {place}"));
                (what, "give one of them another name")
            };
            report.error(Problem::new(name.at, what).next(next));
            return;
        }
        if let Some(other) = of_server.and_then(BTreeSet::first)
            && !is_known(&name.value)
        {
            let what = case_only(kind, &name.value, other, "of the server");
            report.error(Problem::new(name.at, what).next(format!("write '{other}'")));
        }
        let place = format!("{}:{}", report.file, name.at.line);
        self.places.insert(key, (name.value.clone(), place));
    }
}

/// Converts one document.
pub(super) fn document(
    document: Document,
    world: &World,
    declared: &mut Declared,
    definitions: &mut Definitions,
    report: &mut Report,
) {
    if document.mantle.value != FORMAT {
        report.error(
            Problem::new(
                document.mantle.at,
                format!("file format '{}' is not known", document.mantle.value),
            )
            .next("write 'mantle: v1'"),
        );
        return;
    }
    let infrastructure = infrastructure::convert(&document, world, declared, definitions, report);
    if document.variable_set.is_some() {
        variable_set::convert(document, world, declared, definitions, report);
        return;
    }
    if document.project.is_some() {
        project::convert(document, world, declared, definitions, report);
        return;
    }
    let stray: [(&str, Option<Position>); 6] = [
        (
            "description",
            document.description.as_ref().map(|value| value.at),
        ),
        (
            "lifecycle",
            document.lifecycle.as_ref().map(|value| value.at),
        ),
        ("version", document.version.as_ref().map(|value| value.at)),
        (
            "release_notes",
            document.release_notes.as_ref().map(|value| value.at),
        ),
        (
            "variables",
            document.variables.as_ref().map(|value| value.at),
        ),
        ("include", document.include.0.first().map(|name| name.at)),
    ];
    let lists =
        document.process.is_some() || document.packages.is_some() || document.channels.is_some();
    for (key, at) in stray {
        if let Some(at) = at {
            report.error(
                Problem::new(
                    at,
                    format!("'{key}' belongs to a project, and this document has none"),
                )
                .next("add 'project: SLUG' after 'mantle: v1'"),
            );
        }
    }
    if lists || !infrastructure {
        let what = if lists {
            "'packages', 'channels' and 'process' belong to a project, and this document has none"
        } else {
            "this document declares nothing"
        };
        report.error(
            Problem::new(document.mantle.at, what).next("add 'project: SLUG' after 'mantle: v1'"),
        );
    }
}
