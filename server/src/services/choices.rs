//! What an operator chose for a deployment: from the words of a request to the planner's options.

use mantle_domain::file::duration;
use mantle_domain::planner::PlanOptions;
use mantle_domain::process::{Unavailable, Unhealthy};
use mantle_domain::state::{Attempt, Event, State, evolve, unsuccessful};

use super::error::{Error, Result};
use super::tasks::{number, read_events};
use super::{at, names, repeated};
use crate::api::body::{DeploymentChoices, UnavailableTargets, UnhealthyTargets};
use crate::store::{EnvironmentRow, ProjectRow, TaskRow, TaskState, Tx, resolution_list_of_task};

/// The planner's options. What is chosen by another deployment is looked up here, so that it is
/// fixed when it is asked for.
pub(super) async fn read(
    tx: &mut Tx,
    choices: &DeploymentChoices,
    project: &ProjectRow,
    environment: &EnvironmentRow,
    version: &str,
) -> Result<PlanOptions> {
    let mut options = PlanOptions {
        only_targets: choices.targets.iter().cloned().collect(),
        not_targets: choices.exclude.iter().cloned().collect(),
        skip_steps: choices.skip.iter().cloned().collect(),
        only_tags: choices.tags.iter().cloned().collect(),
        only_steps: choices.only.iter().cloned().collect(),
        unavailable: choices.unavailable.map(|policy| match policy {
            UnavailableTargets::Fail => Unavailable::Fail,
            UnavailableTargets::Skip => Unavailable::Skip,
        }),
        unhealthy: choices.unhealthy.map(|policy| match policy {
            UnhealthyTargets::Deploy => Unhealthy::Deploy,
            UnhealthyTargets::Skip => Unhealthy::Skip,
            UnhealthyTargets::Fail => Unhealthy::Fail,
        }),
        guided_failure: choices.guided_failure,
        time_limit_ms: choices.time_limit.as_deref().map(limit).transpose()?,
        ..PlanOptions::default()
    };
    if let Some(task) = &choices.failed_only_of {
        if !options.only_targets.is_empty() {
            return Err(Error::invalid(
                "choices-disagree",
                "both targets and the failed ones of a deployment are chosen",
                "give --target or --failed-only-of, and leave out what is not wanted with --exclude",
            ));
        }
        let (row, state) = repeats(tx, task, project, environment).await?;
        options.only_targets = failed_of(&row, &state)?;
        options.failed_in = Some(number(row.number));
        options.done_steps = repeated::done_steps(tx, &row, &state, version).await?;
    }
    Ok(options)
}

fn limit(text: &str) -> Result<u64> {
    let bad = |why: String| Error::invalid("bad-time-limit", why, "write it like 30m or 2h");
    match duration::parse(text) {
        Ok(0) => Err(bad("a deployment cannot end within no time".to_owned())),
        Ok(ms) => Ok(ms),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// How a deployment of this project into this environment went that is over.
async fn repeats(
    tx: &mut Tx,
    task: &str,
    project: &ProjectRow,
    environment: &EnvironmentRow,
) -> Result<(TaskRow, State)> {
    let row = names::task(tx, task).await?;
    let shown = number(row.number);
    if row.project_id != Some(project.id) || row.environment_id != Some(environment.id) {
        let (slug, name) = (&project.slug, &environment.name);
        return Err(Error::refused(
            "another-deployment",
            format!(
                "{shown} is no deployment of {slug} into {name}: it is '{}'",
                row.title
            ),
            format!("'mantle task list --project {slug}' shows those that are"),
        ));
    }
    match row.state {
        TaskState::Done => {}
        TaskState::Queued | TaskState::Running => {
            return Err(Error::refused(
                "task-not-over",
                format!("{shown} is not over, so which of its targets fail is not known"),
                format!("'mantle task wait {shown}' waits for its end"),
            ));
        }
    }
    let mut state = read_events(tx, row.id).await?.state().clone();
    // What was said a moment ago counts, though it is not among the events yet.
    for said in resolution_list_of_task(tx, row.id).await? {
        let attempt = state.attempts.get(&said.attempt_id);
        if attempt.is_some_and(Attempt::is_unresolved) {
            let resolved = Event::AttemptResolved {
                attempt: said.attempt_id,
                ended: said.ended,
                by: said.resolved_by,
                reason: said.reason,
                at: at(said.at_us),
            };
            evolve(&mut state, &resolved);
        }
    }
    Ok((row, state))
}

/// The targets that did not succeed in it.
fn failed_of(row: &TaskRow, state: &State) -> Result<std::collections::BTreeSet<String>> {
    let failed = unsuccessful(state);
    let shown = number(row.number);
    if failed.is_empty() {
        return Err(Error::refused(
            "nothing-failed",
            format!("no target failed in {shown}"),
            format!("'mantle task show {shown}' shows how it went"),
        ));
    }
    Ok(failed)
}
