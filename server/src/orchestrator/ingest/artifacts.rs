//! Notes down the files that an attempt left behind, before its end counts as stored: from then on the
//! agent forgets the attempt, and only the rows know what is still to be collected.

use mantle_shared::artifacts::MOST_ARTIFACTS;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};

use super::Ingest;
use crate::artifacts::admitted;
use crate::services::whose;
use crate::store::{StoreError, artifact_insert_all, log_artifacts, task_fetch};

/// How many records of an agent that keeps to no limit are looked at.
const LOOKED_AT: usize = 2 * MOST_ARTIFACTS;
/// How many names of what is not collected are told.
const TOLD: usize = 20;

impl Ingest {
    /// Writes a row for each file. Said again with the end, it changes nothing.
    pub(super) async fn note_artifacts(
        &self,
        task: TaskId,
        attempt: AttemptId,
        agent: AgentId,
    ) -> Result<(), StoreError> {
        let recorded = {
            let mut logs = self.parts.store.read_logs().await?;
            log_artifacts(&mut logs, attempt, LOOKED_AT).await?
        };
        if recorded.is_empty() {
            return Ok(());
        }
        let (files, mut refused) = admitted(recorded);
        let at_us = crate::orchestrator::effects::now_us();
        let added = self
            .parts
            .store
            .write(async |tx| match task_fetch(tx, task).await {
                Ok(_) => artifact_insert_all(tx, (task, attempt, agent), &files, at_us).await,
                // Its retention has ended: nobody asks for its files any more.
                Err(StoreError::NotFound { .. }) => Ok(0),
                Err(error) => Err(error),
            })
            .await?;
        if added > 0 {
            self.parts.bell.ring();
        }
        if !refused.is_empty() {
            let count = refused.len();
            refused.truncate(TOLD);
            let whose = whose(&self.parts.store, task, attempt).await;
            let text = format!(
                "{count} files of {whose} are beyond what a step may leave behind and are not collected: {}",
                refused.join(", ")
            );
            self.say(task, text).await;
        }
        Ok(())
    }
}
