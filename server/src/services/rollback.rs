//! Going back: which of the earlier deployments is repeated.
//!
//! A rollback is a deployment of a release that succeeded there before, with the variables that it
//! had then. The release that is left is the one that was last deployed there, however that ended:
//! after a failed 1.2 over a good 1.1 the way back is to 1.1. A release that somebody has gone back
//! from is not gone back to until it is deployed there again.

use std::collections::BTreeSet;

use mantle_domain::explain::listed;
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
        let detail = match &wanted {
            Some(wanted) => format!(
                "{slug} {} was never deployed to {name} with success",
                wanted.version
            ),
            None => none_before(slug, name, &from.version, past.is_empty(), &known),
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

/// Why there is nothing to go back to: nothing succeeded, nothing else did, or all else that did was gone
/// back from.
fn none_before(
    slug: &str,
    environment: &str,
    from: &str,
    nothing_succeeded: bool,
    others: &[String],
) -> String {
    let why = match others {
        _ if nothing_succeeded => format!(
            "no release of {slug} was ever deployed to {environment} with success; the last one was {from}"
        ),
        [] => format!("none but {from} was deployed to {environment} with success"),
        others => format!(
            "what was deployed to {environment} with success beside {from} was gone back from: {}",
            listed(others)
        ),
    };
    format!("there is no release to go back to: {why}")
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

#[cfg(test)]
mod tests {
    use super::none_before;

    #[test]
    fn what_it_cannot_go_back_to_is_said_as_it_is() {
        let known = |versions: &[&str]| -> Vec<String> {
            versions
                .iter()
                .map(|version| (*version).to_owned())
                .collect()
        };
        let table = [
            (
                true,
                known(&[]),
                "no release of shop was ever deployed to test with success; the last one was 1.0",
            ),
            (
                false,
                known(&[]),
                "none but 1.0 was deployed to test with success",
            ),
            (
                false,
                known(&["2.0.0"]),
                "what was deployed to test with success beside 1.0 was gone back from: 2.0.0",
            ),
            (
                false,
                known(&["2.1", "2.0"]),
                "what was deployed to test with success beside 1.0 was gone back from: 2.1 and 2.0",
            ),
        ];
        for (nothing, others, why) in table {
            assert_eq!(
                none_before("shop", "test", "1.0", nothing, &others),
                format!("there is no release to go back to: {why}")
            );
        }
    }
}
