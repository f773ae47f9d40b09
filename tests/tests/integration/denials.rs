//! Agents whose word is against what the server knows: it does not believe them, and is not stuck.

use std::time::Duration;

use mantle::api::body::{TaskDetail, TaskState, WorkState};
use mantle_shared::JournalId;
use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, AttemptPosition, AttemptReport, Level, Message, Outcome, Record,
    RecordBody, Records, ReportedState, StartAttempt, Stream,
};
use mantle_shared::uuid::Uuid;
use mantle_tests::World;

use crate::rig::{Home, LinkAgent, SOON, Server, patient, succeeded};
use crate::trust::ONE_STEP;

/// Longer than the wait before an attempt that was not started is ordered anew.
const LONGER_THAN_A_BACKOFF: Duration = Duration::from_secs(4);

fn journal(number: u128) -> JournalId {
    JournalId::from_uuid(Uuid::from_u128(number))
}

fn line(text: &str) -> Record {
    Record {
        at_us: 1,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: text.to_owned(),
        },
    }
}

fn not_started() -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::NotStarted,
        exit_code: None,
        message: "nothing was run".to_owned(),
        ..succeeded()
    }
}

/// A server with one project for one agent.
async fn a_server(world: &World) -> (Server, Home) {
    let server = Server::start(world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    (server, home)
}

/// An order that arrived and was not answered.
async fn ordered(server: &Server, home: &Home, agent: &mut LinkAgent) -> (String, StartAttempt) {
    server.online(home.agent, true).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    (task, start)
}

/// The agent is told that the end is stored, and nothing else is ordered.
async fn end_is_stored(agent: &mut LinkAgent, start: &StartAttempt) {
    loop {
        match agent.message().await {
            Message::Ack(ack) => {
                let stored = |position: &AttemptPosition| {
                    position.attempt == start.attempt && position.end_stored
                };
                if ack.positions.iter().any(stored) {
                    break;
                }
            }
            other => panic!("{} in the place of an acknowledgement", other.name()),
        }
    }
    let event = agent.event_within(LONGER_THAN_A_BACKOFF).await;
    assert!(event.is_none(), "{event:?}");
}

fn assert_unknown(over: &TaskDetail, why: &str) {
    assert_eq!(over.task.state, TaskState::Failed, "{over:?}");
    let action = &over.steps[0].targets[0].actions[0];
    assert_eq!(action.state, WorkState::Unknown, "{action:?}");
    assert_eq!(action.attempts, 1, "{action:?}");
    assert!(action.message.contains(why), "{action:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_lines_are_stored_cannot_be_denied() {
    let world = World::new();
    let (server, home) = a_server(&world).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    let (task, start) = ordered(&server, &home, &mut agent).await;
    agent.accept(&start).await;
    let attempt = start.attempt;
    let records = Records {
        attempt,
        first_seq: 0,
        records: vec![line("one"), line("two")],
    };
    let end = not_started();
    let reports = vec![records.into(), AttemptEnded { attempt, end }.into()];
    agent.report(attempt, reports).await;
    let over = server.over(&task, SOON).await;
    assert_unknown(&over, "2 records of the step are stored");
    assert_eq!(server.lines(&task).await, ["one", "two"]);
    end_is_stored(&mut agent, &start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_reported_as_running_cannot_be_denied() {
    let world = World::new();
    let (server, home) = a_server(&world).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    let (task, start) = ordered(&server, &home, &mut agent).await;
    drop(agent);
    let mut agent = LinkAgent::start(&home, patient());
    let report = AttemptReport {
        attempt: start.attempt,
        task: start.task,
        epoch: start.epoch,
        state: ReportedState::Running,
        records: 0,
    };
    agent.resync(vec![report]).await;
    server.action_is(&task, WorkState::Running).await;
    let (attempt, end) = (start.attempt, not_started());
    agent
        .report(attempt, vec![AttemptEnded { attempt, end }.into()])
        .await;
    let over = server.over(&task, SOON).await;
    assert_unknown(&over, "it had reported the running step");
    end_is_stored(&mut agent, &start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_order_is_repeated_under_the_same_journal_and_under_no_other() {
    let world = World::new();
    let (server, home) = a_server(&world).await;
    let mut agent = LinkAgent::connect_under(&home, patient(), journal(1)).await;
    let (task, start) = ordered(&server, &home, &mut agent).await;
    drop(agent);
    let mut agent = LinkAgent::connect_under(&home, patient(), journal(1)).await;
    let again = agent.order().await;
    assert_eq!(again.attempt, start.attempt);
    assert_eq!(again.order, start.order, "the same order, byte for byte");
    drop(agent);

    let mut agent = LinkAgent::connect_under(&home, patient(), journal(2)).await;
    let over = server.over(&task, SOON).await;
    assert_unknown(&over, "lost the journal");
    let event = agent.event_within(LONGER_THAN_A_BACKOFF).await;
    assert!(event.is_none(), "nothing is ordered again: {event:?}");
    // Under the journal that it has now it is as good as any.
    let next = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    agent.succeed(start.attempt).await;
    server.succeeds(&next, SOON).await;
}
