//! The plan of a deployment: who does what, fixed when it starts.
//!
//! It is made by the planner from the release, the environment and the targets of that moment, is
//! written into the deployment's first event and never changes afterwards. It is read for as long
//! as the deployment's log lives.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mantle_shared::ids::{AgentId, TargetId, TaskId};
use mantle_shared::lock::Lock;
use mantle_shared::order::OrderPackage;
use mantle_shared::uuid::Uuid;
use serde::{Deserialize, Serialize};

use crate::fleet::looked_at;
use crate::process::{OnFailure, Retries, RunCondition, Start, Timeouts};
use crate::target::Platform;

mod back;
pub mod basis;
mod reads;

pub use back::{PlanBack, PlanBefore, PlanLeft, Ran};
pub use reads::PlanFact;
pub(crate) use reads::read_by;

/// Stands for the subject and executor of a step without targets: its work is done once, for no
/// target, and by no agent.
pub const NO_TARGET: TargetId = TargetId::from_uuid(Uuid::nil());

/// The plan's format.
pub const PLAN_FORMAT: u32 = 1;

/// What a deployment will do, target by target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// The deployment.
    pub task: TaskId,
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The release's channel.
    pub channel: String,
    /// Every target that takes part, as subject or executor, sorted by name.
    pub targets: Vec<PlanTarget>,
    /// The steps, in order, also those that do not apply here.
    pub steps: Vec<PlanStep>,
    /// What the operator should know beforehand.
    pub warnings: Vec<String>,
    /// So many earlier versions of a package stay on a target where the action does not say: the
    /// lifecycle's, at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_on_target: Option<u32>,
    /// The targets that a step would be about and that take no part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<PlanLeftOut>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Timeouts::is_default")]
    pub timeouts: Timeouts,
    /// What is known beside it, for the variables that the server defines.
    #[serde(default, skip_serializing_if = "PlanFacts::is_unknown")]
    pub facts: PlanFacts,
    /// What an action that failed leads to.
    #[serde(default, skip_serializing_if = "Guidance::is_default")]
    pub guidance: Guidance,
    /// Which of the facts the release's texts read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<PlanFact>,
}

/// What an action that failed, and is not tried again by itself, leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guidance {
    /// It has failed.
    #[default]
    Unguided,
    /// A person is asked what becomes of it: guided failure.
    Guided,
}

impl Guidance {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of a deployment when it is planned: who asked for it, what it replaces. It is kept
/// with the plan, so that an order that is made again is made of the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanFacts {
    /// The project's id.
    pub project: String,
    /// The environment's id.
    pub environment: String,
    /// The environment's place in lists, from 1.
    pub environment_order: u32,
    /// The release's id.
    pub release: String,
    /// What was said to be new in it.
    pub release_notes: String,
    /// Its own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub release_fields: BTreeMap<String, String>,
    /// When it was created.
    pub release_created: String,
    /// The project's release that was made before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_before: Option<PastRelease>,
    /// When the deployment was asked for.
    pub created: String,
    /// By whom.
    pub created_by: String,
    /// What whoever asked for it said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The deployment's own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The release that runs in the environment: the last that was deployed there with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<PastRelease>,
    /// The last other release that was deployed there with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PastRelease>,
    /// The deployment that brought the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<String>,
    /// When it is dropped if it has not begun by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The targets that were asked for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<String>,
    /// The targets that were left out by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// The releases that it brings, the newest first: its own, and those strictly between it and the
    /// one of its channel that runs there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<PlanChange>,
}

/// A release that a deployment brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChange {
    /// Its version.
    pub version: String,
    /// Its notes.
    pub notes: String,
}

/// A release that was deployed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRelease {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
}

impl PlanFacts {
    /// Nothing is known: the plan is from before there were facts.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// A target that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTarget {
    /// Its id.
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Its agent.
    pub agent: AgentId,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it runs on.
    pub platform: Platform,
    /// The version of its agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// What its machine calls itself; empty in a plan from before this was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host_name: String,
}

/// A target that takes no part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLeftOut {
    /// Its id.
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Its agent, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Why.
    pub why: LeftOutReason,
    /// What an operator said of that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl PlanLeftOut {
    /// What whoever deploys should know of it, unless they left it out themselves.
    pub fn warning(&self) -> Option<String> {
        let Self { name, note, .. } = self;
        match self.why {
            LeftOutReason::NotJoined => Some(format!(
                "{name} is expected but has not joined and is left out"
            )),
            LeftOutReason::Maintenance => {
                Some(format!("{name} is in maintenance ({note}) and is left out"))
            }
            LeftOutReason::Unhealthy => {
                Some(format!("{name} is unhealthy ({note}) and is left out"))
            }
            LeftOutReason::Unavailable => Some(format!("{name} is offline and is left out")),
            LeftOutReason::Excluded | LeftOutReason::NotChosen => None,
        }
    }
}

/// Why a target takes no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The operator excluded it.
    Excluded,
    /// The operator chose others.
    NotChosen,
    /// It was away, and the policy is to go on without it.
    Unavailable,
    /// It is expected, and no agent has joined as it.
    NotJoined,
    /// It was in maintenance.
    Maintenance,
    /// A health check had failed on it, and the policy is to go on without it.
    Unhealthy,
}

impl LeftOutReason {
    /// The reason, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::NotChosen => "not chosen",
            Self::Unavailable => "offline",
            Self::NotJoined => "not joined",
            Self::Maintenance => "in maintenance",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Its name.
    pub name: String,
    /// Its number for people, from 1.
    pub number: u32,
    /// Whether it runs, judged when its turn comes.
    pub run: RunCondition,
    /// When its turn comes.
    #[serde(default, skip_serializing_if = "Start::is_default")]
    pub start: Start,
    /// Nobody may leave it out, nor go on as if it had not failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// It rolls: a subject goes through all actions before its slot is given to the next.
    pub rolling: bool,
    /// The most subjects inside it at once: the smaller of window and limit, at least 1.
    pub parallel: u32,
    /// So many subjects may fail, and the step has not failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_failed: u32,
    /// What becomes of the subjects that wait once more have failed than may, if it rolls.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
    /// After the first subject a person is asked whether to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause_after_first: bool,
    /// It is stopped after this long; `None` is as the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The targets that it is about, in the order in which they start.
    pub subjects: Vec<TargetId>,
    /// The actions, in order.
    pub actions: Vec<PlanAction>,
    /// Why it does not apply here; its actions then have no nodes.
    pub skipped: Option<String>,
    /// It is the way back of another step, and runs only if that one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<PlanBack>,
}

impl PlanStep {
    /// So many of its subjects may fail, and it has not failed. One at least has to go well: a step that
    /// went well nowhere has failed, whatever was allowed.
    pub fn may_fail(&self) -> u32 {
        let others = self.subjects.len().saturating_sub(1);
        self.max_failed
            .min(u32::try_from(others).unwrap_or(u32::MAX))
    }
}

/// One action of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAction {
    /// Its name.
    pub name: String,
    /// The action type.
    pub uses: String,
    /// Whether it runs for a subject, judged when its turn comes.
    pub run: RunCondition,
    /// An attempt is stopped after this long.
    pub timeout_ms: u64,
    /// Between the request to stop and the kill.
    pub grace_ms: u64,
    /// How a failed attempt is repeated.
    pub retries: Retries,
    /// The packages that its executor needs before the start.
    pub packages: Vec<OrderPackage>,
    /// About whom and by whom, in the order of the step's subjects. A subject without a node
    /// skips the action; one with several waits for all of them.
    pub nodes: Vec<PlanNode>,
    /// What its attempts hold on their executors; none in a plan from before there were locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PlanLock>,
    /// A person does it: what they are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<PlanAsk>,
    /// In a way back: the index of the action of the other step that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u32>,
}

/// What a manual action asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAsk {
    /// What to look at before, as a template.
    pub instructions: String,
    /// The teams whose members may answer; empty for whoever may answer anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// So many people must let it go on, at least 1.
    pub approvals: u32,
    /// Who counts.
    #[serde(default, skip_serializing_if = "Eyes::is_default")]
    pub eyes: Eyes,
}

/// Whose word counts where people let a deployment go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eyes {
    /// Everybody's.
    #[default]
    Any,
    /// Everybody's but that of who deployed.
    Four,
}

impl Eyes {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A lock that an action holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLock {
    /// The lock.
    #[serde(flatten)]
    pub lock: Lock,
    /// Only about this subject; none means about every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<TargetId>,
}

impl PlanAction {
    /// What an attempt about a subject holds, in order, each lock once.
    pub fn locks_of(&self, subject: TargetId) -> Vec<Lock> {
        let own = |lock: &&PlanLock| lock.subject.is_none_or(|only| only == subject);
        let mut locks: Vec<Lock> = self
            .locks
            .iter()
            .filter(own)
            .map(|l| l.lock.clone())
            .collect();
        // Of one that is named twice the stricter counts, which sorts first.
        locks.sort();
        locks.dedup_by(|later, kept| later.name == kept.name);
        locks
    }
}

/// One action about one subject on one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanNode {
    /// The target that the work is about.
    pub subject: TargetId,
    /// The target whose agent runs it.
    pub executor: TargetId,
}

/// Names a node of a plan by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeRef {
    /// The step's index.
    pub step: u32,
    /// The action's index in the step.
    pub action: u32,
    /// The node's index in the action.
    pub node: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Plan {
    /// The steps whose turn comes together with that of the step at this index, itself among them.
    pub fn group(&self, index: usize) -> Range<usize> {
        let alone = |at: usize| {
            let step = self.steps.get(at);
            step.is_none_or(|step| step.start == Start::AfterPrevious)
        };
        let first = (0..=index).rev().find(|at| alone(*at)).unwrap_or(0);
        let end = (index + 1..self.steps.len()).find(|at| alone(*at));
        first..end.unwrap_or(self.steps.len())
    }

    /// The step at an index.
    pub fn step(&self, index: u32) -> Option<&PlanStep> {
        self.steps.get(index as usize)
    }

    /// The action that a node belongs to.
    pub fn action(&self, node: NodeRef) -> Option<&PlanAction> {
        self.step(node.step)?.actions.get(node.action as usize)
    }

    /// The node's subject and executor.
    pub fn node(&self, node: NodeRef) -> Option<PlanNode> {
        self.action(node)?.nodes.get(node.node as usize).copied()
    }

    /// A target that takes part.
    pub fn target(&self, id: TargetId) -> Option<&PlanTarget> {
        looked_at::note(self.targets.len());
        self.targets.iter().find(|target| target.id == id)
    }
}
