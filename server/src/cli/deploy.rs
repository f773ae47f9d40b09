//! `mantle deploy` and `mantle promote`.

use std::time::Duration;

use clap::Args;
use mantle_domain::queue::Turn;

use super::answers::{AboutArgs, AnswerArgs};
use super::args::duration;
use super::ask;
use super::choices::ChoiceArgs;
use super::exit::{CliResult, Exit, Failure};
use super::live::{Show, harmless, watch};
use super::output::{Output, clock, line_out, with_schema};
use super::schedule::ScheduleArgs;
use crate::api::body::{
    DeploymentCreate, Rollback, Task, TaskDetail, TaskState, TaskWarning, WorkState,
};
use crate::client::Client;

/// How to wait for a task.
#[derive(Debug, Clone, Args)]
pub(super) struct WaitArgs {
    /// Stop waiting after this long; the task goes on (exit code 8)
    #[arg(long, value_parser = duration, default_value = "4h")]
    timeout: Duration,
    /// Show progress without the log lines
    #[arg(long)]
    no_logs: bool,
}

/// Which release goes where; or which deployment is repeated, whose they are.
#[derive(Debug, Args)]
pub(super) struct WhatArgs {
    /// The project's name
    #[arg(required_unless_present = "failed_only_of")]
    project: Option<String>,
    /// The release's version
    #[arg(required_unless_present = "failed_only_of")]
    version: Option<String>,
    /// The environment to deploy to
    #[arg(
        short,
        long,
        value_name = "ENV",
        required_unless_present = "failed_only_of"
    )]
    environment: Option<String>,
    /// Only the targets that did not succeed in this deployment; project, version, environment, and of the
    /// same release choices and answers, are its own where they are not given
    #[arg(long, value_name = "TASK", conflicts_with = "targets")]
    failed_only_of: Option<String>,
}

impl WhatArgs {
    /// A request for it.
    pub(super) async fn request(
        self,
        choices: ChoiceArgs,
        client: &Client,
    ) -> Result<DeploymentCreate, Failure> {
        let (mut project, mut version) = (self.project, self.version);
        let mut environment = self.environment;
        if let Some(task) = &self.failed_only_of {
            let before = client.task(task).await?.task;
            project.get_or_insert(before.project);
            version.get_or_insert(before.version);
            environment.get_or_insert(before.environment);
        }
        Ok(DeploymentCreate {
            project: project.unwrap_or_default(),
            version,
            environment: environment.unwrap_or_default(),
            choices: choices.choices(self.failed_only_of),
            ..DeploymentCreate::default()
        })
    }
}

/// What to deploy where.
#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The plan that it must be, as 'mantle plan' printed its id: refused if that does not hold any
    /// more
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Return as soon as it is queued
    #[arg(long)]
    detach: bool,
    /// Ask nothing, also on a terminal: what is not answered takes its default
    #[arg(long)]
    defaults: bool,
    #[command(flatten)]
    choices: ChoiceArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    answers: AnswerArgs,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Where to go back.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct RollbackArgs {
    /// The project's name
    project: String,
    /// The environment to go back in
    #[arg(short, long, value_name = "ENV")]
    environment: String,
    /// The release to go back to; by default the last that succeeded there before the one that was
    /// last deployed
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// With the variables that the release has now, in place of those that it was deployed with
    #[arg(long)]
    current_variables: bool,
    /// Show what it would do, changing nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, show inputs of several lines whole, such as scripts
    #[arg(long, requires = "dry_run")]
    full: bool,
    /// The plan that it must be, as --dry-run printed its id: refused if that does not hold any more
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    plan: Option<String>,
    /// Return as soon as it is queued
    #[arg(long)]
    detach: bool,
    /// Ask nothing, also on a terminal: what is not answered takes its default
    #[arg(long)]
    defaults: bool,
    #[command(flatten)]
    choices: ChoiceArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    answers: AnswerArgs,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// What to promote from where to where.
#[derive(Debug, Args)]
pub(super) struct PromoteArgs {
    /// The project's name
    project: String,
    /// The release's version; by default the one that runs in --from
    version: Option<String>,
    /// The environment that the release was proven in
    #[arg(long, value_name = "ENV")]
    from: String,
    /// The environment to deploy to
    #[arg(short, long, value_name = "ENV")]
    environment: String,
    /// Return as soon as it is queued
    #[arg(long)]
    detach: bool,
    /// Ask nothing, also on a terminal: what is not answered takes its default
    #[arg(long)]
    defaults: bool,
    #[command(flatten)]
    choices: ChoiceArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    answers: AnswerArgs,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Deploys.
pub(super) async fn deploy(args: DeployArgs, client: &Client, out: Output) -> CliResult {
    let (comment, fields) = args.about.read()?;
    // Who schedules something does not sit and wait for it.
    let detach = args.detach || args.schedule.at.is_some();
    let mut request = DeploymentCreate {
        plan: args.plan,
        variables: args.answers.read()?,
        comment,
        fields,
        ..args.what.request(args.choices, client).await?
    };
    args.schedule.put(&mut request)?;
    let task = order(request, args.defaults, client, out).await?;
    follow(&task, detach, &args.wait, client, out).await
}

/// Promotes.
pub(super) async fn promote(args: PromoteArgs, client: &Client, out: Output) -> CliResult {
    let (comment, fields) = args.about.read()?;
    let detach = args.detach || args.schedule.at.is_some();
    let mut request = DeploymentCreate {
        project: args.project,
        version: args.version,
        from: Some(args.from),
        environment: args.environment,
        variables: args.answers.read()?,
        choices: args.choices.choices(None),
        comment,
        fields,
        ..DeploymentCreate::default()
    };
    args.schedule.put(&mut request)?;
    let task = order(request, args.defaults, client, out).await?;
    follow(&task, detach, &args.wait, client, out).await
}

/// Goes back.
pub(super) async fn rollback(args: RollbackArgs, client: &Client, out: Output) -> CliResult {
    let (comment, fields) = args.about.read()?;
    let detach = args.detach || args.schedule.at.is_some();
    let mut request = DeploymentCreate {
        project: args.project,
        version: args.to,
        environment: args.environment,
        plan: args.plan,
        variables: args.answers.read()?,
        choices: args.choices.choices(None),
        rollback: Some(Rollback {
            current_variables: args.current_variables,
        }),
        comment,
        fields,
        ..DeploymentCreate::default()
    };
    args.schedule.put(&mut request)?;
    if args.dry_run {
        return super::plan::show(&client.plan(&request).await?, args.full, out);
    }
    let task = order(request, args.defaults, client, out).await?;
    follow(&task, detach, &args.wait, client, out).await
}

/// Orders a deployment; on a terminal what it asks for and was not answered is asked first.
async fn order(
    mut request: DeploymentCreate,
    defaults: bool,
    client: &Client,
    out: Output,
) -> Result<Task, Failure> {
    if !defaults && ask::possible(out) {
        let asked = client.prompts(&request).await?;
        request.variables = ask::unanswered(&asked.items, request.variables, out)?;
    }
    Ok(client.deploy(&request).await?)
}

async fn follow(
    task: &Task,
    detach: bool,
    args: &WaitArgs,
    client: &Client,
    out: Output,
) -> CliResult {
    out.note(&format!("{}  {}", task.number, task.what_and_where()));
    if detach && let Some(why) = queued_behind(task) {
        out.note(&why);
    }
    if detach {
        let number = &task.number;
        out.note(&format!("'mantle task wait {number}' watches it"));
        return out.object(task, |task| vec![task.number.clone()]);
    }
    wait(task, args, client, out).await
}

/// Watches a task to its end and prints how it went.
pub(super) async fn wait(task: &Task, args: &WaitArgs, client: &Client, out: Output) -> CliResult {
    if let Some(why) = queued_behind(task) {
        out.note(&why);
    }
    let show = if args.no_logs {
        Show::Progress
    } else {
        Show::All
    };
    let watched = watch(client, task, args.timeout, show, out).await?;
    if out.is_json() {
        line_out(&with_schema(&watched.task)?.to_string())?;
    } else {
        line_out(&summary(&watched.task))?;
    }
    for line in highlights(&watched.task) {
        out.note(&line);
    }
    for line in warned(&watched.task) {
        out.note(&line);
    }
    if watched.exit == Exit::TaskFailed {
        tell_failures(&watched.task, out);
    }
    Ok(watched.exit)
}

/// Why a task is still queued, if it is not because its turn comes next.
pub(super) fn queued_behind(task: &Task) -> Option<String> {
    if task.state != TaskState::Queued {
        return None;
    }
    if let Some(behind) = &task.behind {
        return Some(format!(
            "queued behind {behind}, which deploys {} into {}; 'mantle task show {behind}' shows how that stands",
            task.project, task.environment
        ));
    }
    let waiting = task.waiting.as_ref().filter(|_| task.position.is_some())?;
    let number = &task.number;
    (*waiting != Turn::Now.sentence())
        .then(|| format!("{number} {waiting}; 'mantle task queue' shows what waits"))
}

/// What in a task is worth a look, a line each, and how to see it.
pub(super) fn warned(detail: &TaskDetail) -> Vec<String> {
    let number = &detail.task.number;
    let mut lines: Vec<String> = detail
        .warned
        .iter()
        .map(|warning| {
            let place = match (warning.target.as_str(), warning.action.as_str()) {
                ("", _) => String::new(),
                (target, action) => format!("{target} › {action}: "),
            };
            format!("  warning: {place}{}", harmless(&warning.text))
        })
        .collect();
    let about = detail.warned.iter().find(|one| !one.target.is_empty());
    if let Some(one) = about {
        lines.push(format!(
            "  'mantle task logs {number} --target {}' shows what is around it",
            one.target
        ));
    } else if detail.task.warnings && lines.is_empty() {
        lines.push(format!("  'mantle task logs {number}' shows the warnings"));
    }
    lines
}

/// What the steps of a task highlighted, a line each.
pub(super) fn highlights(detail: &TaskDetail) -> Vec<String> {
    let line = |one: &TaskWarning| {
        format!(
            "  ★ {} › {}: {}",
            one.target,
            one.action,
            harmless(&one.text)
        )
    };
    detail.highlights.iter().map(line).collect()
}

/// How a task stands, in a sentence.
pub(super) fn summary(detail: &TaskDetail) -> String {
    let task = &detail.task;
    let took = match (task.started_at, task.ended_at) {
        (Some(began), Some(ended)) => {
            format!(" in {}", clock(ended.as_second() - began.as_second()))
        }
        _ => String::new(),
    };
    let warnings = if task.warnings { ", with warnings" } else { "" };
    let behind = match (task.state, &task.behind, &task.waiting) {
        (TaskState::Queued, Some(behind), _) => format!(
            " behind {behind}, which deploys {} into {}",
            task.project, task.environment
        ),
        (TaskState::Queued | TaskState::Running, None, Some(waiting)) => format!(": it {waiting}"),
        (_, _, _) => String::new(),
    };
    let why = match (&task.state, task.message.is_empty()) {
        (_, true) => String::new(),
        (_, false) => format!(": {}", task.message),
    };
    format!(
        "{} {} {}{behind}{took}{warnings}{why}",
        task.number,
        task.what_and_where(),
        task.state.as_str()
    )
}

fn tell_failures(detail: &TaskDetail, out: Output) {
    for step in &detail.steps {
        for action in step.targets.iter().flat_map(|target| {
            let name = &target.target;
            target.actions.iter().map(move |action| (name, action))
        }) {
            let (target, action) = action;
            let fine = matches!(
                action.state,
                WorkState::Succeeded
                    | WorkState::Skipped
                    | WorkState::Pending
                    | WorkState::Waiting
                    | WorkState::Running
            );
            if !fine {
                out.note(&format!(
                    "  {target} › {} {}: {}",
                    action.name,
                    action.state.as_str(),
                    action.message
                ));
            }
        }
    }
    let number = &detail.task.number;
    out.note(&format!(
        "'mantle task logs {number}' shows everything it printed"
    ));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn detail(task: &serde_json::Value, warned: &serde_json::Value) -> TaskDetail {
        let mut value = serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000001", "number": "T-17", "kind": "deployment",
            "project": "shop", "version": "1.2", "environment": "test", "state": "queued",
            "created_at": "2026-11-23T10:00:00Z", "created_by": "ada",
            "steps": [], "last_event": 0, "warned": warned,
        });
        let more = task.as_object().unwrap().clone();
        value.as_object_mut().unwrap().extend(more);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_queued_task_says_what_it_waits_for() {
        let task = serde_json::json!({"behind": "T-16"});
        let detail = detail(&task, &serde_json::json!([]));
        let expected = "T-17 shop 1.2 -> test queued behind T-16, which deploys shop into test";
        assert_eq!(summary(&detail), expected);
        assert!(queued_behind(&detail.task).unwrap().contains("behind T-16"));
    }

    #[test]
    fn warnings_name_their_target_and_action_and_where_to_look() {
        let task = serde_json::json!({"state": "succeeded", "warnings": true});
        let all = serde_json::json!([
            {"text": "web09 is expected but has not joined and is left out"},
            {"target": "web01", "action": "Install", "text": "3 lines could not be kept"},
        ]);
        assert_eq!(
            warned(&detail(&task, &all)),
            [
                "  warning: web09 is expected but has not joined and is left out",
                "  warning: web01 › Install: 3 lines could not be kept",
                "  'mantle task logs T-17 --target web01' shows what is around it",
            ]
        );
        assert_eq!(
            warned(&detail(&task, &serde_json::json!([]))),
            ["  'mantle task logs T-17' shows the warnings"]
        );
    }
}
