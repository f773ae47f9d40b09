//! Plans the way back of each step that rolls back: what would be undone, about whom, and what not.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::TargetId;

use super::PlanRequest;
use super::pool::Pool;
use crate::action::undo::{PACKAGE_BACK, Undo, undo};
use crate::plan::{PlanAction, PlanBack, PlanBefore, PlanLeft, PlanNode, PlanStep};
use crate::process::{Action, OnFailure, RunCondition, Start, Step};

/// Puts the ways back behind the groups of the steps that they undo, the last step's first.
pub(super) fn with_ways_back(
    request: &PlanRequest<'_>,
    pool: &Pool<'_>,
    planned: Vec<PlanStep>,
) -> Vec<PlanStep> {
    let process = &request.process.process.steps;
    let mut steps: Vec<PlanStep> = Vec::with_capacity(planned.len());
    let mut open: Vec<PlanStep> = Vec::new();
    for (step, own) in planned.into_iter().zip(process) {
        if step.start == Start::AfterPrevious {
            steps.extend(open.drain(..).rev());
        }
        let at = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        if step.rolling && step.on_failure == OnFailure::Rollback && step.skipped.is_none() {
            open.push(way_back(request, pool, (at, &step), own));
        }
        steps.push(step);
    }
    steps.extend(open.into_iter().rev());
    for (number, step) in (1..).zip(&mut steps) {
        step.number = number;
    }
    steps
}

fn way_back(
    request: &PlanRequest<'_>,
    pool: &Pool<'_>,
    (of, step): (u32, &PlanStep),
    own: &Step,
) -> PlanStep {
    let subjects: BTreeSet<TargetId> = step.subjects.iter().copied().collect();
    let before: Vec<PlanBefore> = request
        .before
        .iter()
        .filter(|before| subjects.contains(&before.target))
        .cloned()
        .collect();
    let ran: BTreeSet<TargetId> = before.iter().map(|before| before.target).collect();
    let mut left: Vec<PlanLeft> = Vec::new();
    let mut actions: Vec<PlanAction> = Vec::new();
    let both = (0_u32..).zip(step.actions.iter().zip(&own.actions));
    for (index, (planned, action)) in both {
        if planned.nodes.is_empty() {
            continue;
        }
        let (nodes, not) = match undo(action, own) {
            Undo::Nothing => continue,
            Undo::Impossible(why) => (None, vec![(why, planned.nodes.clone())]),
            Undo::By(by) => {
                let (nodes, not) = sorted(request, pool, planned, &by, &ran);
                (Some((nodes, by)), not)
            }
        };
        for (why, nodes) in not {
            let about: BTreeSet<TargetId> = nodes.iter().map(|node| node.subject).collect();
            let targets = step.subjects.iter().filter(|id| about.contains(id));
            left.push(PlanLeft {
                action: index,
                why,
                targets: targets.copied().collect(),
            });
        }
        if let Some((nodes, by)) = nodes.filter(|(nodes, _)| !nodes.is_empty()) {
            actions.push(undoing(index, planned, &by, nodes));
        }
    }
    actions.reverse();
    let nodes = actions.iter().flat_map(|action| &action.nodes);
    let about: BTreeSet<TargetId> = nodes.map(|node| node.subject).collect();
    let subjects = step.subjects.iter().rev();
    let subjects: Vec<TargetId> = subjects.filter(|id| about.contains(id)).copied().collect();
    PlanStep {
        name: format!("Roll back {}", step.name),
        run: RunCondition::Success,
        start: Start::AfterPrevious,
        max_failed: 0,
        // What cannot be undone on one target is a person's to judge before the next is touched.
        on_failure: OnFailure::Stop,
        pause_after_first: false,
        skipped: subjects
            .is_empty()
            .then(|| "nothing that it does can be undone".to_owned()),
        subjects,
        actions,
        back: Some(PlanBack { of, before, left }),
        ..step.clone()
    }
}

/// The nodes of an action that can be undone, and those that cannot, by reason.
fn sorted(
    request: &PlanRequest<'_>,
    pool: &Pool<'_>,
    planned: &PlanAction,
    by: &Action,
    ran: &BTreeSet<TargetId>,
) -> (Vec<PlanNode>, Vec<(String, Vec<PlanNode>)>) {
    let executors: BTreeSet<TargetId> = planned.nodes.iter().map(|node| node.executor).collect();
    let lacking = pool.lacking(&executors, &by.uses);
    let unable: BTreeMap<TargetId, &str> = pool
        .all()
        .filter_map(|target| Some((target.id, *lacking.get(target.name.as_str())?)))
        .collect();
    let mut nodes = Vec::new();
    let mut not: Vec<(String, Vec<PlanNode>)> = Vec::new();
    for node in &planned.nodes {
        let why = if by.uses == PACKAGE_BACK && !ran.contains(&node.subject) {
            let project = &request.process.project;
            Some(format!("nothing of {project} ran there before"))
        } else {
            let version = unable.get(&node.executor);
            version.map(|version| format!("its agent ({version}) does not know how; upgrade it"))
        };
        match why {
            None => nodes.push(*node),
            Some(why) => match not.iter_mut().find(|(known, _)| *known == why) {
                Some((_, nodes)) => nodes.push(*node),
                None => not.push((why, vec![*node])),
            },
        }
    }
    (nodes, not)
}

fn undoing(index: u32, planned: &PlanAction, by: &Action, nodes: Vec<PlanNode>) -> PlanAction {
    PlanAction {
        name: format!("Undo {}", planned.name),
        uses: by.uses.clone(),
        run: RunCondition::Success,
        // By these it knows which package is meant; they are there for the other action already.
        packages: if by.uses == PACKAGE_BACK {
            planned.packages.clone()
        } else {
            Vec::new()
        },
        nodes,
        ask: None,
        undoes: Some(index),
        ..planned.clone()
    }
}
