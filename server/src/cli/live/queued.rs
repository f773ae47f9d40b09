//! Why a task that is watched has not begun: said when it is known, and again when it is another reason.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::body::{Task, TaskState};
use crate::cli::deploy::queued_behind;
use crate::client::Client;

/// Between two looks. What waits in the queue has no events of its own, so that it is asked.
const LOOK: Duration = Duration::from_secs(2);

/// What was said of a task that waits.
#[derive(Debug)]
pub(super) struct Queued {
    said: Option<String>,
    /// When it is looked at next; nothing once it waits no more.
    next: Option<Instant>,
}

impl Queued {
    /// A task whose reason was told already, as it stands.
    pub(super) fn told(task: &Task) -> Self {
        Self {
            said: queued_behind(task),
            next: (task.state == TaskState::Queued).then(|| Instant::now() + LOOK),
        }
    }

    /// A task of which nothing is known yet.
    pub(super) fn unknown() -> Self {
        Self {
            said: None,
            next: Some(Instant::now()),
        }
    }

    /// It waits no more.
    pub(super) fn begun(&mut self) {
        self.next = None;
    }

    /// Returns when it is to be looked at; never once it waits no more. Cancel safe.
    pub(super) async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Looks, and gives the reason if it was not said last. A server that does not answer is asked
    /// again: that it is away is said by whoever follows its events.
    pub(super) async fn look(&mut self, client: &Client, number: &str) -> Option<String> {
        let asked = tokio::time::timeout(LOOK, client.task(number)).await;
        self.next = Some(Instant::now() + LOOK);
        let Ok(Ok(detail)) = asked else {
            return None;
        };
        self.take(&detail.task)
    }

    fn take(&mut self, task: &Task) -> Option<String> {
        if task.state != TaskState::Queued {
            self.begun();
            return None;
        }
        let why = queued_behind(task);
        let is_news = why.is_some() && why != self.said;
        self.said.clone_from(&why);
        why.filter(|_| is_news)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn task(state: &str, waiting: &str) -> Task {
        let value = json!({
            "id": "00000000-0000-0000-0000-000000000001", "number": "T-17", "kind": "deployment",
            "project": "shop", "version": "1.2", "environment": "test", "state": state,
            "created_at": "2026-11-23T10:00:00Z", "created_by": "ada",
            "position": 1, "waiting": waiting,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_reason_is_said_once_until_it_is_another() {
        let mut queued = Queued::unknown();
        let full = "waits for its turn: one task runs at a time on this server";
        let away = "waits for the agent of web01, which may come back, until 10:00:00 UTC";
        let mut heard = |state: &str, waiting: &str| queued.take(&task(state, waiting));
        let said = heard("queued", full).unwrap();
        assert!(said.starts_with(&format!("T-17 {full}")), "{said}");
        assert_eq!(heard("queued", full), None);
        assert!(heard("queued", away).unwrap().contains(away));
        assert_eq!(heard("queued", "starts next"), None, "that is no reason");
        assert!(heard("queued", away).unwrap().contains(away));
        assert_eq!(heard("running", away), None);
        assert!(queued.next.is_none());
        let told = Queued::told(&task("queued", full)).take(&task("queued", full));
        assert_eq!(told, None, "whoever began to watch said it");
    }
}
