//! Removing what the rules of lifecycles no longer keep: releases with their tasks, and versions of
//! packages that no release holds. Their bytes are collected when nothing names them any more.
//!
//! What is in use is read in the transaction that removes, so that nothing can come into use in
//! between. A run that is cut off goes on where it was: the logs of tasks that are gone, which are in
//! another file, are found again by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mantle_domain::ids::{ProjectId, ReleaseId, TaskId};
use mantle_domain::lifecycle::{self, Retention};
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::retention::{self, Fate, HeldPackage, HeldRelease, Place, Uses};
use mantle_domain::snapshot::PackageSnapshot;
use serde_json::json;

use super::answered::Going;
use super::declared::project_definition;
use super::error::Result;
use super::planning::snapshot;
use super::progress::followed;
use super::tasks::number;
use super::upkeep::Mode;
use super::{Caller, Deed, Services, names};
use crate::api::body::{RetentionItem, RetentionResult};
use crate::store::{
    Extent, PackageVersionRow, ProjectRow, ReleaseOutline, StoreError, TargetCurrentFilter, Tx,
    deployment_current_list, environment_list, log_delete, log_shorten, package_list,
    package_version_delete, package_version_list, plan_prune, project_fetch, project_list,
    release_before, release_delete, release_fetch, release_outline_list, release_pin_list,
    release_reach_list, retired_task_done, retired_task_list, secret_version_prune_all,
    target_current_list, target_list, task_exists, task_open_list,
};

/// How often [`Services::retention_run`] is due (reference section 1.5).
pub const RETAIN_EVERY: Duration = Duration::from_hours(4);
/// A plan that nobody deployed is forgotten after this long.
const PLANS_KEPT: Duration = Duration::from_hours(30 * 24);
/// Logs that are removed in one go.
const BATCH: u32 = 100;
/// Chunks of one log that are removed in one transaction.
const CHUNKS: u32 = 64;

/// Use cases of retention.
impl Services {
    /// Removes what the rules no longer keep, or says what that is.
    pub async fn retention_run(&self, caller: &Caller, dry_run: bool) -> Result<RetentionResult> {
        caller.may(if dry_run {
            Permission::Read
        } else {
            Permission::Retention
        })?;
        let mut result = RetentionResult {
            done: !dry_run,
            ..RetentionResult::default()
        };
        let projects: Vec<ProjectId> = {
            let mut tx = self.store.read().await?;
            let rows = project_list(&mut tx, "", Extent::All).await?;
            rows.into_iter().map(|row| row.id).collect()
        };
        let mut going = Going::default();
        for project in projects {
            let items = self
                .retain_releases(caller, project, dry_run, &mut going)
                .await?;
            result.items.extend(items);
        }
        let items = self
            .retain_packages(caller, dry_run, &going.leaving.releases)
            .await?;
        result.items.extend(items);
        let mode = if dry_run { Mode::Say } else { Mode::Do };
        self.retain_tasks(caller, mode, &mut going, &mut result)
            .await?;
        if !dry_run {
            // First: what they hold must not count when logs are measured.
            self.remove_logs().await?;
        }
        self.retain_logs(caller, mode, &mut going, &mut result)
            .await?;
        self.retain_answered(caller, mode, going, &mut result)
            .await?;
        self.retain_audit(caller, mode, &mut result).await?;
        if !dry_run {
            self.remove_logs().await?;
            let before_us = self.before(PLANS_KEPT);
            self.store
                .write(async |tx| plan_prune(tx, before_us).await)
                .await?;
        }
        Ok(result)
    }

    /// The project and its rules are read in the transaction that removes: a rule that somebody
    /// changed a moment ago holds already.
    pub(super) async fn retain_releases(
        &self,
        caller: &Caller,
        project: ProjectId,
        dry_run: bool,
        going: &mut Going,
    ) -> Result<Vec<RetentionItem>> {
        let now = self.now();
        let mut tx = if dry_run {
            self.store.read().await?
        } else {
            self.store.begin().await?
        };
        let project = match project_fetch(&mut tx, project).await {
            Ok(project) => project,
            // Somebody removed it meanwhile, with what it had.
            Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let project = &project;
        let definition = project_definition(project)?;
        let rows = release_outline_list(&mut tx, project.id).await?;
        let held = held_releases(&mut tx, project, &definition, &rows).await?;
        let uses = uses(&mut tx, project).await?;
        let fates = retention::releases(&held, &uses, now.as_microsecond());
        let mut items = Vec::with_capacity(rows.len());
        let mut removed = false;
        let mut answered = Vec::new();
        for (row, fate) in rows.iter().zip(&fates) {
            let name = format!("{} {}", project.slug, row.version);
            if fate.goes() && dry_run {
                going.release_would_go(&mut tx, row.id).await?;
            } else if fate.goes() {
                let row = release_fetch(&mut tx, row.id).await?;
                answered.extend(release_delete(&mut tx, &row, now.as_microsecond()).await?);
                let deed = Deed {
                    action: "release.delete",
                    subject: &name,
                    id: Some(row.id.as_uuid()),
                    detail: json!({ "why": fate.why() }),
                };
                caller.audit(&mut tx, now, deed).await?;
                removed = true;
            }
            if fate.goes() {
                going.leaving.releases.insert(row.id);
            }
            items.push(item("release", name, fate));
        }
        if removed {
            secret_version_prune_all(&mut tx).await?;
            tx.commit().await?;
        }
        going.note_all(&answered);
        Ok(items)
    }

    /// `gone` are the releases that went before, or would have: what they held is free.
    async fn retain_packages(
        &self,
        caller: &Caller,
        dry_run: bool,
        gone: &BTreeSet<ReleaseId>,
    ) -> Result<Vec<RetentionItem>> {
        let now = self.now();
        let mut tx = if dry_run {
            self.store.read().await?
        } else {
            self.store.begin().await?
        };
        let rules = package_rules(&mut tx).await?;
        let mut items = Vec::new();
        let mut removed = false;
        let mut pinned: Option<BTreeSet<(String, String)>> = None;
        for package in package_list(&mut tx, "", Extent::All).await? {
            let id = package.package_id.to_lowercase();
            let rules = rules.get(&id).cloned().unwrap_or_default();
            let rows = package_version_list(&mut tx, &package.package_id, Extent::All).await?;
            if pinned.is_none() && rules.iter().any(|rules| rules.packages.is_some()) {
                pinned = Some(pinned_versions(&mut tx, gone).await?);
            }
            let held: Vec<HeldPackage> = rows
                .iter()
                .map(|row| held_package(row, pinned.as_ref()))
                .collect();
            for (row, fate) in rows.iter().zip(retention::packages(&held, &rules)) {
                let name = format!("{} {}", row.package_id, row.version);
                if fate.goes() && !dry_run {
                    package_version_delete(&mut tx, row.id).await?;
                    let deed = Deed {
                        action: "package.delete",
                        subject: &name,
                        id: Some(row.id.as_uuid()),
                        detail: json!({ "why": fate.why(), "archive": row.archive }),
                    };
                    caller.audit(&mut tx, now, deed).await?;
                    removed = true;
                }
                items.push(item("package", name, &fate));
            }
        }
        if removed {
            tx.commit().await?;
        }
        Ok(items)
    }

    /// Removes the logs of tasks that are gone, and those that were given up.
    async fn remove_logs(&self) -> Result<()> {
        loop {
            let tasks = {
                let mut tx = self.store.read().await?;
                retired_task_list(&mut tx, BATCH).await?
            };
            for task in &tasks {
                // The log first: a note without a log is found again, a log without a note not.
                self.remove_log(*task).await?;
                self.store
                    .write(async |tx| retired_task_done(tx, *task).await)
                    .await?;
            }
            if tasks.len() < BATCH as usize {
                return Ok(());
            }
        }
    }

    async fn remove_log(&self, task: TaskId) -> Result<()> {
        loop {
            let went = self
                .store
                .write_logs(async |tx| log_shorten(tx, task, CHUNKS).await)
                .await?;
            if went < u64::from(CHUNKS) {
                break;
            }
        }
        let mut tx = self.store.read().await?;
        if task_exists(&mut tx, task).await? {
            return Ok(());
        }
        drop(tx);
        self.store
            .write_logs(async |tx| log_delete(tx, task).await)
            .await?;
        Ok(())
    }

    fn before(&self, age: Duration) -> i64 {
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        self.now().as_microsecond().saturating_sub(age_us)
    }
}

fn item(kind: &str, name: String, fate: &Fate) -> RetentionItem {
    RetentionItem {
        kind: kind.to_owned(),
        name,
        goes: fate.goes(),
        why: fate.why().to_owned(),
    }
}

/// A project's releases with the rules that hold for each, and how far each came.
async fn held_releases(
    tx: &mut Tx,
    project: &ProjectRow,
    definition: &ProjectDefinition,
    rows: &[ReleaseOutline],
) -> Result<Vec<HeldRelease>> {
    let environments = environment_list(tx).await?;
    let order: Vec<String> = environments.iter().map(|row| row.name.clone()).collect();
    let known = names::environment_names(tx).await?;
    let mut reached: BTreeMap<ReleaseId, BTreeSet<String>> = BTreeMap::new();
    for (release, environment) in release_reach_list(tx, project.id).await? {
        if let Some(name) = known.get(&environment) {
            reached.entry(release).or_default().insert(name.clone());
        }
    }
    let mut by_channel = BTreeMap::new();
    let mut held = Vec::with_capacity(rows.len());
    for row in rows {
        if !by_channel.contains_key(&row.channel) {
            let lifecycle = followed(tx, definition, &row.channel).await?;
            by_channel.insert(row.channel.clone(), lifecycle);
        }
        let lifecycle = by_channel.get(&row.channel).and_then(Option::as_ref);
        let succeeded = reached.get(&row.id).cloned().unwrap_or_default();
        held.push(HeldRelease {
            id: row.id,
            version: row.version.clone(),
            created_at_us: row.created_at_us,
            phase: lifecycle.and_then(|own| lifecycle::furthest(own, &order, &succeeded)),
            lifecycle: lifecycle.map(|own| (own.name.clone(), own.retention)),
        });
    }
    Ok(held)
}

/// What a project's releases are used for.
async fn uses(tx: &mut Tx, project: &ProjectRow) -> Result<Uses> {
    let known = names::environment_names(tx).await?;
    let mut places = Vec::new();
    for row in deployment_current_list(tx, Some(project.id)).await? {
        let running = row.succeeded.as_ref().map(|succeeded| succeeded.release_id);
        let before = match running {
            None => None,
            Some(running) => release_before(tx, project.id, row.environment_id, running).await?,
        };
        places.push(Place {
            environment: known.get(&row.environment_id).cloned().unwrap_or_default(),
            last: row.release_id,
            running,
            before,
        });
    }
    let targets: BTreeMap<_, _> = target_list(tx, None)
        .await?
        .into_iter()
        .map(|row| (row.id, row.name))
        .collect();
    let filter = TargetCurrentFilter {
        project_id: Some(project.id),
        ..TargetCurrentFilter::default()
    };
    let on_targets = target_current_list(tx, filter).await?;
    let open = task_open_list(tx, project.id).await?;
    Ok(Uses {
        places,
        targets: on_targets
            .into_iter()
            .map(|row| {
                let name = targets.get(&row.target_id).cloned().unwrap_or_default();
                (name, row.release_id)
            })
            .collect(),
        open: open.into_iter().map(|(n, id)| (number(n), id)).collect(),
    })
}

/// The rules of every lifecycle that a release with a package could follow, by the package's id in
/// lower case. A channel without a lifecycle has no rule, and so keeps all.
async fn package_rules(tx: &mut Tx) -> Result<BTreeMap<String, Vec<Retention>>> {
    let mut rules: BTreeMap<String, Vec<Retention>> = BTreeMap::new();
    for row in project_list(tx, "", Extent::All).await? {
        let definition = project_definition(&row)?;
        let mut own = Vec::new();
        for channel in mantle_domain::channel::effective(&definition.channels) {
            let lifecycle = followed(tx, &definition, &channel.name).await?;
            own.push(lifecycle.map_or_else(Retention::default, |own| own.retention));
        }
        for package in &definition.packages {
            let id = package.id.to_lowercase();
            rules.entry(id).or_default().extend(own.iter().copied());
        }
    }
    Ok(rules)
}

/// Every package version that a release holds which is not gone, ids in lower case.
async fn pinned_versions(
    tx: &mut Tx,
    gone: &BTreeSet<ReleaseId>,
) -> Result<BTreeSet<(String, String)>> {
    let mut pinned = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (release, packages) in release_pin_list(tx).await? {
        // Releases that hold the same packages share the snapshot.
        if gone.contains(&release) || !seen.insert(packages) {
            continue;
        }
        let held: PackageSnapshot = snapshot(tx, packages).await?;
        let versions = held.packages.into_iter();
        pinned.extend(versions.map(|package| (package.id.to_lowercase(), package.version)));
    }
    Ok(pinned)
}

fn held_package(
    row: &PackageVersionRow,
    pinned: Option<&BTreeSet<(String, String)>>,
) -> HeldPackage {
    let key = (row.package_id.to_lowercase(), row.version.clone());
    HeldPackage {
        id: row.id,
        package: row.package_id.clone(),
        version: row.version.clone(),
        pushed_at_us: row.created_at_us,
        // Without a rule nothing goes, and nobody asked which are held.
        pinned: pinned.is_none_or(|pinned| pinned.contains(&key)),
    }
}
