//! The server is killed, or cannot be reached, while deployments run: each ends as it would have
//! without that, no action is started twice, and no log line is missing or doubled.

use std::time::Duration;

use mantle_tests::lines::shell_counting;
use mantle_tests::process::Process;
use mantle_tests::proxy::Proxy;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Agent, Joining};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::fleet::{Fleet, SOON, assert_lines, lines, quoted};

/// How many lines each action prints.
const LINES: u64 = 40;

/// A rolling process of two actions, `first` and `second`, each of which notes its start and prints
/// numbered lines for about `seconds`.
pub fn talkative(fleet: &Fleet, window: usize, pause: &str) -> String {
    let action = |name: &str| {
        let script = format!(
            "{}\n{}\n{}",
            fleet
                .effects
                .shell("start", name, "$MANTLE_PROJECT-$MANTLE_TARGET"),
            shell_counting("line", LINES, pause),
            fleet
                .effects
                .shell("end", name, "$MANTLE_PROJECT-$MANTLE_TARGET"),
        );
        format!(
            "      - {{ action: {name}, uses: script, with: {{ run: {} }} }}\n",
            quoted(&script)
        )
    };
    format!(
        "  - step: work\n    targets: {{ tag: web }}\n    rolling: {{ window: {window} }}\n    actions:\n{}{}",
        action("first"),
        action("second")
    )
}

/// Every action of [`talkative`] ran once about every target, and its log is whole.
pub async fn assert_ran_once(fleet: &Fleet, runs: &[(&str, &str)]) {
    let mut expected = Vec::new();
    for (_, project) in runs {
        for agent in &fleet.agents {
            for action in ["first", "second"] {
                expected.push((action, format!("{project}-{}", agent.name)));
            }
        }
    }
    fleet.effects.assert_each_once(
        expected
            .iter()
            .map(|(action, target)| (*action, target.as_str())),
    );
    for (task, _) in runs {
        let log = fleet.log(task).await;
        for agent in &fleet.agents {
            for action in ["first", "second"] {
                assert_lines(&log, action, &agent.name, LINES);
            }
        }
    }
}

async fn ended(process: &mut Process, within: Duration) -> Option<i32> {
    let name = process.name.clone();
    wait_for(&format!("{name} ends"), within, || {
        let ended = process.ended();
        async move { ended.ok_or_else(|| "it is still running".to_owned()) }
    })
    .await
    .code()
}

#[tokio::test]
async fn a_killed_server_goes_on_with_a_rolling_deployment() {
    let mut fleet = Fleet::new(3).await;
    let process = talkative(&fleet, 1, "sleep 0.04");
    fleet.release("rolls", &process).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "rolls", "1.0", "-e", "test"]);
    let follow = ["task", "logs", "T-1", "--follow", "-o", "json"];
    wait_until("the second target is at work", SOON, || {
        fleet.effects.read().len() >= 5
    })
    .await;
    let mut follower = fleet.beside("follower", &follow);
    follower
        .line("a line of the log", SOON, |line| line.contains("line 1"))
        .await;
    fleet.server.kill9();
    // The step goes on without a server.
    let before = fleet.effects.read().len();
    wait_until("the step goes on", SOON, || {
        fleet.effects.read().len() > before
    })
    .await;
    fleet.server.restart().await;

    assert_eq!(
        ended(&mut waiting, SOON).await,
        Some(0),
        "{}",
        waiting.stderr()
    );
    assert_ran_once(&fleet, &[("T-1", "rolls")]).await;
    // One who followed the log over the restart has seen each line once.
    assert_eq!(
        ended(&mut follower, SOON).await,
        Some(0),
        "{}",
        follower.stderr()
    );
    let followed = lines(&follower.stdout());
    for agent in &fleet.agents {
        assert_lines(&followed, "first", &agent.name, LINES);
        assert_lines(&followed, "second", &agent.name, LINES);
    }
    assert!(
        waiting.stdout().contains("T-1 rolls 1.0 -> test succeeded"),
        "{}",
        waiting.stdout()
    );
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn a_server_that_is_stopped_in_good_order_fails_no_deployment() {
    let mut fleet = Fleet::new(2).await;
    let process = talkative(&fleet, 1, "sleep 0.03");
    fleet.release("drains", &process).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "drains", "1.0", "-e", "test"]);
    wait_until("the first target is at work", SOON, || {
        !fleet.effects.read().is_empty()
    })
    .await;
    let status = fleet.server.stop().await;
    assert!(status.success(), "{status:?}");
    fleet.server.restart().await;
    assert_eq!(
        ended(&mut waiting, SOON).await,
        Some(0),
        "{}",
        waiting.stderr()
    );
    assert_ran_once(&fleet, &[("T-1", "drains")]).await;
}

#[tokio::test]
async fn a_blackhole_of_20_seconds_is_survived_by_a_step() {
    let mut fleet = Fleet::server_only(&[]).await;
    let proxy = Proxy::start(fleet.server.addresses().quic, 7).unwrap();
    fleet.join("web01", "web", Some(proxy.addr())).await;
    fleet.all_online().await;
    // Ten seconds of work: both ends of it lie in the dark, and the second action after it.
    let process = talkative(&fleet, 1, "sleep 0.25");
    fleet.release("dark", &process).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "dark", "1.0", "-e", "test"]);
    wait_until("the step is at work", SOON, || {
        !fleet.effects.read().is_empty()
    })
    .await;
    let began = tokio::time::Instant::now();
    proxy.drop_all();
    wait_until("20 s of darkness", SOON, || {
        began.elapsed() > Duration::from_secs(20)
    })
    .await;
    assert_eq!(
        fleet.effects.count("end", "first", "dark-web01"),
        1,
        "the step went on"
    );
    assert_eq!(fleet.effects.count("start", "second", "dark-web01"), 0);
    assert!(waiting.ended().is_none(), "nobody gives up");
    proxy.pass();
    assert_eq!(
        ended(&mut waiting, SOON).await,
        Some(0),
        "{}",
        waiting.stderr()
    );
    assert_ran_once(&fleet, &[("T-1", "dark")]).await;
}

#[tokio::test]
async fn s63_a_server_killed_during_many_deployments_ends_them_as_without() {
    const DEPLOYMENTS: usize = 20;
    const AGENTS: usize = 50;
    const GROUP: usize = 5;
    const GROUPS: usize = AGENTS / GROUP;
    let seed = std::env::var("MANTLE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut fleet = Fleet::server_only(&[]).await;
    for number in 1..=AGENTS {
        // Each of the deployments is about one group of agents, so that many of them overlap.
        let tag = format!("group{}", (number - 1) / GROUP);
        fleet.join(&format!("web{number:02}"), &tag, None).await;
    }
    fleet.all_online().await;
    for number in 0..DEPLOYMENTS {
        // One in five fails on purpose: it must fail as well, and no other.
        let code = if number % 5 == 4 { 3 } else { 0 };
        let script = format!(
            "{}\n{}\nexit {code}",
            fleet
                .effects
                .shell("start", "only", "$MANTLE_PROJECT-$MANTLE_TARGET"),
            shell_counting("line", LINES, "sleep 0.01"),
        );
        let process = format!(
            "  - {{ step: only, targets: {{ tag: group{} }}, uses: script, with: {{ run: {} }} }}\n",
            number % GROUPS,
            quoted(&script)
        );
        fleet.release(&format!("p{number:02}"), &process).await;
    }
    for number in 0..DEPLOYMENTS {
        fleet.detach(&format!("p{number:02}")).await;
    }
    let kill_at = dice.random_range(1..DEPLOYMENTS * GROUP / 2);
    let message = format!("seed {seed}: killed when {kill_at} actions had begun");
    wait_until(&message, SOON, || fleet.effects.read().len() >= kill_at).await;
    fleet.server.kill9();
    if !sabotage::is_on("server-stays-down") {
        fleet.server.restart().await;
    }

    for number in 0..DEPLOYMENTS {
        let task = format!("T-{}", number + 1);
        let state = if number % 5 == 4 {
            "failed"
        } else {
            "succeeded"
        };
        fleet.task_is(&task, state, SOON * 2).await;
        let log = fleet.log(&task).await;
        let first = number % GROUPS * GROUP + 1;
        let mut begun = 0;
        for agent in first..first + GROUP {
            let (project, target) = (format!("p{number:02}"), format!("web{agent:02}"));
            let about = format!("{project}-{target}");
            let times = fleet.effects.count("start", "only", &about);
            // After one target has failed no other is begun that was still waiting.
            assert!(
                times == 1 || (times == 0 && state == "failed"),
                "{message}: {about} {times}"
            );
            begun += times;
            if times == 1 {
                assert_lines(&log, "only", &target, LINES);
            }
        }
        assert!(begun > 0, "{message}: nobody worked on {task}");
    }
}

#[tokio::test]
async fn a_queued_deployment_waits_for_agents_that_a_restart_has_cut_off() {
    let mut fleet = Fleet::new(2).await;
    let process = talkative(&fleet, 1, "sleep 0.01");
    fleet.release("first", &process).await;
    let first = fleet.detach("first").await;
    let second = fleet.detach("first").await;
    wait_until("the first is at work", SOON, || {
        !fleet.effects.read().is_empty()
    })
    .await;
    // The one whose turn comes next finds nobody there when the server is back.
    fleet.server.kill9();
    fleet.agents[1].stop().await;
    wait_until("the first target is done", SOON, || {
        fleet.effects.count("end", "first", "first-web01") == 1
    })
    .await;
    fleet.server.restart().await;
    fleet.server.ok(&["task", "cancel", &first]).await;
    fleet.task_is(&first, "cancelled", SOON).await;
    fleet.agents[1].run();
    fleet.task_is(&second, "succeeded", SOON).await;
}

/// The server dies at this point of its code, is started anew, and the deployment is as if it had not.
async fn dies_at(point: &str) {
    let mut fleet = Fleet::server_only(&[("MANTLE_FAULT", point)]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    let process = talkative(&fleet, 1, "sleep 0.005");
    fleet.release("dies", &process).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "dies", "1.0", "-e", "test"]);
    wait_until(
        "the server dies (the programs need the feature 'faults')",
        SOON,
        || fleet.server.process().ended().is_some(),
    )
    .await;
    if sabotage::is_on("journal-lost-after-the-end") {
        fleet.agents[0].kill9();
        for name in ["journal", "attempts"] {
            let path = fleet.agents[0].data().join(name);
            std::fs::remove_dir_all(&path)
                .or_else(|_| std::fs::remove_file(&path))
                .unwrap();
        }
        fleet.agents[0].run();
    }
    // The fault is over: what is started now must not meet it again.
    fleet.server.set_env("MANTLE_FAULT", "");
    fleet.server.restart().await;
    assert_eq!(
        ended(&mut waiting, SOON).await,
        Some(0),
        "{}",
        waiting.stderr()
    );
    assert_ran_once(&fleet, &[("T-1", "dies")]).await;
}

#[tokio::test]
async fn s64_a_server_that_dies_before_it_commits_a_result_gets_it_from_the_journal() {
    dies_at("server.before_end_commit").await;
}

#[tokio::test]
async fn a_server_that_dies_after_it_committed_a_result_goes_on_from_it() {
    dies_at("server.after_end_commit").await;
}

#[tokio::test]
async fn a_server_that_dies_between_an_order_and_its_delivery_orders_the_same() {
    dies_at("server.after_order_commit").await;
}

#[tokio::test]
async fn a_server_that_dies_before_it_acknowledges_lines_doubles_none() {
    dies_at("server.after_log_commit:3").await;
}

/// With the agents' own patience: nothing here is set shorter for the test.
#[tokio::test]
async fn agents_are_back_within_5_s_of_a_killed_servers_return() {
    const AGENTS: usize = 3;
    const BACK_WITHIN: Duration = Duration::from_secs(5);
    let mut fleet = Fleet::server_only(&[]).await;
    for number in 1..=AGENTS {
        let how = Joining {
            environments: &["test"],
            ..Joining::default()
        };
        let name = format!("web{number:02}");
        let agent = Agent::start(&fleet.world, &fleet.server, &name, how).await;
        fleet.agents.push(agent);
    }
    // The longer it is away the rarer a packet is repeated.
    for away in [0, 9] {
        fleet.server.kill9();
        let began = tokio::time::Instant::now();
        wait_until("the server is away for a while", SOON, || {
            began.elapsed() >= Duration::from_secs(away)
        })
        .await;
        fleet.server.restart().await;
        for agent in &fleet.agents {
            fleet.server.target_is(&agent.name, true, BACK_WITHIN).await;
        }
    }
}

/// When an agent was last seen, and that it is not connected, as soon as both can be said.
async fn last_seen(fleet: &Fleet, name: &str) -> jiff::Timestamp {
    wait_for(&format!("when {name} was seen"), SOON, || async {
        let list = fleet.server.run(&["agent", "list", "-o", "json"]).await;
        let items = list.json()["items"].as_array().cloned().unwrap_or_default();
        let agent = items.into_iter().find(|agent| agent["target"] == name);
        let agent = agent.ok_or(list.to_string())?;
        let seen = agent["last_seen_at"]
            .as_str()
            .and_then(|at| at.parse().ok());
        seen.ok_or(agent.to_string())
    })
    .await
}

#[tokio::test]
async fn a_killed_server_remembers_the_last_sign_of_life_of_who_was_connected() {
    let mut fleet = Fleet::new(2).await;
    let came = last_seen(&fleet, "web01").await;
    fleet.agents[1].stop().await;
    fleet.server.target_is("web02", false, SOON).await;
    let left = last_seen(&fleet, "web02").await;
    // The note names whoever is connected when it is written: web01 alone, sooner or later.
    let state = fleet.server.data().join("mantle.db-wal");
    wait_until("who is connected is noted", SOON, || {
        let written = std::fs::read(&state).unwrap_or_default();
        written.windows(10).any(|bytes| bytes == b"connected/")
    })
    .await;
    fleet.server.kill9();
    let killed = jiff::Timestamp::now();
    fleet.agents[0].kill9();
    fleet.server.restart().await;

    let seen = wait_for("it is known when web01 was last seen", SOON, || async {
        let seen = last_seen(&fleet, "web01").await;
        (seen > came).then_some(seen).ok_or(seen.to_string())
    })
    .await;
    assert!(seen <= killed, "{seen} is after {killed}");
    assert_eq!(last_seen(&fleet, "web02").await, left, "it said goodbye");
    fleet.server.target_is("web01", false, SOON).await;

    // The same after a second death, at which nobody was there.
    fleet.server.kill9();
    fleet.server.restart().await;
    fleet.server.target_is("web01", false, SOON).await;
    assert_eq!(last_seen(&fleet, "web01").await, seen);
}
