//! Who may speak with whom: S01 to S05.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mantle::api::body::WorkState;
use mantle::gateway::Timing;
use mantle_shared::AgentId;
use mantle_shared::protocol::close;
use mantle_shared::tls::ALPN_WORK;
use mantle_shared::uuid::Uuid;
use mantle_tests::World;
use mantle_tests::proxy::{Direction, Proxy, Verdict};
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};
use quinn::ConnectionError;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tentacle::link::LinkEvent;

use crate::rig::{Credentials, Leaf, LinkAgent, Logs, Mint, Peer, SOON, Server, patient, private};

const DAY_S: i64 = 24 * 60 * 60;

/// A project of one step that is one script.
pub const ONE_STEP: &str = "process:
  - step: Work
    targets: { tag: web }
    uses: script
    with: { run: 'true' }
";

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

#[tokio::test]
async fn s01_a_server_of_another_authority_is_refused_before_anything_is_sent() {
    let (logs, _guard) = Logs::capture();
    let world = World::new();
    let own = Server::start_with(&world, "own", Timing::default()).await;
    let other = Server::start_with(&world, "other", Timing::default()).await;
    let upstream = if sabotage::is_on("the-pinned-authority") {
        own.addr
    } else {
        other.addr
    };
    let proxy = Proxy::start(upstream, 1).unwrap();
    let home = own.enrol("web01", &[], proxy.addr()).await;
    let mut agent = LinkAgent::start(&home, patient());

    let expected = own.authority.fingerprint().to_string();
    let got = other.authority.fingerprint().to_string();
    let line = wait_for("the agent logs both fingerprints", SOON, || async {
        let line = logs.line(&["ERROR", &expected, &got]);
        line.ok_or_else(|| "no such line".to_owned())
    })
    .await;
    assert!(line.contains("nothing was sent"), "{line}");
    // More than one dial, and still nothing but handshakes that fail.
    wait_until("several dials were refused", SOON, || {
        get(&other.counters.refused) >= 3
    })
    .await;
    assert_eq!(get(&other.counters.welcomed), 0);
    assert_eq!(get(&other.counters.bad_streams), 0);
    let refusals = other.audit("connection.refuse").await;
    assert!(
        refusals
            .iter()
            .all(|row| row.detail["reason"].as_str().unwrap().contains("handshake")),
        "the agent broke the handshake off: {refusals:?}"
    );
    while let Ok(event) = agent.link.events.try_recv() {
        assert!(
            matches!(event, LinkEvent::NotConnected { .. }),
            "it never connected: {event:?}"
        );
    }
}

/// Everything that is wrong with a client certificate, with its name.
async fn wrong_credentials(server: &Server) -> Vec<(&'static str, Credentials)> {
    let mint = Mint::of_server(&server.folder);
    let stranger = AgentId::from_uuid(Uuid::now_v7());
    let known = server.enrol("known", &[], server.addr).await;
    let known_key = KeyPair::try_from(&known.identity().private_key()).unwrap();
    let revoked = server.enrol("revoked", &[], server.addr).await;
    server
        .services
        .agent_revoke(&server.caller, "revoked")
        .await
        .unwrap();
    let new_key = || KeyPair::generate().unwrap();
    let own = |change: fn(&mut Leaf)| {
        let mut leaf = Leaf::of(known.agent);
        change(&mut leaf);
        mint.leaf(leaf, &known_key)
    };
    let (below, intermediate) = mint.below();
    let mut chained = below.leaf(Leaf::of(known.agent), &known_key);
    chained.chain.push(intermediate);
    let ca_key = KeyPair::from_pem(&read(server, "ca.key")).unwrap();
    let server_pem = read(server, "server.pem");
    let all = vec![
        (
            "of a foreign authority",
            Mint::foreign().leaf(Leaf::of(known.agent), &known_key),
        ),
        (
            "of an unknown agent",
            mint.leaf(Leaf::of(stranger), &new_key()),
        ),
        (
            "with another key than the agent's",
            mint.leaf(Leaf::of(known.agent), &new_key()),
        ),
        ("revoked", Credentials::of(&revoked)),
        (
            // For longer than it may be renewed.
            "expired",
            own(|leaf| (leaf.from_s, leaf.until_s) = (-200 * DAY_S, -100 * DAY_S)),
        ),
        ("not valid yet", own(|leaf| leaf.from_s = 600)),
        (
            "for servers",
            own(|leaf| leaf.usage = ExtendedKeyUsagePurpose::ServerAuth),
        ),
        ("of no agent", own(|leaf| leaf.agents.clear())),
        (
            "of two agents",
            own(|leaf| leaf.agents.push(leaf.agents[0])),
        ),
        ("below another authority", chained),
        (
            "the authority's own",
            Credentials {
                chain: vec![server.authority.certificate().clone()],
                key: private(&ca_key),
            },
        ),
        (
            "the server's own",
            Credentials {
                chain: vec![CertificateDer::from_pem_slice(server_pem.as_bytes()).unwrap()],
                key: rustls::pki_types::PrivateKeyDer::from_pem_slice(server_pem.as_bytes())
                    .unwrap(),
            },
        ),
    ];
    // The one that is right is let in, or all the rest would prove nothing.
    let right = Credentials {
        chain: own(|_| ()).chain,
        key: private(&known_key),
    };
    let config = Peer::config(server.authority.certificate(), &[ALPN_WORK], Some(right));
    let peer = Peer::dial(server.addr, config).await.unwrap();
    crate::rig::Control::greet(&peer.connection).await;
    all
}

fn read(server: &Server, name: &str) -> String {
    std::fs::read_to_string(server.folder.join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_a_wrong_certificate_is_refused_in_the_handshake_and_told_nothing() {
    let world = World::new();
    let server = Server::start(&world).await;
    let wrong = wrong_credentials(&server).await;
    let later = server.enrol("later", &[], server.addr).await;
    let (refused, welcomed) = (
        get(&server.counters.refused),
        get(&server.counters.welcomed),
    );
    let count = wrong.len() as u64;
    let mut told = Vec::new();
    let mut addresses = BTreeSet::new();
    for (what, credentials) in wrong {
        let credentials = if sabotage::is_on("a-right-certificate") {
            Credentials::of(
                &server
                    .enrol(&what.replace(' ', "-"), &[], server.addr)
                    .await,
            )
        } else {
            credentials
        };
        let authority = server.authority.certificate();
        let config = Peer::config(authority, &[ALPN_WORK], Some(credentials));
        let (error, addr) = Peer::refusal(server.addr, config).await;
        let ConnectionError::ConnectionClosed(close) = &error else {
            panic!("{what}: not refused in the handshake: {error:?}");
        };
        told.push((what, format!("{} {:?}", close.error_code, close.reason)));
        addresses.insert(format!("127.0.0.1:{}", addr.port()));
    }
    // A difference would tell a stranger what is known here, and what time it is.
    for (what, text) in &told {
        assert_eq!(text, &told[0].1, "{what} is told another thing");
    }
    // The peer may know a moment before the server has counted it.
    wait_until("all are counted", SOON, || {
        get(&server.counters.refused) == refused + count
    })
    .await;
    assert_eq!(get(&server.counters.welcomed), welcomed);
    // One line each in the audit trail, and no more than ten a minute however many come. What is
    // told of connections is told in their order, so that with this one all refusals are told.
    let _agent = LinkAgent::connect(&later, patient()).await;
    server.online(later.agent, true).await;
    let rows = wait_for("the refusals are audited", SOON, || async {
        let rows = server.audit("connection.refuse").await;
        if rows.len() >= 10 {
            Ok(rows)
        } else {
            Err(format!("{} rows", rows.len()))
        }
    })
    .await;
    assert_eq!(rows.len(), 10, "{rows:?}");
    let subjects: BTreeSet<&str> = rows.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects.len(), 10, "each names its peer");
    assert!(
        subjects.iter().all(|subject| addresses.contains(*subject)),
        "{subjects:?}, {addresses:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_an_agent_whose_trust_is_withdrawn_is_out_within_a_second() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    server.action_is(&task, WorkState::Running).await;

    let since = Instant::now();
    if !sabotage::is_on("nobody-is-revoked") {
        server
            .services
            .agent_revoke(&server.caller, "web01")
            .await
            .unwrap();
    }
    let reason = agent.gone().await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "out after {took:?}");
    assert!(reason.contains("revoked"), "{reason}");
    let over = server.action_is(&task, WorkState::Unknown).await;
    let action = &over.steps[0].targets[0].actions[0];
    assert!(action.message.contains("revoked"), "{action:?}");

    let welcomed = get(&server.counters.welcomed);
    let refused = get(&server.counters.refused);
    wait_until("several dials were refused", SOON, || {
        get(&server.counters.refused) >= refused + 3
    })
    .await;
    assert_eq!(get(&server.counters.welcomed), welcomed);
    assert!(server.online.session(home.agent).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_a_stalled_handshake_is_dropped_in_time_and_delays_nobody() {
    assert_eq!(Timing::default().handshake, Duration::from_secs(10));
    let limit = Duration::from_secs(4);
    let handshake = if sabotage::is_on("endless-handshakes") {
        Duration::from_hours(1)
    } else {
        limit
    };
    let timing = Timing {
        handshake,
        ..Timing::default()
    };
    let world = World::new();
    let server = Server::start_with(&world, "server", timing).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let authority = server.authority.certificate();
    let since = Instant::now();
    let mut proxies = Vec::new();
    let mut dials = tokio::task::JoinSet::new();
    for seed in 0..6 {
        // One packet of the client arrives, then nothing any more, either way.
        let proxy = Proxy::start(server.addr, seed).unwrap();
        let mut first = true;
        proxy.tap(Direction::ToServer, move |_| {
            if std::mem::take(&mut first) {
                Verdict::Pass
            } else {
                Verdict::Drop
            }
        });
        proxy.tap(Direction::ToClient, |_| Verdict::Drop);
        let config = Peer::config(authority, &[ALPN_WORK], Some(Credentials::of(&home)));
        let addr = proxy.addr();
        dials.spawn(async move { Peer::dial(addr, config).await.is_ok() });
        proxies.push(proxy);
    }
    for proxy in &proxies {
        wait_until("the server answers into the void", SOON, || {
            proxy.counts(Direction::ToClient).received > 0
        })
        .await;
    }
    let began = Instant::now();
    let _agent = LinkAgent::connect(&home, patient()).await;
    let took = began.elapsed();
    assert!(took < limit / 2, "the others' handshake took {took:?}");
    wait_until("the stalled ones are dropped", SOON, || {
        get(&server.counters.handshake_timeouts) == 6
    })
    .await;
    let took = since.elapsed();
    assert!(
        took >= limit && took < limit + Duration::from_secs(4),
        "dropped after {took:?}"
    );
    assert!(server.online.session(home.agent).is_some());
    dials.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s05_of_two_connections_of_one_agent_the_newest_wins_and_no_task_is_lost() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    server.project("shop", ONE_STEP).await;
    // It does not come back when it is sent away, or it would be the newest in its turn.
    let for_once = tentacle::connection::Timing {
        backoff_first: Duration::from_hours(100),
        backoff_max: Duration::from_hours(100),
        ..patient()
    };
    let mut older = LinkAgent::connect(&home, for_once).await;
    server.online(home.agent, true).await;
    let first = server.online.session(home.agent);
    let task = server.deploy("shop").await;
    // It gets the order and never answers it.
    let start = older.order().await;

    // One that says it is the agent and proves nothing changes nothing.
    let authority = server.authority.certificate();
    let stranger = Mint::foreign().leaf(Leaf::of(home.agent), &KeyPair::generate().unwrap());
    let config = Peer::config(authority, &[ALPN_WORK], Some(stranger));
    Peer::refusal(server.addr, config).await;
    assert_eq!(server.online.session(home.agent), first);

    if sabotage::is_on("one-connection-only") {
        older.gone().await;
    }
    let mut newer = LinkAgent::connect(&home, patient()).await;
    let reason = older.gone().await;
    assert!(reason.contains("another connection"), "{reason}");
    older.leave().await;
    let again = newer.order().await;
    assert_eq!(again.attempt, start.attempt);
    assert_eq!(again.order, start.order, "the same order, byte for byte");
    newer.accept(&again).await;
    newer.succeed(again.attempt).await;
    let over = server.succeeds(&task, SOON).await;
    assert_eq!(over.steps[0].targets[0].actions[0].attempts, 1);

    // The word for it on the wire is a code of its own.
    newer.leave().await;
    server.online(home.agent, false).await;
    let bare = Peer::agent(&home, server.addr).await;
    let _control = crate::rig::Control::greet(&bare.connection).await;
    let _newest = LinkAgent::connect(&home, patient()).await;
    let told = tokio::time::timeout(SOON, bare.connection.closed()).await;
    match told.expect("the older one is closed") {
        ConnectionError::ApplicationClosed(told) => {
            assert_eq!(told.error_code, close::SUPERSEDED.into());
        }
        other => panic!("{other:?}"),
    }
}
