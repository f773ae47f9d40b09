//! `mantle release diff`, `drift` and `changes`.

use super::exit::{CliResult, Exit};
use super::output::{BAD, DIM, GOOD, Output, WARN, line_out};
use crate::api::body::{
    FileChange, OlderVariables, PackageDiff, ReleaseChanges, ReleaseDiff, ReleaseDrift,
    RunningRelease,
};
use crate::client::Client;

/// How two releases differ.
pub(super) async fn diff(
    project: &str,
    from: &str,
    to: &str,
    client: &Client,
    out: Output,
) -> CliResult {
    let found = client.release_diff(project, from, to).await?;
    if found.same && !out.is_json() {
        out.note(&format!("{project} {from} and {to} hold the same"));
        return Ok(Exit::Success);
    }
    out.object(&found, |found: &ReleaseDiff| {
        sections(&found.process, &found.variables, &found.packages)
    })
}

/// How a project differs from a release.
pub(super) async fn drift(project: &str, version: &str, client: &Client, out: Output) -> CliResult {
    let found = client.release_drift(project, version).await?;
    for why in &found.unknown {
        out.warn(&format!("a new release could not be made now: {why}"));
    }
    if !found.drifted && found.unknown.is_empty() && !out.is_json() {
        out.note(&format!(
            "a new release would hold the same as {project} {version}"
        ));
        return Ok(Exit::Success);
    }
    out.object(&found, |found: &ReleaseDrift| {
        sections(&found.process, &found.variables, &found.packages)
    })
}

/// What a release brings to an environment.
pub(super) async fn changes(
    project: &str,
    version: &str,
    environment: &str,
    client: &Client,
    out: Output,
) -> CliResult {
    let found = client
        .release_changes(project, version, environment)
        .await?;
    if out.is_json() {
        return out.object(&found, |_| Vec::new());
    }
    for line in change_lines(&found) {
        line_out(&line)?;
    }
    Ok(Exit::Success)
}

fn change_lines(found: &ReleaseChanges) -> Vec<String> {
    let ReleaseChanges {
        project,
        version,
        environment,
        ..
    } = found;
    let from = found.running.as_deref().unwrap_or_default();
    let mut lines = vec![match (found.direction.as_str(), &found.of_other_channel) {
        ("first", None) => format!("{project} {version} would be the first in {environment}"),
        ("first", Some(_)) => format!(
            "{project} {version} would be the first of channel {} in {environment}",
            found.channel
        ),
        ("same", None) => format!("{project} {version} is what runs in {environment}"),
        ("same", Some(_)) => format!(
            "{project} {version} is the last of channel {} in {environment}",
            found.channel
        ),
        ("back", _) => format!("{environment} goes back from {from} to {version}"),
        _ => format!("{environment} goes from {from} to {version}"),
    }];
    if let Some(other) = &found.of_other_channel {
        let RunningRelease { version, channel } = other;
        lines.push(format!("what runs there is {version} of channel {channel}"));
    }
    if let Some(OlderVariables { used, now }) = &found.older_variables {
        lines.push(format!(
            "{from} was deployed there with its variable snapshot {used}; it has snapshot {now} now"
        ));
    }
    for release in &found.releases {
        lines.push(format!(
            "{}  {DIM}{} by {}{DIM:#}",
            release.version, release.created_at, release.created_by
        ));
        lines.extend(release.notes.lines().map(|line| format!("    {line}")));
        let fields = release.fields.iter();
        lines.extend(fields.map(|(name, value)| format!("    {name}: {value}")));
    }
    lines.extend(package_section(&found.packages));
    lines
}

fn sections(process: &[String], variables: &[String], packages: &[PackageDiff]) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, changes) in [("process", process), ("variables", variables)] {
        if !changes.is_empty() {
            lines.push(title.to_owned());
            lines.extend(changes.iter().map(|line| format!("  {}", styled(line))));
        }
    }
    lines.extend(package_section(packages));
    lines
}

/// Packages that differ, with their files.
pub(super) fn package_section(packages: &[PackageDiff]) -> Vec<String> {
    let mut lines = Vec::new();
    if !packages.is_empty() {
        lines.push("packages".to_owned());
    }
    for package in packages {
        let id = &package.id;
        lines.push(match (&package.from, &package.to) {
            (Some(from), Some(to)) if from == to => {
                format!("  {}", styled(&format!("~ {id} {from}: other bytes")))
            }
            (Some(from), Some(to)) => format!("  {}", styled(&format!("~ {id}: {from} -> {to}"))),
            (None, Some(to)) => format!("  {}", styled(&format!("+ {id} {to}"))),
            (Some(from), None) => format!("  {}", styled(&format!("- {id} {from}"))),
            (None, None) => format!("  {id}"),
        });
        lines.extend(package.files.iter().map(file));
        if package.more_files > 0 {
            lines.push(format!("      and {} more files", package.more_files));
        }
    }
    lines
}

fn file(file: &FileChange) -> String {
    let sign = match file.change.as_str() {
        "added" => '+',
        "removed" => '-',
        _ => '~',
    };
    format!("      {}", styled(&format!("{sign} {}", file.path)))
}

/// A line of a difference in its colour.
pub(super) fn styled(line: &str) -> String {
    let style = match line.as_bytes().first() {
        Some(b'+') => GOOD,
        Some(b'-') => BAD,
        Some(b'~') => WARN,
        _ => DIM,
    };
    format!("{style}{line}{style:#}")
}
