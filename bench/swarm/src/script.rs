//! What a step does in place of running: prints so many lines, takes so long, and ends.
//!
//! Everything about an attempt follows from its id and its end, so that what was printed need be kept
//! nowhere: after any restart the same lines are sent again.

use std::time::Duration;

use mantle_shared::AttemptId;
use mantle_shared::protocol::{
    AttemptEnd, Level, Outcome, Record, RecordBody, RecordHasher, Stream,
};

/// The whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    /// How many lines a step prints.
    pub(crate) lines: u64,
    /// How long it takes.
    pub(crate) lasts: Duration,
    /// Every so many agents' steps fail.
    pub(crate) fail_every: Option<usize>,
}

impl Script {
    /// The end of an attempt of the agent with this number.
    pub(crate) fn end(
        &self,
        attempt: AttemptId,
        number: usize,
        (started_at_us, ended_at_us): (i64, i64),
    ) -> AttemptEnd {
        let fails = self
            .fail_every
            .is_some_and(|every| number.is_multiple_of(every));
        let mut hasher = RecordHasher::new();
        for seq in 0..self.lines {
            hasher.update(&record(attempt, started_at_us, seq));
        }
        AttemptEnd {
            outcome: if fails {
                Outcome::Failed
            } else {
                Outcome::Succeeded
            },
            exit_code: Some(i32::from(fails)),
            message: if fails {
                "exit code 1".to_owned()
            } else {
                String::new()
            },
            records: self.lines,
            log: hasher.digest(),
            started_at_us,
            ended_at_us,
        }
    }
}

/// The end of one that was stopped before it printed anything.
pub(crate) fn cancelled((started_at_us, ended_at_us): (i64, i64)) -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::Cancelled,
        exit_code: None,
        message: "it was asked to stop".to_owned(),
        records: 0,
        log: RecordHasher::new().digest(),
        started_at_us,
        ended_at_us,
    }
}

/// A line of an attempt.
pub(crate) fn record(attempt: AttemptId, started_at_us: i64, seq: u64) -> Record {
    Record {
        at_us: started_at_us,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: format!(
                "line {seq} of {attempt}: {:016x}",
                seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mantle_shared::uuid::Uuid;

    #[test]
    fn an_end_says_the_digest_of_the_lines_that_are_sent() {
        let attempt = AttemptId::from_uuid(Uuid::from_u128(7));
        let script = Script {
            lines: 3,
            lasts: Duration::ZERO,
            fail_every: Some(2),
        };
        let end = script.end(attempt, 4, (5, 6));
        let mut hasher = RecordHasher::new();
        for seq in 0..end.records {
            hasher.update(&record(attempt, end.started_at_us, seq));
        }
        assert_eq!((end.records, end.log), (3, hasher.digest()));
        assert_eq!(end.outcome, Outcome::Failed);
        assert_eq!(script.end(attempt, 5, (5, 6)).outcome, Outcome::Succeeded);
    }
}
