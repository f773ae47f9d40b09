//! Events: facts, and the decisions taken with them.
//!
//! They are stored as JSON and are read for ever: a variant or field is only ever added, a field
//! with a default that means what its absence meant. The logs of every release are golden files.

use std::sync::Arc;

use jiff::Timestamp;
use mantle_shared::ids::{AttemptId, JournalId, TargetId};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use serde::{Deserialize, Serialize};

use super::locks::Blocked;
use super::model::{Closed, Verdict};
use super::resolution::ResolvedAs;
use crate::interruption::{Given, Question};
use crate::plan::{NodeRef, Plan};

/// The format of event bodies.
pub const EVENT_FORMAT: u32 = 1;

/// Something that happened to a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It began, with this plan.
    DeploymentBegan {
        /// When.
        at: Timestamp,
        /// What it will do.
        plan: Arc<Plan>,
        /// Packages must be on their executors by then.
        acquire_by: Timestamp,
        /// It must be over by then; none in a log from before there was such a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_by: Option<Timestamp>,
    },
    /// An agent is asked to bring in its packages.
    AcquisitionOrdered {
        /// Whose agent.
        target: TargetId,
        /// When.
        at: Timestamp,
    },
    /// An agent could not bring in its packages this time; it will be asked again.
    AcquisitionPutOff {
        /// Whose agent.
        target: TargetId,
        /// Not before this.
        until: Timestamp,
        /// What went wrong.
        message: String,
    },
    /// An agent has its packages.
    AcquisitionDone {
        /// Whose agent.
        target: TargetId,
        /// Bytes that travelled.
        fetched_bytes: u64,
        /// Bytes that were there already.
        reused_bytes: u64,
    },
    /// An agent will not have its packages.
    AcquisitionFailed {
        /// Whose agent.
        target: TargetId,
        /// Why.
        message: String,
    },
    /// A step's turn came.
    StepStarted {
        /// Its index.
        step: u32,
        /// When.
        at: Timestamp,
        /// It must be over by then; none in a log from before there was such a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_by: Option<Timestamp>,
    },
    /// A step's turn came, and it does not run.
    StepSkipped {
        /// Its index.
        step: u32,
        /// Why.
        reason: SkipReason,
    },
    /// A subject entered a step.
    SubjectStarted {
        /// The step's index.
        step: u32,
        /// Which.
        subject: TargetId,
        /// When.
        at: Timestamp,
    },
    /// A subject will not enter a step.
    SubjectPassedOver {
        /// The step's index.
        step: u32,
        /// Which.
        subject: TargetId,
        /// Why.
        reason: SkipReason,
    },
    /// A subject went through a step.
    SubjectFinished {
        /// The step's index.
        step: u32,
        /// Which.
        subject: TargetId,
        /// When.
        at: Timestamp,
        /// An action about it failed.
        failed: bool,
    },
    /// A step is over.
    StepFinished {
        /// Its index.
        step: u32,
        /// When.
        at: Timestamp,
        /// It failed: more subjects did than may. Those of a step that did not are set aside.
        failed: bool,
    },
    /// A node's turn came, or it is to be tried again.
    NodeWaiting {
        /// Which.
        node: NodeRef,
        /// When.
        at: Timestamp,
        /// Not before this.
        not_before: Timestamp,
        /// Its agent must be there by then.
        deadline: Timestamp,
    },
    /// A node waits for a lock that another holds.
    NodeBlocked {
        /// Which.
        node: NodeRef,
        /// When.
        at: Timestamp,
        /// The lock.
        lock: String,
        /// Who has it, or comes first.
        by: String,
        /// It has it; otherwise it only waits since earlier.
        has_it: bool,
        /// How it ended, if it is over and has it all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<Outcome>,
        /// It must be free by then.
        deadline: Timestamp,
    },
    /// A node's turn came, and it does not run.
    NodeSkipped {
        /// Which.
        node: NodeRef,
        /// Why.
        reason: SkipReason,
    },
    /// A node is over.
    NodeFinished {
        /// Which.
        node: NodeRef,
        /// How.
        end: NodeEnd,
        /// When.
        at: Timestamp,
        /// A person said that it does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waived_by: Option<String>,
    },
    /// An attempt is ordered.
    AttemptOrdered {
        /// Its id.
        attempt: AttemptId,
        /// The node that it starts.
        node: NodeRef,
        /// 1 for the first start of the node.
        number: u32,
        /// When.
        at: Timestamp,
        /// If nothing is known of its end by then, it is unknown.
        deadline: Timestamp,
        /// The journal that its agent went by; none if the agent did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        journal: Option<JournalId>,
        /// The attempts whose broken locks it passes over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        despite: Vec<AttemptId>,
    },
    /// An attempt stands in its agent's journal.
    AttemptStarted {
        /// Which.
        attempt: AttemptId,
        /// When that became known.
        at: Timestamp,
    },
    /// The agent's journal holds an attempt's process.
    AttemptSeenRunning {
        /// Which.
        attempt: AttemptId,
        /// When that became known.
        at: Timestamp,
    },
    /// An attempt is over.
    AttemptFinished {
        /// Which.
        attempt: AttemptId,
        /// The verdict.
        outcome: Outcome,
        /// Why, in a sentence.
        message: String,
        /// When that became known.
        at: Timestamp,
        /// The agent's word; none if there is none.
        end: Option<AttemptEnd>,
        /// The output variables that it set.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<OutputVariable>,
        /// Its order itself cannot be carried out: the same one again would be refused again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unfit: bool,
    },
    /// The agent's word on an attempt came after it was called unknown. A node that is over stays as
    /// it is; one that waits for a person or to be tried again goes by this word.
    AttemptFinishedLate {
        /// Which.
        attempt: AttemptId,
        /// The agent's word.
        end: AttemptEnd,
        /// When it came.
        at: Timestamp,
        /// The output variables that it set; none where the node was over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<OutputVariable>,
    },
    /// A person said how an attempt ended of which nothing is known. It stands beside the agent's word.
    AttemptResolved {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        #[serde(rename = "as")]
        ended: ResolvedAs,
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody asked for the deployment to be cancelled.
    CancelRequested {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
        /// What has not answered by then is called unknown.
        deadline: Timestamp,
    },
    /// An agent took note that an attempt is to be cancelled.
    CancelDelivered {
        /// Which.
        attempt: AttemptId,
    },
    /// A person is asked something. The clocks of its step and of the deployment stand from here.
    InterruptionRaised {
        /// Its number within the deployment, from 1.
        number: u32,
        /// When.
        at: Timestamp,
        /// What is asked.
        question: Question,
        /// It is over if nobody has answered by then.
        deadline: Timestamp,
    },
    /// Somebody answered. What it takes several people for is not over with that.
    InterruptionAnswered {
        /// Its number.
        number: u32,
        /// What they said.
        given: Given,
    },
    /// An interruption is over. If no other is open, the clocks go on.
    InterruptionClosed {
        /// Its number.
        number: u32,
        /// When.
        at: Timestamp,
        /// What became of it.
        how: Closed,
        /// The output variables that come of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<OutputVariable>,
    },
    /// A person said to go on without a target: no later step is about it any more.
    SubjectExcluded {
        /// The index of the step in which that was.
        step: u32,
        /// Which.
        subject: TargetId,
        /// Who said so.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A step did not end in time: what runs in it is cancelled, nothing more of it is begun.
    StepTimedOut {
        /// Its index.
        step: u32,
        /// When.
        at: Timestamp,
        /// What has not answered by then is called unknown.
        deadline: Timestamp,
    },
    /// The deployment did not end in time: what runs is cancelled, nothing more is begun.
    DeploymentTimedOut {
        /// When.
        at: Timestamp,
        /// What has not answered by then is called unknown.
        deadline: Timestamp,
    },
    /// It is over.
    DeploymentFinished {
        /// How.
        verdict: Verdict,
        /// Why, in a sentence; for a success empty, unless targets were set aside on the way.
        message: String,
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// What a node waits for from now on, if it says so.
    pub fn blocked(&self) -> Option<Blocked> {
        match self {
            Self::NodeBlocked {
                at,
                lock,
                by,
                has_it,
                ended,
                ..
            } => Some(Blocked {
                at: *at,
                lock: lock.clone(),
                by: by.clone(),
                has_it: *has_it,
                ended: *ended,
            }),
            _ => None,
        }
    }
}

/// How a node ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// The verdict.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub message: String,
}

/// Why something did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum SkipReason {
    /// It does not apply here; the plan says why.
    NotApplicable {
        /// Why.
        detail: String,
    },
    /// Something before it failed.
    EarlierFailure,
    /// Nothing before it failed, and it runs on failure only.
    NoFailure,
    /// Its condition is not true.
    Condition {
        /// The condition.
        template: String,
    },
    /// Its condition is neither true nor false: the step has failed.
    Unjudgeable {
        /// The condition.
        template: String,
        /// Why.
        why: String,
    },
    /// The deployment is being cancelled.
    Cancelled,
    /// The step did not end in time.
    StepTimedOut,
    /// The deployment did not end in time.
    DeploymentTimedOut,
    /// The target failed in an earlier step, which allowed so many to fail.
    SetAside {
        /// The step's name.
        step: String,
    },
    /// A person said to go on without the target.
    Excluded {
        /// Who.
        by: String,
    },
    /// After the step's first target a person said not to go on, or nobody said anything.
    NotGoneOn,
    /// It is the way back of a step that did not fail, or that had begun with no target.
    NothingToUndo,
    /// It undoes what was not done.
    Untouched,
}

/// An output variable, as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputVariable {
    /// The action that set it.
    pub action: String,
    /// The target that the action was about.
    pub subject: String,
    /// Its name.
    pub name: String,
    /// Its value; for a sensitive one, sealed under the key of the attempt.
    pub value: String,
    /// The attempt whose key seals the value of a sensitive one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_by: Option<AttemptId>,
}
