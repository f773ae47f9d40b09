//! The way back of a step that rolls back: a step of its own, planned with the rest and fixed with it.
//!
//! It stands behind the group of the step that it undoes and goes through that step's targets, the
//! last first, and about each through the actions that undo, the last first. Which of them were
//! begun at all is known when its turn comes.

use mantle_shared::ids::{TargetId, TaskId};
use serde::{Deserialize, Serialize};

use super::{NodeRef, Plan, PlanAction, PlanStep};
use crate::ids::ReleaseId;

/// What a way back is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBack {
    /// The index of the step that it undoes.
    pub of: u32,
    /// What ran on its targets when it was planned, of those where something did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<PlanBefore>,
    /// What is not undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<PlanLeft>,
}

/// What ran on a target before a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBefore {
    /// The target.
    pub target: TargetId,
    /// The deployment that brought it.
    pub task: TaskId,
    /// The release's id.
    pub release: ReleaseId,
    /// Its version.
    pub version: String,
    /// How far it had come there.
    #[serde(default, skip_serializing_if = "Ran::is_default")]
    pub ran: Ran,
}

/// How far what ran on a target had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ran {
    /// It ran.
    #[default]
    Whole,
    /// It had failed there: what ran may have been a mixture.
    InPart,
}

impl Ran {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An action that is not undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLeft {
    /// Its index in the step.
    pub action: u32,
    /// Why.
    pub why: String,
    /// About these targets, in the order of the step.
    pub targets: Vec<TargetId>,
}

impl Plan {
    /// The step that a way back undoes.
    pub fn undone_by(&self, step: &PlanStep) -> Option<&PlanStep> {
        self.step(step.back.as_ref()?.of)
    }

    /// The way back of the step at this index.
    pub fn way_back(&self, of: u32) -> Option<(u32, &PlanStep, &PlanBack)> {
        let steps = (0_u32..).zip(&self.steps);
        let mut ways = steps.filter_map(|(at, step)| Some((at, step, step.back.as_ref()?)));
        ways.find(|(_, _, back)| back.of == of)
    }

    /// A step and an action as their release names them: of what undoes an action, that action.
    pub fn stands_for<'p>(
        &'p self,
        step: &'p PlanStep,
        action: &'p PlanAction,
    ) -> (&'p PlanStep, &'p PlanAction) {
        let undone = || {
            let step = self.undone_by(step)?;
            Some((step, step.actions.get(action.undoes? as usize)?))
        };
        undone().unwrap_or((step, action))
    }

    /// The node that this one undoes: the same subject and executor.
    pub fn undone(&self, node: NodeRef) -> Option<NodeRef> {
        let of = self.step(node.step)?.back.as_ref()?.of;
        let action = self.action(node)?.undoes?;
        let planned = self.node(node)?;
        let undone = self.step(of)?.actions.get(action as usize)?;
        let index = undone.nodes.iter().position(|other| *other == planned)?;
        Some(NodeRef {
            step: of,
            action,
            node: u32::try_from(index).ok()?,
        })
    }

    /// The name under which what a node puts out is known: what undoes an action says what holds of
    /// that action's work from then on.
    pub fn output_name(&self, node: NodeRef) -> Option<&str> {
        let (step, action) = (self.step(node.step)?, self.action(node)?);
        Some(&self.stands_for(step, action).1.name)
    }
}
