//! What can happen to a deployment, and the facts of the moment in which it is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TargetId};
use mantle_shared::protocol::{AttemptEnd, StartRefusal};

use super::event::OutputVariable;
use super::locks::LockKeeper;
use super::model::State;
use super::resolution::Resolution;
use crate::interruption::Given;
use crate::plan::{NodeRef, Plan};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Its turn came and it could be planned.
    Begin {
        /// The plan.
        plan: Arc<Plan>,
    },
    /// Its turn came and it could not be planned.
    Refuse {
        /// Why, in a sentence.
        message: String,
    },
    /// An agent answered an acquisition.
    AcquireEnded {
        /// Whose agent.
        target: TargetId,
        /// What it said.
        end: AcquireEnd,
    },
    /// An agent answered a start.
    StartAnswered {
        /// Which attempt.
        attempt: AttemptId,
        /// What it said.
        answer: StartAnswer,
    },
    /// The order of an attempt cannot be made.
    OrderImpossible {
        /// Which attempt.
        attempt: AttemptId,
        /// Whether its agent may have it from before.
        sent: Sent,
        /// Why, for people.
        message: String,
    },
    /// An agent reported an attempt's end; its records are stored.
    AttemptEnded {
        /// Which.
        attempt: AttemptId,
        /// The agent's word.
        end: AttemptEnd,
        /// The output variables among its records.
        outputs: Vec<OutputVariable>,
        /// How many of its records are stored.
        stored: u64,
    },
    /// An agent reported an attempt whose process stands in its journal.
    AttemptSeenRunning {
        /// Which.
        attempt: AttemptId,
    },
    /// The agent's journal, fully reported, does not hold an attempt that is not over.
    AttemptForgotten {
        /// Which.
        attempt: AttemptId,
        /// The journal that was reported; none if the agent did not say.
        journal: Option<JournalId>,
    },
    /// A person said how an attempt ended. Nothing if that is known, or if its agent can be asked.
    AttemptResolved {
        /// Which.
        attempt: AttemptId,
        /// What they said.
        resolution: Resolution,
    },
    /// Somebody asked for the deployment to be cancelled.
    CancelRequested {
        /// Who.
        by: String,
    },
    /// Somebody who may answered an interruption.
    InterruptionAnswered {
        /// Its number.
        number: u32,
        /// What they said.
        given: Given,
    },
    /// An agent answered a cancel.
    CancelAnswered {
        /// Which attempt.
        attempt: AttemptId,
        /// What it said.
        answer: CancelAnswer,
    },
    /// An agent's trust was withdrawn.
    AgentRevoked {
        /// Which.
        agent: AgentId,
    },
    /// A deadline passed, an agent came or went: look again.
    Tick,
}

/// How an acquisition ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcquireEnd {
    /// Everything is there.
    Done {
        /// Bytes that travelled.
        fetched_bytes: u64,
        /// Bytes that were there already.
        reused_bytes: u64,
    },
    /// It failed.
    Failed {
        /// Why.
        message: String,
        /// Another try may go better.
        transient: bool,
    },
}

/// What an agent says to a start. A start that finds the attempt over is followed by its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAnswer {
    /// It is in the journal.
    Accepted,
    /// It is not, and nothing was started.
    Refused {
        /// Why.
        reason: StartRefusal,
        /// For people.
        message: String,
    },
}

/// Whether an order has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It never did, so nothing was started.
    Never,
    /// It was sent before, or may have been by a server that went down since. What became of it is
    /// its agent's to say.
    Perhaps,
}

/// What an agent says to a cancel. One that finds the attempt over is followed by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The request stands in the journal.
    Cancelling,
    /// It was never started and never will be.
    Voided,
}

/// A `run:` template that is to be judged, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The template.
    pub template: &'a str,
    /// The index of its step.
    pub step: u32,
    /// The node whose action's it is; none if it is the step's.
    pub node: Option<NodeRef>,
}

/// Whether a template is true, or why that cannot be judged.
pub type JudgeCondition<'a> = dyn Fn(&State, Asked<'_>) -> Result<bool, String> + 'a;

/// The facts of the moment: they are not events, and decisions that rest on them are.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The time.
    pub now: Timestamp,
    /// The agents that are connected and resynced.
    pub online: &'a BTreeSet<AgentId>,
    /// Whether an agent has not been there since this server began and may still come back. What it owes is
    /// not overdue meanwhile: it may have been told long ago, to a server that was down.
    pub returning: &'a dyn Fn(AgentId) -> bool,
    /// The journals that they go by, of those that said so.
    pub journals: &'a BTreeMap<AgentId, JournalId>,
    /// Judges a `run:` template. It is given the state as it is by then, which this very input may
    /// have taken further.
    pub condition: &'a JudgeCondition<'a>,
    /// Evaluates the instructions of a manual action, with the state in the same way.
    pub instructions: &'a dyn Fn(&State, NodeRef) -> String,
    /// How long things may take.
    pub policy: &'a Policy,
    /// Keeps the locks of all deployments.
    pub locks: &'a dyn LockKeeper,
}

impl std::fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment")
            .field("now", &self.now)
            .field("online", &self.online)
            .finish_non_exhaustive()
    }
}

/// How long things may take. Nothing waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For all packages of a deployment to be on their executors, unless its project says.
    pub acquire: SignedDuration,
    /// For a step, unless it says.
    pub step: SignedDuration,
    /// For the whole deployment, unless project, environment or operator say.
    pub deployment: SignedDuration,
    /// For a node's agent to be connected when the node's turn comes.
    pub pick_up: SignedDuration,
    /// For the locks of a node to be free, beyond what is waited for its agent.
    pub lock: SignedDuration,
    /// Beyond an action's own limits, for word of its end to arrive.
    pub silence: SignedDuration,
    /// Beyond the grace period, for word of a cancelled attempt's end to arrive.
    pub cancel: SignedDuration,
    /// Before something that failed for a passing reason is tried again.
    pub backoff: SignedDuration,
    /// For a person to answer, unless the action says.
    pub person: SignedDuration,
    /// How often an attempt of which nothing was run is ordered anew, beyond the action's retries.
    pub restarts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            acquire: SignedDuration::from_mins(30),
            // A large farm, one target at a time, is through within this; a forgotten one is not
            // found on Monday.
            step: SignedDuration::from_hours(12),
            deployment: SignedDuration::from_hours(24),
            // A machine that reboots for an update is back within this.
            pick_up: SignedDuration::from_mins(10),
            // Longer than what holds it may take, for several of them.
            lock: SignedDuration::from_hours(4),
            // A link may be down for a while; the agent keeps its word until it is back.
            silence: SignedDuration::from_mins(30),
            cancel: SignedDuration::from_mins(2),
            backoff: SignedDuration::from_secs(2),
            // Longer than a weekend with holidays around it; nothing runs meanwhile.
            person: SignedDuration::from_hours(7 * 24),
            restarts: 3,
        }
    }
}

/// An input that the state has no place for. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The deployment is over.
    #[error("the deployment is over")]
    Finished,
    /// It has not begun.
    #[error("the deployment has not begun")]
    NotBegun,
    /// It began before.
    #[error("the deployment began already")]
    BegunTwice,
    /// It never ordered this attempt.
    #[error("attempt {attempt} was never ordered")]
    UnknownAttempt {
        /// Which.
        attempt: AttemptId,
    },
    /// It asked nothing of this target.
    #[error("nothing was asked of target {target}")]
    UnknownTarget {
        /// Which.
        target: TargetId,
    },
    /// It never asked this.
    #[error("interruption {number} was never raised")]
    UnknownInterruption {
        /// Its number.
        number: u32,
    },
    /// The attempt's end was reported before, and differently.
    #[error("attempt {attempt} has ended otherwise before")]
    Contradiction {
        /// Which.
        attempt: AttemptId,
    },
}
