//! A run of a check, planned as a deployment is: one step about its targets, so that the same state
//! machine, agents and journals carry it out.
//!
//! Its scripts hold no locks: a check neither waits for a deployment nor holds one up.

use std::collections::BTreeSet;

use mantle_shared::ids::{TargetId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::HealthCheckDefinition;
use crate::ids::HealthCheckId;
use crate::plan::{
    Guidance, LeftOutReason, PLAN_FORMAT, Plan, PlanAction, PlanFacts, PlanLeftOut, PlanNode,
    PlanStep, PlanTarget,
};
use crate::process::{
    Action, DEFAULT_GRACE_MS, OnFailure, Process, Retries, RunCondition, SecretAccess, Start, Step,
    Timeouts, When,
};
use crate::snapshot::{PackageSnapshot, ProcessSnapshot, SNAPSHOT_FORMAT, VariableSnapshot};
use crate::target::{Platform, TargetFacts};

/// What carries a script out on a target.
const USES: &str = "script";
/// So many targets of a run are checked at once.
const PARALLEL: u32 = 100;
/// Beyond what the scripts may take: for agents that come back, and for word of an end to arrive.
const MARGIN_MS: u64 = 2 * 60 * 1000;
/// The platforms, in the order of their actions.
const PLATFORMS: [Platform; 2] = [Platform::Linux, Platform::Windows];

/// What a run of a check was asked for with. The check is kept as it was then, so that an order that
/// is made again is the same order, whatever files say by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthOrder {
    /// The check's id.
    pub id: HealthCheckId,
    /// The check.
    pub check: HealthCheckDefinition,
    /// Only these targets; empty means all that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<TargetId>,
}

/// None of a run's targets can be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("none of the targets of health check '{check}' can be checked: {why}")]
pub struct Uncheckable {
    /// The check.
    pub check: String,
    /// Why.
    pub why: String,
}

/// The process of a check's runs, with nothing else that a release would pin.
pub fn process(
    check: &HealthCheckDefinition,
) -> (ProcessSnapshot, VariableSnapshot, PackageSnapshot) {
    let actions = PLATFORMS.into_iter().filter_map(|platform| {
        let text = check.script(platform)?;
        let mut with = Map::new();
        with.insert("run".to_owned(), Value::from(text));
        Some(Action {
            name: action_name(check, platform),
            uses: USES.to_owned(),
            with,
            run_on: None,
            run: RunCondition::Success,
            when: When {
                platform: Some(platform),
                ..When::default()
            },
            timeout_ms: check.timeout_ms,
            grace_ms: DEFAULT_GRACE_MS,
            retries: Retries::default(),
            secrets: SecretAccess::default(),
            disabled: false,
            locks: Some(Vec::new()),
        })
    });
    let step = Step {
        name: check.name.clone(),
        targets: None,
        rolling: None,
        max_parallel: PARALLEL,
        run: RunCondition::Success,
        when: When::default(),
        start: Start::default(),
        required: false,
        timeout_ms: None,
        unavailable: None,
        unhealthy: None,
        actions: actions.collect(),
    };
    let process = ProcessSnapshot {
        format: SNAPSHOT_FORMAT,
        project: String::new(),
        process: Process {
            steps: vec![step],
            ..Process::default()
        },
        scanned_secrets: std::collections::BTreeMap::new(),
    };
    let variables = VariableSnapshot {
        format: SNAPSHOT_FORMAT,
        variables: Vec::new(),
    };
    let packages = PackageSnapshot {
        format: SNAPSHOT_FORMAT,
        packages: Vec::new(),
    };
    (process, variables, packages)
}

/// The plan of a run for the targets as they stand, or why there is nothing to run.
pub fn plan(task: TaskId, order: &HealthOrder, all: &[TargetFacts]) -> Result<Plan, Uncheckable> {
    let check = &order.check;
    let wanted = |target: &&TargetFacts| order.only.is_empty() || order.only.contains(&target.id);
    let mut about: Vec<&TargetFacts> = all
        .iter()
        .filter(wanted)
        .filter(|target| check.is_about(&target.tags, &target.environments))
        .collect();
    about.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    let targets: Vec<PlanTarget> = about
        .iter()
        .filter(|target| check.may_check(target))
        .filter_map(|target| checkable(target))
        .collect();
    let left_out = left_out(check, &about);
    if targets.is_empty() {
        return Err(Uncheckable {
            check: check.name.clone(),
            why: why_none(&left_out),
        });
    }
    let step = step(check, &targets);
    let limit_ms = step.timeout_ms;
    Ok(Plan {
        format: PLAN_FORMAT,
        task,
        project: String::new(),
        environment: String::new(),
        release: String::new(),
        channel: String::new(),
        targets,
        steps: vec![step],
        warnings: Vec::new(),
        keep_on_target: None,
        left_out,
        timeouts: Timeouts {
            packages_ms: None,
            deployment_ms: limit_ms.map(|limit| limit.saturating_add(MARGIN_MS)),
        },
        facts: PlanFacts::default(),
        guidance: Guidance::Unguided,
        reads: BTreeSet::new(),
    })
}

/// The target of a plan, if its agent is there.
fn checkable(target: &TargetFacts) -> Option<PlanTarget> {
    let agent = target.agent.as_ref().filter(|agent| agent.online)?;
    Some(PlanTarget {
        id: target.id,
        name: target.name.clone(),
        agent: agent.id,
        tags: target.tags.clone(),
        platform: agent.platform,
        agent_version: agent.version.clone(),
        host_name: agent.host_name.clone(),
    })
}

fn step(check: &HealthCheckDefinition, targets: &[PlanTarget]) -> PlanStep {
    let actions = PLATFORMS.into_iter().filter_map(|platform| {
        check.script(platform)?;
        let nodes = targets
            .iter()
            .filter(|target| target.platform == platform)
            .map(|target| PlanNode {
                subject: target.id,
                executor: target.id,
            });
        Some(PlanAction {
            name: action_name(check, platform),
            uses: USES.to_owned(),
            run: RunCondition::Success,
            timeout_ms: check.timeout_ms,
            grace_ms: DEFAULT_GRACE_MS,
            retries: Retries::default(),
            packages: Vec::new(),
            nodes: nodes.collect(),
            locks: Vec::new(),
            ask: None,
            undoes: None,
        })
    });
    // They come in waves, each as long as its slowest script.
    let waves = targets.len().div_ceil(PARALLEL as usize) as u64;
    let each = check.timeout_ms.saturating_add(DEFAULT_GRACE_MS);
    PlanStep {
        name: check.name.clone(),
        number: 1,
        run: RunCondition::Success,
        start: Start::default(),
        required: false,
        rolling: false,
        parallel: PARALLEL,
        max_failed: 0,
        on_failure: OnFailure::default(),
        pause_after_first: false,
        timeout_ms: Some(each.saturating_mul(waves).saturating_add(MARGIN_MS)),
        subjects: targets.iter().map(|target| target.id).collect(),
        actions: actions.collect(),
        skipped: None,
        back: None,
    }
}

fn left_out(check: &HealthCheckDefinition, about: &[&TargetFacts]) -> Vec<PlanLeftOut> {
    let reason = |target: &TargetFacts| {
        if target.disabled {
            return None;
        }
        match &target.agent {
            None => Some(LeftOutReason::NotJoined),
            Some(_) if target.maintenance.is_some() && !check.may_check(target) => {
                Some(LeftOutReason::Maintenance)
            }
            Some(agent) if !agent.online && check.may_check(target) => {
                Some(LeftOutReason::Unavailable)
            }
            Some(_) => None,
        }
    };
    let about = about.iter();
    about
        .filter_map(|target| {
            Some(PlanLeftOut {
                id: target.id,
                name: target.name.clone(),
                agent: target.agent.as_ref().map(|agent| agent.id),
                why: reason(target)?,
                note: target.maintenance.clone().unwrap_or_default(),
            })
        })
        .collect()
}

/// Why there is nobody to check.
fn why_none(left_out: &[PlanLeftOut]) -> String {
    /// More names help nobody.
    const NAMED: usize = 5;
    if left_out.is_empty() {
        return "it is about no target that is enabled and has a script for its platform; 'mantle target list' shows their tags and environments".to_owned();
    }
    let mut said: Vec<String> = left_out
        .iter()
        .take(NAMED)
        .map(|target| match target.why {
            LeftOutReason::NotJoined => format!("{} has not joined", target.name),
            why => format!("{} is {}", target.name, why.words()),
        })
        .collect();
    if left_out.len() > NAMED {
        said.push(format!("and {} more", left_out.len() - NAMED));
    }
    said.join(", ")
}

/// `disk (linux)`.
fn action_name(check: &HealthCheckDefinition, platform: Platform) -> String {
    let word = match platform {
        Platform::Linux => "linux",
        Platform::Windows => "windows",
    };
    format!("{} ({word})", check.name)
}
