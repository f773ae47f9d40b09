//! What an agent keeps of an attempt, and what becomes of it: the outcome after everything else is
//! gone (S30), lines that the server had not stored (S35), a record that was torn (S36).

use std::path::{Path, PathBuf};

use mantle::api::body::{TaskState, WorkState};
use mantle_shared::protocol::{AttemptEnd, StartAttempt, StartResult};
use mantle_tests::lines::{check_lines, shell_counting};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Effects, World, sabotage};

use crate::fleet::{self, Fleet, assert_lines, lines, quoted};
use crate::rig::{FullAgent, Home, SOON, Server, patient};

/// How many lines a step prints; half of them while its agent is dead.
const LINES: u64 = 50;
/// What a write that was cut short leaves: a record without its end.
const TORN: &[u8] = b"deadbeef\toi\t17";

/// What this agent says to an order that it had before.
pub async fn asked_again(
    server: &Server,
    home: &Home,
    agent: &FullAgent,
    order: &StartAttempt,
) -> AttemptEnd {
    let before = agent.seen().answers.len();
    let session = server.sessions.current(home.agent).unwrap();
    let sent = server
        .sessions
        .send(home.agent, session, order.clone().into());
    assert!(sent, "the agent is connected");
    let answer = wait_for("the order is answered", SOON, || async {
        let answers = agent.seen().answers;
        answers
            .get(before)
            .cloned()
            .ok_or_else(|| format!("{answers:?}"))
    })
    .await;
    match answer.result {
        StartResult::Ended(end) => end,
        other => panic!("{other:?} in the place of the recorded end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s30_an_attempt_that_was_cleaned_up_gives_its_recorded_outcome() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let effects = Effects::at(world.path("effects"));
    let script = format!(
        "{}\necho one line\nexit 5",
        effects.shell("start", "work", "web01")
    );
    let step = format!(
        "process:\n  - {{ step: only, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    server.project("shop", &step).await;
    let agent = FullAgent::start(&home, patient());
    server.online(home.agent, true).await;
    let task = server.deploy("shop").await;
    let over = server.over(&task, SOON).await;
    assert_eq!(over.task.state, TaskState::Failed, "{over:?}");
    let order = agent.seen().starts[0].clone();
    let workspace = home.state_dir().attempt(order.attempt);
    wait_until("the workspace is cleaned up", SOON, || !workspace.exists()).await;

    let end = asked_again(&server, &home, &agent, &order).await;
    assert_eq!(end.exit_code, Some(5));
    assert!(!workspace.exists(), "nothing was set up for it");
    // The tombstone is on the disk: one who has only that says the same.
    agent.stop().await;
    server.online(home.agent, false).await;
    let agent = FullAgent::start(&home, patient());
    server.online(home.agent, true).await;
    assert_eq!(asked_again(&server, &home, &agent, &order).await, end);
    assert!(!workspace.exists(), "nothing was set up for it");
    effects.assert_each_once([("work", "web01")]);
    let shown = server.task(&task).await;
    let action = &shown.steps[0].targets[0].actions[0];
    assert_eq!(
        (action.state, action.exit_code, action.attempts),
        (WorkState::Failed, Some(5), 1)
    );
    agent.stop().await;
}

/// A project `step` of one action `work`: it prints half of its lines, the other half once the gate
/// is open, notes that and does this.
async fn in_halves(fleet: &Fleet, then: &str) {
    let rest =
        shell_counting("line", LINES, "").replacen("i=1", &format!("i={}", LINES / 2 + 1), 1);
    let script = format!(
        "{}\n{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\n{rest}\n{}\n{then}",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET"),
        shell_counting("line", LINES / 2, ""),
        fleet.world.path("gate").display(),
        fleet.effects.shell("printed", "work", "$MANTLE_TARGET"),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("step", &process).await;
}

/// The agent is killed when half of the lines are at the server; then the rest is printed.
async fn printed_without_an_agent(fleet: &mut Fleet, task: &str) {
    wait_for("half of the lines are stored", fleet::SOON, || async {
        let log = fleet.log(task).await;
        let stored = log
            .iter()
            .filter(|line| line.text.starts_with("line "))
            .count() as u64;
        (stored == LINES / 2)
            .then_some(())
            .ok_or_else(|| format!("{stored} lines"))
    })
    .await;
    fleet.agents[0].kill9();
    fleet.server.target_is("web01", false, fleet::SOON).await;
    fleet.world.file("gate", "");
    wait_until("the rest is printed", fleet::SOON, || {
        fleet.effects.count("printed", "work", "web01") == 1
    })
    .await;
}

/// The one spool of the agent's attempts.
fn spool(data: &Path) -> PathBuf {
    let attempts = std::fs::read_dir(data.join("attempts")).unwrap();
    let spools: Vec<PathBuf> = attempts
        .map(|entry| entry.unwrap().path().join("spool-00000000000000000000"))
        .filter(|path| path.exists())
        .collect();
    let [spool] = spools.as_slice() else {
        panic!("one attempt has records, not these: {spools:?}");
    };
    spool.clone()
}

/// Waits until the last line stands in the spool, and gives the file.
async fn spooled(fleet: &Fleet) -> PathBuf {
    let spool = spool(fleet.agents[0].data());
    let last = format!("line {LINES}\n");
    wait_until("the last line is in the spool", fleet::SOON, || {
        std::fs::read_to_string(&spool).is_ok_and(|text| text.contains(&last))
    })
    .await;
    spool
}

#[tokio::test]
async fn s35_lines_that_a_killed_agent_had_not_sent_arrive_before_the_end() {
    let mut fleet = Fleet::new(1).await;
    in_halves(&fleet, "exit 6").await;
    let task = fleet.detach("step").await;
    // Who follows the log is done when the task is: what came after its end would be missing here.
    let args = ["task", "logs", &task, "--follow", "-o", "json"];
    let mut follower = fleet.beside("follower", &args);
    printed_without_an_agent(&mut fleet, &task).await;
    let spool = spooled(&fleet).await;
    if sabotage::is_on("unsent-lines-gone") {
        let text = std::fs::read_to_string(&spool).unwrap();
        let kept = text.find(&format!("line {}\n", LINES - 3)).unwrap();
        let kept = text[..kept].rfind('\n').unwrap() + 1;
        std::fs::write(&spool, &text[..kept]).unwrap();
    }
    let stored = fleet.log(&task).await;
    assert!(
        stored
            .iter()
            .all(|line| line.text != format!("line {LINES}")),
        "nobody has sent it: {stored:?}"
    );
    fleet.agents[0].run();
    wait_until("the follower has seen the end", fleet::SOON, || {
        follower.ended().is_some()
    })
    .await;
    let followed = lines(&follower.stdout());
    assert_lines(&followed, "work", "web01", LINES);
    let shown = fleet.task_is(&task, "failed", fleet::SOON).await;
    let action = &shown["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(action["exit_code"], 6, "{action}");
    assert_lines(&fleet.log(&task).await, "work", "web01", LINES);
}

#[tokio::test]
async fn s36_a_torn_last_record_is_told_after_all_that_came_before_it() {
    let mut fleet = Fleet::new(1).await;
    in_halves(&fleet, "sleep 600").await;
    let task = fleet.detach("step").await;
    printed_without_an_agent(&mut fleet, &task).await;
    let spool = spooled(&fleet).await;
    // A machine that goes down in the middle of a write: nobody is left to write the rest.
    fleet.kill_supervisors();
    let mut file = std::fs::File::options().append(true).open(&spool).unwrap();
    std::io::Write::write_all(&mut file, TORN).unwrap();
    drop(file);
    fleet.agents[0].run();
    // Without its supervisor nobody can know what became of the step.
    let shown = fleet.task_is(&task, "failed", fleet::SOON).await;
    let action = &shown["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(
        (&action["state"], &action["attempts"]),
        (&"unknown".into(), &1.into()),
        "{action}"
    );
    let log = fleet.log(&task).await;
    let texts: Vec<&str> = log
        .iter()
        .filter(|line| line.action == "work")
        .map(|line| line.text.as_str())
        .collect();
    let report = check_lines(texts.iter().copied(), "line", LINES);
    assert!(report.is_right(), "{report}");
    let last = format!("line {LINES}");
    let at = texts.iter().position(|text| *text == last).unwrap();
    let marker = texts.get(at + 1).unwrap_or(&"nothing");
    let bytes = format!("{} bytes", TORN.len());
    assert!(
        marker.contains("truncated here") && marker.contains(&bytes),
        "{marker}"
    );
    assert!(!texts.iter().any(|text| text.contains("deadbeef")));
}
