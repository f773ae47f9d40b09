//! `mantle status`.

use clap::Args;

use super::exit::{CliResult, Exit};
use super::output::{Output, line_out, or_dash, table};
use crate::api::body::{OlderVariables, StatusBody, StatusCell, TaskState};
use crate::client::Client;

/// Of what to show where it runs.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this project
    project: Option<String>,
}

/// Does it.
pub(super) async fn run(args: StatusArgs, client: &Client, out: Output) -> CliResult {
    let status = client.status(args.project.as_deref()).await?;
    if out.is_json() {
        return out.object(&status, |_| Vec::new());
    }
    if status.projects.is_empty() {
        out.note("no project yet; 'mantle apply -f FILE' makes one");
        return Ok(Exit::Success);
    }
    line_out(&grid(&status))?;
    Ok(Exit::Success)
}

fn grid(status: &StatusBody) -> String {
    let mut headers = vec!["project", "latest"];
    headers.extend(status.environments.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = status
        .projects
        .iter()
        .map(|row| {
            let mut cells = vec![row.project.clone(), or_dash(row.latest_release.clone())];
            cells.extend(status.environments.iter().map(|environment| {
                let cell = row
                    .cells
                    .iter()
                    .find(|cell| cell.environment == *environment);
                cell.map_or_else(|| "-".to_owned(), text)
            }));
            cells
        })
        .collect();
    table(&headers, &rows)
}

fn text(cell: &StatusCell) -> String {
    let mut running = or_dash(cell.running.clone());
    if let Some(reason) = &cell.blocked {
        running = format!("{running} (blocked: {reason})");
    }
    if let Some(older) = &cell.older_variables {
        let OlderVariables { used, now } = older;
        running = format!("{running} (variables {used}, the release has {now})");
    }
    match cell.last_state {
        TaskState::Succeeded => running,
        TaskState::Running if cell.awaits_person => format!(
            "{running} ({} waits for a person: {})",
            cell.last_version, cell.last_task
        ),
        state => format!(
            "{running} ({} {}: {})",
            cell.last_version,
            state.as_str(),
            cell.last_task
        ),
    }
}
