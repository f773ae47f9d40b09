//! Every deployment ends (I4), and how it ended is what journals and steps say (I5).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mantle_shared::protocol::{AttemptEnd, Outcome};
use tentacle::journal::Record;

use super::Violation;
use super::history::{ActionEnd, AgentHistory, Expected, History, TaskHistory};

/// Whether this is a last word, for a task or for an action.
pub(super) fn is_over(state: &str) -> bool {
    // A word that is not known is no end: the run that meets it is to be looked at.
    matches!(
        state,
        "succeeded"
            | "failed"
            | "cancelled"
            | "timed-out"
            | "skipped"
            | "not-started"
            | "interrupted"
            | "unknown"
            | "abandoned"
    )
}

/// I4: all tasks are over, and end as they would have without faults.
pub(super) fn all_end(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for task in &history.tasks {
        let name = format!("{} ({})", task.number, task.project);
        if !is_over(&task.state) {
            found.push(Violation::new(
                "I4",
                format!("{name} is still {}", task.state),
            ));
            continue;
        }
        let expected = match task.expected {
            Expected::Succeeds => "succeeded",
            Expected::Fails => "failed",
        };
        if task.state != expected && task.excuses.is_empty() {
            found.push(Violation::new(
                "I4",
                format!(
                    "{name} {} where it should have {expected}, and nothing but kills, stops and cuts came in between: {}",
                    task.state, task.message
                ),
            ));
        }
        if let Some(first) = task
            .first_verdict
            .as_ref()
            .filter(|first| **first != task.state)
        {
            found.push(Violation::new(
                "I4",
                format!("{name} was over as {first}, and is {} now", task.state),
            ));
        }
        if task.state == "cancelled" && !task.cancelled {
            found.push(Violation::new("I4", format!("nobody cancelled {name}")));
        }
    }
    found
}

/// I5: no success without exit code 0 in the journal and in the step's own note, and the same word
/// on both sides.
pub(super) fn ends_are_told_truly(history: &History) -> Vec<Violation> {
    let journals = Journals::read(history);
    let mut found = Vec::new();
    for task in &history.tasks {
        for action in &task.actions {
            if let Some(fault) = journals.fault(task, action) {
                found.push(Violation::new(
                    "I5",
                    format!(
                        "{} {} on {} is called {}: {fault}",
                        task.number, action.action, action.target, action.state
                    ),
                ));
            }
        }
        if let Some(fault) = verdict_fault(task) {
            found.push(Violation::new("I5", format!("{} {fault}", task.number)));
        }
    }
    found
}

/// The task's verdict follows from its actions'.
fn verdict_fault(task: &TaskHistory) -> Option<String> {
    let bad: Vec<_> = task
        .actions
        .iter()
        .filter(|action| {
            !matches!(action.state.as_str(), "succeeded" | "skipped" | "pending")
                && is_over(&action.state)
                && action.resolved.as_deref() != Some("succeeded")
        })
        .collect();
    let open = task.actions.iter().find(|action| {
        !is_over(&action.state) && action.state != "pending" && is_over(&task.state)
    });
    if let Some(open) = open {
        return Some(format!(
            "is over, and {} on {} is {}",
            open.action, open.target, open.state
        ));
    }
    (task.state == "succeeded" && !bad.is_empty()).then(|| format!("succeeded with {bad:?}"))
}

/// What agents and steps say of each attempt.
struct Journals<'a> {
    /// The end by the journal, of each attempt that a step named.
    ends: HashMap<String, &'a AttemptEnd>,
    /// The code that the step noted.
    codes: HashMap<&'a str, i32>,
    /// The attempts of an action about a target, in the order of their starts.
    attempts: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a str>>,
    /// Agents whose journal was read.
    agents: BTreeSet<&'a str>,
}

impl<'a> Journals<'a> {
    fn read(history: &'a History) -> Self {
        let mut ends = HashMap::new();
        for record in history.agents.values().flat_map(AgentHistory::records) {
            if let Record::Finished { attempt, end } = record {
                ends.insert(attempt.to_string(), end);
            }
        }
        let mut attempts: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for start in &history.starts {
            let work = (
                start.task.as_str(),
                start.action.as_str(),
                start.target.as_str(),
            );
            let known = attempts.entry(work).or_default();
            if !known.contains(&start.attempt.as_str()) {
                known.push(&start.attempt);
            }
        }
        Self {
            ends,
            codes: history
                .ends
                .iter()
                .map(|end| (end.attempt.as_str(), end.code))
                .collect(),
            attempts,
            agents: history.agents.keys().map(String::as_str).collect(),
        }
    }

    /// What contradicts the server's word on an action. Only scripts note what they do, so an
    /// action without a start is judged if it claims one that must have noted itself.
    fn fault(&self, task: &TaskHistory, action: &ActionEnd) -> Option<String> {
        let work = (
            task.number.as_str(),
            action.action.as_str(),
            action.target.as_str(),
        );
        let started = self.attempts.get(&work).map_or(&[][..], Vec::as_slice);
        if !self.agents.contains(action.target.as_str()) {
            return None;
        }
        if let Some(word) = &action.resolved {
            return Self::resolution_fault(action, word);
        }
        let last = started.last().copied();
        let end = last.and_then(|attempt| self.ends.get(attempt).copied());
        let code = last.and_then(|attempt| self.codes.get(attempt).copied());
        match action.state.as_str() {
            "succeeded" => Self::success_fault(action, last, end, code),
            "failed" => match (end, action.exit_code) {
                (Some(end), Some(told)) if end.exit_code != Some(told) => Some(format!(
                    "with exit code {told}, the journal has {:?}",
                    end.exit_code
                )),
                (Some(end), _) if end.outcome == Outcome::Succeeded => {
                    Some("the journal has a success".to_owned())
                }
                _ => None,
            },
            "skipped" | "pending" if !started.is_empty() => {
                Some(format!("it was started as {started:?}"))
            }
            // The last attempt is the one that did not run, so that one less can have.
            "not-started" if started.len() as u64 >= u64::from(action.attempts) => {
                Some(format!("it was started as {started:?}"))
            }
            "cancelled" => match end {
                Some(end) if end.outcome == Outcome::Succeeded => {
                    Some("the journal has a success".to_owned())
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What a person said is what counts, unless it came after the verdict.
    fn resolution_fault(action: &ActionEnd, word: &str) -> Option<String> {
        let holds =
            matches!(action.state.as_str(), "unknown" | "abandoned") || action.state == word;
        (!holds).then(|| format!("a person said {word}"))
    }

    fn success_fault(
        action: &ActionEnd,
        last: Option<&str>,
        end: Option<&AttemptEnd>,
        code: Option<i32>,
    ) -> Option<String> {
        // Built-in actions note nothing.
        let last = last?;
        let Some(end) = end else {
            return Some(format!("no journal has an end of attempt {last}"));
        };
        if end.outcome != Outcome::Succeeded {
            return Some(format!(
                "the journal has {:?} ({})",
                end.outcome, end.message
            ));
        }
        if action.exit_code.is_some_and(|code| code != 0) {
            return Some(format!("with exit code {:?}", action.exit_code));
        }
        match code {
            Some(0) => None,
            Some(code) => Some(format!("the step itself noted exit code {code}")),
            None => Some(format!("the step of attempt {last} never noted its end")),
        }
    }
}
