//! Releases: list, show, and what they are made of.

use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::ids::ReleaseId;
use mantle_domain::ids::SecretVersionId;
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::release::SecretFacts;
use mantle_domain::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot, canonical};
use mantle_domain::variable::VariableValue;
use mantle_shared::order::OrderPackage;

use super::declared::read;
use super::error::{Error, Result};
use super::in_use::{older_in, older_warnings};
use super::packages::LINUX_ONLY;
use super::planning::snapshot;
use super::progress::Queued;
use super::release_compare::{Drift, drift};
use super::{Caller, SHOWN_MOST, Services, at, names};
use crate::api::body::{
    QueuedTask, Release, ReleaseBlocked, ReleaseDetail, ReleasePackage, ReleaseUnblocked,
    VariableSnapshotEntry,
};
use crate::store::{
    Extent, PackageVersionRow, ProjectRow, ReleaseRow, ReleaseVariablesRow, Tx,
    deployment_current_list, package_version_list, release_list, release_variables_list,
    secret_list_current,
};

/// Use cases of releases.
impl Services {
    /// A project's releases, the newest first.
    pub async fn release_list(&self, caller: &Caller, project: &str) -> Result<Vec<Release>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let running = running(&mut tx, &project).await?;
        let rows = release_list(&mut tx, project.id, None, SHOWN_MOST).await?;
        Ok(rows
            .iter()
            .map(|row| shape(&project, row, &running))
            .collect())
    }

    /// One release and what it pins.
    pub async fn release_show(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
    ) -> Result<ReleaseDetail> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let mut detail = detail(&mut tx, &project, &row).await?;
        let drift = drift(&mut tx, &project, &row, self.now()).await?;
        detail.warnings = drift_warnings(&detail, &drift);
        detail.older_variables = older_in(&mut tx, &project, &row).await?;
        let older = older_warnings(&detail);
        detail.warnings.extend(older);
        Ok(detail)
    }
}

/// The versions of a project's packages that the repository holds.
pub(super) async fn available(
    tx: &mut Tx,
    definition: &ProjectDefinition,
) -> Result<BTreeMap<String, Vec<OrderPackage>>> {
    let mut available = BTreeMap::new();
    for reference in &definition.packages {
        let versions = package_version_list(tx, &reference.id, Extent::All).await?;
        let versions = versions.into_iter().map(order_package).collect();
        available.insert(reference.id.clone(), versions);
    }
    Ok(available)
}

/// What somebody who looks at a release should know of its project.
fn drift_warnings(detail: &ReleaseDetail, drift: &Drift) -> Vec<String> {
    let changed = [
        ("process", drift.found.process.is_empty()),
        ("variables", drift.found.variables.is_empty()),
    ];
    let changed: Vec<&str> = changed
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(what, _)| what)
        .collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let (project, version) = (&detail.release.project, &detail.release.version);
    vec![format!(
        "the project's {} {} not what this release holds: 'mantle release drift {project} {version}' shows how",
        changed.join(" and "),
        if changed == ["process"] { "is" } else { "are" }
    )]
}

pub(super) fn document<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    let (bytes, _) =
        canonical(value).map_err(|error| Error::internal("writing a snapshot", error))?;
    Ok(bytes)
}

fn order_package(row: PackageVersionRow) -> OrderPackage {
    OrderPackage {
        id: row.package_id,
        version: row.version,
        format: row.format,
        size_bytes: row.size_bytes,
        archive: row.archive,
        root: row.root,
        linux_only: row.platform.as_deref() == Some(LINUX_ONLY),
        as_pushed: None,
    }
}

/// The versions of secrets that a snapshot pins.
pub(super) fn pinned_secrets(variables: &VariableSnapshot) -> Vec<SecretVersionId> {
    let values = variables.variables.iter().flat_map(|v| &v.values);
    let pinned: BTreeSet<SecretVersionId> = values
        .filter_map(|scoped| match &scoped.value {
            VariableValue::PinnedSecret(secret) => Some(secret.secret_version),
            VariableValue::Secret(_) | VariableValue::Text(_) | VariableValue::Prompt(_) => None,
        })
        .collect();
    pinned.into_iter().collect()
}

/// Every secret that has a value.
pub(super) async fn secret_facts(tx: &mut Tx) -> Result<BTreeMap<String, SecretFacts>> {
    let current = secret_list_current(tx).await?.into_iter();
    Ok(current
        .map(|(path, version, mark)| (path, SecretFacts { version, mark }))
        .collect())
}

/// Of a project: the release that runs in each environment.
async fn running(tx: &mut Tx, project: &ProjectRow) -> Result<Vec<(ReleaseId, String)>> {
    let known = names::environment_names(tx).await?;
    let current = deployment_current_list(tx, Some(project.id)).await?;
    Ok(current
        .into_iter()
        .filter_map(|row| {
            let name = known.get(&row.environment_id)?.clone();
            Some((row.succeeded?.release_id, name))
        })
        .collect())
}

fn shape(project: &ProjectRow, row: &ReleaseRow, running: &[(ReleaseId, String)]) -> Release {
    let here = running.iter().filter(|(release, _)| *release == row.id);
    Release {
        project: project.slug.clone(),
        version: row.version.clone(),
        channel: row.channel.clone(),
        created_at: at(row.created_at_us),
        created_by: row.created_by.clone(),
        environments: here.map(|(_, name)| name.clone()).collect(),
        blocked: row.blocked.as_ref().map(|block| ReleaseBlocked {
            at: at(block.at_us),
            by: block.by.clone(),
            reason: block.reason.clone(),
        }),
        unblocked: row.unblocked.as_ref().map(|unblock| ReleaseUnblocked {
            at: at(unblock.at_us),
            by: unblock.by.clone(),
            reason: unblock.reason.clone(),
            was: unblock.was.clone(),
        }),
    }
}

impl From<Queued> for QueuedTask {
    fn from(queued: Queued) -> Self {
        Self {
            number: queued.number,
            environment: queued.environment,
        }
    }
}

/// A release's own fields.
pub(super) fn fields_of(row: &ReleaseRow) -> Result<BTreeMap<String, String>> {
    read("reading a release's fields", &row.fields)
}

/// A release and what it pins.
pub(super) async fn detail(
    tx: &mut Tx,
    project: &ProjectRow,
    row: &ReleaseRow,
) -> Result<ReleaseDetail> {
    let process: ProcessSnapshot = snapshot(tx, row.process).await?;
    let packages: PackageSnapshot = snapshot(tx, row.packages).await?;
    let mut history = release_variables_list(tx, row.id).await?;
    history.reverse();
    let running = running(tx, project).await?;
    Ok(ReleaseDetail {
        release: shape(project, row, &running),
        notes: row.notes.clone(),
        packages: packages.packages.into_iter().map(pinned).collect(),
        process_digest: row.process.to_string(),
        packages_digest: row.packages.to_string(),
        variables_digest: row.variables.to_string(),
        variable_history: history.into_iter().map(snapshot_entry).collect(),
        steps: process.process.steps.into_iter().map(|s| s.name).collect(),
        fields: fields_of(row)?,
        older_variables: Vec::new(),
        warnings: Vec::new(),
        queued: Vec::new(),
    })
}

/// An entry of a release's variable history.
pub(super) fn snapshot_entry(entry: ReleaseVariablesRow) -> VariableSnapshotEntry {
    VariableSnapshotEntry {
        number: entry.number,
        digest: entry.digest.to_string(),
        at: at(entry.changed_at_us),
        by: entry.changed_by,
        reason: entry.reason,
    }
}

fn pinned(package: OrderPackage) -> ReleasePackage {
    ReleasePackage {
        id: package.id,
        version: package.version,
        archive_digest: package.archive.to_string(),
        root_digest: package.root.to_string(),
    }
}
