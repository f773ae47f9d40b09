//! Tells whoever watches a task that more of it has been committed.
//!
//! The feed carries no data: a watcher that is woken reads from the store after the sequence that
//! it has seen. So a watcher that is slow, late or reconnecting can miss a wake-up, never a line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::ids::TaskId;
use tokio::sync::watch;

/// A cheap handle; all clones are the same feed.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    tasks: Arc<Mutex<HashMap<TaskId, watch::Sender<u64>>>>,
}

impl Feed {
    /// A feed that nobody watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says, after a commit, that events, state or log lines of a task were added.
    pub fn task_changed(&self, task: TaskId) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = tasks.get(&task) {
            if sender.receiver_count() == 0 {
                // The last watcher has gone: nothing would ever remove the entry otherwise.
                tasks.remove(&task);
            } else {
                sender.send_modify(|generation| *generation = generation.wrapping_add(1));
            }
        }
    }

    /// Watches a task. Subscribe first, read then: what is committed in between wakes.
    pub fn subscribe(&self, task: TaskId) -> watch::Receiver<u64> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|id, sender| *id == task || sender.receiver_count() > 0);
        tasks
            .entry(task)
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn task(n: u128) -> TaskId {
        TaskId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_change_after_subscribing_wakes_only_that_tasks_watchers() {
        let feed = Feed::new();
        let (mut one, other) = (feed.subscribe(task(1)), feed.subscribe(task(2)));
        feed.task_changed(task(1));
        one.changed().await.unwrap();
        assert!(!other.has_changed().unwrap());
    }

    #[test]
    fn what_nobody_watches_is_forgotten() {
        let feed = Feed::new();
        drop(feed.subscribe(task(1)));
        feed.task_changed(task(1));
        assert!(feed.tasks.lock().unwrap().is_empty());
    }
}
