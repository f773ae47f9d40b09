//! The real server and the real agent over lines as they are in the field: what is deployed arrives
//! whole and runs once on each of them.

use std::time::{Duration, Instant};

use mantle::gateway::Timing;
use mantle_tests::proxy::{BOTH, Direction, Profile, Proxy};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Effects, World, sabotage};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::delivery::watchful;
use crate::rig::{FullAgent, Home, SOON, Server, hasty, patient};

/// How many lines a step prints.
const LINES: usize = 20;
/// Noticed well within a darkness.
const IDLE: Duration = Duration::from_millis(1500);

/// A server and an agent with a line between them that is about to change.
struct Field {
    world: World,
    server: Server,
    proxy: Proxy,
    home: Home,
    agent: FullAgent,
    effects: Effects,
}

impl Field {
    /// Both ends have their usual patience.
    async fn new(seed: u64) -> Self {
        Self::with(seed, patient(), Timing::default()).await
    }

    /// Both ends give a silent line up after [`IDLE`].
    async fn watchful(seed: u64) -> Self {
        Self::with(seed, hasty(IDLE), watchful(IDLE)).await
    }

    async fn with(seed: u64, agent: tentacle::connection::Timing, server: Timing) -> Self {
        let world = World::new();
        let server = Server::start_with(&world, "server", server).await;
        let proxy = Proxy::start(server.addr, seed).unwrap();
        let home = server.enrol("web01", &["web"], proxy.addr()).await;
        let agent = FullAgent::start(&home, agent);
        server.online(home.agent, true).await;
        let effects = Effects::at(world.path("effects"));
        Self {
            world,
            server,
            proxy,
            home,
            agent,
            effects,
        }
    }

    /// Three steps: a package of so many bytes that cannot be made fewer, and two scripts that
    /// print a line and wait a little each time.
    async fn three_steps(&self, bytes: usize, pause: &str) {
        let mut noise = vec![0; bytes];
        StdRng::seed_from_u64(89).fill_bytes(&mut noise);
        self.server.push("Site", &[("noise.bin", &noise)]).await;
        let times = if sabotage::is_on("lines-twice") {
            "1 2"
        } else {
            "1"
        };
        let script = |name: &str| {
            let start = self.effects.shell("start", name, "$MANTLE_TARGET");
            format!(
                "  - step: {name}
    targets: {{ tag: web }}
    uses: script
    with:
      run: |
        {start}
        i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); for t in {times}; do echo \"line {name} $i\"; done; sleep {pause}; done
"
            )
        };
        let process = format!(
            "packages:
  - id: Site
process:
  - step: Install
    targets: {{ tag: web }}
    uses: package
    with: {{ package: Site }}
{}{}",
            script("First"),
            script("Second"),
        );
        self.server.project("shop", &process).await;
    }

    /// The deployment ends well: each script ran once and every line of it is there once.
    async fn completes(&self, task: &str, within: Duration) {
        self.server.succeeds(task, within).await;
        self.effects
            .assert_each_once([("First", "web01"), ("Second", "web01")]);
        let lines = self.server.lines(task).await;
        for name in ["First", "Second"] {
            let prefix = format!("line {name} ");
            let printed: Vec<_> = lines.iter().filter(|l| l.starts_with(&prefix)).collect();
            let expected: Vec<_> = (1..=LINES).map(|i| format!("line {name} {i}")).collect();
            assert_eq!(printed, expected.iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }
}

/// What a line showed of itself.
struct Seen {
    /// How often the agent connected.
    connections: usize,
    /// Packets that were lost, both ways.
    lost: u64,
    /// How long the deployment took.
    took: Duration,
}

/// A deployment of three steps and a package of so many bytes over this line.
async fn over(profile: Profile, seed: u64, bytes: usize) -> Seen {
    let field = Field::new(seed).await;
    field.three_steps(bytes, "0.02").await;
    let lost = || {
        BOTH.map(|way| field.proxy.counts(way).dropped)
            .iter()
            .sum::<u64>()
    };
    let before = lost();
    let played = profile.play(&field.proxy);
    let since = Instant::now();
    let task = field.server.deploy("shop").await;
    field.completes(&task, SOON * 3).await;
    let took = since.elapsed();
    let lost = lost() - before;
    played.end().await;
    let connections = field.agent.seen().connections;
    field.agent.stop().await;
    Seen {
        connections,
        lost,
        took,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_perfect_line() {
    let seen = over(Profile::Perfect, 890, 4_000_000).await;
    assert_eq!(seen.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_of_20_ms() {
    let line = Profile::Delayed(Duration::from_millis(20));
    assert_eq!(over(line, 891, 4_000_000).await.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_of_200_ms() {
    let delay = Duration::from_millis(200);
    let seen = over(Profile::Delayed(delay), 892, 2_000_000).await;
    assert_eq!(seen.connections, 1);
    // An order and its end, for each of three steps.
    assert!(seen.took > delay * 6, "{:?}", seen.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_that_loses_a_fiftieth() {
    let seen = over(Profile::Lossy(0.02), 893, 4_000_000).await;
    assert_eq!(seen.connections, 1);
    assert!(seen.lost > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_whose_tails_are_late() {
    let late = Duration::from_millis(500);
    let seen = over(Profile::LateTail(late), 894, 1_000_000).await;
    assert_eq!(seen.connections, 1);
    assert!(seen.took > late, "{:?}", seen.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_of_a_megabit() {
    let seen = over(Profile::Slow(1_000_000), 895, 600_000).await;
    assert_eq!(seen.connections, 1);
    // What a megabit carries in four seconds is less than the package.
    assert!(seen.took > Duration::from_secs(4), "{:?}", seen.took);
}

/// In the field 10 s of every 30 s are dark; here all times are a quarter of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s89_on_a_line_that_is_dark_for_a_third_of_the_time() {
    let field = Field::watchful(896).await;
    field.three_steps(1_000_000, "0.3").await;
    let line = Profile::Intermittent {
        dark: Duration::from_millis(2500),
        every: Duration::from_millis(7500),
    };
    let played = line.play(&field.proxy);
    let task = field.server.deploy("shop").await;
    field.completes(&task, SOON * 3).await;
    played.end().await;
    let seen = field.agent.seen();
    assert!(seen.connections > 1, "it was dark: {:?}", seen.ends);
    field.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s92_an_mtu_of_1280_that_nobody_speaks_of_carries_a_package() {
    let field = Field::new(92).await;
    field.three_steps(4_000_000, "0.02").await;
    let before = field.proxy.counts(Direction::ToClient).dropped;
    let bytes = if sabotage::is_on("no-packet-passes") {
        100
    } else {
        1280
    };
    let played = Profile::Narrow(bytes).play(&field.proxy);
    let task = field.server.deploy("shop").await;
    field.completes(&task, SOON * 3).await;
    let dropped = field.proxy.counts(Direction::ToClient).dropped - before;
    assert!(dropped > 0, "the line was narrower than what was tried");
    played.end().await;
    field.agent.stop().await;
}

/// A step that prints until it may end, so that something can happen to it meanwhile.
async fn gated(field: &Field) -> std::path::PathBuf {
    let gate = field.world.path("gate");
    let start = field.effects.shell("start", "Work", "$MANTLE_TARGET");
    let process = format!(
        "process:
  - step: Work
    targets: {{ tag: web }}
    uses: script
    with:
      run: |
        {start}
        i=0; while [ ! -e '{}' ]; do i=$((i+1)); echo \"tick $i\"; sleep 0.05; done
        echo \"ticks $i\"
",
        gate.display()
    );
    field.server.project("shop", &process).await;
    gate
}

/// The step ran once, and all that it printed is there in order.
async fn ticked(field: &Field, task: &str) {
    field.server.succeeds(task, SOON).await;
    field.effects.assert_each_once([("Work", "web01")]);
    let lines = field.server.lines(task).await;
    let ticks = lines.iter().filter(|line| line.starts_with("tick "));
    let expected: Vec<_> = (1..=ticks.clone().count())
        .map(|i| format!("tick {i}"))
        .collect();
    assert_eq!(
        ticks.collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    let total = format!("ticks {}", expected.len());
    assert!(lines.contains(&total), "{total}: {lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s08_a_changed_port_keeps_the_connection_and_no_step_notices() {
    let field = Field::new(8).await;
    let gate = gated(&field).await;
    let task = field.server.deploy("shop").await;
    for ticks in [5, 30, 60] {
        wait_for("the step prints", SOON, async || {
            let lines = field.server.lines(&task).await;
            let there = lines.iter().any(|line| *line == format!("tick {ticks}"));
            there
                .then_some(())
                .ok_or_else(|| format!("{} lines", lines.len()))
        })
        .await;
        if sabotage::is_on("deaf-after-the-change") {
            field.proxy.one_way(Direction::ToClient);
        }
        field.proxy.rebind_client_ports().unwrap();
    }
    std::fs::write(&gate, "").unwrap();
    ticked(&field, &task).await;
    let seen = field.agent.seen();
    assert_eq!(seen.connections, 1, "{:?}", seen.ends);
    field.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s90_a_one_way_line_is_given_up_by_both_ends_and_what_runs_is_taken_up_again() {
    let field = Field::watchful(90).await;
    let gate = gated(&field).await;
    let task = field.server.deploy("shop").await;
    wait_until("the step is at work", SOON, || {
        field.effects.count("start", "Work", "web01") > 0
    })
    .await;
    // What the agent says is lost; what the server says arrives.
    if !sabotage::is_on("both-ways-pass") {
        field.proxy.one_way(Direction::ToClient);
    }
    field.server.online(field.home.agent, false).await;
    wait_until("the agent gives up, too", SOON, || {
        !field.agent.seen().ends.is_empty()
    })
    .await;
    field.proxy.pass();
    field.server.online(field.home.agent, true).await;
    std::fs::write(&gate, "").unwrap();
    ticked(&field, &task).await;
    assert!(field.agent.seen().connections >= 2);
    assert_eq!(field.agent.seen().starts.len(), 1, "ordered once");
    field.agent.stop().await;
}
