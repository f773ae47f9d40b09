//! What the use cases tell the orchestrator are hints: each may be lost, and what it told of stands in
//! the database, where it is found soon.

use std::time::Duration;

use mantle::api::body::{InterruptionAnswer, LockBreak, TaskResolve, TaskState, WorkState};
use mantle_shared::AttemptId;
use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, CancelAnswer, CancelAttempt, CancelResult, Message, Outcome,
};
use mantle_tests::World;
use mantle_tests::wait::wait_for;

use crate::rig::{LinkAgent, SOON, Server, patient, succeeded};
use crate::trust::ONE_STEP;

/// Within so long everything is found of which nobody was told.
const FOUND: Duration = Duration::from_secs(5);

const ASKS_FIRST: &str = "process:
  - { step: Sign, uses: manual, with: { instructions: 'May it?' } }
  - step: Work
    targets: { tag: web }
    uses: script
    with: { run: 'true' }
";

/// What comes of something of which no hint came through.
async fn found<T>(what: &str, comes: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(FOUND, comes).await;
    in_time.unwrap_or_else(|_| panic!("{what} was not found within {FOUND:?}"))
}

/// A server that hears no hint, and an agent.
async fn deaf(world: &World) -> (Server, LinkAgent) {
    let server = Server::start_deaf(world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    (server, agent)
}

async fn asked_to_cancel(agent: &mut LinkAgent) -> CancelAttempt {
    loop {
        if let Message::CancelAttempt(cancel) = agent.message().await {
            return cancel;
        }
    }
}

/// Says of an attempt that it could not be stopped, so that it keeps its locks.
async fn abandons(agent: &LinkAgent, attempt: AttemptId) {
    let end = AttemptEnd {
        outcome: Outcome::Abandoned,
        exit_code: None,
        ..succeeded()
    };
    let ended = AttemptEnded { attempt, end };
    agent.report(attempt, vec![ended.into()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s71_a_task_an_answer_and_a_cancel_of_which_no_hint_came_are_found_in_five_seconds() {
    let world = World::new();
    let (server, mut agent) = deaf(&world).await;
    server.project("shop", ASKS_FIRST).await;
    let task = server.deploy("shop").await;
    let asks = wait_for("it asks", SOON, || async {
        let asked = server.services.interruption_show(&server.caller, &task);
        asked.await.map_err(|error| format!("{error:?}"))
    });
    let asked = found("a queued task", asks).await;

    let yes = InterruptionAnswer {
        answer: "proceed".to_owned(),
        notes: String::new(),
    };
    let answered = server
        .services
        .interruption_answer(&server.caller, &asked.id, &yes);
    answered.await.unwrap();
    let start = found("an answer", agent.order()).await;
    agent.accept(&start).await;

    let cancelled = server.services.task_cancel(&server.caller, &task).await;
    cancelled.unwrap();
    let cancel = found("a cancel", asked_to_cancel(&mut agent)).await;
    let (request, attempt) = (cancel.request, cancel.attempt);
    let result = CancelResult::Voided;
    agent
        .say(CancelAnswer {
            request,
            attempt,
            result,
        })
        .await;
    let over = server.over(&task, SOON).await;
    assert_eq!(over.task.state, TaskState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s71_what_frees_a_lock_without_a_hint_is_found_in_five_seconds() {
    let world = World::new();
    let (server, mut agent) = deaf(&world).await;
    for project in ["first", "second", "third"] {
        server.project(project, ONE_STEP).await;
    }
    let first = server.deploy("first").await;
    let start = found("a queued task", agent.order()).await;
    agent.accept(&start).await;
    abandons(&agent, start.attempt).await;
    let over = server.over(&first, SOON).await;
    assert_eq!(over.task.state, TaskState::Failed);

    // That step has the target's lock still; then a person says how it ended.
    let second = server.deploy("second").await;
    let waits = server.action_is(&second, WorkState::Waiting);
    found("a queued task", waits).await;
    let request = TaskResolve {
        ended: "failed".to_owned(),
        reason: "looked".to_owned(),
        target: None,
    };
    let resolved = server
        .services
        .task_resolve(&server.caller, &first, &request);
    resolved.await.unwrap();
    let start = found("a resolution", agent.order()).await;
    agent.accept(&start).await;
    abandons(&agent, start.attempt).await;
    server.over(&second, SOON).await;

    let third = server.deploy("third").await;
    let waits = server.action_is(&third, WorkState::Waiting);
    found("a queued task", waits).await;
    let request = LockBreak {
        target: "web01".to_owned(),
        lock: "target".to_owned(),
        reason: "looked".to_owned(),
    };
    let broken = server.services.lock_break(&server.caller, &request).await;
    assert_eq!(broken.unwrap().len(), 1);
    let start = found("a broken lock", agent.order()).await;
    agent.accept(&start).await;
    agent.succeed(start.attempt).await;
    server.succeeds(&third, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s71_a_revocation_of_which_no_hint_came_is_found_in_five_seconds() {
    let world = World::new();
    let (server, mut agent) = deaf(&world).await;
    server.project("shop", ONE_STEP).await;
    let task = server.deploy("shop").await;
    let start = found("a queued task", agent.order()).await;
    agent.accept(&start).await;
    server.action_is(&task, WorkState::Running).await;
    let revoked = server.services.agent_revoke(&server.caller, "web01").await;
    revoked.unwrap();
    let over = found("a revocation", server.over(&task, SOON)).await;
    assert_eq!(over.task.state, TaskState::Failed);
    let action = &over.steps[0].targets[0].actions[0];
    assert_eq!(action.state, WorkState::Unknown, "{action:?}");
}
