//! References of a project's texts to its own steps and actions: `Octopus.Action[NAME]...`.
//!
//! One that names nothing would come to nothing in the middle of a deployment, so it is wrong in
//! the file. An index that is only known at run time is not judged, and neither is a script that
//! looks variables up by itself.

use mantle_template::{fold, references, same_name};

use super::super::grammar::StepItem;
use super::super::node::{Key, Kind, Node, Position, Problem};
use super::super::report::Report;
use super::super::typed::At;
use super::process::literal_inputs;
use super::project::Inside;
use crate::action::undo::ROLLBACK;
use crate::explain::nearest;
use crate::process::Start;

/// What the server and the actions themselves set under an action's name.
const OF_ACTIONS: &str = "octopus.action[";
/// The same under a step's.
const OF_STEPS: &str = "octopus.step[";

/// The steps and actions of a process, by name.
#[derive(Debug, Default)]
pub(super) struct Doers {
    steps: Vec<String>,
    actions: Vec<Doer>,
}

#[derive(Debug)]
struct Doer {
    name: String,
    /// Its step's name.
    step: String,
    place: Place,
}

/// When something has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Steps that begin together are one group.
    group: usize,
    step: usize,
    action: usize,
}

impl Place {
    /// Its turn comes when `other` is over, or would be.
    fn is_after(self, other: Self) -> bool {
        self.group > other.group || (self.step == other.step && self.action > other.action)
    }
}

impl Doers {
    /// Those of a process as it stands in a file.
    pub(super) fn of(steps: &[At<StepItem>]) -> Self {
        let mut doers = Self::default();
        for (place, step) in in_groups(steps) {
            doers.steps.push(step.step.value.clone());
            for (action, name, _) in actions(step) {
                doers.actions.push(Doer {
                    name: name.to_owned(),
                    step: step.step.value.clone(),
                    place: Place { action, ..place },
                });
            }
        }
        doers
    }

    fn action(&self, name: &str) -> Option<&Doer> {
        let mut actions = self.actions.iter();
        actions.find(|action| fold(&action.name) == name)
    }
}

/// The steps, each with the place of its first action.
fn in_groups(steps: &[At<StepItem>]) -> impl Iterator<Item = (Place, &StepItem)> {
    let mut group = 0;
    steps.iter().enumerate().map(move |(at, step)| {
        let start = step.start.as_ref().map(|start| start.value);
        if start != Some(Start::WithPrevious) {
            group = at;
        }
        let place = Place {
            group,
            step: at,
            action: 0,
        };
        (place, &step.value)
    })
}

/// Texts with their places.
type Texts<'a> = Vec<(Position, &'a str)>;

/// An action's number in its step, its name, and the texts that are templates.
fn actions(step: &StepItem) -> Vec<(usize, &str, Texts<'_>)> {
    let mut all = Vec::new();
    if let Some(uses) = &step.uses {
        let mut texts = Texts::new();
        inputs(uses, step.with.as_ref(), &mut texts);
        all.push((0, step.step.value.as_str(), texts));
    }
    let list = step.actions.iter();
    for (at, item) in list.flat_map(|list| list.0.iter().flatten()).enumerate() {
        let mut texts = Texts::new();
        texts.extend(item.run.as_ref().map(|run| (run.at, run.as_str())));
        inputs(&item.uses, item.with.as_ref(), &mut texts);
        all.push((at, item.action.value.as_str(), texts));
    }
    all
}

/// The texts of an action's inputs. What undoes it has its turn after anything else, so it is read
/// as if it stood nowhere.
fn inputs<'a>(uses: &str, with: Option<&'a Node>, texts: &mut Texts<'a>) {
    let Some(with) = with else {
        return;
    };
    let literal = literal_inputs(uses, with);
    if let Kind::Map(entries) = &with.kind {
        for (key, value) in entries {
            if !literal.contains(key.text.as_str()) && key.text != ROLLBACK {
                collect(value, texts);
            }
        }
    }
}

fn collect<'a>(node: &'a Node, texts: &mut Texts<'a>) {
    match &node.kind {
        Kind::Plain(text) | Kind::Text(text) => texts.push((node.at, text)),
        Kind::List(items) => items.iter().for_each(|item| collect(item, texts)),
        Kind::Map(entries) => entries.iter().for_each(|(_, value)| collect(value, texts)),
    }
}

/// Looks at every text of the process.
pub(super) fn of_process(steps: &[At<StepItem>], inside: &Inside, report: &mut Report) {
    for (place, step) in in_groups(steps) {
        if let Some(run) = &step.run {
            check(run, run.at, Some(place), inside, report);
        }
        for (action, _, texts) in actions(step) {
            let place = Place { action, ..place };
            for (at, text) in texts {
                check(text, at, Some(place), inside, report);
            }
        }
    }
}

/// Looks at the values of the project's variables, which any step may read, or none.
pub(super) fn of_variables(entries: &[(Key, Node)], inside: &Inside, report: &mut Report) {
    for (_, value) in entries {
        let mut texts = Texts::new();
        collect(value, &mut texts);
        for (at, text) in texts {
            check(text, at, None, inside, report);
        }
    }
}

/// Looks at one text. What a process says must be right; a variable may wait for its step.
fn check(text: &str, at: Position, from: Option<Place>, inside: &Inside, report: &mut Report) {
    if !text.contains("#{") {
        return;
    }
    let found = references(text);
    for name in found.names.iter().chain(&found.prefixes) {
        let (problem, missing) = match (index(name, OF_ACTIONS), index(name, OF_STEPS)) {
            (Some((action, rest)), _) => match (inside.doers.action(action), from) {
                (None, _) => (no_action(written(text, action), at, inside), true),
                (Some(doer), Some(from))
                    if rest.starts_with(".output") && doer.place.is_after(from) =>
                {
                    (too_early(doer, at), false)
                }
                (Some(_), _) => continue,
            },
            (None, Some((step, _))) => match no_step(written(text, step), at, inside) {
                Some(problem) => (problem, true),
                None => continue,
            },
            (None, None) => continue,
        };
        if missing && is_variable(name, inside) {
            continue;
        }
        // A set that is not known here may have a variable of this name.
        if missing && from.is_some() && !inside.open {
            report.error(problem);
        } else {
            report.warn(problem);
        }
    }
}

/// What stands in the first brackets of such a name, and what follows them.
fn index<'a>(name: &'a str, of: &str) -> Option<(&'a str, &'a str)> {
    let (index, rest) = name.strip_prefix(of)?.split_once(']')?;
    // An index that is only known at run time.
    (index != "*").then_some((index, rest))
}

/// A name in lower case as it stands in the text.
fn written<'a>(text: &'a str, name: &'a str) -> &'a str {
    let bracketed = format!("[{name}]");
    let at = fold(text).find(&bracketed).map(|at| at + 1);
    at.and_then(|at| text.get(at..at + name.len()))
        .filter(|found| fold(found) == name)
        .unwrap_or(name)
}

fn no_action(name: &str, at: Position, inside: &Inside) -> Problem {
    let doers = &inside.doers;
    let problem = Problem::new(at, format!("there is no action '{name}' in this process"));
    let of_step = |action: &&Doer| same_name(&action.step, name);
    let own: Vec<&str> = doers
        .actions
        .iter()
        .filter(of_step)
        .map(|action| action.name.as_str())
        .collect();
    if !own.is_empty() {
        return problem.next(format!(
            "that is a step; name one of its actions: {}",
            own.join(", ")
        ));
    }
    let names = doers.actions.iter().map(|action| action.name.as_str());
    match nearest(name, names.clone()) {
        Some(meant) => problem.meant(Some(meant)),
        None => problem.next(all_of("actions", names.collect())),
    }
}

/// Nothing, if there is such a step.
fn no_step(name: &str, at: Position, inside: &Inside) -> Option<Problem> {
    let steps = inside.doers.steps.iter();
    if (steps.clone()).any(|step| same_name(step, name)) {
        return None;
    }
    let problem = Problem::new(at, format!("there is no step '{name}' in this process"));
    let names = steps.map(String::as_str);
    Some(match nearest(name, names.clone()) {
        Some(meant) => problem.meant(Some(meant)),
        None => problem.next(all_of("steps", names.collect())),
    })
}

fn all_of(kind: &str, names: Vec<&str>) -> String {
    if names.is_empty() {
        format!("the process has no {kind}")
    } else {
        format!("its {kind} are {}", names.join(", "))
    }
}

fn too_early(doer: &Doer, at: Position) -> Problem {
    let what = format!(
        "this asks for an output variable of action '{}', whose turn comes later",
        doer.name
    );
    Problem::new(at, what).next("it has no value by then: move one of the two")
}

/// The project, or a set that it includes, defines a variable of this name, or one beneath.
fn is_variable(name: &str, inside: &Inside) -> bool {
    let mut variables = inside.variables.iter().map(|name| fold(name));
    variables.any(|variable| variable.starts_with(name) || name.starts_with(&variable))
}
