//! An agent says that a step's output is held back for want of room: its task warns while there is
//! still time to make some.

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::OutputHeld;

use super::masked::say;
use super::{Ingest, KNOWN};
use crate::store::{attempt_find, target_fetch};

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
            let target = async {
                let mut tx = store.read().await?;
                match attempt_find(&mut tx, attempt).await? {
                    Some(row) => Ok(target_fetch(&mut tx, row.executor_id).await?.name),
                    None => Err(crate::store::StoreError::not_found("attempt")),
                }
            };
            // Of a target that was removed only the fact is left.
            let target = target.await.unwrap_or_else(|_| "the target".to_owned());
            let text = format!(
                "the output of this step is held back on {target}: there is no room for it on the agent's \
                 disk, and the step waits. Free some there; after {} min without room what the step prints \
                 is counted instead of kept",
                held.stall_ms / 60_000
            );
            say(&store, &feed, task, text).await;
        });
    }
}
