//! Which nodes of a plan are about which subject: found once, so that no pass looks through the whole
//! fleet for each of its targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use mantle_shared::ids::TargetId;

use crate::fleet::looked_at;
use crate::plan::{NodeRef, Plan};

/// The nodes of each step by subject, each in the order of the actions. It follows from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeIndex(Arc<Vec<BTreeMap<TargetId, Vec<NodeRef>>>>);

impl NodeIndex {
    /// That of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let steps = (0_u32..).zip(&plan.steps).map(|(step, planned)| {
            let mut by_subject: BTreeMap<TargetId, Vec<NodeRef>> = BTreeMap::new();
            for (action, planned) in (0_u32..).zip(&planned.actions) {
                for (node, planned) in (0_u32..).zip(&planned.nodes) {
                    let nodes = by_subject.entry(planned.subject).or_default();
                    nodes.push(NodeRef { step, action, node });
                }
            }
            by_subject
        });
        Self(Arc::new(steps.collect()))
    }

    /// Every node of a step about a subject, in order.
    pub(super) fn about(&self, step: u32, subject: TargetId) -> &[NodeRef] {
        let of_step = self.0.get(step as usize);
        let nodes = of_step.and_then(|of_step| of_step.get(&subject));
        let nodes = nodes.map_or(&[][..], Vec::as_slice);
        looked_at::note(nodes.len());
        nodes
    }
}
