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
    if let Some(waits) = &status.full {
        out.note(&format!("whatever is not over {waits}"));
    }
    Ok(Exit::Success)
}

fn grid(status: &StatusBody) -> String {
    let mut headers = vec!["project", "latest"];
    headers.extend(status.environments.iter().map(String::as_str));
    let is_full = status.full.is_some();
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
                cell.map_or_else(|| "-".to_owned(), |cell| text(cell, is_full))
            }));
            cells
        })
        .collect();
    table(&headers, &rows)
}

fn text(cell: &StatusCell, is_full: bool) -> String {
    let mut running = or_dash(cell.running.clone());
    if let Some(reason) = &cell.blocked {
        running = format!("{running} (blocked: {reason})");
    }
    if let Some(older) = &cell.older_variables {
        let OlderVariables { used, now } = older;
        running = format!("{running} (variables {used}, the release has {now})");
    }
    let running_now = |awaits_person: bool| {
        if awaits_person {
            "waits for a person"
        } else if is_full {
            "running, the server's disk is full"
        } else {
            TaskState::Running.as_str()
        }
    };
    let mut tasks = Vec::new();
    if let Some(first) = &cell.under_way {
        let how = running_now(first.awaits_person);
        tasks.push(format!("{} {how}: {}", first.version, first.task));
    }
    let how = match cell.last_state {
        TaskState::Succeeded => None,
        TaskState::Running => Some(running_now(cell.awaits_person)),
        TaskState::Queued if is_full => Some("queued, the server's disk is full"),
        state => Some(state.as_str()),
    };
    tasks.extend(how.map(|how| format!("{} {how}: {}", cell.last_version, cell.last_task)));
    if tasks.is_empty() {
        return running;
    }
    format!("{running} ({})", tasks.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_waits_for_the_servers_disk_says_so() {
        let table = [
            (
                "running",
                "1.0 (1.2 running, the server's disk is full: T-5)",
            ),
            ("queued", "1.0 (1.2 queued, the server's disk is full: T-5)"),
            ("failed", "1.0 (1.2 failed: T-5)"),
        ];
        for (state, shown) in table {
            let cell = json!({
                "environment": "test", "running": "1.0", "last_version": "1.2",
                "last_task": "T-5", "at": "2026-11-23T10:00:00Z", "last_state": state,
            });
            let cell: StatusCell = serde_json::from_value(cell).unwrap();
            assert_eq!(text(&cell, true), shown);
        }
    }

    #[test]
    fn what_runs_is_shown_before_what_was_asked_for_after_it() {
        let waits = json!({"version": "1.1", "task": "T-4", "awaits_person": true});
        let runs = json!({"version": "1.1", "task": "T-4"});
        let table = [
            (json!({"last_state": "succeeded"}), "1.0"),
            (
                json!({"last_state": "running", "awaits_person": true}),
                "1.0 (1.2 waits for a person: T-5)",
            ),
            (json!({"last_state": "failed"}), "1.0 (1.2 failed: T-5)"),
            (
                json!({"last_state": "queued", "under_way": waits}),
                "1.0 (1.1 waits for a person: T-4; 1.2 queued: T-5)",
            ),
            (
                json!({"last_state": "cancelled", "under_way": runs}),
                "1.0 (1.1 running: T-4; 1.2 cancelled: T-5)",
            ),
        ];
        for (more, shown) in table {
            let mut cell = json!({
                "environment": "test", "running": "1.0", "last_version": "1.2",
                "last_task": "T-5", "at": "2026-11-23T10:00:00Z",
            });
            let more = more.as_object().unwrap().clone();
            cell.as_object_mut().unwrap().extend(more);
            let cell: StatusCell = serde_json::from_value(cell).unwrap();
            assert_eq!(text(&cell, false), shown);
        }
    }
}
