//! What is compared where it was seen: processes (I6, P0), packages (I7), secrets (I10), the audit
//! trail (I12) and resources (I13).

use std::collections::BTreeMap;

use super::history::{History, TaskHistory};
use super::{Violation, states};

/// I6. Abandoned work may live on: that is what the word means.
pub(super) fn nothing_lives_on(history: &History) -> Vec<Violation> {
    history
        .survivors
        .iter()
        .filter(|survivor| {
            let task = history
                .tasks
                .iter()
                .find(|task| task.number == survivor.task);
            !task.is_some_and(|task| may_live_on(history, task, &survivor.attempt))
        })
        .map(|survivor| {
            Violation::new(
                "I6",
                format!(
                    "{} is over, and process {} of its attempt {} lives",
                    survivor.task, survivor.pid, survivor.attempt
                ),
            )
        })
        .collect()
}

fn may_live_on(history: &History, task: &TaskHistory, attempt: &str) -> bool {
    let Some(start) = history.starts.iter().find(|start| start.attempt == attempt) else {
        return false;
    };
    task.actions.iter().any(|action| {
        action.action == start.action
            && action.target == start.target
            && (matches!(action.state.as_str(), "abandoned" | "unknown")
                || action.resolved.is_some())
    })
}

/// I7.
pub(super) fn packages_are_whole(history: &History) -> Vec<Violation> {
    history
        .packages
        .iter()
        .map(|seen| Violation::new("I7", format!("{}: {}", seen.path, seen.fault)))
        .collect()
}

/// I10.
pub(super) fn secrets_stay(history: &History) -> Vec<Violation> {
    history
        .canaries
        .iter()
        .map(|place| Violation::new("I10", format!("a secret stands in {place}")))
        .collect()
}

/// I12: the chain holds after every crash and never gets shorter, and a task has one row for each
/// of its changes.
pub(super) fn audit_is_whole(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut rows = 0;
    for check in &history.audits {
        if let Some(fault) = &check.fault {
            found.push(Violation::new("I12", format!("{}: {fault}", check.after)));
        }
        if check.rows < rows {
            found.push(Violation::new(
                "I12",
                format!(
                    "{}: {} rows, where there were {rows}",
                    check.after, check.rows
                ),
            ));
        }
        rows = rows.max(check.rows);
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in &history.audit {
        *counts.entry((&row.task, &row.action)).or_default() += 1;
    }
    let count = |task: &str, action: &str| counts.get(&(task, action)).copied().unwrap_or(0);
    for task in &history.tasks {
        let mut expect = |action: &str, times: usize| {
            let seen = count(&task.number, action);
            if seen != times {
                found.push(Violation::new(
                    "I12",
                    format!("{}: {seen} rows {action}, not {times}", task.number),
                ));
            }
        };
        expect("deployment.create", 1);
        let began = task.actions.iter().any(|action| action.state != "pending");
        if began {
            expect("deployment.begin", 1);
        }
        if began && states::is_over(&task.state) {
            expect("deployment.finish", 1);
        }
    }
    found
}

/// I13.
pub(super) fn resources_return(history: &History) -> Vec<Violation> {
    history
        .resources
        .iter()
        .filter(|resource| resource.after > resource.before + resource.slack)
        .map(|resource| {
            Violation::new(
                "I13",
                format!(
                    "{} held {} {} before and {} after, when only {} more are allowed",
                    resource.process,
                    resource.before,
                    resource.what,
                    resource.after,
                    resource.slack
                ),
            )
        })
        .collect()
}

/// P0.
pub(super) fn nobody_died(history: &History) -> Vec<Violation> {
    history
        .deaths
        .iter()
        .map(|death| Violation::new("P0", death.clone()))
        .collect()
}
