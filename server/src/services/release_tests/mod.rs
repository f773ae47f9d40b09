//! What becomes of a release after it was made: blocks, other variables, comparisons, deployments
//! that its lifecycle queues, retention.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use mantle_domain::ids::TaskId;
use mantle_shared::protocol::{Level, Record, RecordBody, Stream};

use super::progress::{NewDeployment, Queued, progress_after_success, queue};
use super::testing::{House, INFRASTRUCTURE, PROJECT, a_house, a_reader};
use super::{Error, mint, names};
use crate::api::body::{
    DeploymentCreate, RefreshVariables, ReleaseCreate, ReleaseDetail, RevertVariables, SecretSet,
};
use crate::store::{
    NodeId, TaskFilter, TaskOutcome, TaskState, log_append_server, log_read, retired_task_list,
    task_fetch, task_lease_take, task_list, task_mark_done, task_mark_started,
};

const AUTOMATIC: &str = "{ name: Test, environments: [test], deploy: automatic }";

mod answered;
mod contents;
mod course;
mod in_use;
mod making;
mod plans;
mod reference;
mod retention;
mod scans;
mod upkeep;

/// A house with the shop in it.
async fn a_shop(infrastructure: &str, project: &str) -> House {
    let house = a_house().await;
    house.apply(infrastructure, false).await.unwrap();
    house.apply(project, false).await.unwrap();
    house
}

fn automatic() -> String {
    INFRASTRUCTURE
        .replace("{ name: Test, environments: [test] }", AUTOMATIC)
        .replace(
            "{ name: Production, environments: [production] }",
            "{ name: Production, environments: [production], deploy: automatic }",
        )
}

async fn released(house: &House, version: &str) -> ReleaseDetail {
    let request = ReleaseCreate {
        version: Some(version.to_owned()),
        ..ReleaseCreate::default()
    };
    let made = house
        .services
        .release_create(&house.admin, "shop", &request)
        .await;
    made.unwrap()
}

/// Queues a deployment as if agents were there, and drives it to its end.
async fn deployed(house: &House, version: &str, environment: &str, outcome: TaskOutcome) -> Queued {
    let mut tx = house.services.store.begin().await.unwrap();
    let project = names::project(&mut tx, "shop").await.unwrap();
    let release = names::release(&mut tx, &project, version).await.unwrap();
    let place = names::environment(&mut tx, environment).await.unwrap();
    let new = NewDeployment {
        project: &project,
        release: &release,
        environment: (place.id, &place.name),
        unanswered: release.variables,
        variables: release.variables,
        answers: std::collections::BTreeMap::new(),
        options: mantle_domain::planner::PlanOptions::default(),
        plan: None,
        priority: mantle_domain::queue::Priority::Normal,
        window: mantle_domain::queue::schedule::Window::default(),
        back_from: None,
        by: "ada",
        comment: String::new(),
        fields: std::collections::BTreeMap::new(),
        given: std::collections::BTreeMap::new(),
    };
    let id = TaskId::from_uuid(mint());
    let queued = queue(&mut tx, id, new, now_us()).await.unwrap();
    tx.commit().await.unwrap();
    ended(house, &queued, outcome).await;
    queued
}

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

/// The end of a deployment, written as the orchestrator writes it.
async fn ended(house: &House, queued: &Queued, outcome: TaskOutcome) -> Vec<Queued> {
    let node = NodeId::from_uuid(mint());
    let lease = std::time::Duration::from_mins(1);
    let mut tx = house.services.store.begin().await.unwrap();
    let lease = task_lease_take(&mut tx, queued.task, node, lease)
        .await
        .unwrap();
    task_mark_started(&mut tx, queued.task, lease.epoch, now_us())
        .await
        .unwrap();
    task_mark_done(&mut tx, queued.task, lease.epoch, outcome, now_us())
        .await
        .unwrap();
    let row = task_fetch(&mut tx, queued.task).await.unwrap();
    let release = crate::store::release_fetch(&mut tx, row.release_id.unwrap())
        .await
        .unwrap();
    let shown = crate::store::DeploymentCurrentRow {
        project_id: row.project_id.unwrap(),
        environment_id: row.environment_id.unwrap(),
        task_id: row.id,
        release_id: release.id,
        release_version: release.version.clone(),
        state: TaskState::Done,
        outcome: Some(outcome),
        has_warnings: false,
        changed_at_us: now_us(),
        succeeded: None,
    };
    crate::store::deployment_current_show(&mut tx, &shown)
        .await
        .unwrap();
    let next = if outcome == TaskOutcome::Succeeded {
        let now = Timestamp::now();
        let environment = &queued.environment;
        progress_after_success(&mut tx, &release, environment, &queued.number, now)
            .await
            .unwrap()
    } else {
        Vec::new()
    };
    tx.commit().await.unwrap();
    next
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::Refused { code, .. } | Error::Invalid { code, .. } => code,
        Error::Missing { .. } => "missing",
        Error::NotFound { .. } => "not-found",
        Error::Forbidden { .. } => "forbidden",
        other => panic!("{other:?}"),
    }
}

fn to(version: &str, environment: &str) -> DeploymentCreate {
    DeploymentCreate {
        project: "shop".to_owned(),
        version: Some(version.to_owned()),
        environment: environment.to_owned(),
        ..DeploymentCreate::default()
    }
}

async fn actions(house: &House) -> Vec<(String, String, String)> {
    let trail = house
        .services
        .audit_list(&house.admin, None, 500)
        .await
        .unwrap();
    let rows = trail.items.into_iter();
    rows.map(|row| (row.actor, row.action, row.subject))
        .collect()
}
