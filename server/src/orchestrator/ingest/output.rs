//! What attempts print: masked, stored, acknowledged, and then their ends.
//!
//! One batch is being written while the next is made ready, so that masking and writing overlap; no more,
//! so that memory stays bounded and the agents' streams are held back while the log cannot be written.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::fault;
use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::{
    AttemptEnded, AttemptPosition, Level, Record, RecordBody, Records, RecordsGone,
};
use tokio::task::JoinHandle;

use super::{Ingest, RETRY};
use crate::gateway::{Arrival, Room, Taken};
use crate::orchestrator::effects::now_us;
use crate::store::{LogTx, Store, StoreError, log_append, log_position, log_skip};

/// Why records are missing that their agent cannot give any more.
const GONE: &str = "they are damaged on the agent's disk, or were removed from it";

/// Of so many tasks it is known that they are marked as having warnings.
const WARNED_KNOWN: usize = 10_000;

/// Where agents stand, by agent.
type Positions = BTreeMap<AgentId, Vec<AttemptPosition>>;

/// What is to be stored of one attempt.
enum Item {
    Records(Records),
    Gone(RecordsGone),
}

/// What is stored together, and the ends that rest on it.
pub(super) struct Batch {
    items: Vec<(AgentId, TaskId, Item)>,
    ends: Vec<(AgentId, AttemptEnded)>,
    _room: Room,
}

/// What is on its way into the log.
#[derive(Default)]
pub(super) struct Storing {
    under_way: Option<JoinHandle<(Batch, Positions)>>,
    next: Option<Batch>,
}

impl Storing {
    /// Whether another batch may be made ready.
    pub(super) fn has_room(&self) -> bool {
        self.next.is_none()
    }

    /// Whether there is nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Writes a batch, after the one that is being written.
    fn add(&mut self, store: &Store, batch: Batch) {
        if self.under_way.is_some() {
            self.next = Some(batch);
            return;
        }
        let store = store.clone();
        self.under_way = Some(tokio::spawn(async move {
            let positions = write(&store, &batch.items).await;
            (batch, positions)
        }));
    }

    /// Waits until a batch is stored, and begins with the next. `None` if the writer broke down, which
    /// only a defect does. May be dropped and called again.
    pub(super) async fn stored(&mut self, store: &Store) -> Option<(Batch, Positions)> {
        let done = self.under_way.as_mut()?.await;
        self.under_way = None;
        if let Some(next) = self.next.take() {
            self.add(store, next);
        }
        done.ok()
    }
}

impl Ingest {
    /// Makes what came ready to be stored, and has it stored.
    pub(super) async fn take_output(&mut self, taken: Taken) {
        let mut batch = Batch {
            items: Vec::new(),
            ends: Vec::new(),
            _room: taken.room,
        };
        for arrival in taken.arrivals {
            match arrival {
                Arrival::Records { agent, records } => {
                    self.take_records(&mut batch, agent, records).await;
                }
                Arrival::RecordsGone { agent, gone } => match self.owner(gone.attempt).await {
                    Some((task, owner)) if owner == agent => {
                        batch.items.push((agent, task, Item::Gone(gone)));
                    }
                    Some(_) if self.earlier.contains(&gone.attempt) => {}
                    _ => not_theirs(agent, gone.attempt),
                },
                Arrival::AttemptEnded { agent, ended } => batch.ends.push((agent, ended)),
                Arrival::Resync { .. }
                | Arrival::Disconnected { .. }
                | Arrival::StartAnswered { .. }
                | Arrival::CancelAnswered { .. }
                | Arrival::AcquireAnswered { .. }
                | Arrival::AcquireProgressed { .. }
                | Arrival::OutputHeld { .. }
                | Arrival::Refused(_) => {}
            }
        }
        let warned = batch.items.iter().filter(|(_, _, item)| match item {
            Item::Records(records) => records.records.iter().any(is_warning),
            Item::Gone(_) => true,
        });
        let warned: BTreeSet<TaskId> = warned.map(|(_, task, _)| *task).collect();
        // Before the records are stored: whoever is killed in between is told them again.
        for task in warned {
            self.warn_once(task).await;
        }
        self.storing.add(&self.parts.store, batch);
    }

    /// Notes that a task has warnings; a step that prints many costs one write.
    async fn warn_once(&mut self, task: TaskId) {
        if self.warned.contains(&task) {
            return;
        }
        self.warn(task).await;
        if self.warned.len() >= WARNED_KNOWN {
            self.warned.clear();
        }
        self.warned.insert(task);
    }

    async fn take_records(&mut self, batch: &mut Batch, agent: AgentId, records: Records) {
        let attempt = records.attempt;
        let task = match self.owner(attempt).await {
            Some((task, owner)) if owner == agent => task,
            // It is asked for them, so that it says when it is over.
            Some(_) if self.earlier.contains(&attempt) => return,
            _ => return not_theirs(agent, attempt),
        };
        let Some(records) = self.masked(agent, task, records).await else {
            return;
        };
        // Messages of one attempt that follow each other become one: fewer and larger rows.
        if let Some((_, _, Item::Records(last))) = batch.items.last_mut()
            && last.attempt == attempt
            && last.first_seq + last.records.len() as u64 == records.first_seq
        {
            last.records.extend(records.records);
        } else {
            batch.items.push((agent, task, Item::Records(records)));
        }
    }

    /// A batch is stored: says so, and gives the ends that rest on it.
    pub(super) fn acknowledge_all(
        &self,
        batch: Batch,
        positions: Positions,
    ) -> Vec<(AgentId, AttemptEnded)> {
        fault::point("server.after_log_commit");
        for (agent, positions) in positions {
            self.acknowledge(agent, positions);
        }
        let mut tasks: Vec<TaskId> = batch.items.iter().map(|(_, task, _)| *task).collect();
        tasks.sort();
        tasks.dedup();
        for task in tasks {
            self.parts.feed.task_changed(task);
        }
        batch.ends
    }
}

/// Stores a batch, however long that takes.
async fn write(store: &Store, items: &[(AgentId, TaskId, Item)]) -> Positions {
    if items.is_empty() {
        return Positions::new();
    }
    loop {
        let written = store.write_logs(async |tx| {
            let mut positions = Positions::new();
            for (agent, task, item) in items {
                let stored = write_item(tx, *task, item).await?;
                positions.entry(*agent).or_default().push(stored);
            }
            Ok::<_, StoreError>(positions)
        });
        match written.await {
            Ok(positions) => return positions,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the log cannot be written; agents are held back until it can"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn write_item(
    tx: &mut LogTx,
    task: TaskId,
    item: &Item,
) -> Result<AttemptPosition, StoreError> {
    let (attempt, stored) = match item {
        Item::Records(Records {
            attempt,
            first_seq,
            records,
        }) => {
            let appended = log_append(tx, task, *attempt, *first_seq, records).await;
            (*attempt, appended.map(|appended| appended.next_seq))
        }
        Item::Gone(gone) => {
            let span = (gone.first_seq, gone.next_seq);
            let skipped = log_skip(tx, task, gone.attempt, span, (now_us(), GONE)).await;
            (gone.attempt, skipped)
        }
    };
    let next_seq = match stored {
        Ok(next_seq) => next_seq,
        // Something before them is missing: the agent learns from where on.
        Err(StoreError::Conflict { .. }) => log_position(tx, attempt).await?,
        Err(error) => return Err(error),
    };
    Ok(AttemptPosition {
        attempt,
        known: true,
        next_seq,
        end_stored: false,
    })
}

/// What makes a task end with warnings: lines of that level, and lines that are missing.
fn is_warning(record: &Record) -> bool {
    match &record.body {
        RecordBody::Gap { .. } => true,
        RecordBody::Line { level, .. } | RecordBody::Piece { level, .. } => {
            *level == Level::Warning
        }
        RecordBody::Variable { .. } | RecordBody::Progress { .. } | RecordBody::Artifact { .. } => {
            false
        }
    }
}

fn not_theirs(agent: AgentId, attempt: mantle_shared::ids::AttemptId) {
    tracing::warn!(
        agent.id = %agent, attempt.id = %attempt,
        "records of an attempt that is not this agent's were dropped"
    );
}
