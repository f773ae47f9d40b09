//! The variables that the server itself defines, under Octopus's names (reference section 1.4).

use mantle_template::fold;
use std::sync::Arc;

use serde::Serialize;

use super::literal;
use crate::fleet::{Lists, looked_at};
use crate::plan::{PastRelease, Plan, PlanAction, PlanChange, PlanFacts, PlanStep, PlanTarget};
use crate::state::Failure;

/// What system variables are made of.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The deployment's plan.
    pub plan: &'a Plan,
    /// The names of its targets.
    pub lists: &'a Lists,
    /// The task's number for people.
    pub task_number: &'a str,
    /// The step at hand.
    pub step: Option<&'a PlanStep>,
    /// The action at hand.
    pub action: Option<&'a PlanAction>,
    /// The target that the work is about.
    pub subject: Option<&'a PlanTarget>,
    /// The tag by which the step chose its targets.
    pub step_tag: Option<&'a str>,
    /// What of the deployment has failed.
    pub failed: Option<&'a Failure>,
}

/// System variables, by name and value. The long values are shared.
pub(super) type SystemVariables = Vec<(String, Arc<str>)>;

/// The system variables.
pub fn system_variables(around: &Surroundings<'_>) -> SystemVariables {
    let plan = around.plan;
    let mut all = SystemVariables::new();
    for (name, value) in [
        ("Octopus.Release.Number", &plan.release),
        ("Octopus.Release.Channel.Name", &plan.channel),
        ("Octopus.Environment.Name", &plan.environment),
        ("Octopus.Project.Name", &plan.project),
        ("Octopus.Project.Slug", &plan.project),
        ("Octopus.Deployment.Id", &plan.task.to_string()),
    ] {
        put(&mut all, name, value.as_str());
    }
    let (project, release) = (&plan.project, &plan.release);
    let title = format!("Deploy {project} {release} to {}", plan.environment);
    put(&mut all, "Octopus.Deployment.Name", title);
    put(
        &mut all,
        "Octopus.Deployment.Machines",
        Arc::clone(&around.lists.all),
    );
    put(
        &mut all,
        "Octopus.Deployment.Status",
        status(around.failed.is_some()),
    );
    put(&mut all, "Octopus.Task.Id", around.task_number);
    let title = format!("Deploy {project} {release}");
    put(&mut all, "Octopus.Task.Name", title);
    if let Some(failure) = around.failed {
        // Truthy when something failed and absent otherwise, as the idiom
        // `#{unless Octopus.Deployment.Error}` needs it. What an agent said is data.
        for (name, text) in [
            ("Octopus.Deployment.Error", &failure.error),
            ("Octopus.Deployment.ErrorDetail", &failure.detail),
        ] {
            put(&mut all, name, literal(text));
        }
    }
    facts(&plan.facts, &mut all);
    looked_at::note(around.lists.by_tag.len());
    for (tag, names) in &around.lists.by_tag {
        let name = format!("Octopus.Environment.MachinesInRole[{tag}]");
        put(&mut all, name, Arc::clone(names));
    }
    for step in &plan.steps {
        for action in step.actions.iter().filter(|a| a.undoes.is_none()) {
            let name = format!("Octopus.Action[{}]", action.name);
            // What takes part may still be skipped by its condition, when its turn comes.
            let skipped = truth(action.nodes.is_empty());
            put(&mut all, format!("{name}.IsSkipped"), skipped);
            packages(&name, action, &mut all);
        }
    }
    if let Some(step) = around.step {
        put(&mut all, "Octopus.Step.Name", step.name.as_str());
        put(&mut all, "Octopus.Step.Number", step.number.to_string());
    }
    if let (Some(step), Some(action)) = (around.step, around.action) {
        let number = step
            .actions
            .iter()
            .position(|other| other.name == action.name);
        let number = number.map_or(1, |index| index + 1);
        put(&mut all, "Octopus.Action.Name", action.name.as_str());
        put(&mut all, "Octopus.Action.IsSkipped", truth(false));
        let number = format!("{}.{number}", step.number);
        put(&mut all, "Octopus.Action.Number", number);
        if let Some(tag) = around.step_tag {
            put(&mut all, "Octopus.Action.TargetRoles", tag);
        }
        packages("Octopus.Action", action, &mut all);
    }
    if let Some(target) = around.subject {
        put(&mut all, "Octopus.Machine.Id", target.id.to_string());
        put(&mut all, "Octopus.Machine.Name", target.name.as_str());
        put(&mut all, "Octopus.Machine.Roles", target.tags.join(","));
        if !target.host_name.is_empty() {
            put(
                &mut all,
                "Octopus.Machine.Hostname",
                target.host_name.as_str(),
            );
        }
    }
    all
}

fn put(all: &mut SystemVariables, name: impl Into<String>, value: impl Into<Arc<str>>) {
    all.push((name.into(), value.into()));
}

/// The names that the server defines, in lower case; those in brackets stand for any.
const OF_SERVER: [&str; 62] = [
    "octopus.action.isskipped",
    "octopus.action.name",
    "octopus.action.number",
    "octopus.action.package.installationdirectorypath",
    "octopus.action.package.packageid",
    "octopus.action.package.packageversion",
    "octopus.action.package[].packageid",
    "octopus.action.package[].packageversion",
    "octopus.action.targetroles",
    "octopus.action[].isskipped",
    "octopus.action[].package.packageid",
    "octopus.action[].package.packageversion",
    "octopus.action[].package[].packageid",
    "octopus.action[].package[].packageversion",
    "octopus.deployment.changes",
    "octopus.deployment.changesmarkdown",
    "octopus.deployment.comments",
    "octopus.deployment.created",
    "octopus.deployment.createdby.displayname",
    "octopus.deployment.createdby.username",
    "octopus.deployment.customfields[]",
    "octopus.deployment.error",
    "octopus.deployment.errordetail",
    "octopus.deployment.excludedmachines",
    "octopus.deployment.id",
    "octopus.deployment.machines",
    "octopus.deployment.name",
    "octopus.deployment.previoussuccessful.id",
    "octopus.deployment.specificmachines",
    "octopus.deployment.status",
    "octopus.environment.id",
    "octopus.environment.machinesinrole[]",
    "octopus.environment.name",
    "octopus.environment.sortorder",
    "octopus.machine.hostname",
    "octopus.machine.id",
    "octopus.machine.name",
    "octopus.machine.roles",
    "octopus.project.id",
    "octopus.project.name",
    "octopus.project.slug",
    "octopus.release.channel.name",
    "octopus.release.created",
    "octopus.release.currentforenvironment.id",
    "octopus.release.currentforenvironment.number",
    "octopus.release.customfields[]",
    "octopus.release.id",
    "octopus.release.notes",
    "octopus.release.number",
    "octopus.release.previous.id",
    "octopus.release.previous.number",
    "octopus.release.previousforenvironment.id",
    "octopus.release.previousforenvironment.number",
    "octopus.step.name",
    "octopus.step.number",
    "octopus.task.id",
    "octopus.task.name",
    "octopus.task.queuetime",
    "octopus.task.queuetimeexpiry",
    "octopus.tentacle.agent.applicationdirectorypath",
    "octopus.tentacle.previousinstallation.originalinstalledpath",
    "octopus.tentacle.previousinstallation.packageversion",
];

/// The server defines a variable of this name, so that nobody can pretend to be another release: a
/// value of a project or set does not hold.
pub fn is_of_server(name: &str) -> bool {
    let mut bare = String::with_capacity(name.len());
    let mut inside = false;
    for c in fold(name).chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        bare.push(c);
    }
    OF_SERVER.contains(&bare.as_str())
}

/// What is known beside the plan. What there is not (no release runs in the environment yet) has no
/// variable, so that a template can ask for it.
fn facts(facts: &PlanFacts, all: &mut SystemVariables) {
    if facts.is_unknown() {
        return;
    }
    let of = |past: &Option<PastRelease>, field: fn(&PastRelease) -> &String| {
        past.as_ref().map(|past| field(past).clone())
    };
    let own = |text: &String| Some(text.clone());
    let known = [
        ("Octopus.Project.Id", own(&facts.project)),
        ("Octopus.Environment.Id", own(&facts.environment)),
        (
            "Octopus.Environment.SortOrder",
            Some(facts.environment_order.to_string()),
        ),
        ("Octopus.Release.Id", own(&facts.release)),
        ("Octopus.Release.Notes", own(&facts.release_notes)),
        ("Octopus.Release.Created", own(&facts.release_created)),
        ("Octopus.Deployment.Created", own(&facts.created)),
        (
            "Octopus.Deployment.CreatedBy.Username",
            own(&facts.created_by),
        ),
        (
            "Octopus.Deployment.CreatedBy.DisplayName",
            own(&facts.created_by),
        ),
        ("Octopus.Task.QueueTime", own(&facts.created)),
        (
            "Octopus.Release.Previous.Id",
            of(&facts.release_before, |past| &past.id),
        ),
        (
            "Octopus.Release.Previous.Number",
            of(&facts.release_before, |past| &past.version),
        ),
        (
            "Octopus.Release.CurrentForEnvironment.Id",
            of(&facts.current, |past| &past.id),
        ),
        (
            "Octopus.Release.CurrentForEnvironment.Number",
            of(&facts.current, |past| &past.version),
        ),
        (
            "Octopus.Release.PreviousForEnvironment.Id",
            of(&facts.previous, |past| &past.id),
        ),
        (
            "Octopus.Release.PreviousForEnvironment.Number",
            of(&facts.previous, |past| &past.version),
        ),
        (
            "Octopus.Deployment.PreviousSuccessful.Id",
            facts.succeeded.clone(),
        ),
        ("Octopus.Task.QueueTimeExpiry", facts.expires.clone()),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            put(all, name, value);
        }
    }
    for (name, targets) in [
        ("Octopus.Deployment.SpecificMachines", &facts.chosen),
        ("Octopus.Deployment.ExcludedMachines", &facts.excluded),
    ] {
        if !targets.is_empty() {
            put(all, name, targets.join(","));
        }
    }
    if !facts.changes.is_empty() {
        changes(&facts.changes, all);
    }
    if !facts.comment.is_empty() {
        put(all, "Octopus.Deployment.Comments", literal(&facts.comment));
    }
    for (owner, fields) in [
        ("Release", &facts.release_fields),
        ("Deployment", &facts.fields),
    ] {
        for (field, value) in fields {
            let name = format!("Octopus.{owner}.CustomFields[{field}]");
            put(all, name, literal(value));
        }
    }
}

/// What a deployment brings: as JSON, by whose names a template can loop over it, and as Markdown.
fn changes(changes: &[PlanChange], all: &mut SystemVariables) {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Change<'a> {
        version: &'a str,
        release_notes: &'a str,
    }
    let of_octopus = changes.iter().map(|change| Change {
        version: &change.version,
        release_notes: &change.notes,
    });
    // Texts alone can always be written.
    let list = serde_json::to_string(&of_octopus.collect::<Vec<_>>()).unwrap_or_default();
    put(all, "Octopus.Deployment.Changes", literal(&list));
    let told = changes
        .iter()
        .map(|change| format!("## {}\n\n{}\n", change.version, change.notes.trim()));
    let told = told.collect::<Vec<_>>().join("\n");
    put(all, "Octopus.Deployment.ChangesMarkdown", literal(&told));
}

/// As Octopus writes it.
fn truth(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

fn status(failed: bool) -> &'static str {
    if failed { "Failed" } else { "Success" }
}

fn packages(prefix: &str, action: &PlanAction, all: &mut SystemVariables) {
    if let Some(first) = action.packages.first() {
        let (id, version) = (first.id.as_str(), first.version.as_str());
        put(all, format!("{prefix}.Package.PackageId"), id);
        put(all, format!("{prefix}.Package.PackageVersion"), version);
    }
    for package in &action.packages {
        let (id, version) = (package.id.as_str(), package.version.as_str());
        put(all, format!("{prefix}.Package[{id}].PackageId"), id);
        put(
            all,
            format!("{prefix}.Package[{id}].PackageVersion"),
            version,
        );
    }
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
