//! What changes in steps and their actions, and which of them only have another name.

use super::{Change, changed, differing_keys, named};
use crate::process::{Action, Step};

/// What has another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// A step, with its only action if that bears its name.
    Step,
    /// An action of a step.
    Action,
}

impl Renamed {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Action => "action",
        }
    }
}

/// A step or action that is the same under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// What it is.
    pub kind: Renamed,
    /// What it was called.
    pub before: String,
    /// What it is called.
    pub after: String,
}

/// What changes in a list of steps. One that goes and one that comes with the same actions are one
/// step under another name.
pub(crate) fn steps(changes: &mut Vec<Change>, old: &[Step], new: &[Step]) {
    let renamed = renamed_steps(old, new);
    for rename in &renamed {
        changes.push(said(rename));
    }
    let old = under_new_names(old, &renamed);
    named(changes, "step", &old, new, |step| &step.name, step);
}

/// Each step and each action of a step that stays which was renamed, the steps first.
pub fn renames(old: &[Step], new: &[Step]) -> Vec<Rename> {
    let mut renamed = renamed_steps(old, new);
    let old = under_new_names(old, &renamed);
    for step in new {
        if let Some(before) = old.iter().find(|other| other.name == step.name) {
            renamed.extend(renamed_actions(before, step));
        }
    }
    renamed
}

/// The old steps and their actions under the names that they have now.
pub(crate) fn as_now_called(old: &[Step], new: &[Step]) -> Vec<Step> {
    let mut old = under_new_names(old, &renamed_steps(old, new));
    for step in &mut old {
        if let Some(after) = new.iter().find(|other| other.name == step.name) {
            step.actions = actions_now_called(step, &renamed_actions(step, after));
        }
    }
    old
}

fn said(rename: &Rename) -> Change {
    changed(
        format!("{} '{}'", rename.kind.word(), rename.before),
        Some(format!("renamed to '{}'", rename.after)),
    )
}

/// The steps that were renamed. Those of the same number among neighbours that kept their names
/// are of the same types if they are one.
fn renamed_steps(old: &[Step], new: &[Step]) -> Vec<Rename> {
    let place = |before: &Step, after: &Step| {
        let types = |step: &Step| -> Vec<String> {
            let actions = step.actions.iter();
            actions.map(|action| action.uses.clone()).collect()
        };
        types(before) == types(after) && before.targets == after.targets
    };
    let same = |before: &Step, after: &Step| under_name(before, &after.name) == *after;
    let named = |step: &Step| step.name.clone();
    pairs(old, new, (&named, &same, &place))
        .into_iter()
        .map(|(before, after)| Rename {
            kind: Renamed::Step,
            before: before.name.clone(),
            after: after.name.clone(),
        })
        .collect()
}

/// The actions that were renamed in a step that has its new name already.
fn renamed_actions(before: &Step, step: &Step) -> Vec<Rename> {
    let place = |before: &Action, after: &Action| {
        before.uses == after.uses && before.run_on == after.run_on
    };
    let same = |before: &Action, after: &Action| called(before, &after.name) == *after;
    let named = |action: &Action| action.name.clone();
    pairs(&before.actions, &step.actions, (&named, &same, &place))
        .into_iter()
        .map(|(before, after)| Rename {
            kind: Renamed::Action,
            before: before.name.clone(),
            after: after.name.clone(),
        })
        .collect()
}

/// How two of a kind are told to be one: its name, that all but the name is the same, and that it
/// may be the same if it stands at the same place.
type Likeness<'a, T> = (
    &'a dyn Fn(&T) -> String,
    &'a dyn Fn(&T, &T) -> bool,
    &'a dyn Fn(&T, &T) -> bool,
);

/// The old and the new form of each item that was renamed.
///
/// Of those whose names are gone or new, one is the other renamed if all else is the same; the
/// order decides among equals. Then the rest by place: after the same neighbour, if that kept its
/// name.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    (named, same, alike): Likeness<'_, T>,
) -> Vec<(&'a T, &'a T)> {
    let only_in = |items: &'a [T], others: &[T]| -> Vec<(usize, &'a T)> {
        let is_there = |name: &String| others.iter().any(|other| named(other) == *name);
        let items = items.iter().enumerate();
        items.filter(|(_, item)| !is_there(&named(item))).collect()
    };
    let (mut gone, mut come) = (only_in(old, new), only_in(new, old));
    let neighbour = |items: &[T], at: usize| {
        let before = at.checked_sub(1).and_then(|at| items.get(at));
        before.map(named)
    };
    let is_same = |(_, before): &(usize, &T), (_, after): &(usize, &T)| same(before, after);
    let is_at_place = |(at, before): &(usize, &T), (to, after): &(usize, &T)| {
        alike(before, after) && neighbour(old, *at) == neighbour(new, *to)
    };
    let mut renamed = Vec::new();
    for matches in [&is_same as &dyn Fn(&_, &_) -> bool, &is_at_place] {
        gone.retain(|before| {
            let Some(at) = come.iter().position(|after| matches(before, after)) else {
                return true;
            };
            let (_, after) = come.remove(at);
            renamed.push((before.1, after));
            false
        });
    }
    renamed
}

/// The steps with the names that they have now.
fn under_new_names(old: &[Step], renamed: &[Rename]) -> Vec<Step> {
    let renamed_to = |step: &Step| renamed.iter().find(|rename| rename.before == step.name);
    let steps = old.iter().map(|step| match renamed_to(step) {
        Some(rename) => under_name(step, &rename.after),
        None => step.clone(),
    });
    steps.collect()
}

/// A step as it would be under another name; the single action of one in short form goes with it.
fn under_name(step: &Step, name: &str) -> Step {
    let mut other = step.clone();
    for action in &mut other.actions {
        if action.name == step.name {
            name.clone_into(&mut action.name);
        }
    }
    name.clone_into(&mut other.name);
    other
}

fn actions_now_called(step: &Step, renamed: &[Rename]) -> Vec<Action> {
    let renamed_to = |action: &Action| renamed.iter().find(|rename| rename.before == action.name);
    let actions = step.actions.iter().map(|action| match renamed_to(action) {
        Some(rename) => called(action, &rename.after),
        None => action.clone(),
    });
    actions.collect()
}

fn called(action: &Action, name: &str) -> Action {
    Action {
        name: name.to_owned(),
        ..action.clone()
    }
}

fn step(changes: &mut Vec<Change>, before: &Step, step: &Step) {
    let bare = |step: &Step| Step {
        actions: Vec::new(),
        ..step.clone()
    };
    if bare(before) != bare(step) {
        changes.push(changed(
            format!("step '{}'", step.name),
            differing_keys(&bare(before), &bare(step)),
        ));
    }
    let renamed = renamed_actions(before, step);
    changes.extend(renamed.iter().map(said));
    let own = |action: &Action| action.name == step.name;
    named(
        changes,
        "action",
        &actions_now_called(before, &renamed),
        &step.actions,
        |action| &action.name,
        |changes, before, action| {
            let kind = if own(action) { "step" } else { "action" };
            changes.push(changed(
                format!("{kind} '{}'", action.name),
                differing_keys(before, action),
            ));
        },
    );
}
