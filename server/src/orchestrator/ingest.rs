//! Takes what agents say: stores log records first, then passes on what rests on them.
//!
//! Records that arrive together are committed together, and acknowledged only then. While the log
//! cannot be written nothing is taken in: the queue fills, the agents' streams are held back, and
//! their spools keep what they have.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{Ack, AttemptEnded, AttemptPosition, AttemptReport, Records, close};
use tokio::sync::mpsc;

use super::OrchestratorParts;
use super::fact::{Fact, NamedOutput, Reported};
use crate::gateway::Arrival;
use crate::store::{
    AttemptState, StoreError, attempt_find, log_append, log_position, log_variables,
};

/// How much is committed together.
const BATCH: usize = 256;
/// How many attempts' owners are remembered; beyond it they are looked up again.
const KNOWN: usize = 10_000;
/// Between two tries to write the log.
const RETRY: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub struct Ingest {
    parts: OrchestratorParts,
    arrivals: mpsc::Receiver<Arrival>,
    facts: mpsc::Sender<Fact>,
    owners: HashMap<AttemptId, (TaskId, AgentId)>,
}

impl Ingest {
    pub(super) fn new(
        parts: OrchestratorParts,
        arrivals: mpsc::Receiver<Arrival>,
        facts: mpsc::Sender<Fact>,
    ) -> Self {
        Self {
            parts,
            arrivals,
            facts,
            owners: HashMap::new(),
        }
    }

    /// Works until the gateway or the orchestrator is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.arrivals.recv_many(&mut batch, BATCH).await > 0 {
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
                Some((task, owner)) if owner == agent => wanted.push((agent, task, records)),
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
        let mut tx = self.retry_read().await;
        let row = attempt_find(&mut tx, attempt).await.ok().flatten()?;
        if self.owners.len() >= KNOWN {
            self.owners.clear();
        }
        self.owners.insert(attempt, (row.task_id, row.agent_id));
        Some((row.task_id, row.agent_id))
    }

    async fn retry_read(&self) -> crate::store::Tx {
        loop {
            match self.parts.store.read().await {
                Ok(tx) => return tx,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the database cannot be read"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn fact(&mut self, arrival: Arrival) -> Option<Fact> {
        match arrival {
            Arrival::Resync {
                agent,
                session,
                remote,
                hello,
                reports,
            } => {
                let reports = self.reported(agent, reports).await;
                Some(Fact::Resync {
                    agent,
                    session,
                    remote,
                    hello,
                    reports,
                })
            }
            Arrival::Disconnected { agent, session } => Some(Fact::Disconnected { agent, session }),
            Arrival::AttemptEnded { agent, ended } => self.ended(agent, ended).await,
            Arrival::StartAnswered { agent, answer } => Some(Fact::StartAnswered { agent, answer }),
            Arrival::CancelAnswered { agent, answer } => {
                Some(Fact::CancelAnswered { agent, answer })
            }
            Arrival::AcquireAnswered { agent, answer } => {
                Some(Fact::AcquireAnswered { agent, answer })
            }
            Arrival::Refused(refusal) => Some(Fact::Refused(refusal)),
            Arrival::AcquireProgressed { .. } | Arrival::Records { .. } => None,
        }
    }

    /// What is stored of each attempt that an agent reports.
    async fn reported(&mut self, agent: AgentId, reports: Vec<AttemptReport>) -> Vec<Reported> {
        let mut reported = Vec::with_capacity(reports.len());
        let mut tx = self.retry_read().await;
        for report in reports {
            let row = attempt_find(&mut tx, report.attempt).await.ok().flatten();
            let ours = row.filter(|row| row.agent_id == agent);
            let next_seq = self.position(report.attempt).await;
            reported.push(Reported {
                task: ours.as_ref().map(|row| row.task_id),
                end_stored: ours.is_some_and(|row| row.state == AttemptState::Ended),
                next_seq,
                report,
            });
        }
        reported
    }

    async fn position(&self, attempt: AttemptId) -> u64 {
        match self.parts.store.read_logs().await {
            Ok(mut tx) => log_position(&mut tx, attempt).await.unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// The end of an attempt, if all of its records are here.
    async fn ended(&mut self, agent: AgentId, ended: AttemptEnded) -> Option<Fact> {
        let attempt = ended.attempt;
        let (task, owner) = self.owner(attempt).await?;
        if owner != agent {
            tracing::warn!(agent.id = %agent, attempt.id = %attempt, "the end of another agent's attempt was dropped");
            return None;
        }
        let stored = self.position(attempt).await;
        if stored != ended.end.records {
            // Not a thing that an ordered stream does; a fresh report of the journal settles it.
            tracing::warn!(
                agent.id = %agent,
                attempt.id = %attempt,
                stored,
                said = ended.end.records,
                "an attempt ended with other records than are stored; its agent is asked to report anew"
            );
            self.parts.sessions.disconnect(agent, close::GOING_AWAY);
            return None;
        }
        let outputs = match self.outputs(attempt).await {
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
        })
    }

    async fn outputs(&self, attempt: AttemptId) -> Result<Vec<NamedOutput>, StoreError> {
        let mut tx = self.parts.store.read_logs().await?;
        let variables = log_variables(&mut tx, attempt).await?;
        Ok(variables
            .into_iter()
            .map(|v| NamedOutput {
                name: v.name,
                value: v.value,
                sensitive: v.sensitive,
            })
            .collect())
    }
}
