//! The agent's disk is full, not one byte is left, and somebody cancels: what runs is stopped all the same,
//! and whatever could not be written down meanwhile is told once there is room. The server's disk is full: whoever
//! asks how it stands is told.

use std::time::{Duration, Instant};

use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, Line, SOON, gated, open_gate, quoted};

/// The agent's disk.
const DISK_BYTES: u64 = 8 * 1024 * 1024;
/// A cancel's grace here, and how long after it everything may take to be gone.
const GRACE: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(15);

/// A fleet of one agent on a small disk, on which a script is at work that does this. It has a child.
async fn at_work(does: &str) -> (Fleet, String) {
    let mut fleet = Fleet::new(1).await;
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.keep_on_small_disk(DISK_BYTES).await;
    agent.run();
    fleet.all_online().await;
    let child = format!(
        "trap '' TERM\n{}\nwhile :; do sleep 0.1; done\n",
        fleet.effects.shell("start", "child", "web01")
    );
    let child = fleet.world.file("child.sh", &child);
    let script = format!(
        "sh '{}' &\n{}\n{does}",
        child.display(),
        fleet.effects.shell("start", "work", "web01"),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 1s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("fills", &process).await;
    let task = fleet.detach("fills").await;
    wait_until("it is at work", SOON, || {
        ["work", "child"]
            .iter()
            .all(|who| fleet.effects.count("start", who, "web01") == 1)
    })
    .await;
    (fleet, task)
}

/// Waits until neither the script nor its child lives.
async fn gone(fleet: &Fleet) {
    let since = Instant::now();
    let lives = |who: &str| fleet.effects.process_of("start", who).process_lives();
    wait_until("its processes are gone", GRACE + GONE, || {
        !["work", "child"].iter().any(|who| lives(who))
    })
    .await;
    assert!(since.elapsed() < GRACE + GONE, "{:?}", since.elapsed());
}

/// With room again everything works as before.
async fn works_again(fleet: &Fleet) {
    fleet
        .release(
            "after",
            "  - { step: only, targets: { tag: web }, uses: script, with: { run: 'echo works' } }\n",
        )
        .await;
    fleet.deploy("after").await.ok();
}

fn fill(fleet: &Fleet) {
    fleet.agents[0].disk().unwrap().fill();
    let more = fleet.agents[0].files().join("one more");
    let full = std::fs::write(&more, [b'x'; 8192]);
    assert!(full.is_err(), "the disk is full");
    let _ = std::fs::remove_file(more);
}

#[tokio::test]
async fn s45_a_cancel_on_an_agent_whose_disk_is_full_stops_the_step_and_is_told() {
    let (fleet, task) = at_work("echo before; sleep 600").await;
    wait_for("its line has arrived", SOON, || async {
        let log = fleet.log(&task).await;
        let there = log.iter().any(|line| line.text == "before");
        there.then_some(()).ok_or(format!("{log:?}"))
    })
    .await;
    fill(&fleet);
    fleet.server.ok(&["task", "cancel", &task]).await;
    gone(&fleet).await;
    // What is set aside for the end of a step is enough: the server knows it before there is room.
    let shown = fleet.task_is(&task, "cancelled", SOON).await;
    assert_eq!(
        shown["steps"][0]["targets"][0]["actions"][0]["state"], "cancelled",
        "{shown}"
    );
    fleet.agents[0].disk().unwrap().free();
    works_again(&fleet).await;
}

#[tokio::test]
async fn s45_a_cancel_of_a_step_that_a_full_disk_holds_back_stops_it_and_keeps_its_lines() {
    let (mut fleet, task) = at_work(
        "i=1; while :; do echo \"line $i\"; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.01; done",
    )
    .await;
    fill(&fleet);
    wait_for("it is said to be held back", SOON, || async {
        let log = fleet.log(&task).await;
        let held = log
            .iter()
            .any(|line| line.text.contains("was held back on web01"));
        held.then_some(()).ok_or(format!("{:?}", log.last()))
    })
    .await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    gone(&fleet).await;
    // An agent that comes back to a full disk knows what became of it.
    fleet.agents[0].kill9();
    fleet.agents[0].run();
    fleet.agents[0].disk().unwrap().free();
    let shown = fleet.task_is(&task, "cancelled", SOON).await;
    assert_eq!(
        shown["steps"][0]["targets"][0]["actions"][0]["state"], "cancelled",
        "{shown}"
    );
    let log = fleet.log(&task).await;
    assert_whole_or_counted(&log);
    works_again(&fleet).await;
}

/// Every numbered line is there, or counted by a gap that stands in the place of those that are not. The last
/// one may have been cut by the kill.
fn assert_whole_or_counted(log: &[Line]) {
    let mut expected = 1;
    let mut lines = log.iter().map(|line| line.text.as_str());
    while let Some(text) = lines.next() {
        if let Some(number) = text.strip_prefix("line ") {
            let is_last = !lines.clone().any(|text| text.starts_with("line "));
            assert!(
                is_last || number == expected.to_string(),
                "{number} for {expected}"
            );
            expected += 1;
        } else if text.contains("the agent's disk was full") {
            let (count, _) = text.split_once(" lines").unwrap_or_default();
            expected += count.parse::<u64>().unwrap_or_else(|_| panic!("{text}"));
        }
    }
    assert!(expected > 100, "{expected}");
}

/// The server's disk.
const SERVER_DISK_BYTES: u64 = 48 * 1024 * 1024;

/// What `/readyz` answers: its status and its text.
async fn ready(fleet: &Fleet) -> (u16, String) {
    let url = format!("https://{}/readyz", fleet.server.addresses().https);
    // Somebody else may have chosen it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let answer = client.build().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_full_disk_of_the_server_is_told_wherever_somebody_asks_how_it_stands() {
    let mut fleet = Fleet::server_on_kept_disk(SERVER_DISK_BYTES).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    gated(&fleet, 20, 0).await;
    let task = fleet.detach("step").await;
    wait_until("it is at work", SOON, || {
        fleet.effects.count("start", "work", "web01") == 1
    })
    .await;
    let behind = fleet.detach("step").await;
    assert_eq!(ready(&fleet).await.0, 200);
    let folder = fleet.server.data().display().to_string();
    let status = fleet.server.ok(&["server", "status"]).await;
    assert!(
        status
            .stdout
            .contains(&format!("left on {folder} for {folder}")),
        "{status}"
    );

    // Nothing need be refused first: it is looked for.
    fleet.server.disk().unwrap().fill();
    open_gate(&fleet);
    let full = format!("the file system {folder} has 0 KiB left for {folder}");
    let (code, told) = ready(&fleet).await;
    assert_eq!(code, 507, "{told}");
    assert!(
        told.contains(&full) && told.contains(&format!("free some room on {folder}")),
        "{told}"
    );
    let status = fleet.server.ok(&["server", "status"]).await;
    for part in [
        format!("0 B left on {folder} for {folder}"),
        format!("waiting for room: {task}, {behind};"),
        format!("free some room on {folder}"),
    ] {
        assert!(status.stdout.contains(&part), "{part}: {status}");
    }
    let waits = format!("waits for room: the server's disk is full: {full}");
    for (number, state) in [(&task, "running"), (&behind, "queued")] {
        let list = fleet.server.json(&["task", "list"]).await;
        let listed = list["items"].as_array().unwrap().iter();
        let mut listed = listed.filter(|one| one["number"] == **number);
        let listed = listed.next().unwrap();
        assert_eq!(
            (&listed["state"], &listed["awaits_room"]),
            (&state.into(), &true.into())
        );
        let said = listed["waiting"].as_str().unwrap();
        assert!(said.starts_with(&waits), "{said}");
        let shown = fleet.task(number).await;
        assert_eq!(shown["awaits_room"], true, "{shown}");
        let words = format!("{state}, the server's disk is full");
        let table = fleet.server.ok(&["task", "list"]).await;
        assert!(table.stdout.contains(&words), "{table}");
    }
    let queue = fleet.server.ok(&["task", "queue"]).await;
    assert!(queue.stdout.contains(&waits), "{queue}");
    let status = fleet.server.ok(&["status"]).await;
    assert!(
        status.stdout.contains("queued, the server's disk is full")
            && status.stderr.contains(&waits),
        "{status}"
    );

    // With room again nothing of it is said, and everything goes on by itself.
    fleet.server.disk().unwrap().free();
    for number in [&task, &behind] {
        let over = fleet.task_is(number, "succeeded", SOON).await;
        assert!(over["awaits_room"].is_null(), "{over}");
    }
    wait_for("it is ready", SOON, || async {
        let (code, told) = ready(&fleet).await;
        (code == 200).then_some(()).ok_or(told)
    })
    .await;
    let status = fleet.server.ok(&["server", "status"]).await;
    assert!(!status.stdout.contains("full since"), "{status}");
}

/// Large enough that the server sets some of it aside.
const ROOMY_BYTES: u64 = 256 * 1024 * 1024;

/// A server with an agent, a script at work there, and room set aside on its own disk.
async fn with_reserve() -> (Fleet, String) {
    let mut fleet = Fleet::server_on_kept_disk(ROOMY_BYTES).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    gated(&fleet, 20, 0).await;
    let task = fleet.detach("step").await;
    wait_until("it is at work", SOON, || {
        fleet.effects.count("start", "work", "web01") == 1
    })
    .await;
    let reserve = fleet.server.files().join("reserve");
    wait_until("room is set aside", SOON, || reserve.exists()).await;
    (fleet, task)
}

#[tokio::test]
async fn on_a_full_disk_of_the_server_a_cancel_ends_what_runs() {
    let (fleet, task) = with_reserve().await;
    let work = fleet.effects.process_of("start", "work");
    fleet.server.disk().unwrap().fill();
    assert_eq!(ready(&fleet).await.0, 507);
    fleet.server.ok(&["task", "cancel", &task]).await;
    fleet.task_is(&task, "cancelled", SOON).await;
    wait_until("its processes are gone", GONE, || !work.process_lives()).await;
    assert!(!fleet.server.files().join("reserve").exists());
    // Once there is nothing left of it a cancel says what to do.
    fleet.server.disk().unwrap().fill();
    let refused = fleet.server.run(&["task", "cancel", &task]).await;
    assert!(refused.code != Some(0), "{refused}");
    fleet.server.disk().unwrap().free();
}

#[tokio::test]
async fn on_a_full_disk_the_server_starts_and_says_so() {
    let (mut fleet, task) = with_reserve().await;
    fleet.server.kill9();
    fleet.server.disk().unwrap().fill();
    fleet.server.restart().await;
    fleet.all_online().await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    fleet.task_is(&task, "cancelled", SOON).await;
    assert!(!fleet.server.files().join("reserve").exists());
    fleet.server.disk().unwrap().free();
}
