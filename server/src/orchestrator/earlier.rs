//! What runs at an agent and holds its locks there, though our books show nothing of them: the agent says so
//! when it connects. A machine that was revoked and joined anew keeps its journal, with what was ordered of
//! another agent by our books; and what a person resolved while its agent was away may live after all.
//!
//! What holds here: such locks are written down before anything is ordered of the agent, so that who waits
//! for them says so and they can be broken; and they go with the word of its end. Nothing else counts that an
//! agent says of an attempt of its earlier identity: it is not its own.

use mantle_domain::lock::Hold;
use mantle_shared::ids::{AgentId, AttemptId};
use mantle_shared::lock::Lock;
use mantle_shared::protocol::Outcome;

use super::Orchestrator;
use super::fact::Reported;
use super::turn::Turn;
use crate::store::{HeldLockRow, StoreError, Tx, held_lock_insert};

/// Writes down what is held. What was broken stays so.
pub(super) async fn write(tx: &mut Tx, rows: &[HeldLockRow]) -> Result<(), StoreError> {
    for row in rows {
        held_lock_insert(tx, row).await?;
    }
    Ok(())
}

impl Orchestrator {
    /// An agent reported its journal: what runs there holds its locks, and what an earlier identity ran there
    /// and is over does not any more.
    pub(super) fn note_kept(&mut self, agent: AgentId, reports: &[Reported], turn: &mut Turn) {
        for reported in reports {
            if reported.task.is_none() && reported.kept.is_empty() {
                self.earlier_over(agent, reported.report.attempt, turn);
            }
            turn.kept.extend(reported.kept.iter().cloned());
        }
    }

    /// Before a turn is decided: what it is about to write down is held already.
    pub(super) fn take_kept(&mut self, turn: &Turn) {
        for row in &turn.kept {
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
