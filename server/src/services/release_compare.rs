//! How releases differ: two of them, one and its project as it is now, one and what runs in an
//! environment.

use std::collections::BTreeMap;

use mantle_domain::file::diff::Change;
use mantle_domain::permission::Permission;
use mantle_domain::release::changes::{Direction, Past, brought};
use mantle_domain::release::compare::{self, Contents, PackageChange};
use mantle_domain::release::{ReleaseDraft, ReleaseOptions, ScannedFiles, assemble, select};
use mantle_shared::order::OrderPackage;

use super::declared::whole_project;
use super::error::{Error, Result};
use super::in_use::older_variables;
use super::planning::Pins;
use super::releases::{available, fields_of, secret_facts};
use super::{Caller, SHOWN_MOST, Services, at, names};
use crate::api::body::{
    BroughtRelease, FileChange, PackageDiff, ReleaseChanges, ReleaseDiff, ReleaseDrift,
    RunningRelease,
};
use crate::packages::compare::{Difference, FileFate};
use crate::store::{
    ProjectRow, ReleaseOutline, ReleaseRow, TaskFilter, TaskKind, TaskOutcome, Tx, release_fetch,
    release_find, release_outline_list, task_list,
};

/// More files of one package than this are counted, not named.
const MOST_FILES: usize = 500;

/// Use cases of comparing.
impl Services {
    /// How the second release differs from the first.
    pub async fn release_diff(
        &self,
        caller: &Caller,
        project: &str,
        first: &str,
        second: &str,
    ) -> Result<ReleaseDiff> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let first = names::release(&mut tx, &project, first).await?;
        let second = names::release(&mut tx, &project, second).await?;
        let (before, after) = (
            Pins::read(&mut tx, first.digests()).await?,
            Pins::read(&mut tx, second.digests()).await?,
        );
        drop(tx);
        let found = compare::compare(&contents(&before), &contents(&after));
        Ok(ReleaseDiff {
            project: project.slug,
            from: first.version,
            to: second.version,
            same: found.is_empty(),
            process: lines(&found.process),
            variables: lines(&found.variables),
            packages: self.package_diffs(found.packages).await?,
        })
    }

    /// How the project as it is now differs from a release.
    pub async fn release_drift(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
    ) -> Result<ReleaseDrift> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let drift = drift(&mut tx, &project, &row, self.now()).await?;
        drop(tx);
        Ok(ReleaseDrift {
            project: project.slug,
            version: row.version,
            drifted: !drift.found.is_empty(),
            process: lines(&drift.found.process),
            variables: lines(&drift.found.variables),
            packages: self.package_diffs(drift.found.packages).await?,
            unknown: drift.unknown,
        })
    }

    /// What a release brings to an environment: the notes between what runs there and it, and the
    /// packages that change.
    pub async fn release_changes(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        environment: &str,
    ) -> Result<ReleaseChanges> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let environment = names::environment(&mut tx, environment).await?;
        let filter = TaskFilter {
            project_id: Some(project.id),
            environment_id: Some(environment.id),
            kind: Some(TaskKind::Deployment),
            outcome: Some(TaskOutcome::Succeeded),
            ..TaskFilter::default()
        };
        let (mut running, mut older, mut other) = (None, None, None);
        for task in task_list(&mut tx, &filter, SHOWN_MOST).await? {
            let Some(id) = task.release_id else { continue };
            let release = release_fetch(&mut tx, id).await?;
            if release.channel == row.channel {
                older = older_variables(&mut tx, &release, task.id).await?;
                running = Some(release);
                break;
            }
            // The first one is what runs there.
            other.get_or_insert(RunningRelease {
                version: release.version,
                channel: release.channel,
            });
        }
        let all = release_outline_list(&mut tx, project.id).await?;
        let past: Vec<Past> = all.iter().map(past).collect();
        let this = past_of(&past, &row)?;
        let from = running.as_ref().map(|release| release.version.as_str());
        let (direction, between) = brought(from, this, &past);
        let mut releases = Vec::with_capacity(between.len());
        for found in between {
            let found = release_find(&mut tx, project.id, &found.version).await?;
            releases.extend(found.as_ref().map(brought_release).transpose()?);
        }
        let after = Pins::read(&mut tx, row.digests()).await?;
        let before = match &running {
            None => None,
            Some(running) => Some(Pins::read(&mut tx, running.digests()).await?),
        };
        drop(tx);
        let held = before
            .as_ref()
            .map_or(&[][..], |pins| &pins.packages.packages);
        let packages = compare::packages(held, &after.packages.packages);
        Ok(ReleaseChanges {
            project: project.slug,
            version: row.version,
            environment: environment.name,
            channel: row.channel,
            running: running.map(|release| release.version),
            older_variables: older,
            of_other_channel: other,
            direction: direction_word(direction).to_owned(),
            releases,
            packages: self.package_diffs(packages).await?,
        })
    }

    /// Packages that differ, with their files.
    pub(super) async fn package_diffs(
        &self,
        changes: Vec<PackageChange>,
    ) -> Result<Vec<PackageDiff>> {
        let mut diffs = Vec::with_capacity(changes.len());
        for change in changes {
            let found = match (&change.from, &change.to) {
                (Some(from), Some(to)) if from.root != to.root => self
                    .packages
                    .compare(&from.root, &to.root, MOST_FILES)
                    .await
                    .map_err(|error| Error::internal("comparing packages", error))?,
                _ => Difference::default(),
            };
            let version = |package: Option<OrderPackage>| package.map(|package| package.version);
            diffs.push(PackageDiff {
                id: change.id,
                from: version(change.from),
                to: version(change.to),
                files: found.files.into_iter().map(file_change).collect(),
                more_files: found.more,
            });
        }
        Ok(diffs)
    }
}

/// How a project differs from a release of it.
pub(super) struct Drift {
    /// The differences.
    pub(super) found: compare::Comparison,
    /// Why a part could not be compared.
    pub(super) unknown: Vec<String>,
}

/// Compares a release with what a new one of its channel would be now. A project that cannot be
/// released just now is compared as far as it can.
pub(super) async fn drift(
    tx: &mut Tx,
    project: &ProjectRow,
    row: &ReleaseRow,
    now: jiff::Timestamp,
) -> Result<Drift> {
    let definition = whole_project(tx, project).await?;
    let pins = Pins::read(tx, row.digests()).await?;
    let options = ReleaseOptions {
        channel: Some(row.channel.clone()),
        ..ReleaseOptions::default()
    };
    let held = available(tx, &definition).await?;
    // Whichever version a new one would get: those that exist are no obstacle to comparing.
    let selected = select(&definition, &options, &held, &[], now);
    let secrets = secret_facts(tx).await?;
    let draft: std::result::Result<ReleaseDraft, _> = selected
        .and_then(|selection| assemble(&definition, selection, &secrets, &ScannedFiles::new()));
    match draft {
        Ok(draft) => {
            let now = Contents {
                process: &draft.process,
                variables: &draft.variables,
                packages: &draft.packages,
            };
            Ok(Drift {
                found: compare::compare(&contents(&pins), &now),
                unknown: Vec::new(),
            })
        }
        Err(refusals) => {
            let process = compare::as_released(&definition.process);
            Ok(Drift {
                found: compare::Comparison {
                    process: compare::process(&pins.process.process, &process),
                    ..compare::Comparison::default()
                },
                unknown: refusals.iter().map(ToString::to_string).collect(),
            })
        }
    }
}

fn contents(pins: &Pins) -> Contents<'_> {
    Contents {
        process: &pins.process,
        variables: &pins.variables,
        packages: &pins.packages,
    }
}

pub(super) fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

fn past(release: &ReleaseOutline) -> Past {
    Past {
        version: release.version.clone(),
        channel: release.channel.clone(),
    }
}

fn past_of<'a>(past: &'a [Past], row: &ReleaseRow) -> Result<&'a Past> {
    past.iter()
        .find(|past| past.version == row.version)
        .ok_or_else(|| Error::internal("listing releases", "the one that was asked for is missing"))
}

fn brought_release(row: &ReleaseRow) -> Result<BroughtRelease> {
    let fields: BTreeMap<String, String> = fields_of(row)?;
    Ok(BroughtRelease {
        version: row.version.clone(),
        created_at: at(row.created_at_us),
        created_by: row.created_by.clone(),
        notes: row.notes.clone(),
        fields,
    })
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::First => "first",
        Direction::Forward => "forward",
        Direction::Same => "same",
        Direction::Back => "back",
    }
}

fn file_change(found: (String, FileFate)) -> FileChange {
    let (path, fate) = found;
    FileChange {
        path,
        change: match fate {
            FileFate::Added => "added",
            FileFate::Removed => "removed",
            FileFate::Changed => "changed",
        }
        .to_owned(),
    }
}
