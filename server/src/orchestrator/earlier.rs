//! What an agent's earlier identity left running. A machine that was revoked and joined anew keeps its
//! journal, and what runs by it holds its locks there, though it was ordered of another agent by our books:
//! the agent says so when it connects.
//!
//! What holds here: such locks are written down before anything is ordered of the agent, so that who waits
//! for them says so and they can be broken; and they go with the word of its end. Nothing else that the
//! agent says of such an attempt counts: it is not its own.

use mantle_domain::lock::Hold;
use mantle_shared::ids::{AgentId, AttemptId};
use mantle_shared::lock::Lock;
use mantle_shared::protocol::Outcome;

use super::Orchestrator;
use super::fact::Reported;
use super::turn::Turn;
use crate::store::{HeldLockRow, LockEnd, StoreError, Tx, held_lock_insert, held_lock_mark_ended};

/// Writes down what is held. What was broken stays so.
pub(super) async fn write(tx: &mut Tx, rows: &[HeldLockRow]) -> Result<(), StoreError> {
    for row in rows {
        held_lock_insert(tx, row).await?;
        held_lock_mark_ended(tx, row.attempt_id, LockEnd::Unknown).await?;
    }
    Ok(())
}

impl Orchestrator {
    /// An agent reported its journal: what runs there of an earlier identity holds its locks, and what
    /// ran there and is over does not any more.
    pub(super) fn note_earlier(&mut self, agent: AgentId, reports: &[Reported], turn: &mut Turn) {
        for reported in reports.iter().filter(|reported| reported.task.is_none()) {
            let attempt = reported.report.attempt;
            if reported.earlier.is_empty() {
                self.earlier_over(agent, attempt, turn);
            }
            turn.earlier.extend(reported.earlier.iter().cloned());
        }
    }

    /// Before a turn is decided: what it is about to write down of earlier identities is held already.
    pub(super) fn take_earlier(&mut self, turn: &Turn) {
        for row in &turn.earlier {
            let known = self
                .locks
                .held()
                .find(|(attempt, _)| *attempt == row.attempt_id)
                .map(|(_, hold)| hold.clone());
            let mut hold = known.unwrap_or_else(|| Hold {
                task: row.task_id,
                holder: row.holder.clone(),
                executor: row.executor_id,
                agent: row.agent_id,
                locks: Vec::new(),
                ended: Some(Outcome::Unknown),
                broken: false,
            });
            let lock = Lock {
                name: row.name.clone(),
                mode: row.mode,
            };
            if !hold.locks.contains(&lock) {
                hold.locks.push(lock);
                self.locks.take(row.attempt_id, hold);
            }
        }
    }

    /// What an earlier identity left running is over.
    pub(super) fn earlier_over(&self, agent: AgentId, attempt: AttemptId, turn: &mut Turn) {
        if self.holds_of(agent).contains(&attempt) {
            turn.unlocked.push(attempt);
        }
    }
}
