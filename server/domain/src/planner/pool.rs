//! The targets that a deployment may choose from, and why the others do not count.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::TargetId;

use super::PlanRequest;
use crate::action::needs;
use crate::explain::{Part, Refusal, Remedy};
use crate::fleet::looked_at;
use crate::plan::{LeftOutReason, Plan, PlanLeftOut, PlanTarget};
use crate::process::{Action, Pick, TargetSelector, Unavailable, Unhealthy, WORKER_TAG};
use crate::target::TargetFacts;

/// The targets of one environment.
pub(super) struct Pool<'a> {
    request: &'a PlanRequest<'a>,
    /// Enabled, joined and not left out, sorted by name.
    members: Vec<Member>,
    /// The same of those that run steps without targets and that are not in the environment: a step
    /// that is about no target is about no environment's machine either.
    workers: Vec<Member>,
}

struct Member {
    target: PlanTarget,
    /// The operator left it in: steps may be about it.
    chosen: bool,
    online: bool,
    /// A check says that it is unhealthy, and why.
    ill: Option<String>,
    features: Vec<String>,
}

/// What becomes of a step's targets that are not as they should be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) unavailable: Unavailable,
    pub(super) unhealthy: Unhealthy,
}

impl Policies {
    /// Of those that run something on behalf of others none is left out.
    pub(super) const OF_EXECUTORS: Self = Self {
        unavailable: Unavailable::Fail,
        unhealthy: Unhealthy::Deploy,
    };
}

/// Why a target of the environment is not chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absence {
    Disabled,
    Maintenance,
    NotJoined,
    LeftOut,
}

impl<'a> Pool<'a> {
    pub(super) fn new(request: &'a PlanRequest<'a>) -> Self {
        let present = request
            .targets
            .iter()
            .filter(|target| absence(target, request).is_none());
        let (here, elsewhere): (Vec<&TargetFacts>, Vec<&TargetFacts>) =
            present.partition(|target| is_in(target, request.environment));
        let workers = elsewhere
            .into_iter()
            .filter(|target| has_tag(&target.tags, WORKER_TAG));
        Self {
            request,
            members: members(here.into_iter(), request),
            workers: members(workers, request),
        }
    }

    /// Who runs the steps without targets: the first by name that is online, one of the environment
    /// before others.
    pub(super) fn worker(&self) -> Option<&PlanTarget> {
        let here = self.members.iter();
        let here = here.filter(|member| has_tag(&member.target.tags, WORKER_TAG));
        let all: Vec<&Member> = here.chain(&self.workers).collect();
        let online = all.iter().find(|member| member.online);
        online.or(all.first()).map(|member| &member.target)
    }

    /// All that may take part, as subject or executor.
    fn everybody(&self) -> impl Iterator<Item = &Member> {
        looked_at::note(self.members.len() + self.workers.len());
        self.members.iter().chain(&self.workers)
    }

    /// The targets of the environment and the workers.
    pub(super) fn all(&self) -> impl Iterator<Item = &PlanTarget> {
        self.everybody().map(|member| &member.target)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The targets that a step is about; of `pick: one` the first that is online, if any is.
    pub(super) fn choose_subjects(
        &self,
        selector: &TargetSelector,
        policies: Policies,
    ) -> Vec<&PlanTarget> {
        let may = |member: &&Member| {
            let there = match policies.unavailable {
                Unavailable::Fail => true,
                Unavailable::Skip => member.online,
            };
            let well = match policies.unhealthy {
                Unhealthy::Deploy | Unhealthy::Fail => true,
                Unhealthy::Skip => member.ill.is_none(),
            };
            member.chosen && there && well
        };
        picked(selector, self.members.iter().filter(may))
    }

    /// Those of the targets that are unhealthy.
    pub(super) fn unhealthy(&self, among: &BTreeSet<TargetId>) -> Vec<Refusal> {
        let members = self.members.iter();
        let ill = members.filter(|member| among.contains(&member.target.id));
        ill.filter_map(|member| {
            Some(Refusal::TargetUnhealthy {
                target: member.target.name.clone(),
                why: member.ill.clone()?,
            })
        })
        .collect()
    }

    /// The targets whose agents run an action on behalf of others. Who chooses targets chooses
    /// what it is about, so that a balancer still takes part; and one that is away is never left
    /// out, for it would go on sending requests to what is being changed.
    pub(super) fn choose_executors(&self, selector: &TargetSelector) -> Vec<&PlanTarget> {
        picked(selector, self.members.iter())
    }

    /// There are targets for a step, and the operator chose none of them.
    pub(super) fn is_left_out_by_choice(&self, selector: &TargetSelector) -> bool {
        self.request.targets.iter().any(|target| {
            is_in(target, self.request.environment)
                && has_tag(&target.tags, &selector.tag)
                && absence(target, self.request).is_none_or(|why| why == Absence::LeftOut)
                && !is_chosen(target, self.request)
        }) && !self
            .members
            .iter()
            .any(|member| member.chosen && has_tag(&member.target.tags, &selector.tag))
    }

    /// The targets that a step would be about and that take no part, and why: what the operator
    /// chose, or that they are away.
    pub(super) fn left_out(
        &self,
        wanted: &BTreeMap<String, Policies>,
        taking_part: &BTreeSet<TargetId>,
    ) -> Vec<PlanLeftOut> {
        let here = self.request.targets.iter().filter(|target| {
            is_in(target, self.request.environment)
                && !taking_part.contains(&target.id)
                && target.tags.iter().any(|tag| wanted.contains_key(tag))
        });
        let mut left_out: Vec<PlanLeftOut> = here
            .filter_map(|target| {
                let unchosen = !is_chosen(target, self.request);
                let why = match absence(target, self.request) {
                    Some(Absence::LeftOut) => LeftOutReason::Excluded,
                    Some(Absence::NotJoined | Absence::Maintenance) | None if unchosen => {
                        LeftOutReason::NotChosen
                    }
                    Some(Absence::NotJoined) => LeftOutReason::NotJoined,
                    Some(Absence::Maintenance) => LeftOutReason::Maintenance,
                    None if is_skipped(target, wanted) => LeftOutReason::Unavailable,
                    None if is_spared(target, wanted) => LeftOutReason::Unhealthy,
                    Some(Absence::Disabled) | None => return None,
                };
                Some(PlanLeftOut {
                    id: target.id,
                    name: target.name.clone(),
                    agent: target.agent.as_ref().map(|agent| agent.id),
                    why,
                    note: match why {
                        LeftOutReason::Unhealthy => target.unhealthy.clone(),
                        _ => target.maintenance.clone(),
                    }
                    .unwrap_or_default(),
                })
            })
            .collect();
        left_out.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        left_out
    }

    /// Those of the executors whose agents did not announce an action type, with their versions. What
    /// an agent can do is not known before it first connects: then it counts as offline and nothing
    /// more.
    pub(super) fn lacking(
        &self,
        executors: &BTreeSet<TargetId>,
        uses: &str,
    ) -> BTreeMap<&str, &str> {
        self.lacking_feature(executors, &format!("action:{uses}"))
    }

    /// The same for what the inputs of an action ask for.
    pub(super) fn lacking_feature(
        &self,
        executors: &BTreeSet<TargetId>,
        feature: &str,
    ) -> BTreeMap<&str, &str> {
        self.everybody()
            .filter(|member| executors.contains(&member.target.id))
            .filter(|member| member.online || !member.features.is_empty())
            .filter(|member| !member.features.iter().any(|own| own == feature))
            .map(|member| {
                let target = &member.target;
                (target.name.as_str(), target.agent_version.as_str())
            })
            .collect()
    }

    /// Those of the executors that have not the shell which an action runs on their platform, by shell.
    /// Agents that tell of no shell are of a version that never does.
    pub(super) fn without_shell<'o>(
        &self,
        executors: &BTreeSet<TargetId>,
        action: &'o Action,
    ) -> BTreeMap<&'o str, Vec<String>> {
        let mut lacking: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let everybody = self.everybody();
        for member in everybody.filter(|member| executors.contains(&member.target.id)) {
            let Some(shell) = needs::shell(action, member.target.platform) else {
                continue;
            };
            let tells = member
                .features
                .iter()
                .any(|own| needs::tells_of_shells(own));
            if tells && !member.features.contains(&needs::shell_feature(shell)) {
                let names = lacking.entry(shell).or_default();
                names.push(member.target.name.clone());
            }
        }
        for names in lacking.values_mut() {
            names.sort();
        }
        lacking
    }

    /// Those of the targets that take part whose agents are not connected: of what steps are about,
    /// and of what runs anything for others.
    pub(super) fn offline(
        &self,
        subjects: &BTreeSet<TargetId>,
        for_others: &BTreeSet<TargetId>,
    ) -> Vec<Refusal> {
        let is_there = |member: &Member| member.online && subjects.contains(&member.target.id);
        let several = self.everybody().any(is_there);
        let away = self.everybody().filter(|member| !member.online);
        away.filter_map(|member| {
            let id = &member.target.id;
            let tags = &member.target.tags;
            // Of a step without targets its worker is the subject too.
            let is_worker = subjects.contains(id) && has_tag(tags, WORKER_TAG);
            let serves = for_others.contains(id) || is_worker;
            let part = match (serves, subjects.contains(id)) {
                (true, _) => Part::ForOthers,
                (false, true) if several => Part::OneOfSeveral,
                (false, true) => Part::Alone,
                (false, false) => return None,
            };
            let target = member.target.name.clone();
            Some(Refusal::AgentOffline { target, part })
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
            .map(|target| {
                if !is_in(target, self.request.environment) {
                    let others = target.environments.join(", ");
                    let others = if others.is_empty() {
                        "no environment".to_owned()
                    } else {
                        others
                    };
                    return format!("{} is in {others}", target.name);
                }
                let unchosen = !is_chosen(target, self.request);
                let absence = absence(target, self.request);
                match absence.or(unchosen.then_some(Absence::LeftOut)) {
                    Some(absence) => describe(target, absence),
                    None => match (&target.agent, &target.unhealthy) {
                        (Some(agent), Some(why)) if agent.online => {
                            format!("{} is unhealthy ({why})", target.name)
                        }
                        (_, _) => format!("{} is offline", target.name),
                    },
                }
            })
            .collect();
        reasons.sort();
        reasons.truncate(5);
        reasons
    }

    /// What would let a target of the environment take part: one with this tag, if one is named.
    /// The least that has to be done comes first, and what the operator chose before all others.
    pub(super) fn remedy(&self, tag: Option<&str>) -> Option<Box<Remedy>> {
        let mut here: Vec<&TargetFacts> = self
            .request
            .targets
            .iter()
            .filter(|target| is_in(target, self.request.environment))
            .collect();
        here.sort_by(|a, b| a.name.cmp(&b.name));
        let tagged = || {
            here.iter()
                .filter(|target| tag.is_none_or(|tag| has_tag(&target.tags, tag)))
                .filter(|target| is_chosen(target, self.request))
        };
        let absent = |wanted: Absence| {
            tagged()
                .find(|target| absence(target, self.request) == Some(wanted))
                .map(|target| target.name.clone())
        };
        let left_out = |wanted: fn(&TargetFacts) -> bool| {
            tagged()
                .filter(|target| absence(target, self.request).is_none())
                .find(|target| wanted(target))
                .map(|target| target.name.clone())
        };
        let is_away =
            |target: &TargetFacts| target.agent.as_ref().is_some_and(|agent| !agent.online);
        left_out(is_away)
            .map(Remedy::Connect)
            .or_else(|| left_out(|target| target.unhealthy.is_some()).map(Remedy::Cure))
            .or_else(|| absent(Absence::Disabled).map(Remedy::Enable))
            .or_else(|| absent(Absence::Maintenance).map(Remedy::EndMaintenance))
            .or_else(|| absent(Absence::NotJoined).map(Remedy::Join))
            .or_else(|| self.first().map(Remedy::Tag))
            .map(Box::new)
    }

    /// The first target that takes part, by name; one that the operator chose if there is any.
    pub(super) fn first(&self) -> Option<String> {
        let chosen = self.members.iter().find(|member| member.chosen);
        chosen
            .or(self.members.first())
            .map(|member| member.target.name.clone())
    }

    /// Targets that would take part if they could.
    pub(super) fn warnings(plan: &Plan) -> Vec<String> {
        let left_out = plan.left_out.iter();
        left_out.filter_map(PlanLeftOut::warning).collect()
    }
}

/// These targets as members, by name.
fn members<'t>(
    targets: impl Iterator<Item = &'t TargetFacts>,
    request: &PlanRequest<'_>,
) -> Vec<Member> {
    let mut members: Vec<Member> = targets
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
                chosen: is_chosen(target, request),
                online: agent.online,
                ill: target.unhealthy.clone(),
                features: agent.features.clone(),
            })
        })
        .collect();
    members.sort_by(|a, b| (&a.target.name, a.target.id).cmp(&(&b.target.name, b.target.id)));
    members
}

/// Those with the selector's tag; of `pick: one` the first that is online, if any is.
fn picked<'m>(
    selector: &TargetSelector,
    members: impl Iterator<Item = &'m Member>,
) -> Vec<&'m PlanTarget> {
    let tagged: Vec<&Member> = members
        .inspect(|_| looked_at::note(1))
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

/// It is away, and a step that would be about it goes on without those that are.
fn is_skipped(target: &TargetFacts, wanted: &BTreeMap<String, Policies>) -> bool {
    let away = target.agent.as_ref().is_some_and(|agent| !agent.online);
    let mut policies = target.tags.iter().filter_map(|tag| wanted.get(tag));
    away && policies.any(|policy| policy.unavailable == Unavailable::Skip)
}

/// It is unhealthy, and a step that would be about it goes on without those that are.
fn is_spared(target: &TargetFacts, wanted: &BTreeMap<String, Policies>) -> bool {
    let mut policies = target.tags.iter().filter_map(|tag| wanted.get(tag));
    target.unhealthy.is_some() && policies.any(|policy| policy.unhealthy == Unhealthy::Skip)
}

/// By what the operator chose, a step may be about it.
fn is_chosen(target: &TargetFacts, request: &PlanRequest<'_>) -> bool {
    let options = request.options;
    let by_name = options.only_targets.is_empty() || options.only_targets.contains(&target.name);
    let by_tag = options.only_tags.is_empty()
        || target
            .tags
            .iter()
            .any(|tag| options.only_tags.contains(tag));
    by_name && by_tag && !options.not_targets.contains(&target.name)
}

fn is_in(target: &TargetFacts, environment: &str) -> bool {
    target.environments.iter().any(|name| name == environment)
}

fn has_tag(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|own| own == tag)
}

fn absence(target: &TargetFacts, request: &PlanRequest<'_>) -> Option<Absence> {
    if target.disabled {
        return Some(Absence::Disabled);
    }
    if request.options.not_targets.contains(&target.name) {
        return Some(Absence::LeftOut);
    }
    if target.maintenance.is_some() {
        return Some(Absence::Maintenance);
    }
    match &target.agent {
        None => Some(Absence::NotJoined),
        Some(_) => None,
    }
}

fn describe(target: &TargetFacts, absence: Absence) -> String {
    let name = &target.name;
    match absence {
        Absence::Maintenance => {
            let reason = target.maintenance.as_deref().unwrap_or_default();
            format!("{name} is in maintenance ({reason})")
        }
        Absence::Disabled => format!("{name} is disabled"),
        Absence::NotJoined => format!("{name} is expected but has not joined"),
        Absence::LeftOut => format!("{name} is left out by the options of this deployment"),
    }
}
