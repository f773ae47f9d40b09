//! The benchmark itself works: with the programs of this build, few agents and a small package. What it
//! measures of them means nothing, and it must say so.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Every figure of a quick run.
const FIGURES: &[&str] = &[
    "size of the agent",
    "size of the server",
    "a template of 10 MB, a tag in 10 KiB",
    "a template of 10 MB, a tag in 10 KiB, peak memory",
    "a template of 10 MB, a million tags",
    "a template of 10 MB, a million tags, peak memory",
    "an idle agent, RSS of the largest",
    "an idle agent, RSS",
    "an idle agent, PSS",
    "an idle agent, anonymous",
    "the idle server with 0 agents, RSS",
    "the idle server with 1 agents, RSS",
    "the idle server with 5 agents, RSS",
    "the idle server, for each agent",
    "no-op on 1 agent",
    "no-op on 1 agent, shells alone",
    "no-op on 1 agent, as the command sees it",
    "no-op on 1 agent, CPU of the server for each",
    "no-op on 1 agent, CPU of agent and supervisor for each",
    "no-op on 5 agents",
    "no-op on 5 agents, shells alone",
    "no-op on 5 agents, as the command sees it",
    "no-op on 5 agents, CPU of the server for each",
    "no-op on 5 agents, CPU of agent and supervisor for each",
    "8 MiB to 1 agent, in its cache",
    "8 MiB to 1 agent, in its cache, beside memory alone",
    "8 MiB to 1 agent, installed",
    "an agent after all of this, RSS of the largest",
    "an agent after all of this, RSS",
    "an agent after all of this, PSS",
    "an agent after all of this, anonymous",
    "the server after all of this, RSS",
    "a line of one of 3 agents to a follower",
    "a line of one of 3 agents to a follower, p99",
    "5000 lines from one step",
    "5000 lines from one step, the server's peak",
    "a cancel to no process left, of it 200 ms grace",
    "a cancel to no process left, of it 200 ms grace, p99",
    "a cancel to no process left, of it 200 ms grace, during a push of 16 MiB",
    "a cancel to no process left, of it 200 ms grace, during a push of 16 MiB, p99",
    "first apply of 8 projects",
    "apply without a change, 8 projects",
    "release create among 8 projects",
    "variable explain among 8 projects",
    "the database of 8 projects",
    "20 agents of a swarm, joining",
    "20 agents of a swarm, the server's RSS",
    "20 agents of a swarm, the server's memory for each",
    "20 agents of a swarm, the server's processor at rest",
    "no-op on 5 of a swarm, server only",
    "no-op on 5 of a swarm, server only, as the command sees it",
    "no-op on 5 of a swarm, server only, CPU of the server for each target",
    "no-op on 20 of a swarm, server only",
    "no-op on 20 of a swarm, server only, as the command sees it",
    "no-op on 20 of a swarm, server only, CPU of the server for each target",
    "20 agents of a swarm, all back after the server was killed",
    "20 agents of a swarm, most taken in within a second",
    "the dashboard of 4 projects by 3 environments",
    "the list of projects, 4 projects",
    "the list of tasks, 4 projects",
    "the list of targets, 4 projects",
    "the list of agents, 4 projects",
    "a task with 5000 lines, its page",
    "a task with 5000 lines, its log at its beginning",
    "a task with 5000 lines, its log in its middle",
    "a task with 5000 lines, its log at its end",
];

fn bench(args: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_mantle-bench"));
    // The programs of the same build lie beside it; nothing is built during a test.
    Command::new(program)
        .arg("--bin")
        .arg(program.parent().unwrap())
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_quick_run_gives_every_figure() {
    let output = bench(&["--quick", "--any-build", "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let figures: Vec<&str> = rows
        .iter()
        .map(|row| row["figure"].as_str().unwrap())
        .collect();
    assert_eq!(figures, FIGURES);
    for row in rows {
        let measured = row["value"].as_f64().unwrap();
        // A share or a tick of the processor may be below what can be told apart; the rest is not.
        let figure = row["figure"].as_str().unwrap();
        let may_be_nothing = figure.contains("each") || figure.contains("at rest");
        assert!(measured > 0.0 || may_be_nothing, "{row}");
        if let Some(beside) = row.get("beside") {
            assert!(beside["value"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    if cfg!(debug_assertions) {
        let oddities = report["oddities"].as_array().unwrap();
        assert!(!oddities.is_empty(), "a debug build was taken for another");
    }
}

#[test]
fn a_debug_build_is_not_measured_unasked() {
    if !cfg!(debug_assertions) {
        return;
    }
    let output = bench(&["--quick"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has symbols: a debug build"), "{said}");
    assert!(said.contains("--any-build"), "{said}");
    assert!(output.stdout.is_empty());
}
