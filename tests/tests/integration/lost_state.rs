//! Somebody removes what an agent keeps on its disk: attempts' folders, its journal, both. No step
//! is started a second time, nobody claims to know what is not known, and nothing is said for ever.

use std::path::PathBuf;

use mantle_tests::process::Process;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, assert_lines, gated, open_gate};

/// How many lines the step prints.
const LINES: u64 = 20;

fn deploying(fleet: &Fleet) -> Process {
    fleet.beside("deploy", &["deploy", "step", "1.0", "-e", "test"])
}

async fn happened(fleet: &Fleet, what: &str) {
    wait_until(&format!("the step's {what}"), SOON, || {
        fleet.effects.count(what, "work", "web01") > 0
    })
    .await;
}

/// Half of the step's lines are stored.
async fn half_is_stored(fleet: &Fleet) {
    happened(fleet, "start").await;
    wait_for("half of the lines are stored", SOON, || async {
        let log = fleet.log("T-1").await;
        let count = log.iter().filter(|line| line.action == "work").count();
        if count as u64 >= LINES / 2 {
            Ok(())
        } else {
            Err(format!("{count} lines"))
        }
    })
    .await;
}

fn agents(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.agents[0].data().join(name)
}

/// Kills the supervisor and the step itself.
async fn kill_the_step(fleet: &Fleet) {
    wait_until("the step's processes are gone", SOON, || {
        let mut left = 0;
        for pid in fleet.world.processes() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let of_the_step = words.any(|word| word == b"exec-attempt")
                || std::fs::read_link(format!("/proc/{pid}/cwd"))
                    .is_ok_and(|dir| dir.starts_with(agents(fleet, "attempts")));
            if of_the_step && let Some(pid) = rustix::process::Pid::from_raw(pid) {
                left += 1;
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        left == 0
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

/// The agent is connected and has nothing left to report.
async fn all_is_said(fleet: &Fleet) -> serde_json::Value {
    wait_for("the agent has nothing left to say", SOON, || async {
        let status = fleet.agents[0].cli().run(&["status", "-o", "json"]).await;
        let status = status.ok().json();
        let agent = &status["agent"];
        if agent["connection"]["state"] == "connected" && agent["unacknowledged"] == 0 {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await
}

/// The one action's state, and how often it was started.
async fn action(fleet: &Fleet) -> (String, u64, String) {
    let task = fleet.task("T-1").await;
    let action = &task["steps"][0]["targets"][0]["actions"][0];
    (
        action["state"].as_str().unwrap().to_owned(),
        action["attempts"].as_u64().unwrap(),
        action["message"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn a_removed_attempt_folder_is_unknown_once_and_nothing_is_repeated() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 0).await;
    let mut waiting = deploying(&fleet);
    half_is_stored(&fleet).await;
    fleet.agents[0].kill9();
    kill_the_step(&fleet).await;
    std::fs::remove_dir_all(agents(&fleet, "attempts")).unwrap();
    fleet.agents[0].run();

    assert_eq!(code_of(&mut waiting).await, Some(3), "{}", waiting.stderr());
    let (state, attempts, message) = action(&fleet).await;
    assert_eq!((state.as_str(), attempts), ("unknown", 1), "{message}");
    assert!(message.contains("folder is gone"), "{message}");
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-1").await, "work", "web01", LINES / 2);
    let status = all_is_said(&fleet).await;
    assert!(status["agent"]["journal_lost_at_us"].is_null(), "{status}");

    // And the agent is as good as any.
    open_gate(&fleet);
    fleet.deploy("step").await.ok();
}

/// The agent dies once the step has its order, before it could say so; the step runs to its end.
async fn unanswered(code: i32) -> (Fleet, Process) {
    let mut fleet = Fleet::server_only(&[]).await;
    let fault = [("MANTLE_FAULT", "agent.spawned")];
    fleet.join_with("web01", "web", None, &fault).await;
    fleet.all_online().await;
    gated(&fleet, LINES, code).await;
    open_gate(&fleet);
    let waiting = deploying(&fleet);
    wait_until(
        "the agent dies (the programs need the feature 'faults')",
        SOON,
        || fleet.agents[0].process().ended().is_some(),
    )
    .await;
    happened(&fleet, "end").await;
    wait_until("the supervisor has written the result", SOON, || {
        let folders = std::fs::read_dir(agents(&fleet, "attempts")).unwrap();
        folders
            .flatten()
            .any(|folder| folder.path().join("result.json").exists())
    })
    .await;
    fleet.agents[0].set_env("MANTLE_FAULT", "");
    (fleet, waiting)
}

#[tokio::test]
async fn a_removed_journal_and_folder_never_start_the_step_again() {
    let (mut fleet, mut waiting) = unanswered(0).await;
    for name in ["journal", "attempts"] {
        std::fs::remove_dir_all(agents(&fleet, name)).unwrap();
    }
    fleet.agents[0].run();
    assert_eq!(code_of(&mut waiting).await, Some(3), "{}", waiting.stderr());
    let (state, attempts, message) = action(&fleet).await;
    assert_eq!((state.as_str(), attempts), ("unknown", 1), "{message}");
    assert!(message.contains("lost the journal"), "{message}");
    fleet.effects.assert_each_once([("work", "web01")]);
    let status = all_is_said(&fleet).await;
    assert!(status["agent"]["journal_lost_at_us"].is_i64(), "{status}");
    let shown = fleet.agents[0].cli().run(&["status"]).await.ok();
    assert!(shown.stdout.contains("found lost"), "{shown}");

    // The new journal serves; a restart finds it again.
    fleet.deploy("step").await.ok();
    fleet.agents[0].stop().await;
    fleet.agents[0].run();
    fleet.all_online().await;
    fleet.deploy("step").await.ok();
}

#[tokio::test]
async fn a_removed_journal_is_made_good_from_the_attempts_folder() {
    let (mut fleet, mut waiting) = unanswered(6).await;
    std::fs::remove_dir_all(agents(&fleet, "journal")).unwrap();
    fleet.agents[0].run();
    assert_eq!(code_of(&mut waiting).await, Some(3), "{}", waiting.stderr());
    let (state, attempts, message) = action(&fleet).await;
    assert_eq!((state.as_str(), attempts), ("failed", 1), "{message}");
    assert!(message.contains("exit code 6"), "{message}");
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log("T-1").await, "work", "web01", LINES);
    let status = all_is_said(&fleet).await;
    assert!(status["agent"]["journal_lost_at_us"].is_i64(), "{status}");
}

#[tokio::test]
async fn a_damaged_journal_is_named_with_its_place_and_what_to_do_helps() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 0).await;
    open_gate(&fleet);
    fleet.deploy("step").await.ok();
    let doctor = ["doctor", "-o", "json"];
    let journal = |found: &serde_json::Value| {
        let checks = found["checks"].as_array().unwrap().iter();
        let mut found = checks.filter(|check| check["what"] == "journal");
        found.next().unwrap().clone()
    };
    let whole = fleet.agents[0].cli().run(&doctor).await.json();
    assert_eq!(journal(&whole)["verdict"], "good", "{whole}");

    // One bit of the second line, which is the first record.
    fleet.agents[0].kill9();
    let file = agents(&fleet, "journal").join("journal");
    let mut bytes = std::fs::read(&file).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[first + 20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let place = format!("{} is damaged at byte {first},", file.display());
    let aside = agents(&fleet, "journal.damaged");
    let told = format!("move it out of its folder, as to {},", aside.display());

    let looked = fleet.agents[0].cli().run(&doctor).await.exit(1);
    let detail = journal(&looked.json());
    assert_eq!(detail["verdict"], "bad", "{detail}");
    let detail = detail["detail"].as_str().unwrap();
    assert!(
        detail.contains(&place) && detail.contains(&told),
        "{detail}"
    );
    let refused = fleet.agents[0].cli().run(&["run"]).await;
    assert_eq!(refused.code, Some(7), "{refused}");
    refused.complains(&[&place, &told]);

    std::fs::rename(&file, &aside).unwrap();
    fleet.agents[0].run();
    fleet.all_online().await;
    fleet.deploy("step").await.ok();
}

#[tokio::test]
async fn records_that_are_lost_after_the_end_are_a_gap_and_not_a_quarrel() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, LINES, 6).await;
    let mut waiting = deploying(&fleet);
    half_is_stored(&fleet).await;
    fleet.server.kill9();
    open_gate(&fleet);
    happened(&fleet, "end").await;
    wait_for("the agent knows the end", SOON, || async {
        let status = fleet.agents[0].cli().run(&["status", "-o", "json"]).await;
        let status = status.ok().json();
        if status["agent"]["running"] == 0 && status["agent"]["unacknowledged"] == 1 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    fleet.agents[0].kill9();
    std::fs::remove_dir_all(agents(&fleet, "attempts")).unwrap();
    fleet.server.restart().await;
    fleet.agents[0].run();

    assert_eq!(code_of(&mut waiting).await, Some(3), "{}", waiting.stderr());
    let (state, attempts, message) = action(&fleet).await;
    assert_eq!((state.as_str(), attempts), ("failed", 1), "{message}");
    assert!(
        message.contains("exit code 6"),
        "the end is known: {message}"
    );
    assert!(message.contains("lost on the agent's disk"), "{message}");
    let log = fleet.log("T-1").await;
    let gaps = log
        .iter()
        .filter(|line| line.text.contains("could not be kept"));
    assert_eq!(gaps.count(), 1, "{log:?}");
    all_is_said(&fleet).await;
    fleet.effects.assert_each_once([("work", "web01")]);
}
