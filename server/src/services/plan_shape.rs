//! A plan's preview as the API shows it.

use mantle_domain::file::duration;
use mantle_domain::plan::{Plan, Ran};
use mantle_domain::planner::preview::{PreviewAction, PreviewBack, PreviewNode, PreviewStep};
use mantle_domain::process::{OnFailure, Start};

use crate::api::body::{
    LeftOutTarget, PlanAction, PlanNode, PlanNotUndone, PlanPutBack, PlanRollBack, PlanStep,
};

/// The targets that take no part.
pub(super) fn left_out(plan: &Plan) -> Vec<LeftOutTarget> {
    let targets = plan.left_out.iter();
    targets
        .map(|target| LeftOutTarget {
            name: target.name.clone(),
            why: target.why.words().to_owned(),
        })
        .collect()
}

/// One step.
pub(super) fn step(step: PreviewStep) -> PlanStep {
    PlanStep {
        number: step.number,
        name: step.name,
        start: match step.start {
            Start::AfterPrevious => None,
            Start::WithPrevious => Some("with_previous".to_owned()),
        },
        required: step.required,
        rolling: step.rolling,
        parallel: step.parallel,
        max_failed: step.max_failed,
        on_failure: step.rolling.then(|| match step.on_failure {
            OnFailure::Stop => "stop".to_owned(),
            OnFailure::Continue => "continue".to_owned(),
            OnFailure::Rollback => "rollback".to_owned(),
        }),
        pause_after_first: step.pause_after_first,
        timeout: step.timeout_ms.map(duration::format),
        condition: step.condition,
        targets: step.subjects,
        actions: step.actions.into_iter().map(action).collect(),
        skipped: step.skipped,
        rolls_back: step.back.map(back),
    }
}

fn back(back: PreviewBack) -> PlanRollBack {
    let targets = back.targets.into_iter();
    let left = back.left.into_iter();
    PlanRollBack {
        step: back.of,
        targets: targets
            .map(|(name, before)| PlanPutBack {
                name,
                in_part: before.as_ref().is_some_and(|b| b.ran == Ran::InPart),
                version: before.map(|before| before.version),
            })
            .collect(),
        not_undone: left
            .map(|left| PlanNotUndone {
                action: left.action,
                why: left.why,
                targets: left.targets,
            })
            .collect(),
    }
}

fn action(action: PreviewAction) -> PlanAction {
    PlanAction {
        name: action.name,
        uses: action.uses,
        condition: action.condition,
        packages: action
            .packages
            .into_iter()
            .map(|package| format!("{} {}", package.id, package.version))
            .collect(),
        nodes: action.nodes.into_iter().map(node).collect(),
        skipped: action.skipped,
    }
}

fn node(node: PreviewNode) -> PlanNode {
    PlanNode {
        target: node.subject,
        executor: node.executor,
        with: node.with,
    }
}
