//! Takes what agents say: stores log records first, then passes on what rests on them.
//!
//! Records that arrive together are committed together, and acknowledged only then. While the log
//! cannot be written nothing is taken in: the queue fills, the agents' streams are held back, and
//! their spools keep what they have. Everything goes through the masks of its task before it is stored;
//! what cannot be masked is held back in the same way, for that task alone.

mod artifacts;
mod masked;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::outputs::OUTPUTS_TOLD;
use mantle_shared::protocol::{
    Ack, AcquireResult, AttemptEnded, AttemptPosition, AttemptReport, CancelResult, Level, Record,
    RecordBody, Records, ReportedState, StartResult, Stream, close,
};
use tokio::sync::mpsc;

use super::OrchestratorParts;
use super::fact::{Fact, NamedOutput, Reported};
use super::held::Held;
use super::masking::Places;
use super::masks::Masks;
use crate::gateway::{Arrival, ArrivalQueue};
use crate::store::{
    AttemptRow, AttemptState, LogVariables, Store, StoreError, attempt_find, log_append,
    log_append_server, log_position, log_read_attempt, log_variables, task_mark_warned,
};

/// How much is committed together.
const BATCH: usize = 256;
/// How many attempts' owners are remembered; beyond it they are looked up again.
const KNOWN: usize = 10_000;
/// Between two tries to write the log.
const RETRY: Duration = Duration::from_secs(1);
/// Between two tries to have the masks of a task whose output is held back.
const HELD_RETRY: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub struct Ingest {
    parts: OrchestratorParts,
    arrivals: ArrivalQueue,
    facts: mpsc::Sender<Fact>,
    owners: HashMap<AttemptId, (TaskId, AgentId)>,
    /// Ends that came before all of their records, and how many were there: their agents were asked
    /// to report anew.
    short: HashMap<AttemptId, u64>,
    masks: Masks,
    places: Places,
    held: Held,
}

impl Ingest {
    pub(super) fn new(
        parts: OrchestratorParts,
        arrivals: ArrivalQueue,
        facts: mpsc::Sender<Fact>,
    ) -> Self {
        let masks = Masks::new(parts.store.clone(), std::sync::Arc::clone(&parts.secrets));
        Self {
            parts,
            arrivals,
            facts,
            owners: HashMap::new(),
            short: HashMap::new(),
            masks,
            places: Places::default(),
            held: Held::default(),
        }
    }

    /// Works until the gateway or the orchestrator is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut look_again = tokio::time::interval(HELD_RETRY);
        loop {
            tokio::select! {
                count = self.arrivals.recv_many(&mut batch, BATCH) => if count == 0 {
                    return;
                },
                _ = look_again.tick() => self.release_held().await,
            }
            let (records, others): (Vec<_>, Vec<_>) = batch
                .drain(..)
                .partition(|arrival| matches!(arrival, Arrival::Records { .. }));
            // Records go first: what follows in the batch may rest on them, never the reverse.
            self.store_records(records).await;
            for arrival in others {
                let Some(fact) = self.fact(arrival).await else {
                    continue;
                };
                if self.facts.send(fact).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn store_records(&mut self, arrivals: Vec<Arrival>) {
        let mut wanted = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let Arrival::Records { agent, records } = arrival else {
                continue;
            };
            match self.owner(records.attempt).await {
                Some((task, owner)) if owner == agent => {
                    if let Some(records) = self.masked(agent, task, records).await {
                        wanted.push((agent, task, records));
                    }
                }
                _ => tracing::warn!(
                    agent.id = %agent,
                    attempt.id = %records.attempt,
                    "records of an attempt that is not this agent's were dropped"
                ),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let gaps = wanted.iter().filter(|(_, _, records)| {
            let is_gap = |record: &Record| matches!(record.body, RecordBody::Gap { .. });
            records.records.iter().any(is_gap)
        });
        let mut gaps: Vec<TaskId> = gaps.map(|(_, task, _)| *task).collect();
        gaps.dedup();
        for task in gaps {
            self.warn(task).await;
        }
        let positions = loop {
            match self.append(&wanted).await {
                Ok(positions) => break positions,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the log cannot be written; agents are held back until it can"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        fault::point("server.after_log_commit");
        for (agent, positions) in positions {
            self.acknowledge(agent, positions);
        }
        let mut tasks: Vec<TaskId> = wanted.iter().map(|(_, task, _)| *task).collect();
        tasks.sort();
        tasks.dedup();
        for task in tasks {
            self.parts.feed.task_changed(task);
        }
    }

    async fn append(
        &self,
        wanted: &[(AgentId, TaskId, Records)],
    ) -> Result<BTreeMap<AgentId, Vec<AttemptPosition>>, StoreError> {
        self.parts
            .store
            .write_logs(async |tx| {
                let mut positions: BTreeMap<AgentId, Vec<AttemptPosition>> = BTreeMap::new();
                for (agent, task, records) in wanted {
                    let attempt = records.attempt;
                    let next_seq =
                        match log_append(tx, *task, attempt, records.first_seq, &records.records)
                            .await
                        {
                            Ok(appended) => appended.next_seq,
                            // Something before them is missing: the agent learns from where on.
                            Err(StoreError::Conflict { .. }) => log_position(tx, attempt).await?,
                            Err(error) => return Err(error),
                        };
                    let stored = AttemptPosition {
                        attempt,
                        known: true,
                        next_seq,
                        end_stored: false,
                    };
                    positions.entry(*agent).or_default().push(stored);
                }
                Ok(positions)
            })
            .await
    }

    fn acknowledge(&self, agent: AgentId, positions: Vec<AttemptPosition>) {
        if let Some(session) = self.parts.sessions.current(agent) {
            self.parts
                .sessions
                .send(agent, session, Ack { positions }.into());
        }
    }

    /// Which task and agent an attempt belongs to. Every attempt is written down before it is
    /// ordered, so one that is not found is nobody's.
    async fn owner(&mut self, attempt: AttemptId) -> Option<(TaskId, AgentId)> {
        if let Some(known) = self.owners.get(&attempt) {
            return Some(*known);
        }
        let row = find_attempt(&self.parts.store, attempt).await?;
        if self.owners.len() >= KNOWN {
            self.owners.clear();
        }
        self.owners.insert(attempt, (row.task_id, row.agent_id));
        Some((row.task_id, row.agent_id))
    }

    async fn fact(&mut self, arrival: Arrival) -> Option<Fact> {
        match arrival {
            Arrival::Resync {
                agent,
                session,
                remote,
                hello,
                journal,
                reports,
            } => {
                let reports = self.reported(agent, reports).await;
                Some(Fact::Resync {
                    agent,
                    session,
                    remote,
                    hello,
                    journal,
                    reports,
                })
            }
            Arrival::Disconnected { agent, session } => Some(Fact::Disconnected { agent, session }),
            Arrival::AttemptEnded { agent, ended } => self.ended(agent, ended).await,
            Arrival::StartAnswered { agent, mut answer } => {
                match &mut answer.result {
                    StartResult::Ended(end) => {
                        self.sentence_of(answer.attempt, &mut end.message).await;
                    }
                    StartResult::Refused { message, .. } => {
                        self.sentence_of(answer.attempt, message).await;
                    }
                    StartResult::Accepted => {}
                }
                Some(Fact::StartAnswered { agent, answer })
            }
            Arrival::CancelAnswered { agent, mut answer } => {
                match &mut answer.result {
                    CancelResult::Ended(end) => {
                        self.sentence_of(answer.attempt, &mut end.message).await;
                    }
                    CancelResult::Cancelling
                    | CancelResult::Voided
                    | CancelResult::Fenced
                    | CancelResult::Failed => {}
                }
                Some(Fact::CancelAnswered { agent, answer })
            }
            Arrival::AcquireAnswered { agent, mut answer } => {
                match &mut answer.result {
                    AcquireResult::Failed { message, .. } => {
                        self.sentence(answer.task, message).await;
                    }
                    AcquireResult::Acquired { .. } => {}
                }
                Some(Fact::AcquireAnswered { agent, answer })
            }
            Arrival::Refused(refusal) => Some(Fact::Refused(refusal)),
            Arrival::AcquireProgressed { .. } | Arrival::Records { .. } => None,
        }
    }

    /// What is stored of each attempt that an agent reports.
    async fn reported(&mut self, agent: AgentId, reports: Vec<AttemptReport>) -> Vec<Reported> {
        let mut reported = Vec::with_capacity(reports.len());
        for mut report in reports {
            let row = find_attempt(&self.parts.store, report.attempt).await;
            let ours = row.filter(|row| row.agent_id == agent);
            let next_seq = self.position(report.attempt).await;
            if let (Some(row), ReportedState::Ended(end)) = (&ours, &mut report.state) {
                self.sentence(row.task_id, &mut end.message).await;
            }
            reported.push(Reported {
                task: ours.as_ref().map(|row| row.task_id),
                end_stored: ours.is_some_and(|row| row.state == AttemptState::Ended),
                next_seq,
                report,
            });
        }
        reported
    }

    /// How many records of an attempt are stored. Nothing is judged by a number that is not known.
    async fn position(&self, attempt: AttemptId) -> u64 {
        loop {
            let read =
                async { log_position(&mut self.parts.store.read_logs().await?, attempt).await };
            match read.await {
                Ok(position) => return position,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the log cannot be read"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// The end of an attempt. If records are missing its agent is asked for them, once.
    async fn ended(&mut self, agent: AgentId, mut ended: AttemptEnded) -> Option<Fact> {
        let attempt = ended.attempt;
        let (task, owner) = self.owner(attempt).await?;
        if owner != agent {
            tracing::warn!(agent.id = %agent, attempt.id = %attempt, "the end of another agent's attempt was dropped");
            return None;
        }
        if self.held.is_held(task) {
            // Its records were not taken, so neither is the end that rests on them.
            self.held.hold(task, agent);
            return None;
        }
        self.sentence(task, &mut ended.end.message).await;
        let said = ended.end.records;
        let mut stored = self.position(attempt).await;
        match stored.cmp(&said) {
            Ordering::Equal => {}
            // Its disk has lost some of what was sent before. Asking would bring no more.
            Ordering::Greater => tracing::warn!(
                agent.id = %agent, attempt.id = %attempt, stored, said,
                "an attempt ended with fewer records than are stored"
            ),
            Ordering::Less if self.short.insert(attempt, stored) != Some(stored) => {
                // Not a thing that an ordered stream does; a fresh report brings what is there.
                tracing::warn!(
                    agent.id = %agent, attempt.id = %attempt, stored, said,
                    "an attempt ended before all of its records came; its agent is asked to report anew"
                );
                if self.short.len() > KNOWN {
                    self.short.clear();
                }
                self.parts.sessions.disconnect(agent, close::GOING_AWAY);
                return None;
            }
            Ordering::Less => {
                tracing::warn!(
                    agent.id = %agent, attempt.id = %attempt, stored, said,
                    "records of an attempt are lost on its agent's disk; it ends with a gap"
                );
                stored = self.store_gap(task, attempt, stored, said).await;
            }
        }
        self.short.remove(&attempt);
        if let Err(error) = self.note_artifacts(task, attempt, agent).await {
            tracing::error!(error = &error as &dyn std::error::Error, attempt.id = %attempt, "collected files cannot be noted down");
            self.parts.sessions.disconnect(agent, close::GOING_AWAY);
            return None;
        }
        let outputs = match self.outputs(task, attempt).await {
            Ok(outputs) => outputs,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, attempt.id = %attempt, "output variables cannot be read");
                self.parts.sessions.disconnect(agent, close::GOING_AWAY);
                return None;
            }
        };
        Some(Fact::AttemptEnded {
            agent,
            attempt,
            task,
            end: ended.end,
            outputs,
            stored,
        })
    }

    /// Puts a gap in the place of records that will not come; gives how many real ones are stored.
    async fn store_gap(&self, task: TaskId, attempt: AttemptId, stored: u64, said: u64) -> u64 {
        self.warn(task).await;
        loop {
            let written = self.parts.store.write_logs(async |tx| {
                // A server that was killed before it stored the end has put it there already.
                let last = log_read_attempt(tx, attempt, stored.saturating_sub(1), 1).await?;
                if last.last().is_some_and(|last| is_lost_gap(&last.record)) {
                    return Ok(stored - 1);
                }
                log_append(tx, task, attempt, stored, &[lost_gap(said - stored)]).await?;
                Ok::<_, StoreError>(stored)
            });
            match written.await {
                Ok(stored) => break stored,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a gap in the log cannot be written; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// A log with a gap makes its task end with a warning.
    async fn warn(&self, task: TaskId) {
        loop {
            let warned = self
                .parts
                .store
                .write(async |tx| task_mark_warned(tx, task).await);
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

    async fn outputs(
        &self,
        task: TaskId,
        attempt: AttemptId,
    ) -> Result<Vec<NamedOutput>, StoreError> {
        let found = {
            let mut tx = self.parts.store.read_logs().await?;
            log_variables(&mut tx, attempt).await?
        };
        if found.left_out_count > 0 {
            self.tell_left_out(task, attempt, &found).await?;
        }
        Ok(found
            .kept
            .into_iter()
            .map(|v| NamedOutput {
                name: v.name,
                value: v.value,
                sensitive: v.sensitive,
            })
            .collect())
    }

    /// Says in the task's log what was left out of its output variables, and that it ends with a
    /// warning. Said again when the end comes again: better twice than not.
    async fn tell_left_out(
        &self,
        task: TaskId,
        attempt: AttemptId,
        found: &LogVariables,
    ) -> Result<(), StoreError> {
        let names: Vec<String> = found
            .left_out
            .iter()
            .map(|name| format!("'{}'", name.chars().take(80).collect::<String>()))
            .collect();
        let count = found.left_out_count;
        tracing::warn!(
            task.id = %task, attempt.id = %attempt, count,
            "output variables beyond the limits were left out"
        );
        let record = Record {
            at_us: super::effects::now_us(),
            body: RecordBody::Line {
                stream: Stream::Agent,
                level: Level::Warning,
                text: format!(
                    "{count} output variables are beyond what a step may set and were left out: {}{}; \
                     upgrade the agent, which keeps to the limits itself",
                    names.join(", "),
                    if count > OUTPUTS_TOLD {
                        " and more"
                    } else {
                        ""
                    },
                ),
            },
        };
        self.warn(task).await;
        self.parts
            .store
            .write_logs(async |tx| log_append_server(tx, task, std::slice::from_ref(&record)).await)
            .await?;
        self.parts.feed.task_changed(task);
        Ok(())
    }
}

/// The row of an attempt; nothing if there is none. A read that fails says nothing of either: it is
/// tried again. Only a damaged row is passed over, since it would hold everybody back for ever; what
/// is said of it is not acknowledged, so its agent keeps it.
async fn find_attempt(store: &Store, attempt: AttemptId) -> Option<AttemptRow> {
    loop {
        let read = async { attempt_find(&mut store.read().await?, attempt).await };
        match read.await {
            Ok(row) => return row,
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(
                    attempt.id = %attempt,
                    error = &error as &dyn std::error::Error,
                    "what is stored of an attempt is damaged; what its agent says of it is passed over"
                );
                return None;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "attempts cannot be read; trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Why records are missing that an agent says there were.
const LOST: &str = "they were lost on the agent's disk";

fn lost_gap(records: u64) -> Record {
    Record {
        at_us: super::effects::now_us(),
        body: RecordBody::Gap {
            lines: records,
            bytes: 0,
            reason: LOST.to_owned(),
        },
    }
}

fn is_lost_gap(record: &Record) -> bool {
    matches!(&record.body, RecordBody::Gap { reason, .. } if reason == LOST)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mantle_shared::ids::AttemptId;
    use mantle_shared::uuid::Uuid;

    use super::find_attempt;
    use crate::store::testing;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_fails_is_not_taken_for_nobodys_attempt() {
        let test = testing::sqlite().await;
        let attempt = AttemptId::from_uuid(Uuid::now_v7());
        assert_eq!(find_attempt(&test.store, attempt).await, None);
        testing::hide_attempts(&test.store).await;
        let find = find_attempt(&test.store, attempt);
        tokio::pin!(find);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut find).await;
        assert!(early.is_err(), "nothing is known, and it said {early:?}");
        testing::show_attempts(&test.store).await;
        assert_eq!(find.await, None);
    }
}
