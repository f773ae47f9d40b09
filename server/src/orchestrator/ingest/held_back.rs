//! An agent says that a step's output is held back for want of room: its task warns while there is
//! still time to make some.

use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::OutputHeld;

use super::masked::say;
use super::{Ingest, KNOWN};
use crate::store::{Store, StoreError, attempt_find, target_fetch};

impl Ingest {
    /// Says so in the task's log, once an attempt. Not awaited: the log may be what has no room.
    pub(super) async fn tell_output_held(&mut self, agent: AgentId, held: OutputHeld) {
        let attempt = held.attempt;
        let Some((task, owner)) = self.owner(attempt).await else {
            return;
        };
        if owner != agent || self.held_told.contains(&attempt) {
            return;
        }
        if self.held_told.len() >= KNOWN {
            self.held_told.clear();
        }
        self.held_told.insert(attempt);
        let (store, feed) = (self.parts.store.clone(), self.parts.feed.clone());
        tokio::spawn(async move {
            let target = executor(&store, attempt).await;
            let text = format!(
                "the output of this step was held back on {target}: there was no room for it on the \
                 agent's disk, and the step had to wait. Unless a later line says that it went on, free \
                 some there; after {} min without room what the step prints is counted instead of kept",
                held.stall_ms / 60_000
            );
            say(&store, &feed, task, text).await;
        });
    }

    /// An attempt has ended and all that its agent kept of it is stored: whoever was told to make room
    /// is told that it is not needed any more.
    pub(super) fn tell_output_came(&mut self, task: TaskId, attempt: AttemptId) {
        if !self.held_told.remove(&attempt) {
            return;
        }
        let (store, feed) = (self.parts.store.clone(), self.parts.feed.clone());
        tokio::spawn(async move {
            let target = executor(&store, attempt).await;
            let text = format!(
                "the output of this step that was held back on {target} went on and has come to its \
                 end; what could not be kept is counted in the log"
            );
            say(&store, &feed, task, text).await;
        });
    }
}

/// The name of the target whose agent runs an attempt. Of one that was removed only the fact is left.
async fn executor(store: &Store, attempt: AttemptId) -> String {
    let target = async {
        let mut tx = store.read().await?;
        match attempt_find(&mut tx, attempt).await? {
            Some(row) => Ok(target_fetch(&mut tx, row.executor_id).await?.name),
            None => Err(StoreError::not_found("attempt")),
        }
    };
    target.await.unwrap_or_else(|_| "the target".to_owned())
}
