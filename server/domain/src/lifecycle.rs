//! Lifecycles: in which order a release may enter the environments.
//!
//! They are live: a change holds for every release at once. Only successful deployments count,
//! and an environment in a phase once reached may always be deployed to again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::explain::{NamedRelease, Refusal};
use crate::queue::Priority;

pub mod block;

/// A lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleDefinition {
    /// Its name, unique on the server.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its phases in order. Empty means one phase for each environment, in their order.
    pub phases: Vec<Phase>,
    /// What is kept.
    #[serde(default)]
    pub retention: Retention,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its environments. Empty means every environment that no earlier phase names.
    pub environments: Vec<String>,
    /// Whether a release that reaches it goes there by itself.
    #[serde(default)]
    pub deploy: DeployMode,
    /// Where it goes by itself to some of its environments only: these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic: Vec<String>,
    /// What it takes to pass it.
    #[serde(default)]
    pub gate: Gate,
    /// How urgent deployments into it are.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
}

/// How a phase's environments are deployed to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DeployMode {
    /// When somebody says so.
    #[default]
    Manual,
    /// As soon as a release reaches the phase.
    Automatic,
}

/// What it takes to pass a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Success in all of its environments.
    #[default]
    All,
    /// Success in at least so many of them.
    Minimum(u32),
    /// Nothing; and nothing is deployed to it by itself.
    Optional,
}

/// How much is kept. Without any rule of a kind, all of that kind is; what any rule keeps stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// So many releases of a project in each phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<u32>,
    /// Releases younger than so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// So many versions of a package that no release holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<u32>,
    /// So many versions of a package on a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target: Option<u32>,
}

/// A phase with its environments worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPhase {
    /// Its name.
    pub name: String,
    /// Its environments.
    pub environments: Vec<String>,
    /// The environments to which a release that reaches it goes by itself.
    pub automatic: Vec<String>,
    /// What it takes to pass it.
    pub gate: Gate,
    /// How urgent deployments into it are.
    pub priority: Priority,
}

/// The phases with every convention filled in. `environments` are all of the server's, in order.
pub fn phases(lifecycle: &LifecycleDefinition, environments: &[String]) -> Vec<ResolvedPhase> {
    if lifecycle.phases.is_empty() {
        return environments
            .iter()
            .map(|environment| ResolvedPhase {
                name: environment.clone(),
                environments: vec![environment.clone()],
                automatic: Vec::new(),
                gate: Gate::All,
                priority: Priority::Normal,
            })
            .collect();
    }
    let mut earlier: BTreeSet<&str> = BTreeSet::new();
    let mut resolved = Vec::with_capacity(lifecycle.phases.len());
    for phase in &lifecycle.phases {
        let named: Vec<String> = if phase.environments.is_empty() {
            environments
                .iter()
                .filter(|environment| !earlier.contains(environment.as_str()))
                .cloned()
                .collect()
        } else {
            phase.environments.clone()
        };
        earlier.extend(phase.environments.iter().map(String::as_str));
        let automatic = match phase.deploy {
            DeployMode::Automatic => named.clone(),
            DeployMode::Manual => {
                let some = named.iter().filter(|name| phase.automatic.contains(name));
                some.cloned().collect()
            }
        };
        resolved.push(ResolvedPhase {
            name: phase.name.clone(),
            environments: named,
            automatic,
            gate: phase.gate,
            priority: phase.priority,
        });
    }
    resolved
}

/// A release as people name it.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseName<'a> {
    /// The project.
    pub project: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// May this release be deployed to this environment now?
///
/// `succeeded` are the environments to which this release was deployed successfully. Without a
/// lifecycle the answer is yes.
pub fn check(
    release: ReleaseName<'_>,
    lifecycle: Option<&LifecycleDefinition>,
    environments: &[String],
    succeeded: &BTreeSet<String>,
    environment: &str,
) -> Result<(), Refusal> {
    let Some(lifecycle) = lifecycle else {
        return Ok(());
    };
    let phases = phases(lifecycle, environments);
    if succeeded.contains(environment) {
        return Ok(());
    }
    let reached = reached(&phases, succeeded);
    let Some(index) = phases
        .iter()
        .position(|phase| phase.environments.iter().any(|name| name == environment))
    else {
        return Err(Refusal::NotInLifecycle {
            environment: environment.to_owned(),
            lifecycle: lifecycle.name.clone(),
            environments: phases
                .into_iter()
                .flat_map(|phase| phase.environments)
                .collect(),
        });
    };
    let later_success = phases.iter().skip(index).any(|phase| {
        phase
            .environments
            .iter()
            .any(|name| succeeded.contains(name))
    });
    if index <= reached || later_success {
        return Ok(());
    }
    let blocking = phases.get(reached);
    Err(Refusal::PhaseNotReached {
        release: Box::new(NamedRelease {
            project: release.project.to_owned(),
            version: release.version.to_owned(),
        }),
        environment: environment.to_owned(),
        lifecycle: lifecycle.name.clone(),
        phase: blocking.map(|phase| phase.name.clone()).unwrap_or_default(),
        missing: blocking
            .map(|phase| missing(phase, succeeded))
            .unwrap_or_default(),
        needed: blocking.map_or(0, |phase| shortfall(phase, succeeded)),
    })
}

/// What may let a release enter a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion<'a> {
    /// It was created.
    Created,
    /// It was deployed to this environment with success.
    Succeeded(&'a str),
    /// Its block was lifted.
    Unblocked,
}

/// Where this release goes by itself now: the environments of automatic phases that it has reached
/// and to which it was never sent. `sent` are those with any deployment of it, however it ended.
///
/// It only ever goes forward: a phase that became automatic, or came into the lifecycle, before the
/// one that the occasion is about lies behind the release, and nobody waits for it there.
pub fn automatic(
    lifecycle: &LifecycleDefinition,
    environments: &[String],
    succeeded: &BTreeSet<String>,
    sent: &BTreeSet<String>,
    occasion: Occasion<'_>,
) -> Vec<String> {
    let phases = phases(lifecycle, environments);
    let reached = reached(&phases, succeeded);
    let behind = match occasion {
        Occasion::Created => 0,
        Occasion::Succeeded(environment) => {
            let holds = |phase: &ResolvedPhase| phase.environments.iter().any(|e| e == environment);
            match phases.iter().position(holds) {
                Some(index) => index + 1,
                // It is outside of the lifecycle and so passes nothing.
                None => return Vec::new(),
            }
        }
        Occasion::Unblocked => furthest(lifecycle, environments, succeeded).unwrap_or(0),
    };
    phases
        .iter()
        .take(reached + 1)
        .skip(behind)
        .filter(|phase| phase.gate != Gate::Optional)
        .flat_map(|phase| &phase.automatic)
        .filter(|environment| !sent.contains(*environment))
        .cloned()
        .collect()
}

/// How urgent a deployment into an environment is, by the phase that names it.
pub fn priority(
    lifecycle: Option<&LifecycleDefinition>,
    environments: &[String],
    environment: &str,
) -> Priority {
    let Some(lifecycle) = lifecycle else {
        return Priority::Normal;
    };
    phases(lifecycle, environments)
        .iter()
        .find(|phase| phase.environments.iter().any(|name| name == environment))
        .map_or(Priority::Normal, |phase| phase.priority)
}

/// The furthest phase in which a release has succeeded, from 0; `None` for one that has not.
pub fn furthest(
    lifecycle: &LifecycleDefinition,
    environments: &[String],
    succeeded: &BTreeSet<String>,
) -> Option<usize> {
    phases(lifecycle, environments)
        .iter()
        .rposition(|phase| phase.environments.iter().any(|e| succeeded.contains(e)))
}

/// The index of the furthest phase that may be entered: the first that is not passed, or the last.
fn reached(phases: &[ResolvedPhase], succeeded: &BTreeSet<String>) -> usize {
    phases
        .iter()
        .position(|phase| shortfall(phase, succeeded) > 0)
        .unwrap_or(phases.len())
}

/// How many more successes it takes to pass a phase.
fn shortfall(phase: &ResolvedPhase, succeeded: &BTreeSet<String>) -> usize {
    let done = phase
        .environments
        .iter()
        .filter(|environment| succeeded.contains(*environment))
        .count();
    let needed = match phase.gate {
        Gate::All => phase.environments.len(),
        Gate::Minimum(count) => (count as usize).min(phase.environments.len()),
        Gate::Optional => 0,
    };
    needed.saturating_sub(done)
}

fn missing(phase: &ResolvedPhase, succeeded: &BTreeSet<String>) -> Vec<String> {
    phase
        .environments
        .iter()
        .filter(|environment| !succeeded.contains(*environment))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
