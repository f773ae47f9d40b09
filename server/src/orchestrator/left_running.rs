//! What still runs of a deployment that was stopped. A cancel, and the end of a deployment's time, reach an
//! agent that is away only when it is back, and by then the deployment may be over: it waits for nobody for
//! ever.
//!
//! What holds here: whatever an agent reports as under way of a deployment that was cancelled or ran out of
//! time is ordered to stop, at each report anew until it says that it ended. Of one that failed it goes on:
//! what becomes of it is settled by its late word.

use mantle_domain::process::DEFAULT_GRACE_MS;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{CancelAttempt, Level, ReportedState};

use super::Orchestrator;
use super::effects::ANSWER_MS;
use super::fact::Reported;
use crate::services::{grace_of, whose};
use crate::store::{StoreError, TaskOutcome, attempt_find, task_fetch};

/// An attempt that its agent reports as under way although its deployment is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftRunning {
    agent: AgentId,
    task: TaskId,
}

impl Orchestrator {
    /// Notes what an agent reports of deployments that are over.
    pub(super) fn note_left_running(&mut self, agent: AgentId, reports: &[Reported]) {
        for reported in reports {
            let Some(task) = reported.task else { continue };
            let lives = match reported.report.state {
                ReportedState::Accepted | ReportedState::Running => true,
                ReportedState::Ended(_) => false,
            };
            let is_driven = self.deployments.contains_key(&task) || self.parked.contains_key(&task);
            if lives && !is_driven {
                let left = LeftRunning { agent, task };
                self.left_running.insert(reported.report.attempt, left);
            }
        }
    }

    /// Has them stopped whose deployment was. What cannot be read is looked at again in the next turn.
    pub(super) async fn stop_left_running(&mut self) {
        for (attempt, left) in std::mem::take(&mut self.left_running) {
            match self.unwanted(attempt, left.task).await {
                Ok(None) => {}
                Ok(Some((grace_ms, why))) => self.stop_left(attempt, left, grace_ms, why).await,
                Err(error) => {
                    tracing::warn!(
                        attempt.id = %attempt,
                        error = &error as &dyn std::error::Error,
                        "whether a step is to stop that is still under way cannot be read"
                    );
                    self.left_running.insert(attempt, left);
                }
            }
        }
    }

    /// The grace of an attempt that is to stop, in milliseconds, and why it is.
    async fn unwanted(
        &self,
        attempt: AttemptId,
        task: TaskId,
    ) -> Result<Option<(u32, &'static str)>, StoreError> {
        let mut tx = self.parts.store.read().await?;
        let why = match task_fetch(&mut tx, task).await?.outcome {
            Some(TaskOutcome::Cancelled) => "was cancelled",
            Some(TaskOutcome::TimedOut) => "ran out of time",
            Some(TaskOutcome::Succeeded | TaskOutcome::Failed | TaskOutcome::Unknown) | None => {
                return Ok(None);
            }
        };
        let grace_ms = match attempt_find(&mut tx, attempt).await? {
            Some(row) => grace_of(&mut tx, &row).await?,
            None => None,
        };
        let grace_ms = grace_ms.unwrap_or(DEFAULT_GRACE_MS);
        Ok(Some((u32::try_from(grace_ms).unwrap_or(u32::MAX), why)))
    }

    async fn stop_left(&mut self, attempt: AttemptId, left: LeftRunning, grace_ms: u32, why: &str) {
        let LeftRunning { agent, task } = left;
        let Some(session) = self.parts.sessions.current(agent) else {
            // It reports again when it is back.
            return;
        };
        self.requests += 1;
        let order = CancelAttempt {
            request: self.requests,
            deadline_ms: ANSWER_MS,
            epoch: self.parts.epochs.current(),
            task,
            attempt,
            grace_ms,
        };
        if !self.parts.sessions.send(agent, session, order.into()) {
            return;
        }
        let step = whose(&self.parts.store, task, attempt).await;
        tracing::warn!(
            task.id = %task, attempt.id = %attempt,
            "a step of a deployment that {why} is still under way; it is stopped"
        );
        let text = format!(
            "{step} was still under way when its agent came back; it is stopped, since the deployment {why}"
        );
        self.tell(task, Level::Warning, text).await;
    }
}
