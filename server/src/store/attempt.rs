//! Attempts that were ordered: what an agent's report is judged by.
//!
//! The row is written before the order leaves, in the transaction of the event that decided it, so
//! that an agent never reports an attempt of ours that is not known here.

use mantle_domain::ids::{AgentId, AttemptId, TargetId, TaskId};
use mantle_shared::protocol::Outcome;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Column, Param, Row, ToParam, params, word_enum};

word_enum! {
    /// Where an attempt stands, as far as is committed.
    pub enum AttemptState {
        /// It is ordered; whether it was started is the agent's to say.
        Ordered = "ordered",
        /// The agent said that it runs.
        Running = "running",
        /// Its end is stored.
        Ended = "ended",
    }
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its id.
    pub id: AttemptId,
    /// The task.
    pub task_id: TaskId,
    /// The agent that was ordered to run it; nobody else may report it.
    pub agent_id: AgentId,
    /// The step's index in the plan.
    pub step: u32,
    /// The action's index in its step.
    pub action: u32,
    /// The target that the work is about.
    pub subject_id: TargetId,
    /// The target whose agent runs it.
    pub executor_id: TargetId,
    /// 1 for the first start of the node.
    pub attempt: u32,
    /// The epoch of the order.
    pub epoch: u64,
    /// Where it stands.
    pub state: AttemptState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The whole end as the agent reported it, as JSON.
    pub end_body: Option<String>,
    /// When it was ordered.
    pub created_at_us: i64,
    /// When its end was stored.
    pub ended_at_us: Option<i64>,
}

/// Adds an attempt that is about to be ordered. Adding the same one again changes nothing.
pub async fn attempt_insert(tx: &mut Tx, attempt: &AttemptRow) -> Result<()> {
    tx.exec(
        "INSERT INTO attempt (id, task_id, agent_id, step, action, subject_id, executor_id, try,
             epoch, state, outcome, end_body, created_at_us, ended_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (id) DO NOTHING",
        params![
            attempt.id,
            attempt.task_id,
            attempt.agent_id,
            attempt.step,
            attempt.action,
            attempt.subject_id,
            attempt.executor_id,
            attempt.attempt,
            attempt.epoch,
            attempt.state,
            attempt.outcome.map(OutcomeWord),
            attempt.end_body,
            attempt.created_at_us,
            attempt.ended_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("attempt"))?;
    Ok(())
}

/// The attempt of this id.
pub async fn attempt_find(tx: &mut Tx, id: AttemptId) -> Result<Option<AttemptRow>> {
    tx.row("SELECT * FROM attempt WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All attempts of a task, in the order of the plan.
pub async fn attempt_list_of_task(tx: &mut Tx, task: TaskId) -> Result<Vec<AttemptRow>> {
    tx.rows(
        "SELECT * FROM attempt WHERE task_id = $1
         ORDER BY step, action, subject_id, executor_id, try",
        params![task],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The attempts of an agent of whose end neither it nor a person has said anything.
pub async fn attempt_list_live_of_agent(tx: &mut Tx, agent: AgentId) -> Result<Vec<AttemptRow>> {
    tx.rows(
        "SELECT * FROM attempt WHERE agent_id = $1 AND state IN ('ordered', 'running')
           AND NOT EXISTS (SELECT 1 FROM resolution
                           WHERE attempt_id = attempt.id AND taken_at_us IS NOT NULL)
         ORDER BY created_at_us, id",
        params![agent],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// The agent said that the attempt runs. Nothing changes if it did so before or it is over.
pub async fn attempt_mark_running(tx: &mut Tx, id: AttemptId) -> Result<()> {
    tx.exec(
        "UPDATE attempt SET state = 'running' WHERE id = $1 AND state = 'ordered'",
        params![id],
    )
    .await?;
    Ok(())
}

/// Stores how an attempt ended. False if its end is stored already: the first report holds.
pub async fn attempt_mark_ended(
    tx: &mut Tx,
    id: AttemptId,
    outcome: Outcome,
    end_body: &str,
    at_us: i64,
) -> Result<bool> {
    let touched = tx
        .exec(
            "UPDATE attempt SET state = 'ended', outcome = $2, end_body = $3, ended_at_us = $4
             WHERE id = $1 AND state IN ('ordered', 'running')",
            params![id, OutcomeWord(outcome), end_body, at_us],
        )
        .await?;
    if touched == 0 && attempt_find(tx, id).await?.is_none() {
        return Err(StoreError::not_found("attempt"));
    }
    Ok(touched == 1)
}

/// The wire's verdict as a word of ours.
#[derive(Clone, Copy)]
struct OutcomeWord(Outcome);

impl ToParam for OutcomeWord {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        let word = match self.0 {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed-out",
            Outcome::Cancelled => "cancelled",
            Outcome::NotStarted => "not-started",
            Outcome::Interrupted => "interrupted",
            Outcome::Unknown => "unknown",
            Outcome::Abandoned => "abandoned",
        };
        word.to_param()
    }
}

impl Column for OutcomeWord {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Some(Self(match raw.as_str() {
            "succeeded" => Outcome::Succeeded,
            "failed" => Outcome::Failed,
            "timed-out" => Outcome::TimedOut,
            "cancelled" => Outcome::Cancelled,
            "not-started" => Outcome::NotStarted,
            "interrupted" => Outcome::Interrupted,
            "unknown" => Outcome::Unknown,
            "abandoned" => Outcome::Abandoned,
            _ => return None,
        }))
    }
}

fn read(row: &Row) -> Result<AttemptRow> {
    Ok(AttemptRow {
        id: row.get("id")?,
        task_id: row.get("task_id")?,
        agent_id: row.get("agent_id")?,
        step: row.get("step")?,
        action: row.get("action")?,
        subject_id: row.get("subject_id")?,
        executor_id: row.get("executor_id")?,
        attempt: row.get("try")?,
        epoch: row.get("epoch")?,
        state: row.get("state")?,
        outcome: row.find::<OutcomeWord>("outcome")?.map(|word| word.0),
        end_body: row.find("end_body")?,
        created_at_us: row.get("created_at_us")?,
        ended_at_us: row.find("ended_at_us")?,
    })
}
