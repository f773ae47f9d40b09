//! `mantle release`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use super::exit::CliResult;
use super::output::{Output, ago, names};
use crate::api::body::{ReleaseCreate, ReleaseDetail};
use crate::client::Client;

/// What to do with releases.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a release: an immutable snapshot of process, variables and packages
    Create(CreateArgs),
    /// Show a release and what it pins
    Show {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
    },
    /// List a project's releases
    List {
        /// The project's name
        project: String,
    },
}

/// What to release.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The project's name
    project: String,
    /// Its version; by default the project says
    version: Option<String>,
    /// Its channel; by default the project's default one
    #[arg(long)]
    channel: Option<String>,
    /// A package's version, as ID:VERSION; by default the newest that the channel allows; may be
    /// given several times
    #[arg(long = "package", value_name = "ID:VERSION", value_parser = package)]
    packages: Vec<(String, String)>,
    /// What is new
    #[arg(long, default_value = "")]
    notes: String,
}

fn package(text: &str) -> Result<(String, String), String> {
    match text.split_once([':', '=']) {
        Some((id, version)) if !id.is_empty() && !version.is_empty() => {
            Ok((id.to_owned(), version.to_owned()))
        }
        _ => Err(format!(
            "'{text}' is not ID:VERSION, such as Acme.Web:1.2.3"
        )),
    }
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::Create(args) => {
            let request = ReleaseCreate {
                version: args.version,
                channel: args.channel,
                packages: args.packages.into_iter().collect::<BTreeMap<_, _>>(),
                notes: args.notes,
            };
            let created = client.release_create(&args.project, &request).await?;
            for warning in &created.warnings {
                out.warn(warning);
            }
            out.object(&created, |created| {
                let release = &created.release;
                let mut lines = vec![format!("{} {}", release.project, release.version)];
                lines.extend(packages(created));
                lines
            })
        }
        Command::Show { project, version } => {
            let release = client.release(&project, &version).await?;
            out.object(&release, lines)
        }
        Command::List { project } => {
            let page = client.releases(&project).await?;
            let headers = ["version", "channel", "created", "by", "runs in"];
            out.list(&page.items, &headers, |release| {
                vec![
                    release.version.clone(),
                    release.channel.clone(),
                    ago(release.created_at),
                    release.created_by.clone(),
                    names(&release.environments),
                ]
            })
        }
    }
}

fn packages(detail: &ReleaseDetail) -> Vec<String> {
    let pinned = detail.packages.iter();
    pinned
        .map(|package| {
            let digest = package.archive_digest.get(..12).unwrap_or_default();
            format!("  {} {}  {digest}", package.id, package.version)
        })
        .collect()
}

fn lines(detail: &ReleaseDetail) -> Vec<String> {
    let release = &detail.release;
    let mut lines = vec![
        format!("{} {}", release.project, release.version),
        format!("channel    {}", release.channel),
        format!(
            "created    {} by {}",
            release.created_at, release.created_by
        ),
        format!("runs in    {}", names(&release.environments)),
        format!("process    {}", detail.process_digest),
        format!("variables  {}", detail.variables_digest),
        format!("packages   {}", detail.packages_digest),
    ];
    lines.extend(packages(detail));
    lines.push("steps".to_owned());
    let steps = detail.steps.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
    if detail.variable_history.len() > 1 {
        lines.push("variable snapshots".to_owned());
        lines.extend(detail.variable_history.iter().map(|entry| {
            let digest = entry.digest.get(..12).unwrap_or_default();
            format!("  {digest}  {}  {}  {}", entry.at, entry.by, entry.reason)
        }));
    }
    if !detail.notes.is_empty() {
        lines.push(String::new());
        lines.push(detail.notes.clone());
    }
    lines
}
