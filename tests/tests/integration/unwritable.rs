//! What the database refuses, has lost or was never told of: it stops no other deployment, and of
//! its own it says no more than is known.

use std::time::{Duration, Instant};

use mantle::api::body::{SecretSet, TaskDetail, TaskState, WorkState};
use mantle::services::Error;
use mantle::store::{
    agent_mark_revoked, secret_version_list_other_key, secret_version_reseal, target_delete,
    target_find, task_lease_clear,
};
use mantle_shared::protocol::{
    AttemptReport, CancelAnswer, CancelAttempt, CancelResult, Message, ReportedState,
};
use mantle_tests::World;

use crate::rig::{LinkAgent, SOON, Server, patient, succeeded};
use crate::trust::ONE_STEP;

/// One target after the other.
const ROLLING: &str = "process:
  - step: Work
    targets: { tag: web }
    rolling: { window: 1 }
    actions:
      - { action: Try, uses: script, with: { run: 'true' } }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_ended_while_its_answer_was_lost_is_not_ordered_again() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    server.project("shop", ONE_STEP).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;

    // The answer never arrives; when the agent is back, all is over.
    drop(agent);
    let mut agent = LinkAgent::start(&home, patient());
    let report = AttemptReport {
        attempt: start.attempt,
        task: start.task,
        epoch: start.epoch,
        state: ReportedState::Ended(succeeded()),
        records: 0,
    };
    agent.resync(vec![report]).await;
    server.action_is(&task, WorkState::Running).await;
    agent.succeed(start.attempt).await;
    let next = agent.message().await;
    assert!(matches!(next, Message::Ack(_)), "{next:?}");
    server.succeeds(&task, SOON).await;
}

fn only_action(task: &TaskDetail) -> (WorkState, String) {
    let action = &task.steps[0].targets[0].actions[0];
    (action.state, format!("{action:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_left_and_cannot_be_made_again_is_not_called_unstarted() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    let value = "hunter2".to_owned();
    let set = server
        .services
        .secret_set(&server.caller, "db/password", SecretSet { value });
    set.await.unwrap();
    server
        .project(
            "shop",
            "variables:
  Password: { secret: db/password }
process:
  - step: Work
    targets: { tag: web }
    uses: script
    retries: { count: 2 }
    with: { run: 'echo #{Password}' }
",
        )
        .await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;

    // It may run there; here its secret can be opened no more.
    drop(agent);
    server.online(home.agent, false).await;
    server
        .store
        .write(async |tx| {
            for row in secret_version_list_other_key(tx, 0, 10).await? {
                secret_version_reseal(tx, row.id, row.key_id, row.key_id, b"damaged").await?;
            }
            Ok::<_, mantle::store::StoreError>(())
        })
        .await
        .unwrap();
    let mut agent = LinkAgent::connect(&home, patient()).await;
    let over = server.over(&task, SOON).await;
    assert_eq!(over.task.state, TaskState::Failed);
    let (state, shown) = only_action(&over);
    assert_eq!(state, WorkState::Unknown, "{shown}");
    assert!(shown.contains("cannot be sent again"), "{shown}");

    // Its word is kept all the same.
    agent.succeed(start.attempt).await;
    let next = agent.message().await;
    assert!(matches!(next, Message::Ack(_)), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_which_no_hint_came_is_found() {
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
    server
        .store
        .write(async |tx| agent_mark_revoked(tx, home.agent, 1).await)
        .await
        .unwrap();
    let over = server.over(&task, SOON).await;
    assert_eq!(over.task.state, TaskState::Failed);
    let (_, shown) = only_action(&over);
    assert!(shown.contains("revoked"), "{shown}");
}

async fn asked_to_cancel(agent: &mut LinkAgent) -> CancelAttempt {
    loop {
        if let Message::CancelAttempt(cancel) = agent.message().await {
            return cancel;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_cannot_write_down_a_cancel_is_asked_again_in_a_while() {
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
    let cancelled = server.services.task_cancel(&server.caller, &task).await;
    cancelled.unwrap();
    let answer = |cancel: &CancelAttempt, result| CancelAnswer {
        request: cancel.request,
        attempt: cancel.attempt,
        result,
    };
    let first = asked_to_cancel(&mut agent).await;
    agent.say(answer(&first, CancelResult::Failed)).await;
    let second = asked_to_cancel(&mut agent).await;
    let since = Instant::now();
    agent.say(answer(&second, CancelResult::Failed)).await;
    let third = asked_to_cancel(&mut agent).await;
    assert!(since.elapsed() > Duration::from_secs(1), "{since:?}");
    agent.say(answer(&third, CancelResult::Voided)).await;
    let over = server.over(&task, SOON).await;
    assert_eq!(over.task.state, TaskState::Cancelled);
}
