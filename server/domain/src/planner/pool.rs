//! The targets that a deployment may choose from, and why the others do not count.

use std::collections::BTreeSet;

use mantle_shared::ids::TargetId;

use super::PlanRequest;
use crate::explain::{Refusal, Remedy};
use crate::plan::{Plan, PlanTarget};
use crate::process::{Pick, TargetSelector};
use crate::target::TargetFacts;

/// The targets of one environment.
pub(super) struct Pool<'a> {
    request: &'a PlanRequest<'a>,
    /// Enabled, joined and not left out, sorted by name.
    members: Vec<Member>,
}

struct Member {
    target: PlanTarget,
    online: bool,
    features: Vec<String>,
}

/// Why a target of the environment is not chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absence {
    Disabled,
    NotJoined,
    LeftOut,
    Offline,
}

impl<'a> Pool<'a> {
    pub(super) fn new(request: &'a PlanRequest<'a>) -> Self {
        let mut members: Vec<Member> = request
            .targets
            .iter()
            .filter(|target| {
                is_in(target, request.environment) && absence(target, request).is_none()
            })
            .filter_map(|target| {
                let agent = target.agent.as_ref()?;
                Some(Member {
                    target: PlanTarget {
                        id: target.id,
                        name: target.name.clone(),
                        agent: agent.id,
                        tags: target.tags.clone(),
                        platform: agent.platform,
                        agent_version: agent.version.clone(),
                        host_name: agent.host_name.clone(),
                    },
                    online: agent.online,
                    features: agent.features.clone(),
                })
            })
            .collect();
        members.sort_by(|a, b| (&a.target.name, a.target.id).cmp(&(&b.target.name, b.target.id)));
        Self { request, members }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &PlanTarget> {
        self.members.iter().map(|member| &member.target)
    }

    /// The targets that a selector finds; of `pick: one` the first that is online, if any is.
    pub(super) fn choose(&self, selector: &TargetSelector) -> Vec<&PlanTarget> {
        let tagged: Vec<&Member> = self
            .members
            .iter()
            .filter(|member| has_tag(&member.target.tags, &selector.tag))
            .collect();
        match selector.pick {
            Pick::All => tagged.iter().map(|member| &member.target).collect(),
            Pick::One => tagged
                .iter()
                .find(|member| member.online)
                .or_else(|| tagged.first())
                .map(|member| &member.target)
                .into_iter()
                .collect(),
        }
    }

    /// Whether the target's agent announced an action type; if not, its version. What an agent can
    /// do is not known before it first connects: then it counts as offline and nothing more.
    pub(super) fn supports(&self, id: TargetId, uses: &str) -> Result<(), String> {
        let feature = format!("action:{uses}");
        match self.members.iter().find(|member| member.target.id == id) {
            Some(member)
                if (member.online || !member.features.is_empty())
                    && !member.features.contains(&feature) =>
            {
                Err(member.target.agent_version.clone())
            }
            _ => Ok(()),
        }
    }

    /// Those of the targets that take part whose agents are not connected.
    pub(super) fn offline(&self, taking_part: &BTreeSet<TargetId>) -> Vec<Refusal> {
        self.members
            .iter()
            .filter(|member| !member.online && taking_part.contains(&member.target.id))
            .map(|member| Refusal::AgentOffline {
                target: member.target.name.clone(),
            })
            .collect()
    }

    /// Whether any target of any environment has a tag.
    pub(super) fn tag_exists(&self, tag: &str) -> bool {
        self.request
            .targets
            .iter()
            .any(|target| has_tag(&target.tags, tag))
    }

    pub(super) fn tags(&self) -> BTreeSet<&str> {
        let targets = self.request.targets.iter();
        targets
            .flat_map(|target| target.tags.iter().map(String::as_str))
            .collect()
    }

    /// The environment's targets with a tag that do not count, and why; for a step that has none.
    pub(super) fn reasons(&self, tag: &str) -> Vec<String> {
        let mut reasons: Vec<String> = self
            .request
            .targets
            .iter()
            .filter(|target| has_tag(&target.tags, tag))
            .filter_map(|target| {
                if !is_in(target, self.request.environment) {
                    let others = target.environments.join(", ");
                    let others = if others.is_empty() {
                        "no environment".to_owned()
                    } else {
                        others
                    };
                    return Some(format!("{} is in {others}", target.name));
                }
                absence(target, self.request).map(|absence| describe(&target.name, absence))
            })
            .collect();
        reasons.sort();
        reasons.truncate(5);
        reasons
    }

    /// What would let a target of the environment take part: one with this tag, if one is named.
    /// The least that has to be done comes first.
    pub(super) fn remedy(&self, tag: Option<&str>) -> Option<Box<Remedy>> {
        let mut here: Vec<&TargetFacts> = self
            .request
            .targets
            .iter()
            .filter(|target| is_in(target, self.request.environment))
            .collect();
        here.sort_by(|a, b| a.name.cmp(&b.name));
        let absent = |wanted: Absence| {
            here.iter()
                .filter(|target| tag.is_none_or(|tag| has_tag(&target.tags, tag)))
                .find(|target| absence(target, self.request) == Some(wanted))
                .map(|target| target.name.clone())
        };
        absent(Absence::Disabled)
            .map(Remedy::Enable)
            .or_else(|| absent(Absence::NotJoined).map(Remedy::Join))
            .or_else(|| self.first().map(Remedy::Tag))
            .map(Box::new)
    }

    /// The first target that takes part, by name.
    pub(super) fn first(&self) -> Option<String> {
        self.members
            .first()
            .map(|member| member.target.name.clone())
    }

    /// Targets that would take part if they could.
    pub(super) fn warnings(&self, plan: &Plan) -> Vec<String> {
        let wanted: BTreeSet<&str> = plan
            .steps
            .iter()
            .zip(&self.request.process.process.steps)
            .filter(|(planned, _)| planned.skipped.is_none())
            .flat_map(|(_, step)| {
                let run_on = step
                    .actions
                    .iter()
                    .filter_map(|action| action.run_on.as_ref());
                step.targets.iter().chain(run_on)
            })
            .map(|selector| selector.tag.as_str())
            .collect();
        let mut warnings: Vec<String> = self
            .request
            .targets
            .iter()
            .filter(|target| is_in(target, self.request.environment))
            .filter(|target| target.tags.iter().any(|tag| wanted.contains(tag.as_str())))
            .filter_map(|target| match absence(target, self.request) {
                Some(absence @ (Absence::NotJoined | Absence::Offline)) => Some(format!(
                    "{} and is left out",
                    describe(&target.name, absence)
                )),
                Some(Absence::Disabled | Absence::LeftOut) | None => None,
            })
            .collect();
        warnings.sort();
        warnings
    }
}

fn is_in(target: &TargetFacts, environment: &str) -> bool {
    target.environments.iter().any(|name| name == environment)
}

fn has_tag(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|own| own == tag)
}

fn absence(target: &TargetFacts, request: &PlanRequest<'_>) -> Option<Absence> {
    let options = request.options;
    let left_out = options.not_targets.contains(&target.name)
        || (!options.only_targets.is_empty() && !options.only_targets.contains(&target.name));
    if target.disabled {
        return Some(Absence::Disabled);
    }
    if left_out {
        return Some(Absence::LeftOut);
    }
    match &target.agent {
        None => Some(Absence::NotJoined),
        Some(agent) if !agent.online && options.skip_offline => Some(Absence::Offline),
        Some(_) => None,
    }
}

fn describe(name: &str, absence: Absence) -> String {
    match absence {
        Absence::Disabled => format!("{name} is disabled"),
        Absence::NotJoined => format!("{name} is expected but has not joined"),
        Absence::LeftOut => format!("{name} is left out by the options of this deployment"),
        Absence::Offline => format!("{name} is offline"),
    }
}
