//! `mantle retention`: what the rules of lifecycles and the server's own no longer keep.

use clap::{Args, Subcommand};

use super::exit::CliResult;
use super::output::{Output, size};
use crate::api::body::{RetentionItem, RetentionResult, RetentionRun};
use crate::client::Client;

/// What to do about what is no longer kept.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Remove what the rules no longer keep: releases and packages by lifecycle, and tasks, logs and
    /// audit entries by age and size; answers of deployments go with the last task that has them
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
    let done = if result.done { "went" } else { "would go" };
    let sum = sum(&result);
    let items: Vec<RetentionItem> = result
        .items
        .into_iter()
        .filter(|item| args.all || item.goes)
        .collect();
    out.note(&format!("{sum} {done}"));
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

/// How much goes of each kind, in words.
fn sum(result: &RetentionResult) -> String {
    let named = |kind: &str| {
        let goes = |item: &&RetentionItem| item.goes && item.kind == kind;
        result.items.iter().filter(goes).count() as u64
    };
    let mut parts = vec![
        count(named("release"), "release", "releases"),
        count(named("package"), "package", "packages"),
    ];
    for kind in result.counts.iter().filter(|kind| kind.goes > 0) {
        let (one, many) = match kind.kind.as_str() {
            "audit" => ("audit entry", "audit entries"),
            "log" => ("log", "logs"),
            "variables" => ("set of answers", "sets of answers"),
            _ => ("task", "tasks"),
        };
        parts.push(format!(
            "{} ({})",
            count(kind.goes, one, many),
            size(kind.size_bytes)
        ));
    }
    parts.join(", ")
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::RetentionCount;

    #[test]
    fn the_sum_names_each_kind_that_goes() {
        let mut result = RetentionResult::default();
        assert_eq!(sum(&result), "0 releases, 0 packages");
        for (kind, goes) in [("release", true), ("package", false), ("task", true)] {
            result.items.push(RetentionItem {
                kind: kind.to_owned(),
                name: "x".to_owned(),
                goes,
                why: String::new(),
            });
        }
        for (kind, goes) in [("task", 1), ("log", 0), ("variables", 2), ("audit", 70)] {
            result.counts.push(RetentionCount {
                kind: kind.to_owned(),
                goes,
                size_bytes: 2048,
            });
        }
        assert_eq!(
            sum(&result),
            "1 release, 0 packages, 1 task (2.0 KiB), 2 sets of answers (2.0 KiB), 70 audit entries \
             (2.0 KiB)"
        );
    }
}
