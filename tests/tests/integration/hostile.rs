//! Peers that do not keep to the protocol: S21, S22, and abuse of every kind of stream.
//!
//! What must hold each time: what lies is refused, a counter moves, and nobody else notices.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mantle::gateway::Timing;
use mantle_shared::TaskId;
use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, AttemptReport, EVENTS_LIMIT_BYTES, EnrolRefusal, FetchObjects,
    Header, Hello, Message, ReportedState, Resync, close,
};
use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, Digest};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{World, sabotage};
use quinn::{Connection, ConnectionError, SendStream};

use crate::delivery::blank;
use crate::many::resident_kib;
use crate::rig::{
    Control, Credentials, Home, LinkAgent, Peer, SOON, Server, hello, patient, succeeded,
};
use crate::trust::ONE_STEP;

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

/// A frame with this header and payload, whether or not they fit.
fn frame(kind: u16, length: u32, payload: &[u8]) -> Vec<u8> {
    let flags = 0;
    let header = Header {
        kind,
        flags,
        length,
    };
    [header.encode().as_slice(), payload].concat()
}

fn ended(attempt: AttemptId) -> Message {
    let end = succeeded();
    AttemptEnded { attempt, end }.into()
}

/// An agent that keeps to the rules, to see that others' lies are not its affair.
async fn bystander(server: &Server) -> (Home, LinkAgent) {
    let home = server.enrol("bystander", &[], server.addr).await;
    let agent = LinkAgent::connect(&home, patient()).await;
    (home, agent)
}

/// An agent that is let in and speaks for itself.
async fn greeted(server: &Server) -> (Peer, Control) {
    let home = server.enrol("web01", &[], server.addr).await;
    let peer = Peer::agent(&home, server.addr).await;
    let control = Control::greet(&peer.connection).await;
    (peer, control)
}

/// It was not touched: its connection is the first, and works.
async fn untouched(mut agent: LinkAgent) {
    crate::delivery::echo(&mut agent, b"still here".to_vec()).await;
}

/// The code with which the server closed the connection.
async fn closed(connection: &Connection) -> u64 {
    let closed = tokio::time::timeout(SOON, connection.closed()).await;
    match closed.expect("the server closes the connection") {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("not closed by the server's judgement: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s21_an_unknown_message_type_is_answered_unsupported_and_the_connection_lives() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::greet(&peer.connection).await;
    server.online(home.agent, true).await;
    // 0x0006 is a message that nothing answers.
    let kind = if sabotage::is_on("a-known-type") {
        0x0006
    } else {
        0x7fff
    };
    control.raw(&frame(kind, 3, b"new")).await;
    assert!(
        matches!(control.message().await, Message::Unsupported(answer) if answer.kind == 0x7fff)
    );
    control.echo().await;

    // On a bulk stream, where each has its answer.
    let mut bulk = Control::open(&peer.connection).await;
    bulk.raw(&frame(0x7fff, 3, b"new")).await;
    assert!(matches!(bulk.message().await, Message::Unsupported(answer) if answer.kind == 0x7fff));

    // On an attempt's stream, which has no way back: what follows counts.
    server.deploy("shop").await;
    let Message::StartAttempt(start) = control.message().await else {
        panic!("an order is due");
    };
    let mut events = peer.connection.open_uni().await.unwrap();
    events.write_all(&frame(0x7fff, 3, b"new")).await.unwrap();
    let end = ended(start.attempt).to_frame().unwrap();
    events.write_all(&end).await.unwrap();
    server.succeeds("T-1", SOON).await;
    assert_eq!(get(&server.counters.unsupported), 3);
    assert_eq!(get(&server.counters.bad_streams), 0);
    // A known message where it may not be said is no unknown type.
    control.say(hello()).await;
    assert_eq!(closed(&peer.connection).await, u64::from(close::PROTOCOL));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_without_end_is_cut_by_its_size() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, bystander) = bystander(&server).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::open(&peer.connection).await;
    control.say(hello()).await;
    assert!(matches!(control.message().await, Message::Welcome(_)));
    let report = |n| AttemptReport {
        attempt: AttemptId::from_uuid(Uuid::from_u128(n)),
        task: TaskId::from_uuid(Uuid::from_u128(1)),
        epoch: 1,
        state: ReportedState::Ended(AttemptEnd {
            message: "x".repeat(1024 * 1024),
            ..succeeded()
        }),
        records: 0,
    };
    let endless = async {
        for n in 0.. {
            let (reports, last) = (vec![report(n)], false);
            let portion = Message::from(Resync { reports, last });
            let frame = portion.to_frame().unwrap();
            if control.send.write_all(&frame).await.is_err() {
                break;
            }
        }
    };
    // Long before the time for a report is over.
    let (code, ()) = tokio::join!(closed(&peer.connection), endless);
    assert_eq!(code, u64::from(close::PROTOCOL));
    untouched(bystander).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_reports_of_one_agent_at_once_only_the_newest_goes_on() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let older = Peer::agent(&home, server.addr).await;
    let mut greeting = Control::open(&older.connection).await;
    greeting.say(hello()).await;
    assert!(matches!(greeting.message().await, Message::Welcome(_)));
    let newer = Peer::agent(&home, server.addr).await;
    let mut control = Control::greet(&newer.connection).await;
    assert_eq!(
        closed(&older.connection).await,
        u64::from(close::SUPERSEDED)
    );
    control.echo().await;
}

/// What may be wrong with the bytes of an attempt's stream, and whether the stream ends with them.
fn lies() -> Vec<(&'static str, Vec<u8>, bool)> {
    let kind = ended(AttemptId::from_uuid(Uuid::from_u128(1))).kind();
    let good = ended(AttemptId::from_uuid(Uuid::from_u128(1)))
        .to_frame()
        .unwrap();
    let over = u32::try_from(EVENTS_LIMIT_BYTES).unwrap() + 1;
    let mut shorter = good.clone();
    shorter[7] -= 1;
    let mut longer = good.clone();
    longer[7] += 1;
    longer.push(0);
    vec![
        ("garbage", vec![0xff; 100], false),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec(), false),
        ("the largest length", frame(kind, u32::MAX, b""), false),
        ("a length over the limit", frame(kind, over, b""), false),
        ("no payload", frame(kind, 0, b""), false),
        ("a payload cut short", shorter, false),
        ("a payload with a byte too many", longer, false),
        // A list that claims to be longer than memory.
        (
            "a lying list",
            frame(0x0020, 30, &[&[16][..], &[0; 17], &[0xfd; 12]].concat()),
            false,
        ),
        (
            "another stream's message",
            Message::from(hello()).to_frame().unwrap(),
            false,
        ),
        ("an end in the middle of a header", good[..5].to_vec(), true),
        (
            "an end in the middle of a payload",
            good[..good.len() - 1].to_vec(),
            true,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s22_a_stream_that_lies_is_reset_alone_and_counted() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::greet(&peer.connection).await;
    server.online(home.agent, true).await;
    server.deploy("shop").await;
    let Message::StartAttempt(start) = control.message().await else {
        panic!("an order is due");
    };
    // A stream that is honest, half of it before the lies and half after them.
    let end = ended(start.attempt).to_frame().unwrap();
    let (before, after) = end.split_at(10);
    let mut honest = peer.connection.open_uni().await.unwrap();
    honest.write_all(before).await.unwrap();

    let mut count = 0;
    for (what, bytes, ends) in lies() {
        let bytes = if sabotage::is_on("no-lies") {
            Vec::new()
        } else {
            bytes
        };
        let mut stream = peer.connection.open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        if ends {
            stream.finish().unwrap();
        } else {
            let stopped = tokio::time::timeout(SOON, stream.stopped()).await;
            let code = stopped.unwrap_or_else(|_| panic!("{what}: not reset"));
            assert_eq!(code.unwrap(), Some(close::PROTOCOL.into()), "{what}");
        }
        count += 1;
        wait_until(&format!("{what} is counted"), SOON, || {
            get(&server.counters.bad_streams) == count
        })
        .await;
        control.echo().await;
    }
    // Bulk streams are no different.
    for (what, bytes, ends) in lies() {
        let mut bulk = Control::open(&peer.connection).await;
        bulk.raw(&bytes).await;
        if ends {
            bulk.send.finish().unwrap();
        }
        let read = tokio::time::timeout(SOON, bulk.recv.read_to_end(100)).await;
        assert!(
            read.unwrap_or_else(|_| panic!("{what}: not reset"))
                .is_err(),
            "{what} has an answer"
        );
        count += 1;
        assert_eq!(get(&server.counters.bad_streams), count, "{what}");
        control.echo().await;
    }
    honest.write_all(after).await.unwrap();
    server.succeeds("T-1", SOON).await;
    assert_eq!(get(&server.counters.welcomed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a06_protocols_that_are_not_spoken_are_refused_with_a_code() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let authority = server.authority.certificate();
    let own = || Some(Credentials::of(&home));
    let refused = get(&server.counters.refused);
    let unspoken: [&[&[u8]]; 2] = [&[b"mantle/0"], &[]];
    for alpn in unspoken {
        let (error, _) = Peer::refusal(server.addr, Peer::config(authority, alpn, own())).await;
        let ConnectionError::ConnectionClosed(closed_by) = &error else {
            panic!("{error:?}");
        };
        // TLS alert 120: no application protocol.
        assert_eq!(u64::from(closed_by.error_code), 0x100 + 120, "{error:?}");
    }
    let work = Peer::config(authority, &[ALPN_WORK], None);
    let peer = Peer::dial(server.addr, work).await.unwrap();
    let code = closed(&peer.connection).await;
    assert_eq!(code, u64::from(close::NOT_AUTHORISED), "work without one");
    assert_eq!(get(&server.counters.refused), refused + 3);

    // And those that are spoken no more or not yet, inside.
    for (protocol_min, protocol_max) in [(0, 0), (3, 9), (9, 0)] {
        let peer = Peer::agent(&home, server.addr).await;
        let mut control = Control::open(&peer.connection).await;
        control
            .say(Hello {
                protocol_min,
                protocol_max,
                ..hello()
            })
            .await;
        assert_eq!(closed(&peer.connection).await, u64::from(close::PROTOCOL));
    }
    assert_eq!(get(&server.counters.welcomed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_lies_on_control_and_enrolment_streams_end_that_connection_alone() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, agent) = bystander(&server).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let large = vec![b'x'; 20_000];
    let greetings = [
        ("garbage", vec![0xff; 100]),
        ("the largest length", frame(1, u32::MAX, b"")),
        ("a greeting over its limit", frame(1, 20_000, &large)),
        ("an empty greeting", frame(1, 0, b"")),
        ("a resync before it", frame(3, 2, &[0, 1])),
    ];
    for (what, bytes) in &greetings {
        // As the first thing said, and after the greeting in place of the report.
        for greeted in [false, true] {
            let peer = Peer::agent(&home, server.addr).await;
            let mut control = Control::open(&peer.connection).await;
            if greeted {
                if *what == "a resync before it" {
                    continue;
                }
                control.say(hello()).await;
                assert!(matches!(control.message().await, Message::Welcome(_)));
            }
            // The server may close before all of it was taken.
            let _ = control.send.write_all(bytes).await;
            let code = closed(&peer.connection).await;
            assert_eq!(code, u64::from(close::PROTOCOL), "{what}, {greeted}");
        }
    }
    // Once it is taken in.
    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::greet(&peer.connection).await;
    control.raw(&frame(0x11, u32::MAX, b"")).await;
    assert_eq!(closed(&peer.connection).await, u64::from(close::PROTOCOL));

    let authority = server.authority.certificate();
    for (what, bytes) in [
        ("garbage", vec![0xff; 100]),
        ("the largest length", frame(0x40, u32::MAX, b"")),
        (
            "a request over its limit",
            frame(0x40, 5000, &large[..5000]),
        ),
        ("an empty request", frame(0x40, 0, b"")),
        ("a greeting", Message::from(hello()).to_frame().unwrap()),
    ] {
        let config = Peer::config(authority, &[ALPN_ENROL], None);
        let peer = Peer::dial(server.addr, config).await.unwrap();
        let mut control = Control::open(&peer.connection).await;
        let _ = control.send.write_all(&bytes).await;
        let Message::EnrolRefused(refused) = control.message().await else {
            panic!("{what} was not refused");
        };
        assert_eq!(refused.reason, EnrolRefusal::BadRequest, "{what}");
    }
    untouched(agent).await;
}

/// Says these bytes one at a time, slowly, until the server has had enough; gives how long it had.
async fn drip(send: SendStream, bytes: &[u8]) -> Duration {
    let since = Instant::now();
    let send = tokio::sync::Mutex::new(send);
    let mut bytes = bytes.iter();
    wait_for("the server has enough", SOON, || {
        let byte = bytes.next().copied();
        let send = &send;
        async move {
            let byte = byte.expect("it has enough before the message is whole");
            match send.lock().await.write_all(&[byte]).await {
                Ok(()) => Err("it goes on reading".to_owned()),
                Err(_) => Ok(()),
            }
        }
    })
    .await;
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_byte_now_and_then_is_cut_off_on_every_kind_of_stream() {
    let limit = Duration::from_secs(1);
    let timing = Timing {
        hello: limit,
        resync: limit,
        message: limit,
        bulk: limit,
        ..Timing::default()
    };
    let world = World::new();
    let server = Server::start_with(&world, "server", timing).await;
    let (_, agent) = bystander(&server).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let authority = server.authority.certificate();
    // Enough for half a minute, at 25 ms a byte.
    let slow = frame(1, 3000, &[0; 3000]);
    let check = |what: &str, took: Duration| {
        assert!(took < limit * 4, "{what}: {took:?}");
    };

    let peer = Peer::agent(&home, server.addr).await;
    let control = Control::open(&peer.connection).await;
    check("greeting", drip(control.send, &slow).await);

    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::open(&peer.connection).await;
    control.say(hello()).await;
    assert!(matches!(control.message().await, Message::Welcome(_)));
    check("report", drip(control.send, &slow).await);

    let config = Peer::config(authority, &[ALPN_ENROL], None);
    let peer = Peer::dial(server.addr, config).await.unwrap();
    let control = Control::open(&peer.connection).await;
    check("enrolment", drip(control.send, &slow).await);

    let peer = Peer::agent(&home, server.addr).await;
    let mut kept = Control::greet(&peer.connection).await;
    let events = peer.connection.open_uni().await.unwrap();
    check("records", drip(events, &slow).await);
    let bulk = Control::open(&peer.connection).await;
    check("bulk", drip(bulk.send, &slow).await);
    // Whoever says nothing at all is not slow: the connection has lived on.
    kept.echo().await;
    check("control", drip(kept.send, &slow).await);
    untouched(agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_an_agent_that_reads_nothing_costs_little_and_delays_nobody() {
    const ORDER_BYTES: usize = 1 << 20;
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, mut agent) = bystander(&server).await;
    let home = server.enrol("deaf", &[], server.addr).await;
    let peer = Peer::with_window(&home, server.addr, 4096).await;
    let _control = Control::greet(&peer.connection).await;
    server.online(home.agent, true).await;
    let session = server.sessions.current(home.agent).unwrap();
    let mut taken = 0;
    while server
        .sessions
        .send(home.agent, session, blank(taken, ORDER_BYTES).into())
    {
        taken += 1;
        assert!(taken < 64, "what waits for one agent is bounded");
        if taken % 8 == 0 {
            let since = Instant::now();
            crate::delivery::echo(&mut agent, b"x".to_vec()).await;
            assert!(since.elapsed() < Duration::from_secs(2));
        }
    }
    assert!(taken >= 8, "an agent may have some orders waiting: {taken}");
    assert_eq!(closed(&peer.connection).await, u64::from(close::GOING_AWAY));
    assert_eq!(get(&server.counters.slow_agents), 1);
    server.online(home.agent, false).await;
    untouched(agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_an_agent_that_stops_reading_is_disconnected_after_a_while() {
    let timing = Timing {
        stall: Duration::from_secs(1),
        ..Timing::default()
    };
    let world = World::new();
    let server = Server::start_with(&world, "server", timing).await;
    let (_, agent) = bystander(&server).await;
    let home = server.enrol("deaf", &[], server.addr).await;
    let peer = Peer::with_window(&home, server.addr, 4096).await;
    let _control = Control::greet(&peer.connection).await;
    server.online(home.agent, true).await;
    let session = server.sessions.current(home.agent).unwrap();
    let order = blank(1, 100_000);
    assert!(server.sessions.send(home.agent, session, order.into()));
    assert_eq!(closed(&peer.connection).await, u64::from(close::GOING_AWAY));
    assert_eq!(get(&server.counters.slow_agents), 1);
    server.online(home.agent, false).await;
    untouched(agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_more_objects_than_may_be_asked_at_once_is_reset() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (peer, mut control) = greeted(&server).await;
    let mut bulk = Control::open(&peer.connection).await;
    let digest = Digest::of(b"x");
    let offset = 0;
    bulk.say(FetchObjects {
        task: TaskId::from_uuid(Uuid::from_u128(1)),
        root: digest,
        objects: vec![mantle_shared::protocol::ObjectRequest { digest, offset }; 1025],
    })
    .await;
    assert!(bulk.frame().await.is_none());
    assert_eq!(get(&server.counters.bad_streams), 1);
    control.echo().await;
}

/// How often a stream is opened and reset.
const RESETS: usize = 100_000;
/// What the server may have grown by meanwhile, and the peer, which is this process too. A KiB kept of
/// each stream would be 100 MiB.
const GROWTH_KIB: u64 = 32 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_streams_that_are_opened_and_reset_without_end_cost_a_bounded_amount() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, bystander) = bystander(&server).await;
    let (peer, mut control) = greeted(&server).await;
    let mut kept = Vec::new();
    let mut base = 0;
    for number in 0..RESETS {
        if number == RESETS / 10 {
            base = resident_kib();
        }
        let opened = tokio::time::timeout(SOON, peer.connection.open_uni()).await;
        let mut stream = opened
            .expect("the server lets one go for the next")
            .unwrap();
        // A part of a frame, or the server would never hear of the stream.
        let _ = stream.write_all(&[0]).await;
        let _ = stream.reset(0_u32.into());
        if sabotage::is_on("streams-kept") {
            kept.push(vec![1_u8; 1024]);
        }
    }
    let grown = resident_kib().saturating_sub(base);
    assert!(
        grown < GROWTH_KIB,
        "{RESETS} streams left {grown} KiB behind"
    );
    drop(kept);
    // It is still an agent like any other, and nobody else noticed.
    control.echo().await;
    untouched(bystander).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_as_many_streams_as_there_may_be_that_say_nothing_hold_up_nobody() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, bystander) = bystander(&server).await;
    let (peer, mut control) = greeted(&server).await;
    let mut silent = Vec::new();
    // All that the transport grants; the next one would wait for ever.
    let more = Duration::from_millis(500);
    while let Ok(opened) = tokio::time::timeout(more, peer.connection.open_uni()).await {
        let mut stream = opened.unwrap();
        stream.write_all(&[0]).await.unwrap();
        silent.push(stream);
    }
    assert!((1..=64).contains(&silent.len()), "{} streams", silent.len());
    control.echo().await;
    untouched(bystander).await;
    // Once they are given up there is room for the next.
    for mut stream in silent {
        stream.reset(0_u32.into()).unwrap();
    }
    let next = tokio::time::timeout(SOON, peer.connection.open_uni()).await;
    assert!(next.unwrap().is_ok());
}
