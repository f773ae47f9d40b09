//! Releases: create, list, show.
//!
//! Creating looks at package files, which takes a while, so it reads first, looks then, and writes
//! last; what changed in between is noticed by the write. A version that the server chose is chosen
//! there, so that nobody loses a number to somebody who was faster.

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobBuilder;
use jiff::Timestamp;
use mantle_domain::ids::ReleaseId;
use mantle_domain::ids::SecretVersionId;
use mantle_domain::lifecycle::Occasion;
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::release::notes::{self, NotesContext, check_fields};
use mantle_domain::release::{
    ExistingRelease, ReleaseDraft, ReleaseOptions, ScannedFiles, SecretFacts, Selection, assemble,
    scan, select, sensitive_variables, version_of,
};
use mantle_domain::snapshot::{PackageSnapshot, ProcessSnapshot, VariableSnapshot, canonical};
use mantle_domain::variable::VariableValue;
use mantle_shared::manifest::EntryKind;
use mantle_shared::order::OrderPackage;
use mantle_shared::text_file::{self, MAX_TEXT_FILE_BYTES};
use serde_json::json;

use super::declared::{read, whole_project};
use super::error::{Error, Result};
use super::in_use::{older_in, older_warnings};
use super::packages::LINUX_ONLY;
use super::planning::snapshot;
use super::progress::{Queued, progress};
use super::release_compare::{Drift, drift};
use super::{Caller, Deed, LIST_MOST, Services, at, mint, names, ties};
use crate::api::body::{
    QueuedTask, Release, ReleaseBlocked, ReleaseCreate, ReleaseDetail, ReleasePackage,
    ReleaseUnblocked, VariableSnapshotEntry,
};
use crate::store::{
    PackageVersionRow, ProjectRow, ReleaseRow, ReleaseVariablesRow, SnapshotKind, StoreError, Tx,
    deployment_current_list, package_version_find, package_version_list, release_insert,
    release_list, release_variables_list, secret_list, secret_version_fetch, snapshot_keep,
};

/// How often a version is chosen again that somebody else took at the same moment.
const MOST_TRIES: usize = 20;
/// More entries than this of one package are not looked through.
const MOST_ENTRIES: usize = 200_000;

/// Use cases of releases.
impl Services {
    /// A project's releases, the newest first.
    pub async fn release_list(&self, caller: &Caller, project: &str) -> Result<Vec<Release>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let running = running(&mut tx, &project).await?;
        let rows = release_list(&mut tx, project.id, None, LIST_MOST).await?;
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

    /// Makes a release: pins process, variables and the bytes of packages. A dry run does the same
    /// work and drops it, so that it says exactly what the real one would do.
    pub async fn release_create(
        &self,
        caller: &Caller,
        project: &str,
        request: &ReleaseCreate,
    ) -> Result<ReleaseDetail> {
        caller.may(Permission::ReleaseCreate)?;
        check_fields("a release", &request.fields)?;
        let (row, definition, selection) = self.select(project, request).await?;
        let scanned = self.scan(&definition, &selection).await?;
        let secrets = {
            let mut tx = self.store.read().await?;
            secret_facts(&mut tx).await?
        };
        let draft = assemble(&definition, selection, &secrets, &scanned)?;
        let made = Made {
            row,
            definition,
            draft,
        };
        for _ in 1..MOST_TRIES {
            if let Kept::As(release) = self.keep(caller, &made, request).await? {
                return Ok(*release);
            }
        }
        match self.keep(caller, &made, request).await? {
            Kept::As(release) => Ok(*release),
            Kept::Taken => Err(Error::refused(
                "changed-meanwhile",
                format!(
                    "others created releases of {} at the same moment, each time before this one",
                    made.row.slug
                ),
                "create the release again",
            )),
        }
    }

    async fn select(
        &self,
        project: &str,
        request: &ReleaseCreate,
    ) -> Result<(ProjectRow, ProjectDefinition, Selection)> {
        let mut tx = self.store.read().await?;
        let row = names::project(&mut tx, project).await?;
        let definition = whole_project(&mut tx, &row).await?;
        let available = available(&mut tx, &definition).await?;
        let existing = existing(&mut tx, &row).await?;
        let options = options(request);
        let selection = select(&definition, &options, &available, &existing, self.now())?;
        Ok((row, definition, selection))
    }

    /// Which names of secrets, and of what reaches one, stand in which action's package files.
    async fn scan(
        &self,
        definition: &ProjectDefinition,
        selection: &Selection,
    ) -> Result<ScannedFiles> {
        let names = sensitive_variables(definition);
        let mut scanned = ScannedFiles::new();
        if names.is_empty() {
            return Ok(scanned);
        }
        for request in scan::requests(&definition.process) {
            let mut held = selection.packages.iter();
            let Some(package) = held.find(|p| p.id.eq_ignore_ascii_case(&request.package)) else {
                continue;
            };
            let mut found = BTreeSet::new();
            let mut look = |names: BTreeSet<String>| found.extend(names);
            self.each_text(package, &request.texts, |text| {
                look(scan::names_in_text(text, &names));
            })
            .await?;
            self.each_text(package, &request.structured, |text| {
                look(scan::names_in_structure(text, &names));
            })
            .await?;
            if !found.is_empty() {
                scanned.entry(request.action).or_default().extend(found);
            }
        }
        Ok(scanned)
    }

    /// Looks into the files of a package that these globs match, one after the other.
    async fn each_text(
        &self,
        package: &OrderPackage,
        globs: &[String],
        mut look: impl FnMut(&str),
    ) -> Result<()> {
        let failed = |error| Error::internal("reading a package", error);
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs {
            // A template cannot be matched before the deployment; the action names its secrets.
            let pattern = text_file::pattern(glob);
            let mut builder = GlobBuilder::new(&pattern);
            // As agents on Windows match them: rather a file too many than one too few.
            let builder = builder.literal_separator(true).case_insensitive(true);
            if let Ok(glob) = builder.build() {
                set.add(glob);
            }
        }
        let set = set
            .build()
            .map_err(|error| Error::internal("reading globs", error))?;
        if set.is_empty() {
            return Ok(());
        }
        let listed = self
            .packages
            .list(&package.root, MOST_ENTRIES)
            .await
            .map_err(failed)?;
        for entry in listed {
            let is_file = matches!(entry.kind, EntryKind::File { .. });
            if !is_file || !set.is_match(&entry.path) {
                continue;
            }
            let bytes = self
                .packages
                .file(&package.root, &entry.path, MAX_TEXT_FILE_BYTES)
                .await
                .map_err(failed)?;
            if let Some(bytes) = bytes {
                look(&text_of(&bytes));
            }
        }
        Ok(())
    }

    async fn keep(&self, caller: &Caller, made: &Made, request: &ReleaseCreate) -> Result<Kept> {
        let Made {
            row: project,
            definition,
            draft,
        } = made;
        let now = self.now();
        let at_us = now.as_microsecond();
        let (mut notes, mut unknown) =
            evaluated_notes(&project.slug, draft, &draft.version, request, now)?;
        let mut tx = self.store.begin().await?;
        still_there(&mut tx, &draft.packages).await?;
        let existing = existing(&mut tx, project).await?;
        let chosen = (draft.channel.as_str(), draft.packages.packages.as_slice());
        let version = version_of(definition, &options(request), chosen, &existing, now)?;
        if version != draft.version {
            (notes, unknown) = evaluated_notes(&project.slug, draft, &version, request, now)?;
        }
        let pinned = pinned_secrets(&draft.variables);
        let process = document(&draft.process)?;
        let packages = document(&draft.packages)?;
        let variables = document(&draft.variables)?;
        let row = ReleaseRow {
            id: ReleaseId::from_uuid(mint()),
            project_id: project.id,
            version,
            channel: draft.channel.clone(),
            process: snapshot_keep(&mut tx, SnapshotKind::Process, &process, &[], at_us).await?,
            packages: snapshot_keep(&mut tx, SnapshotKind::Packages, &packages, &[], at_us).await?,
            variables: snapshot_keep(&mut tx, SnapshotKind::Variables, &variables, &pinned, at_us)
                .await?,
            variables_number: 1,
            notes,
            fields: serde_json::to_string(&request.fields)
                .map_err(|error| Error::internal("writing a release", error))?,
            blocked: None,
            unblocked: None,
            created_at_us: at_us,
            created_by: caller.actor.name.clone(),
        };
        match release_insert(&mut tx, &row).await {
            // Where several write at once somebody may have taken it since it was chosen above.
            Err(StoreError::Conflict { .. }) => return Ok(Kept::Taken),
            inserted => inserted?,
        }
        let subject = format!("{} {}", project.slug, row.version);
        let deed = Deed {
            action: "release.create",
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({
                "channel": row.channel,
                "process": row.process,
                "packages": row.packages,
                "variables": row.variables,
                "ignore_channel_rules": request.ignore_channel_rules,
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        // In the same transaction: a release that goes somewhere by itself is never made without.
        let queued = progress(
            &mut tx,
            project,
            &row,
            Occasion::Created,
            "it was created",
            now,
        )
        .await?;
        let mut created = detail(&mut tx, project, &row).await?;
        created.warnings.clone_from(&draft.warnings);
        created
            .warnings
            .extend(ties::in_release(&mut tx, draft).await?);
        created.warnings.extend(unknown);
        created.queued = queued.iter().cloned().map(Into::into).collect();
        if request.dry_run {
            // Its numbers would be given to others.
            for task in &mut created.queued {
                task.number = String::new();
            }
            return Ok(Kept::As(Box::new(created)));
        }
        tx.commit().await?;
        for task in queued {
            self.wake.task_queued(task.task);
        }
        Ok(Kept::As(Box::new(created)))
    }
}

/// A release that is about to be kept.
struct Made {
    row: ProjectRow,
    definition: ProjectDefinition,
    draft: ReleaseDraft,
}

/// What became of it.
enum Kept {
    /// It is there.
    As(Box<ReleaseDetail>),
    /// Somebody has its version since a moment ago.
    Taken,
}

fn options(request: &ReleaseCreate) -> ReleaseOptions {
    ReleaseOptions {
        version: request.version.clone(),
        channel: request.channel.clone(),
        packages: request.packages.clone(),
        package_version: request.package_version.clone(),
        ignore_channel_rules: request.ignore_channel_rules,
    }
}

/// The versions of a project's packages that the repository holds.
pub(super) async fn available(
    tx: &mut Tx,
    definition: &ProjectDefinition,
) -> Result<BTreeMap<String, Vec<OrderPackage>>> {
    let mut available = BTreeMap::new();
    for reference in &definition.packages {
        let versions = package_version_list(tx, &reference.id, LIST_MOST).await?;
        let versions = versions.into_iter().map(order_package).collect();
        available.insert(reference.id.clone(), versions);
    }
    Ok(available)
}

/// A project's releases, as far as the next one's version depends on them.
async fn existing(tx: &mut Tx, project: &ProjectRow) -> Result<Vec<ExistingRelease>> {
    let releases = release_list(tx, project.id, None, LIST_MOST).await?;
    Ok(releases
        .into_iter()
        .map(|release| ExistingRelease {
            version: release.version,
            channel: release.channel,
        })
        .collect())
}

/// Between choosing and pinning the packages' files are looked at, which takes a while: retention
/// may have taken one away.
async fn still_there(tx: &mut Tx, packages: &PackageSnapshot) -> Result<()> {
    for package in &packages.packages {
        let found = package_version_find(tx, &package.id, &package.version).await?;
        if found.is_none_or(|row| row.archive != package.archive) {
            return Err(Error::refused(
                "changed-meanwhile",
                format!(
                    "package '{}' {} was removed at the same moment",
                    package.id, package.version
                ),
                "create the release again",
            ));
        }
    }
    Ok(())
}

fn evaluated_notes(
    project: &str,
    draft: &ReleaseDraft,
    version: &str,
    request: &ReleaseCreate,
    now: Timestamp,
) -> Result<(String, Vec<String>)> {
    let context = NotesContext {
        project,
        version,
        channel: &draft.channel,
        variables: &draft.variables.variables,
        packages: &draft.packages.packages,
        fields: &request.fields,
    };
    Ok(notes::evaluate(&request.notes, &context, now)?)
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
    }
}

/// A file as an agent will read it; what it cannot read as text, byte by byte: a script may be in any
/// encoding, and names are plain letters.
fn text_of(bytes: &[u8]) -> String {
    text_file::decode(bytes).map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        |(text, _)| text,
    )
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
    let mut facts = BTreeMap::new();
    for row in secret_list(tx, "", LIST_MOST).await? {
        if let Some(version) = row.current_version {
            let mark = secret_version_fetch(tx, version).await?.mark;
            facts.insert(row.path, SecretFacts { version, mark });
        }
    }
    Ok(facts)
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
