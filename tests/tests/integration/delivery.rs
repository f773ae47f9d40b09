//! What is asked of agents and what they answer: S15 to S18.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mantle::api::body::WorkState;
use mantle::gateway::Timing;
use mantle_shared::protocol::{
    AcquireAnswer, AcquireResult, CancelAnswer, CancelResult, Echo, EchoAnswer, Message,
    StartAnswer, StartAttempt, StartResult,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, TaskId};
use mantle_tests::proxy::{Direction, Proxy};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Effects, World, sabotage};

use crate::records::asked_again;
use crate::rig::{Control, FullAgent, LinkAgent, Peer, SOON, Server, hasty, patient};
use crate::trust::ONE_STEP;

/// An order as large as this, with nothing in it that an agent could run.
pub fn blank(request: u64, bytes: usize) -> StartAttempt {
    StartAttempt {
        request,
        deadline_ms: 60_000,
        epoch: 1,
        task: TaskId::from_uuid(Uuid::from_u128(1)),
        attempt: AttemptId::from_uuid(Uuid::from_u128(request.into())),
        order: vec![b' '; bytes],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_of_two_collectors_exactly_one_gets_a_request() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let one = Peer::agent(&home, server.addr).await;
    let both_may = sabotage::is_on("two-agents");
    let other = if both_may {
        server.enrol("web02", &["web"], server.addr).await
    } else {
        home.clone()
    };
    let two = Peer::agent(&other, server.addr).await;
    // Both are taken in at the same time, or as near as can be.
    let (first, second) = tokio::join!(
        Control::try_greet(&one.connection),
        Control::try_greet(&two.connection)
    );
    if !both_may {
        wait_until("one of them is sent away", SOON, || {
            one.connection.close_reason().is_some() != two.connection.close_reason().is_some()
        })
        .await;
    }
    server.online(home.agent, true).await;
    server.deploy("shop").await;
    if !both_may {
        assert_eq!(server.sessions.count(), 1);
    }
    let mut got = 0;
    for (peer, control) in [(&one, first), (&two, second)] {
        if peer.connection.close_reason().is_some() {
            continue;
        }
        let mut control = control.expect("who stays was taken in");
        assert!(matches!(control.message().await, Message::StartAttempt(_)));
        got += 1;
    }
    let ends = [one.connection.close_reason(), two.connection.close_reason()];
    assert_eq!(got, 1, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s16_requests_reach_an_agent_in_their_order() {
    const REQUESTS: u64 = 300;
    let world = World::new();
    let server = Server::start(&world).await;
    let proxy = Proxy::start(server.addr, 16).unwrap();
    let home = server.enrol("web01", &[], proxy.addr()).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    let session = server.sessions.current(home.agent).unwrap();
    // A line on which packets overtake each other and go missing.
    proxy.reorder(0.2);
    proxy.loss(0.02);
    for n in 0..REQUESTS {
        let n = match n {
            7 if sabotage::is_on("requests-swapped") => 8,
            n => n,
        };
        // Of every size, so that they end anywhere in a packet.
        let size = usize::try_from(n * 37 % 2000).unwrap();
        assert!(
            server
                .sessions
                .send(home.agent, session, blank(n, size).into())
        );
    }
    for n in 0..REQUESTS {
        assert_eq!(agent.order().await.request, n);
    }
    assert!(proxy.counts(Direction::ToClient).reordered > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s17_answers_to_unknown_requests_are_ignored_and_counted() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    let attempt = AttemptId::from_uuid(Uuid::from_u128(17));
    let task = TaskId::from_uuid(Uuid::from_u128(18));
    if !sabotage::is_on("no-stray-answers") {
        agent
            .say(StartAnswer {
                request: 1,
                attempt,
                result: StartResult::Accepted,
            })
            .await;
        agent
            .say(CancelAnswer {
                request: 2,
                attempt,
                result: CancelResult::Voided,
            })
            .await;
        agent
            .say(AcquireAnswer {
                request: 3,
                task,
                result: AcquireResult::Acquired {
                    fetched_bytes: 1,
                    reused_bytes: 1,
                },
            })
            .await;
        agent
            .say(EchoAnswer {
                request: 4,
                payload: Vec::new(),
            })
            .await;
    }
    wait_until("all four are counted", SOON, || {
        server.counters.stray_answers.load(Ordering::SeqCst) == 4
    })
    .await;
    // The connection lives, and what is asked is answered on it.
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    // An answer that was given before is no news.
    agent.accept(&start).await;
    agent.succeed(start.attempt).await;
    server.succeeds(&task, SOON).await;
    assert_eq!(server.counters.welcomed.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s18_an_answer_lost_on_its_way_back_starts_nothing_again() {
    let world = World::new();
    let server = Server::start(&world).await;
    let proxy = Proxy::start(server.addr, 18).unwrap();
    let home = server.enrol("web01", &["web"], proxy.addr()).await;
    let effects = Effects::at(world.path("effects"));
    let start = effects.shell("start", "Work", "web01");
    // Larger than a packet, so that the order can be told from everything else that travels.
    let padding = "x".repeat(4000);
    server
        .project(
            "shop",
            &format!(
                "process:
  - step: Work
    targets: {{ tag: web }}
    uses: script
    with:
      run: |
        {start}
        echo one line
        : {padding}
"
            ),
        )
        .await;
    let agent = FullAgent::start(&home, hasty(Duration::from_secs(3)));
    server.online(home.agent, true).await;
    quiet(&proxy).await;
    if !sabotage::is_on("answer-kept") {
        proxy.lose_answer_to(Direction::ToClient, 1100);
    }
    let task = server.deploy("shop").await;
    // The order arrives, is answered and carried out; the server learns nothing of it.
    wait_until("the order is answered", SOON, || {
        agent.seen().answers.len() == 1
    })
    .await;
    wait_until("the script has run", SOON, || {
        effects.count("start", "Work", "web01") == 1
    })
    .await;
    wait_until("the connection is given up", SOON, || {
        agent.seen().ends.len() == 1
    })
    .await;
    server.online(home.agent, false).await;
    assert_ne!(
        server.task(&task).await.steps[0].targets[0].actions[0].state,
        WorkState::Succeeded
    );
    proxy.pass();

    let over = server.succeeds(&task, SOON).await;
    assert_eq!(over.steps[0].targets[0].actions[0].attempts, 1);
    // The resync told what the answer would have; an order that is repeated all the same, byte for
    // byte, gets the recorded end and starts nothing.
    let order = agent.seen().starts[0].clone();
    let end = asked_again(&server, &home, &agent, &order).await;
    assert_eq!(end.exit_code, Some(0));
    let seen = agent.seen();
    assert_eq!((seen.starts.len(), seen.answers.len()), (2, 2), "{seen:?}");
    assert_eq!(seen.answers[0].result, StartResult::Accepted);
    effects.assert_each_once([("Work", "web01")]);
    let lines = server.lines(&task).await;
    assert_eq!(lines.iter().filter(|l| *l == "one line").count(), 1);
    agent.stop().await;
}

/// Waits until a connection has nothing more to say for the moment (such as probes of the path,
/// which are as large as an order).
async fn quiet(proxy: &Proxy) {
    let mut before = proxy.counts(Direction::ToClient);
    let mut same = 0;
    wait_for("the line is quiet", SOON, || {
        let now = proxy.counts(Direction::ToClient);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        let quiet = same >= 12;
        async move { quiet.then_some(()).ok_or_else(|| format!("{now:?}")) }
    })
    .await;
}

/// Asks for a round trip over the control stream and waits for it.
pub async fn echo(agent: &mut LinkAgent, payload: Vec<u8>) {
    let request = 4711;
    let length = payload.len();
    agent.say(Echo { request, payload }).await;
    match agent.message().await {
        Message::EchoAnswer(answer) => assert_eq!(answer.payload.len(), length),
        other => panic!("{} in the place of an echo", other.name()),
    }
}

/// A server that forgets about agents as soon as it may.
pub fn watchful(idle: Duration) -> Timing {
    Timing {
        idle,
        ..Timing::default()
    }
}
