//! What applying files would change, line by line, for people. Secrets appear by their paths only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{Process, Timeouts, Unavailable};
use crate::project::{ProjectDefinition, VersionSource};
use crate::variable::{ScopedValue, Variable, VariableValue, describe_value, find};
use crate::variable_set::VariableSetDefinition;

mod infrastructure;
mod steps;

use infrastructure::{became, channel, span};
pub use infrastructure::{environment, health_check, lifecycle, target};
pub use steps::{Rename, Renamed, renames};
pub(crate) use steps::{as_now_called, steps};

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
    text(
        &mut changes,
        "release_notes",
        old.release_notes.as_ref(),
        new.release_notes.as_ref(),
    );
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
    fn a_renamed_action_is_no_other_action() {
        let old = concat!(
            "process:\n",
            "  - step: Outer\n",
            "    targets: { tag: web }\n",
            "    actions:\n",
            "      - { action: First, uses: script, with: { run: a } }\n",
            "      - { action: Inner, uses: script, with: { run: b } }\n",
            "      - { action: Last, uses: script, with: { run: c } }\n",
        );
        for (wrong, right, expected) in [
            (
                "action: Inner",
                "action: Innen",
                vec!["~ action 'Inner': renamed to 'Innen'"],
            ),
            (
                "action: Inner, uses: script, with: { run: b }",
                "action: Innen, uses: script, with: { run: d }",
                vec![
                    "~ action 'Inner': renamed to 'Innen'",
                    "~ action 'Innen': with",
                ],
            ),
            (
                "action: Inner, uses: script, with: { run: b }",
                "action: Innen, uses: http.check, with: { url: \"http://x\" }",
                vec!["+ action 'Innen'", "- action 'Inner'"],
            ),
            (
                "      - { action: Inner, uses: script, with: { run: b } }\n",
                "",
                vec!["- action 'Inner'"],
            ),
        ] {
            let new = old.replace(wrong, right);
            let said: Vec<String> = project(Some(&a_project(old)), &a_project(&new))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(said, expected);
        }
        // With its step at once.
        let both = old
            .replace("Outer", "Around")
            .replace("action: Inner", "action: Innen");
        let said = project(Some(&a_project(old)), &a_project(&both));
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "~ step 'Outer': renamed to 'Around'",
                "~ action 'Inner': renamed to 'Innen'"
            ]
        );
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
