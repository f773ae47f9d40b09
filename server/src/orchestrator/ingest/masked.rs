//! Everything that an agent said goes through the masks of its task before it is stored or passed on.
//! What cannot be masked is held back: records are not acknowledged, so that the agent keeps them; of a
//! sentence it is said that it is not shown.

use std::sync::Arc;

use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{Level, Record, RecordBody, Records, Stream, close};

use super::{Ingest, RETRY};
use crate::orchestrator::masks::Unmaskable;
use crate::services::Feed;
use crate::store::{Store, StoreError, log_append_server, task_mark_warned};

/// Stands for a sentence that could not be masked.
const NOT_SHOWN: &str =
    "(not shown: the secrets of this task cannot be opened, so it cannot be masked)";

impl Ingest {
    /// The records as they may be stored; nothing if they cannot be masked, which is told once.
    pub(super) async fn masked(
        &mut self,
        agent: AgentId,
        task: TaskId,
        mut records: Records,
    ) -> Option<Records> {
        match self.try_mask(task, &mut records).await {
            Ok(()) => Some(records),
            Err(error) => {
                if self.held.hold(task, agent) {
                    self.tell_held(task, &error).await;
                }
                None
            }
        }
    }

    async fn try_mask(&mut self, task: TaskId, records: &mut Records) -> Result<(), Unmaskable> {
        let attempt = records.attempt;
        let mut set = self.masks.of(task).await?;
        for record in &records.records {
            if let RecordBody::Variable {
                name,
                value,
                sensitive: true,
            } = &record.body
            {
                let known = set;
                set = self.masks.learn(task, attempt, name, value).await?;
                if !Arc::ptr_eq(&known, &set) {
                    // Of every attempt of the task; a place that is lost costs little.
                    self.places.forget_all();
                }
            }
        }
        let changed = self
            .places
            .mask(&set, attempt, records.first_seq, &mut records.records);
        if changed > 0 {
            tracing::warn!(
                task.id = %task, attempt.id = %attempt, changed,
                "an agent sent records with secrets in them; they are stored masked"
            );
        }
        Ok(())
    }

    /// A sentence of an agent as it may be stored and shown.
    pub(super) async fn sentence(&mut self, task: TaskId, text: &mut String) {
        if text.is_empty() {
            return;
        }
        match self.masks.of(task).await {
            Ok(set) => *text = set.mask(text),
            Err(error) => {
                tracing::warn!(task.id = %task, %error, "what an agent said of an attempt cannot be masked and is not shown");
                NOT_SHOWN.clone_into(text);
            }
        }
    }

    /// The same for a sentence about an attempt.
    pub(super) async fn sentence_of(&mut self, attempt: AttemptId, text: &mut String) {
        if text.is_empty() {
            return;
        }
        // Of nobody's attempt nothing is stored.
        if let Some((task, _)) = self.owner(attempt).await {
            self.sentence(task, text).await;
        }
    }

    async fn tell_held(&self, task: TaskId, error: &Unmaskable) {
        tracing::error!(
            task.id = %task, %error,
            "what this task's agents print cannot be masked: it is held back, on the agents, until it can be"
        );
        let text = format!(
            "the output of this task is held back on its agents: {error}. It comes once the server can \
             mask it again; nothing is lost"
        );
        self.say(task, text).await;
    }

    /// Tries the masks of what is held back again. Whose can be had, their agents report anew and send
    /// everything.
    pub(super) async fn release_held(&mut self) {
        for task in self.held.tasks() {
            if self.masks.of(task).await.is_err() {
                continue;
            }
            tracing::info!(task.id = %task, "the output that was held back is taken in again");
            for agent in self.held.release(task) {
                self.parts.sessions.disconnect(agent, close::GOING_AWAY);
            }
        }
    }

    /// A warning of the server's own in a task's log.
    pub(super) async fn say(&self, task: TaskId, text: String) {
        say(&self.parts.store, &self.parts.feed, task, text).await;
    }
}

/// A warning of the server's own in a task's log. It is repeated at the next occasion if it cannot be
/// written: the server's own log has it.
pub(super) async fn say(store: &Store, feed: &Feed, task: TaskId, text: String) {
    warn(store, task).await;
    let record = Record {
        at_us: crate::orchestrator::effects::now_us(),
        body: RecordBody::Line {
            stream: Stream::Agent,
            level: Level::Warning,
            text,
        },
    };
    let said = store
        .write_logs(async |tx| log_append_server(tx, task, std::slice::from_ref(&record)).await)
        .await;
    match said {
        Ok(_) => feed.task_changed(task),
        Err(error) => tracing::warn!(
            task.id = %task, error = &error as &dyn std::error::Error,
            "a line of the server's own cannot be written"
        ),
    }
}

/// A log with a gap makes its task end with a warning.
pub(super) async fn warn(store: &Store, task: TaskId) {
    loop {
        let warned = store.write(async |tx| task_mark_warned(tx, task).await);
        match warned.await {
            // Its retention has ended: nobody looks at it any more.
            Ok(()) | Err(StoreError::NotFound { .. }) => return,
            Err(error) => {
                tracing::error!(
                    task.id = %task,
                    error = &error as &dyn std::error::Error,
                    "a task cannot be marked as having warnings; trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
