//! What a plan rests on, so that a deployment can be bound to the plan that was looked at.
//!
//! It holds the digests of what is deployed, of a rollback also from where it goes back, and the plan
//! itself, which is what became of the targets of its moment, with the facts about them that inputs are
//! evaluated with, and of what ran there before what the release's texts read. An agent's version is left
//! out: it is upgraded without anybody planning anew.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::Digest;
use mantle_shared::ids::{TargetId, TaskId};
use mantle_shared::uuid::Uuid;
use serde::{Deserialize, Serialize};

use super::{
    Guidance, LeftOutReason, Plan, PlanAction, PlanFacts, PlanLeftOut, PlanStep, PlanTarget, reads,
};
use crate::explain::listed;
use crate::fleet::Fleet;
use crate::ids::ReleaseId;

/// The format of a basis.
pub const BASIS_FORMAT: u32 = 1;
/// So many digits of the digest make an id: two plans with the same one are the same plan.
const ID_DIGITS: usize = 20;
/// What every id begins with.
pub const ID_PREFIX: &str = "plan-";

/// What a plan rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBasis {
    /// [`BASIS_FORMAT`].
    pub format: u32,
    /// The digest of the release's process.
    pub process: Digest,
    /// The digest of the variables that are used, before anything is answered: a rollback has those
    /// of an earlier deployment.
    pub variables: Digest,
    /// The digest of its packages.
    pub packages: Digest,
    /// The plan, of no task.
    pub plan: Plan,
    /// The release that a rollback leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_from: Option<ReleaseId>,
    /// What was given with it: answers, fields, a comment. By name, as marks, for some are secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<String, String>,
}

/// What a plan is of. One of the one kind is never the plan of the other, though both may do the
/// same: a rollback passes by the phases of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    /// A deployment.
    #[default]
    Deployment,
    /// A deployment that goes back.
    Rollback,
}

/// The three digests of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseDigests {
    /// Of its process.
    pub process: Digest,
    /// Of its variables.
    pub variables: Digest,
    /// Of its packages.
    pub packages: Digest,
}

impl PlanBasis {
    /// What this plan of this release rests on, with what was given for it.
    pub fn new(plan: &Plan, release: ReleaseDigests, given: &BTreeMap<String, String>) -> Self {
        let mut plan = plan.clone();
        plan.task = TaskId::from_uuid(Uuid::nil());
        for target in &mut plan.targets {
            target.agent_version.clear();
        }
        // The next run of a check may say the same in other words.
        let ill = |target: &&mut PlanLeftOut| target.why == LeftOutReason::Unhealthy;
        for target in plan.left_out.iter_mut().filter(ill) {
            let said = target.warning();
            plan.warnings
                .retain(|warning| Some(warning) != said.as_ref());
            target.note.clear();
        }
        // What is held follows from the process and the targets, which stand here already.
        for action in plan.steps.iter_mut().flat_map(|step| &mut step.actions) {
            action.locks.clear();
        }
        let ways_back = plan.steps.iter_mut().filter_map(|step| step.back.as_mut());
        for before in ways_back.flat_map(|back| &mut back.before) {
            before.task = TaskId::from_uuid(Uuid::nil());
        }
        plan.facts = reads::only(&plan.facts, &plan.reads);
        Self {
            format: BASIS_FORMAT,
            process: release.process,
            variables: release.variables,
            packages: release.packages,
            plan,
            back_from: None,
            given: given.clone(),
        }
    }

    /// The same of a rollback that leaves this release, if it is one.
    #[must_use]
    pub fn going_back(self, from: Option<ReleaseId>) -> Self {
        Self {
            back_from: from,
            ..self
        }
    }

    /// What it is the plan of.
    pub fn kind(&self) -> PlanKind {
        match self.back_from {
            None => PlanKind::Deployment,
            Some(_) => PlanKind::Rollback,
        }
    }

    /// Its canonical bytes and its id.
    pub fn identify(&self) -> Result<(Vec<u8>, String), serde_json::Error> {
        let bytes = serde_json::to_vec(self)?;
        let digest = Digest::of(&bytes).to_string();
        let digits = digest.get(..ID_DIGITS).unwrap_or(&digest);
        Ok((bytes, format!("{ID_PREFIX}{digits}")))
    }

    /// The same without what an earlier one could not say yet: plans that were printed before an
    /// upgrade of the server hold after it.
    fn as_known_to(&self, earlier: &Self) -> Self {
        let unknown: BTreeSet<TargetId> = earlier
            .plan
            .targets
            .iter()
            .filter(|target| target.host_name.is_empty())
            .map(|target| target.id)
            .collect();
        let mut known = self.clone();
        // Of the same process and variables it read nothing that it could speak of.
        if earlier.plan.reads.is_empty() {
            known.plan.reads.clear();
            known.plan.facts = PlanFacts::default();
        }
        for target in &mut known.plan.targets {
            if unknown.contains(&target.id) {
                target.host_name.clear();
            }
        }
        known
    }

    /// What is another now, in sentences for people. Empty only if nothing is.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let now = &now.as_known_to(self);
        let (was, is) = (&self.plan, &now.plan);
        let mut changes = Vec::new();
        let mut differ = |yes: bool, what: String| {
            if yes {
                changes.push(what);
            }
        };
        differ(
            (&was.project, &was.release, &was.environment)
                != (&is.project, &is.release, &is.environment),
            format!(
                "it is about {} {} into '{}'",
                was.project, was.release, was.environment
            ),
        );
        match (self.back_from, now.back_from) {
            (None, Some(_)) => differ(true, "it is a rollback now".to_owned()),
            (Some(_), None) => differ(true, "it is no rollback any more".to_owned()),
            (was, is) => differ(
                was != is,
                "it goes back from another release now".to_owned(),
            ),
        }
        differ(
            self.variables != now.variables,
            match now.kind() {
                PlanKind::Deployment => "the release's variables were refreshed".to_owned(),
                PlanKind::Rollback => "it goes back to other variables now".to_owned(),
            },
        );
        differ(
            self.process != now.process || self.packages != now.packages,
            "the release was deleted and made anew".to_owned(),
        );
        if was.keep_on_target != is.keep_on_target {
            changes.push("its lifecycle keeps another number of versions on targets".to_owned());
        }
        given(&self.given, &now.given, &mut changes);
        if was.timeouts != is.timeouts {
            changes.push("it may take another time".to_owned());
        }
        if was.guidance != is.guidance {
            changes.push(match is.guidance {
                Guidance::Guided => "a failure asks a person now".to_owned(),
                Guidance::Unguided => "a failure asks nobody any more".to_owned(),
            });
        }
        changes.extend(reads::changes(&was.facts, &is.facts, &is.environment));
        targets(was, is, &mut changes);
        steps(was, is, &mut changes);
        let before: BTreeSet<&String> = was.warnings.iter().collect();
        let after: BTreeSet<&String> = is.warnings.iter().collect();
        let gone = was.warnings.iter().filter(|w| !after.contains(w));
        changes.extend(gone.map(|warning| format!("it is not so any more that {warning}")));
        let new = is.warnings.iter().filter(|w| !before.contains(w));
        changes.extend(new.cloned());
        let left_out = |plan: &Plan| -> Vec<String> {
            let left_out = plan.left_out.iter();
            left_out.map(|target| target.name.clone()).collect()
        };
        if changes.is_empty() && left_out(was) != left_out(is) {
            changes.push(format!("left out are {} now", listed(&left_out(is))));
        }
        if changes.is_empty() && self != now {
            changes.push("something that this version does not know by name".to_owned());
        }
        changes
    }
}

fn given(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>, changes: &mut Vec<String>) {
    for (name, mark) in is {
        match was.get(name) {
            None => changes.push(format!("{name} is given now")),
            Some(old) if old != mark => changes.push(format!("{name} is another")),
            Some(_) => {}
        }
    }
    let gone = was.keys().filter(|name| !is.contains_key(*name));
    changes.extend(gone.map(|name| format!("{name} is not given any more")));
}

fn targets(was: &Plan, is: &Plan, changes: &mut Vec<String>) {
    let by_id = |plan: &Plan| -> BTreeMap<TargetId, PlanTarget> {
        let targets = plan.targets.iter().cloned();
        targets.map(|target| (target.id, target)).collect()
    };
    let (before, after) = (by_id(was), by_id(is));
    for (id, target) in &after {
        let name = &target.name;
        let Some(old) = before.get(id) else {
            changes.push(format!("target '{name}' takes part now"));
            continue;
        };
        if old.name != *name {
            changes.push(format!("target '{}' is called '{name}' now", old.name));
        }
        if old.agent != target.agent {
            changes.push(format!("another agent joined as target '{name}'"));
        }
        if old.host_name != target.host_name {
            changes.push(format!(
                "the machine of target '{name}' is called '{}' now, no longer '{}'",
                target.host_name, old.host_name
            ));
        }
        if old.tags != target.tags {
            changes.push(format!(
                "the tags of target '{name}' are {} now",
                listed(&target.tags)
            ));
        }
        if old.platform != target.platform {
            changes.push(format!("target '{name}' runs on another platform now"));
        }
    }
    for (id, target) in &before {
        if !after.contains_key(id) {
            changes.push(format!(
                "target '{}' does not take part any more",
                target.name
            ));
        }
    }
}

fn steps(was: &Plan, is: &Plan, changes: &mut Vec<String>) {
    let (before, after) = (Fleet::of(was), Fleet::of(is));
    for step in &is.steps {
        let name = &step.name;
        let Some(old) = was.steps.iter().find(|old| old.name == *name) else {
            changes.push(format!("step '{name}' is new"));
            continue;
        };
        match (&old.skipped, &step.skipped) {
            (None, Some(why)) => changes.push(format!("step '{name}' is skipped now: {why}")),
            (Some(_), None) => changes.push(format!("step '{name}' is not skipped any more")),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let subjects = names(&after, &step.subjects);
        if names(&before, &old.subjects) != subjects {
            changes.push(format!("step '{name}' is about {} now", listed(&subjects)));
        } else if nodes(&before, old) != nodes(&after, step) {
            changes.push(format!("step '{name}' is carried out by other targets now"));
        }
        let bare = |step: &PlanStep| PlanStep {
            subjects: Vec::new(),
            skipped: None,
            parallel: 0,
            max_failed: 0,
            back: None,
            actions: step.actions.iter().map(without_nodes).collect(),
            ..step.clone()
        };
        if old.parallel != step.parallel {
            changes.push(format!("step '{name}' has {} at once now", step.parallel));
        }
        if old.max_failed != step.max_failed {
            let allowed = step.max_failed;
            changes.push(format!("in step '{name}' {allowed} targets may fail now"));
        }
        if old.back != step.back {
            changes.push(format!("step '{name}' would put back something else now"));
        }
        if bare(old) != bare(step) {
            changes.push(format!("step '{name}' does something else now"));
        }
    }
    for step in &was.steps {
        if !is.steps.iter().any(|other| other.name == step.name) {
            changes.push(format!("step '{}' is gone", step.name));
        }
    }
}

fn without_nodes(action: &PlanAction) -> PlanAction {
    PlanAction {
        nodes: Vec::new(),
        ..action.clone()
    }
}

fn names(fleet: &Fleet<'_>, ids: &[TargetId]) -> Vec<String> {
    let name = |id: &TargetId| fleet.target(*id).map(|target| target.name.clone());
    ids.iter().filter_map(name).collect()
}

fn nodes(fleet: &Fleet<'_>, step: &PlanStep) -> Vec<Vec<String>> {
    let actions = step.actions.iter();
    actions
        .map(|action| {
            let ids: Vec<TargetId> = action
                .nodes
                .iter()
                .flat_map(|node| [node.subject, node.executor])
                .collect();
            names(fleet, &ids)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mantle_shared::ids::AgentId;

    use super::*;
    use crate::planner::PlanOptions;
    use crate::release::ScannedFiles;
    use crate::target::{Platform, TargetFacts};
    use crate::testing::{a_project, a_release, a_target, plan};

    const FARM: &str = concat!(
        "process:\n",
        "  - step: Farm\n",
        "    targets: { tag: web }\n",
        "    rolling: { window: 50% }\n",
        "    actions:\n",
        "      - { action: Out, uses: script, run_on: { tag: lb }, with: { run: x } }\n",
        "      - { action: Work, uses: script, with: { run: y } }\n",
    );

    fn farm() -> Vec<TargetFacts> {
        vec![
            a_target("web01", &["web"], &["test"]),
            a_target("web02", &["web"], &["test"]),
            a_target("lb01", &["lb"], &["test"]),
        ]
    }

    fn basis(variables: &str, targets: &[TargetFacts]) -> PlanBasis {
        let release = a_release(&a_project(FARM), &ScannedFiles::new());
        let plan = plan(&release, "test", targets, &PlanOptions::default()).unwrap();
        let digests = ReleaseDigests {
            process: Digest::of(b"process"),
            variables: Digest::of(variables.as_bytes()),
            packages: Digest::of(b"packages"),
        };
        PlanBasis::new(&plan, digests, &BTreeMap::new())
    }

    /// What a change of the farm does to a plan of it.
    fn after(change: impl FnOnce(&mut Vec<TargetFacts>)) -> Vec<String> {
        let was = basis("1", &farm());
        let mut targets = farm();
        change(&mut targets);
        let is = basis("1", &targets);
        let changes = was.changes(&is);
        let same_id = was.identify().unwrap().1 == is.identify().unwrap().1;
        assert_eq!(same_id, changes.is_empty(), "{changes:?}");
        changes
    }

    #[test]
    fn an_id_holds_as_long_as_what_the_plan_rests_on() {
        assert!(after(|_| {}).is_empty());
        assert!(after(|all| all.reverse()).is_empty(), "the order of rows");
        let upgraded = |all: &mut Vec<TargetFacts>| {
            all[0].agent.as_mut().unwrap().version = "9.9.9".to_owned();
        };
        assert!(after(upgraded).is_empty(), "an agent's version");
        let elsewhere = a_target("db01", &["db"], &["test", "live"]);
        assert!(
            after(|all| all.push(elsewhere)).is_empty(),
            "who takes no part"
        );
    }

    #[test]
    fn what_is_given_belongs_to_it() {
        let of = |given: &[(&str, &str)]| {
            let given = given.iter();
            PlanBasis {
                given: given
                    .map(|(name, mark)| ((*name).to_owned(), (*mark).to_owned()))
                    .collect(),
                ..basis("1", &farm())
            }
        };
        let was = of(&[("the answer to 'A'", "1"), ("field b", "2")]);
        let is = of(&[("the answer to 'A'", "9"), ("the comment", "3")]);
        assert_eq!(
            was.changes(&is),
            [
                "the answer to 'A' is another",
                "the comment is given now",
                "field b is not given any more"
            ]
        );
        assert_ne!(was.identify().unwrap().1, is.identify().unwrap().1);
        // Where nothing is given an id is what it was before this was looked at.
        let (bytes, _) = of(&[]).identify().unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("given"));
    }

    #[test]
    fn what_changed_is_named() {
        assert_eq!(
            after(|all| all.push(a_target("web03", &["web"], &["test"]))),
            [
                "target 'web03' takes part now",
                "step 'Farm' is about web01, web02 and web03 now",
                "step 'Farm' has 2 at once now",
            ]
        );
        assert_eq!(
            after(|all| all[1].disabled = true),
            [
                "target 'web02' does not take part any more",
                "step 'Farm' is about web01 now",
            ]
        );
        assert_eq!(
            after(|all| all[0].tags.push("blue".to_owned())),
            ["the tags of target 'web01' are web and blue now"]
        );
        assert_eq!(
            after(|all| all.push(a_target("lb02", &["lb"], &["test"]))),
            [
                "target 'lb02' takes part now",
                "step 'Farm' is carried out by other targets now",
            ]
        );
        assert_eq!(
            after(|all| {
                let mut expected = a_target("web09", &["web"], &["test"]);
                expected.agent = None;
                all.push(expected);
            }),
            ["web09 is expected but has not joined and is left out"]
        );
        assert_eq!(
            after(|all| {
                let agent = all[0].agent.as_mut().unwrap();
                agent.platform = Platform::Windows;
                agent.host_name = "elsewhere".to_owned();
            }),
            [
                "the machine of target 'web01' is called 'elsewhere' now, no longer 'web01.example'",
                "target 'web01' runs on another platform now",
            ]
        );
        assert_eq!(
            after(|all| all[0].agent.as_mut().unwrap().id = AgentId::from_uuid(Uuid::nil())),
            ["another agent joined as target 'web01'"]
        );
        let refreshed = basis("1", &farm()).changes(&basis("2", &farm()));
        assert_eq!(refreshed, ["the release's variables were refreshed"]);
    }

    #[test]
    fn a_rollback_is_the_plan_of_its_way_back_and_of_its_variables() {
        let from = |digit: u128| Some(ReleaseId::from_uuid(Uuid::from_u128(digit)));
        let back = |variables: &str, left: u128| basis(variables, &farm()).going_back(from(left));
        let id = |basis: &PlanBasis| basis.identify().unwrap().1;
        let (deployment, was) = (basis("1", &farm()), back("1", 1));
        for (now, said) in [
            (back("2", 1), "it goes back to other variables now"),
            (back("1", 2), "it goes back from another release now"),
            (deployment.clone(), "it is no rollback any more"),
        ] {
            assert_eq!(was.changes(&now), [said]);
            assert_ne!(id(&was), id(&now), "{said}");
        }
        assert_eq!(deployment.changes(&was), ["it is a rollback now"]);
        assert_eq!(was.kind(), PlanKind::Rollback);
        assert_eq!(deployment.kind(), PlanKind::Deployment);
    }

    #[test]
    fn a_plan_from_before_there_were_names_of_machines_holds() {
        let now = basis("1", &farm());
        let mut was = now.clone();
        for target in &mut was.plan.targets {
            target.host_name.clear();
        }
        assert_ne!(was.identify().unwrap().1, now.identify().unwrap().1);
        assert_eq!(was.changes(&now), Vec::<String>::new());
        let mut moved = farm();
        moved[0].tags.push("blue".to_owned());
        assert_eq!(
            was.changes(&basis("1", &moved)),
            ["the tags of target 'web01' are web and blue now"]
        );
    }

    #[test]
    fn an_id_is_fixed() {
        // Golden: an id that was printed must mean the same to the version after. One of before the
        // names of machines is another, and is compared by what it rests on.
        let (_, id) = basis("1", &farm()).identify().unwrap();
        assert_eq!(id, "plan-576c7680f8b542a0367c");
    }

    #[test]
    fn a_check_that_says_the_same_in_other_words_changes_no_plan() {
        let skip = PlanOptions {
            unhealthy: Some(crate::process::Unhealthy::Skip),
            ..PlanOptions::default()
        };
        let id = |why: Option<&str>| {
            let mut targets = farm();
            targets[1].unhealthy = why.map(str::to_owned);
            let release = a_release(&a_project(FARM), &ScannedFiles::new());
            let plan = plan(&release, "test", &targets, &skip).unwrap();
            let digest = Digest::of(b"x");
            let digests = ReleaseDigests {
                process: digest,
                variables: digest,
                packages: digest,
            };
            let basis = PlanBasis::new(&plan, digests, &BTreeMap::new());
            basis.identify().unwrap().1
        };
        assert_eq!(id(Some("/ is 96 % full")), id(Some("/ is 97 % full")));
        assert_ne!(id(Some("/ is 96 % full")), id(None));
    }
}
