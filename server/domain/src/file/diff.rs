//! What applying files would change, line by line, for people. Secrets appear by their paths only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{Action, Process, Step, Timeouts, Unavailable};
use crate::project::{ProjectDefinition, VersionSource};
use crate::variable::{ScopedValue, Variable, VariableValue, describe_value, find};
use crate::variable_set::VariableSetDefinition;

mod infrastructure;

use infrastructure::{became, channel, span};
pub use infrastructure::{environment, health_check, lifecycle, target};

/// Longer values are cut.
const SHOWN: usize = 60;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What kind.
    pub kind: ChangeKind,
    /// What changes, such as `variable SitePort (environment test)`.
    pub subject: String,
    /// From what to what, if that can be said in a line.
    pub detail: Option<String>,
}

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It goes away.
    Removed,
    /// It becomes another.
    Changed,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        write!(f, "{sign} {}", self.subject)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// What changes in a project; everything, if it is new.
pub fn project(old: Option<&ProjectDefinition>, new: &ProjectDefinition) -> Vec<Change> {
    let Some(old) = old else {
        let mut changes = vec![added(format!("project '{}'", new.slug))];
        changes.extend(
            new.packages
                .iter()
                .map(|package| added(format!("package {}", package.id))),
        );
        changes.extend(
            new.channels
                .iter()
                .map(|channel| added(format!("channel '{}'", channel.name))),
        );
        include(&mut changes, &[], &new.include);
        variables(&mut changes, &[], &new.variables);
        changes.extend(
            new.process
                .steps
                .iter()
                .map(|step| added(format!("step '{}'", step.name))),
        );
        return changes;
    };
    let mut changes = Vec::new();
    text(
        &mut changes,
        "description",
        old.description.as_ref(),
        new.description.as_ref(),
    );
    text(
        &mut changes,
        "lifecycle",
        old.lifecycle.as_ref(),
        new.lifecycle.as_ref(),
    );
    if old.version != new.version {
        let (before, after) = (version(&old.version), version(&new.version));
        became(&mut changes, "version", &before, &after);
    }
    named(
        &mut changes,
        "package",
        &old.packages,
        &new.packages,
        |package| &package.id,
        |_, _, _| {},
    );
    named(
        &mut changes,
        "channel",
        &old.channels,
        &new.channels,
        |channel| &channel.name,
        channel,
    );
    include(&mut changes, &old.include, &new.include);
    variables(&mut changes, &old.variables, &new.variables);
    steps(&mut changes, &old.process.steps, &new.process.steps);
    whole_process(&mut changes, &old.process, &new.process);
    changes
}

/// What a process says of all its steps.
pub(crate) fn whole_process(changes: &mut Vec<Change>, old: &Process, new: &Process) {
    if old.timeouts != new.timeouts {
        became(
            changes,
            "timeouts",
            &times(old.timeouts),
            &times(new.timeouts),
        );
    }
    if old.unavailable != new.unavailable {
        let word = |unavailable| match unavailable {
            Unavailable::Fail => "fail",
            Unavailable::Skip => "skip",
        };
        let (before, after) = (word(old.unavailable), word(new.unavailable));
        became(changes, "unavailable", before, after);
    }
    if old.unhealthy != new.unhealthy {
        let (before, after) = (old.unhealthy.word(), new.unhealthy.word());
        became(changes, "unhealthy", before, after);
    }
    if old.guided_failure != new.guided_failure {
        let word = |guided| match guided {
            None => "as the environment has it",
            Some(true) => "true",
            Some(false) => "false",
        };
        let (before, after) = (word(old.guided_failure), word(new.guided_failure));
        became(changes, "guided_failure", before, after);
    }
}

fn times(timeouts: Timeouts) -> String {
    format!(
        "packages {}, deployment {}",
        span(timeouts.packages_ms),
        span(timeouts.deployment_ms)
    )
}

fn version(source: &VersionSource) -> String {
    match source {
        VersionSource::Template(text) => short(text),
        VersionSource::Package(id) => format!("that of package {id}"),
    }
}

/// What changes in a variable set; everything, if it is new.
pub fn variable_set(
    old: Option<&VariableSetDefinition>,
    new: &VariableSetDefinition,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let empty = VariableSetDefinition::default();
    if old.is_none() {
        changes.push(added(format!("variable set '{}'", new.name)));
    }
    let old = old.unwrap_or(&empty);
    text(
        &mut changes,
        "description",
        old.description.as_ref(),
        new.description.as_ref(),
    );
    include(&mut changes, &old.include, &new.include);
    variables(&mut changes, &old.variables, &new.variables);
    changes
}

fn include(changes: &mut Vec<Change>, old: &[String], new: &[String]) {
    named(changes, "include", old, new, |name| name, |_, _, _| {});
}

fn added(subject: String) -> Change {
    Change {
        kind: ChangeKind::Added,
        subject,
        detail: None,
    }
}

fn removed(subject: String) -> Change {
    Change {
        kind: ChangeKind::Removed,
        subject,
        detail: None,
    }
}

fn changed(subject: String, detail: Option<String>) -> Change {
    Change {
        kind: ChangeKind::Changed,
        subject,
        detail,
    }
}

fn text(changes: &mut Vec<Change>, key: &str, old: Option<&String>, new: Option<&String>) {
    if old != new {
        let shown = |value: Option<&String>| value.map_or("none".to_owned(), |value| short(value));
        let detail = format!("{} -> {}", shown(old), shown(new));
        changes.push(changed(key.to_owned(), Some(detail)));
    }
}

pub(crate) fn short(text: &str) -> String {
    let line: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() < text.len() {
        format!("{line}...")
    } else {
        line
    }
}

/// Compares two lists by name; `differ` says what became of one that is in both.
fn named<T: PartialEq>(
    changes: &mut Vec<Change>,
    kind: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    differ: impl Fn(&mut Vec<Change>, &T, &T),
) {
    let subject = |item: &T| format!("{kind} '{}'", name(item));
    for item in new {
        match old.iter().find(|other| name(other) == name(item)) {
            None => changes.push(added(subject(item))),
            Some(other) if other != item => differ(changes, other, item),
            Some(_) => {}
        }
    }
    for item in old {
        if !new.iter().any(|other| name(other) == name(item)) {
            changes.push(removed(subject(item)));
        }
    }
    let order = |items: &[T], others: &[T]| -> Vec<String> {
        let both = |item: &&T| others.iter().any(|other| name(other) == name(item));
        items
            .iter()
            .filter(both)
            .map(|item| name(item).clone())
            .collect()
    };
    if order(old, new) != order(new, old) {
        changes.push(changed(
            format!("order of {kind}s"),
            Some(order(new, old).join(", ")),
        ));
    }
}

/// The keys in which two values of a kind differ.
fn differing_keys<T: Serialize>(old: &T, new: &T) -> Option<String> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return None;
    };
    let mut keys: Vec<&str> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, _)| key.as_str())
        .collect();
    keys.extend(
        old.keys()
            .filter(|key| !new.contains_key(*key))
            .map(String::as_str),
    );
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// What changes in a list of variables.
pub(crate) fn variables(changes: &mut Vec<Change>, old: &[Variable], new: &[Variable]) {
    for variable in new {
        match find(old, &variable.name) {
            None => values(changes, &variable.name, &[], &variable.values),
            Some(before) => values(changes, &variable.name, &before.values, &variable.values),
        }
    }
    for variable in old {
        if find(new, &variable.name).is_none() {
            values(changes, &variable.name, &variable.values, &[]);
        }
    }
}

fn values(changes: &mut Vec<Change>, name: &str, old: &[ScopedValue], new: &[ScopedValue]) {
    let subject = |value: &ScopedValue| {
        if value.scope.is_everywhere() && value.from.is_none() {
            format!("variable {name}")
        } else {
            format!("variable {name} ({})", describe_value(value))
        }
    };
    for value in new {
        match old.iter().find(|other| same_place(other, value)) {
            None => changes.push(Change {
                detail: Some(shown(&value.value)),
                ..added(subject(value))
            }),
            Some(before) if before.value != value.value => changes.push(changed(
                subject(value),
                Some(format!(
                    "{} -> {}",
                    shown(&before.value),
                    shown(&value.value)
                )),
            )),
            Some(_) => {}
        }
    }
    for value in old {
        if !new.iter().any(|other| same_place(other, value)) {
            changes.push(Change {
                detail: Some(shown(&value.value)),
                ..removed(subject(value))
            });
        }
    }
}

/// Of the project or of the same variable set, for the same scope.
fn same_place(one: &ScopedValue, other: &ScopedValue) -> bool {
    one.scope == other.scope && one.from == other.from
}

fn shown(value: &VariableValue) -> String {
    match value {
        VariableValue::Text(text) if text.is_empty() => "(empty)".to_owned(),
        VariableValue::Text(text) => short(text),
        VariableValue::Secret(path) => format!("secret {path}"),
        VariableValue::PinnedSecret(secret) => format!("secret {}", secret.path),
        VariableValue::Prompt(prompt) => match &prompt.label {
            Some(label) => format!("asks '{}'", short(label)),
            None => "asks at deployment".to_owned(),
        },
    }
}

/// What changes in a list of steps. One that goes and one that comes with the same actions are one
/// step under another name.
pub(crate) fn steps(changes: &mut Vec<Change>, old: &[Step], new: &[Step]) {
    let renamed = renames(old, new);
    for (before, after) in &renamed {
        changes.push(changed(
            format!("step '{before}'"),
            Some(format!("renamed to '{after}'")),
        ));
    }
    let old: Vec<Step> = old
        .iter()
        .map(
            |step| match renamed.iter().find(|(before, _)| *before == step.name) {
                Some((_, after)) => under_name(step, after),
                None => step.clone(),
            },
        )
        .collect();
    named(changes, "step", &old, new, |step| &step.name, step);
}

/// The old and the new name of each step that was renamed.
///
/// Of those whose names are gone or new, one is the other renamed if what it does is the same; the
/// order of steps decides among equals. Then the rest by place: the same number among its
/// neighbours that kept their names, if they are of the same types.
pub fn renames(old: &[Step], new: &[Step]) -> Vec<(String, String)> {
    let has = |steps: &[Step], name: &str| steps.iter().any(|step| step.name == name);
    let mut gone: Vec<(usize, &Step)> = old
        .iter()
        .enumerate()
        .filter(|(_, step)| !has(new, &step.name))
        .collect();
    let mut come: Vec<(usize, &Step)> = new
        .iter()
        .enumerate()
        .filter(|(_, step)| !has(old, &step.name))
        .collect();
    let mut renamed = Vec::new();
    let same = |(_, before): &(usize, &Step), (_, after): &(usize, &Step)| {
        under_name(before, &after.name) == **after
    };
    let place = |(at, before): &(usize, &Step), (to, after): &(usize, &Step)| {
        let types = |step: &Step| -> Vec<String> {
            step.actions
                .iter()
                .map(|action| action.uses.clone())
                .collect()
        };
        let neighbour = |steps: &[Step], at: usize| {
            let before = at.checked_sub(1).and_then(|at| steps.get(at));
            before.map(|step| step.name.clone())
        };
        types(before) == types(after)
            && before.targets == after.targets
            && neighbour(old, *at) == neighbour(new, *to)
    };
    for matches in [&same as &dyn Fn(&_, &_) -> bool, &place] {
        gone.retain(|before| {
            let Some(at) = come.iter().position(|after| matches(before, after)) else {
                return true;
            };
            let (_, after) = come.remove(at);
            renamed.push((before.1.name.clone(), after.name.clone()));
            false
        });
    }
    renamed
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
    let own = |action: &Action| action.name == step.name;
    named(
        changes,
        "action",
        &before.actions,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::a_project;

    const OLD: &str = concat!(
        "variables: { SitePort: 8080, Gone: x, P: { secret: a/b }, E: [{ value: 1, environment: test }] }\n",
        "process:\n",
        "  - { step: A, targets: { tag: web }, uses: script, with: { run: x } }\n",
        "  - { step: B, targets: { tag: web }, uses: script, with: { run: y } }\n",
        "  - { step: C, targets: { tag: web }, uses: script, with: { run: z } }\n",
    );
    const NEW: &str = concat!(
        "description: A shop\n",
        "variables: { SitePort: 9090, New: x, P: { secret: a/c }, E: [{ value: 1, environment: live }] }\n",
        "process:\n",
        "  - { step: C, targets: { tag: web }, uses: script, with: { run: z } }\n",
        "  - { step: A, targets: { tag: app }, uses: script, with: { run: x2 }, timeout: 5m }\n",
        "  - { step: X, targets: { tag: web }, uses: script, with: { run: y } }\n",
    );

    #[test]
    fn a_renamed_step_is_no_other_step() {
        let old = concat!(
            "process:\n",
            "  - { step: A, targets: { tag: web }, uses: script, with: { run: x } }\n",
            "  - { step: B, targets: { tag: web }, uses: script, with: { run: y } }\n",
            "  - step: C\n",
            "    targets: { tag: web }\n",
            "    actions:\n",
            "      - { action: C1, uses: script, with: { run: z } }\n",
        );
        for (wrong, right, expected) in [
            ("step: A", "step: A2", vec!["~ step 'A': renamed to 'A2'"]),
            ("step: C", "step: C2", vec!["~ step 'C': renamed to 'C2'"]),
            (
                "step: B, targets: { tag: web }, uses: script, with: { run: y }",
                "step: B2, targets: { tag: web }, uses: script, with: { run: y2 }",
                vec!["~ step 'B': renamed to 'B2'", "~ step 'B2': with"],
            ),
            (
                "step: B, targets: { tag: web }",
                "step: Other, targets: { tag: db }",
                vec!["+ step 'Other'", "- step 'B'"],
            ),
        ] {
            let new = old.replace(wrong, right);
            let said: Vec<String> = project(Some(&a_project(old)), &a_project(&new))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn changes_are_said_in_lines() {
        let changes: Vec<String> = project(Some(&a_project(OLD)), &a_project(NEW))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            changes,
            [
                "~ description: none -> A shop",
                "+ variable E (environment live): 1",
                "- variable E (environment test): 1",
                "+ variable New: x",
                "~ variable P: secret a/b -> secret a/c",
                "~ variable SitePort: 8080 -> 9090",
                "- variable Gone: x",
                "~ step 'B': renamed to 'X'",
                "~ step 'A': targets",
                "~ step 'A': with, timeout_ms",
                "~ order of steps: C, A, X",
            ]
        );
        let same = a_project(OLD);
        assert!(project(Some(&same), &same).is_empty());
        assert_eq!(project(None, &same)[0].to_string(), "+ project 'shop'");
    }
}
