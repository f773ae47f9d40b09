//! The variables that the server itself defines, under Octopus's names (reference section 1.4).

use super::literal;
use crate::plan::{PastRelease, Plan, PlanAction, PlanFacts, PlanStep, PlanTarget};

/// What system variables are made of.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The deployment's plan.
    pub plan: &'a Plan,
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
    /// Something of the deployment has failed.
    pub failed: bool,
}

/// The system variables, by name and value.
pub fn system_variables(around: &Surroundings<'_>) -> Vec<(String, String)> {
    let plan = around.plan;
    let mut all: Vec<(String, String)> = [
        ("Octopus.Release.Number", plan.release.clone()),
        ("Octopus.Release.Channel.Name", plan.channel.clone()),
        ("Octopus.Environment.Name", plan.environment.clone()),
        ("Octopus.Project.Name", plan.project.clone()),
        ("Octopus.Project.Slug", plan.project.clone()),
        ("Octopus.Deployment.Id", plan.task.to_string()),
        (
            "Octopus.Deployment.Name",
            format!(
                "Deploy {} {} to {}",
                plan.project, plan.release, plan.environment
            ),
        ),
        (
            "Octopus.Deployment.Machines",
            names(plan.targets.iter().map(|target| target.name.as_str())),
        ),
        (
            "Octopus.Deployment.Status",
            status(around.failed).to_owned(),
        ),
        ("Octopus.Task.Id", around.task_number.to_owned()),
        (
            "Octopus.Task.Name",
            format!("Deploy {} {}", plan.project, plan.release),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if around.failed {
        // Truthy when something failed and absent otherwise, as the idiom
        // `#{unless Octopus.Deployment.Error}` needs it.
        all.push((
            "Octopus.Deployment.Error".to_owned(),
            "a step has failed".to_owned(),
        ));
    }
    facts(&plan.facts, &mut all);
    environment(plan, &mut all);
    for step in &plan.steps {
        for action in &step.actions {
            packages(
                &format!("Octopus.Action[{}]", action.name),
                action,
                &mut all,
            );
        }
    }
    if let Some(step) = around.step {
        all.push(("Octopus.Step.Name".to_owned(), step.name.clone()));
        all.push(("Octopus.Step.Number".to_owned(), step.number.to_string()));
    }
    if let (Some(step), Some(action)) = (around.step, around.action) {
        let number = step
            .actions
            .iter()
            .position(|other| other.name == action.name);
        let number = number.map_or(1, |index| index + 1);
        all.push(("Octopus.Action.Name".to_owned(), action.name.clone()));
        all.push((
            "Octopus.Action.Number".to_owned(),
            format!("{}.{number}", step.number),
        ));
        if let Some(tag) = around.step_tag {
            all.push(("Octopus.Action.TargetRoles".to_owned(), tag.to_owned()));
        }
        packages("Octopus.Action", action, &mut all);
    }
    if let Some(target) = around.subject {
        all.push(("Octopus.Machine.Id".to_owned(), target.id.to_string()));
        all.push(("Octopus.Machine.Name".to_owned(), target.name.clone()));
        all.push(("Octopus.Machine.Roles".to_owned(), target.tags.join(",")));
        if !target.host_name.is_empty() {
            let name = "Octopus.Machine.Hostname".to_owned();
            all.push((name, target.host_name.clone()));
        }
    }
    all
}

/// The names that the server defines, in lower case; those in brackets stand for any.
const OF_SERVER: [&str; 50] = [
    "octopus.action.name",
    "octopus.action.number",
    "octopus.action.package.packageid",
    "octopus.action.package.packageversion",
    "octopus.action.package[].packageid",
    "octopus.action.package[].packageversion",
    "octopus.action.targetroles",
    "octopus.action[].package.packageid",
    "octopus.action[].package.packageversion",
    "octopus.action[].package[].packageid",
    "octopus.action[].package[].packageversion",
    "octopus.deployment.comments",
    "octopus.deployment.created",
    "octopus.deployment.createdby.displayname",
    "octopus.deployment.createdby.username",
    "octopus.deployment.customfields[]",
    "octopus.deployment.error",
    "octopus.deployment.id",
    "octopus.deployment.machines",
    "octopus.deployment.name",
    "octopus.deployment.previoussuccessful.id",
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
];

/// The server defines a variable of this name, so that nobody can pretend to be another release: a
/// value of a project or set does not hold.
pub fn is_of_server(name: &str) -> bool {
    let mut bare = String::with_capacity(name.len());
    let mut inside = false;
    for c in name.to_lowercase().chars() {
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
fn facts(facts: &PlanFacts, all: &mut Vec<(String, String)>) {
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
    ];
    let known = known.into_iter();
    all.extend(known.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if !facts.comment.is_empty() {
        let name = "Octopus.Deployment.Comments".to_owned();
        all.push((name, literal(&facts.comment)));
    }
    for (owner, fields) in [
        ("Release", &facts.release_fields),
        ("Deployment", &facts.fields),
    ] {
        let named = |name: &str| format!("Octopus.{owner}.CustomFields[{name}]");
        let fields = fields.iter();
        all.extend(fields.map(|(name, value)| (named(name), literal(value))));
    }
}

fn status(failed: bool) -> &'static str {
    if failed { "Failed" } else { "Success" }
}

fn environment(plan: &Plan, all: &mut Vec<(String, String)>) {
    let mut tags: Vec<&str> = plan
        .targets
        .iter()
        .flat_map(|target| target.tags.iter().map(String::as_str))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    for tag in tags {
        let members = plan
            .targets
            .iter()
            .filter(|target| target.tags.iter().any(|own| own == tag));
        all.push((
            format!("Octopus.Environment.MachinesInRole[{tag}]"),
            names(members.map(|target| target.name.as_str())),
        ));
    }
}

fn packages(prefix: &str, action: &PlanAction, all: &mut Vec<(String, String)>) {
    if let Some(first) = action.packages.first() {
        all.push((format!("{prefix}.Package.PackageId"), first.id.clone()));
        all.push((
            format!("{prefix}.Package.PackageVersion"),
            first.version.clone(),
        ));
    }
    for package in &action.packages {
        let indexed = format!("{prefix}.Package[{}]", package.id);
        all.push((format!("{indexed}.PackageId"), package.id.clone()));
        all.push((format!("{indexed}.PackageVersion"), package.version.clone()));
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
