//! What the domain's rules need to know of the present, read in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use jiff::Timestamp;
use mantle_domain::health::CheckStatus;
use mantle_domain::ids::{EnvironmentId, ProjectId, ReleaseId, TargetId};
use mantle_domain::plan::{PastRelease, PlanBefore, PlanChange, PlanFacts, Ran};
use mantle_domain::planner::PlanOptions;
use mantle_domain::release::changes::{Past, brought};
use mantle_domain::state::Event;
use mantle_domain::target::{AgentFacts, Platform, TargetFacts};
use mantle_domain::variable::literal;

use super::at;
use super::health::{Looks, telling, told};
use super::names::environment_names;
use super::wake::Presence;
use crate::store::{
    AgentRow, AgentStatus, EnvironmentRow, ReleaseRow, Result, StoreError, TargetCurrentFilter,
    TargetState, Tx, agent_list, environment_list, release_fetch, release_list, release_place_list,
    target_current_list, target_list, task_event_list, task_list_running, task_list_succeeded,
};

/// The notes that a deployment brings go with its plan and with every order: beyond so many bytes
/// those of the oldest releases are left out. As JSON they must fit into an environment variable.
const MOST_CHANGES_BYTES: usize = 16 * 1024;
/// Changes are told of so many of the newest releases.
const MOST_RELEASES: u32 = 1_000;
/// How many deployments are looked through for the last other release.
const LOOK_BACK: u32 = 50;

/// All targets, as the planner sees them.
pub async fn targets(tx: &mut Tx, presence: &dyn Presence) -> Result<Vec<TargetFacts>> {
    let environments = environment_names(tx).await?;
    let agents = agents_by_target(tx).await?;
    let rows = target_list(tx, None).await?;
    let looks = Looks::read(tx, None).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut tags = row.tags;
            tags.sort();
            let inside = named(&row.environments, &environments);
            let found = looks.of(row.id, &tags, &inside);
            let unhealthy = telling(&found)
                .filter(|(_, worst)| worst.status == CheckStatus::Unhealthy)
                .map(|(check, worst)| told(check, &worst.message));
            TargetFacts {
                agent: agents
                    .get(&row.id)
                    .map(|agent| agent_facts(agent, presence)),
                id: row.id,
                name: row.name,
                tags,
                environments: inside,
                unhealthy,
                disabled: row.disabled,
                maintenance: row.maintenance.map(|maintenance| maintenance.reason),
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
pub async fn succeeded(tx: &mut Tx, release: ReleaseId) -> Result<BTreeSet<String>> {
    let names = environment_names(tx).await?;
    let places = release_place_list(tx, release).await?.into_iter();
    let succeeded = places.filter(|(_, succeeded)| *succeeded);
    Ok(succeeded
        .filter_map(|(id, _)| names.get(&id).cloned())
        .collect())
}

/// Who asked for a deployment, and what they said about it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: &'a str,
    /// What they said about it.
    pub comment: &'a str,
    /// The deployment's own fields.
    pub fields: &'a BTreeMap<String, String>,
    /// When it is dropped if it has not begun by then.
    pub expires: Option<Timestamp>,
    /// What they chose.
    pub options: &'a PlanOptions,
}

/// What is known of a deployment beside its plan.
pub async fn of_plan(
    tx: &mut Tx,
    release: &ReleaseRow,
    environment: &EnvironmentRow,
    asked: Asked<'_>,
) -> Result<PlanFacts> {
    let release_fields = serde_json::from_str(&release.fields).map_err(|error| {
        StoreError::corrupt(format!(
            "the fields of release {}: {error}",
            release.version
        ))
    })?;
    let order = environment_list(tx).await?;
    let place = order.iter().position(|row| row.id == environment.id);
    let mut facts = PlanFacts {
        project: release.project_id.to_string(),
        environment: environment.id.to_string(),
        environment_order: place
            .and_then(|place| u32::try_from(place + 1).ok())
            .unwrap_or_default(),
        release: release.id.to_string(),
        // They were evaluated when the release was made: what is left of a template is text.
        release_notes: literal(&release.notes),
        release_fields,
        release_created: at(release.created_at_us).to_string(),
        created: asked.at.to_string(),
        created_by: asked.by.to_owned(),
        comment: asked.comment.to_owned(),
        fields: asked.fields.clone(),
        expires: asked.expires.map(|at| at.to_string()),
        chosen: asked.options.only_targets.iter().cloned().collect(),
        excluded: asked.options.not_targets.iter().cloned().collect(),
        ..PlanFacts::default()
    };
    let before = release_list(tx, release.project_id, Some(release.created_at_us), 1).await?;
    facts.release_before = before.into_iter().next().map(|row| PastRelease {
        id: row.id.to_string(),
        version: row.version,
    });
    let past = task_list_succeeded(tx, release.project_id, environment.id, LOOK_BACK).await?;
    let mut of_channel: Option<String> = None;
    for task in past {
        let Some(id) = task.release_id else { continue };
        let told = facts.current.is_some() && (facts.previous.is_some() || id == release.id);
        if told && of_channel.is_some() {
            continue;
        }
        let row = release_fetch(tx, id).await?;
        if row.channel == release.channel {
            of_channel.get_or_insert_with(|| row.version.clone());
        }
        if told {
            continue;
        }
        let version = row.version;
        let found = PastRelease {
            id: id.to_string(),
            version,
        };
        if id != release.id && facts.previous.is_none() {
            facts.previous = Some(found.clone());
        }
        if facts.current.is_none() {
            facts.current = Some(found);
            facts.succeeded = Some(task.id.to_string());
        }
    }
    facts.changes = brought_by(tx, release, of_channel.as_deref()).await?;
    Ok(facts)
}

/// The notes that a release brings where this one of its channel runs.
async fn brought_by(
    tx: &mut Tx,
    release: &ReleaseRow,
    running: Option<&str>,
) -> Result<Vec<PlanChange>> {
    let this = Past {
        version: release.version.clone(),
        channel: release.channel.clone(),
    };
    let all = match running {
        Some(_) => release_list(tx, release.project_id, None, MOST_RELEASES).await?,
        None => Vec::new(),
    };
    let past: Vec<Past> = all
        .iter()
        .map(|row| Past {
            version: row.version.clone(),
            channel: row.channel.clone(),
        })
        .collect();
    let mut left = MOST_CHANGES_BYTES;
    let mut changes = Vec::new();
    for found in brought(running, &this, &past).1 {
        let row = all.iter().find(|row| row.version == found.version);
        let row = row.unwrap_or(release);
        let Some(rest) = left.checked_sub(row.notes.len()) else {
            break;
        };
        left = rest;
        changes.push(PlanChange {
            version: row.version.clone(),
            notes: row.notes.clone(),
        });
    }
    Ok(changes)
}

/// What of a project runs on targets in an environment: what a deployment there that rolls back
/// puts back.
pub async fn before(
    tx: &mut Tx,
    project: ProjectId,
    environment: EnvironmentId,
) -> Result<Vec<PlanBefore>> {
    let filter = TargetCurrentFilter {
        project_id: Some(project),
        environment_id: Some(environment),
        ..TargetCurrentFilter::default()
    };
    let rows = target_current_list(tx, filter).await?;
    let shown = rows.into_iter().map(|row| PlanBefore {
        target: row.target_id,
        task: row.task_id,
        release: row.release_id,
        version: row.release_version,
        ran: match row.state {
            TargetState::Deployed => Ran::Whole,
            // One that is being deployed has no end that anybody wrote.
            TargetState::Failed | TargetState::Deploying => Ran::InPart,
        },
    });
    Ok(shown.collect())
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
        host_name: agent.profile.host_name.clone(),
        features: agent.profile.features.clone(),
    }
}

/// The number of a running task whose plan goes to this target.
pub async fn running_task_of(tx: &mut Tx, target: TargetId) -> Result<Option<u64>> {
    for task in task_list_running(tx, u32::MAX).await? {
        // The plan stands in its first event.
        for row in task_event_list(tx, task.id, 0, 1).await? {
            let event: Event = serde_json::from_str(&row.body).map_err(|error| {
                StoreError::corrupt(format!("the first event of T-{}: {error}", task.number))
            })?;
            if let Event::DeploymentBegan { plan, .. } = event
                && plan.target(target).is_some()
            {
                return Ok(Some(task.number));
            }
        }
    }
    Ok(None)
}
