//! What is shown of deployments and targets where nobody folds events, kept current with them.

use std::collections::BTreeMap;

use mantle_domain::plan::{NO_TARGET, PlanBefore, Ran};
use mantle_domain::state::{State, StepState, SubjectState, Verdict, put_back};
use mantle_shared::ids::TargetId;
use serde_json::json;

use super::active::{About, Context, Deploys};
use super::commit::{audit_own, moment};
use super::health;
use crate::services::progress::progress_after_success;
use crate::store::{
    DeploymentCurrentRow, DeploymentSucceeded, StoreError, TargetCurrentRow, TargetState,
    TaskOutcome, TaskState, Tx, deployment_current_list, deployment_current_show, release_fetch,
    target_current_show, task_exists, task_fetch, task_mark_done,
};

/// A deployment is over: its task, the dashboard, its targets, the audit trail, and what its
/// success leads to.
pub(super) async fn finish(
    tx: &mut Tx,
    context: &Context,
    epoch: u64,
    next: &State,
    verdict: Verdict,
    message: &str,
    now_us: i64,
) -> Result<(), StoreError> {
    let outcome = match verdict {
        Verdict::Succeeded => TaskOutcome::Succeeded,
        Verdict::Failed => TaskOutcome::Failed,
        Verdict::Cancelled => TaskOutcome::Cancelled,
        Verdict::TimedOut => TaskOutcome::TimedOut,
    };
    task_mark_done(tx, context.task, epoch, outcome, now_us).await?;
    let detail = json!({ "outcome": outcome.word(), "message": message });
    audit_own(tx, context, "finish", detail, now_us).await?;
    match &context.about {
        About::Deployment(deploys) => {
            finish_deployment(tx, (context, deploys), next, outcome, now_us).await
        }
        About::HealthCheck(checks) => health::finish(tx, context, checks, now_us).await,
    }
}

async fn finish_deployment(
    tx: &mut Tx,
    (context, deploys): (&Context, &Deploys),
    next: &State,
    outcome: TaskOutcome,
    now_us: i64,
) -> Result<(), StoreError> {
    show_current(tx, context, TaskState::Done, Some(outcome), now_us).await?;
    let back = put_back(next);
    for (target, failed) in subjects(next) {
        if let Some(before) = back.get(&target)
            && show_again(tx, deploys, before, now_us).await?
        {
            continue;
        }
        let state = if failed {
            TargetState::Failed
        } else {
            TargetState::Deployed
        };
        show_target(tx, context, target, state, now_us).await?;
    }
    match outcome {
        TaskOutcome::Succeeded => {
            // The success may have passed a phase; what enters by itself is queued with it.
            let release = release_fetch(tx, deploys.release_id).await?;
            let environment = &deploys.environment;
            let (number, now) = (&context.number, moment(now_us));
            progress_after_success(tx, &release, environment, number, now).await?;
        }
        TaskOutcome::Failed
        | TaskOutcome::TimedOut
        | TaskOutcome::Cancelled
        | TaskOutcome::Unknown => {}
    }
    Ok(())
}

/// The targets that were touched, and whether something about them failed.
fn subjects(state: &State) -> BTreeMap<TargetId, bool> {
    let mut subjects = BTreeMap::new();
    for step in state.steps.iter().filter_map(StepState::subjects) {
        for (target, subject) in step {
            let failed = match subject {
                SubjectState::Active { failed, .. } | SubjectState::Done { failed, .. } => *failed,
                SubjectState::PassedOver { .. } => continue,
            };
            let failed = failed || state.excluded.contains_key(target);
            *subjects.entry(*target).or_insert(false) |= failed;
        }
    }
    subjects
}

/// Of a task that is no deployment no dashboard shows anything.
pub(super) async fn show_current(
    tx: &mut Tx,
    context: &Context,
    state: TaskState,
    outcome: Option<TaskOutcome>,
    now_us: i64,
) -> Result<(), StoreError> {
    let About::Deployment(deploys) = &context.about else {
        return Ok(());
    };
    let has_warnings = task_fetch(tx, context.task).await?.has_warnings;
    let before = deployment_current_list(tx, Some(deploys.project_id)).await?;
    let before = before
        .into_iter()
        .find(|row| row.environment_id == deploys.environment_id);
    let succeeded = if outcome == Some(TaskOutcome::Succeeded) {
        Some(DeploymentSucceeded {
            task_id: context.task,
            release_id: deploys.release_id,
            release_version: deploys.version.clone(),
            at_us: now_us,
        })
    } else {
        before.and_then(|row| row.succeeded)
    };
    deployment_current_show(
        tx,
        &DeploymentCurrentRow {
            project_id: deploys.project_id,
            environment_id: deploys.environment_id,
            task_id: context.task,
            release_id: deploys.release_id,
            release_version: deploys.version.clone(),
            state,
            outcome,
            has_warnings,
            changed_at_us: now_us,
            succeeded,
        },
    )
    .await
}

/// A target was put back: what ran there before does again. Not if that was deleted meanwhile.
async fn show_again(
    tx: &mut Tx,
    deploys: &Deploys,
    before: &PlanBefore,
    now_us: i64,
) -> Result<bool, StoreError> {
    let known = match release_fetch(tx, before.release).await {
        Ok(_) => task_exists(tx, before.task).await?,
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => return Err(error),
    };
    if !known {
        return Ok(false);
    }
    let row = TargetCurrentRow {
        target_id: before.target,
        project_id: deploys.project_id,
        environment_id: deploys.environment_id,
        task_id: before.task,
        release_id: before.release,
        release_version: before.version.clone(),
        state: match before.ran {
            Ran::Whole => TargetState::Deployed,
            Ran::InPart => TargetState::Failed,
        },
        changed_at_us: now_us,
    };
    target_current_show(tx, &row).await.map(|_| true)
}

pub(super) async fn show_target(
    tx: &mut Tx,
    context: &Context,
    target: TargetId,
    state: TargetState,
    now_us: i64,
) -> Result<(), StoreError> {
    let About::Deployment(deploys) = &context.about else {
        return Ok(());
    };
    if target == NO_TARGET {
        return Ok(());
    }
    let row = TargetCurrentRow {
        target_id: target,
        project_id: deploys.project_id,
        environment_id: deploys.environment_id,
        task_id: context.task,
        release_id: deploys.release_id,
        release_version: deploys.version.clone(),
        state,
        changed_at_us: now_us,
    };
    // If the target was removed meanwhile there is nothing to show of it.
    target_current_show(tx, &row).await.map(|_| ())
}
