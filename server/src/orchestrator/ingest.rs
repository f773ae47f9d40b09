//! Takes what agents say: stores log records first, then passes on what rests on them.
//!
//! Records that arrive together are committed together, and acknowledged only then. While the log
//! cannot be written no more of them are taken in: their lane fills, the agents' streams are held back,
//! and their spools keep what they have; answers have a lane of their own and go on. Everything goes through the masks of its task before it is stored;
//! what cannot be masked is held back in the same way, for that task alone.

mod artifacts;
mod earlier;
mod ended;
mod held_back;
mod masked;
mod output;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{
    Ack, AcquireResult, AttemptEnded, AttemptPosition, AttemptReport, CancelResult, ReportedState,
    StartResult,
};
use tokio::sync::mpsc;

use self::held_back::Teller;
use self::output::Storing;
use super::OrchestratorParts;
use super::fact::{Fact, Reported};
use super::held::Held;
use super::masking::Places;
use super::masks::Masks;
use crate::gateway::{Arrival, ArrivalQueue};
use crate::store::{AttemptRow, AttemptState, Store, StoreError, attempt_find, log_position};

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
    /// The attempts of which it was said that their output is held back on the agent.
    held_told: HashSet<AttemptId>,
    teller: Teller,
    /// Tasks that are marked as having warnings, as far as that is remembered.
    warned: HashSet<TaskId>,
    /// What agents said that their earlier identities left running.
    earlier: HashSet<AttemptId>,
    storing: Storing,
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
            held_told: HashSet::new(),
            teller: Teller::new(),
            warned: HashSet::new(),
            earlier: HashSet::new(),
            storing: Storing::default(),
        }
    }

    /// Works until the gateway or the orchestrator is gone.
    pub async fn run(mut self) {
        self.teller
            .start(self.parts.store.clone(), self.parts.feed.clone());
        let mut look_again = tokio::time::interval(HELD_RETRY);
        let (mut answers_open, mut output_open) = (true, true);
        while answers_open || output_open || !self.storing.is_idle() {
            tokio::select! {
                taken = self.arrivals.answers.recv_many(BATCH), if answers_open => match taken {
                    Some(taken) => for arrival in taken.arrivals {
                        if self.pass_on(arrival).await.is_err() {
                            return;
                        }
                    },
                    None => answers_open = false,
                },
                taken = self.arrivals.output.recv_many(BATCH),
                    if output_open && self.storing.has_room() => match taken {
                    Some(taken) => self.take_output(taken).await,
                    None => output_open = false,
                },
                stored = self.storing.stored(&self.parts.store), if !self.storing.is_idle() => {
                    // Without its writer nothing would be stored any more: the server stops and says so.
                    let Some((batch, positions)) = stored else {
                        return;
                    };
                    let ends = self.acknowledge_all(batch, positions);
                    let known = self.look_up(&ends).await;
                    for ((agent, ended), stored) in ends.into_iter().zip(known) {
                        if let Some(fact) = self.ended(agent, ended, stored).await
                            && self.facts.send(fact).await.is_err()
                        {
                            return;
                        }
                    }
                }
                _ = look_again.tick() => self.release_held().await,
            }
        }
    }

    /// Tells the orchestrator; an error if it is gone.
    async fn pass_on(&mut self, arrival: Arrival) -> Result<(), mpsc::error::SendError<Fact>> {
        match self.fact(arrival).await {
            Some(fact) => self.facts.send(fact).await,
            None => Ok(()),
        }
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
        self.remember(attempt, (row.task_id, row.agent_id));
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
            Arrival::OutputHeld { agent, held } => {
                self.tell_output_held(agent, held).await;
                None
            }
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
            Arrival::AcquireProgressed { agent, progress } => {
                self.parts.online.transfers.progressed(agent, progress);
                None
            }
            Arrival::Records { .. }
            | Arrival::RecordsGone { .. }
            | Arrival::AttemptEnded { .. } => None,
        }
    }

    /// What is stored of each attempt that an agent reports.
    async fn reported(&mut self, agent: AgentId, reports: Vec<AttemptReport>) -> Vec<Reported> {
        let mut reported = Vec::with_capacity(reports.len());
        for mut report in reports {
            let row = find_attempt(&self.parts.store, report.attempt).await;
            let kept = match &row {
                Some(row) => self.locks_kept(agent, row, &report).await,
                None => Vec::new(),
            };
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
                kept,
            });
        }
        reported
    }

    /// How many records of an attempt are stored. Nothing is judged by a number that is not known.
    async fn position(&self, attempt: AttemptId) -> u64 {
        let positions = self.positions(&[attempt]).await;
        positions.first().copied().unwrap_or_default()
    }

    /// The same of several, in one look.
    async fn positions(&self, attempts: &[AttemptId]) -> Vec<u64> {
        loop {
            let read = async {
                let mut tx = self.parts.store.read_logs().await?;
                let mut positions = Vec::with_capacity(attempts.len());
                for attempt in attempts {
                    positions.push(log_position(&mut tx, *attempt).await?);
                }
                Ok::<_, StoreError>(positions)
            };
            match read.await {
                Ok(positions) => return positions,
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

    /// Whose the attempts are that ended together, and how many records of each are stored: each in one
    /// look for all of them, for a step on a thousand targets ends a thousand times.
    async fn look_up(&mut self, ends: &[(AgentId, AttemptEnded)]) -> Vec<u64> {
        let attempts: Vec<AttemptId> = ends.iter().map(|(_, ended)| ended.attempt).collect();
        let unknown: Vec<AttemptId> = attempts
            .iter()
            .copied()
            .filter(|attempt| !self.owners.contains_key(attempt))
            .collect();
        let found = async {
            let mut tx = self.parts.store.read().await?;
            let mut found = Vec::with_capacity(unknown.len());
            for attempt in &unknown {
                found.extend(attempt_find(&mut tx, *attempt).await?);
            }
            Ok::<_, StoreError>(found)
        };
        // What cannot be read now is looked for again one by one, and that waits until it can be.
        if let Ok(rows) = found.await {
            for row in rows {
                self.remember(row.id, (row.task_id, row.agent_id));
            }
        }
        self.positions(&attempts).await
    }

    fn remember(&mut self, attempt: AttemptId, owner: (TaskId, AgentId)) {
        if self.owners.len() >= KNOWN {
            self.owners.clear();
        }
        self.owners.insert(attempt, owner);
    }

    /// A log with a gap makes its task end with a warning.
    async fn warn(&self, task: TaskId) {
        masked::warn(&self.parts.store, task).await;
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
