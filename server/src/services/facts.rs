//! What the domain's rules need to know of the present, read in one transaction.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TargetId};
use mantle_domain::target::{AgentFacts, Platform, TargetFacts};

use super::LIST_MOST;
use super::names::environment_names;
use super::wake::Presence;
use crate::store::{
    AgentRow, AgentStatus, Result, TaskFilter, TaskKind, TaskOutcome, Tx, agent_list, target_list,
    task_list,
};

/// All targets, as the planner sees them.
pub async fn targets(tx: &mut Tx, presence: &dyn Presence) -> Result<Vec<TargetFacts>> {
    let environments = environment_names(tx).await?;
    let agents = agents_by_target(tx).await?;
    let rows = target_list(tx, None).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut tags = row.tags;
            tags.sort();
            TargetFacts {
                agent: agents
                    .get(&row.id)
                    .map(|agent| agent_facts(agent, presence)),
                id: row.id,
                name: row.name,
                tags,
                environments: named(&row.environments, &environments),
                disabled: row.disabled,
            }
        })
        .collect())
}

/// The active agents by their targets.
pub async fn agents_by_target(tx: &mut Tx) -> Result<HashMap<TargetId, AgentRow>> {
    let agents = agent_list(tx, Some(AgentStatus::Active)).await?;
    Ok(agents
        .into_iter()
        .filter_map(|agent| Some((agent.target_id?, agent)))
        .collect())
}

/// The names of environments, sorted.
pub fn named<S: BuildHasher>(
    ids: &[EnvironmentId],
    names: &HashMap<EnvironmentId, String, S>,
) -> Vec<String> {
    let mut named: Vec<String> = ids.iter().filter_map(|id| names.get(id).cloned()).collect();
    named.sort();
    named
}

/// The environments to which a release was deployed with success, ever.
pub async fn succeeded(
    tx: &mut Tx,
    project: ProjectId,
    release: ReleaseId,
) -> Result<BTreeSet<String>> {
    let names = environment_names(tx).await?;
    let filter = TaskFilter {
        project_id: Some(project),
        release_id: Some(release),
        kind: Some(TaskKind::Deployment),
        outcome: Some(TaskOutcome::Succeeded),
        ..TaskFilter::default()
    };
    let tasks = task_list(tx, &filter, LIST_MOST).await?;
    let ids = tasks.iter().filter_map(|task| task.environment_id);
    Ok(ids.filter_map(|id| names.get(&id).cloned()).collect())
}

/// A platform in a word.
pub fn platform_word(platform: Platform) -> &'static str {
    match platform {
        Platform::Linux => "linux",
        Platform::Windows => "windows",
    }
}

fn agent_facts(agent: &AgentRow, presence: &dyn Presence) -> AgentFacts {
    AgentFacts {
        id: agent.id,
        online: presence.is_online(agent.id),
        version: agent.profile.version.clone(),
        platform: if agent.profile.os == "windows" {
            Platform::Windows
        } else {
            Platform::Linux
        },
        arch: agent.profile.arch.clone(),
        features: agent.profile.features.clone(),
    }
}
