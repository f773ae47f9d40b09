//! What the database refuses to take of one deployment stops no other, and is made good.

use mantle::api::body::WorkState;
use mantle::services::Error;
use mantle::store::{target_delete, target_find, task_lease_clear};
use mantle_shared::protocol::{AttemptReport, ReportedState};
use mantle_tests::World;

use crate::rig::{LinkAgent, SOON, Server, patient, succeeded};
use crate::trust::ONE_STEP;

/// One target after the other.
const ROLLING: &str = "process:
  - step: Work
    targets: { tag: web }
    rolling: { window: 1 }
    actions:
      - { action: work, uses: script, with: { run: 'true' } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_removed_during_a_deployment_stops_neither_it_nor_another() {
    let world = World::new();
    let server = Server::start(&world).await;
    let mut agents = Vec::new();
    for (name, tag) in [("web01", "web"), ("web02", "web"), ("api01", "api")] {
        let home = server.enrol(name, &[tag], server.addr).await;
        agents.push(LinkAgent::connect(&home, patient()).await);
        server.online(home.agent, true).await;
    }
    let [mut first, mut second, mut other] = agents.try_into().ok().unwrap();
    server.project("shop", ROLLING).await;
    server
        .project("api", &ONE_STEP.replace("tag: web", "tag: api"))
        .await;
    let task = server.deploy("shop").await;
    let start = first.order().await;
    first.accept(&start).await;

    // Its turn is still to come, and it stands in the plan.
    let removed = server.services.target_remove(&server.caller, "web02").await;
    let refused = removed.unwrap_err();
    assert!(
        matches!(&refused, Error::Refused { code: "target-busy", detail, .. } if detail.contains(&task)),
        "{refused:?}"
    );

    // Even if it goes.
    server
        .store
        .write(async |tx| {
            let row = target_find(tx, "web02").await?.unwrap();
            target_delete(tx, row.id).await
        })
        .await
        .unwrap();
    first.succeed(start.attempt).await;
    let start = second.order().await;
    second.accept(&start).await;

    let api = server.deploy("api").await;
    let order = other.order().await;
    other.succeed(order.attempt).await;
    server.succeeds(&api, SOON).await;

    second.succeed(start.attempt).await;
    server.succeeds(&task, SOON).await;
    server
        .services
        .target_remove(&server.caller, "web01")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_could_not_be_written_is_not_acknowledged_and_comes_again() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    server.project("shop", ONE_STEP).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    server.action_is(&task, WorkState::Running).await;

    // The lease is gone: the write that takes the end is refused.
    server
        .store
        .write(async |tx| task_lease_clear(tx).await)
        .await
        .unwrap();
    agent.succeed(start.attempt).await;
    agent.gone().await;
    let report = AttemptReport {
        attempt: start.attempt,
        task: start.task,
        epoch: start.epoch,
        state: ReportedState::Ended(succeeded()),
        records: 0,
    };
    let resynced = agent.resync(vec![report]).await;
    assert!(
        resynced.positions[0].known && !resynced.positions[0].end_stored,
        "{resynced:?}"
    );
    agent.succeed(start.attempt).await;
    server.succeeds(&task, SOON).await;
}
