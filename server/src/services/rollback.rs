//! Going back: which of the earlier deployments is repeated.
//!
//! A rollback is a deployment of a release that succeeded there before, with the variables that it
//! had then. The release that is left is the one that was last deployed there, however that ended:
//! after a failed 1.2 over a good 1.1 the way back is to 1.1. A release that somebody has gone back
//! from is not gone back to until it is deployed there again.

use std::collections::BTreeSet;

use mantle_domain::ids::{EnvironmentId, ReleaseId};
use mantle_domain::plan::basis::ReleaseDigests;

use super::declared::read;
use super::error::{Error, Result};
use super::progress::digests_of;
use super::{DeploymentOrder, names};
use crate::store::{
    EnvironmentRow, ProjectRow, ReleaseRow, StoreError, TaskRow, Tx, deployment_current_list,
    release_fetch, task_list_succeeded,
};

/// How many deployments are looked through.
const LOOK_BACK: u32 = 200;

/// A deployment to repeat.
pub(super) struct Earlier {
    /// Its release.
    pub(super) release: ReleaseRow,
    /// What it was made of: the release's, with the variables that it used.
    pub(super) digests: ReleaseDigests,
    /// The release that is left.
    pub(super) from: ReleaseRow,
}

/// The deployment that a rollback repeats.
pub(super) async fn earlier(
    tx: &mut Tx,
    project: &ProjectRow,
    environment: &EnvironmentRow,
    to: Option<&str>,
) -> Result<Earlier> {
    let (slug, name) = (&project.slug, &environment.name);
    let last = last_release(tx, project, environment.id)
        .await?
        .ok_or_else(|| {
            Error::refused(
                "nothing-to-roll-back",
                format!("no release of {slug} was deployed to {name}"),
                format!("'mantle release list {slug}' shows what could be"),
            )
        })?;
    let from = release_fetch(tx, last).await?;
    let wanted = match to {
        None => None,
        Some(version) => Some(names::release(tx, project, version).await?),
    };
    if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.id == from.id) {
        let version = &wanted.version;
        return Err(Error::refused(
            "nothing-to-roll-back",
            format!("{slug} {version} is what was last deployed to {name}"),
            format!("deploy it once more: mantle deploy {slug} {version} -e {name}"),
        ));
    }
    let past = task_list_succeeded(tx, project.id, environment.id, LOOK_BACK).await?;
    let found = match &wanted {
        Some(wanted) => past.iter().find(|task| task.release_id == Some(wanted.id)),
        None => before(&past, from.id)?,
    };
    let Some(task) = found else {
        let known: Vec<String> = versions(tx, &past, from.id).await?;
        let detail = match (&wanted, known.is_empty()) {
            (Some(wanted), _) => format!(
                "{slug} {} was never deployed to {name} with success",
                wanted.version
            ),
            (None, _) => format!(
                "there is no release to go back to: none but {} was deployed to {name} with success",
                from.version
            ),
        };
        let help = match known.as_slice() {
            [] => {
                format!("deploy the release that is wanted: mantle deploy {slug} VERSION -e {name}")
            }
            known => format!(
                "'mantle rollback {slug} -e {name} --to VERSION' goes back to one of {}",
                known.join(", ")
            ),
        };
        return Err(Error::refused("nothing-to-roll-back", detail, help));
    };
    let release = match task.release_id {
        Some(id) => release_fetch(tx, id).await?,
        None => return Err(StoreError::corrupt("a deployment without a release").into()),
    };
    let order: DeploymentOrder = read("reading what a task asks", &task.body)?;
    let digests = digests_of(tx, &release, order.variables, task.created_at_us).await?;
    Ok(Earlier {
        release,
        digests,
        from,
    })
}

/// Of what succeeded, newest first, the last that was neither this release nor gone back from.
fn before(past: &[TaskRow], from: ReleaseId) -> Result<Option<&TaskRow>> {
    let mut left = BTreeSet::from([from]);
    for task in past {
        let Some(release) = task.release_id else {
            continue;
        };
        if !left.contains(&release) {
            return Ok(Some(task));
        }
        let order: DeploymentOrder = read("reading what a task asks", &task.body)?;
        left.extend(order.back_from);
    }
    Ok(None)
}

/// The versions of what succeeded, but for one.
async fn versions(tx: &mut Tx, past: &[TaskRow], but: ReleaseId) -> Result<Vec<String>> {
    const SHOWN: usize = 5;
    let mut seen = Vec::new();
    for release in past.iter().filter_map(|task| task.release_id) {
        if release != but && !seen.contains(&release) && seen.len() < SHOWN {
            seen.push(release);
        }
    }
    let mut versions = Vec::with_capacity(seen.len());
    for release in seen {
        versions.push(release_fetch(tx, release).await?.version);
    }
    Ok(versions)
}

/// The release that was last deployed there, however that ended or stands.
async fn last_release(
    tx: &mut Tx,
    project: &ProjectRow,
    environment: EnvironmentId,
) -> Result<Option<ReleaseId>> {
    let rows = deployment_current_list(tx, Some(project.id)).await?;
    let here = rows
        .into_iter()
        .find(|row| row.environment_id == environment);
    Ok(here.map(|row| row.release_id))
}
