//! `mantle plan`.

use clap::Args;

use super::exit::CliResult;
use super::output::{DIM, Output, names};
use crate::api::body::{DeploymentCreate, PlanBody, PlanStep};
use crate::client::Client;

/// What to plan.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The project's name
    project: String,
    /// The release's version
    version: String,
    /// The environment that it would be deployed to
    #[arg(short, long, value_name = "ENV")]
    environment: String,
}

/// Does it.
pub async fn run(args: PlanArgs, client: &Client, out: Output) -> CliResult {
    let request = DeploymentCreate {
        project: args.project,
        version: Some(args.version),
        from: None,
        environment: args.environment,
    };
    let plan = client.plan(&request).await?;
    for warning in &plan.warnings {
        out.warn(warning);
    }
    out.object(&plan, lines)
}

fn lines(plan: &PlanBody) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} ({}) -> {} · {} targets",
        plan.project,
        plan.version,
        plan.channel,
        plan.environment,
        plan.targets.len()
    )];
    for target in &plan.targets {
        lines.push(format!(
            "  {}  {}  {}",
            target.name,
            target.platform,
            names(&target.tags)
        ));
    }
    for step in &plan.steps {
        lines.extend(step_lines(step));
    }
    lines
}

fn step_lines(step: &PlanStep) -> Vec<String> {
    if let Some(why) = &step.skipped {
        return vec![format!("{DIM}{}. {}  skipped: {why}{DIM:#}", step.number, step.name)];
    }
    let how = if step.rolling {
        format!("rolling, {} at once", step.parallel)
    } else {
        format!("{} at once", step.parallel)
    };
    let mut lines = vec![format!(
        "{}. {}  {how}: {}",
        step.number,
        step.name,
        names(&step.targets)
    )];
    for action in &step.actions {
        let packages = match action.packages.as_slice() {
            [] => String::new(),
            packages => format!("  {}", packages.join(", ")),
        };
        lines.push(format!("   {} ({}){packages}", action.name, action.uses));
        lines.extend(action.on.iter().map(|on| format!("     {on}")));
    }
    lines
}
