//! What files declare, as it stands: environments, lifecycles, variable sets, projects.

use std::collections::{BTreeMap, HashMap};

use mantle_domain::channel;
use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::lifecycle::{Gate, LifecycleDefinition, Retention, phases};
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::variable_set::{VariableSetDefinition, VariableSets, complete};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::deployments::latest_release;
use super::error::{Error, Result};
use super::{Caller, SHOWN, Services, at, names};
use crate::api::body::{
    Environment, Lifecycle, Phase, Project, ProjectDetail, VariableSet, VariableSetDetail,
};
use crate::store::{
    Extent, LifecycleRow, ProjectRow, Tx, VariableSetRow, dashboard_project_list, environment_list,
    lifecycle_list, project_list, target_list, variable_set_list,
};

/// What is being done when it fails.
const READING_PROJECT: &str = "reading a project's definition";

/// Use cases of those who look.
impl Services {
    /// All environments, in order.
    pub async fn environment_list(&self, caller: &Caller) -> Result<Vec<Environment>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let targets = target_list(&mut tx, None).await?;
        let rows = environment_list(&mut tx).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let inside = targets.iter().filter(|t| t.environments.contains(&row.id));
                let body: Option<EnvironmentDefinition> = serde_json::from_str(&row.body).ok();
                Environment {
                    targets: u32::try_from(inside.count()).unwrap_or(u32::MAX),
                    description: body.and_then(|body| body.description).unwrap_or_default(),
                    name: row.name,
                }
            })
            .collect())
    }

    /// All lifecycles.
    pub async fn lifecycle_list(&self, caller: &Caller) -> Result<Vec<Lifecycle>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let known = environment_order(&mut tx).await?;
        let rows = lifecycle_list(&mut tx).await?;
        rows.iter()
            .map(|row| lifecycle_shape(row, &known))
            .collect()
    }

    /// One lifecycle.
    pub async fn lifecycle_show(&self, caller: &Caller, name: &str) -> Result<Lifecycle> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::lifecycle(&mut tx, name).await?;
        lifecycle_shape(&row, &environment_order(&mut tx).await?)
    }

    /// All projects.
    pub async fn project_list(&self, caller: &Caller) -> Result<Vec<Project>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let lines = dashboard_project_list(&mut tx, None, SHOWN).await?;
        let mut latest: HashMap<_, _> = lines
            .into_iter()
            .map(|line| (line.id, line.latest_release))
            .collect();
        let rows = project_list(&mut tx, "", SHOWN).await?;
        rows.iter()
            .map(|row| {
                let outline: ProjectOutline = read(READING_PROJECT, &row.body)?;
                let latest = latest.remove(&row.id).flatten();
                Ok(project_shape(row, outline, latest))
            })
            .collect()
    }

    /// One project's outline.
    pub async fn project_show(&self, caller: &Caller, slug: &str) -> Result<ProjectDetail> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::project(&mut tx, slug).await?;
        let definition = project_definition(&row)?;
        let channels = channel::effective(&definition.channels);
        Ok(ProjectDetail {
            project: project_shape(
                &row,
                ProjectOutline {
                    description: definition.description,
                    lifecycle: definition.lifecycle,
                },
                latest_release(&mut tx, &row).await?,
            ),
            channels: channels.into_iter().map(|channel| channel.name).collect(),
            steps: definition
                .process
                .steps
                .into_iter()
                .map(|s| s.name)
                .collect(),
            packages: definition.packages.into_iter().map(|p| p.id).collect(),
            variables: definition.variables.into_iter().map(|v| v.name).collect(),
            include: definition.include,
        })
    }
}

impl Services {
    /// All variable sets.
    pub async fn variable_set_list(&self, caller: &Caller) -> Result<Vec<VariableSet>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let used = set_users(&mut tx).await?;
        let rows = variable_set_list(&mut tx).await?;
        rows.iter()
            .map(|row| {
                let definition = set_definition(row)?;
                Ok(set_shape(row, &definition, &used))
            })
            .collect()
    }

    /// One variable set with its variables.
    pub async fn variable_set_show(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<VariableSetDetail> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::variable_set(&mut tx, name).await?;
        let definition = set_definition(&row)?;
        let used = set_users(&mut tx).await?;
        let marks = super::variables::marks(&mut tx).await?;
        Ok(VariableSetDetail {
            set: set_shape(&row, &definition, &used),
            values: super::variables::all_values(&definition.variables, &marks),
        })
    }
}

/// By variable set: the projects that include it themselves, in order.
async fn set_users(tx: &mut Tx) -> Result<BTreeMap<String, Vec<String>>> {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in project_list(tx, "", Extent::All).await? {
        for set in project_definition(&row)?.include {
            used.entry(set).or_default().push(row.slug.clone());
        }
    }
    Ok(used)
}

fn set_shape(
    row: &VariableSetRow,
    definition: &VariableSetDefinition,
    used: &BTreeMap<String, Vec<String>>,
) -> VariableSet {
    VariableSet {
        name: row.name.clone(),
        description: definition.description.clone().unwrap_or_default(),
        include: definition.include.clone(),
        variables: u32::try_from(definition.variables.len()).unwrap_or(u32::MAX),
        projects: used.get(&row.name).cloned().unwrap_or_default(),
        updated_at: at(row.changed_at_us),
    }
}

/// A variable set's stored definition.
pub(super) fn set_definition(row: &VariableSetRow) -> Result<VariableSetDefinition> {
    read("reading a variable set's definition", &row.body)
}

/// All variable sets by name.
pub(super) async fn variable_sets(tx: &mut Tx) -> Result<VariableSets> {
    let rows = variable_set_list(tx).await?;
    rows.iter()
        .map(|row| Ok((row.name.clone(), set_definition(row)?)))
        .collect()
}

/// A project's stored definition, with the variables of the sets that it includes.
pub(super) async fn whole_project(tx: &mut Tx, row: &ProjectRow) -> Result<ProjectDefinition> {
    let definition = project_definition(row)?;
    if definition.include.is_empty() {
        return Ok(definition);
    }
    let sets = variable_sets(tx).await?;
    Ok(complete(definition, &sets)?)
}

/// The names of all environments, in order.
pub(super) async fn environment_order(tx: &mut Tx) -> Result<Vec<String>> {
    let rows = environment_list(tx).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// A project's stored definition.
pub(super) fn project_definition(row: &ProjectRow) -> Result<ProjectDefinition> {
    read(READING_PROJECT, &row.body)
}

/// A lifecycle's stored definition.
pub(super) fn lifecycle_definition(row: &LifecycleRow) -> Result<LifecycleDefinition> {
    read("reading a lifecycle's definition", &row.body)
}

/// A stored JSON document.
pub(super) fn read<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| Error::internal(what, error))
}

fn lifecycle_shape(row: &LifecycleRow, environments: &[String]) -> Result<Lifecycle> {
    let definition = lifecycle_definition(row)?;
    let phases = phases(&definition, environments);
    Ok(Lifecycle {
        name: row.name.clone(),
        phases: phases
            .into_iter()
            .map(|phase| Phase {
                name: phase.name,
                automatic: !phase.automatic.is_empty() && phase.automatic == phase.environments,
                automatic_in: phase.automatic,
                environments: phase.environments,
                passed_by: match phase.gate {
                    Gate::All => "all".to_owned(),
                    Gate::Minimum(count) => count.to_string(),
                    Gate::Optional => "optional".to_owned(),
                },
            })
            .collect(),
        keeps: keeps(&definition.retention),
    })
}

/// What is kept, in words.
fn keeps(rules: &Retention) -> String {
    let rules = [
        (rules.releases, "releases in each phase"),
        (rules.days, "days of releases"),
        (rules.packages, "versions of packages without a release"),
        (rules.on_target, "earlier versions on targets"),
    ];
    let said: Vec<String> = rules
        .into_iter()
        .filter_map(|(count, what)| Some(format!("{} {what}", count?)))
        .collect();
    said.join(", ")
}

/// What a list of projects shows of what they declare: of hundreds of them the rest is not read.
#[derive(Deserialize)]
struct ProjectOutline {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    lifecycle: Option<String>,
}

fn project_shape(row: &ProjectRow, outline: ProjectOutline, latest: Option<String>) -> Project {
    Project {
        name: row.slug.clone(),
        description: outline.description.unwrap_or_default(),
        lifecycle: outline.lifecycle,
        latest_release: latest,
        updated_at: at(row.changed_at_us),
    }
}
