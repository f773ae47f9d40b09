//! `mantle deploy` and `mantle promote`.

use std::time::Duration;

use clap::Args;

use super::answers::AnswerArgs;
use super::args::duration;
use super::exit::{CliResult, Exit};
use super::live::{Show, watch};
use super::output::{Output, clock, line_out, with_schema};
use crate::api::body::{DeploymentCreate, Task, TaskDetail, TaskState, WorkState};
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

/// What to deploy where.
#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    /// The project's name
    project: String,
    /// The release's version
    version: String,
    /// The environment to deploy to
    #[arg(short, long, value_name = "ENV")]
    environment: String,
    /// The plan that it must be, as 'mantle plan' printed its id: refused if that does not hold any
    /// more
    #[arg(long, value_name = "ID")]
    plan: Option<String>,
    /// Return as soon as it is queued
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    answers: AnswerArgs,
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
    #[command(flatten)]
    answers: AnswerArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Deploys.
pub(super) async fn deploy(args: DeployArgs, client: &Client, out: Output) -> CliResult {
    let request = DeploymentCreate {
        project: args.project,
        version: Some(args.version),
        from: None,
        environment: args.environment,
        plan: args.plan,
        variables: args.answers.read()?,
    };
    let task = client.deploy(&request).await?;
    follow(&task, args.detach, &args.wait, client, out).await
}

/// Promotes.
pub(super) async fn promote(args: PromoteArgs, client: &Client, out: Output) -> CliResult {
    let request = DeploymentCreate {
        project: args.project,
        version: args.version,
        from: Some(args.from),
        environment: args.environment,
        plan: None,
        variables: args.answers.read()?,
    };
    let task = client.deploy(&request).await?;
    follow(&task, args.detach, &args.wait, client, out).await
}

async fn follow(
    task: &Task,
    detach: bool,
    args: &WaitArgs,
    client: &Client,
    out: Output,
) -> CliResult {
    out.note(&format!(
        "{}  {} {} -> {}",
        task.number, task.project, task.version, task.environment
    ));
    if detach {
        let number = &task.number;
        out.note(&format!("'mantle task wait {number}' watches it"));
        return out.object(task, |task| vec![task.number.clone()]);
    }
    wait(task, args, client, out).await
}

/// Watches a task to its end and prints how it went.
pub(super) async fn wait(task: &Task, args: &WaitArgs, client: &Client, out: Output) -> CliResult {
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
    if watched.exit == Exit::TaskFailed {
        tell_failures(&watched.task, out);
    }
    Ok(watched.exit)
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
    let why = match (&task.state, task.message.is_empty()) {
        (TaskState::Succeeded, _) | (_, true) => String::new(),
        (_, false) => format!(": {}", task.message),
    };
    format!(
        "{} {} {} -> {} {}{took}{warnings}{why}",
        task.number,
        task.project,
        task.version,
        task.environment,
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
