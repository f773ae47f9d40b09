//! What takes part in a deployment, how its steps run side by side, and how long it may take: with
//! real agents.

use std::time::Duration;

use serde_json::Value;

use crate::fleet::{Fleet, SOON, number, project_of, quoted};

/// A step of one script, with further keys.
fn step(name: &str, keys: &str, script: &str) -> String {
    let script = quoted(script);
    format!(
        "  - {{ step: {name}, targets: {{ tag: web }}, {keys} uses: script, with: {{ run: {script} }} }}\n"
    )
}

/// Waits until the other script has begun too: two of them end only if they run at once.
fn meets(fleet: &Fleet, own: &str, other: &str) -> String {
    let path = |name: &str| fleet.world.path(&format!("{name}-$MANTLE_TARGET"));
    format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.02; done",
        path(own).display(),
        path(other).display()
    )
}

fn states(task: &Value, step: usize) -> Vec<(String, String)> {
    let targets = task["steps"][step]["targets"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets
        .iter()
        .map(|target| (text(&target["target"]), text(&target["state"])))
        .collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[tokio::test]
async fn steps_that_start_together_run_at_the_same_time_and_the_next_waits_for_both() {
    let fleet = Fleet::new(2).await;
    let process = [
        step("left", "locks: [],", &meets(&fleet, "left", "right")),
        step(
            "right",
            "start: with_previous, locks: [],",
            &format!("{}; exit 3", meets(&fleet, "right", "left")),
        ),
        step("after", "run: failure,", "echo repaired"),
    ]
    .concat();
    fleet.release("pair", &process).await;
    let plan = fleet
        .server
        .ok(&["plan", "pair", "1.0", "-e", "test"])
        .await;
    assert!(
        plan.stdout.contains("with the step before, 10 at once"),
        "{plan}"
    );

    let deployed = fleet.deploy("pair").await;
    assert_eq!(deployed.code, Some(3), "{deployed}");
    let task = fleet.task("T-1").await;
    let all = |state| named(&[("web01", state), ("web02", state)]);
    assert_eq!(states(&task, 0), all("succeeded"), "{task}");
    assert_eq!(states(&task, 1), all("failed"), "{task}");
    assert_eq!(states(&task, 2), all("succeeded"), "{task}");
}

#[tokio::test]
async fn what_fails_within_the_budget_is_set_aside_and_is_what_is_deployed_once_more() {
    let fleet = Fleet::new(3).await;
    let good = fleet.world.path("good");
    let process = [
        step(
            "farm",
            "rolling: { window: 1, max_failed: 1 },",
            &format!(
                "echo once; [ $MANTLE_TARGET != web01 ] || [ -e {} ]",
                good.display()
            ),
        ),
        step("after", "", "echo \"$MANTLE_TARGET is well\""),
    ]
    .concat();
    fleet.release("farm", &process).await;
    let deployed = fleet.deploy("farm").await.ok();
    let said = "1 of 3 targets failed in 'farm', which allows 1: web01";
    assert!(deployed.stdout.contains(said), "{deployed}");
    let task = fleet.task("T-1").await;
    assert_eq!(task["warned"][0]["text"], said, "{task}");
    let farm = [
        ("web01", "failed"),
        ("web02", "succeeded"),
        ("web03", "succeeded"),
    ];
    assert_eq!(states(&task, 0), named(&farm));
    let after = [
        ("web01", "skipped"),
        ("web02", "succeeded"),
        ("web03", "succeeded"),
    ];
    assert_eq!(states(&task, 1), named(&after));

    // The same once more, to what it did not reach.
    std::fs::write(&good, "").unwrap();
    fleet
        .server
        .run(&["deploy", "--failed-only-of", "T-1"])
        .await
        .ok();
    let task = fleet.task("T-2").await;
    assert_eq!(task["project"], "farm");
    assert_eq!(states(&task, 0), named(&[("web01", "succeeded")]));
    assert_eq!(states(&task, 1), named(&[("web01", "succeeded")]));
    let none = fleet
        .server
        .run(&["deploy", "--failed-only-of", "T-2"])
        .await;
    assert_eq!(none.code, Some(6), "{none}");
    assert!(none.stderr.contains("no target failed in T-2"), "{none}");
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn what_failed_is_repeated_as_it_was_asked_for_and_what_runs_once_is_not_done_again() {
    let fleet = Fleet::new(2).await;
    let good = fleet.world.path("good");
    let work = format!(
        "echo \"color $(mantle_get Color), $(mantle_get Pin | wc -c) bytes\"; [ $MANTLE_TARGET = web01 ] || [ -e '{}' ]",
        good.display()
    );
    let process = [
        step("Migrate", "", "echo migrated").replace("tag: web", "tag: web, pick: one"),
        step("Warm", "", "echo warmed"),
        step("Work", "secrets: [Pin],", &work),
    ]
    .concat();
    let asks = "variables:
  Color: { prompt: { required: true } }
  Pin: { prompt: { control: sensitive, required: true } }
process:";
    let project = project_of("farm", &process).replace("process:", asks);
    fleet.apply("farm", &project).await;
    fleet.server.ok(&["release", "create", "farm", "1.0"]).await;
    let first = [
        "deploy",
        "farm",
        "1.0",
        "-e",
        "test",
        "--skip",
        "Warm",
        "--variable",
        "Color=blue",
        "--variable",
        "Pin=s3cr3t-pin",
    ];
    fleet.server.run(&first).await.exit(3);
    let task = fleet.task("T-1").await;
    assert_eq!(states(&task, 0), named(&[("web01", "succeeded")]), "{task}");

    // It is seen beforehand, and bound to what was seen.
    let plan = ["plan", "--failed-only-of", "T-1"];
    let plan = fleet.server.json(&plan).await;
    let text = plan.to_string();
    assert!(text.contains("runs once, and went well in T-1"), "{text}");
    assert!(!text.contains("s3cr3t-pin"), "{text}");
    assert_eq!(plan["targets"].as_array().unwrap().len(), 1, "{text}");
    let id = plan["id"].as_str().unwrap();

    std::fs::write(&good, "").unwrap();
    let again = ["deploy", "--failed-only-of", "T-1", "--plan", id];
    fleet.server.ok(&again).await;
    let task = fleet.task("T-2").await;
    for (step, state) in [(0, "skipped"), (1, "skipped"), (2, "succeeded")] {
        assert_eq!(task["steps"][step]["state"], state, "{task}");
    }
    assert_eq!(states(&task, 2), named(&[("web02", "succeeded")]), "{task}");
    let log = fleet.log("T-2").await;
    let said = |text: &str| log.iter().any(|line| line.text == text);
    assert!(said("color blue, 10 bytes"), "{log:?}");
    assert!(!said("migrated") && !said("warmed"), "{log:?}");

    // What is said anew goes before, and a step that is asked for by name is done.
    let named_step = [
        "deploy",
        "--failed-only-of",
        "T-1",
        "--only",
        "Migrate",
        "--variable",
        "Color=red",
    ];
    fleet.server.ok(&named_step).await;
    let task = fleet.task("T-3").await;
    assert_eq!(states(&task, 0), named(&[("web02", "succeeded")]), "{task}");
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn targets_and_steps_are_chosen_and_who_is_left_out_is_shown() {
    let mut fleet = Fleet::new(3).await;
    let process = [
        step("one", "required: true,", "echo 1"),
        step("two", "", "echo 2"),
    ]
    .concat();
    fleet.release("site", &process).await;
    let deploy = ["deploy", "site", "1.0", "-e", "test"];
    let with = |more: &[&'static str]| [&deploy[..], more].concat();

    fleet.server.run(&with(&["--exclude", "web02"])).await.ok();
    let task = fleet.task("T-1").await;
    let others = named(&[("web01", "succeeded"), ("web03", "succeeded")]);
    assert_eq!(states(&task, 0), others);
    assert_eq!(task["left_out"][0]["name"], "web02");
    assert_eq!(task["left_out"][0]["why"], "excluded");
    let manifest = fleet.server.json(&["deployment", "show", "T-1"]).await;
    assert_eq!(
        manifest["manifest"]["left_out"][0]["name"], "web02",
        "{manifest}"
    );

    fleet
        .server
        .run(&with(&["--only", "one", "--target", "web03"]))
        .await
        .ok();
    let task = fleet.task("T-2").await;
    assert_eq!(states(&task, 0), named(&[("web03", "succeeded")]));
    assert_eq!(task["steps"][1]["state"], "skipped", "{task}");

    let refused = fleet.server.run(&with(&["--skip", "one"])).await;
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(
        refused.stderr.contains("step 'one' is required"),
        "{refused}"
    );

    // Away: refused, or left out if that is wanted.
    fleet.agents[1].stop().await;
    fleet.server.target_is("web02", false, SOON).await;
    let refused = fleet.server.run(&deploy).await;
    assert_eq!(refused.code, Some(6), "{refused}");
    let went = fleet
        .server
        .run(&with(&["--unavailable", "skip"]))
        .await
        .ok();
    assert!(
        went.stderr.contains("web02 is offline and is left out"),
        "{went}"
    );
    let task = fleet.task("T-3").await;
    assert_eq!(states(&task, 0), others);
    assert_eq!(task["left_out"][0]["why"], "offline");
}

/// A script that notes its begin and goes on until somebody stops it.
fn endless(fleet: &Fleet, name: &str) -> String {
    format!(
        "{}\nwhile true; do sleep 0.05; done",
        fleet.effects.shell("start", name, "$MANTLE_TARGET")
    )
}

#[tokio::test]
async fn a_step_whose_time_is_up_is_stopped_and_the_deployment_goes_on_by_its_conditions() {
    let fleet = Fleet::new(2).await;
    let process = format!(
        "  - step: slow
    targets: {{ tag: web }}
    timeout: 2s
    rolling: {{ window: 1 }}
    actions:
      - {{ action: slow, uses: script, grace: 1s, with: {{ run: {} }} }}
{}",
        quoted(&endless(&fleet, "slow")),
        step("repair", "run: failure,", "echo repaired")
    );
    fleet.release("slow", &process).await;
    let deployed = fleet.deploy("slow").await;
    assert_eq!(deployed.code, Some(3), "{deployed}");
    let task = fleet.task("T-1").await;
    let slow = named(&[("web01", "timed-out"), ("web02", "skipped")]);
    assert_eq!(states(&task, 0), slow, "{task}");
    let message = task["message"].as_str().unwrap();
    assert!(message.contains("the step ran out of time"), "{task}");
    let all = named(&[("web01", "succeeded"), ("web02", "succeeded")]);
    assert_eq!(states(&task, 1), all);
    let begun: Vec<String> = fleet.effects.read().into_iter().map(|e| e.target).collect();
    assert_eq!(begun, ["web01"]);
}

#[tokio::test]
async fn a_deployment_whose_time_is_up_is_stopped_and_its_task_says_so() {
    let fleet = Fleet::new(1).await;
    let process = format!(
        "{}{}",
        step("slow", "grace: 1s,", &endless(&fleet, "slow")),
        step("always", "run: always,", "echo never")
    );
    fleet.release("slow", &process).await;
    let args = ["deploy", "slow", "1.0", "-e", "test", "--time-limit", "2s"];
    let deployed = fleet.server.run(&args).await;
    assert_eq!(deployed.code, Some(3), "{deployed}");
    assert!(deployed.stdout.contains("timed-out"), "{deployed}");
    let task = fleet.task("T-1").await;
    assert_eq!(task["state"], "timed-out");
    let message = task["message"].as_str().unwrap();
    assert!(message.starts_with("it did not end within 2s"), "{task}");
    assert_eq!(task["steps"][1]["state"], "skipped", "{task}");
    let processes = || async {
        let shell = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(4).any(|part| part == b"true")
        };
        let left = fleet
            .world
            .processes()
            .iter()
            .filter(|pid| shell(pid))
            .count();
        if left == 0 {
            Ok(())
        } else {
            Err(left.to_string())
        }
    };
    mantle_tests::wait::wait_for("nothing runs any more", SOON, processes).await;
    // The project's own word holds where nobody says another.
    let yaml = format!(
        "{}timeouts: {{ deployment: 3s }}\n",
        project_of("slow", &process)
    );
    fleet.apply("slow", &yaml).await;
    fleet.server.ok(&["release", "create", "slow", "1.1"]).await;
    let args = ["deploy", "slow", "1.1", "-e", "test", "--detach"];
    let task = number(&fleet.server.json(&args).await);
    let over = fleet
        .task_is(&task, "timed-out", Duration::from_mins(1))
        .await;
    let message = over["message"].as_str().unwrap();
    assert!(message.starts_with("it did not end within 3s"), "{over}");
}
