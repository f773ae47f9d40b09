//! Evaluating templates: seconds of work at the worst (`mantle_domain::work` bounds it), so it is
//! done beside the threads that serve, few at a time, and whoever waits too long for a turn is told.
//!
//! Who only looks and who deploys do not wait for each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::{Error, Result};

/// More at once would only share the processors.
const AT_ONCE: usize = 2;
/// A few of the costliest ahead are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where templates are evaluated.
#[derive(Debug, Clone)]
pub(super) struct Evaluations {
    /// For who looks: explanations, lists, plans.
    pub(super) looking: Room,
    /// For who deploys.
    pub(super) deploying: Room,
}

/// Room for a few evaluations at once.
#[derive(Debug, Clone)]
pub(super) struct Room {
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Evaluations {
    fn default() -> Self {
        Self {
            looking: Room::new(AT_ONCE, PATIENCE),
            deploying: Room::new(AT_ONCE, PATIENCE),
        }
    }
}

impl Room {
    fn new(at_once: usize, patience: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            patience,
        }
    }

    /// Does the work when its turn comes. Whoever asked may go away meanwhile: what was begun keeps
    /// its turn to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(self.patience, turn).await;
        let turn = turn.map_err(|_| Error::Unavailable {
            detail: format!(
                "the server evaluates the templates of others, and no turn came within {} s: try again later",
                self.patience.as_secs()
            ),
        })?;
        let turn = turn.map_err(|error| Error::internal("waiting for a turn", error))?;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::internal("evaluating templates", error))
    }

    /// How many are evaluated now.
    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        AT_ONCE.saturating_sub(self.turns.available_permits())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_is_told_so_and_is_served_when_there_is() {
        let room = Room::new(1, Duration::from_millis(20));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let long = tokio::spawn({
            let room = room.clone();
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    ends.recv_timeout(Duration::from_mins(1)).is_ok()
                };
                room.run(work).await.unwrap()
            }
        });
        // This thread serves while the other works: on it, this would never come.
        has_begun.await.unwrap();
        let refused = room.run(|| ()).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
        assert!(refused.to_string().contains("no turn came"), "{refused}");
        end.send(()).unwrap();
        assert!(long.await.unwrap(), "it was told to end");
        room.run(|| ()).await.unwrap();
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_work_beside_the_bound() {
        let room = Room::new(1, Duration::from_millis(20));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let long = tokio::spawn({
            let room = room.clone();
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    ends.recv_timeout(Duration::from_mins(1)).unwrap();
                };
                room.run(work).await
            }
        });
        has_begun.await.unwrap();
        long.abort();
        assert!(long.await.unwrap_err().is_cancelled());
        assert!(room.run(|| ()).await.is_err(), "it still works");
        end.send(()).unwrap();
    }
}
