//! Applying files: all of them or nothing, in one transaction, with the difference as the answer.
//!
//! Files are read before the writer's turn is taken, and read again if what they were judged by is
//! another by then: a file that takes seconds to read holds nobody up.
//!
//! Applying creates and updates; what files no longer mention stays, unless it is asked to prune. A
//! dry run does the same work and drops the transaction, so that it says exactly what the real one
//! would do; the real one is refused if it would do something else than was agreed to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mantle_domain::channel;
use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::file::{Definitions, diff, export};
use mantle_domain::ids::{EnvironmentId, LifecycleId, ProjectId, TargetId, VariableSetId};
use mantle_domain::lifecycle::LifecycleDefinition;
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::target::TargetDefinition;
use mantle_domain::variable_set::VariableSetDefinition;
use mantle_shared::Digest;
use serde::Serialize;
use serde_json::json;

use super::apply_read::{READINGS, Reading, never_still};
use super::declared::{
    lifecycle_definition, project_definition, read, set_definition, variable_sets,
};
use super::error::{Error, Result};
use super::{Caller, Deed, Services, facts, mint, names, prune};
use crate::api::body::{ApplyFile, ApplyRequest, ApplyResult, Change, ChangeKind, Export};
use crate::store::{
    EnvironmentRow, Extent, LifecycleRow, ProjectRow, TargetRow, Tx, VariableSetRow,
    environment_find, environment_insert, environment_list, environment_update, health_check_list,
    lifecycle_find, lifecycle_insert, lifecycle_list, lifecycle_update, project_find,
    project_insert, project_list, project_update, release_count_of_channel, target_find,
    target_insert, target_list, target_replace_environments, target_replace_tags,
    variable_set_find, variable_set_insert, variable_set_update,
};

const MOST_FILES: usize = 1000;

/// Use cases of files.
impl Services {
    /// Applies files, or says what applying them would change.
    pub async fn apply(&self, caller: &Caller, request: &ApplyRequest) -> Result<ApplyResult> {
        caller.may(Permission::Configure)?;
        if request.files.is_empty() || request.files.len() > MOST_FILES {
            return Err(Error::invalid(
                "bad-files",
                format!("{} files were given", request.files.len()),
                format!("give 1 to {MOST_FILES} files"),
            ));
        }
        for _ in 0..READINGS {
            let files = self.read_files(&request.files).await?;
            let mut tx = self.store.begin().await?;
            if files.hold(&mut tx).await? {
                return self.apply_in(tx, caller, request, &files).await;
            }
        }
        Err(never_still())
    }

    /// Applies files in a transaction in which they still hold.
    pub(super) async fn apply_in(
        &self,
        mut tx: Tx,
        caller: &Caller,
        request: &ApplyRequest,
        files: &Reading,
    ) -> Result<ApplyResult> {
        let definitions = &files.definitions;
        let mut applier = Applier {
            tx: &mut tx,
            caller,
            now: self.now(),
            changes: Vec::new(),
            warnings: definitions
                .warnings
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        applier.all(definitions).await?;
        if request.prune {
            let kept = prune::unnamed(&mut applier, definitions).await?;
            applier.warnings.extend(kept);
        }
        let Applier {
            changes, warnings, ..
        } = applier;
        let digest = digest(&changes)?;
        if let Some(expected) = &request.expect
            && *expected != digest
        {
            return Err(Error::Refused {
                code: "changed-meanwhile",
                detail: "what applying would do is not what was shown any more".to_owned(),
                reasons: differences(&request.agreed, &changes),
                help: "run 'mantle apply' again to see the difference as it is now".to_owned(),
            });
        }
        let applied = !request.dry_run && !changes.is_empty();
        if applied {
            tx.commit().await?;
            self.wake.targets_changed();
        }
        Ok(ApplyResult {
            changes,
            digest,
            applied,
            warnings,
        })
    }

    /// Files that `apply` reads: of one project, or of everything.
    pub async fn export(&self, caller: &Caller, project: Option<&str>) -> Result<Export> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let mut files = Vec::new();
        let projects = match project {
            Some(slug) => vec![names::project(&mut tx, slug).await?],
            None => project_list(&mut tx, "", Extent::All).await?,
        };
        if project.is_none() {
            let infrastructure = infrastructure(&mut tx).await?;
            files.extend(
                export::infrastructure(&infrastructure).map(|text| ApplyFile {
                    name: "infrastructure.yaml".to_owned(),
                    text,
                }),
            );
        }
        if project.is_none() {
            let sets = variable_sets(&mut tx).await?;
            let sets: Vec<VariableSetDefinition> = sets.into_values().collect();
            files.extend(export::variable_sets(&sets).map(|text| ApplyFile {
                name: "variable-sets.yaml".to_owned(),
                text,
            }));
        }
        for row in projects {
            files.push(ApplyFile {
                name: format!("{}.yaml", row.slug),
                text: export::project(&project_definition(&row)?),
            });
        }
        Ok(Export { files })
    }
}

/// Names all changes, each with what it makes of what: two that read the same are not the same.
fn digest(changes: &[Change]) -> Result<String> {
    let text = serde_json::to_vec(changes)
        .map_err(|error| Error::internal("writing down the changes", error))?;
    Ok(Digest::of(&text).to_string())
}

/// How the changes differ from those that were agreed to, for people.
fn differences(agreed: &BTreeMap<String, String>, now: &[Change]) -> Vec<String> {
    if agreed.is_empty() {
        return Vec::new();
    }
    let now: BTreeMap<String, &str> = now
        .iter()
        .map(|change| (change.key(), change.digest.as_str()))
        .collect();
    let mut differences = Vec::new();
    for (key, digest) in agreed {
        match now.get(key) {
            None => differences.push(format!("{key} would not be changed any more")),
            Some(other) if other != digest => differences.push(format!(
                "{key} is not as it was, so that another change would be made of it"
            )),
            Some(_) => {}
        }
    }
    let more = now.keys().filter(|key| !agreed.contains_key(*key));
    differences.extend(more.map(|key| format!("{key} would be changed as well")));
    differences
}

async fn infrastructure(tx: &mut Tx) -> Result<Definitions> {
    let mut definitions = Definitions::default();
    for row in environment_list(tx).await? {
        let what = "reading an environment's definition";
        definitions.environments.push(read(what, &row.body)?);
    }
    for row in lifecycle_list(tx).await? {
        definitions.lifecycles.push(lifecycle_definition(&row)?);
    }
    let known = names::environment_names(tx).await?;
    for row in target_list(tx, None).await? {
        let environments = facts::named(&row.environments, &known);
        definitions
            .targets
            .push(target_definition(&row, environments));
    }
    for row in health_check_list(tx).await? {
        let what = "reading a health check's definition";
        definitions.health_checks.push(read(what, &row.body)?);
    }
    Ok(definitions)
}

fn target_definition(row: &TargetRow, environments: Vec<String>) -> TargetDefinition {
    let tags: BTreeSet<String> = row.tags.iter().cloned().collect();
    TargetDefinition {
        name: row.name.clone(),
        tags: tags.into_iter().collect(),
        environments,
    }
}

pub(super) struct Applier<'a> {
    pub(super) tx: &'a mut Tx,
    caller: &'a Caller,
    pub(super) now: Timestamp,
    changes: Vec<Change>,
    warnings: Vec<String>,
}

impl Applier<'_> {
    async fn all(&mut self, definitions: &Definitions) -> Result<()> {
        for definition in &definitions.environments {
            self.environment(definition).await?;
        }
        for definition in &definitions.lifecycles {
            self.lifecycle(definition).await?;
        }
        for definition in &definitions.targets {
            self.target(definition).await?;
        }
        for definition in &definitions.health_checks {
            self.health_check(definition).await?;
        }
        for definition in &definitions.variable_sets {
            self.variable_set(definition).await?;
        }
        for definition in &definitions.projects {
            self.project(definition).await?;
        }
        Ok(())
    }

    async fn variable_set(&mut self, new: &VariableSetDefinition) -> Result<()> {
        let body = document(new)?;
        let changed_at_us = self.now.as_microsecond();
        match variable_set_find(self.tx, &new.name).await? {
            Some(row) if row.body == body => Ok(()),
            Some(row) => {
                let old = set_definition(&row)?;
                let before = row.body.clone();
                let row = VariableSetRow {
                    body,
                    revision: row.revision + 1,
                    changed_at_us,
                    ..row
                };
                variable_set_update(self.tx, &row).await?;
                let lines = diff::variable_set(Some(&old), new);
                let made = Made {
                    kind: "variable set",
                    name: &new.name,
                    old: Some(&before),
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
            None => {
                let row = VariableSetRow {
                    id: VariableSetId::from_uuid(mint()),
                    name: new.name.clone(),
                    body,
                    revision: 1,
                    changed_at_us,
                };
                variable_set_insert(self.tx, &row).await?;
                let lines = diff::variable_set(None, new);
                let made = Made {
                    kind: "variable set",
                    name: &new.name,
                    old: None,
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
        }
    }

    async fn environment(&mut self, new: &EnvironmentDefinition) -> Result<()> {
        let body = document(new)?;
        let changed_at_us = self.now.as_microsecond();
        match environment_find(self.tx, &new.name).await? {
            Some(row) if row.body == body => Ok(()),
            Some(row) => {
                let old = read("reading an environment's definition", &row.body)?;
                let before = row.body.clone();
                let row = EnvironmentRow {
                    body,
                    revision: row.revision + 1,
                    changed_at_us,
                    ..row
                };
                environment_update(self.tx, &row).await?;
                let lines = diff::environment(Some(&old), new);
                let made = Made {
                    kind: "environment",
                    name: &new.name,
                    old: Some(&before),
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
            None => {
                let rows = environment_list(self.tx).await?;
                let last = rows.iter().map(|row| row.position).max();
                let row = EnvironmentRow {
                    id: EnvironmentId::from_uuid(mint()),
                    name: new.name.clone(),
                    position: last.map_or(1, |last| last + 1),
                    body,
                    revision: 1,
                    changed_at_us,
                };
                environment_insert(self.tx, &row).await?;
                let lines = diff::environment(None, new);
                let made = Made {
                    kind: "environment",
                    name: &new.name,
                    old: None,
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
        }
    }

    async fn lifecycle(&mut self, new: &LifecycleDefinition) -> Result<()> {
        let body = document(new)?;
        let changed_at_us = self.now.as_microsecond();
        match lifecycle_find(self.tx, &new.name).await? {
            Some(row) if row.body == body => Ok(()),
            Some(row) => {
                let old = lifecycle_definition(&row)?;
                let before = row.body.clone();
                let row = LifecycleRow {
                    body,
                    revision: row.revision + 1,
                    changed_at_us,
                    ..row
                };
                lifecycle_update(self.tx, &row).await?;
                let lines = diff::lifecycle(Some(&old), new);
                let made = Made {
                    kind: "lifecycle",
                    name: &new.name,
                    old: Some(&before),
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
            None => {
                let row = LifecycleRow {
                    id: LifecycleId::from_uuid(mint()),
                    name: new.name.clone(),
                    body,
                    revision: 1,
                    changed_at_us,
                };
                lifecycle_insert(self.tx, &row).await?;
                let lines = diff::lifecycle(None, new);
                let made = Made {
                    kind: "lifecycle",
                    name: &new.name,
                    old: None,
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
        }
    }

    async fn target(&mut self, new: &TargetDefinition) -> Result<()> {
        let known = names::environment_names(self.tx).await?;
        let by_name: BTreeMap<&str, EnvironmentId> = known
            .iter()
            .map(|(id, name)| (name.as_str(), *id))
            .collect();
        let named = new.environments.iter();
        let environments: Vec<EnvironmentId> = named
            .filter_map(|name| by_name.get(name.as_str()).copied())
            .collect();
        if let Some(row) = target_find(self.tx, &new.name).await? {
            let old = target_definition(&row, facts::named(&row.environments, &known));
            if old == *new {
                return Ok(());
            }
            target_replace_tags(self.tx, row.id, &new.tags).await?;
            target_replace_environments(self.tx, row.id, &environments).await?;
            let lines = diff::target(Some(&old), new);
            let (old, new_body) = (document(&old)?, document(new)?);
            let made = Made {
                kind: "target",
                name: &new.name,
                old: Some(&old),
                new: Some(&new_body),
                lines: &lines,
            };
            return self.note(made).await;
        }
        let row = TargetRow {
            id: TargetId::from_uuid(mint()),
            name: new.name.clone(),
            disabled: false,
            maintenance: None,
            created_at_us: self.now.as_microsecond(),
            tags: new.tags.clone(),
            environments,
        };
        target_insert(self.tx, &row).await?;
        let lines = diff::target(None, new);
        let made = Made {
            kind: "target",
            name: &new.name,
            old: None,
            new: Some(&document(new)?),
            lines: &lines,
        };
        self.note(made).await
    }

    async fn project(&mut self, new: &ProjectDefinition) -> Result<()> {
        let body = document(new)?;
        let lifecycle_id = match &new.lifecycle {
            Some(name) => Some(names::lifecycle(self.tx, name).await?.id),
            None => None,
        };
        let changed_at_us = self.now.as_microsecond();
        match project_find(self.tx, &new.slug).await? {
            Some(row) if row.body == body => Ok(()),
            Some(row) => {
                let old = project_definition(&row)?;
                let before = row.body.clone();
                self.warn_of_old_names(&old, new, &body);
                self.warn_of_channels(&row, &old, new).await?;
                let row = ProjectRow {
                    body,
                    lifecycle_id,
                    revision: row.revision + 1,
                    changed_at_us,
                    ..row
                };
                project_update(self.tx, &row).await?;
                let lines = diff::project(Some(&old), new);
                let made = Made {
                    kind: "project",
                    name: &new.slug,
                    old: Some(&before),
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
            None => {
                let row = ProjectRow {
                    id: ProjectId::from_uuid(mint()),
                    slug: new.slug.clone(),
                    name: new.slug.clone(),
                    lifecycle_id,
                    body,
                    revision: 1,
                    created_at_us: changed_at_us,
                    changed_at_us,
                };
                project_insert(self.tx, &row).await?;
                let lines = diff::project(None, new);
                let made = Made {
                    kind: "project",
                    name: &new.slug,
                    old: None,
                    new: Some(&row.body),
                    lines: &lines,
                };
                self.note(made).await
            }
        }
    }

    /// Output variables go by their action's name: what still asks for the old one finds nothing.
    fn warn_of_old_names(&mut self, old: &ProjectDefinition, new: &ProjectDefinition, body: &str) {
        let body = body.to_lowercase();
        for rename in diff::renames(&old.process.steps, &new.process.steps) {
            let token = format!("Octopus.Action[{}]", rename.before);
            if body.contains(&token.to_lowercase()) {
                self.warnings.push(format!(
                    "project '{}' still uses '{token}', and that {} is '{}' now",
                    new.slug,
                    rename.kind.word(),
                    rename.after
                ));
            }
        }
    }

    /// Releases keep the channel that they were made in: what is scoped to it finds them no more, and
    /// its lifecycle is not theirs any more.
    async fn warn_of_channels(
        &mut self,
        row: &ProjectRow,
        old: &ProjectDefinition,
        new: &ProjectDefinition,
    ) -> Result<()> {
        for channel in channel::gone(&old.channels, &new.channels) {
            let count = release_count_of_channel(self.tx, row.id, &channel).await?;
            if count == 0 {
                continue;
            }
            let lifecycle = match &new.lifecycle {
                Some(name) => format!("the project's lifecycle '{name}'"),
                None => "no lifecycle".to_owned(),
            };
            let releases = if count == 1 {
                format!("1 release is of it, which follows {lifecycle}")
            } else {
                format!("{count} releases are of it, which follow {lifecycle}")
            };
            self.warnings.push(format!(
                "project '{}' has no channel '{channel}' any more, and {releases} from now on; keep the channel while they are in use",
                new.slug
            ));
        }
        Ok(())
    }

    pub(super) async fn note(&mut self, made: Made<'_>) -> Result<()> {
        let diff: Vec<String> = made.lines.iter().map(ToString::to_string).collect();
        let (change, action) = match (made.old, made.new) {
            (None, _) => (ChangeKind::Create, "apply.create"),
            (Some(_), Some(_)) => (ChangeKind::Update, "apply.update"),
            (Some(_), None) => (ChangeKind::Remove, "apply.remove"),
        };
        let subject = format!("{} {}", made.kind, made.name);
        let deed = Deed {
            action,
            subject: &subject,
            id: None,
            detail: json!({ "diff": diff }),
        };
        self.caller.audit(self.tx, self.now, deed).await?;
        self.changes.push(Change {
            change,
            kind: made.kind.to_owned(),
            name: made.name.to_owned(),
            diff,
            digest: made.digest()?,
        });
        Ok(())
    }
}

/// A change, with the whole of what it was made of.
pub(super) struct Made<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    /// The definition that was there, as it is stored.
    pub(super) old: Option<&'a str>,
    /// The one that takes its place.
    pub(super) new: Option<&'a str>,
    pub(super) lines: &'a [diff::Change],
}

impl Made<'_> {
    /// Of both definitions, whatever the lines say of them.
    fn digest(&self) -> Result<String> {
        let text = serde_json::to_vec(&(self.old, self.new))
            .map_err(|error| Error::internal("writing down a change", error))?;
        Ok(Digest::of(&text).to_string())
    }
}

pub(super) fn document<T: Serialize>(definition: &T) -> Result<String> {
    serde_json::to_string(definition)
        .map_err(|error| Error::internal("writing a definition", error))
}
