//! Taking up what was under way: fold the events, carry on. And the leases that say whose it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mantle_domain::state::{Event, Input, State, evolve};
use mantle_shared::ids::TaskId;

use super::active::Deployment;
use super::admit::load_context;
use super::effects::now_us;
use super::turn::Turn;
use super::{LEASE, Orchestrator};
use crate::store::{
    StoreError, TaskRow, Tx, agent_list_revoked, agent_mark_seen_until, connected_find,
    connected_keep, epoch_current, task_event_list, task_fetch, task_lease_clear, task_lease_renew,
    task_lease_take, task_list_running,
};

/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);
/// Events that are read at once.
const PAGE: u32 = 1000;

impl Orchestrator {
    /// Takes up every running deployment. The one server of an embedded database holds every lease
    /// that its predecessor left.
    pub(super) async fn recover(&mut self) {
        loop {
            match self.try_recover().await {
                Ok(count) => {
                    if count > 0 {
                        tracing::info!(deployments = count, "took up what was under way");
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "what was under way cannot be read; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_recover(&mut self) -> Result<usize, StoreError> {
        let node = self.parts.node;
        let (running, epoch) = self
            .parts
            .store
            .write(async |tx| {
                task_lease_clear(tx).await?;
                let mut running = Vec::new();
                for row in task_list_running(tx, u32::MAX).await? {
                    let lease = task_lease_take(tx, row.id, node, LEASE).await?;
                    running.push((row, lease.epoch));
                }
                Ok::<_, StoreError>((running, epoch_current(tx).await?))
            })
            .await?;
        self.parts.epochs.raise(epoch);
        let mut tasks = Vec::new();
        for (row, epoch) in running {
            let task = row.id;
            match self.take_up(row, epoch).await {
                Ok(()) => tasks.push(task),
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => self.park(task, &error),
            }
        }
        self.read_locks().await?;
        for task in &tasks {
            self.note_locks(*task, &[]);
        }
        // Deadlines passed while nobody looked.
        let mut inputs = tasks
            .iter()
            .map(|task| (*task, vec![Input::Tick]))
            .collect();
        let decided = self.decide(&mut inputs, Timestamp::now());
        for task in self.commit(decided, &Turn::default()).await.touched {
            self.carry_out(task).await;
            self.retire(task);
        }
        Ok(tasks.len())
    }

    pub(super) async fn take_up(&mut self, row: TaskRow, epoch: u64) -> Result<(), StoreError> {
        let task = row.id;
        let mut tx = self.parts.store.read().await?;
        let context = Arc::new(load_context(&mut tx, &row).await?);
        let (state, next_event) = fold_events(&mut tx, task).await?;
        let inherited = state.live_attempts().map(|(attempt, _)| *attempt).collect();
        for attempt in state.attempts.keys() {
            self.attempts.insert(*attempt, task);
        }
        let cancel_by = row.cancel_at_us.and(row.cancel_by);
        let deployment = Deployment {
            context,
            state,
            epoch,
            cancel_by,
            answers: Vec::new(),
            revoked: Vec::new(),
            sent: HashMap::new(),
            inherited,
            again: BTreeSet::new(),
            busy: BTreeSet::new(),
            put_off: BTreeMap::new(),
            next_event,
            parked_for: Duration::ZERO,
        };
        self.deployments.insert(task, deployment);
        Ok(())
    }

    /// Writes down who is connected, for the server that comes after this one if it is killed.
    pub(super) async fn note_connected(&mut self) {
        if self.connected_noted.is_none() {
            self.settle_connected().await;
        }
        let Some(before) = &self.connected_noted else {
            return;
        };
        let agents = self.parts.online.agents();
        if agents.is_empty() && before.is_empty() {
            return;
        }
        let at_us = now_us();
        let noted = self
            .parts
            .store
            .write(async |tx| connected_keep(tx, before, &agents, at_us).await)
            .await;
        match noted {
            Ok(_) => self.connected_noted = Some(agents),
            Err(error) => {
                // It may have been kept all the same: what the note says is read again.
                self.connected_noted = None;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "who is connected cannot be noted; it is tried again"
                );
            }
        }
    }

    /// Who was connected when this server's predecessor was killed was last seen then, not when it
    /// connected. Who left or came since says so itself.
    pub(super) async fn settle_connected(&mut self) {
        let settled = self
            .parts
            .store
            .write(async |tx| {
                let found = connected_find(tx).await?;
                let (agents, at_us) = found.unwrap_or_default();
                for agent in &agents {
                    agent_mark_seen_until(tx, *agent, at_us).await?;
                }
                Ok::<_, StoreError>(agents)
            })
            .await;
        match settled {
            // The note goes on from there: who does not come back goes from it.
            Ok(agents) => self.connected_noted = Some(agents),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "when agents were last seen cannot be made up for; the times shown are older"
            ),
        }
    }

    /// Keeps the leases. One that was lost shows at the next write, which is guarded by its epoch.
    pub(super) async fn renew_leases(&self) {
        if self.deployments.is_empty() {
            return;
        }
        let node = self.parts.node;
        let renewed = self
            .parts
            .store
            .write(async |tx| task_lease_renew(tx, node, LEASE).await)
            .await;
        if let Err(error) = renewed {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "leases could not be renewed"
            );
        }
    }

    /// Reads who asked for these tasks to stop.
    pub(super) async fn read_cancels(&mut self, tasks: &[TaskId]) {
        let Ok(mut tx) = self.parts.store.read().await else {
            return;
        };
        for task in tasks {
            let Some(deployment) = self.deployments.get_mut(task) else {
                continue;
            };
            if deployment.state.cancel.is_some() {
                continue;
            }
            if let Ok(row) = task_fetch(&mut tx, *task).await {
                deployment.cancel_by = row.cancel_at_us.and(row.cancel_by);
            }
        }
    }

    /// Finds requests to stop of which no hint came through.
    pub(super) async fn find_cancels(&mut self) {
        let tasks: Vec<TaskId> = self
            .deployments
            .iter()
            .filter(|(_, deployment)| deployment.state.cancel.is_none())
            .map(|(task, _)| *task)
            .collect();
        self.read_cancels(&tasks).await;
    }

    /// Finds agents of whose revocation no hint came through, perhaps because the process that got
    /// it is gone. To say it again of one that is known changes nothing.
    pub(super) async fn find_revoked(&mut self) {
        if self.deployments.is_empty() {
            return;
        }
        let read = async { agent_list_revoked(&mut self.parts.store.read().await?).await };
        match read.await {
            Ok(revoked) => {
                for agent in revoked {
                    self.note_revoked(agent);
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "which agents are revoked cannot be read; it is looked at again"
            ),
        }
    }
}

/// The state that a task's events establish, and the number of the next one.
async fn fold_events(tx: &mut Tx, task: TaskId) -> Result<(State, u64), StoreError> {
    let mut state = State::default();
    let mut after = 0;
    loop {
        let page = task_event_list(tx, task, after, PAGE).await?;
        for row in &page {
            let event: Event = serde_json::from_str(&row.body).map_err(|error| {
                StoreError::corrupt(format!("event {} of task {task}: {error}", row.seq))
            })?;
            evolve(&mut state, &event);
            after = row.seq;
        }
        if page.len() < PAGE as usize {
            return Ok((state, after + 1));
        }
    }
}
