//! Which variable snapshot of a release runs where: a release that was given other variables does not
//! bring them anywhere before it is deployed again.

use mantle_domain::ids::TaskId;
use mantle_shared::Digest;

use super::declared::read;
use super::error::Result;
use super::{DeploymentOrder, names};
use crate::api::body::{OlderVariables, OlderVariablesIn, ReleaseDetail};
use crate::store::{
    ProjectRow, ReleaseRow, ReleaseVariablesRow, Tx, deployment_current_list,
    release_variables_list, task_fetch,
};

/// The snapshot that a deployment used of its release, if that has another one now. `None` also where
/// it cannot be told.
pub(super) async fn older_variables(
    tx: &mut Tx,
    release: &ReleaseRow,
    task: TaskId,
) -> Result<Option<OlderVariables>> {
    // It has never had others.
    if release.variables_number < 2 {
        return Ok(None);
    }
    let body = task_fetch(tx, task).await?.body;
    let order: DeploymentOrder = read("reading what a task asks", &body)?;
    let history = release_variables_list(tx, release.id).await?;
    let used = snapshot_used(&order, &history);
    let used = used.filter(|used| used.digest != release.variables);
    Ok(used.map(|used| OlderVariables {
        used: used.number,
        now: release.variables_number,
    }))
}

/// The environments where a release runs with an older snapshot of its variables.
pub(super) async fn older_in(
    tx: &mut Tx,
    project: &ProjectRow,
    row: &ReleaseRow,
) -> Result<Vec<OlderVariablesIn>> {
    let known = names::environment_names(tx).await?;
    let mut found = Vec::new();
    for current in deployment_current_list(tx, Some(project.id)).await? {
        let here = current.succeeded.filter(|one| one.release_id == row.id);
        let (Some(here), Some(name)) = (here, known.get(&current.environment_id)) else {
            continue;
        };
        if let Some(variables) = older_variables(tx, row, here.task_id).await? {
            found.push(OlderVariablesIn {
                environment: name.clone(),
                variables,
            });
        }
    }
    Ok(found)
}

/// The same in sentences.
pub(super) fn older_warnings(detail: &ReleaseDetail) -> Vec<String> {
    let (project, version) = (&detail.release.project, &detail.release.version);
    let older = detail.older_variables.iter();
    older
        .map(|one| {
            let OlderVariablesIn {
                environment,
                variables: OlderVariables { used, now },
            } = one;
            format!(
                "it runs in {environment} with its variable snapshot {used} and has snapshot {now} now: 'mantle deploy {project} {version} -e {environment}' brings that there"
            )
        })
        .collect()
}

/// The entry of the history, newest first, that a deployment was made with. With answers to prompts in
/// it its variables are in no history; then it is the one that the release had, unless it went back to
/// those of an earlier deployment.
fn snapshot_used<'a>(
    order: &DeploymentOrder,
    history: &'a [ReleaseVariablesRow],
) -> Option<&'a ReleaseVariablesRow> {
    let entry = |digest: Option<Digest>| {
        let digest = digest?;
        history.iter().find(|entry| entry.digest == digest)
    };
    let own = order
        .release_variables
        .filter(|_| order.back_from.is_none());
    entry(order.variables).or_else(|| entry(own))
}

#[cfg(test)]
mod tests {
    use mantle_domain::ids::ReleaseId;

    use super::*;

    #[test]
    fn the_snapshot_is_the_one_of_the_deployment_or_of_its_release() {
        let entry = |number: u64| ReleaseVariablesRow {
            number,
            digest: Digest::of(&number.to_be_bytes()),
            changed_at_us: 0,
            changed_by: String::new(),
            reason: String::new(),
        };
        let history = [entry(3), entry(2), entry(1)];
        let digest = |number: u64| Some(entry(number).digest);
        let back = Some(ReleaseId::from_uuid(super::super::mint()));
        for (variables, of_release, back_from, number) in [
            (digest(2), None, None, Some(2)),
            // With answers in it.
            (digest(9), digest(1), None, Some(1)),
            // Back to an earlier deployment with the release's own, and with answers.
            (digest(1), digest(3), back, Some(1)),
            (digest(9), digest(3), back, None),
            // A task from before it was noted.
            (None, None, None, None),
        ] {
            let order = DeploymentOrder {
                variables,
                release_variables: of_release,
                back_from,
                ..DeploymentOrder::default()
            };
            let found = snapshot_used(&order, &history).map(|entry| entry.number);
            assert_eq!(found, number, "{order:?}");
        }
    }
}
