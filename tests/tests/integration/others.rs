//! What one agent may not say of another or take of it: A21, A22.

use std::sync::atomic::Ordering;

use mantle::api::body::WorkState;
use mantle_shared::protocol::{
    AttemptEnded, AttemptReport, CancelAnswer, CancelResult, FetchObjects, Level, Message,
    ObjectRefusal, ObjectRequest, Record, RecordBody, Records, ReportedState, StartAnswer,
    StartRefusal, StartResult, Stream,
};
use mantle_shared::{AttemptId, Digest, TaskId};
use mantle_tests::World;
use mantle_tests::wait::{wait_for, wait_until};

use crate::rig::{Control, LinkAgent, Peer, SOON, Server, patient, succeeded};
use crate::trust::ONE_STEP;

/// A line that nobody's attempt has printed.
const LIE: &str = "said by another";

fn records(attempt: AttemptId) -> Message {
    let body = RecordBody::Line {
        stream: Stream::Stdout,
        level: Level::Info,
        text: LIE.to_owned(),
    };
    Records {
        attempt,
        first_seq: 0,
        records: vec![Record { at_us: 1, body }],
    }
    .into()
}

fn ended(attempt: AttemptId) -> Message {
    let end = succeeded();
    AttemptEnded { attempt, end }.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a21_what_an_agent_says_of_anothers_attempt_counts_for_nothing() {
    let world = World::new();
    let server = Server::start(&world).await;
    let honest_home = server.enrol("web01", &["web"], server.addr).await;
    let liar_home = server.enrol("web02", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let mut honest = LinkAgent::connect(&honest_home, patient()).await;
    let mut liar = LinkAgent::connect(&liar_home, patient()).await;
    server.online(honest_home.agent, true).await;
    server.online(liar_home.agent, true).await;
    let task = server.deploy("shop").await;
    let start = honest.order().await;
    let own = liar.order().await;
    assert_ne!(start.attempt, own.attempt);
    honest.accept(&start).await;
    server.action_is(&task, WorkState::Running).await;

    let (request, attempt) = (start.request, start.attempt);
    liar.say(StartAnswer {
        request,
        attempt,
        result: StartResult::Refused {
            reason: StartRefusal::BadOrder,
            message: LIE.to_owned(),
        },
    })
    .await;
    liar.say(CancelAnswer {
        request,
        attempt,
        result: CancelResult::Voided,
    })
    .await;
    liar.accept(&own).await;
    // Its own end comes last on the same stream: what was before it has been judged by then.
    let lies = vec![records(attempt), ended(attempt), ended(own.attempt)];
    liar.report(own.attempt, lies).await;
    wait_for("the liar's own attempt is over", SOON, || async {
        let task = server.task(&task).await;
        let own = &task.steps[0].targets[1];
        if own.state == WorkState::Succeeded {
            Ok(())
        } else {
            Err(format!("{own:?}"))
        }
    })
    .await;
    wait_until("its answers are counted as stray", SOON, || {
        server.counters.stray_answers.load(Ordering::SeqCst) == 2
    })
    .await;
    server.action_is(&task, WorkState::Running).await;

    // Nor does a report of its whole journal help.
    drop(liar);
    let mut liar = LinkAgent::start(&liar_home, patient());
    let report = AttemptReport {
        attempt,
        task: start.task,
        epoch: start.epoch,
        state: ReportedState::Ended(succeeded()),
        records: 1,
    };
    let resynced = liar.resync(vec![report]).await;
    assert!(!resynced.positions[0].known, "{resynced:?}");
    server.action_is(&task, WorkState::Running).await;

    honest.report(attempt, vec![ended(attempt)]).await;
    server.succeeds(&task, SOON).await;
    assert!(!server.lines(&task).await.iter().any(|line| line == LIE));
}

/// Asks for an object and gives the answer.
async fn fetch(peer: &Peer, task: TaskId, root: Digest, digest: Digest) -> Message {
    let mut bulk = Control::open(&peer.connection).await;
    let offset = 0;
    let objects = vec![ObjectRequest { digest, offset }];
    bulk.say(FetchObjects {
        task,
        root,
        objects,
    })
    .await;
    bulk.message().await
}

fn refused(answer: &Message) -> bool {
    matches!(answer, Message::ObjectRefused(refused) if refused.reason == ObjectRefusal::NotGranted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a22_an_agent_gets_no_package_that_was_not_granted_to_it() {
    let world = World::new();
    let server = Server::start(&world).await;
    server.push("Site", &[("index.html", b"hello")]).await;
    server.push("Other", &[("secret.html", b"not yours")]).await;
    let project = |package: &str, tag: &str| {
        format!(
            "packages:
  - id: {package}
process:
  - step: Install
    targets: {{ tag: {tag} }}
    uses: package
    with: {{ package: {package} }}
"
        )
    };
    server.project("shop", &project("Site", "web")).await;
    server.project("vault", &project("Other", "safe")).await;
    let web = server.enrol("web01", &["web"], server.addr).await;
    let safe = server.enrol("safe01", &["safe"], server.addr).await;
    let web_peer = Peer::agent(&web, server.addr).await;
    let mut web_control = Control::greet(&web_peer.connection).await;
    let safe_peer = Peer::agent(&safe, server.addr).await;
    let mut safe_control = Control::greet(&safe_peer.connection).await;
    server.online(web.agent, true).await;
    server.online(safe.agent, true).await;
    let shop = server.deploy("shop").await;
    server.deploy("vault").await;
    let Message::Acquire(own) = web_control.message().await else {
        panic!("the packages come first");
    };
    let Message::Acquire(foreign) = safe_control.message().await else {
        panic!("the packages come first");
    };
    let (root, other) = (own.packages[0].root, foreign.packages[0].root);

    let answer = fetch(&web_peer, own.task, root, root).await;
    assert!(matches!(answer, Message::ObjectFollows(_)), "{answer:?}");
    let wrong = [
        ("another's package", foreign.task, other, other),
        ("another's package for its own task", own.task, other, other),
        (
            "another's object below its own package",
            own.task,
            root,
            other,
        ),
        (
            "its own package for another's task",
            foreign.task,
            root,
            root,
        ),
    ];
    for (what, task, root, object) in wrong {
        let answer = fetch(&web_peer, task, root, object).await;
        assert!(refused(&answer), "{what}: {answer:?}");
    }
    assert!(refused(&fetch(&safe_peer, own.task, root, root).await));
    // What was granted for a task is taken back with it.
    server
        .services
        .task_cancel(&server.caller, &shop)
        .await
        .unwrap();
    server.over(&shop, SOON).await;
    wait_for("the grant is taken back", SOON, || async {
        let answer = fetch(&web_peer, own.task, root, root).await;
        refused(&answer)
            .then_some(())
            .ok_or_else(|| format!("{answer:?}"))
    })
    .await;
    web_control.echo().await;
}
