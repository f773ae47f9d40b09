//! What a reported attempt holds of which our books show nothing: it was ordered of an earlier identity of
//! the agent (see `orchestrator/earlier.rs`), or a person resolved it while its agent was away, and it lives
//! after all.

use mantle_shared::ids::AgentId;
use mantle_shared::lock::Lock;
use mantle_shared::protocol::{AttemptReport, ReportedState};

use super::Ingest;
use crate::services::planned;
use crate::store::{
    AgentStatus, AttemptRow, AttemptState, HeldLockRow, LockEnd, StoreError, Tx, agent_fetch,
    resolution_find, task_fetch,
};

impl Ingest {
    /// What a reported attempt holds that an earlier identity of the agent was ordered to run, or that was
    /// resolved. Nothing if it is another's, is over, or cannot be read: the agent keeps its locks itself.
    pub(super) async fn locks_kept(
        &mut self,
        agent: AgentId,
        row: &AttemptRow,
        report: &AttemptReport,
    ) -> Vec<HeldLockRow> {
        let lives = match report.state {
            ReportedState::Accepted | ReportedState::Running => true,
            ReportedState::Ended(_) => false,
        };
        if !lives || row.state == AttemptState::Ended {
            return Vec::new();
        }
        let read = async {
            let mut tx = self.parts.store.read().await?;
            match reason(&mut tx, agent, row).await? {
                Some(why) => held(&mut tx, agent, row, why).await,
                None => Ok(Vec::new()),
            }
        };
        let found: Result<Vec<HeldLockRow>, StoreError> = read.await;
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(
                agent.id = %agent, attempt.id = %row.id, error = &error as &dyn std::error::Error,
                "what a step holds that still runs at an agent cannot be read; it is not shown"
            );
            Vec::new()
        });
        if !found.is_empty() {
            tracing::warn!(
                agent.id = %agent, attempt.id = %row.id,
                "a step still runs at its agent and keeps its locks there, though our books had let go of them"
            );
            if row.agent_id != agent {
                self.earlier.insert(row.id);
            }
        }
        found
    }
}

/// Why our books show nothing of what a living attempt holds, for people; `None` if they do, or if it is
/// not the agent's.
async fn reason(
    tx: &mut Tx,
    agent: AgentId,
    row: &AttemptRow,
) -> Result<Option<&'static str>, StoreError> {
    if row.agent_id != agent {
        let earlier = is_earlier(tx, agent, row).await?;
        return Ok(earlier.then_some("begun under an earlier identity of the agent"));
    }
    let resolved = resolution_find(tx, row.id).await?;
    Ok(resolved.map(|_| "resolved by a person, and still under way"))
}

/// Whether an attempt was ordered of an agent that was revoked and whose target is this agent's now.
async fn is_earlier(tx: &mut Tx, agent: AgentId, row: &AttemptRow) -> Result<bool, StoreError> {
    let own = agent_fetch(tx, agent).await?;
    let former = agent_fetch(tx, row.agent_id).await?;
    let is_target = own.target_id == Some(row.executor_id);
    Ok(is_target && former.status == AgentStatus::Revoked)
}

async fn held(
    tx: &mut Tx,
    agent: AgentId,
    row: &AttemptRow,
    why: &str,
) -> Result<Vec<HeldLockRow>, StoreError> {
    let task = task_fetch(tx, row.task_id).await?;
    let Some((action, locks)) = planned(tx, row).await? else {
        return Ok(Vec::new());
    };
    let holder = format!("T-{} step '{action}' ({why})", task.number);
    let lock = |lock: Lock| HeldLockRow {
        attempt_id: row.id,
        name: lock.name,
        mode: lock.mode,
        executor_id: row.executor_id,
        agent_id: agent,
        task_id: row.task_id,
        holder: holder.clone(),
        taken_at_us: row.created_at_us,
        ended: Some(LockEnd::Unknown),
        broken_at_us: None,
        broken_by: None,
    };
    Ok(locks.into_iter().map(lock).collect())
}
