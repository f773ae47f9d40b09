//! What a way back has undone, target by target: what is said of it, and what runs there since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;

use super::event::SkipReason;
use super::model::{Attempt, AttemptStatus, NodeState, State, StepState, SubjectState};
use super::verdict::in_words;
use crate::explain::listed;
use crate::plan::{NodeRef, Plan, PlanAction, PlanBack, PlanBefore, PlanStep};

/// An attempt of a node did something, or may have.
pub(super) fn is_touched(state: &State, node: NodeRef) -> bool {
    state.attempts_of(node).any(may_have_run)
}

/// All such nodes.
fn touched(state: &State) -> BTreeSet<NodeRef> {
    let attempts = state.attempts.values();
    let touched = attempts.filter(|attempt| may_have_run(attempt));
    touched.map(|attempt| attempt.node).collect()
}

fn may_have_run(attempt: &Attempt) -> bool {
    match &attempt.status {
        AttemptStatus::Starting | AttemptStatus::Running { .. } => true,
        AttemptStatus::Over { outcome, .. } => match outcome {
            Outcome::NotStarted => false,
            // Without its agent's word it was voided before it began.
            Outcome::Cancelled => attempt.end.is_some(),
            Outcome::Succeeded
            | Outcome::Failed
            | Outcome::TimedOut
            | Outcome::Interrupted
            | Outcome::Unknown
            | Outcome::Abandoned => true,
        },
    }
}

/// The subjects of a step that it began.
pub(super) fn begun(state: &State, step: u32) -> impl Iterator<Item = TargetId> {
    let known = state.steps.get(step as usize).and_then(StepState::subjects);
    let all = known.into_iter().flatten();
    all.filter(|(_, subject)| is_begun(subject))
        .map(|(target, _)| *target)
}

/// A step began one of its subjects.
pub(super) fn has_begun(state: &State, step: u32, subject: TargetId) -> bool {
    let known = state.steps.get(step as usize).and_then(StepState::subjects);
    known
        .and_then(|known| known.get(&subject))
        .is_some_and(is_begun)
}

fn is_begun(subject: &SubjectState) -> bool {
    match subject {
        SubjectState::Active { .. } | SubjectState::Done { .. } => true,
        SubjectState::PassedOver { .. } => false,
    }
}

/// A step failed after it had begun with some target.
pub(super) fn is_due(state: &State, of: u32) -> bool {
    let known = state.steps.get(of as usize);
    let failed = matches!(known, Some(StepState::Finished { failed: true, .. }));
    failed && begun(state, of).next().is_some()
}

/// What became of one target on the way back.
#[derive(Default)]
struct Fate {
    /// Why something about it is not undone that should have been.
    not: Option<String>,
    /// The actions that nothing undoes, with the reason.
    left: Vec<(String, String)>,
    /// Something was undone.
    undone: bool,
    /// A package of the deployment is still in use there.
    has_package: bool,
}

impl Fate {
    fn is_back(&self) -> bool {
        self.not.is_none() && !self.has_package && (self.undone || self.left.is_empty())
    }
}

/// The targets that were put back, each with what runs there again, as far as that is known.
pub fn put_back(state: &State) -> BTreeMap<TargetId, &PlanBefore> {
    let Some(plan) = state.plan.as_deref() else {
        return BTreeMap::new();
    };
    let touched = touched(state);
    let mut found = BTreeMap::new();
    for (at, way) in (0_u32..).zip(&plan.steps) {
        let Some(back) = way.back.as_ref().filter(|back| is_due(state, back.of)) else {
            continue;
        };
        let elsewhere = brought_elsewhere(plan, &touched, back.of);
        for before in &back.before {
            let target = before.target;
            if has_begun(state, back.of, target)
                && !elsewhere.contains(&target)
                && fate(state, plan, &touched, (at, way, back), target).is_back()
            {
                found.insert(target, before);
            }
        }
    }
    found
}

/// The targets on which a step that is not undone installed a package, or may have.
fn brought_elsewhere(plan: &Plan, touched: &BTreeSet<NodeRef>, of: u32) -> BTreeSet<TargetId> {
    let brings = |action: &PlanAction| action.uses == "package" && action.undoes.is_none();
    let others = touched.iter().filter(|node| node.step != of);
    others
        .filter(|node| plan.action(**node).is_some_and(brings))
        .filter_map(|node| Some(plan.node(*node)?.subject))
        .collect()
}

/// The nodes of an action about a target.
fn nodes(
    (step, at): (u32, u32),
    action: &PlanAction,
    target: TargetId,
) -> impl Iterator<Item = NodeRef> {
    let nodes = (0_u32..).zip(&action.nodes);
    nodes
        .filter(move |(_, node)| node.subject == target)
        .map(move |(node, _)| NodeRef {
            step,
            action: at,
            node,
        })
}

fn fate(
    state: &State,
    plan: &Plan,
    touched: &BTreeSet<NodeRef>,
    (at, way, back): (u32, &PlanStep, &PlanBack),
    target: TargetId,
) -> Fate {
    // Whatever a person let pass about a target that was to be gone on without, it is not put back.
    let excluded = state.excluded.get(&target).map(|why| why.by.clone());
    let mut fate = Fate {
        not: excluded.map(|by| SkipReason::Excluded { by }.sentence()),
        ..Fate::default()
    };
    let Some(step) = plan.step(back.of) else {
        return fate;
    };
    for left in back
        .left
        .iter()
        .filter(|left| left.targets.contains(&target))
    {
        let Some(action) = step.actions.get(left.action as usize) else {
            continue;
        };
        let mut about = nodes((back.of, left.action), action, target);
        if about.any(|node| touched.contains(&node)) {
            fate.has_package |= action.uses == "package";
            fate.left.push((action.name.clone(), left.why.clone()));
        }
    }
    for (index, action) in (0_u32..).zip(&way.actions) {
        for node in nodes((at, index), action, target) {
            let undone = plan.undone(node);
            if !undone.is_some_and(|undone| touched.contains(&undone)) {
                continue;
            }
            match state.nodes.get(&node) {
                Some(known @ NodeState::Done { .. }) if !known.has_failed() => fate.undone = true,
                known => {
                    let why = || why_not(state, at, action, known, target);
                    fate.not.get_or_insert_with(why);
                }
            }
        }
    }
    fate
}

/// Why something is not undone that should have been.
fn why_not(
    state: &State,
    at: u32,
    action: &PlanAction,
    known: Option<&NodeState>,
    target: TargetId,
) -> String {
    match known {
        Some(NodeState::Done {
            outcome, message, ..
        }) => {
            let how = format!("'{}' {}", action.name, in_words(*outcome));
            if message.is_empty() {
                return how;
            }
            return format!("{how}: {message}");
        }
        Some(NodeState::Skipped { reason }) => return reason.sentence(),
        Some(NodeState::Waiting { .. } | NodeState::Running { .. } | NodeState::Asking { .. })
        | None => {}
    }
    let step = state.steps.get(at as usize);
    let passed_over = match step {
        Some(StepState::Skipped { reason }) => Some(reason),
        Some(step) => match step.subjects().and_then(|known| known.get(&target)) {
            Some(SubjectState::PassedOver { reason }) => Some(reason),
            Some(SubjectState::Active { .. } | SubjectState::Done { .. }) | None => None,
        },
        None => None,
    };
    match passed_over {
        Some(SkipReason::EarlierFailure) => "it was not begun there".to_owned(),
        Some(reason) => reason.sentence(),
        None => "it did not come to that".to_owned(),
    }
}

/// How far what was begun was undone, in a sentence; empty if there was nothing to undo.
pub(super) fn rolled_back(state: &State, plan: &Plan) -> String {
    let mut parts = Vec::new();
    let touched = touched(state);
    for (at, way) in (0_u32..).zip(&plan.steps) {
        if let Some(back) = &way.back
            && is_due(state, back.of)
        {
            parts.push(of_one(state, plan, &touched, (at, way, back)));
        }
    }
    parts.join("; ")
}

fn of_one(
    state: &State,
    plan: &Plan,
    touched: &BTreeSet<NodeRef>,
    way: (u32, &PlanStep, &PlanBack),
) -> String {
    let order = plan.step(way.2.of).map_or(&[][..], |step| &step.subjects);
    let was_begun = |id: &&TargetId| has_begun(state, way.2.of, **id);
    // Those that nothing undoes have no reason of their own: it is said of the action.
    let (mut done, mut not, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    let mut left: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for target in order.iter().rev().filter(was_begun) {
        let name = plan
            .target(*target)
            .map_or_else(|| target.to_string(), |known| known.name.clone());
        let fate = fate(state, plan, touched, way, *target);
        for of in &fate.left {
            left.entry(of.clone()).or_default().push(name.clone());
        }
        match &fate.not {
            Some(why) => not.push(format!("{name} ({why})")),
            None if fate.is_back() => done.push(name),
            None => nothing.push(name),
        }
    }
    let not = [&nothing, &not]
        .into_iter()
        .filter(|names| !names.is_empty());
    let not: Vec<String> = not.map(|names| listed(names)).collect();
    // A clause of its own, so that the reason of one target is not read as that of the others.
    let not = not.join(", nor ");
    let mut said = match (done.is_empty(), not.is_empty()) {
        (false, true) => format!("rolled back: {}", listed(&done)),
        (true, _) => format!("not rolled back: {not}"),
        (false, false) => format!("partly rolled back: {}, but not {not}", listed(&done)),
    };
    for ((action, why), names) in left {
        let _ = write!(
            said,
            "; '{action}' is not undone on {} ({why})",
            listed(&names)
        );
    }
    said
}
