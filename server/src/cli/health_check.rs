//! `mantle health-check`, and `mantle target check`.

use clap::{Args, Subcommand};

use super::deploy::{WaitArgs, wait};
use super::exit::{CliResult, Exit};
use super::live::harmless;
use super::output::{Output, ago, or_dash};
use crate::api::body::{CheckResult, CheckStatus, HealthCheck, HealthCheckRun};
use crate::client::Client;

/// What to do with health checks.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the health checks
    List,
    /// Show a health check, and what it found last on each target
    Show {
        /// The health check's name
        name: String,
    },
}

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The targets; by default all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Targets with this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only by this health check; may be given several times
    #[arg(long = "check", value_name = "CHECK")]
    checks: Vec<String>,
    /// Return as soon as it is queued
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.health_checks().await?;
            let headers = ["health check", "about", "platforms", "every", "found"];
            out.list(&page.items, &headers, |check| {
                vec![
                    check.name.clone(),
                    about(check),
                    check.platforms.join(", "),
                    or_dash(check.every.clone()),
                    or_dash(Some(tally(check)).filter(|text| !text.is_empty())),
                ]
            })
        }
        Command::Show { name } => {
            let check = client.health_check(&name).await?;
            out.object(&check, lines)
        }
    }
}

/// Runs checks and watches them, one after the other. The exit code is that of the first that did not
/// succeed.
pub(super) async fn check(args: CheckArgs, client: &Client, out: Output) -> CliResult {
    let request = HealthCheckRun {
        checks: args.checks,
        targets: args.names,
        tags: args.tags,
    };
    let page = client.health_check_run(&request).await?;
    for task in &page.items {
        out.note(&format!("{}  {}", task.number, task.what_and_where()));
    }
    if args.detach {
        return out.list(&page.items, &["task", "what"], |task| {
            vec![task.number.clone(), task.what()]
        });
    }
    let mut exit = Exit::Success;
    for task in &page.items {
        let one = wait(task, &args.wait, client, out).await?;
        if exit == Exit::Success {
            exit = one;
        }
    }
    Ok(exit)
}

/// What a check found, in a line.
pub(super) fn line(of: &str, result: &CheckResult) -> String {
    let why = match result.message.as_str() {
        "" => String::new(),
        message => format!(": {}", harmless(message)),
    };
    format!(
        "{of} {} ({}, by {}){why}",
        word(result.status),
        ago(result.since),
        result.task
    )
}

fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Healthy => "healthy",
        CheckStatus::HealthyWithWarnings => "healthy, with warnings",
        CheckStatus::Unhealthy => "unhealthy",
        CheckStatus::Unknown => "unknown",
    }
}

/// `2 healthy, 1 unhealthy`.
fn tally(check: &HealthCheck) -> String {
    let all = [
        CheckStatus::Healthy,
        CheckStatus::HealthyWithWarnings,
        CheckStatus::Unhealthy,
        CheckStatus::Unknown,
    ];
    let counts = all.into_iter().filter_map(|status| {
        let found = check.found.iter().filter(|one| one.result.status == status);
        let count = found.count();
        (count > 0).then(|| format!("{count} {}", word(status)))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn about(check: &HealthCheck) -> String {
    let tags = (!check.tags.is_empty()).then(|| format!("tag {}", check.tags.join(" or ")));
    let places =
        (!check.environments.is_empty()).then(|| format!("in {}", check.environments.join(" or ")));
    let parts: Vec<String> = tags.into_iter().chain(places).collect();
    match parts.as_slice() {
        [] => "all targets".to_owned(),
        parts => parts.join(", "),
    }
}

fn lines(check: &HealthCheck) -> Vec<String> {
    let mut lines = vec![check.name.clone()];
    if !check.description.is_empty() {
        lines.push(check.description.clone());
    }
    lines.push(format!("about         {}", about(check)));
    lines.push(format!("platforms     {}", check.platforms.join(", ")));
    lines.push(match &check.every {
        Some(every) => format!(
            "every         {every}, last {}",
            or_dash(check.last_queued_at.map(ago))
        ),
        None => "every         only by hand".to_owned(),
    });
    lines.push(format!("timeout       {}", check.timeout));
    if check.maintenance == "skip" {
        lines.push("maintenance   targets in maintenance are left out".to_owned());
    }
    for found in &check.found {
        lines.push(format!("  {}", line(&found.target, &found.result)));
    }
    lines
}
