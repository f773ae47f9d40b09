//! Many agents of one process, as they are used for load tests: they join, do what they are told, and are
//! back after the server was killed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mantle_tests::binaries::binary;
use mantle_tests::document::{Typed, blocks, commands};
use mantle_tests::process::Process;
use mantle_tests::wait::wait_for;
use mantle_tests::{Server, World};
use serde_json::Value;

const AGENTS: u64 = 50;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const PROJECT: &str = "mantle: v1
environments: [{ name: test }]
lifecycles: [{ name: only, phases: [{ name: Test, environments: [test] }] }]
---
mantle: v1
project: noop
lifecycle: only
process:
  - step: nothing
    targets: { tag: all }
    max_parallel: 50
    uses: script
    with: { shell: sh, run: \"true\" }
";

fn swarm(world: &World, server: &Server, token: Option<&str>, more: &[&str]) -> Process {
    let mut command = Command::new(binary("mantle-swarm"));
    command
        .args(["--server", &server.addresses().quic.to_string()])
        .args(["--agents", &AGENTS.to_string(), "--lines", "3"])
        .args(["--tag", "all", "--environment", "test"])
        .arg("--data")
        .arg(world.path("swarm"))
        .args(more);
    if let Some(token) = token {
        command.args(["--token", token]);
    }
    Process::spawn(world, "swarm", command)
}

/// The last of its counts.
fn counts(swarm: &Process) -> Value {
    let said = swarm.stdout();
    said.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .next_back()
        .unwrap_or_default()
}

/// What a list shows, printed as such or as a page.
fn items(list: &Value) -> Vec<Value> {
    let items = list.get("items").unwrap_or(list);
    items.as_array().cloned().unwrap_or_default()
}

async fn until(swarm: &mut Process, what: &str, holds: impl Fn(&dyn Fn(&str) -> u64) -> bool) {
    wait_for(what, PATIENCE, || {
        assert!(swarm.ended().is_none(), "the swarm ended");
        let now = counts(swarm);
        let count = |name: &str| now[name].as_u64().unwrap_or_default();
        let found = holds(&count).then_some(()).ok_or(now.to_string());
        async move { found }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_joins_works_and_comes_back_after_the_server_was_killed() {
    let world = World::new();
    let mut server = Server::start(&world).await;
    let file = world.file("noop.yaml", PROJECT);
    server
        .ok(&["apply", "--yes", "-f", &file.display().to_string()])
        .await;
    let uses = AGENTS.to_string();
    let token = server
        .json(&["agent", "token", "create", "--uses", &uses])
        .await;
    let token = token["token"].as_str().unwrap().to_owned();
    // From two addresses, over two sockets.
    let from = ["--from", "127.0.0.1", "--from", "127.0.0.2"];
    let mut swarm_process = swarm(&world, &server, Some(&token), &from);
    until(&mut swarm_process, "all are connected", |count| {
        count("connected") == AGENTS
    })
    .await;
    let agents = server.json(&["agent", "list"]).await;
    let online = items(&agents);
    assert_eq!(online.len() as u64, AGENTS, "each is an agent of its own");
    assert!(online.iter().all(|agent| agent["online"] == true));

    server.ok(&["release", "create", "noop", "1.0"]).await;
    let deploy = ["deploy", "noop", "1.0", "-e", "test", "--no-logs"];
    let first = server.json(&deploy).await;
    assert_eq!(first["state"], "succeeded", "{first}");
    until(&mut swarm_process, "all ends are acknowledged", |count| {
        count("started") == AGENTS && count("ended") == AGENTS
    })
    .await;
    let number = first["number"].as_str().unwrap();
    let log = server.ok(&["task", "logs", number]).await.stdout;
    let lines = log
        .lines()
        .filter(|line| line.contains(": 9e3779b97f4a7c15"));
    assert_eq!(
        lines.count() as u64,
        AGENTS,
        "the second line of each:\n{log}"
    );

    server.kill9();
    server.restart().await;
    until(&mut swarm_process, "all are back", |count| {
        count("connects") >= 2 * AGENTS && count("connected") == AGENTS
    })
    .await;
    assert_eq!(server.json(&deploy).await["state"], "succeeded");

    // Another process with the same folder is the same agents, and needs no token. Every tenth of them
    // fails now.
    assert!(swarm_process.stop(PATIENCE).await.success());
    let mut again = swarm(&world, &server, None, &["--fail-every", "10"]);
    until(&mut again, "all are connected again", |count| {
        count("connected") == AGENTS
    })
    .await;
    let failed = server.run(&deploy).await;
    assert_ne!(failed.code, Some(0), "{failed}");
    let targets = server.json(&["target", "list"]).await;
    let targets = items(&targets).len() as u64;
    assert_eq!(targets, AGENTS, "nobody joined twice");
    assert!(again.stop(PATIENCE).await.success());
}

/// What the manual says about load tests, typed as it stands there, with fewer agents and the addresses of
/// this test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manuals_load_test_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/load-testing.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = blocks(&page);
    let text = |language: &str| {
        let block = blocks.iter().find(|block| block.language == language);
        &block.unwrap().text
    };
    let world = World::new();
    let server = Server::start(&world).await;
    world.file("load.yaml", text("yaml"));
    let (mut token, mut swarm) = (String::new(), None);
    for Typed { words, .. } in commands(text("sh")) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["mantle", command @ ("apply" | "release"), rest @ ..] => {
                server.ok(&[&[*command][..], rest].concat()).await;
            }
            ["mantle", "agent", rest @ ..] => {
                let made = server.json(&[&["agent"][..], rest].concat()).await;
                made["token"].as_str().unwrap().clone_into(&mut token);
            }
            ["mantle-swarm", rest @ ..] => {
                let quic = server.addresses().quic.to_string();
                let data = world.path("swarm").display().to_string();
                let words = rest.iter().map(|word| match *word {
                    "mantle.example:7443" => quic.as_str(),
                    "TOKEN" => token.as_str(),
                    "1000" => "12",
                    "swarm" => data.as_str(),
                    word => word,
                });
                let mut command = Command::new(binary("mantle-swarm"));
                command.args(words);
                let mut process = Process::spawn(&world, "swarm", command);
                until(&mut process, "all are connected", |count| {
                    count("connected") == 12
                })
                .await;
                swarm = Some(process);
            }
            ["mantle", "deploy", ..] => {
                let task = server.json(&words[1..]).await;
                assert_eq!(task["state"], "succeeded", "{task}");
            }
            other => panic!("the page says something else: {other:?}"),
        }
    }
    until(&mut swarm.unwrap(), "ten of them have worked", |count| {
        count("ended") == 10
    })
    .await;
}

/// Every option of the program is in the manual.
#[test]
fn the_manual_names_every_option_of_the_swarm() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/load-testing.md");
    let page = std::fs::read_to_string(page).unwrap();
    let help = Command::new(binary("mantle-swarm"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options: Vec<&str> = help
        .split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter(|word| !["--help", "--version"].contains(word))
        .collect();
    assert!(options.len() > 10, "{help}");
    for option in options {
        assert!(page.contains(&format!("`{option}")), "{option}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_without_a_token_says_how_to_make_one() {
    let world = World::new();
    let server = Server::start(&world).await;
    let mut swarm = swarm(&world, &server, None, &[]);
    let said = swarm
        .line("why it cannot join", PATIENCE, |line| {
            line.contains("agent token create --uses")
        })
        .await;
    assert!(said.contains("--token"), "{said}");
}
