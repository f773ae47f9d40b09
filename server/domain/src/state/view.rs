//! The state as people see it: a matrix of targets by steps and actions.

use jiff::Timestamp;
use mantle_shared::ids::{AttemptId, TargetId};
use mantle_shared::protocol::Outcome;
use serde::{Deserialize, Serialize};

use super::event::SkipReason;
use super::locks::Blocked;
use super::model::{
    AcquisitionStatus, Attempt, AttemptStatus, NodeState, Phase, State, StepState, SubjectState,
    Verdict,
};
use super::resolution::ResolvedAs;
use super::schedule::why_no_more;
pub use super::status::Status;
use super::verdict::{self, in_words};
use crate::interruption::Question;
use crate::plan::{NO_TARGET, NodeRef, Plan, PlanStep};

/// What stands in the place of a target's name for what is done once, for no target.
pub const ON_SERVER: &str = "server";

/// A deployment's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Set once it is over.
    pub verdict: Option<Verdict>,
    /// Why, in a sentence.
    pub message: String,
    /// Somebody asked for it to be cancelled.
    pub cancelling: bool,
    /// The executors that fetch packages.
    pub acquisitions: Vec<AcquisitionProgress>,
    /// The steps, in order.
    pub steps: Vec<StepProgress>,
}

/// An executor's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquisitionProgress {
    /// The target's name.
    pub target: String,
    /// How far it is.
    pub status: Status,
    /// Bytes that travelled, once it is done.
    pub fetched_bytes: u64,
    /// Bytes that were there already, once it is done.
    pub reused_bytes: u64,
    /// Why it failed or waits.
    pub message: String,
}

/// A step's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepProgress {
    /// Its number, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub status: Status,
    /// Why it was skipped, what it waits for, or why nothing of it was begun; for people.
    pub message: String,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What it is about, in the order in which it goes through them.
    pub subjects: Vec<SubjectProgress>,
}

/// A subject's progress within a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectProgress {
    /// The target's name.
    pub target: String,
    /// How far it is.
    pub status: Status,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The actions about it, one entry for each executor.
    pub actions: Vec<ActionProgress>,
}

/// An action's progress about a subject on an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionProgress {
    /// Its name.
    pub name: String,
    /// The action type.
    pub uses: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// How far it is.
    pub status: Status,
    /// Why it failed, waits or was skipped.
    pub message: String,
    /// How often it was started.
    pub attempts: u32,
    /// The last attempt.
    pub attempt: Option<AttemptId>,
    /// The last attempt's exit code.
    pub exit_code: Option<i32>,
    /// When the first attempt was ordered.
    pub began: Option<Timestamp>,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// It waits for a person: the number of what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<u32>,
    /// What a person said of the last attempt, of which nothing was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<ResolutionProgress>,
    /// What its agent said of the last attempt after that had been called unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_late: Option<Status>,
}

/// What a person said of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolutionProgress {
    /// How it ended.
    #[serde(rename = "as")]
    pub ended: ResolvedAs,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Its agent said the opposite later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_contradicted: bool,
}

/// The state as people see it.
pub fn progress(state: &State) -> Progress {
    let (verdict, message) = match &state.phase {
        Phase::Finished {
            verdict, message, ..
        } => (Some(*verdict), message.clone()),
        Phase::Queued | Phase::Running => (None, String::new()),
    };
    let (acquisitions, steps) = match &state.plan {
        None => (Vec::new(), Vec::new()),
        Some(plan) => (
            acquisitions(state, plan),
            (0_u32..)
                .zip(plan.steps.iter().zip(&state.steps))
                .map(|(index, (planned, step))| step_progress(state, plan, index, planned, step))
                .collect(),
        ),
    };
    Progress {
        verdict,
        message,
        cancelling: state.cancel.is_some(),
        acquisitions,
        steps,
    }
}

fn name(plan: &Plan, target: TargetId) -> String {
    if target == NO_TARGET {
        return ON_SERVER.to_owned();
    }
    plan.target(target)
        .map_or_else(|| target.to_string(), |target| target.name.clone())
}

fn acquisitions(state: &State, plan: &Plan) -> Vec<AcquisitionProgress> {
    state
        .acquisitions
        .iter()
        .map(|(target, acquisition)| {
            let blank = AcquisitionProgress {
                target: name(plan, *target),
                status: Status::Waiting,
                fetched_bytes: 0,
                reused_bytes: 0,
                message: String::new(),
            };
            match &acquisition.status {
                AcquisitionStatus::Pending => blank,
                AcquisitionStatus::Ordered { .. } => AcquisitionProgress {
                    status: Status::Running,
                    ..blank
                },
                AcquisitionStatus::Waiting { message, .. } => AcquisitionProgress {
                    message: message.clone(),
                    ..blank
                },
                AcquisitionStatus::Done {
                    fetched_bytes,
                    reused_bytes,
                } => AcquisitionProgress {
                    status: Status::Succeeded,
                    fetched_bytes: *fetched_bytes,
                    reused_bytes: *reused_bytes,
                    ..blank
                },
                AcquisitionStatus::Failed { message } => AcquisitionProgress {
                    status: Status::Failed,
                    message: message.clone(),
                    ..blank
                },
            }
        })
        .collect()
}

fn step_progress(
    state: &State,
    plan: &Plan,
    index: u32,
    planned: &PlanStep,
    step: &StepState,
) -> StepProgress {
    let (status, message, began, ended) = match step {
        StepState::Pending => (Status::Pending, String::new(), None, None),
        StepState::Running { since, .. } => {
            let message = pause_of(state, index).unwrap_or_default();
            (Status::Running, message, Some(*since), None)
        }
        StepState::Finished {
            began,
            ended,
            failed,
            ..
        } => {
            let status = step_end(state, index, *failed);
            let message = step_message(state, index);
            (status, message, Some(*began), Some(*ended))
        }
        StepState::Skipped { reason } => (skipped(reason), reason.sentence(), None, None),
    };
    StepProgress {
        number: planned.number,
        name: planned.name.clone(),
        status,
        message,
        began,
        ended,
        subjects: planned
            .subjects
            .iter()
            .map(|subject| subject_progress(state, plan, index, planned, *subject, step))
            .collect(),
    }
}

/// What a step asks after its first target, while it does.
fn pause_of(state: &State, step: u32) -> Option<String> {
    let mut open = state.open_interruptions().map(|(_, one)| &one.question);
    open.find(|question| matches!(question, Question::Pause { step: at, .. } if *at == step))
        .map(asks)
}

/// How a step ended. One that nothing went wrong in but that it was stopped was cancelled; one that
/// had failed before somebody asked to stop failed.
pub fn step_end(state: &State, step: u32, failed: bool) -> Status {
    let went_wrong = |outcome: Outcome| match outcome {
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::NotStarted
        | Outcome::Interrupted
        | Outcome::Unknown
        | Outcome::Abandoned => true,
        Outcome::Succeeded | Outcome::Cancelled => false,
    };
    let wrong = state
        .nodes
        .iter()
        .filter(|(node, _)| node.step == step)
        .any(|(_, node)| match node {
            NodeState::Done { outcome, .. } => node.has_failed() && went_wrong(*outcome),
            NodeState::Waiting { .. }
            | NodeState::Running { .. }
            | NodeState::Asking { .. }
            | NodeState::Skipped { .. } => false,
        });
    let wrong = wrong
        || state.steps.get(step as usize).is_some_and(was_not_gone_on)
        || unjudgeable(state, step).is_some();
    match (failed, state.cancel.is_some() && !wrong) {
        (false, _) => Status::Succeeded,
        (true, true) => Status::Cancelled,
        (true, false) => Status::Failed,
    }
}

/// What there is to say of a step that is over, beyond what its actions say.
pub fn step_message(state: &State, step: u32) -> String {
    unjudgeable(state, step).map_or_else(String::new, SkipReason::sentence)
}

/// Why a step's condition could not be judged, if that is why it failed.
pub(super) fn unjudgeable(state: &State, step: u32) -> Option<&SkipReason> {
    let subjects = state.steps.get(step as usize)?.subjects()?;
    subjects.values().find_map(|subject| match subject {
        SubjectState::PassedOver {
            reason: reason @ SkipReason::Unjudgeable { .. },
        } => Some(reason),
        SubjectState::PassedOver { .. }
        | SubjectState::Active { .. }
        | SubjectState::Done { .. } => None,
    })
}

/// It was stopped after its first target.
fn was_not_gone_on(step: &StepState) -> bool {
    let reason = SkipReason::NotGoneOn;
    step.subjects().is_some_and(|subjects| {
        let stopped = SubjectState::PassedOver { reason };
        subjects.values().any(|subject| *subject == stopped)
    })
}

/// How a subject's way through a step stands; `None` for what the plan does not have.
pub fn subject_status(state: &State, step: u32, subject: TargetId) -> Option<Status> {
    let plan = state.plan.as_ref()?;
    let planned = plan.step(step)?;
    let known = state.steps.get(usize::try_from(step).ok()?)?;
    Some(subject_progress(state, plan, step, planned, subject, known).status)
}

fn skipped(reason: &SkipReason) -> Status {
    match reason {
        SkipReason::Unjudgeable { .. } => Status::NotStarted,
        SkipReason::Cancelled => Status::Cancelled,
        SkipReason::NotApplicable { .. }
        | SkipReason::EarlierFailure
        | SkipReason::NoFailure
        | SkipReason::Condition { .. }
        | SkipReason::StepTimedOut
        | SkipReason::DeploymentTimedOut
        | SkipReason::SetAside { .. }
        | SkipReason::Excluded { .. }
        | SkipReason::NotGoneOn
        | SkipReason::NothingToUndo
        | SkipReason::Untouched => Status::Skipped,
    }
}

fn subject_progress(
    state: &State,
    plan: &Plan,
    step_index: u32,
    planned: &PlanStep,
    subject: TargetId,
    step: &StepState,
) -> SubjectProgress {
    let mut actions = Vec::new();
    for (action, entry) in (0_u32..).zip(&planned.actions) {
        for (node, planned_node) in (0_u32..).zip(&entry.nodes) {
            if planned_node.subject == subject {
                let node = NodeRef {
                    step: step_index,
                    action,
                    node,
                };
                let mut progress = action_progress(state, node);
                progress.name.clone_from(&entry.name);
                progress.uses.clone_from(&entry.uses);
                progress.executor = name(plan, planned_node.executor);
                actions.push(progress);
            }
        }
    }
    let (mut status, began, ended) = match step.subjects().and_then(|s| s.get(&subject)) {
        None => (Status::Pending, None, None),
        Some(SubjectState::Active { since, .. }) => (Status::Running, Some(*since), None),
        Some(SubjectState::Done {
            began,
            ended,
            failed,
        }) => {
            let excluded = state.excluded.get(&subject);
            let dropped_here = excluded.is_some_and(|excluded| excluded.step == step_index);
            let status = if *failed || dropped_here {
                Status::Failed
            } else {
                Status::Succeeded
            };
            (status, Some(*began), Some(*ended))
        }
        Some(SubjectState::PassedOver { reason }) => (skipped(reason), None, None),
    };
    if let (Status::Pending, StepState::Skipped { reason }) = (status, step) {
        status = skipped(reason);
    }
    if let Some(reason) = passed_over(state, step, subject) {
        // The turn of these actions will not come.
        for action in actions.iter_mut().filter(|a| a.status == Status::Pending) {
            action.status = skipped(&reason);
            action.message = reason.sentence();
        }
    }
    if status == Status::Failed
        && let Some(worst) = actions.iter().find(|a| {
            !matches!(
                a.status,
                Status::Succeeded | Status::Skipped | Status::Pending
            )
        })
    {
        // What the first action that went wrong says is more exact than "failed".
        status = worst.status;
    }
    SubjectProgress {
        target: name(plan, subject),
        status,
        began,
        ended,
        actions,
    }
}

/// Why what was not begun about a subject will not be, if its turn cannot come any more.
fn passed_over(state: &State, step: &StepState, subject: TargetId) -> Option<SkipReason> {
    let stopped = || why_no_more(state);
    match step {
        StepState::Skipped { reason } => Some(reason.clone()),
        StepState::Pending | StepState::Running { .. } | StepState::Finished { .. } => {
            match step.subjects()?.get(&subject)? {
                SubjectState::PassedOver { reason } => Some(reason.clone()),
                SubjectState::Done { .. } => Some(stopped()),
                SubjectState::Active { .. } => None,
            }
        }
    }
}

/// Why a node waits that is to be started.
pub fn why_waiting(state: &State, node: NodeRef, blocked: Option<&Blocked>) -> String {
    let executor = executor(state, node);
    match (blocked, state.last_attempt(node).and_then(over_message)) {
        (Some(blocked), _) => blocked.sentence(&executor),
        (None, Some(over)) => over,
        (None, None) => format!("waits for the agent of {executor} to connect"),
    }
}

fn action_progress(state: &State, node: NodeRef) -> ActionProgress {
    let mut attempts: Vec<(AttemptId, &Attempt)> = state.starts_of(node).collect();
    attempts.sort_by_key(|(_, attempt)| attempt.number);
    let last = attempts.last();
    let (status, message, ended) = match state.nodes.get(&node) {
        None => (Status::Pending, String::new(), None),
        Some(NodeState::Waiting { blocked, .. }) => {
            let message = why_waiting(state, node, blocked.as_ref());
            (Status::Waiting, message, None)
        }
        Some(NodeState::Running { attempt }) => {
            let known = state.attempts.get(attempt);
            let message = known
                .map(|known| stopping(state, known))
                .unwrap_or_default();
            (Status::Running, message, None)
        }
        Some(NodeState::Asking { interruption }) => {
            let asked = state.interruptions.get(interruption);
            let message = asked.map(|one| asks(&one.question)).unwrap_or_default();
            (Status::Waiting, message, None)
        }
        Some(NodeState::Done {
            outcome,
            message,
            at,
            ..
        }) => (Status::from(*outcome), message.clone(), Some(*at)),
        Some(NodeState::Skipped { reason }) => (skipped(reason), reason.sentence(), None),
    };
    ActionProgress {
        name: String::new(),
        uses: String::new(),
        executor: String::new(),
        status,
        message,
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        attempt: last.map(|(id, _)| *id),
        exit_code: last.and_then(|(_, attempt)| attempt.end.as_ref()?.exit_code),
        began: attempts.first().map(|(_, attempt)| attempt.ordered_at),
        ended,
        interruption: match state.nodes.get(&node) {
            Some(NodeState::Asking { interruption }) => Some(*interruption),
            Some(
                NodeState::Waiting { .. }
                | NodeState::Running { .. }
                | NodeState::Done { .. }
                | NodeState::Skipped { .. },
            )
            | None => None,
        },
        resolution: last.and_then(|(_, attempt)| resolution(attempt)),
        said_late: last.and_then(|(_, attempt)| said_late(attempt)),
    }
}

fn resolution(attempt: &Attempt) -> Option<ResolutionProgress> {
    let known = attempt.resolution.as_ref()?;
    Some(ResolutionProgress {
        ended: known.ended,
        by: known.by.clone(),
        reason: known.reason.clone(),
        at: known.at,
        is_contradicted: attempt.contradiction().is_some(),
    })
}

/// That something was asked to stop, and until when its agent's word is waited for; empty if it was not.
fn stopping(state: &State, attempt: &Attempt) -> String {
    let cancel = state.cancel.as_ref().map(|cancel| cancel.deadline);
    let Some(until) = cancel.or_else(|| state.step_stop(attempt.node.step)) else {
        return String::new();
    };
    let executor = executor(state, attempt.node);
    format!(
        "was asked to stop; if the agent of {executor} does not say by {} how it ended, it counts as unknown",
        until.strftime("%H:%M:%SZ")
    )
}

/// What its agent said of an attempt that had been given up by then.
fn said_late(attempt: &Attempt) -> Option<Status> {
    let end = attempt.end.as_ref()?;
    match &attempt.status {
        AttemptStatus::Over { outcome, .. } if *outcome != end.outcome => {
            Some(Status::from(end.outcome))
        }
        AttemptStatus::Over { .. } | AttemptStatus::Starting | AttemptStatus::Running { .. } => {
            None
        }
    }
}

/// A verdict as the end of a sentence.
pub fn outcome_in_words(outcome: Outcome) -> &'static str {
    in_words(outcome)
}

/// That a step ran out of time, and of how much.
pub fn step_late(state: &State, step: u32) -> String {
    verdict::step_late(state, step)
}

/// That the deployment ran out of time, and of how much.
pub fn deployment_late(state: &State) -> String {
    verdict::deployment_late(state)
}

/// What a question waits for, in a sentence without a subject.
pub fn asks(question: &Question) -> String {
    match question {
        Question::Failure {
            outcome, message, ..
        } => {
            let how = in_words(*outcome);
            let why = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            format!("waits for a person to say what becomes of it; it {how}{why}")
        }
        Question::Manual { approvals, .. } if *approvals > 1 => {
            format!("waits for {approvals} people to let it go on")
        }
        Question::Manual { .. } => "waits for a person to let it go on".to_owned(),
        Question::Pause { .. } => {
            "waits for a person to say whether it goes on after its first target".to_owned()
        }
    }
}

fn executor(state: &State, node: NodeRef) -> String {
    let plan = state.plan.as_deref();
    plan.and_then(|plan| Some(name(plan, plan.node(node)?.executor)))
        .unwrap_or_default()
}

fn over_message(attempt: &Attempt) -> Option<String> {
    match &attempt.status {
        AttemptStatus::Over { message, .. } => Some(message.clone()),
        AttemptStatus::Starting | AttemptStatus::Running { .. } => None,
    }
}
