//! The state: everything that the events so far have established.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TargetId};
use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::uuid::Uuid;
use serde::{Deserialize, Serialize};

use super::event::{OutputVariable, SkipReason};
use super::failure::Failure;
use super::index::NodeIndex;
use super::locks::Blocked;
use super::resolution::Resolution;
use crate::fleet::looked_at;
use crate::interruption::{Answer, Given, Question};
use crate::plan::{NodeRef, Plan};

/// A deployment, as far as it has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// The plan, from the moment it began.
    pub plan: Option<Arc<Plan>>,
    /// The plan's nodes by subject.
    pub by_subject: NodeIndex,
    /// When it began.
    pub began_at: Option<Timestamp>,
    /// It must be over by then; none in a log from before there was such a limit.
    pub end_by: Option<Timestamp>,
    /// How long its clock has stood, by which [`Self::end_by`] has moved.
    pub stood: SignedDuration,
    /// It is to stop: somebody asked for it, or its time is up.
    pub cancel: Option<Cancel>,
    /// Something failed, so what runs on success only does not run any more.
    pub failed: bool,
    /// What failed, in words, as it was known when a step last failed.
    pub failure: Option<Arc<Failure>>,
    /// The steps whose time was up, by index.
    pub late: BTreeMap<u32, Late>,
    /// The targets that failed in a step which allowed that, and the step: no later one is about
    /// them any more.
    pub set_aside: BTreeMap<TargetId, u32>,
    /// The targets that a person said to go on without: no later step is about them any more.
    pub excluded: BTreeMap<TargetId, Exclusion>,
    /// What people were asked, by number from 1.
    pub interruptions: BTreeMap<u32, Interruption>,
    /// Its clock stands since then: a person is awaited.
    pub stands_since: Option<Timestamp>,
    /// The packages that each executor needs, and whether it has them.
    pub acquisitions: BTreeMap<TargetId, Acquisition>,
    /// The steps, by index.
    pub steps: Vec<StepState>,
    /// The nodes whose turn has come.
    pub nodes: BTreeMap<NodeRef, NodeState>,
    /// Every attempt that was ever ordered.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// The same by node.
    pub tried: BTreeSet<(NodeRef, AttemptId)>,
    /// Output variables in the order in which they became known.
    pub outputs: Vec<OutputVariable>,
}

/// That a step's time was up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// When it was told to stop.
    pub at: Timestamp,
    /// How long it might take, if that is known.
    pub limit: Option<String>,
}

/// A target that a person said to go on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// The index of the step in which that was.
    pub step: u32,
    /// Who said so.
    pub by: String,
}

/// Something that people were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruption {
    /// What.
    pub question: Question,
    /// Since when.
    pub since: Timestamp,
    /// It is over if nobody has answered by then.
    pub deadline: Timestamp,
    /// What was answered, in order.
    pub given: Vec<Given>,
    /// What became of it; `None` while it is open.
    pub closed: Option<Closed>,
}

/// What became of an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The answers came to this.
    Answered(Answer),
    /// Nobody answered in time.
    Expired,
    /// The deployment was cancelled.
    Cancelled,
    /// What it was about is of no concern any more: the target was excluded.
    Moot,
    /// How the attempt had ended that it was about became known: somebody said so, or its agent did.
    Resolved,
}

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// It waits for its turn.
    #[default]
    Queued,
    /// It runs.
    Running,
    /// It is over.
    Finished {
        /// How it ended.
        verdict: Verdict,
        /// Why, in a sentence; for a success empty, unless targets were set aside on the way.
        message: String,
        /// When.
        at: Timestamp,
    },
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that had to run did, well.
    Succeeded,
    /// Something failed or is not known to have gone well.
    Failed,
    /// It was stopped because somebody asked for it.
    Cancelled,
    /// It was stopped because its time was up.
    TimedOut,
}

/// Why a deployment is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelCause {
    /// Somebody asked for it.
    Asked {
        /// Who.
        by: String,
    },
    /// Its time is up.
    OutOfTime,
}

/// A deployment that is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// Why.
    pub cause: CancelCause,
    /// Since when.
    pub at: Timestamp,
    /// What has not answered by then is called unknown.
    pub deadline: Timestamp,
}

/// The packages that one executor needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquisition {
    /// The agent that fetches them.
    pub agent: AgentId,
    /// What it needs.
    pub packages: Vec<OrderPackage>,
    /// How far it is.
    pub status: AcquisitionStatus,
    /// It fails if it is not there by then.
    pub deadline: Timestamp,
}

/// How far an acquisition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcquisitionStatus {
    /// Not asked for yet.
    Pending,
    /// Asked for.
    Ordered {
        /// Since when.
        since: Timestamp,
    },
    /// To be asked for again, not before this.
    Waiting {
        /// When.
        until: Timestamp,
        /// Why the last try failed.
        message: String,
    },
    /// Everything is there.
    Done {
        /// Bytes that travelled.
        fetched_bytes: u64,
        /// Bytes that were there already.
        reused_bytes: u64,
    },
    /// It will not be there.
    Failed {
        /// Why.
        message: String,
    },
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StepState {
    /// Its turn has not come.
    #[default]
    Pending,
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
        /// It must be over by then; none in a log from before there was such a limit.
        end_by: Option<Timestamp>,
        /// How long its clock has stood, by which `end_by` has moved.
        stood: SignedDuration,
        /// Its time is up: what has not answered by then is called unknown.
        stop: Option<Timestamp>,
        /// Its clock stands since then: a person is awaited.
        stands_since: Option<Timestamp>,
        /// The subjects that were started or passed over, in that order.
        subjects: BTreeMap<TargetId, SubjectState>,
    },
    /// It is over.
    Finished {
        /// When it began.
        began: Timestamp,
        /// When it ended.
        ended: Timestamp,
        /// More subjects failed than may.
        failed: bool,
        /// What became of each subject.
        subjects: BTreeMap<TargetId, SubjectState>,
    },
    /// It did not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
}

impl StepState {
    /// The subjects that were started or passed over.
    pub fn subjects(&self) -> Option<&BTreeMap<TargetId, SubjectState>> {
        match self {
            Self::Running { subjects, .. } | Self::Finished { subjects, .. } => Some(subjects),
            Self::Pending | Self::Skipped { .. } => None,
        }
    }

    /// It is over, one way or the other.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Skipped { .. })
    }

    /// By when what has not answered is called unknown, if its time is up.
    pub fn stop(&self) -> Option<Timestamp> {
        match self {
            Self::Running { stop, .. } => *stop,
            Self::Pending | Self::Finished { .. } | Self::Skipped { .. } => None,
        }
    }
}

/// How far a subject is within a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectState {
    /// It goes through the actions.
    Active {
        /// Since when.
        since: Timestamp,
        /// An action about it failed.
        failed: bool,
    },
    /// It went through.
    Done {
        /// When it began.
        began: Timestamp,
        /// When it ended.
        ended: Timestamp,
        /// An action about it failed.
        failed: bool,
    },
    /// It was never started.
    PassedOver {
        /// Why.
        reason: SkipReason,
    },
}

impl SubjectState {
    /// An action about it failed.
    pub fn has_failed(&self) -> bool {
        match self {
            Self::Active { failed, .. } | Self::Done { failed, .. } => *failed,
            Self::PassedOver { .. } => false,
        }
    }
}

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Its turn has come; it waits for its agent or for a retry.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// Not before this.
        not_before: Timestamp,
        /// Its agent must be there by then.
        deadline: Timestamp,
        /// The lock that it waits for.
        blocked: Option<Blocked>,
    },
    /// An attempt was ordered and is not over.
    Running {
        /// Which.
        attempt: AttemptId,
    },
    /// It waits for a person.
    Asking {
        /// The number of the interruption.
        interruption: u32,
    },
    /// It is over.
    Done {
        /// The last attempt's verdict; `NotStarted` also when there was none.
        outcome: Outcome,
        /// Why, in a sentence.
        message: String,
        /// When.
        at: Timestamp,
        /// A person said that it does not count.
        waived_by: Option<String>,
    },
    /// It did not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
}

impl NodeState {
    /// It is over, one way or the other.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Skipped { .. })
    }

    /// It ended other than well, and nobody said that this does not count. A node that was
    /// cancelled counts.
    pub fn has_failed(&self) -> bool {
        match self {
            Self::Done {
                outcome, waived_by, ..
            } => *outcome != Outcome::Succeeded && waived_by.is_none(),
            Self::Waiting { .. }
            | Self::Running { .. }
            | Self::Asking { .. }
            | Self::Skipped { .. } => false,
        }
    }

    /// Who said to go on although it had not succeeded.
    pub fn waived_by(&self) -> Option<&str> {
        match self {
            Self::Done { waived_by, .. } => waived_by.as_deref(),
            Self::Waiting { .. }
            | Self::Running { .. }
            | Self::Asking { .. }
            | Self::Skipped { .. } => None,
        }
    }
}

/// One start of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The node that it starts.
    pub node: NodeRef,
    /// The agent that runs it.
    pub agent: AgentId,
    /// 1 for the first start of the node.
    pub number: u32,
    /// When it was ordered.
    pub ordered_at: Timestamp,
    /// If nothing is known of its end by then, it is `Unknown`.
    pub deadline: Timestamp,
    /// How far it is.
    pub status: AttemptStatus,
    /// The journal that its agent went by when it was ordered; none if the agent did not say.
    pub journal: Option<JournalId>,
    /// The agent reported its process.
    pub seen_running: bool,
    /// The agent was asked to cancel it and has not answered.
    pub cancelling: bool,
    /// How many output variables were known when it was ordered: its order is made of those, so
    /// that it is the same order when it is sent again.
    pub outputs_before: usize,
    /// What had failed when it was ordered, for the same reason.
    pub failed_before: Option<Arc<Failure>>,
    /// The attempts whose broken locks it passes over, for the same reason.
    pub despite: Vec<AttemptId>,
    /// How it ended, by the agent's word, also if that came late.
    pub end: Option<AttemptEnd>,
    /// How it ended, by a person's word; none where nobody had to be asked.
    pub resolution: Option<Resolution>,
    /// Whether its order can be carried out at all.
    pub order: OrderFitness,
}

/// Whether an order can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderFitness {
    /// As far as is known.
    Fit,
    /// It was refused for what it is, so that the same order would be refused again.
    Unfit,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptStatus {
    /// Ordered; the agent has not answered.
    Starting,
    /// In the agent's journal.
    Running {
        /// When that became known.
        since: Timestamp,
    },
    /// Over.
    Over {
        /// The verdict.
        outcome: Outcome,
        /// Why, in a sentence.
        message: String,
        /// When that became known.
        at: Timestamp,
    },
}

impl Attempt {
    /// It is over.
    pub fn is_over(&self) -> bool {
        matches!(self.status, AttemptStatus::Over { .. })
    }
}

impl State {
    /// It is over.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }

    /// The verdict, once it is over.
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.phase {
            Phase::Finished { verdict, .. } => Some(*verdict),
            Phase::Queued | Phase::Running => None,
        }
    }

    /// Whether something failed as a step sees it, or the action of a node: for that one, what
    /// failed about its subject in the running step counts as well.
    pub fn has_failed_for(&self, step: u32, node: Option<NodeRef>) -> bool {
        self.failed || self.failed_here(step, node).is_some()
    }

    /// The subject of a node, if something about it failed in the running step.
    pub(super) fn failed_here(&self, step: u32, node: Option<NodeRef>) -> Option<TargetId> {
        let subject = self.plan.as_ref()?.node(node?)?.subject;
        let StepState::Running { subjects, .. } = self.steps.get(step as usize)? else {
            return None;
        };
        subjects.get(&subject)?.has_failed().then_some(subject)
    }

    /// By when what a step that ran out of time has not answered is called unknown.
    pub fn step_stop(&self, step: u32) -> Option<Timestamp> {
        self.steps.get(usize::try_from(step).ok()?)?.stop()
    }

    /// The attempts that are not over.
    pub fn live_attempts(&self) -> impl Iterator<Item = (&AttemptId, &Attempt)> {
        self.attempts
            .iter()
            .filter(|(_, attempt)| !attempt.is_over())
    }

    /// What people are asked and have not answered, by number.
    pub fn open_interruptions(&self) -> impl Iterator<Item = (u32, &Interruption)> {
        let open = |(_, one): &(&u32, &Interruption)| one.closed.is_none();
        let all = self.interruptions.iter().filter(open);
        all.map(|(number, one)| (*number, one))
    }

    /// A person is awaited and nothing else goes on.
    pub fn awaits_person(&self) -> bool {
        let waits = |node: &NodeState| matches!(node, NodeState::Waiting { .. });
        !self.is_finished()
            && self.open_interruptions().next().is_some()
            && self.live_attempts().next().is_none()
            && !self.nodes.values().any(waits)
    }

    /// What becomes of an attempt's node is open, and hangs on how this attempt ended.
    pub(super) fn hangs_on(&self, attempt: &Attempt) -> bool {
        let is_open = matches!(
            self.nodes.get(&attempt.node),
            Some(NodeState::Waiting { .. } | NodeState::Asking { .. })
        );
        is_open && attempt.resolution.is_none() && self.last_attempt(attempt.node) == Some(attempt)
    }

    /// The last start of a node.
    pub(super) fn last_attempt(&self, node: NodeRef) -> Option<&Attempt> {
        self.attempts_of(node).max_by_key(|one| one.number)
    }

    /// Each start of a node.
    pub fn attempts_of(&self, node: NodeRef) -> impl Iterator<Item = &Attempt> {
        self.starts_of(node).map(|(_, attempt)| attempt)
    }

    /// The same, with their ids.
    pub(super) fn starts_of(&self, node: NodeRef) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        let first = AttemptId::from_uuid(Uuid::nil());
        let tried = self.tried.range((node, first)..);
        let of_node = tried.take_while(move |(of, _)| *of == node);
        of_node.filter_map(|(_, id)| {
            looked_at::note(1);
            Some((*id, self.attempts.get(id)?))
        })
    }
}
