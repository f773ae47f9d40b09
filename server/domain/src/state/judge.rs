//! What an agent's word on an end is worth, beside what is known of the attempt already.
//!
//! What must hold: an end is always taken, so that no agent has to repeat it for ever; what it says
//! against the evidence is not believed; what is missing is named in its message.

use std::cmp::Ordering;

use mantle_shared::protocol::{AttemptEnd, Outcome};

/// What is known of an attempt beside its agent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// How many of its records are stored.
    pub stored: u64,
    /// The agent reported its process before.
    pub seen_running: bool,
}

/// The end as it is taken. The same word on the same evidence gives the same end.
pub fn judge(end: AttemptEnd, evidence: Evidence) -> AttemptEnd {
    let Evidence {
        stored,
        seen_running,
    } = evidence;
    let mut end = end;
    if end.outcome == Outcome::NotStarted && (stored > 0 || seen_running) {
        let proof = match (stored, seen_running) {
            (0, _) => "it had reported the running step".to_owned(),
            (1, _) => "a record of the step is stored".to_owned(),
            (stored, _) => format!("{stored} records of the step are stored"),
        };
        end.outcome = Outcome::Unknown;
        end.message = format!(
            "the agent says that nothing was started, but {proof}; what it did is not known{}",
            said(&end.message)
        );
        return end;
    }
    let missing = match stored.cmp(&end.records) {
        Ordering::Less => format!(
            "{} of its {} records were lost on the agent's disk",
            end.records - stored,
            end.records
        ),
        Ordering::Equal => return end,
        Ordering::Greater => format!(
            "the agent's disk kept {} of its {stored} records",
            end.records
        ),
    };
    let said = describe(&end);
    end.message = if said.is_empty() {
        missing
    } else {
        format!("{said} ({missing})")
    };
    end
}

/// What an end says, for people.
pub(super) fn describe(end: &AttemptEnd) -> String {
    match (end.message.is_empty(), end.exit_code) {
        (false, _) => end.message.clone(),
        (true, Some(code)) if end.outcome != Outcome::Succeeded => format!("exit code {code}"),
        (true, _) => String::new(),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" (it said: {message})")
    }
}
