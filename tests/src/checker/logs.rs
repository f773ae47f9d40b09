//! Logs: every line once and in order (I3).
//!
//! A step prints `attempt <id>` and then `line 1`, `line 2` and so on. How many lines it printed for
//! certain it notes itself; that it printed more and was killed before it could note it is no fault.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Violation;
use super::history::{History, Line, StepEnd, TaskHistory};

/// I3.
pub(super) fn lines_are_whole(history: &History) -> Vec<Violation> {
    let ends: HashMap<&str, &StepEnd> = history
        .ends
        .iter()
        .map(|end| (end.attempt.as_str(), end))
        .collect();
    let mut found = Vec::new();
    for task in &history.tasks {
        let mut logged = BTreeSet::new();
        for (what, lines) in by_attempt(task) {
            let attempt = named(&lines);
            let end = attempt.and_then(|attempt| ends.get(attempt));
            let least = end.map_or(0, |end| end.lines);
            if let Some(fault) = fault(&lines, least) {
                found.push(Violation::new(
                    "I3",
                    format!("{} {what}: {fault}", task.number),
                ));
            }
            logged.extend(attempt.map(str::to_owned));
        }
        found.extend(unlogged(history, task, &logged));
    }
    found
}

/// Steps that came to their end, and of which no line is stored.
fn unlogged(history: &History, task: &TaskHistory, logged: &BTreeSet<String>) -> Vec<Violation> {
    let ended: BTreeSet<&str> = history
        .ends
        .iter()
        .filter(|end| end.lines > 0)
        .map(|end| end.attempt.as_str())
        .collect();
    history
        .starts
        .iter()
        .filter(|start| {
            start.task == task.number
                && ended.contains(start.attempt.as_str())
                && !logged.contains(&start.attempt)
                // What is unknown to the server has no complete log by that very word.
                && !has_state(task, &start.action, &start.target, "unknown")
        })
        .map(|start| {
            Violation::new(
                "I3",
                format!(
                    "{} {} on {}: attempt {} printed lines and none is stored",
                    task.number, start.action, start.target, start.attempt
                ),
            )
        })
        .collect()
}

fn has_state(task: &TaskHistory, action: &str, target: &str, state: &str) -> bool {
    task.actions
        .iter()
        .any(|end| end.action == action && end.target == target && end.state == state)
}

fn by_attempt(task: &TaskHistory) -> BTreeMap<String, Vec<&Line>> {
    let mut all: BTreeMap<String, Vec<&Line>> = BTreeMap::new();
    for line in task.log.iter().filter(|line| line.attempt > 0) {
        let what = format!(
            "{} on {}, attempt {}",
            line.action, line.target, line.attempt
        );
        all.entry(what).or_default().push(line);
    }
    all
}

/// The attempt that the lines say they are of.
fn named<'a>(lines: &[&'a Line]) -> Option<&'a str> {
    lines
        .iter()
        .find_map(|line| line.text.strip_prefix("attempt "))
}

/// What is wrong with an attempt's lines, of which the first `least` must be there.
fn fault(lines: &[&Line], least: u64) -> Option<String> {
    if let Some(pair) = lines.windows(2).find(|pair| pair[0].seq >= pair[1].seq) {
        return Some(format!("line {} stands after {}", pair[1].seq, pair[0].seq));
    }
    let (mut expected, mut gap) = (1, false);
    for line in lines {
        if line.gap {
            gap = true;
            continue;
        }
        let Some(number) = line.text.strip_prefix("line ") else {
            continue;
        };
        let Ok(number) = number.trim_end().parse::<u64>() else {
            return Some(format!("'{}' was never printed", line.text));
        };
        if number < expected {
            return Some(format!("line {number} is there twice, or too late"));
        }
        if number > expected && !gap {
            return Some(format!("line {expected} is missing before {number}"));
        }
        (expected, gap) = (number + 1, false);
    }
    (expected <= least && !gap)
        .then(|| format!("line {expected} is missing, of {least} that were printed"))
}
