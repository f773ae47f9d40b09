//! Pruning: removes what no file names, if nothing uses it. What is used stays, and the answer says
//! by what.
//!
//! In the order in which things use each other, so that what only removed things used goes too.

use std::collections::BTreeSet;

use mantle_domain::file::Definitions;
use mantle_domain::lifecycle::LifecycleDefinition;
use mantle_domain::project::ProjectDefinition;

use super::apply::{Applier, Made, document};
use super::declared::{lifecycle_definition, project_definition, variable_sets};
use super::error::Result;
use super::health::definition;
use crate::store::{
    EnvironmentRow, Extent, ProjectRow, TargetCurrentFilter, TargetRow, TaskFilter,
    agent_find_of_target, environment_delete, environment_list, health_check_delete,
    health_check_list, join_token_list, lifecycle_delete, lifecycle_list, project_delete,
    project_list, release_list, target_current_list, target_delete, target_list, task_list,
    variable_set_delete, variable_set_list,
};

/// Removes what the definitions do not name; says what stays, and why.
pub(super) async fn unnamed(
    applier: &mut Applier<'_>,
    definitions: &Definitions,
) -> Result<Vec<String>> {
    let mut pruner = Pruner {
        applier,
        kept: Vec::new(),
    };
    let slugs = definitions.projects.iter().map(|one| one.slug.as_str());
    let left = pruner.projects(&slugs.collect()).await?;
    let sets = definitions
        .variable_sets
        .iter()
        .map(|one| one.name.as_str());
    pruner.variable_sets(&sets.collect(), &left).await?;
    let targets = definitions.targets.iter().map(|one| one.name.as_str());
    pruner.targets(&targets.collect()).await?;
    let checks = definitions
        .health_checks
        .iter()
        .map(|one| one.name.as_str());
    pruner.health_checks(&checks.collect()).await?;
    let lifecycles = definitions.lifecycles.iter().map(|one| one.name.as_str());
    let phases = pruner.lifecycles(&lifecycles.collect(), &left).await?;
    let environments = definitions.environments.iter().map(|one| one.name.as_str());
    pruner
        .environments(&environments.collect(), &left, &phases)
        .await?;
    Ok(pruner.kept)
}

struct Pruner<'a, 'b> {
    applier: &'a mut Applier<'b>,
    kept: Vec<String>,
}

impl Pruner<'_, '_> {
    fn keep(&mut self, kind: &str, name: &str, why: &str) {
        self.kept.push(format!(
            "{kind} '{name}' stands in no file and is not removed: {why}"
        ));
    }

    /// `was` is the definition as it was stored.
    async fn gone(&mut self, kind: &'static str, name: &str, was: &str) -> Result<()> {
        let made = Made {
            kind,
            name,
            old: Some(was),
            new: None,
            lines: &[],
        };
        self.applier.note(made).await
    }

    /// Those that are left.
    async fn projects(&mut self, named: &BTreeSet<&str>) -> Result<Vec<ProjectDefinition>> {
        let mut left = Vec::new();
        for row in project_list(self.applier.tx, "", Extent::All).await? {
            let used = !named.contains(row.slug.as_str()) && self.has_history(&row).await?;
            if used {
                self.keep("project", &row.slug, "it has releases");
            }
            if used || named.contains(row.slug.as_str()) {
                left.push(project_definition(&row)?);
            } else {
                project_delete(self.applier.tx, &row).await?;
                self.gone("project", &row.slug, &row.body).await?;
            }
        }
        Ok(left)
    }

    async fn has_history(&mut self, row: &ProjectRow) -> Result<bool> {
        let releases = release_list(self.applier.tx, row.id, None, 1).await?;
        let filter = TaskFilter {
            project_id: Some(row.id),
            ..TaskFilter::default()
        };
        let tasks = task_list(self.applier.tx, &filter, 1).await?;
        Ok(!releases.is_empty() || !tasks.is_empty())
    }

    async fn variable_sets(
        &mut self,
        named: &BTreeSet<&str>,
        projects: &[ProjectDefinition],
    ) -> Result<()> {
        let mut sets = variable_sets(self.applier.tx).await?;
        let rows = variable_set_list(self.applier.tx).await?;
        // A set that only an unused set includes is unused once that one is gone.
        loop {
            let user = |name: &str| {
                let uses = |include: &[String]| include.iter().any(|other| other == name);
                let project = projects.iter().find(|one| uses(&one.include));
                let set = sets.values().find(|one| uses(&one.include));
                project
                    .map(|one| format!("project '{}' includes it", one.slug))
                    .or_else(|| set.map(|one| format!("variable set '{}' includes it", one.name)))
            };
            let unnamed = rows
                .iter()
                .filter(|row| sets.contains_key(&row.name) && !named.contains(row.name.as_str()));
            let unused = unnamed.clone().find(|row| user(&row.name).is_none());
            let Some(row) = unused else {
                let kept = unnamed.filter_map(|row| Some((&row.name, user(&row.name)?)));
                let kept: Vec<(&String, String)> = kept.collect();
                for (name, why) in kept {
                    self.keep("variable set", name, &why);
                }
                return Ok(());
            };
            sets.remove(&row.name);
            variable_set_delete(self.applier.tx, row).await?;
            self.gone("variable set", &row.name, &row.body).await?;
        }
    }

    async fn targets(&mut self, named: &BTreeSet<&str>) -> Result<()> {
        for row in target_list(self.applier.tx, None).await? {
            if named.contains(row.name.as_str()) {
                continue;
            }
            if let Some(why) = self.target_use(&row).await? {
                self.keep("target", &row.name, why);
            } else {
                target_delete(self.applier.tx, row.id).await?;
                let was = document(&(&row.tags, &row.environments))?;
                self.gone("target", &row.name, &was).await?;
            }
        }
        Ok(())
    }

    async fn target_use(&mut self, row: &TargetRow) -> Result<Option<&'static str>> {
        if agent_find_of_target(self.applier.tx, row.id)
            .await?
            .is_some()
        {
            return Ok(Some("an agent has joined under that name"));
        }
        let filter = TargetCurrentFilter {
            target_id: Some(row.id),
            ..TargetCurrentFilter::default()
        };
        let runs = target_current_list(self.applier.tx, filter).await?;
        Ok((!runs.is_empty()).then_some("something was deployed there"))
    }

    /// Nothing refers to a health check: a run that is under way goes on with what it was asked for.
    async fn health_checks(&mut self, named: &BTreeSet<&str>) -> Result<()> {
        for row in health_check_list(self.applier.tx).await? {
            if !named.contains(row.name.as_str()) {
                health_check_delete(self.applier.tx, &row).await?;
                self.gone("health check", &row.name, &row.body).await?;
            }
        }
        Ok(())
    }

    /// Those that are left.
    async fn lifecycles(
        &mut self,
        named: &BTreeSet<&str>,
        projects: &[ProjectDefinition],
    ) -> Result<Vec<LifecycleDefinition>> {
        let mut left = Vec::new();
        for row in lifecycle_list(self.applier.tx).await? {
            let follows = |project: &&ProjectDefinition| {
                let channels = project.channels.iter();
                let mut all = channels
                    .map(|channel| &channel.lifecycle)
                    .chain([&project.lifecycle]);
                all.any(|name| name.as_ref() == Some(&row.name))
            };
            let user = projects.iter().find(follows);
            if let Some(project) = user.filter(|_| !named.contains(row.name.as_str())) {
                let why = format!("project '{}' follows it", project.slug);
                self.keep("lifecycle", &row.name, &why);
            }
            if user.is_some() || named.contains(row.name.as_str()) {
                left.push(lifecycle_definition(&row)?);
            } else {
                lifecycle_delete(self.applier.tx, &row).await?;
                self.gone("lifecycle", &row.name, &row.body).await?;
            }
        }
        Ok(left)
    }

    async fn environments(
        &mut self,
        named: &BTreeSet<&str>,
        projects: &[ProjectDefinition],
        lifecycles: &[LifecycleDefinition],
    ) -> Result<()> {
        for row in environment_list(self.applier.tx).await? {
            if named.contains(row.name.as_str()) {
                continue;
            }
            if let Some(why) = self.environment_use(&row, projects, lifecycles).await? {
                self.keep("environment", &row.name, &why);
            } else {
                environment_delete(self.applier.tx, &row).await?;
                self.gone("environment", &row.name, &row.body).await?;
            }
        }
        Ok(())
    }

    async fn environment_use(
        &mut self,
        row: &EnvironmentRow,
        projects: &[ProjectDefinition],
        lifecycles: &[LifecycleDefinition],
    ) -> Result<Option<String>> {
        let mut phases = lifecycles.iter();
        let in_phase = phases.find(|lifecycle| {
            let mut phases = lifecycle.phases.iter();
            phases.any(|phase| phase.environments.contains(&row.name))
        });
        if let Some(lifecycle) = in_phase {
            return Ok(Some(format!("lifecycle '{}' names it", lifecycle.name)));
        }
        let mut naming = projects.iter();
        if let Some(one) = naming.find(|one| one.environments().contains(row.name.as_str())) {
            return Ok(Some(format!("project '{}' names it", one.slug)));
        }
        for check in health_check_list(self.applier.tx).await? {
            let check = definition(&check)?;
            if check.environments.contains(&row.name) {
                return Ok(Some(format!("health check '{}' names it", check.name)));
            }
        }
        for set in variable_sets(self.applier.tx).await?.values() {
            let mut values = set.variables.iter().flat_map(|variable| &variable.values);
            if values.any(|value| value.scope.environments.contains(&row.name)) {
                return Ok(Some(format!("variable set '{}' names it", set.name)));
            }
        }
        let targets = target_list(self.applier.tx, Some(row.id)).await?;
        if let Some(target) = targets.first() {
            return Ok(Some(format!("target '{}' is in it", target.name)));
        }
        let tokens = join_token_list(self.applier.tx, Extent::All).await?;
        let usable = |token: &&crate::store::JoinTokenRow| {
            token.revoked_at_us.is_none() && token.environments.contains(&row.name)
        };
        if tokens.iter().any(|token| usable(&token)) {
            return Ok(Some("a join token names it".to_owned()));
        }
        let filter = TaskFilter {
            environment_id: Some(row.id),
            ..TaskFilter::default()
        };
        let tasks = task_list(self.applier.tx, &filter, 1).await?;
        Ok((!tasks.is_empty()).then(|| "something was deployed to it".to_owned()))
    }
}
