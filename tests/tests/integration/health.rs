//! Health check scripts: by hand and on a schedule, what they make of targets and of deployments, and
//! that they are carried out as deployments are: once each, over killed servers and absent agents.

use std::path::PathBuf;

use serde_json::Value;

use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, SOON, quoted};

/// Waits until a target's health is so, and gives the target.
async fn health_is(fleet: &Fleet, name: &str, health: &str) -> Value {
    wait_for(&format!("{name} is {health}"), SOON, || async {
        let shown = fleet.server.json(&["target", "show", name]).await;
        if shown["health"] == health {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

/// The tasks of health checks, the newest first.
async fn checks(fleet: &Fleet) -> Vec<Value> {
    let listed = ["task", "list", "--kind", "health-check"];
    let listed = fleet.server.json(&listed).await;
    listed["items"].as_array().expect("items").clone()
}

/// Declares a check of what has the tag `web`; `more` are further keys.
async fn declare(fleet: &Fleet, name: &str, script: &str, more: &str) {
    let text = format!(
        "mantle: v1\nhealth_checks:\n  - {{ name: {name}, tags: [web], linux: {}{more} }}\n",
        quoted(script)
    );
    fleet.apply(name, &text).await;
}

/// A file that makes web02 ill while it is there.
fn ill(fleet: &Fleet) -> (PathBuf, String) {
    let file = fleet.world.path("ill");
    let script = format!(
        "if [ \"$MANTLE_TARGET\" = web02 ] && [ -e '{}' ]; then echo looking; echo 'the disk is full' >&2; exit 2; fi\necho 'all is well'",
        file.display()
    );
    (file, script)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand_it_says_how_each_target_is_and_deployments_leave_the_ill_ones_out() {
    let fleet = Fleet::new(2).await;
    let (file, script) = ill(&fleet);
    std::fs::write(&file, "").expect("a file");
    declare(&fleet, "disk", &script, "").await;

    let checked = fleet.server.run(&["target", "check"]).await;
    assert_eq!(checked.code, Some(3), "{checked}");
    let told = format!("{}{}", checked.stdout, checked.stderr);
    assert!(told.contains("the disk is full"), "{told}");
    let shown = health_is(&fleet, "web02", "unhealthy").await;
    assert_eq!(
        shown["health_message"], "disk: the disk is full (the script ended with exit code 2)",
        "{shown}"
    );
    let shown = health_is(&fleet, "web01", "healthy").await;
    assert_eq!(shown["checks"][0]["message"], "all is well", "{shown}");
    let table = fleet.server.ok(&["target", "list"]).await;
    assert!(table.stdout.contains("unhealthy"), "{table}");
    let table = fleet.server.ok(&["health-check", "list"]).await;
    assert!(table.stdout.contains("1 healthy, 1 unhealthy"), "{table}");
    let shown = fleet.server.ok(&["health-check", "show", "disk"]).await;
    assert!(shown.stdout.contains("web02 unhealthy"), "{shown}");

    // They are not among the other tasks.
    let others = fleet.server.json(&["task", "list"]).await;
    assert_eq!(others["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(checks(&fleet).await.len(), 1);

    let work = fleet.effects.shell("start", "work", "$MANTLE_TARGET");
    let process = format!(
        "  - {{ step: work, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&work)
    );
    policies(&fleet, &process).await;

    std::fs::remove_file(&file).expect("the file");
    fleet.server.ok(&["target", "check", "web02"]).await;
    let well = health_is(&fleet, "web02", "healthy").await;
    assert_eq!(well["checks"][0]["status"], "healthy", "{well}");
    let refused = fleet.server.run(&["target", "check", "web09"]).await;
    assert_eq!(refused.code, Some(5), "{refused}");
}

/// By the project's policy an unhealthy target takes part, is left out, or forbids the deployment.
async fn policies(fleet: &Fleet, process: &str) {
    fleet
        .release("shop", &format!("{process}unhealthy: skip\n"))
        .await;
    let plan = ["plan", "shop", "1.0", "-e", "test"];
    let planned = fleet.server.ok(&plan).await;
    let said = format!("{}{}", planned.stdout, planned.stderr);
    assert!(
        said.contains("web02 is unhealthy (disk: the disk is full (the script ended with exit code 2)) and is left out"),
        "{said}"
    );
    let deployed = fleet.deploy("shop").await;
    assert_eq!(deployed.code, Some(0), "{deployed}");
    fleet.effects.assert_each_once([("work", "web01")]);

    let forbidden = [&plan[..], &["--unhealthy", "fail"]].concat();
    let forbidden = fleet.server.run(&forbidden).await;
    assert_eq!(forbidden.code, Some(6), "{forbidden}");
    let said = format!("{}{}", forbidden.stdout, forbidden.stderr);
    assert!(said.contains("target 'web02' is unhealthy"), "{said}");

    let deploy = ["deploy", "shop", "1.0", "-e", "test"];
    let all = [&deploy[..], &["--unhealthy", "deploy"]].concat();
    fleet.server.ok(&all).await;
    assert_eq!(fleet.effects.count("start", "work", "web02"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_schedule_it_runs_by_itself_and_warnings_and_hangs_are_told() {
    let mut fleet = Fleet::new(2).await;
    let script = "if [ \"$MANTLE_TARGET\" = web02 ]; then sleep 300; fi\n\
                  echo '##octopus[stdout-warning]'; echo 'the clock is off'; echo '##octopus[stdout-default]'";
    declare(&fleet, "clock", script, ", every: 5s, timeout: 2s").await;
    let warned = health_is(&fleet, "web01", "healthy-with-warnings").await;
    assert_eq!(warned["health_message"], "clock: the clock is off");
    let hung = health_is(&fleet, "web02", "unhealthy").await;
    let task = hung["checks"][0]["task"]
        .as_str()
        .expect("a task")
        .to_owned();
    let over = fleet.task_is(&task, "failed", SOON).await;
    assert_eq!(over["created_by"], "schedule", "{over}");
    wait_for("it runs again", SOON, || async {
        let all = checks(&fleet).await;
        let over = all.iter().filter(|task| task["state"] == "failed").count();
        if over >= 2 {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await;
    // By hand alone from here on, so that no run is under way when the agent goes.
    declare(&fleet, "clock", script, ", timeout: 2s").await;
    wait_for("no run is under way", SOON, || async {
        let all = checks(&fleet).await;
        let open = |task: &&Value| task["state"] == "queued" || task["state"] == "running";
        match all.iter().find(open) {
            None => Ok(()),
            Some(task) => Err(task.to_string()),
        }
    })
    .await;
    // An agent that is away is left out, and is unavailable whatever was found before.
    fleet.agents[1].kill9();
    let away = health_is(&fleet, "web02", "unavailable").await;
    assert_eq!(away["checks"][0]["status"], "unhealthy", "{away}");
    fleet.server.ok(&["target", "check"]).await;
    let without = fleet.task(&task_of(&checks(&fleet).await[0])).await;
    assert_eq!(without["left_out"][0]["name"], "web02", "{without}");
    let refused = ["target", "check", "web02", "--check", "clock"];
    let refused = fleet.server.run(&refused).await;
    assert_eq!(refused.code, Some(3), "{refused}");
    assert!(
        format!("{}{}", refused.stdout, refused.stderr).contains("web02 is offline"),
        "{refused}"
    );
    // What is removed from the files is gone, with what it found.
    let file = fleet.world.file(
        "none.yaml",
        "mantle: v1\nenvironments: [{ name: test }, { name: production }]\n",
    );
    let prune = [
        "apply",
        "--yes",
        "--prune",
        "-f",
        &file.display().to_string(),
    ]
    .map(str::to_owned);
    let prune: Vec<&str> = prune.iter().map(String::as_str).collect();
    fleet.server.ok(&prune).await;
    health_is(&fleet, "web01", "healthy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_neither_loses_nor_repeats_a_check_which_waits_for_no_deployment() {
    let mut fleet = Fleet::new(1).await;
    let gate = fleet.world.path("gate");
    let wait = |step: &str| {
        format!(
            "{}\nuntil [ -e '{}' ]; do sleep 0.1; done",
            fleet.effects.shell("start", step, "$MANTLE_TARGET"),
            gate.display()
        )
    };
    declare(&fleet, "slow", &wait("check"), "").await;
    // A deployment has its target alone, and stands still.
    let process = format!(
        "  - {{ step: work, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&wait("work"))
    );
    fleet.release("shop", &process).await;
    let deployment = fleet.detach("shop").await;
    began(&fleet, "work").await;
    fleet.server.ok(&["target", "check", "--detach"]).await;
    began(&fleet, "check").await;
    let second = fleet.server.ok(&["target", "check", "--detach"]).await;
    let (first, second) = (task_of(&checks(&fleet).await[1]), second.stdout);

    fleet.server.kill9();
    fleet.server.restart().await;
    let waits = fleet.server.ok(&["task", "queue"]).await;
    assert!(
        waits.stdout.contains("another run of the same check"),
        "{second} {waits}"
    );
    std::fs::write(&gate, "").expect("the gate");
    let over = fleet.task_is(&first, "succeeded", SOON).await;
    assert_eq!(over["kind"], "health-check", "{over}");
    fleet.task_is(&deployment, "succeeded", SOON).await;
    health_is(&fleet, "web01", "healthy").await;
    assert_eq!(fleet.effects.count("start", "work", "web01"), 1);
    // The second run begins only now.
    let number = task_of(&checks(&fleet).await[0]);
    fleet.task_is(&number, "succeeded", SOON).await;
    assert_eq!(fleet.effects.count("start", "check", "web01"), 2);

    // One that is cancelled leaves no process and says nothing new.
    std::fs::remove_file(&gate).expect("the gate");
    fleet.server.ok(&["target", "check", "--detach"]).await;
    wait_for("it began", SOON, || async {
        let count = fleet.effects.count("start", "check", "web01");
        if count == 3 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await;
    let number = task_of(&checks(&fleet).await[0]);
    fleet.server.ok(&["task", "cancel", &number]).await;
    fleet.task_is(&number, "cancelled", SOON).await;
    health_is(&fleet, "web01", "healthy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_does_not_begin_once_its_check_is_removed() {
    let fleet = Fleet::new(1).await;
    let gate = fleet.world.path("gate");
    let script = format!(
        "{}\nuntil [ -e '{}' ]; do sleep 0.1; done",
        fleet.effects.shell("start", "check", "$MANTLE_TARGET"),
        gate.display()
    );
    declare(&fleet, "slow", &script, "").await;
    fleet.server.ok(&["target", "check", "--detach"]).await;
    began(&fleet, "check").await;
    fleet.server.ok(&["target", "check", "--detach"]).await;
    let [second, first] = &checks(&fleet).await[..] else {
        panic!("two runs");
    };
    let file = fleet
        .world
        .file("none.yaml", "mantle: v1\nenvironments: [{ name: test }]\n");
    let file = file.display().to_string();
    let prune = ["apply", "--yes", "--prune", "-f", &file];
    fleet.server.ok(&prune).await;
    std::fs::write(&gate, "").expect("the gate");
    fleet.task_is(&task_of(first), "succeeded", SOON).await;
    let over = fleet.task_is(&task_of(second), "failed", SOON).await;
    assert_eq!(
        over["message"], "health check 'slow' was removed before its turn came",
        "{over}"
    );
    assert_eq!(fleet.effects.count("start", "check", "web01"), 1);
}

fn task_of(task: &Value) -> String {
    task["number"].as_str().expect("a number").to_owned()
}

async fn began(fleet: &Fleet, step: &str) {
    wait_for(&format!("{step} began"), SOON, || async {
        let count = fleet.effects.count("start", step, "web01");
        if count > 0 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await;
}
