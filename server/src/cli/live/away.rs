//! Agents that are away while a watched task runs. What they were told to run has no events of its own
//! until they are back, so that the task is asked now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use mantle_domain::explain::listed;
use tokio::time::Instant;

use crate::api::body::{TaskDetail, UnresolvedAttempt, WorkState};
use crate::client::Client;

/// Between two looks, longer than an agent takes that only starts again.
const LOOK: Duration = Duration::from_secs(10);
/// What a look may take.
const ANSWER: Duration = Duration::from_secs(2);

/// What was said of agents that are away.
#[derive(Debug)]
pub(super) struct Away {
    said: BTreeSet<(String, String)>,
    next: Instant,
}

impl Away {
    /// Nothing was said.
    pub(super) fn new() -> Self {
        Self {
            said: BTreeSet::new(),
            next: Instant::now() + LOOK,
        }
    }

    /// Returns when the task is to be looked at. Cancel safe.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Looks, and gives what is news. A server that does not answer is asked again: that it is away is said
    /// by whoever follows its events.
    pub(super) async fn look(&mut self, client: &Client, number: &str) -> Option<String> {
        let asked = tokio::time::timeout(ANSWER, client.task(number)).await;
        self.next = Instant::now() + LOOK;
        let Ok(Ok(detail)) = asked else {
            return None;
        };
        self.take(&detail)
    }

    fn take(&mut self, detail: &TaskDetail) -> Option<String> {
        let away: BTreeSet<(String, String)> = detail
            .unresolved
            .iter()
            .filter(|one| one.state == WorkState::Running)
            .map(
                |UnresolvedAttempt {
                     executor, action, ..
                 }| (executor.clone(), action.clone()),
            )
            .collect();
        let before = std::mem::replace(&mut self.said, away.clone());
        if away == before {
            return None;
        }
        let missing: Vec<&(String, String)> = away.difference(&before).collect();
        if missing.is_empty() {
            let left: Vec<String> = away.iter().map(what).collect();
            return Some(match &left[..] {
                [] => "no agent is away any more that has work".to_owned(),
                left => format!("still not connected: {}", listed(left)),
            });
        }
        let missing: Vec<String> = missing.into_iter().map(what).collect();
        let number = &detail.task.number;
        Some(format!(
            "not connected: {}; what was begun there goes on, and is told when the agent is back; \
             if it is gone for good: mantle task show {number}",
            listed(&missing)
        ))
    }
}

impl Default for Away {
    fn default() -> Self {
        Self::new()
    }
}

fn what((executor, action): &(String, String)) -> String {
    format!("{executor} ('{action}')")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn detail(away: &[(&str, &str, &str)]) -> TaskDetail {
        let unresolved: Vec<_> = away
            .iter()
            .map(|(action, on, state)| {
                json!({
                    "attempt": "00000000-0000-0000-0000-000000000002", "action": action,
                    "target": on, "executor": on, "state": state,
                })
            })
            .collect();
        let value = json!({
            "id": "00000000-0000-0000-0000-000000000001", "number": "T-17", "kind": "deployment",
            "project": "shop", "version": "1.2", "environment": "test", "state": "running",
            "created_at": "2026-11-23T10:00:00Z", "created_by": "ada",
            "steps": [], "last_event": 1, "unresolved": unresolved,
        });
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test]
    async fn who_is_away_is_said_once_and_again_when_it_is_back() {
        let mut away = Away::new();
        let one = ("Install", "web01", "running");
        let two = ("Install", "web02", "running");
        assert_eq!(away.take(&detail(&[])), None);
        let said = away.take(&detail(&[one])).unwrap();
        assert!(said.contains("web01 ('Install')"), "{said}");
        assert!(said.contains("mantle task show T-17"), "{said}");
        assert_eq!(away.take(&detail(&[one])), None);
        let said = away.take(&detail(&[one, two])).unwrap();
        assert!(said.contains("web02") && !said.contains("web01"), "{said}");
        let said = away.take(&detail(&[two])).unwrap();
        assert!(
            said.contains("still not connected") && said.contains("web02"),
            "{said}"
        );
        let said = away.take(&detail(&[])).unwrap();
        assert!(said.contains("no agent is away"), "{said}");
        let ended = ("Install", "web01", "unknown");
        assert_eq!(
            away.take(&detail(&[ended])),
            None,
            "that is no matter of waiting"
        );
    }
}
