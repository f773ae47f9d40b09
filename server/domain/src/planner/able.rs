//! For who only looks: what would be planned if every agent could do, and had, what its actions need.

use std::collections::BTreeSet;

use crate::action::needs;
use crate::explain::Refusal;
use crate::target::TargetFacts;

/// The targets as they would be if their agents knew every action type and input, and had every shell,
/// that one was refused for.
/// `None` if something else is refused as well, which no other agent would mend.
pub fn as_if_able(targets: &[TargetFacts], refusals: &[Refusal]) -> Option<Vec<TargetFacts>> {
    let mut lacking = BTreeSet::new();
    for refusal in refusals {
        if let Refusal::ActionUnsupported { uses, .. } = refusal {
            lacking.insert(format!("action:{uses}"));
        } else if let Refusal::InputUnsupported { .. } = refusal {
            lacking.insert(needs::PACKAGE_SCRIPTS.to_owned());
        } else if let Refusal::ShellMissing { shell, .. } = refusal {
            lacking.insert(needs::shell_feature(shell));
        } else {
            return None;
        }
    }
    let mut able = targets.to_vec();
    for agent in able.iter_mut().filter_map(|target| target.agent.as_mut()) {
        agent.features.extend(lacking.iter().cloned());
    }
    Some(able)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::planner::PlanOptions;
    use crate::release::ScannedFiles;
    use crate::testing::{a_release, a_target, octofx, plan};

    #[test]
    fn what_no_agent_can_do_yet_is_planned_as_if_it_could_and_nothing_else_is() {
        let release = a_release(&octofx().projects[0], &ScannedFiles::new());
        let tags = ["database", "load-balancer", "web", "server-worker"];
        let today = |tag: &&str| {
            let mut target = a_target(&format!("{tag}01"), &[tag], &["test"]);
            let features = &mut target.agent.as_mut().unwrap().features;
            features.retain(|one| one != "action:systemd.service");
            target
        };
        let targets: Vec<TargetFacts> = tags.iter().map(today).collect();
        let options = PlanOptions::default();
        let refused = plan(&release, "test", &targets, &options).unwrap_err();
        let able = as_if_able(&targets, &refused).unwrap();
        let shown = plan(&release, "test", &able, &options).unwrap();
        let farm = shown.steps.iter().find(|step| step.name == "Web farm");
        let actions = &farm.unwrap().actions;
        let service = actions.iter().find(|one| one.uses == "systemd.service");
        assert_eq!(service.unwrap().nodes.len(), 1);
        // An agent that is away is no agent of another version.
        let mut away = targets;
        away[2].agent.as_mut().unwrap().online = false;
        let refused = plan(&release, "test", &away, &options).unwrap_err();
        assert_eq!(as_if_able(&away, &refused), None, "{refused:?}");
    }
}
