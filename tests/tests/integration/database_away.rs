//! The database cannot be used for a minute: the server waits for it, what runs goes on, and in the end
//! everything is stored once.

use std::time::{Duration, Instant};

use mantle_tests::lines::shell_counting;
use mantle_tests::locked_database::LockedDatabase;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, assert_lines, quoted};

/// Longer than any lease, retry or patience of the server's own.
const AWAY: Duration = Duration::from_mins(1);
/// How long whoever asks the server meanwhile may be kept waiting.
const ANSWERED: Duration = Duration::from_secs(45);
const LINES: u64 = 200;

/// A script that prints half of its lines, then the other half behind the gate `name`.
fn gated(fleet: &Fleet, name: &str) -> String {
    let half = |from: u64, to: u64| {
        shell_counting("line", to, "sleep 0.002").replacen("i=1", &format!("i={from}"), 1)
    };
    format!(
        "{}\n{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\n{}\n{}",
        fleet.effects.shell("start", name, "$MANTLE_TARGET"),
        half(1, LINES / 2),
        fleet.world.path(&format!("gate-{name}")).display(),
        half(LINES / 2 + 1, LINES),
        fleet.effects.shell("end", name, "$MANTLE_TARGET"),
    )
}

/// A project whose step `work` ends meanwhile and is followed by another, and one whose step goes on
/// for longer than the database is away.
async fn projects(fleet: &Fleet) {
    let step = |name: &str, script: &str| {
        format!(
            "  - {{ step: {name}, targets: {{ tag: web }}, actions: [{{ action: {name}, uses: script, with: {{ run: {} }} }}] }}\n",
            quoted(script)
        )
    };
    let next = fleet.effects.shell("start", "next", "$MANTLE_TARGET");
    let ends = step("ends", &gated(fleet, "ends")) + &step("next", &next);
    fleet.release("ends", &ends).await;
    let stays = step("stays", &gated(fleet, "stays"));
    // Beside the other, whose scripts have the targets.
    let stays = stays.replace("uses: script", "uses: script, locks: []");
    fleet.release("stays", &stays).await;
}

async fn noted(fleet: &Fleet, what: &str, name: &str) {
    wait_until(&format!("{what} of {name} everywhere"), SOON, || {
        let on = |agent: &mantle_tests::Agent| fleet.effects.count(what, name, &agent.name) == 1;
        fleet.agents.iter().all(on)
    })
    .await;
}

#[tokio::test]
async fn s66_a_database_that_is_away_for_a_minute_stops_nothing_and_everything_is_stored_once() {
    let mut fleet = Fleet::new(2).await;
    projects(&fleet).await;
    let mut ends = fleet.beside("ends", &["deploy", "ends", "1.0", "-e", "test"]);
    noted(&fleet, "start", "ends").await;
    let mut stays = fleet.beside("stays", &["deploy", "stays", "1.0", "-e", "test"]);
    noted(&fleet, "start", "stays").await;

    let database = LockedDatabase::lock(fleet.server.data()).await;
    let since = Instant::now();
    fleet.world.file("gate-ends", "");
    noted(&fleet, "end", "ends").await;
    // Whoever asks is told so, in time, and nothing comes of what was asked.
    for args in [
        &["task", "show", "T-1"][..],
        &["deploy", "ends", "1.0", "-e", "production", "--detach"],
    ] {
        let asked = Instant::now();
        let output = fleet.server.run(args).await.exit(9);
        output.complains(&["database", "try again"]);
        assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    }
    wait_for("the minute is over", AWAY + SOON, || {
        let server = fleet.server.process().ended();
        assert!(server.is_none(), "the server ended: {server:?}");
        let left = AWAY.saturating_sub(since.elapsed());
        async move { left.is_zero().then_some(()).ok_or(format!("{left:?} left")) }
    })
    .await;
    if sabotage::is_on("steps-die-meanwhile") {
        fleet.kill_supervisors();
    }
    assert!(ends.ended().is_none(), "{}", ends.stderr());
    assert!(stays.ended().is_none(), "{}", stays.stderr());
    drop(database);

    for (process, name) in [(&mut ends, "ends"), (&mut stays, "stays")] {
        fleet.world.file(&format!("gate-{name}"), "");
        let ended = wait_for(&format!("{name} is over"), SOON, || {
            let ended = process.ended();
            async move { ended.ok_or_else(String::new) }
        })
        .await;
        assert!(
            ended.success(),
            "{}\n{}",
            process.stdout(),
            process.stderr()
        );
    }
    for (task, name) in [("T-1", "ends"), ("T-2", "stays")] {
        let log = fleet.log(task).await;
        let shown = fleet.task_is(task, "succeeded", SOON).await;
        assert_eq!(shown["warnings"], false, "{shown}");
        for target in ["web01", "web02"] {
            assert_lines(&log, name, target, LINES);
        }
    }
    let targets = ["web01", "web02"];
    let runs = ["ends", "stays", "next"].into_iter();
    fleet
        .effects
        .assert_each_once(runs.flat_map(|run| targets.map(|target| (run, target))));
    let tasks = fleet.server.json(&["task", "list"]).await;
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(2), "{tasks}");
    assert!(!fleet.server.process().stderr().contains("panicked"));
}
