//! Many agents: with many requests each (S23), and all back after an outage (S06).

use std::sync::atomic::Ordering;
use std::time::Duration;

use mantle_shared::protocol::{Echo, Message};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{World, sabotage};
use tentacle::connection::Timing;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::rig::{LinkAgent, Server, patient};

const AGENTS: u64 = 100;
const REQUESTS: u64 = 20;
/// Large enough that what is kept of an answer would show.
const PAYLOAD_BYTES: usize = 8 * 1024;
/// A debug build on a busy machine: long beside what it takes.
const LONG: Duration = Duration::from_mins(2);
/// What the process may have grown by over two rounds. Were their payloads kept by one end, it would be 32 MiB;
/// what an allocator keeps of what was in flight at once is up to 17 MiB on a machine that does other things besides.
const GROWTH_KIB: u64 = 24 * 1024;

/// This process's memory, in KiB.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Each agent asks and is asked at once; gives the agents back when every answer is there.
async fn round(
    server: &Server,
    agents: Vec<(mantle_shared::AgentId, LinkAgent)>,
) -> Vec<(mantle_shared::AgentId, LinkAgent)> {
    let answered = || server.counters.stray_answers.load(Ordering::SeqCst);
    let before = answered();
    let mut asking = JoinSet::new();
    for (id, mut agent) in agents {
        // The server asks: what comes back is counted, since no deployment waits for it.
        let session = server.sessions.current(id).expect("it is connected");
        for request in 1..=REQUESTS {
            let payload = vec![1; PAYLOAD_BYTES];
            let echo = Echo { request, payload };
            assert!(server.sessions.send(id, session, echo.into()));
        }
        asking.spawn(async move {
            for request in 1..=REQUESTS {
                let payload = vec![2; PAYLOAD_BYTES];
                agent.say(Echo { request, payload }).await;
            }
            for request in 1..=REQUESTS {
                match agent.message().await {
                    Message::EchoAnswer(answer) => {
                        assert_eq!(answer.request, request, "in order");
                        assert_eq!(answer.payload.len(), PAYLOAD_BYTES);
                    }
                    other => panic!("{} in the place of an answer", other.name()),
                }
            }
            (id, agent)
        });
    }
    let mut back = Vec::new();
    while let Some(done) = tokio::time::timeout(LONG, asking.join_next())
        .await
        .expect("every agent has its answers in time")
    {
        back.push(done.unwrap());
    }
    wait_until("the server has every answer", LONG, || {
        answered() - before == AGENTS * REQUESTS
    })
    .await;
    back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_of_a_hundred_agents_with_twenty_requests_each_all_complete_and_leave_nothing() {
    let world = World::new();
    let server = Server::start(&world).await;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let home = server
            .enrol(&format!("web{number:03}"), &["web"], server.addr)
            .await;
        agents.push((home.agent, LinkAgent::connect(&home, patient()).await));
    }
    for (id, _) in &agents {
        server.online(*id, true).await;
    }
    assert_eq!(server.sessions.count(), usize::try_from(AGENTS).unwrap());
    let mut base = 0;
    let mut kept = Vec::new();
    for number in 0..4 {
        agents = round(&server, agents).await;
        if sabotage::is_on("answers-kept") {
            kept.extend((0..AGENTS * REQUESTS).map(|_| vec![3_u8; PAYLOAD_BYTES]));
        }
        match number {
            // What is made once and kept for later is there by now.
            1 => base = resident_kib(),
            0 | 2 => {}
            _ => {
                let grown = resident_kib().saturating_sub(base);
                assert!(grown < GROWTH_KIB, "two rounds left {grown} KiB behind");
            }
        }
    }
    drop(kept);
    // None of them was sent away for what it asked.
    assert_eq!(server.sessions.count(), usize::try_from(AGENTS).unwrap());
    assert_eq!(server.counters.slow_agents.load(Ordering::SeqCst), 0);
}

/// Stands where the server was and answers nothing, until so many packets came.
async fn silence(addr: std::net::SocketAddr, packets: u64) {
    let socket = wait_for("the port is free", LONG, || async move {
        let bound = UdpSocket::bind(addr).await;
        bound.map_err(|error| error.to_string())
    })
    .await;
    let mut buffer = [0; 2048];
    for _ in 0..packets {
        let packet = tokio::time::timeout(LONG, socket.recv_from(&mut buffer)).await;
        packet.expect("agents go on dialling").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s06_after_an_outage_a_hundred_agents_are_back_and_each_is_let_in_once() {
    let world = World::new();
    let server = Server::start(&world).await;
    // As in the field, with shorter waits between dials.
    let timing = Timing {
        backoff_first: Duration::from_millis(50),
        backoff_max: Duration::from_secs(2),
        ..Timing::default()
    };
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let home = server
            .enrol(&format!("web{number}"), &[], server.addr)
            .await;
        agents.push(LinkAgent::connect(&home, timing).await);
    }
    let (addr, folder) = (server.addr, server.folder.clone());
    server.stop().await;
    // Each of them dials in vain by now.
    silence(addr, AGENTS * 2).await;
    let server = Server::open(&world, folder, addr, mantle::gateway::Timing::default()).await;
    let mut coming = JoinSet::new();
    for mut agent in agents {
        coming.spawn(async move {
            tokio::time::timeout(LONG, agent.resync(Vec::new()))
                .await
                .expect("it is back");
            agent
        });
    }
    let agents = coming.join_all().await;
    assert_eq!(server.sessions.count(), agents.len());
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
    // The door was never too narrow for them, and none that was let in had to come again.
    assert_eq!(count(&server.counters.ignored), 0);
    assert_eq!(count(&server.counters.welcomed), AGENTS);
}
