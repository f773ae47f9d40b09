//! Work connections: greeting, resync, reports, faults, reconnecting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mantle_shared::protocol::{
    Ack, Acquire, AcquireFailure, AcquireResult, AttemptEnd, AttemptEnded, AttemptReport,
    BULK_LIMIT_BYTES, EVENTS_LIMIT_BYTES, Echo, Encoding, GoAway, Level, Message, ObjectFollows,
    Outcome, Record, RecordBody, Records, ReportedState, Resync, Stream, close,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, Digest, TaskId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::framed::{self, MessageReader};
use super::super::{Settings, Sockets, Timing, bad_streams, run};
use super::quick;
use super::server::{Authority, ServerSession, TestServer, facts, soon};
use crate::artifacts::Artifacts;
use crate::cache::test_packages::Package;
use crate::cache::{Acquirer, Cache};
use crate::identity::{Identities, Identity};
use crate::link::{Link, LinkCommand, LinkEvent, link};
use crate::state_dir::StateDir;

/// A running connection and the driver's end of it.
struct Agent {
    link: Link,
    task: JoinHandle<()>,
    _data: TempDir,
}

impl Agent {
    fn start(server: &TestServer) -> Self {
        let data = tempfile::tempdir().unwrap();
        server.enrolled(data.path());
        Self::start_in(data, quick())
    }

    fn start_in(data: TempDir, timing: Timing) -> Self {
        let (link, peer) = link(facts());
        let cache = Cache::at(data.path().join("cache"));
        cache.prepare().unwrap();
        let settings = Settings {
            identities: Identities::load(data.path()).unwrap(),
            timing,
            sockets: Sockets::own(),
            acquirer: Arc::new(Acquirer::new(cache, data.path().join("apps")).keep_free(0)),
            artifacts: Artifacts::at(&StateDir::at(data.path())),
        };
        Self {
            link,
            task: tokio::spawn(run(settings, peer)),
            _data: data,
        }
    }

    /// The next event but why there is no connection.
    async fn event(&mut self) -> LinkEvent {
        loop {
            match soon(self.link.events.recv()).await.unwrap() {
                LinkEvent::NotConnected { .. } => {}
                event => return event,
            }
        }
    }

    async fn say(&self, message: impl Into<Message>) {
        let command = LinkCommand::Control(message.into());
        soon(self.link.commands.send(command)).await.unwrap();
    }

    async fn begin(&self, session: u64) {
        let begin = LinkCommand::Begin { session };
        soon(self.link.commands.send(begin)).await.unwrap();
    }

    async fn connected(&mut self) {
        let event = self.event().await;
        let LinkEvent::Connected { session, welcome } = event else {
            panic!("{event:?}")
        };
        assert_eq!(welcome.epoch, 3);
        self.begin(session).await;
        self.say(Resync {
            reports: vec![],
            last: true,
        })
        .await;
        let event = self.event().await;
        assert!(
            matches!(&event, LinkEvent::Received(Message::Resynced(r)) if r.last),
            "{event:?}"
        );
    }
}

async fn both(server: &TestServer, agent: &mut Agent) -> ServerSession {
    let serve = async {
        let mut session = server.welcome().await;
        session.resync().await;
        session
    };
    let (session, ()) = tokio::join!(serve, agent.connected());
    session
}

fn attempt(n: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(n))
}

fn records(n: u128, first_seq: u64) -> Records {
    Records {
        attempt: attempt(n),
        first_seq,
        records: vec![Record {
            at_us: 1,
            body: RecordBody::Line {
                stream: Stream::Stdout,
                level: Level::Info,
                text: format!("line {first_seq} of {n}"),
            },
        }],
    }
}

fn ended(n: u128) -> AttemptEnded {
    AttemptEnded {
        attempt: attempt(n),
        end: AttemptEnd {
            outcome: Outcome::Succeeded,
            exit_code: Some(0),
            message: String::new(),
            records: 3,
            log: Digest::of(b""),
            started_at_us: 0,
            ended_at_us: 1,
        },
    }
}

#[tokio::test]
async fn hello_says_what_the_driver_knows_and_messages_go_both_ways() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = both(&server, &mut agent).await;
    assert_eq!(session.hello.highest_epoch, 2);
    assert_eq!(session.hello.boot_id, "boot");
    assert_eq!(session.hello.features, ["action:script"]);

    session.say(Ack { positions: vec![] }).await;
    assert!(matches!(
        agent.event().await,
        LinkEvent::Received(Message::Ack(_))
    ));
    session
        .say(Echo {
            request: 8,
            payload: b"x".to_vec(),
        })
        .await;
    let Message::EchoAnswer(answer) = session.next().await else {
        panic!("an echo is answered by the connection itself");
    };
    assert_eq!((answer.request, answer.payload.as_slice()), (8, &b"x"[..]));

    soon(agent.link.commands.send(LinkCommand::Close))
        .await
        .unwrap();
    soon(agent.task).await.unwrap();
    let closed = soon(session.connection.closed()).await;
    assert_eq!(
        super::super::reason::close_code(&closed),
        Some(close::GOING_AWAY)
    );
}

#[tokio::test]
async fn s21_an_unknown_message_is_answered_and_the_connection_lives() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = both(&server, &mut agent).await;
    let frame = [&[1, 0x77, 0x77, 0, 0, 0, 0, 3][..], b"new"].concat();
    session.send.write_all(&frame).await.unwrap();
    let Message::Unsupported(unsupported) = session.next().await else {
        panic!("an unknown type is answered");
    };
    assert_eq!(unsupported.kind, 0x7777);
    session.say(Ack { positions: vec![] }).await;
    assert!(matches!(
        agent.event().await,
        LinkEvent::Received(Message::Ack(_))
    ));
}

#[tokio::test]
async fn s22_a_bad_stream_is_given_up_alone_and_counted() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = both(&server, &mut agent).await;
    let before = bad_streams();
    let mut stray = session.connection.open_uni().await.unwrap();
    stray.write_all(b"garbage").await.unwrap();
    let stopped = soon(stray.stopped()).await.unwrap();
    assert_eq!(stopped.map(u64::from), Some(u64::from(close::PROTOCOL)));
    session.say(Ack { positions: vec![] }).await;
    assert!(matches!(
        agent.event().await,
        LinkEvent::Received(Message::Ack(_))
    ));
    assert!(bad_streams() > before);

    // A lie on the control stream ends the session; a new one follows.
    session.send.write_all(&[9; 16]).await.unwrap();
    assert!(matches!(
        agent.event().await,
        LinkEvent::Disconnected { .. }
    ));
    both(&server, &mut agent).await;
}

#[tokio::test]
async fn each_attempt_has_a_stream_while_permits_last_and_nothing_is_lost() {
    const ATTEMPTS: u128 = 30;
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let session = both(&server, &mut agent).await;
    let mut senders = Vec::new();
    for n in 0..ATTEMPTS {
        let (sender, messages) = mpsc::channel(2);
        let command = LinkCommand::Reports {
            attempt: attempt(n),
            messages,
        };
        soon(agent.link.commands.send(command)).await.unwrap();
        senders.push((n, sender));
    }
    let feed = tokio::spawn(async move {
        for seq in 0..3 {
            for (n, sender) in &senders {
                soon(sender.send(records(*n, seq).into())).await.unwrap();
            }
        }
        for (n, sender) in &senders {
            soon(sender.send(ended(*n).into())).await.unwrap();
        }
    });
    let (got, mut all) = mpsc::unbounded_channel();
    let connection = session.connection.clone();
    let accept = tokio::spawn(async move {
        let mut streams = 0_usize;
        while let Ok(recv) = connection.accept_uni().await {
            streams += 1;
            let got = got.clone();
            tokio::spawn(async move {
                let mut reader = MessageReader::new(recv, EVENTS_LIMIT_BYTES);
                while let Ok(Some(framed::Incoming::Message(message))) = reader.next().await {
                    got.send((streams, *message)).unwrap();
                }
            });
        }
    });
    let mut per_attempt = std::collections::HashMap::<AttemptId, Vec<(usize, u64)>>::new();
    let mut streams = std::collections::HashSet::new();
    for _ in 0..ATTEMPTS * 4 {
        let (stream, message) = soon(all.recv()).await.unwrap();
        streams.insert(stream);
        let (id, seq) = match message {
            Message::Records(r) => (r.attempt, r.first_seq),
            Message::AttemptEnded(e) => (e.attempt, 3),
            other => panic!("{}", other.name()),
        };
        per_attempt.entry(id).or_default().push((stream, seq));
    }
    soon(feed).await.unwrap();
    assert_eq!(streams.len(), 13, "twelve of their own and the shared one");
    for (id, list) in per_attempt {
        let order: Vec<_> = list.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(order, [0, 1, 2, 3], "{id}");
        assert!(list.iter().all(|(stream, _)| *stream == list[0].0), "{id}");
    }
    accept.abort();
}

#[tokio::test]
async fn a_report_stream_that_the_server_breaks_is_resumed_by_a_new_connection() {
    // Broken while more comes, and while the script is silent.
    for more in [true, false] {
        let server = TestServer::start(Arc::new(Authority::new()));
        let mut agent = Agent::start(&server);
        let session = both(&server, &mut agent).await;
        let (sender, messages) = mpsc::channel(2);
        let command = LinkCommand::Reports {
            attempt: attempt(1),
            messages,
        };
        soon(agent.link.commands.send(command)).await.unwrap();
        soon(sender.send(records(1, 0).into())).await.unwrap();
        let mut recv = soon(session.connection.accept_uni()).await.unwrap();
        recv.stop(close::PROTOCOL.into()).unwrap();
        if more {
            // It ends when the agent has noticed.
            while soon(sender.send(records(1, 1).into())).await.is_ok() {}
        }
        assert!(
            matches!(agent.event().await, LinkEvent::Disconnected { .. }),
            "more {more}"
        );
        // The driver hears of it, and says anew what it has.
        both(&server, &mut agent).await;
        drop(sender);
    }
}

#[tokio::test]
async fn what_an_earlier_session_left_is_dropped_before_the_resync() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = server.welcome().await;
    let event = agent.event().await;
    let LinkEvent::Connected { session: 1, .. } = event else {
        panic!("{event:?}")
    };
    let portion = |count: u128, last| Resync {
        reports: (0..count)
            .map(|n| AttemptReport {
                attempt: attempt(n),
                task: TaskId::from_uuid(Uuid::from_u128(9)),
                epoch: 3,
                state: ReportedState::Accepted,
                records: 0,
            })
            .collect(),
        last,
    };
    // What a driver said to a session that was gone before it was heard: stray reports, and the
    // last portion of a long resync, which would pass for a whole one.
    agent.say(ended(1)).await;
    agent.begin(0).await;
    agent.say(portion(1, true)).await;
    agent.begin(1).await;
    agent.say(portion(3, true)).await;
    let Message::Resync(resync) = session.next().await else {
        panic!("the resync comes first")
    };
    assert_eq!(resync.reports.len(), 3);
}

#[tokio::test]
async fn s01_the_wrong_authority_is_sent_nothing_and_both_fingerprints_are_known() {
    let right = TestServer::start(Arc::new(Authority::new()));
    let wrong = TestServer::start(Arc::new(Authority::new()));
    let data = tempfile::tempdir().unwrap();
    right.enrolled(data.path());
    let identity = Identity::load(data.path()).unwrap();
    let refuse = async {
        let incoming = soon(wrong.endpoint.accept()).await.unwrap();
        assert!(incoming.await.is_err(), "the agent ends the handshake");
    };
    let address = wrong.address.to_string().parse().unwrap();
    let (trip, facts) = (quick(), facts());
    let (result, ()) = tokio::join!(
        super::super::round_trip(&address, &identity, &facts, &trip),
        refuse
    );
    let text = result.unwrap_err().to_string();
    assert!(text.contains(&right.authority.pin().to_string()), "{text}");
    assert!(text.contains(&wrong.authority.pin().to_string()), "{text}");
    assert!(text.contains("nothing was sent"), "{text}");
}

#[tokio::test]
async fn a_refusal_after_the_handshake_is_no_connection() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    for _ in 0..2 {
        let connection = server.accept(mantle_shared::tls::ALPN_WORK).await;
        connection.close(close::NOT_AUTHORISED.into(), b"");
    }
    // The first event of all is that of the third dial, which is welcomed.
    both(&server, &mut agent).await;
}

#[tokio::test]
async fn going_away_is_waited_for_as_long_as_the_server_asks() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = both(&server, &mut agent).await;
    session
        .say(GoAway {
            retry_after_ms: 700,
            reason: "restart".to_owned(),
        })
        .await;
    // An answer after it shows that it was read.
    session
        .say(Echo {
            request: 1,
            payload: vec![],
        })
        .await;
    assert!(matches!(session.next().await, Message::EchoAnswer(_)));
    let begun = tokio::time::Instant::now();
    session.connection.close(close::GOING_AWAY.into(), b"");
    let LinkEvent::Disconnected { reason } = agent.event().await else {
        panic!("the session is over");
    };
    // By the message or by the close, whichever the session sees first.
    assert!(
        ["goes down", "goes away"]
            .iter()
            .any(|said| reason.contains(said)),
        "{reason}"
    );
    both(&server, &mut agent).await;
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn s20_a_server_that_falls_silent_is_noticed_and_found_again() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let data = tempfile::tempdir().unwrap();
    server.enrolled(data.path());
    let timing = Timing {
        idle_timeout: Duration::from_millis(600),
        keepalive: Duration::from_millis(150),
        ..quick()
    };
    let mut agent = Agent::start_in(data, timing);
    let session = both(&server, &mut agent).await;
    // The connection stays open at the server, but its packets go nowhere from now on.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let old = server.endpoint.clone();
    old.rebind(nowhere).unwrap();
    let LinkEvent::Disconnected { reason } = agent.event().await else {
        panic!("the silence is noticed");
    };
    assert!(reason.contains("idle timeout"), "{reason}");
    drop(session);
}

/// Serves every object of a package on bulk streams, the first request only in part.
async fn serve_bulk(connection: quinn::Connection, package: Package, asked: mpsc::Sender<u64>) {
    let mut cut = true;
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let Message::FetchObjects(request) =
            framed::read_one(&mut recv, BULK_LIMIT_BYTES).await.unwrap()
        else {
            panic!("bulk streams begin with a request");
        };
        assert_eq!(request.root, package.root);
        for object in request.objects {
            let bytes = &package.objects[&object.digest];
            let rest = &bytes[usize::try_from(object.offset).unwrap()..];
            asked.send(object.offset).await.unwrap();
            let follows = ObjectFollows {
                digest: object.digest,
                encoding: Encoding::Raw,
                wire_bytes: rest.len() as u64,
                size_bytes: bytes.len() as u64,
            };
            framed::write(&mut send, &follows.into()).await.unwrap();
            if cut && bytes.len() > 100_000 {
                cut = false;
                send.write_all(&rest[..100_000]).await.unwrap();
                let _ = send.finish();
                break;
            }
            send.write_all(rest).await.unwrap();
        }
        let _ = send.finish();
    }
}

#[tokio::test]
async fn s73_a_package_comes_over_bulk_streams_and_a_cut_one_goes_on() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut agent = Agent::start(&server);
    let mut session = both(&server, &mut agent).await;
    let noise: Vec<u8> = (0..150_000_u32).flat_map(u32::to_le_bytes).collect();
    let package = Package::of(&BTreeMap::from([
        ("bin/app".to_owned(), noise),
        ("index.html".to_owned(), b"hello".to_vec()),
    ]));
    let (asked, mut offsets) = mpsc::channel(64);
    let serving = tokio::spawn(serve_bulk(
        session.connection.clone(),
        package.clone(),
        asked,
    ));
    let order = |request| {
        LinkCommand::Acquire(Acquire {
            request,
            deadline_ms: 15_000,
            epoch: 3,
            task: TaskId::from_uuid(Uuid::from_u128(4)),
            packages: vec![package.grant()],
        })
    };
    soon(agent.link.commands.send(order(1))).await.unwrap();
    let (request, result) = acquired(&mut session).await;
    assert_eq!(request, 1);
    let AcquireResult::Failed { reason, .. } = result else {
        panic!("the transfer was cut");
    };
    assert_eq!(reason, AcquireFailure::Network);

    soon(agent.link.commands.send(order(2))).await.unwrap();
    let (request, result) = acquired(&mut session).await;
    assert_eq!(request, 2);
    let AcquireResult::Acquired { fetched_bytes, .. } = result else {
        panic!("{result:?}");
    };
    assert!(
        fetched_bytes < 600_000,
        "what came before is not sent again"
    );
    serving.abort();
    let mut all = Vec::new();
    while let Ok(offset) = offsets.try_recv() {
        all.push(offset);
    }
    assert!(all.contains(&100_000), "{all:?}");
}

/// The next answer to an order to acquire; progress comes before it.
async fn acquired(session: &mut ServerSession) -> (u64, AcquireResult) {
    loop {
        match session.next().await {
            Message::AcquireAnswer(answer) => return (answer.request, answer.result),
            Message::AcquireProgress(progress) => {
                assert!(progress.done_bytes <= progress.total_bytes);
            }
            other => panic!("{}", other.name()),
        }
    }
}
