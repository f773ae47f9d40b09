//! When a deployment may start: not before one time, not any more from another.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::explain::Refusal;

/// How far ahead something can be scheduled. What is planned for later than that is forgotten by
/// whoever planned it, and the release is old by then.
pub const AHEAD_MOST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long ago a start may have been: the person's clock is not the server's, and 'now' takes a moment
/// to get there. As far apart as Kerberos lets clocks be (RFC 4120).
const LATE_MOST: SignedDuration = SignedDuration::from_mins(5);

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Not before this.
    pub at: Option<Timestamp>,
    /// Not any more from then on.
    pub expires: Option<Timestamp>,
}

/// Can it be meant? A start that is just over means at once, since clocks are a little off; what is longer
/// ago is a slip, and a deployment at once is what least was meant.
pub fn check(window: Window, now: Timestamp) -> Result<(), Refusal> {
    let refuse = |detail: String| Err(Refusal::BadSchedule { detail });
    let Window { at, expires } = window;
    if let Some(at) = at
        && now.duration_since(at) > LATE_MOST
    {
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ");
        return refuse(format!(
            "it is scheduled for {at}, which is over: it is {now} now"
        ));
    }
    for (what, time) in [("it is scheduled for", at), ("it expires at", expires)] {
        if let Some(time) = time
            && time.duration_since(now) > AHEAD_MOST
        {
            return refuse(format!("{what} {time}, which is more than 30 days ahead"));
        }
    }
    match (at, expires) {
        (_, Some(expires)) if expires <= now => {
            refuse(format!("it expires at {expires}, which is over"))
        }
        (Some(at), Some(expires)) if expires <= at => refuse(format!(
            "it expires at {expires}, before it may start at {at}"
        )),
        (_, _) => Ok(()),
    }
}

/// Why a task that expired did not run.
pub fn expired(at: Timestamp) -> String {
    format!("it was to start before {at} and its turn had not come by then; nothing was run")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_window_lies_ahead_and_within_thirty_days() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let table = [
            (None, None, None),
            (time("2026-11-26T22:00:00Z"), None, None),
            (time("2026-11-26T11:59:00Z"), None, None),
            (time("2026-11-26T11:55:00Z"), None, None),
            (
                time("2026-11-26T11:54:59Z"),
                None,
                Some("for 2026-11-26T11:54:59Z, which is over: it is 2026-11-26T12:00:00Z now"),
            ),
            (time("2020-01-01T00:00:00Z"), None, Some("which is over")),
            (
                time("2020-01-01T00:00:00Z"),
                time("2026-11-26T22:00:00Z"),
                Some("which is over"),
            ),
            (time("2026-12-26T12:00:00Z"), None, None),
            (time("2026-12-26T12:00:01Z"), None, Some("30 days")),
            (None, time("2026-12-27T12:00:00Z"), Some("30 days")),
            (None, time("2026-11-26T12:00:00Z"), Some("is over")),
            (
                time("2026-11-26T22:00:00Z"),
                time("2026-11-26T22:00:00Z"),
                Some("before it may start"),
            ),
            (
                time("2026-11-26T22:00:00Z"),
                time("2026-11-26T23:00:00Z"),
                None,
            ),
        ];
        for (at, expires, refused) in table {
            let answer = check(Window { at, expires }, now);
            match (refused, answer) {
                (None, answer) => assert_eq!(answer, Ok(()), "{at:?} {expires:?}"),
                (Some(part), answer) => {
                    let said = answer.unwrap_err().message();
                    assert!(said.contains(part), "{said}");
                }
            }
        }
    }
}
