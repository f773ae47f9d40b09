//! `mantle retention`: what the rules of lifecycles no longer keep.

use clap::{Args, Subcommand};

use super::exit::CliResult;
use super::output::Output;
use crate::api::body::{RetentionItem, RetentionRun};
use crate::client::Client;

/// What to do about what is no longer kept.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Remove releases and packages that the rules of lifecycles no longer keep
    Run(RunArgs),
}

/// How.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Only say what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Also list what stays, and why
    #[arg(long)]
    all: bool,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    let Command::Run(args) = command;
    let body = RetentionRun {
        dry_run: args.dry_run,
    };
    let result = client.retention(&body).await?;
    if out.is_json() {
        return out.object(&result, |_| Vec::new());
    }
    let goes = result.items.iter().filter(|item| item.goes).count();
    let done = if result.done { "went" } else { "would go" };
    let items: Vec<RetentionItem> = result
        .items
        .into_iter()
        .filter(|item| args.all || item.goes)
        .collect();
    let what = if goes == 1 {
        "release or package"
    } else {
        "releases and packages"
    };
    out.note(&format!("{goes} {what} {done}"));
    if items.is_empty() {
        return Ok(super::exit::Exit::Success);
    }
    out.list(&items, &["kind", "name", "fate", "why"], |item| {
        let fate = if item.goes { done } else { "stays" };
        vec![
            item.kind.clone(),
            item.name.clone(),
            fate.to_owned(),
            item.why.clone(),
        ]
    })
}
