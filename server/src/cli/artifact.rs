//! `mantle artifact`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use mantle_shared::Digest;

use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, ago, size};
use super::whole;
use crate::api::body::{Artifact, ArtifactState};
use crate::client::Client;

/// What to do with the files that steps left behind.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the files that a task's steps left behind
    List {
        /// The task's number, such as T-12
        task: String,
    },
    /// Fetch one of them
    Get(GetArgs),
}

/// Which file, and where to.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The task's number, such as T-12
    task: String,
    /// The file's name, or its number in the list
    artifact: String,
    /// Of several files of this name, the one about this target
    #[arg(long)]
    target: Option<String>,
    /// Where to write it, - for standard output; by default its own name, in the current folder
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// The columns of a list.
const COLUMNS: [&str; 7] = ["no", "name", "size", "step", "target", "it", "when"];

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List { task } => {
            let page = client.artifacts(&task).await?;
            out.list(&page.items, &COLUMNS, row)
        }
        Command::Get(args) => get(&args, client, out).await,
    }
}

fn row(artifact: &Artifact) -> Vec<String> {
    vec![
        artifact.number.to_string(),
        artifact.name.clone(),
        size(artifact.size_bytes),
        format!("{}. {}", artifact.step, artifact.action),
        artifact.target.clone(),
        match (artifact.state, &artifact.note) {
            (ArtifactState::Waiting, _) => "lies on its agent".to_owned(),
            (ArtifactState::Stored, _) => "stored".to_owned(),
            (ArtifactState::Lost, None) => "lost".to_owned(),
            (ArtifactState::Lost, Some(why)) => format!("lost: {why}"),
        },
        ago(artifact.at),
    ]
}

async fn get(args: &GetArgs, client: &Client, out: Output) -> CliResult {
    let page = client.artifacts(&args.task).await?;
    let artifact = choose(args, &page.items)?;
    let own_name = PathBuf::from(&artifact.name);
    let to = args.to.as_deref().unwrap_or(&own_name);
    if to == Path::new("-") {
        let found = client
            .artifact(&args.task, artifact.number, &mut io::stdout().lock())
            .await?;
        verified(artifact, found)?;
        return Ok(Exit::Success);
    }
    whole::must_be_free(to, args.force)?;
    whole::write(to, async |file| {
        let found = client.artifact(&args.task, artifact.number, file).await?;
        verified(artifact, found)
    })
    .await?;
    out.object(artifact, |artifact| {
        vec![format!(
            "wrote {} ({}) to {}",
            artifact.name,
            size(artifact.size_bytes),
            to.display()
        )]
    })
}

/// The one file that was meant.
fn choose<'a>(args: &GetArgs, artifacts: &'a [Artifact]) -> Result<&'a Artifact, Failure> {
    let (task, wanted) = (&args.task, &args.artifact);
    let on_target = |artifact: &&Artifact| {
        let mut target = args.target.iter();
        target.all(|target| *target == artifact.target)
    };
    let named: Vec<&Artifact> = artifacts
        .iter()
        .filter(|artifact| artifact.name == *wanted)
        .filter(on_target)
        .collect();
    match named.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let what = format!("{task} has {} files of the name '{wanted}'", several.len());
            let reasons = several.iter().map(|one| {
                format!(
                    "{}: {}. {} on {}",
                    one.number, one.step, one.action, one.target
                )
            });
            return Err(Failure {
                reasons: reasons.collect(),
                ..Failure::new(Exit::Usage, what)
                    .with_help("name the one by its number, or with --target TARGET")
            });
        }
    }
    let number: Option<u64> = wanted.parse().ok();
    let by_number = artifacts
        .iter()
        .find(|artifact| number == Some(artifact.number))
        .filter(on_target);
    by_number.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{task} has no file '{wanted}'"))
            .with_help(format!("'mantle artifact list {task}' shows what there is"))
    })
}

fn verified(artifact: &Artifact, found: Digest) -> Result<(), Failure> {
    if found.to_string() == artifact.digest {
        return Ok(());
    }
    let what = format!(
        "what came of '{}' is not what the step left behind",
        artifact.name
    );
    Err(Failure::new(Exit::Internal, what)
        .with_help("run the command again; if it says the same, the server's store is damaged"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use jiff::Timestamp;

    use super::*;

    fn artifact(number: u64, name: &str, target: &str) -> Artifact {
        Artifact {
            number,
            name: name.to_owned(),
            size_bytes: 1,
            digest: Digest::of(b"x").to_string(),
            state: ArtifactState::Stored,
            note: None,
            step: 1,
            action: "test".to_owned(),
            target: target.to_owned(),
            executor: target.to_owned(),
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            stored_at: None,
        }
    }

    #[test]
    fn a_file_is_meant_by_name_by_number_or_by_name_and_target() {
        let all = [
            artifact(1, "report.xml", "web1"),
            artifact(2, "report.xml", "web2"),
            artifact(3, "out.log", "web1"),
        ];
        let choose = |wanted: &str, target: Option<&str>| {
            let args = GetArgs {
                task: "T-1".to_owned(),
                artifact: wanted.to_owned(),
                target: target.map(str::to_owned),
                to: None,
                force: false,
            };
            choose(&args, &all)
                .map(|artifact| artifact.number)
                .map_err(|failure| failure.exit)
        };
        assert_eq!(choose("out.log", None), Ok(3));
        assert_eq!(choose("2", None), Ok(2));
        assert_eq!(choose("report.xml", Some("web2")), Ok(2));
        assert_eq!(choose("report.xml", None), Err(Exit::Usage));
        assert_eq!(choose("out.log", Some("web2")), Err(Exit::NotFound));
        assert_eq!(choose("9", None), Err(Exit::NotFound));
    }
}
