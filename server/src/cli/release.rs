//! `mantle release`: create, list, show, block.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::answers::once;
use super::exit::{CliResult, Exit, Failure};
use super::output::{BAD, Output, ago, names};
use super::release_variables::{RefreshArgs, RevertArgs};
use super::{release_compare as compare, release_variables as variables};
use crate::api::body::{
    QueuedTask, Release, ReleaseBlockCreate, ReleaseCreate, ReleaseDetail, ReleaseEdit,
    ReleaseUnblockCreate, VariableSnapshotEntry,
};
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
    /// Give a release other notes; what it deploys stays as it is
    Edit {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
        /// What is new; a template
        #[arg(
            long,
            required_unless_present = "notes_file",
            conflicts_with = "notes_file"
        )]
        notes: Option<String>,
        /// A file that says what is new, or - for standard input
        #[arg(long, value_name = "FILE")]
        notes_file: Option<PathBuf>,
    },
    /// Keep a bad release from entering further phases
    Block {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
        /// Why; whoever is refused reads it
        #[arg(long)]
        reason: String,
    },
    /// Let a blocked release go on
    Unblock {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
        /// Why; 'release show' and the audit trail have it
        #[arg(long)]
        reason: String,
    },
    /// Give a release the variables that its project has now, showing the difference first
    RefreshVariables(RefreshArgs),
    /// Give a release variables back that it had
    RevertVariables(RevertArgs),
    /// Show how two releases differ: process, variables, packages and their files
    Diff {
        /// The project's name
        project: String,
        /// The first release's version
        from: String,
        /// The second release's version
        to: String,
    },
    /// Show how the project as it is now differs from a release
    Drift {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
    },
    /// Show what a release brings to an environment
    Changes {
        /// The project's name
        project: String,
        /// The release's version
        version: String,
        /// The environment that it would go to
        #[arg(short, long, value_name = "ENV")]
        environment: String,
    },
}

/// What to release.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The project's name
    project: String,
    /// Its version, or a mask such as 1.2.i for the next one of that line; by default the project
    /// says
    version: Option<String>,
    /// Its channel; by default the one whose rules its packages satisfy
    #[arg(long)]
    channel: Option<String>,
    /// A package's version, as ID:VERSION; by default the newest that the channel allows; may be
    /// given several times
    #[arg(long = "package", value_name = "ID:VERSION", value_parser = package)]
    packages: Vec<(String, String)>,
    /// The version of every package that --package does not name
    #[arg(long, value_name = "VERSION")]
    package_version: Option<String>,
    /// Let packages break the channel's rules
    #[arg(long)]
    ignore_channel_rules: bool,
    /// What is new; a template
    #[arg(long, default_value = "", conflicts_with = "notes_file")]
    notes: String,
    /// A file that says what is new, or - for standard input
    #[arg(long, value_name = "FILE")]
    notes_file: Option<PathBuf>,
    /// A field of its own, as NAME:VALUE, such as ticket:OPS-12; at most 10
    #[arg(long = "field", value_name = "NAME:VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// Only say what would be made
    #[arg(long)]
    dry_run: bool,
}

fn package(text: &str) -> Result<(String, String), String> {
    pair(text, "ID:VERSION, such as Acme.Web:1.2.3").and_then(|(id, version)| {
        if version.is_empty() {
            return Err(format!("'{text}' names no version"));
        }
        Ok((id, version))
    })
}

pub(super) fn field(text: &str) -> Result<(String, String), String> {
    pair(text, "NAME:VALUE, such as ticket:OPS-12")
}

fn pair(text: &str, form: &str) -> Result<(String, String), String> {
    match text.split_once([':', '=']) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not {form}")),
    }
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::Create(args) => create(args, client, out).await,
        Command::Show { project, version } => {
            let release = client.release(&project, &version).await?;
            warn(&release, out);
            out.object(&release, lines)
        }
        Command::List { project } => {
            let page = client.releases(&project).await?;
            let headers = ["version", "channel", "created", "by", "runs in", "blocked"];
            out.list(&page.items, &headers, row)
        }
        Command::Edit {
            project,
            version,
            notes,
            notes_file,
        } => {
            let notes = match &notes_file {
                None => notes.unwrap_or_default(),
                Some(path) => read_notes(path)?,
            };
            let release = client
                .release_edit(&project, &version, &ReleaseEdit { notes })
                .await?;
            warn(&release, out);
            out.object(&release, lines)
        }
        Command::Block {
            project,
            version,
            reason,
        } => {
            let body = ReleaseBlockCreate { reason };
            let release = client.release_block(&project, &version, &body).await?;
            out.object(&release, |release| {
                let Release {
                    project, version, ..
                } = &release.release;
                vec![format!("{project} {version} is blocked")]
            })
        }
        Command::Unblock {
            project,
            version,
            reason,
        } => {
            let body = ReleaseUnblockCreate { reason };
            let release = client.release_unblock(&project, &version, &body).await?;
            tell_queued(&release.queued, out);
            out.object(&release, |release| {
                let Release {
                    project, version, ..
                } = &release.release;
                vec![format!("{project} {version} may go on")]
            })
        }
        Command::RefreshVariables(args) => variables::refresh(args, client, out).await,
        Command::RevertVariables(args) => variables::revert(args, client, out).await,
        Command::Diff { project, from, to } => {
            compare::diff(&project, &from, &to, client, out).await
        }
        Command::Drift { project, version } => {
            compare::drift(&project, &version, client, out).await
        }
        Command::Changes {
            project,
            version,
            environment,
        } => compare::changes(&project, &version, &environment, client, out).await,
    }
}

/// Ids of packages that differ by case only are one package.
fn each_once(packages: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (id, version) in packages {
        if let Some((other, first)) = all
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(&id))
        {
            let message =
                format!("package {id} is given twice: {other}:{first} and {id}:{version}");
            return Err(Failure::new(Exit::Usage, message).with_help("give it once"));
        }
        all.insert(id, version);
    }
    Ok(all)
}

async fn create(args: CreateArgs, client: &Client, out: Output) -> CliResult {
    let notes = match &args.notes_file {
        None => args.notes,
        Some(path) => read_notes(path)?,
    };
    let request = ReleaseCreate {
        version: args.version,
        channel: args.channel,
        packages: each_once(args.packages)?,
        package_version: args.package_version,
        ignore_channel_rules: args.ignore_channel_rules,
        notes,
        fields: once(args.fields)?,
        dry_run: args.dry_run,
    };
    let created = client.release_create(&args.project, &request).await?;
    warn(&created, out);
    if request.dry_run {
        out.note("this is what would be made; nothing was");
        for task in &created.queued {
            out.note(&format!(
                "it would be deployed to {} by itself",
                task.environment
            ));
        }
    } else {
        tell_queued(&created.queued, out);
    }
    out.object(&created, |created| {
        let Release {
            project,
            version,
            channel,
            ..
        } = &created.release;
        let mut lines = vec![format!("{project} {version} ({channel})")];
        lines.extend(packages(created));
        lines
    })
}

/// Notes are read by people; a file beyond this is something else.
const MOST_NOTES_BYTES: u64 = 64 * 1024;

fn read_notes(path: &std::path::Path) -> Result<String, Failure> {
    let shown = path.display().to_string();
    let mut text = String::new();
    let read = if shown == "-" {
        let input = std::io::stdin().lock();
        input.take(MOST_NOTES_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MOST_NOTES_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|error| Failure {
        exit: Exit::Invalid,
        ..Failure::io(&format!("cannot read {shown}"), &error)
    })?;
    if text.len() as u64 > MOST_NOTES_BYTES {
        let message = format!("{shown} is larger than 64 KiB; notes are read by people");
        return Err(Failure::new(Exit::Invalid, message));
    }
    Ok(text)
}

fn warn(release: &ReleaseDetail, out: Output) {
    for warning in &release.warnings {
        out.warn(warning);
    }
}

/// What the release's lifecycle did with it.
fn tell_queued(queued: &[QueuedTask], out: Output) {
    for task in queued {
        let QueuedTask {
            number,
            environment,
        } = task;
        out.note(&format!(
            "{number} deploys it to {environment} by itself; 'mantle task wait {number}' watches it"
        ));
    }
}

fn row(release: &Release) -> Vec<String> {
    let blocked = release.blocked.as_ref().map(|block| block.reason.clone());
    vec![
        release.version.clone(),
        release.channel.clone(),
        ago(release.created_at),
        release.created_by.clone(),
        names(&release.environments),
        super::output::or_dash(blocked),
    ]
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
    if let Some(block) = &release.blocked {
        lines.push(format!(
            "{BAD}blocked{BAD:#}    {} by {}: {}",
            block.at, block.by, block.reason
        ));
    } else if let Some(unblock) = &release.unblocked {
        lines.push(format!(
            "unblocked  {} by {}: {} (it was blocked: {})",
            unblock.at, unblock.by, unblock.reason, unblock.was
        ));
    }
    let fields = detail.fields.iter();
    lines.extend(fields.map(|(name, value)| format!("{name}: {value}")));
    lines.extend(packages(detail));
    lines.push("steps".to_owned());
    let steps = detail.steps.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
    if detail.variable_history.len() > 1 {
        lines.push("variable snapshots".to_owned());
        let last = detail.variable_history.len();
        let entries = detail.variable_history.iter().enumerate();
        lines.extend(entries.map(|(index, entry)| history(entry, index + 1 == last)));
    }
    if !detail.notes.is_empty() {
        lines.push(String::new());
        lines.push(detail.notes.clone());
    }
    lines
}

fn history(entry: &VariableSnapshotEntry, current: bool) -> String {
    let digest = entry.digest.get(..12).unwrap_or_default();
    let sign = if current { '*' } else { ' ' };
    let VariableSnapshotEntry {
        number,
        at,
        by,
        reason,
        ..
    } = entry;
    let at = ago(*at);
    format!("{sign} {number}  {digest}  {at}  {by}  {reason}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_package_is_given_once_whatever_its_case() {
        let given = |ids: &[&str]| {
            let packages = ids.iter().map(|id| ((*id).to_owned(), "1".to_owned()));
            each_once(packages.collect())
        };
        assert_eq!(given(&["A", "b"]).unwrap().len(), 2);
        let said = given(&["A", "b", "a"]).unwrap_err().message;
        assert_eq!(said, "package a is given twice: A:1 and a:1");
    }
}
