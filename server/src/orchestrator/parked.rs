//! Deployments that are not driven for now: what was decided about one could not be written, or it
//! could not be read. The others go on without it.
//!
//! What must hold: of a parked task nothing is taken in and nothing acknowledged, so that agents
//! keep what they have to say; and it is looked at again, less and less often, at once if somebody
//! asks for it to be cancelled. Whoever holds its lease by then drives it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mantle_domain::state::Input;
use mantle_shared::ids::TaskId;
use mantle_shared::protocol::close;

use super::turn::Turn;
use super::{LEASE, Orchestrator};
use crate::store::{StoreError, TaskState, task_fetch, task_lease_take};

/// Before a parked task is looked at for the first time; it doubles from then on.
const FIRST: Duration = Duration::from_secs(1);
/// Each look makes its agents connect anew, which is not to be had often.
const MOST: Duration = Duration::from_mins(10);

/// When a parked task is looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parked {
    again: Instant,
    wait: Duration,
}

impl Parked {
    /// The next look is twice as far away as the one before.
    fn after(before: Duration) -> Self {
        let wait = before.saturating_mul(2).clamp(FIRST, MOST);
        Self {
            again: Instant::now() + wait,
            wait,
        }
    }
}

impl Orchestrator {
    /// Stops driving a task. What was decided about it and not committed never happened.
    pub(super) fn park(&mut self, task: TaskId, error: &StoreError) {
        let mut before = self.parked.get(&task).map_or(Duration::ZERO, |p| p.wait);
        if let Some(deployment) = self.deployments.remove(&task) {
            before = before.max(deployment.parked_for);
            for attempt in deployment.state.attempts.keys() {
                self.attempts.remove(attempt);
            }
        }
        self.stop_waiting(task);
        self.parts.online.transfers.over(task);
        let parked = Parked::after(before);
        self.parked.insert(task, parked);
        tracing::error!(
            task.id = %task,
            again_in_ms = parked.wait.as_millis(),
            error = error as &dyn std::error::Error,
            "a deployment cannot be driven; the others go on, and it is tried again"
        );
    }

    /// Looks at a parked task at the next sweep.
    pub(super) fn hasten(&mut self, task: TaskId) {
        if let Some(parked) = self.parked.get_mut(&task) {
            parked.again = Instant::now();
        }
    }

    /// Takes up the parked tasks whose time has come.
    pub(super) async fn resume_parked(&mut self) {
        let now = Instant::now();
        let due: Vec<TaskId> = self
            .parked
            .iter()
            .filter(|(_, parked)| parked.again <= now)
            .map(|(task, _)| *task)
            .collect();
        for task in due {
            match self.resume(task).await {
                Ok(()) => {}
                Err(StoreError::NotFound { what: "task" }) => {
                    self.parked.remove(&task);
                }
                Err(error) => self.park(task, &error),
            }
        }
    }

    async fn resume(&mut self, task: TaskId) -> Result<(), StoreError> {
        let row = {
            let mut tx = self.parts.store.read().await?;
            task_fetch(&mut tx, task).await?
        };
        match row.state {
            TaskState::Running => {}
            // Its beginning was not kept, or another server drove it to its end.
            TaskState::Queued | TaskState::Done => {
                self.parked.remove(&task);
                self.look_again = true;
                return Ok(());
            }
        }
        let node = self.parts.node;
        let lease = self
            .parts
            .store
            .write(async |tx| task_lease_take(tx, task, node, LEASE).await)
            .await?;
        self.parts.epochs.raise(lease.epoch);
        self.take_up(row, lease.epoch).await?;
        let waited = self.parked.remove(&task).map_or(FIRST, |p| p.wait);
        if let Some(deployment) = self.deployments.get_mut(&task) {
            deployment.parked_for = waited;
            tracing::info!(
                task.number = deployment.context.number,
                "a parked deployment is driven again"
            );
            // What they said meanwhile was not taken in: they say it again.
            let plan = deployment.state.plan.as_deref();
            for target in plan.into_iter().flat_map(|plan| &plan.targets) {
                self.parts
                    .sessions
                    .disconnect(target.agent, close::GOING_AWAY);
            }
        }
        // What was answered meanwhile is taken in at once.
        self.answered.push(task);
        let mut inputs = [(task, vec![Input::Tick])].into();
        let decided = self.decide(&mut inputs, Timestamp::now());
        for task in self.commit(decided, &Turn::default()).await.touched {
            self.carry_out(task).await;
            self.retire(task);
        }
        Ok(())
    }
}
