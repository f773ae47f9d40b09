//! What a deployment in fact used: targets and their agents, packages by digest, and the values that
//! its actions got. Written when it begins, and never again.
//!
//! A secret stands in it as its mark, also where it is part of another value or another value is made
//! from it, so that two deployments can be compared and nothing can be read. What is only known later (output variables,
//! where a package was installed) stays a template. It is read for as long as the deployment is
//! kept, so fields are only ever added, with a default.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mantle_shared::Digest;
use mantle_shared::ids::{TargetId, TaskId};
use mantle_shared::order::OrderPackage;
use mantle_template::{Budget, Options, Variables};
use serde::{Deserialize, Serialize};

use crate::file::diff::{Change, ChangeKind, short};
use crate::fleet::Fleet;
use crate::order::{Done, OrderContext, effective_among};
use crate::plan::basis::ReleaseDigests;
use crate::plan::{NO_TARGET, PlanAction, PlanLeftOut, PlanStep, PlanTarget};
use crate::release::compare;
use crate::snapshot::PackageSnapshot;
use crate::state::view::ON_SERVER;
use crate::variable::uses::variables_for;
use crate::variable::{Effective, EffectiveValue, StandIn, made_comparably};
use crate::work;

/// The format that is written. The one before had no actions.
pub const MANIFEST_FORMAT: u32 = 2;
/// Longer values are kept as their digest.
const LONGEST_VALUE: usize = 1024;
/// So much of a secret's mark tells two values apart.
const MARK_SHOWN: usize = 16;
/// What the server defines itself follows from the rest, and the names are many.
const SYSTEM: &str = "octopus.";

/// A deployment's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The deployment.
    pub task: TaskId,
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The release's channel.
    pub channel: String,
    /// What whoever asked for it said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The deployment's own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The digests of the release's snapshots.
    #[serde(default)]
    pub snapshots: Option<SnapshotDigests>,
    /// The targets that took part.
    pub targets: Vec<PlanTarget>,
    /// The targets that took no part although a step would have been about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<PlanLeftOut>,
    /// The packages, by digest.
    pub packages: Vec<OrderPackage>,
    /// The actions, in order, with the values that they got.
    #[serde(default)]
    pub actions: Vec<ManifestAction>,
}

/// The digests of a release's snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDigests {
    /// Of its process.
    pub process: Digest,
    /// Of the variables that this deployment used.
    pub variables: Digest,
    /// Of its packages.
    pub packages: Digest,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestAction {
    /// Its step's name.
    pub step: String,
    /// Its name.
    pub action: String,
    /// Its type.
    pub uses: String,
    /// About whom and by whom, by name: `web01` or `web01 on lb01`.
    pub nodes: Vec<String>,
    /// The variables that it got, evaluated.
    pub values: BTreeMap<String, ManifestValue>,
}

/// What a variable was: the value that most targets had, and those of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestValue {
    /// The value that most had.
    pub value: String,
    /// The others', by target. `None` is a target where it had no value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<String, Option<String>>,
}

/// Makes the manifest of a deployment that begins.
pub fn manifest(
    context: &OrderContext<'_>,
    packages: &PackageSnapshot,
    digests: ReleaseDigests,
    now: Timestamp,
) -> Manifest {
    let plan = context.plan;
    let mut budget = work::budget(plan.targets.len());
    let fleet = Fleet::of_texts(plan, context.process, context.variables);
    Manifest {
        format: MANIFEST_FORMAT,
        task: plan.task,
        project: plan.project.clone(),
        environment: plan.environment.clone(),
        release: plan.release.clone(),
        channel: plan.channel.clone(),
        comment: plan.facts.comment.clone(),
        fields: plan.facts.fields.clone(),
        snapshots: Some(SnapshotDigests {
            process: digests.process,
            variables: digests.variables,
            packages: digests.packages,
        }),
        targets: plan.targets.clone(),
        left_out: plan.left_out.clone(),
        packages: packages.packages.clone(),
        actions: plan
            .steps
            .iter()
            .flat_map(|step| step.actions.iter().map(move |action| (step, action)))
            // What would undo an action follows from it, and most deployments never do it.
            .filter(|(_, action)| !action.nodes.is_empty() && action.undoes.is_none())
            .map(|place| manifest_action((context, &fleet), place, now, &mut budget))
            .collect(),
    }
}

fn manifest_action(
    (context, fleet): (&OrderContext<'_>, &Fleet<'_>),
    (step, planned): (&PlanStep, &PlanAction),
    now: Timestamp,
    budget: &mut Budget,
) -> ManifestAction {
    let name = |id: TargetId| match fleet.target(id) {
        Some(target) => target.name.clone(),
        None if id == NO_TARGET => ON_SERVER.to_owned(),
        None => String::new(),
    };
    let nodes = planned.nodes.iter().map(|node| {
        let subject = name(node.subject);
        if node.executor == node.subject {
            subject
        } else {
            format!("{subject} on {}", name(node.executor))
        }
    });
    let subjects: BTreeSet<TargetId> = planned.nodes.iter().map(|node| node.subject).collect();
    let found: BTreeMap<String, BTreeMap<String, String>> = subjects
        .into_iter()
        .map(|subject| {
            let values = values((context, fleet), (step, planned), subject, now, budget);
            (name(subject), values)
        })
        .collect();
    ManifestAction {
        step: step.name.clone(),
        action: planned.name.clone(),
        uses: planned.uses.clone(),
        nodes: nodes.collect(),
        values: folded(&found),
    }
}

/// The variables that an action about one target gets, evaluated.
fn values(
    (context, fleet): (&OrderContext<'_>, &Fleet<'_>),
    (step, planned): (&PlanStep, &PlanAction),
    subject: TargetId,
    now: Timestamp,
    budget: &mut Budget,
) -> BTreeMap<String, String> {
    let done = Done::find(context, step, planned);
    let place = (step, Some(planned));
    let set = effective_among(context, fleet.lists(), place, fleet.target(subject));
    // The planner has refused a release in which either is missing.
    let (Some(done), Ok(set)) = (done, set) else {
        return BTreeMap::new();
    };
    let action = &*done.action;
    let all = set.shown_variables(stand_in, made_comparably);
    let scanned = context.process.scanned_secrets.get(&action.name);
    variables_for(action, &set, scanned)
        .given
        .into_iter()
        .filter(|variable| !variable.name.to_lowercase().starts_with(SYSTEM))
        .map(|variable| (variable.name.clone(), resolved(variable, &all, now, budget)))
        .collect()
}

/// A secret as it may be shown.
fn stand_in(variable: &Effective) -> StandIn {
    match &variable.value {
        EffectiveValue::Secret(secret) => {
            let mark: String = secret.mark.chars().take(MARK_SHOWN).collect();
            StandIn::named(&mark)
        }
        EffectiveValue::Unpinned(path) => StandIn::named(path),
        EffectiveValue::Text(_) | EffectiveValue::Sealed { .. } => StandIn::named("output"),
    }
}

/// A value that takes more work than is left stays the template that it is.
fn resolved(variable: &Effective, all: &Variables, now: Timestamp, budget: &mut Budget) -> String {
    let text = match &variable.value {
        EffectiveValue::Text(text) => {
            let rendered = budget.render(text, all, &Options::new(now));
            rendered.map_or_else(|_| text.to_string(), |rendered| rendered.text.into_owned())
        }
        _ => stand_in(variable).text,
    };
    if text.len() > LONGEST_VALUE {
        return format!("({} bytes, {})", text.len(), Digest::of(text.as_bytes()));
    }
    text
}

/// Of each variable the value that most targets have, and those of the others: a farm of a
/// thousand alike takes the room of one.
fn folded(found: &BTreeMap<String, BTreeMap<String, String>>) -> BTreeMap<String, ManifestValue> {
    let names: BTreeSet<&String> = found.values().flat_map(BTreeMap::keys).collect();
    names
        .into_iter()
        .map(|name| {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for value in found.values().filter_map(|values| values.get(name)) {
                *counts.entry(value).or_default() += 1;
            }
            // Of equally frequent ones the first in order: the answer depends on nothing else.
            let most = counts
                .iter()
                .max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)));
            let value = most
                .map(|(value, _)| (*value).to_owned())
                .unwrap_or_default();
            let on = found
                .iter()
                .map(|(target, values)| (target.clone(), values.get(name).cloned()))
                .filter(|(_, own)| own.as_ref() != Some(&value))
                .collect();
            (name.clone(), ManifestValue { value, on })
        })
        .collect()
}

/// How the second deployment differed from the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManifestDiff {
    /// What was deployed (project, release, environment, channel), and what was said about it.
    pub what: Vec<Change>,
    /// Who took part.
    pub targets: Vec<Change>,
    /// With which packages.
    pub packages: Vec<compare::PackageChange>,
    /// With which values.
    pub values: Vec<Change>,
}

/// Compares what two deployments used.
pub fn compare(first: &Manifest, second: &Manifest) -> ManifestDiff {
    let mut what = Vec::new();
    for (key, before, after) in [
        ("project", &first.project, &second.project),
        ("release", &first.release, &second.release),
        ("channel", &first.channel, &second.channel),
        ("environment", &first.environment, &second.environment),
    ] {
        if before != after {
            what.push(changed(key.to_owned(), before, after));
        }
    }
    what.extend(said(first, second));
    if let (Some(before), Some(after)) = (first.snapshots, second.snapshots) {
        if before.process != after.process {
            what.push(changed(
                "process".to_owned(),
                &before.process.short(),
                &after.process.short(),
            ));
        }
        if before.variables != after.variables {
            what.push(changed(
                "variables".to_owned(),
                &before.variables.short(),
                &after.variables.short(),
            ));
        }
    }
    ManifestDiff {
        what,
        targets: targets(first, second),
        packages: compare::packages(&first.packages, &second.packages),
        values: action_values(first, second),
    }
}

/// What was said about the deployments: their comments and their own fields.
fn said(first: &Manifest, second: &Manifest) -> Vec<Change> {
    let comment = |of: &Manifest| (!of.comment.is_empty()).then(|| of.comment.clone());
    let mut all = vec![("comment".to_owned(), comment(first), comment(second))];
    let names: BTreeSet<&String> = first.fields.keys().chain(second.fields.keys()).collect();
    all.extend(names.into_iter().map(|name| {
        let of = |manifest: &Manifest| manifest.fields.get(name).cloned();
        (format!("field {name}"), of(first), of(second))
    }));
    let changes = all
        .into_iter()
        .filter_map(|(subject, before, after)| match (before, after) {
            (Some(before), Some(after)) if before != after => {
                Some(changed(subject, &before, &after))
            }
            (Some(_), Some(_)) | (None, None) => None,
            (None, Some(after)) => Some(simple(ChangeKind::Added, subject, Some(short(&after)))),
            (Some(before), None) => {
                Some(simple(ChangeKind::Removed, subject, Some(short(&before))))
            }
        });
    changes.collect()
}

fn changed(subject: String, before: &str, after: &str) -> Change {
    Change {
        kind: ChangeKind::Changed,
        subject,
        detail: Some(format!("{} -> {}", short(before), short(after))),
    }
}

fn simple(kind: ChangeKind, subject: String, detail: Option<String>) -> Change {
    Change {
        kind,
        subject,
        detail,
    }
}

fn targets(first: &Manifest, second: &Manifest) -> Vec<Change> {
    let of = |manifest: &Manifest, name: &str| -> Option<PlanTarget> {
        let mut targets = manifest.targets.iter();
        targets.find(|target| target.name == name).cloned()
    };
    let mut names: Vec<&str> = first
        .targets
        .iter()
        .chain(&second.targets)
        .map(|target| target.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let subject = format!("target '{name}'");
        match (of(first, name), of(second, name)) {
            (None, None) => {}
            (None, Some(_)) => changes.push(simple(ChangeKind::Added, subject, None)),
            (Some(_), None) => changes.push(simple(ChangeKind::Removed, subject, None)),
            (Some(before), Some(after)) => {
                if before.tags != after.tags {
                    let (tags, now) = (before.tags.join(", "), after.tags.join(", "));
                    changes.push(changed(format!("{subject} tags"), &tags, &now));
                }
                if before.agent != after.agent {
                    let (agent, now) = (before.agent.to_string(), after.agent.to_string());
                    changes.push(changed(format!("{subject} agent"), &agent, &now));
                }
                if before.agent_version != after.agent_version {
                    let subject = format!("{subject} agent version");
                    let (old, new) = (&before.agent_version, &after.agent_version);
                    changes.push(changed(subject, old, new));
                }
            }
        }
    }
    changes
}

/// Values are compared where both deployments ran the action; of the others their absence is said.
fn action_values(first: &Manifest, second: &Manifest) -> Vec<Change> {
    // A manifest of the format before does not say which values its actions got.
    if first.snapshots.is_none() || second.snapshots.is_none() {
        return Vec::new();
    }
    let find = |manifest: &Manifest, name: &str| -> Option<ManifestAction> {
        let mut actions = manifest.actions.iter();
        actions.find(|action| action.action == name).cloned()
    };
    let mut changes = Vec::new();
    for action in &second.actions {
        let name = &action.action;
        let Some(before) = find(first, name) else {
            changes.push(simple(ChangeKind::Added, format!("action '{name}'"), None));
            continue;
        };
        if before.nodes != action.nodes {
            let (old, new) = (before.nodes.join(", "), action.nodes.join(", "));
            changes.push(changed(format!("'{name}' about"), &old, &new));
        }
        let names: BTreeSet<&String> = before.values.keys().chain(action.values.keys()).collect();
        for variable in names {
            let subject = format!("'{name}' {variable}");
            match (before.values.get(variable), action.values.get(variable)) {
                (None, None) => {}
                (None, Some(value)) => {
                    let detail = Some(short(&value.value));
                    changes.push(simple(ChangeKind::Added, subject, detail));
                }
                (Some(_), None) => changes.push(simple(ChangeKind::Removed, subject, None)),
                (Some(old), Some(new)) => value_changes(&mut changes, &subject, old, new),
            }
        }
    }
    for action in &first.actions {
        if find(second, &action.action).is_none() {
            let subject = format!("action '{}'", action.action);
            changes.push(simple(ChangeKind::Removed, subject, None));
        }
    }
    changes
}

fn value_changes(
    changes: &mut Vec<Change>,
    subject: &str,
    old: &ManifestValue,
    new: &ManifestValue,
) {
    if old.value != new.value {
        changes.push(changed(subject.to_owned(), &old.value, &new.value));
    }
    let targets: BTreeSet<&String> = old.on.keys().chain(new.on.keys()).collect();
    for target in targets {
        let shown = |value: &ManifestValue| match value.on.get(target) {
            None => value.value.clone(),
            Some(None) => "none".to_owned(),
            Some(Some(own)) => own.clone(),
        };
        let (before, after) = (shown(old), shown(new));
        // Where only the others' value changed, that was said above.
        let own = old.on.get(target) != new.on.get(target);
        if own && before != after {
            changes.push(changed(format!("{subject} on {target}"), &before, &after));
        }
    }
}

#[cfg(test)]
mod tests;
