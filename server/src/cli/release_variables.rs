//! `mantle release refresh-variables` and `revert-variables`: the difference first, then the
//! change, which is refused if it would not be the one that was shown.

use std::io::IsTerminal as _;

use clap::Args;

use super::exit::{CliResult, Exit, Failure};
use super::login::confirm;
use super::output::{Output, line_err, line_out};
use super::release_compare::styled;
use crate::api::body::{
    RefreshVariables, RevertVariables, VariableSnapshotEntry, VariablesChanged,
};
use crate::client::Client;

/// Which variables of which release.
#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// The project's name
    project: String,
    /// The release's version
    version: String,
    /// Only these variables; may be given several times
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
}

/// Which variables back to which release.
#[derive(Debug, Args)]
pub(super) struct RevertArgs {
    /// The project's name
    project: String,
    /// The release's version
    version: String,
    /// The number of the snapshot, as 'mantle release show' lists them; by default the one before
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    how: HowArgs,
}

/// How the change is made.
#[derive(Debug, Args)]
struct HowArgs {
    /// Why; it stands in the release's history
    #[arg(long)]
    reason: Option<String>,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before changing anything
    #[arg(short, long)]
    yes: bool,
}

/// Gives a release the variables of its project.
pub(super) async fn refresh(args: RefreshArgs, client: &Client, out: Output) -> CliResult {
    let RefreshArgs {
        project,
        version,
        only,
        how,
    } = args;
    let mut request = RefreshVariables {
        only,
        dry_run: true,
        ..RefreshVariables::default()
    };
    let preview = client.release_refresh(&project, &version, &request).await?;
    let Some(reason) = agreed(&preview, &how, out)? else {
        return finish(&preview, out);
    };
    request.dry_run = false;
    request.reason = reason;
    request.expect = Some(preview.digest);
    let changed = client.release_refresh(&project, &version, &request).await?;
    finish(&changed, out)
}

/// Gives a release variables back that it had.
pub(super) async fn revert(args: RevertArgs, client: &Client, out: Output) -> CliResult {
    let RevertArgs {
        project,
        version,
        to,
        how,
    } = args;
    let mut request = RevertVariables {
        to,
        dry_run: true,
        ..RevertVariables::default()
    };
    let preview = client.release_revert(&project, &version, &request).await?;
    let Some(reason) = agreed(&preview, &how, out)? else {
        return finish(&preview, out);
    };
    request.dry_run = false;
    request.reason = reason;
    request.expect = Some(preview.digest);
    let changed = client.release_revert(&project, &version, &request).await?;
    finish(&changed, out)
}

/// The reason, once the difference was shown and agreed to; `None` if nothing is to be done.
fn agreed(
    preview: &VariablesChanged,
    how: &HowArgs,
    out: Output,
) -> Result<Option<String>, Failure> {
    if how.dry_run || preview.changes.is_empty() {
        return Ok(None);
    }
    let Some(reason) = how.reason.clone() else {
        return Err(Failure::new(
            Exit::Usage,
            "a change of a release's variables needs a reason",
        )
        .with_help("say why with --reason; --dry-run shows the difference without one"));
    };
    if how.yes {
        return Ok(Some(reason));
    }
    if !(std::io::stdin().is_terminal() && out.live) {
        return Err(
            Failure::new(Exit::Usage, "nobody is there to agree to the difference")
                .with_help("look at it with --dry-run, then say --yes"),
        );
    }
    if let Some(way) = way_back(preview) {
        line_err(&way);
    }
    for line in &preview.changes {
        line_err(&styled(line));
    }
    if confirm("give the release these variables?")? {
        Ok(Some(reason))
    } else {
        Err(Failure::new(Exit::Cancelled, "nothing was changed"))
    }
}

fn finish(result: &VariablesChanged, out: Output) -> CliResult {
    for warning in &result.warnings {
        out.warn(warning);
    }
    if out.is_json() {
        return out.object(result, |_| Vec::new());
    }
    for line in &result.changes {
        line_out(&styled(line))?;
    }
    out.note(&summary(result));
    Ok(Exit::Success)
}

fn summary(result: &VariablesChanged) -> String {
    let now = match way_back(result) {
        Some(way) => format!(
            "{way}; the release has it as snapshot {} now",
            result.number
        ),
        None => format!(
            "the release has its variable snapshot {} now",
            result.number
        ),
    };
    match (result.changes.is_empty(), result.changed, way_back(result)) {
        (true, ..) => "nothing to change".to_owned(),
        (false, true, _) => {
            format!("{now}; deployments that were queued before keep theirs")
        }
        (false, false, Some(way)) => format!("{way}: nothing was changed"),
        (false, false, None) => "nothing was changed".to_owned(),
    }
}

/// From which snapshot to which one, and who made each.
fn way_back(result: &VariablesChanged) -> Option<String> {
    let named = |entry: &VariableSnapshotEntry| {
        let VariableSnapshotEntry {
            number, by, reason, ..
        } = entry;
        format!("snapshot {number} ({by}: {reason})")
    };
    let (from, to) = (result.back_from.as_ref()?, result.back_to.as_ref()?);
    Some(format!("back from {} to {}", named(from), named(to)))
}
