//! An agent is killed, restarted or out of room while the real server deploys to it: the step goes
//! on, is never started twice, and its exit code and every line arrive.

use mantle_tests::process::Process;
use mantle_tests::proxy::Proxy;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, assert_lines, gated, journal, open_gate, quoted};

/// How many lines a step prints.
const LINES: u64 = 50;

/// Removes what the agent keeps under this name.
fn forget(fleet: &Fleet, name: &str) {
    let path = fleet.agents[0].data().join(name);
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

async fn at_work(fleet: &Fleet) {
    wait_until("the step is at work", SOON, || {
        fleet.effects.count("start", "work", "web01") > 0
    })
    .await;
}

async fn step_over(fleet: &Fleet) {
    wait_until("the step is over", SOON, || {
        fleet.effects.count("end", "work", "web01") > 0
    })
    .await;
}

async fn code_of(process: &mut Process) -> Option<i32> {
    wait_for("the deployment is over", SOON, || {
        let ended = process.ended();
        async move { ended.ok_or_else(|| "it is still running".to_owned()) }
    })
    .await
    .code()
}

async fn assert_failed_with_6(fleet: &Fleet, waiting: &mut Process) {
    assert_eq!(code_of(waiting).await, Some(3), "{}", waiting.stderr());
    assert!(
        waiting.stderr().contains("exit code 6"),
        "{}",
        waiting.stderr()
    );
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-1").await, "work", "web01", LINES);
    let task = fleet.task("T-1").await;
    let action = &task["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(
        (&action["exit_code"], &action["attempts"]),
        (&6.into(), &1.into()),
        "{task}"
    );
}

#[tokio::test]
async fn s53_a_killed_agents_step_goes_on_under_the_real_server() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 6).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"]);
    at_work(&fleet).await;
    fleet.agents[0].kill9();
    fleet.server.target_is("web01", false, SOON).await;
    if sabotage::is_on("supervisor-dies-too") {
        fleet.kill_supervisors();
    }
    open_gate(&fleet);
    fleet.agents[0].run();
    assert_failed_with_6(&fleet, &mut waiting).await;
}

#[tokio::test]
async fn s52_an_agent_that_is_restarted_in_good_order_keeps_its_step() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 6).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"]);
    at_work(&fleet).await;
    let status = fleet.agents[0].stop().await;
    assert!(status.success(), "{status:?}");
    assert!(waiting.ended().is_none(), "a restart fails no deployment");
    if sabotage::is_on("supervisor-stopped-too") {
        fleet.kill_supervisors();
    }
    fleet.agents[0].run();
    fleet.server.target_is("web01", true, SOON).await;
    open_gate(&fleet);
    assert_failed_with_6(&fleet, &mut waiting).await;
}

#[tokio::test]
async fn s54_a_step_that_ended_while_its_agent_was_down_has_its_exit_code() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 6).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"]);
    at_work(&fleet).await;
    fleet.agents[0].kill9();
    open_gate(&fleet);
    step_over(&fleet).await;
    assert!(waiting.ended().is_none(), "nobody knows the end yet");
    if sabotage::is_on("results-lost") {
        forget(&fleet, "attempts");
    }
    fleet.agents[0].run();
    assert_failed_with_6(&fleet, &mut waiting).await;
}

#[tokio::test]
async fn a_killed_agent_and_a_killed_server_together_lose_nothing() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 6).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"]);
    at_work(&fleet).await;
    fleet.agents[0].kill9();
    fleet.server.kill9();
    open_gate(&fleet);
    step_over(&fleet).await;
    fleet.server.restart().await;
    fleet.agents[0].run();
    assert_failed_with_6(&fleet, &mut waiting).await;
}

/// The agent dies at this point of its code while it starts the step, and is started anew: with its
/// journal, or when that was `lost` meanwhile without.
async fn dies_at(point: &str, lost: bool) -> (Fleet, serde_json::Value) {
    let mut fleet = Fleet::server_only(&[]).await;
    fleet
        .join_with("web01", "web", None, &[("MANTLE_FAULT", point)])
        .await;
    fleet.all_online().await;
    gated(&fleet, LINES, 0).await;
    open_gate(&fleet);
    let mut waiting = fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"]);
    wait_until(
        "the agent dies (the programs need the feature 'faults')",
        SOON,
        || fleet.agents[0].process().ended().is_some(),
    )
    .await;
    if lost {
        forget(&fleet, "journal");
    }
    if sabotage::is_on("journal-lost") {
        // The journal alone would be made good from them.
        forget(&fleet, "attempts");
    }
    fleet.agents[0].set_env("MANTLE_FAULT", "");
    fleet.agents[0].run();
    assert_eq!(code_of(&mut waiting).await, Some(0), "{}", waiting.stderr());
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-1").await, "work", "web01", LINES);
    let action = fleet.task("T-1").await["steps"][0]["targets"][0]["actions"][0].clone();
    (fleet, action)
}

#[tokio::test]
async fn s27_killed_before_it_started_anything_it_says_so_and_is_asked_again() {
    let lost = sabotage::is_on("journal-lost-before-the-start");
    let (fleet, action) = dies_at("agent.accepted_before_spawn", lost).await;
    assert_eq!(action["attempts"], 2, "{action}");
    assert_eq!(outcomes(&fleet), ["not_started", "succeeded"]);
}

/// What the agent's journal says of the ends of its attempts, in order.
fn outcomes(fleet: &Fleet) -> Vec<String> {
    let records = journal(&fleet.agents[0]);
    let ends = records.iter().filter(|record| record["kind"] == "finished");
    ends.map(|record| record["end"]["outcome"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn s28_killed_before_it_wrote_down_the_process_it_finds_it() {
    let lost = sabotage::is_on("journal-lost");
    let (fleet, action) = dies_at("agent.spawned_before_journal", lost).await;
    // The supervisor had its order whole, or it had not and nothing was started: then once more.
    let ends = outcomes(&fleet);
    match action["attempts"].as_u64() {
        Some(1) => assert_eq!(ends, ["succeeded"]),
        Some(2) => assert_eq!(ends, ["not_started", "succeeded"]),
        _ => panic!("{action}"),
    }
}

#[tokio::test]
async fn s28_killed_after_the_supervisor_has_its_order_there_is_one_attempt() {
    let lost = sabotage::is_on("journal-lost");
    let (fleet, action) = dies_at("agent.spawned", lost).await;
    assert_eq!(action["attempts"], 1, "{action}");
    assert_eq!(outcomes(&fleet), ["succeeded"]);
}

#[tokio::test]
async fn s29_a_full_disk_refuses_a_start_and_with_room_it_runs_once() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 0).await;
    open_gate(&fleet);
    fleet.agents[0].stop().await;
    fleet.agents[0].run_on_small_disk(2 * 1024 * 1024);
    fleet.server.target_is("web01", true, SOON).await;
    let filler = fleet.agents[0].small_disk().join("filler");
    // Until nothing more fits, also not a byte.
    let mut file = std::fs::File::create(&filler).unwrap();
    let sizes: &[usize] = if sabotage::is_on("room-enough") {
        &[]
    } else {
        &[64 * 1024, 1]
    };
    for &size in sizes {
        while std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_ok() {}
    }
    let output = fleet.deploy("step").await.exit(3);
    let output = output.complains(&["web01", "disk is full"]);
    assert!(output.stdout.contains("failed"), "{output}");
    assert_eq!(fleet.effects.read(), [], "nothing ran");

    drop(file);
    std::fs::remove_file(&filler).unwrap();
    fleet.deploy("step").await.ok();
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-2").await, "work", "web01", LINES);
}

#[tokio::test]
async fn s34_a_hundred_thousand_lines_over_twenty_disconnects() {
    const ROUNDS: u64 = 20;
    const EACH: u64 = 5_000;
    let mut fleet = Fleet::server_only(&[]).await;
    let proxy = Proxy::start(fleet.server.addresses().quic, 34).unwrap();
    let hasty = [
        ("TENTACLE_IDLE_TIMEOUT_MS", "900"),
        ("TENTACLE_KEEPALIVE_MS", "250"),
        ("TENTACLE_CONNECT_TIMEOUT_MS", "900"),
        ("TENTACLE_BACKOFF_MAX_MS", "100"),
    ];
    fleet
        .join_with("web01", "web", Some(proxy.addr()), &hasty)
        .await;
    fleet.all_online().await;
    let script = format!(
        "{}
round=1
while [ $round -le {ROUNDS} ]; do
  while [ ! -e '{}'-$round ]; do sleep 0.02; done
  seq -f 'line %.0f' $(( (round - 1) * {EACH} + 1 )) $(( round * {EACH} ))
  round=$((round + 1))
done",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET"),
        fleet.world.path("round").display(),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    let process = if sabotage::is_on("a-line-less") {
        process.replace("seq -f", "seq -s ' ' -f")
    } else {
        process
    };
    fleet.release("step", &process).await;
    let mut waiting = fleet.beside(
        "deploy",
        &["deploy", "step", "1.0", "-e", "test", "--no-logs"],
    );
    at_work(&fleet).await;
    for round in 1..=ROUNDS {
        fleet.world.file(&format!("round-{round}"), "");
        // Somewhere in the middle of what it prints now.
        proxy.drop_all();
        fleet.server.target_is("web01", false, SOON).await;
        proxy.pass();
        fleet.server.target_is("web01", true, SOON).await;
    }
    assert_eq!(code_of(&mut waiting).await, Some(0), "{}", waiting.stderr());
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-1").await, "work", "web01", ROUNDS * EACH);
}

#[tokio::test]
async fn s47_a_cancel_that_races_the_end_tells_what_really_happened() {
    let fleet = Fleet::new(1).await;
    let verb = if sabotage::is_on("cancels-not-sent") {
        "show"
    } else {
        "cancel"
    };
    let script = format!(
        "trap 'exit 9' TERM\n{}\nwhile [ ! -e '{}'-$MANTLE_TASK ]; do sleep 0.02; done\nexit 0",
        fleet.effects.shell("start", "work", "$MANTLE_TASK"),
        fleet.world.path("gate").display(),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 5s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("race", &process).await;
    let mut seen = std::collections::BTreeSet::new();
    for round in 1..=7 {
        let task = fleet.detach("race").await;
        wait_until("the step is at work", SOON, || {
            fleet.effects.count("start", "work", &task) > 0
        })
        .await;
        // The gate is opened before, or while, or after the cancel is on its way.
        let gate = format!("gate-{task}");
        if round % 2 == 0 {
            fleet.world.file(&gate, "");
        }
        let mut cancel = fleet.beside(&format!("cancel {round}"), &["task", verb, &task]);
        if round > 4 {
            code_of(&mut cancel).await;
        }
        // The last time it never opens.
        if round < 7 {
            fleet.world.file(&gate, "");
        }
        code_of(&mut cancel).await;
        let over = wait_for("the task is over", SOON, || async {
            let show = fleet.task(&task).await;
            match show["state"].as_str() {
                Some("succeeded" | "cancelled" | "failed") => Ok(show),
                _ => Err(show.to_string()),
            }
        })
        .await;
        let action = &over["steps"][0]["targets"][0]["actions"][0];
        let state = action["state"].as_str().unwrap().to_owned();
        // The exit code is the script's own word.
        let expected = if action["exit_code"] == 0 {
            "succeeded"
        } else {
            "cancelled"
        };
        assert_eq!(state, expected, "{over}");
        seen.insert(state);
    }
    assert!(seen.contains("cancelled"), "{seen:?}");
}

#[tokio::test]
async fn s61_folders_of_ended_attempts_go_without_room_and_never_a_running_ones() {
    const FOLDERS: usize = 10_000;
    let mut fleet = Fleet::new(1).await;
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.keep_on_small_disk(96 * 1024 * 1024).await;
    agent.run();
    fleet.all_online().await;
    gated(&fleet, 40, 0).await;
    let task = fleet.detach("step").await;
    let noted = || fleet.effects.count("start", "work", "web01") == 1;
    wait_until("the step runs", SOON, noted).await;

    // What a crash kept an earlier life from removing, and not a byte left beside it.
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    let attempts = agent.files().join("attempts");
    let running: Vec<_> = std::fs::read_dir(&attempts).unwrap().flatten().collect();
    assert_eq!(running.len(), 1, "{running:?}");
    let running = running[0].path();
    for number in 0..FOLDERS {
        let folder = attempts.join(uuid_of(number));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("result"), "over").unwrap();
    }
    agent.disk().unwrap().fill();
    let full = std::fs::write(attempts.join("one more"), vec![b'x'; 64 * 1024]);
    assert!(full.is_err(), "the disk is full");
    let _ = std::fs::remove_file(attempts.join("one more"));
    agent.run();
    let left = || std::fs::read_dir(&attempts).map_or(0, |entries| entries.flatten().count());
    wait_until("what is over is gone", SOON, || left() == 1).await;
    assert!(running.exists(), "what runs has its folder");
    fleet.agents[0].disk().unwrap().free();
    open_gate(&fleet);
    fleet.task_is(&task, "succeeded", SOON).await;
    assert_lines(&fleet.log(&task).await, "work", "web01", 40);
    fleet.effects.assert_each_once([("work", "web01")]);
}

/// The name of the folder of some attempt.
fn uuid_of(number: usize) -> String {
    mantle_shared::AttemptId::from_uuid(mantle_shared::uuid::Uuid::from_u128(
        0x8000_0000_0000_0000_u128 << 64 | number as u128,
    ))
    .to_string()
}
