//! Making releases.
//!
//! To look at the files of packages takes a while, so what a release is made of is read first, looked
//! through then, and written last. The write begins by asking whether all of it is as it was: the
//! project with its sets, the secrets, the packages. If not, everything is done anew: nobody finds a
//! release of a project that was another one by the time when it was there.

use std::time::Duration;

use jiff::Timestamp;
use mantle_domain::action;
use mantle_domain::ids::ReleaseId;
use mantle_domain::lifecycle::Occasion;
use mantle_domain::permission::Permission;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::release::notes::{self, NotesContext, check_fields};
use mantle_domain::release::{
    ExistingRelease, ReleaseDraft, ReleaseOptions, Selection, assemble, select, version_of,
};
use mantle_domain::variable::{PinnedSecret, VariableValue};
use mantle_shared::order::AsPushed;
use mantle_template::same_name;
use serde_json::json;
use tokio::time::Instant;

use super::apply_read::READINGS;
use super::declared::whole_project;
use super::error::{Error, Result};
use super::progress::progress;
use super::release_scan::{Question, Scan};
use super::releases::{available, detail, document, pinned_secrets, secret_facts};
use super::{Caller, Deed, Services, mint, names, ties};
use crate::api::body::{ReleaseCreate, ReleaseDetail};
use crate::store::{
    ProjectRow, ReleaseRow, SnapshotKind, Tx, package_version_find, project_find, release_insert,
    release_outline_list, secret_find, snapshot_keep,
};

/// How long the files of packages are looked through for one release. A command waits a minute.
const LOOK_FOR: Duration = Duration::from_secs(40);

/// What a release is made of.
pub(super) struct Reading {
    row: ProjectRow,
    definition: ProjectDefinition,
    selection: Selection,
}

/// A release that is about to be kept.
pub(super) struct Made {
    row: ProjectRow,
    definition: ProjectDefinition,
    draft: ReleaseDraft,
}

/// Use cases of making releases.
impl Services {
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
        let mut scan = Scan::until(Instant::now() + LOOK_FOR);
        for _ in 0..READINGS {
            let reading = self.release_read(project, request).await?;
            let made = self.release_make(reading, &mut scan).await?;
            if let Some(release) = self.release_keep(caller, &made, request).await? {
                return Ok(release);
            }
        }
        Err(Error::refused(
            "changed-meanwhile",
            format!(
                "what a release of {project} is made of was changed by others {READINGS} times while it was made"
            ),
            "create the release again",
        ))
    }

    /// Reads the project and chooses.
    pub(super) async fn release_read(
        &self,
        project: &str,
        request: &ReleaseCreate,
    ) -> Result<Reading> {
        let mut tx = self.store.read().await?;
        let row = names::project(&mut tx, project).await?;
        let definition = whole_project(&mut tx, &row).await?;
        let available = available(&mut tx, &definition).await?;
        let existing = existing(&mut tx, &row).await?;
        let options = options(request);
        let selection = select(&definition, &options, &available, &existing, self.now())?;
        Ok(Reading {
            row,
            definition,
            selection,
        })
    }

    /// Looks through the packages and pins everything.
    pub(super) async fn release_make(&self, reading: Reading, scan: &mut Scan) -> Result<Made> {
        let Reading {
            row,
            definition,
            mut selection,
        } = reading;
        self.name_archives(&definition, &mut selection).await?;
        let question = Question::of(&definition, &selection);
        let scanned = self.scan(question, scan).await?;
        let secrets = {
            let mut tx = self.store.read().await?;
            secret_facts(&mut tx).await?
        };
        let draft = assemble(&definition, selection, &secrets, scanned)?;
        Ok(Made {
            row,
            definition,
            draft,
        })
    }

    /// Names how the archives are brought that actions ask for themselves.
    async fn name_archives(
        &self,
        definition: &ProjectDefinition,
        selection: &mut Selection,
    ) -> Result<()> {
        let wanted = action::archives(&definition.process);
        for package in &mut selection.packages {
            if !wanted.iter().any(|id| same_name(id, &package.id)) {
                continue;
            }
            let root = self.packages.archive_root(&package.archive).await?;
            let archive = self.packages.archive(&package.archive).await?;
            package.as_pushed = Some(AsPushed {
                root,
                size_bytes: archive.size_bytes(),
            });
        }
        Ok(())
    }

    /// Writes it, unless what it was made of is another by now.
    pub(super) async fn release_keep(
        &self,
        caller: &Caller,
        made: &Made,
        request: &ReleaseCreate,
    ) -> Result<Option<ReleaseDetail>> {
        let Made {
            row: project,
            definition,
            draft,
        } = made;
        let now = self.now();
        let at_us = now.as_microsecond();
        let (mut notes, mut unknown) =
            evaluated_notes(definition, draft, &draft.version, request, now)?;
        let mut tx = self.store.begin().await?;
        if !made.holds(&mut tx).await? {
            return Ok(None);
        }
        let existing = existing(&mut tx, project).await?;
        let chosen = (draft.channel.as_str(), draft.packages.packages.as_slice());
        let version = version_of(definition, &options(request), chosen, &existing, now)?;
        if version != draft.version {
            (notes, unknown) = evaluated_notes(definition, draft, &version, request, now)?;
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
        release_insert(&mut tx, &row).await?;
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
            return Ok(Some(created));
        }
        tx.commit().await?;
        for task in queued {
            self.wake.task_queued(task.task);
        }
        Ok(Some(created))
    }
}

impl Made {
    /// What it was made of is as it was, so that the same would be made of it.
    async fn holds(&self, tx: &mut Tx) -> Result<bool> {
        let Some(row) = project_find(tx, &self.row.slug).await? else {
            return Err(Error::Missing {
                detail: format!(
                    "project '{}' was removed while its release was made",
                    self.row.slug
                ),
                reasons: Vec::new(),
                help: "apply its file again, then create the release".to_owned(),
            });
        };
        Ok(row == self.row
            && whole_project(tx, &row).await? == self.definition
            && self.packages_hold(tx).await?
            && self.secrets_hold(tx).await?)
    }

    /// Retention took none of its packages away.
    async fn packages_hold(&self, tx: &mut Tx) -> Result<bool> {
        for package in &self.draft.packages.packages {
            let found = package_version_find(tx, &package.id, &package.version).await?;
            if found.is_none_or(|row| row.archive != package.archive) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nobody gave one of its secrets another value, or took it away.
    async fn secrets_hold(&self, tx: &mut Tx) -> Result<bool> {
        let variables = self.draft.variables.variables.iter();
        for scoped in variables.flat_map(|variable| &variable.values) {
            let VariableValue::PinnedSecret(PinnedSecret {
                path,
                secret_version,
                ..
            }) = &scoped.value
            else {
                continue;
            };
            let found = secret_find(tx, path).await?;
            if found.and_then(|row| row.current_version) != Some(*secret_version) {
                return Ok(false);
            }
        }
        Ok(true)
    }
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

/// A project's releases, as far as the next one's version depends on them.
async fn existing(tx: &mut Tx, project: &ProjectRow) -> Result<Vec<ExistingRelease>> {
    let releases = release_outline_list(tx, project.id).await?;
    Ok(releases
        .into_iter()
        .map(|release| ExistingRelease {
            version: release.version,
            channel: release.channel,
        })
        .collect())
}

/// Those that were given, or else what the project says.
fn evaluated_notes(
    project: &ProjectDefinition,
    draft: &ReleaseDraft,
    version: &str,
    request: &ReleaseCreate,
    now: Timestamp,
) -> Result<(String, Vec<String>)> {
    let context = NotesContext {
        project: &project.slug,
        version,
        channel: &draft.channel,
        variables: &draft.variables.variables,
        packages: &draft.packages.packages,
        fields: &request.fields,
    };
    let template = match &project.release_notes {
        Some(template) if request.notes.is_empty() => template,
        Some(_) | None => &request.notes,
    };
    Ok(notes::evaluate(template, &context, now)?)
}
