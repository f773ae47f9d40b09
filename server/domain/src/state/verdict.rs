//! Why a deployment ended as it did, in a sentence.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::back::rolled_back;
use super::model::{
    AcquisitionStatus, AttemptStatus, Cancel, CancelCause, Closed, Exclusion, NodeState, State,
    StepState, Verdict,
};
use super::resolution::ResolvedAs;
use super::schedule::went_well;
use super::view;
use crate::explain::listed;
use crate::file::duration;
use crate::interruption::{Answer, Question};
use crate::plan::{NO_TARGET, NodeRef, Plan};
use crate::process::RunCondition;

/// How long a step may take: as its plan says or, if that says nothing, as it was begun with.
pub(super) fn step_limit(state: &State, step: u32) -> Option<String> {
    if let Some(planned) = state.plan.as_deref()?.step(step)?.timeout_ms {
        return Some(duration::format(planned));
    }
    let StepState::Running {
        since,
        end_by: Some(end_by),
        stood,
        ..
    } = state.steps.get(step as usize)?
    else {
        return None;
    };
    let allowed = end_by.duration_since(*since).saturating_sub(*stood);
    let ms = u64::try_from(allowed.as_millis()).ok()?;
    Some(format!("{} by default", duration::format(ms)))
}

/// That a step ran out of time, and of how much.
pub(super) fn step_late(state: &State, step: u32) -> String {
    late("the step", step_limit(state, step).as_deref())
}

fn late(step: &str, limit: Option<&str>) -> String {
    match limit {
        Some(limit) => format!("{step} ran out of time: its 'timeout' is {limit}"),
        None => format!("{step} ran out of time"),
    }
}

/// How long a deployment may take, if that is limited: what it stands does not count.
pub(super) fn deployment_limit(state: &State) -> Option<String> {
    let planned = state.plan.as_deref()?.timeouts.deployment_ms;
    let ms = planned.or_else(|| {
        let (began, end_by) = state.began_at.zip(state.end_by)?;
        let allowed = end_by.duration_since(began).saturating_sub(state.stood);
        u64::try_from(allowed.as_millis()).ok()
    });
    ms.map(duration::format)
}

/// That the deployment ran out of time, and of how much.
pub(super) fn deployment_late(state: &State) -> String {
    match deployment_limit(state) {
        Some(limit) => format!("the deployment ran out of time: its time limit is {limit}"),
        None => "the deployment ran out of time".to_owned(),
    }
}

/// How a deployment ends that was to stop: why, and what remains open.
pub(super) fn stopped(state: &State, cancel: &Cancel) -> (Verdict, String) {
    let (verdict, mut message, by_what) = match &cancel.cause {
        CancelCause::Asked { by } => (Verdict::Cancelled, format!("cancelled by {by}"), "a cancel"),
        CancelCause::OutOfTime => {
            let mut message = match deployment_limit(state) {
                Some(allowed) => format!("it did not end within {allowed}, so it was stopped"),
                None => "it did not end in time, so it was stopped".to_owned(),
            };
            let at_work = open_ends(state, Outcome::Cancelled, cancel.at);
            if !at_work.is_empty() {
                let _ = write!(message, " during {}", listed(&at_work));
            }
            (Verdict::TimedOut, message, "the end of its time")
        }
    };
    let causes = state.plan.as_deref().map(|plan| {
        causes(state, plan, |outcome| match outcome {
            Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => true,
            Outcome::Succeeded
            | Outcome::Cancelled
            | Outcome::NotStarted
            | Outcome::Unknown
            | Outcome::Abandoned => false,
        })
    });
    let (before, after): (Vec<Cause>, Vec<Cause>) = causes
        .into_iter()
        .flatten()
        .partition(|cause| cause.at <= cancel.at);
    if !before.is_empty() {
        message = format!("{}; then {message}", sentence(before));
    }
    if !after.is_empty() {
        let _ = write!(message, "; then {}", sentence(after));
    }
    let unknown = open_ends(state, Outcome::Unknown, Timestamp::MIN);
    if !unknown.is_empty() {
        let _ = write!(message, "; it is not known how {} ended", listed(&unknown));
    }
    let abandoned = open_ends(state, Outcome::Abandoned, Timestamp::MIN);
    if !abandoned.is_empty() {
        let _ = write!(message, "; {} could not be stopped", listed(&abandoned));
    }
    let kept_out = kept_out(state);
    if !kept_out.is_empty() {
        let _ = write!(
            message,
            "; {by_what} also keeps from running what runs always or after a failure: {}",
            kept_out.join(", ")
        );
    }
    let back = state.plan.as_deref().map(|plan| rolled_back(state, plan));
    if let Some(back) = back.filter(|back| !back.is_empty()) {
        let _ = write!(message, "; {back}");
    }
    (verdict, message)
}

/// What was ordered and ended like this since then, as far as nobody said otherwise; each once, in order.
fn open_ends(state: &State, outcome: Outcome, since: Timestamp) -> Vec<String> {
    let Some(plan) = state.plan.as_deref() else {
        return Vec::new();
    };
    let nodes: BTreeSet<NodeRef> = state
        .attempts
        .values()
        .filter(|attempt| attempt.resolution.is_none())
        .filter(|attempt| match &attempt.status {
            AttemptStatus::Over {
                outcome: how, at, ..
            } => *how == outcome && *at >= since,
            AttemptStatus::Starting | AttemptStatus::Running { .. } => false,
        })
        .map(|attempt| attempt.node)
        .collect();
    let named = nodes.into_iter().filter_map(|node| named(plan, node));
    named.collect()
}

/// An action and where it runs, such as `'Install' on web01`.
fn named(plan: &Plan, node: NodeRef) -> Option<String> {
    Some(format!("'{}'{}", plan.action(node)?.name, on(plan, node)?))
}

/// Where a node runs and about whom, before what is said of it; empty if it is about no target.
fn on(plan: &Plan, node: NodeRef) -> Option<String> {
    let planned = plan.node(node)?;
    let name = |target: TargetId| {
        plan.target(target)
            .map_or_else(|| target.to_string(), |target| target.name.clone())
    };
    Some(if planned.subject == NO_TARGET {
        String::new()
    } else if planned.executor == planned.subject {
        format!(" on {}", name(planned.subject))
    } else {
        format!(
            " on {} for {}",
            name(planned.executor),
            name(planned.subject)
        )
    })
}

/// The steps and actions that run always or after a failure and did not, each once.
fn kept_out(state: &State) -> Vec<String> {
    let untimely = |run: &RunCondition| match run {
        RunCondition::Always | RunCondition::Failure => true,
        RunCondition::Success | RunCondition::Template(_) => false,
    };
    let mut names: Vec<String> = Vec::new();
    let plan = state.plan.as_deref();
    for (index, step) in (0_u32..).zip(plan.map_or(&[][..], |plan| &plan.steps)) {
        for (action, planned) in (0_u32..).zip(&step.actions) {
            let begun = state
                .nodes
                .iter()
                .filter(|(node, _)| node.step == index && node.action == action)
                .any(|(_, node)| match node {
                    NodeState::Running { .. }
                    | NodeState::Asking { .. }
                    | NodeState::Done { .. } => true,
                    NodeState::Waiting { .. } | NodeState::Skipped { .. } => false,
                });
            let wanted = untimely(&step.run) || untimely(&planned.run);
            if wanted && !begun && step.skipped.is_none() && !planned.nodes.is_empty() {
                let name = format!("'{}'", planned.name);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

/// What is worth knowing of a success: which targets failed where that was allowed, which a person
/// went on without, and which failures one ignored.
pub(super) fn success(state: &State, plan: &Plan) -> String {
    let_pass(state, plan).join("; ")
}

/// The same so far, a sentence each, of a deployment that goes on or ended in whatever way; and where an
/// agent said the opposite of what a person had said.
pub fn went_on_despite(state: &State) -> Vec<String> {
    let Some(plan) = state.plan.as_deref() else {
        return Vec::new();
    };
    let contradicted = state.attempts.values().filter_map(|attempt| {
        let (said, end) = attempt.contradiction()?;
        let as_said = match said.ended {
            ResolvedAs::Succeeded => "succeeded",
            ResolvedAs::Failed => "failed",
        };
        Some(format!(
            "{} said that {} {as_said}, its agent later that it {}",
            said.by,
            named(plan, attempt.node)?,
            in_words(end.outcome)
        ))
    });
    let_pass(state, plan)
        .into_iter()
        .chain(contradicted)
        .collect()
}

fn let_pass(state: &State, plan: &Plan) -> Vec<String> {
    let parts = [
        set_aside(state, plan),
        excluded(state, plan),
        ignored(state, plan),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

fn excluded(state: &State, plan: &Plan) -> String {
    let named = |(target, why): (&TargetId, &Exclusion)| {
        let known = plan.target(*target);
        let name = known.map_or_else(|| target.to_string(), |target| target.name.clone());
        format!("{name} (by {})", why.by)
    };
    let mut names: Vec<String> = state.excluded.iter().map(named).collect();
    names.sort();
    if names.is_empty() {
        return String::new();
    }
    format!("went on without {}", listed(&names))
}

/// Which failures a person ignored, in a sentence; empty if there were none.
fn ignored(state: &State, plan: &Plan) -> String {
    let waived = state.nodes.iter().filter_map(|(node, known)| {
        let by = known.waived_by()?;
        let subject = plan.node(*node)?.subject;
        // That one is said of the target.
        let is_excluded = state.excluded.get(&subject).map(|why| why.step) == Some(node.step);
        (!is_excluded).then(|| {
            format!(
                "{} (ignored by {by})",
                named(plan, *node).unwrap_or_default()
            )
        })
    });
    let waived: Vec<String> = waived.collect();
    if waived.is_empty() {
        return String::new();
    }
    format!("went on although this had failed: {}", listed(&waived))
}

/// Which targets failed where that was allowed, in a sentence; empty if none did.
fn set_aside(state: &State, plan: &Plan) -> String {
    let mut parts = Vec::new();
    for (index, step) in (0_u32..).zip(&plan.steps) {
        let aside = state.set_aside.iter().filter(|(_, step)| **step == index);
        let mut names: Vec<String> = aside
            .map(|(target, _)| match plan.target(*target) {
                Some(target) => target.name.clone(),
                None => target.to_string(),
            })
            .collect();
        names.sort();
        if !names.is_empty() {
            parts.push(format!(
                "{} of {} targets failed in '{}', which allows {}: {}",
                names.len(),
                step.subjects.len(),
                step.name,
                step.max_failed,
                listed(&names)
            ));
        }
    }
    parts.join("; ")
}

/// Why it failed, and how far what it did was undone.
pub(super) fn failed(state: &State, plan: &Plan) -> String {
    let parts = [
        failure(state, plan),
        ignored(state, plan),
        rolled_back(state, plan),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

/// Why it failed, in a sentence.
fn failure(state: &State, plan: &Plan) -> String {
    let causes = causes(state, plan, |_| true);
    if causes.is_empty() {
        return "a step failed".to_owned();
    }
    sentence(causes)
}

/// Something that made a deployment fail.
struct Cause {
    /// Since when it is so.
    at: Timestamp,
    /// The step in which that was: what happened in one moment happened in the order of the steps.
    step: u32,
    /// What happened.
    text: String,
}

fn sentence(causes: Vec<Cause>) -> String {
    let texts: Vec<String> = causes.into_iter().map(|cause| cause.text).collect();
    texts.join("; ")
}

/// Everything that made it fail, the first first. Of the actions that ended in one of these ways and the
/// steps that could not be judged only the first, since what follows mostly comes of that.
fn causes(state: &State, plan: &Plan, counts: impl Fn(Outcome) -> bool) -> Vec<Cause> {
    let first = [first_failure(state, plan, counts), unjudgeable(state, plan)];
    let first = first.into_iter().flatten();
    let first = first.min_by_key(|cause| (cause.at, cause.step));
    let first: Vec<Cause> = first.into_iter().collect();
    let late = out_of_time(state, plan, &first);
    let mut causes: Vec<Cause> = first
        .into_iter()
        .chain(late)
        .chain(not_gone_on(state, plan))
        .chain(none_went_well(state, plan))
        .collect();
    causes.sort_by_key(|cause| (cause.at, cause.step));
    // No step begins before the packages are there.
    causes.splice(0..0, not_brought(state, plan));
    causes
}

/// Where packages could not be brought to, a sentence for each reason.
fn not_brought(state: &State, plan: &Plan) -> Vec<Cause> {
    let mut reasons: Vec<(&String, Vec<String>)> = Vec::new();
    for (target, acquisition) in &state.acquisitions {
        let why = match &acquisition.status {
            AcquisitionStatus::Failed { message } => message,
            AcquisitionStatus::Pending
            | AcquisitionStatus::Ordered { .. }
            | AcquisitionStatus::Waiting { .. }
            | AcquisitionStatus::Done { .. } => continue,
        };
        let known = plan.target(*target);
        let name = known.map_or_else(|| target.to_string(), |known| known.name.clone());
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    let said = reasons.into_iter().map(|(why, mut names)| {
        names.sort();
        Cause {
            at: Timestamp::MIN,
            step: 0,
            text: format!("packages could not be brought to {}: {why}", listed(&names)),
        }
    });
    said.collect()
}

/// The steps that failed although no more targets did than may: none went well.
fn none_went_well(state: &State, plan: &Plan) -> Vec<Cause> {
    let steps = (0_u32..).zip(plan.steps.iter().zip(&state.steps));
    let failed = steps.filter_map(|(index, (step, known))| {
        let StepState::Finished {
            ended,
            failed: true,
            subjects,
            ..
        } = known
        else {
            return None;
        };
        let failed = subjects.values().filter(|subject| subject.has_failed());
        let failed = u32::try_from(failed.count()).unwrap_or(u32::MAX);
        let none = failed > 0 && went_well(state, subjects).is_none();
        // What was stopped did not get its chance.
        let stopped = state
            .cancel
            .as_ref()
            .is_some_and(|cancel| cancel.at <= *ended);
        (none && !stopped && failed <= step.max_failed).then(|| Cause {
            at: *ended,
            step: index,
            text: format!(
                "'{}' went well on no target, so that it failed although {} may fail",
                step.name, step.max_failed
            ),
        })
    });
    failed.collect()
}

/// A node that did not end well: since when, which, how, and why.
type Ended<'a> = (Timestamp, NodeRef, Outcome, &'a str);

/// The actions that ended in one of these ways where nobody allowed it, in steps that failed of it.
fn failed_nodes<'a>(
    state: &'a State,
    plan: &'a Plan,
    counts: impl Fn(Outcome) -> bool + 'a,
) -> impl Iterator<Item = Ended<'a>> {
    let allowed = |node: NodeRef| {
        let subject = plan.node(node).map(|planned| planned.subject);
        subject.is_some_and(|subject| {
            state.set_aside.get(&subject) == Some(&node.step)
                || state.excluded.contains_key(&subject)
        })
    };
    // One that goes on may yet have allowed what failed in it.
    let step_failed = |step: u32| {
        matches!(
            state.steps.get(step as usize),
            Some(StepState::Finished { failed: true, .. })
        )
    };
    state
        .nodes
        .keys()
        .filter_map(|node| ended_badly(state, *node))
        .filter(move |(_, node, outcome, _)| {
            counts(*outcome) && step_failed(node.step) && !allowed(*node)
        })
}

fn ended_badly(state: &State, node: NodeRef) -> Option<Ended<'_>> {
    match state.nodes.get(&node)? {
        known @ NodeState::Done {
            outcome,
            message,
            at,
            ..
        } if known.has_failed() => Some((*at, node, *outcome, message.as_str())),
        NodeState::Done { .. }
        | NodeState::Waiting { .. }
        | NodeState::Running { .. }
        | NodeState::Asking { .. }
        | NodeState::Skipped { .. } => None,
    }
}

/// The first action that ended in one of these ways where nobody allowed it.
fn first_failure(state: &State, plan: &Plan, counts: impl Fn(Outcome) -> bool) -> Option<Cause> {
    let failed = failed_nodes(state, plan, counts);
    cause_of(plan, failed.min_by_key(|(at, node, ..)| (*at, *node))?)
}

fn cause_of(plan: &Plan, (at, node, outcome, message): Ended<'_>) -> Option<Cause> {
    let (action, on) = (plan.action(node)?, on(plan, node)?);
    let why = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    let text = format!("'{}' {}{on}{why}", action.name, in_words(outcome));
    Some(Cause {
        at,
        step: node.step,
        text,
    })
}

/// The steps whose time was up, as far as none of these says it.
fn out_of_time(state: &State, plan: &Plan, said: &[Cause]) -> Vec<Cause> {
    let steps = state.late.iter().filter_map(|(index, known)| {
        let failed = match state.steps.get(*index as usize)? {
            StepState::Finished { failed, .. } => *failed,
            StepState::Pending | StepState::Running { .. } | StepState::Skipped { .. } => false,
        };
        let limit = known.limit.as_deref();
        let sentence = late("the step", limit);
        let says = |cause: &Cause| cause.step == *index && cause.text.contains(&sentence);
        let name = &plan.step(*index)?.name;
        (failed && !said.iter().any(says)).then(|| Cause {
            at: known.at,
            step: *index,
            text: late(&format!("'{name}'"), limit),
        })
    });
    steps.collect()
}

/// What made it fail so far, so many of it, each with its step, the first first; and how much more there is.
pub(super) fn told(state: &State, plan: &Plan, most: usize) -> (Vec<String>, usize) {
    let mut ended: Vec<Ended<'_>> = failed_nodes(state, plan, |_| true).collect();
    ended.sort_by_key(|(at, node, ..)| (*at, *node));
    let mut causes: Vec<Cause> = ended
        .iter()
        .take(most)
        .filter_map(|ended| cause_of(plan, *ended))
        .collect();
    let more = ended.len().saturating_sub(most);
    let late = out_of_time(state, plan, &causes);
    causes.extend(late);
    causes.extend(unjudgeable(state, plan));
    causes.extend(not_gone_on(state, plan));
    causes.extend(none_went_well(state, plan));
    causes.sort_by_key(|cause| (cause.at, cause.step));
    let brought = not_brought(state, plan).into_iter().map(|cause| cause.text);
    let causes = causes.into_iter().map(|cause| in_step(plan, &cause));
    let mut told: Vec<String> = brought.chain(causes).collect();
    let more = more + told.len().saturating_sub(most);
    told.truncate(most);
    (told, more)
}

/// The same of one node, if it did not end well.
pub(super) fn told_of(state: &State, plan: &Plan, node: NodeRef) -> Option<String> {
    let cause = cause_of(plan, ended_badly(state, node)?)?;
    Some(in_step(plan, &cause))
}

/// A cause with its step, unless that has the name of the action.
fn in_step(plan: &Plan, cause: &Cause) -> String {
    let name = plan.step(cause.step).map(|step| format!("'{}'", step.name));
    match name {
        Some(name) if !cause.text.contains(&name) => format!("step {name}: {}", cause.text),
        Some(_) | None => cause.text.clone(),
    }
}

/// The first step whose condition could not be judged.
fn unjudgeable(state: &State, plan: &Plan) -> Option<Cause> {
    let steps = (0_u32..).zip(plan.steps.iter().zip(&state.steps));
    let failed = steps.filter_map(|(step, (planned, known))| {
        let StepState::Finished { ended, .. } = known else {
            return None;
        };
        let reason = view::unjudgeable(state, step)?.sentence();
        let text = format!("'{}' was not run: {reason}", planned.name);
        Some(Cause {
            at: *ended,
            step,
            text,
        })
    });
    failed.min_by_key(|cause| (cause.at, cause.step))
}

/// Which steps did not go on after their first target, and who said so.
fn not_gone_on(state: &State, plan: &Plan) -> Vec<Cause> {
    let asked = state.interruptions.values().filter_map(|one| {
        let Question::Pause { step, .. } = one.question else {
            return None;
        };
        let name = &plan.step(step)?.name;
        let (at, text) = match one.closed? {
            Closed::Answered(Answer::Abort) => {
                let given = one
                    .given
                    .iter()
                    .find(|given| given.answer == Answer::Abort)?;
                let notes = match given.notes.as_str() {
                    "" => String::new(),
                    notes => format!(": {notes}"),
                };
                let by = &given.by;
                let text = format!("{by} stopped '{name}' after its first target{notes}");
                (given.at, text)
            }
            Closed::Expired => (
                one.deadline,
                format!("nobody said in time whether '{name}' may go on after its first target"),
            ),
            Closed::Answered(_) | Closed::Cancelled | Closed::Moot | Closed::Resolved => {
                return None;
            }
        };
        Some(Cause { at, step, text })
    });
    asked.collect()
}

/// A verdict as the end of a sentence.
pub(super) fn in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed out",
        Outcome::Cancelled => "was cancelled",
        Outcome::NotStarted => "was not started",
        Outcome::Interrupted => "was interrupted",
        Outcome::Unknown => "ended in a way that is not known",
        Outcome::Abandoned => "could not be stopped",
    }
}
