//! What one turn of the loop takes in, and what of that is written down beside events.

use std::collections::BTreeMap;

use mantle_domain::state::{Input, Unresolvable};
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{self as wire, AttemptPosition};

use super::fact::NamedOutput;
use crate::gateway::Refusal;
use crate::store::{HeldLockRow, ResolutionRow};

/// What one turn takes in.
#[derive(Default)]
pub(super) struct Turn {
    /// Inputs by deployment, in order.
    pub(super) inputs: BTreeMap<TaskId, Vec<Input>>,
    /// What is acknowledged once all that it rests on is committed, and whose task that is.
    pub(super) acks: Vec<(TaskId, AgentId, AttemptPosition)>,
    /// Ends to be written down of attempts whose deployment is over.
    pub(super) late: Vec<Late>,
    /// What people said of attempts whose deployment is over.
    pub(super) resolved: Vec<ResolutionRow>,
    /// What people said of attempts and is not needed.
    pub(super) moot: Vec<Moot>,
    /// Agents that connected, and what they said of themselves.
    pub(super) seen: Vec<(AgentId, Box<wire::Hello>)>,
    /// Agents whose connection is gone.
    pub(super) left: Vec<AgentId>,
    /// Connections that were refused.
    pub(super) refusals: Vec<Refusal>,
    /// Attempts that are over and whose agent knows nothing of them: they hold nothing any more.
    pub(super) unlocked: Vec<AttemptId>,
    /// What agents hold of which our books showed nothing.
    pub(super) kept: Vec<HeldLockRow>,
    /// Attempts that their agents do not take yet, and why. Only for people.
    pub(super) put_off: Vec<(TaskId, AttemptId, String)>,
    /// Attempts that hold locks and that their agent, whose journal was reported whole, does not know.
    pub(super) unreported: Vec<AttemptId>,
}

/// What a person said of an attempt, and why it is not taken in.
#[derive(Clone)]
pub(super) struct Moot {
    pub(super) row: ResolutionRow,
    pub(super) why: Unresolvable,
}

/// The end of an attempt whose deployment is over.
#[derive(Clone)]
pub(super) struct Late {
    pub(super) task: TaskId,
    pub(super) attempt: AttemptId,
    pub(super) end: wire::AttemptEnd,
}

impl Turn {
    pub(super) fn input(&mut self, task: TaskId, input: Input) {
        self.inputs.entry(task).or_default().push(input);
    }

    /// How many things it would write down beside events.
    pub(super) fn parts(&self) -> usize {
        let Self {
            late,
            resolved,
            moot,
            seen,
            left,
            refusals,
            unlocked,
            kept,
            ..
        } = self;
        let said = resolved.len() + moot.len();
        let locks = unlocked.len() + kept.len();
        said + late.len() + seen.len() + left.len() + refusals.len() + locks
    }

    /// Each of these in a turn of its own.
    pub(super) fn apart(&self) -> Vec<Self> {
        let late = self.late.iter().map(|late| Self {
            late: vec![late.clone()],
            ..Self::default()
        });
        let resolved = self.resolved.iter().map(|row| Self {
            resolved: vec![row.clone()],
            ..Self::default()
        });
        let moot = self.moot.iter().map(|moot| Self {
            moot: vec![moot.clone()],
            ..Self::default()
        });
        let seen = self.seen.iter().map(|seen| Self {
            seen: vec![seen.clone()],
            ..Self::default()
        });
        let left = self.left.iter().map(|left| Self {
            left: vec![*left],
            ..Self::default()
        });
        let refusals = self.refusals.iter().map(|refusal| Self {
            refusals: vec![refusal.clone()],
            ..Self::default()
        });
        let unlocked = self.unlocked.iter().map(|attempt| Self {
            unlocked: vec![*attempt],
            ..Self::default()
        });
        let kept = self.kept.iter().map(|row| Self {
            kept: vec![row.clone()],
            ..Self::default()
        });
        let connections = seen.chain(left).chain(refusals);
        let said = resolved.chain(moot);
        late.chain(said)
            .chain(connections)
            .chain(unlocked)
            .chain(kept)
            .collect()
    }
}

/// The end of an attempt, as its agent told it.
pub(super) struct Ended {
    pub(super) attempt: AttemptId,
    pub(super) end: wire::AttemptEnd,
    pub(super) outputs: Vec<NamedOutput>,
    pub(super) stored: u64,
}
