//! Starts: once for each attempt (I1), one at a time (I2), under their locks (I9), and none that is
//! not in a journal (I14).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use tentacle::journal::Record;

use super::history::{History, StepStart};
use super::{Violation, states};

/// Clocks of steps tick in hundredths: what is closer than this happened at once.
const TICK_SECONDS: f64 = 0.02;

/// I1: by the steps themselves, and by the journals.
pub(super) fn started_once(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut starts: BTreeMap<&str, Vec<&StepStart>> = BTreeMap::new();
    for start in &history.starts {
        starts.entry(&start.attempt).or_default().push(start);
    }
    for (attempt, starts) in &starts {
        if starts.len() > 1 {
            let pids: Vec<_> = starts.iter().map(|start| start.pid).collect();
            found.push(Violation::new(
                "I1",
                format!(
                    "attempt {attempt} ({} {} on {}) was started {} times, by processes {pids:?}",
                    starts[0].task,
                    starts[0].action,
                    starts[0].target,
                    starts.len()
                ),
            ));
        }
    }
    // The journals speak of supervisors: one for each attempt, on one agent.
    let mut owners: BTreeMap<String, BTreeSet<(&str, String)>> = BTreeMap::new();
    for (agent, journal) in &history.agents {
        for record in journal.records() {
            if let Record::Spawned { attempt, process } = record {
                let one = (agent.as_str(), format!("{process:?}"));
                owners.entry(attempt.to_string()).or_default().insert(one);
            }
        }
    }
    for (attempt, owners) in owners {
        if owners.len() > 1 {
            found.push(Violation::new(
                "I1",
                format!("attempt {attempt} has several supervisors: {owners:?}"),
            ));
        }
    }
    found
}

/// I2: by the clock of the steps, and by the order of the server's events.
pub(super) fn one_at_a_time(history: &History) -> Vec<Violation> {
    let ends: HashMap<&str, f64> = history
        .ends
        .iter()
        .map(|end| (end.attempt.as_str(), end.at))
        .collect();
    let mut by_work: BTreeMap<(&str, &str, &str), Vec<&StepStart>> = BTreeMap::new();
    for start in &history.starts {
        let work = (
            start.task.as_str(),
            start.action.as_str(),
            start.target.as_str(),
        );
        by_work.entry(work).or_default().push(start);
    }
    let mut found = Vec::new();
    for ((task, action, target), mut starts) in by_work {
        starts.sort_by(|a, b| a.at.total_cmp(&b.at));
        for pair in starts.windows(2) {
            // The same attempt twice is another matter: I1.
            if pair[0].attempt != pair[1].attempt
                && let Some(end) = ends.get(pair[0].attempt.as_str())
                && pair[1].at + TICK_SECONDS < *end
            {
                found.push(Violation::new(
                    "I2",
                    format!(
                        "{task} {action} on {target}: attempt {} began at {} while {} ran until {end}",
                        pair[1].attempt, pair[1].at, pair[0].attempt
                    ),
                ));
            }
        }
    }
    for task in &history.tasks {
        let mut open: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for event in &task.events {
            let Some(number) = event.attempt else {
                continue;
            };
            let work = (event.action.as_str(), event.target.as_str());
            if states::is_over(&event.state) {
                if open.get(&work) == Some(&number) {
                    open.remove(&work);
                }
            } else if let Some(before) = open.insert(work, number)
                && before != number
            {
                found.push(Violation::new(
                    "I2",
                    format!(
                        "{}: attempt {number} of {} on {} was ordered before attempt {before} was over",
                        task.number, event.action, event.target
                    ),
                ));
            }
        }
    }
    found
}

/// I9: by the clock of the steps, many readers or one writer. A step without an end was killed, and
/// holds nothing for certain.
pub(super) fn locks_are_exclusive(history: &History) -> Vec<Violation> {
    let ends: HashMap<&str, f64> = history
        .ends
        .iter()
        .map(|end| (end.attempt.as_str(), end.at))
        .collect();
    let mut holders: BTreeMap<(&str, &str), Vec<Holding<'_>>> = BTreeMap::new();
    for start in &history.starts {
        let Some(until) = ends.get(start.attempt.as_str()) else {
            continue;
        };
        for lock in &start.locks {
            let place = (start.target.as_str(), lock.name.as_str());
            holders.entry(place).or_default().push(Holding {
                start,
                shared: lock.shared,
                until: *until,
            });
        }
    }
    let mut found = Vec::new();
    for ((target, lock), mut holders) in holders {
        holders.sort_by(|a, b| a.start.at.total_cmp(&b.start.at));
        // Of those before, the one that stays longest: of all, and of those that hold it alone.
        let (mut any, mut alone): (Option<&Holding<'_>>, Option<&Holding<'_>>) = (None, None);
        for second in &holders {
            let against = if second.shared { alone } else { any };
            if let Some(first) = against
                && second.start.at + TICK_SECONDS < first.until
                && first.start.attempt != second.start.attempt
            {
                found.push(Violation::new(
                    "I9",
                    format!(
                        "the lock {lock} of {target} was held by {first}, and by {second} from {}",
                        second.start.at
                    ),
                ));
            }
            any = any.filter(|one| one.until >= second.until).or(Some(second));
            if !second.shared {
                alone = alone
                    .filter(|one| one.until >= second.until)
                    .or(Some(second));
            }
        }
    }
    found
}

/// A script and the time until which it held a lock.
struct Holding<'a> {
    start: &'a StepStart,
    shared: bool,
    until: f64,
}

impl fmt::Display for Holding<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.shared { "shared" } else { "alone" };
        let (task, action) = (&self.start.task, &self.start.action);
        write!(out, "{task} {action} ({how}) until {}", self.until)
    }
}

/// I14.
pub(super) fn starts_are_journalled(history: &History) -> Vec<Violation> {
    let mut accepted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (agent, journal) in &history.agents {
        let attempts = journal.records().filter_map(|record| match record {
            Record::Accepted { attempt, .. } => Some(attempt.to_string()),
            Record::Began { .. }
            | Record::Spawned { .. }
            | Record::CancelRequested { .. }
            | Record::Finished { .. }
            | Record::Acknowledged { .. }
            | Record::Voided { .. }
            | Record::EpochSeen { .. } => None,
        });
        accepted.insert(agent, attempts.collect());
    }
    history
        .starts
        .iter()
        .filter(|start| {
            accepted
                .get(start.target.as_str())
                .is_none_or(|attempts| !attempts.contains(&start.attempt))
        })
        .map(|start| {
            Violation::new(
                "I14",
                format!(
                    "{} {} ran on {} as attempt {}, which the agent's journal does not know",
                    start.task, start.action, start.target, start.attempt
                ),
            )
        })
        .collect()
}
