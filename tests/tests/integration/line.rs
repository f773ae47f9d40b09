//! What a line does to a connection, and a server that comes back: S19, S20, trap by trap.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mantle::gateway::Timing;
use mantle_shared::protocol::Echo;
use mantle_tests::proxy::{Direction, Proxy, Verdict};
use mantle_tests::{Effects, World, sabotage};

use crate::delivery::{blank, echo, watchful};
use crate::rig::{FullAgent, Home, LinkAgent, SOON, Server, hasty, patient};
use crate::trust::ONE_STEP;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_with_the_last_packet_of_everything_late_a_deployment_completes() {
    let world = World::new();
    let server = Server::start(&world).await;
    let proxy = Proxy::start(server.addr, 19).unwrap();
    let effects = Effects::at(world.path("effects"));
    let noise: Vec<u8> = (0..300_000_u32)
        .map(|n| n.wrapping_mul(n).to_be_bytes()[2])
        .collect();
    server
        .push("Site", &[("index.html", b"hello"), ("noise.bin", &noise)])
        .await;
    let start = effects.shell("start", "Work", "$MANTLE_TARGET");
    server
        .project(
            "shop",
            &format!(
                "packages:
  - id: Site
process:
  - step: Install
    targets: {{ tag: web }}
    uses: package
    with: {{ package: Site }}
  - step: Work
    targets: {{ tag: web }}
    rolling: {{ window: 1 }}
    uses: script
    with:
      run: |
        {start}
        for n in 1 2 3 4 5; do echo \"line $n\"; done
"
            ),
        )
        .await;
    let mut agents = Vec::new();
    let mut homes = Vec::new();
    for name in ["web01", "web02"] {
        let home = server.enrol(name, &["web"], proxy.addr()).await;
        agents.push(FullAgent::start(&home, patient()));
        homes.push(home);
    }
    for home in &homes {
        server.online(home.agent, true).await;
    }
    proxy.tail_late(Duration::from_secs(1));
    if sabotage::is_on("last-packets-lost") {
        proxy.one_way(Direction::ToServer);
    }
    let task = server.deploy("shop").await;
    server.succeeds(&task, SOON * 4).await;
    effects.assert_each_once([("Work", "web01"), ("Work", "web02")]);
    let lines = server.lines(&task).await;
    for n in 1..=5 {
        let line = format!("line {n}");
        assert_eq!(lines.iter().filter(|l| **l == line).count(), 2, "{lines:?}");
    }
    proxy.pass();
    for agent in agents {
        assert_eq!(agent.seen().connections, 1, "{:?}", agent.seen().ends);
        agent.stop().await;
    }
}

/// A server that is killed when the agent has its half of the handshake, and is back at once, can say
/// nothing about it: no packet of such a connection is one that it could answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_in_the_middle_of_the_greeting_is_left_within_seconds() {
    let world = World::new();
    let server = Server::start(&world).await;
    let proxy = Proxy::start(server.addr, 21).unwrap();
    let home = server.enrol("web01", &["web"], proxy.addr()).await;
    // When it fell silent, and when the agent began anew.
    let silent: Arc<OnceLock<Instant>> = Arc::default();
    let anew: Arc<OnceLock<Instant>> = Arc::default();
    let (of_client, of_server) = (
        (Arc::clone(&silent), Arc::clone(&anew)),
        (Arc::clone(&silent), Arc::clone(&anew)),
    );
    proxy.tap(Direction::ToClient, move |packet| {
        let (silent, anew) = &of_server;
        // A long header is of a handshake; what follows is never let through.
        let is_handshake = packet.first().is_some_and(|byte| byte & 0x80 != 0);
        if is_handshake || anew.get().is_some() {
            return Verdict::Pass;
        }
        silent.get_or_init(Instant::now);
        Verdict::Drop
    });
    proxy.tap(Direction::ToServer, move |packet| {
        let (silent, anew) = &of_client;
        let begins = packet.first().is_some_and(|byte| byte & 0xf0 == 0xc0);
        if begins && silent.get().is_some() {
            anew.get_or_init(Instant::now);
        }
        Verdict::Pass
    });
    let agent = FullAgent::start(&home, patient());
    server.online(home.agent, true).await;
    let (silent, anew) = (silent.get().unwrap(), anew.get().unwrap());
    let took = anew.duration_since(*silent);
    assert!(took < Duration::from_secs(5), "{took:?}");
    agent.stop().await;
}

/// Both ends' idle timeout in [`pause`]; without the switch of the environment it is under a minute.
const IDLE: Duration = Duration::from_secs(3);

/// An agent whose line can be paused in the middle of a message.
struct Paused {
    server: Server,
    proxy: Proxy,
    home: Home,
    agent: LinkAgent,
    _world: World,
}

impl Paused {
    async fn start() -> Self {
        let minute = Duration::from_mins(1);
        assert!(Timing::default().idle < minute);
        assert!(tentacle::connection::Timing::default().idle_timeout < minute);
        let world = World::new();
        let server = Server::start_with(&world, "server", watchful(IDLE)).await;
        let proxy = Proxy::start(server.addr, 20).unwrap();
        let home = server.enrol("web01", &["web"], proxy.addr()).await;
        let agent = LinkAgent::connect(&home, hasty(IDLE)).await;
        server.online(home.agent, true).await;
        Self {
            server,
            proxy,
            home,
            agent,
            _world: world,
        }
    }

    /// Nothing moves any more once so much has passed in this direction.
    fn pause_after(&self, direction: Direction, bytes: usize) {
        if sabotage::is_on("line-never-paused") {
            return;
        }
        let proxy = self.proxy.clone();
        let mut left = bytes;
        self.proxy.tap(direction, move |packet| {
            left = left.saturating_sub(packet.len());
            if left == 0 {
                proxy.pause();
            }
            Verdict::Pass
        });
    }

    /// Both ends notice, and once the line moves again there is a connection that works.
    async fn both_notice_and_go_on(&mut self) {
        let since = Instant::now();
        let reason = self.agent.gone().await;
        assert!(reason.contains("idle timeout"), "{reason}");
        self.server.online(self.home.agent, false).await;
        let took = since.elapsed();
        assert!(took < IDLE * 2 + Duration::from_secs(3), "after {took:?}");
        self.proxy.pass();
        self.agent.resync(Vec::new()).await;
        self.server.online(self.home.agent, true).await;
        echo(&mut self.agent, b"later".to_vec()).await;
        self.server.project("shop", ONE_STEP).await;
        let task = self.server.deploy("shop").await;
        let start = self.agent.order().await;
        self.agent.accept(&start).await;
        self.agent.succeed(start.attempt).await;
        self.server.succeeds(&task, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_a_pause_in_the_middle_of_an_order_is_noticed_by_both_ends() {
    let mut paused = Paused::start().await;
    paused.pause_after(Direction::ToClient, 20_000);
    let session = paused.server.sessions.current(paused.home.agent).unwrap();
    let order = blank(1, 2_000_000);
    let sessions = &paused.server.sessions;
    assert!(sessions.send(paused.home.agent, session, order.into()));
    paused.both_notice_and_go_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_a_pause_in_the_middle_of_a_report_is_noticed_by_both_ends() {
    let mut paused = Paused::start().await;
    paused.pause_after(Direction::ToServer, 20_000);
    let payload = vec![7; 2_000_000];
    let request = 1;
    paused.agent.say(Echo { request, payload }).await;
    paused.both_notice_and_go_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_noticed_at_the_next_keepalive() {
    let world = World::new();
    let server = Server::start(&world).await;
    let proxy = Proxy::start(server.addr, 21).unwrap();
    let home = server.enrol("web01", &["web"], proxy.addr()).await;
    server.project("shop", ONE_STEP).await;
    // The idle timeout is the usual 45 s, so that noticing sooner is not its doing.
    let keepalive = Duration::from_millis(500);
    let timing = tentacle::connection::Timing {
        keepalive,
        ..patient()
    };
    let mut agent = LinkAgent::connect(&home, timing).await;
    server.online(home.agent, true).await;

    // Killed: nothing of its end reaches the agent.
    proxy.drop_all();
    let (mut folder, addr) = (server.folder.clone(), server.addr);
    server.stop().await;
    if sabotage::is_on("keys-not-kept") {
        // The same authority over a new database, so that the keys of the connections are new.
        let other = world.dir("other");
        for name in ["ca.key", "ca.crt"] {
            std::fs::copy(folder.join(name), other.join(name)).unwrap();
        }
        folder = other;
    }
    let server = Server::open(&world, folder, addr, Timing::default()).await;
    proxy.pass();
    let since = Instant::now();
    let reason = agent.gone().await;
    let took = since.elapsed();
    assert!(reason.contains("restarted"), "{reason}");
    assert!(took < keepalive + Duration::from_secs(5), "after {took:?}");

    agent.resync(Vec::new()).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    agent.succeed(start.attempt).await;
    server.succeeds(&task, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_says_so_and_when_to_come_back() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    let (folder, addr) = (server.folder.clone(), server.addr);
    let pause = Duration::from_millis(if sabotage::is_on("come-back-at-once") {
        0
    } else {
        1500
    });
    let since = Instant::now();
    server
        .leave(u32::try_from(pause.as_millis()).unwrap())
        .await;
    let reason = agent.gone().await;
    assert!(reason.contains("the server restarts"), "{reason}");
    let server = Server::open(&world, folder, addr, Timing::default()).await;
    agent.resync(Vec::new()).await;
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(1500), "back after {took:?}");
    server.online(home.agent, true).await;
    echo(&mut agent, b"later".to_vec()).await;
}
