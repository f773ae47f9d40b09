//! The past goes as the operator has it, under a deployment that runs.

use crate::fleet::{Fleet, SOON, assert_lines, gated, open_gate};

const KEEPS_NOTHING: &[(&str, &str)] = &[
    ("MANTLE_KEEP_TASKS", "0B"),
    ("MANTLE_KEEP_LOGS", "0B"),
    ("MANTLE_KEEP_AUDIT", "0B"),
];

#[tokio::test]
async fn retention_takes_old_tasks_and_leaves_what_runs_and_what_is_shown() {
    let mut fleet = Fleet::server_only(KEEPS_NOTHING).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    let hello =
        "  - { step: hello, targets: { tag: web }, uses: script, with: { run: echo hello } }\n";
    fleet.release("hello", hello).await;
    for _ in 0..2 {
        fleet.deploy("hello").await.ok();
    }
    gated(&fleet, 40, 0).await;
    let running = fleet.detach("step").await;
    let noted = || fleet.effects.count("start", "work", "web01") == 1;
    mantle_tests::wait::wait_until("the step runs", SOON, noted).await;

    let said = fleet.server.ok(&["retention", "run", "--dry-run"]).await;
    assert!(said.stderr.contains("1 task"), "{said}");
    assert!(said.stdout.contains("T-1"), "{said}");
    assert!(
        !said.stdout.contains("T-2 ") && !said.stdout.contains(&running),
        "{said}"
    );
    assert!(said.stdout.contains("would go"), "{said}");
    fleet.task("T-1").await;

    let all = ["retention", "run", "--all"];
    let did = fleet.server.ok(&all).await;
    assert!(did.stderr.contains("1 task"), "{did}");
    assert!(did.stdout.contains("is on the dashboard"), "{did}");
    fleet.server.run(&["task", "show", "T-1"]).await.exit(5);
    assert_eq!(fleet.log("T-2").await.len(), 1, "it is on the dashboard");
    let verified = fleet.server.ok(&["audit", "verify"]).await;
    assert!(verified.stdout.contains("that were removed"), "{verified}");

    // A server that starts on what is left takes the running one up and has lost nothing of it.
    fleet.server.kill9();
    fleet.server.restart().await;
    open_gate(&fleet);
    fleet.task_is(&running, "succeeded", SOON).await;
    assert_lines(&fleet.log(&running).await, "work", "web01", 40);
    fleet.server.ok(&["audit", "verify"]).await;
    fleet.effects.assert_each_once([("work", "web01")]);
}
