//! An agent is gone for good in the middle of a step, and the operator who looked at the machine says how it
//! ended: the deployment goes on or fails, also over a restart of the server, and what the agent says when it
//! comes back after all stands beside that.

use serde_json::Value;

use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, quoted};

/// A project of two steps: the first waits for a gate and ends with this code, the second notes that it ran.
async fn project(fleet: &Fleet, name: &str, code: i32) {
    let first = format!(
        "{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\n{}\nexit {code}",
        fleet.effects.shell("start", name, "$MANTLE_TARGET"),
        fleet.world.path(&format!("gate-{name}")).display(),
        fleet.effects.shell("end", name, "$MANTLE_TARGET"),
    );
    let after = format!("{name}-after");
    let second = fleet.effects.shell("start", &after, "$MANTLE_TARGET");
    let process = format!(
        "  - {{ step: First, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n  \
         - {{ step: After, targets: {{ tag: db }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&first),
        quoted(&second)
    );
    fleet.release(name, &process).await;
}

/// An agent `web01`, and one with the tag `db`.
async fn a_fleet() -> Fleet {
    let mut fleet = Fleet::new(1).await;
    fleet.join("db01", "db", None).await;
    fleet.all_online().await;
    fleet
}

async fn did(fleet: &Fleet, what: &str, name: &str, on: &str) {
    wait_until(&format!("{what} of {name} on {on}"), SOON, || {
        fleet.effects.count(what, name, on) > 0
    })
    .await;
}

/// The agent of `web01` dies for good under the project's first step.
async fn lost(fleet: &mut Fleet, name: &str) -> String {
    let task = fleet.detach(name).await;
    did(fleet, "start", name, "web01").await;
    fleet.agents[0].kill9();
    fleet.server.target_is("web01", false, SOON).await;
    task
}

async fn resolve(fleet: &Fleet, task: &str, ended: &str) -> Value {
    let reason = ["--reason", "looked at the machine"];
    let args = [&["task", "resolve", task, "--as", ended], &reason[..]].concat();
    fleet.server.json(&args).await
}

fn first_action(task: &Value) -> &Value {
    &task["steps"][0]["targets"][0]["actions"][0]
}

async fn held(fleet: &Fleet) -> Vec<Value> {
    let list = fleet.server.json(&["lock", "list"]).await;
    list["items"].as_array().unwrap().clone()
}

/// The task's first action once the agent has said late how it ended.
async fn said_late(fleet: &Fleet, task: &str) -> Value {
    wait_for("the agent's late word", SOON, || async {
        let shown = fleet.task(task).await;
        if first_action(&shown)["said_late"].is_string() {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_work_of_an_agent_that_is_gone_is_resolved_as_succeeded_and_the_next_step_goes_on() {
    let mut fleet = a_fleet().await;
    project(&fleet, "shop", 0).await;
    let task = fleet.detach("shop").await;
    did(&fleet, "start", "shop", "web01").await;

    // While its agent can be asked nobody else is.
    let args = ["task", "resolve", &task, "--as", "failed", "--reason", "r"];
    let refused = fleet.server.run(&args).await;
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(refused.stderr.contains("is connected"), "{refused}");
    let next = format!("mantle task cancel {task}");
    assert!(refused.stderr.contains(&next), "{refused}");

    fleet.agents[0].kill9();
    fleet.server.target_is("web01", false, SOON).await;
    let shown = fleet.server.ok(&["task", "show", &task]).await;
    let next = format!("mantle task resolve {task} --as failed|succeeded --reason WHY");
    assert!(shown.stdout.contains(&next), "{shown}");
    assert_eq!(held(&fleet).await.len(), 1);

    // The server dies before it has a chance to look twice.
    let said = resolve(&fleet, &task, "succeeded").await;
    assert_eq!(said["resolved"][0]["about"], "'First' on web01", "{said}");
    fleet.server.kill9();
    fleet.server.restart().await;
    let shown = fleet.task_is(&task, "succeeded", SOON).await;
    did(&fleet, "start", "shop-after", "db01").await;
    let action = first_action(&shown);
    assert_eq!(action["state"], "succeeded", "{shown}");
    assert_eq!(action["attempts"], 1, "{shown}");
    assert_eq!(action["resolution"]["as"], "succeeded", "{shown}");
    assert_eq!(action["resolution"]["reason"], "looked at the machine");
    assert!(held(&fleet).await.is_empty());

    // It comes back, with the step still at work, and says that all went well.
    fleet.agents[0].run();
    fleet.all_online().await;
    fleet.world.file("gate-shop", "");
    did(&fleet, "end", "shop", "web01").await;
    let shown = said_late(&fleet, &task).await;
    let action = first_action(&shown);
    assert_eq!(action["said_late"], "succeeded", "{shown}");
    assert_eq!(action["resolution"]["contradicted"], false, "{shown}");
    assert_eq!(shown["warnings"], false, "{shown}");
    fleet
        .effects
        .assert_each_once([("shop", "web01"), ("shop-after", "db01")]);
    let trail = fleet.server.ok(&["audit", "list"]).await;
    assert!(trail.stdout.contains("task.resolve"), "{trail}");
    let target = fleet.server.ok(&["target", "show", "web01"]).await;
    let said = format!("{task} 'First' on web01 as succeeded by");
    assert!(target.stdout.contains(&said), "{target}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_word_that_the_agent_contradicts_later_is_warned_about_and_nothing_runs_twice() {
    let mut fleet = a_fleet().await;
    project(&fleet, "shop", 0).await;
    project(&fleet, "next", 0).await;
    let task = lost(&mut fleet, "shop").await;
    resolve(&fleet, &task, "failed").await;
    let shown = fleet.task_is(&task, "failed", SOON).await;
    assert_eq!(first_action(&shown)["state"], "failed", "{shown}");
    let message = shown["message"].as_str().unwrap();
    assert!(
        message.contains("says that it failed: looked at"),
        "{message}"
    );
    assert_eq!(fleet.effects.count("start", "shop-after", "db01"), 0);
    assert!(held(&fleet).await.is_empty(), "nobody waits for the dead");
    fleet.server.kill9();
    fleet.server.restart().await;

    // It lives after all, and what it runs keeps others away although the server let them on.
    fleet.agents[0].run();
    fleet.all_online().await;
    let holder = format!("{task} step 'First' (resolved by a person, and still under way)");
    let locks = held(&fleet).await;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(locks[0]["holder"], holder.as_str());
    let next = fleet.detach("next").await;
    wait_for("the next one says what it waits for", SOON, || async {
        let shown = fleet.task(&next).await;
        let message = first_action(&shown)["message"].as_str().unwrap_or_default();
        let told = message.contains(&format!("held by {holder}"))
            && message.contains("mantle lock break web01 target");
        told.then_some(()).ok_or_else(|| shown.to_string())
    })
    .await;
    fleet.world.file("gate-shop", "");
    let shown = said_late(&fleet, &task).await;
    let action = first_action(&shown);
    assert_eq!(action["said_late"], "succeeded", "{shown}");
    assert_eq!(action["resolution"]["contradicted"], true, "{shown}");
    assert_eq!(action["state"], "failed", "a verdict that was given stands");
    assert_eq!(shown["state"], "failed");
    wait_for("the contradiction in the log", SOON, || async {
        let log = fleet.log(&task).await;
        let told = log.iter().any(|line| line.text.contains("contradicts"));
        told.then_some(()).ok_or_else(|| format!("{log:?}"))
    })
    .await;
    let shown = fleet.server.ok(&["task", "show", &task]).await;
    assert!(shown.stdout.contains("resolved as failed by"), "{shown}");
    assert!(shown.stdout.contains("which contradicts that"), "{shown}");

    fleet.world.file("gate-next", "");
    fleet.task_is(&next, "succeeded", SOON).await;
    fleet
        .effects
        .assert_each_once([("shop", "web01"), ("next", "web01"), ("next-after", "db01")]);
    let order: Vec<String> = fleet
        .effects
        .read()
        .into_iter()
        .filter(|effect| effect.target == "web01")
        .map(|effect| format!("{} {}", effect.what, effect.step))
        .collect();
    assert_eq!(order, ["start shop", "end shop", "start next", "end next"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cancelled_task_left_open_is_resolved_and_its_target_can_be_removed() {
    let mut fleet = a_fleet().await;
    project(&fleet, "shop", 0).await;
    let task = lost(&mut fleet, "shop").await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    // It waits for the agent's word for as long as there is hope; who has none says so.
    let removed = fleet.server.run(&["target", "remove", "web01"]).await;
    assert_eq!(removed.code, Some(6), "{removed}");
    resolve(&fleet, &task, "failed").await;
    let shown = fleet.task_is(&task, "cancelled", SOON).await;
    assert_eq!(first_action(&shown)["state"], "failed", "{shown}");
    let again = [
        "task",
        "resolve",
        &task,
        "--as",
        "succeeded",
        "--reason",
        "r",
    ];
    let again = fleet.server.run(&again).await;
    assert_eq!(again.code, Some(6), "{again}");
    assert!(again.stderr.contains("said before that"), "{again}");
    fleet.server.ok(&["target", "remove", "web01"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_that_is_over_left_open_is_resolved_and_lets_go_of_its_lock() {
    let mut fleet = a_fleet().await;
    project(&fleet, "shop", 0).await;
    let task = lost(&mut fleet, "shop").await;
    // Its agent is revoked: nobody will say how it ended.
    fleet.server.ok(&["agent", "revoke", "web01"]).await;
    let shown = fleet.task_is(&task, "failed", SOON).await;
    assert_eq!(first_action(&shown)["state"], "unknown", "{shown}");
    assert_eq!(shown["unresolved"][0]["state"], "unknown", "{shown}");
    resolve(&fleet, &task, "succeeded").await;
    let shown = wait_for("the word is taken in", SOON, || async {
        let shown = fleet.task(&task).await;
        let said = first_action(&shown)["resolution"].is_object();
        if said {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    assert_eq!(shown["state"], "failed", "a verdict that was given stands");
    assert!(shown["unresolved"].is_null(), "{shown}");
    assert!(held(&fleet).await.is_empty());
    let manifest = fleet.server.json(&["deployment", "show", &task]).await;
    assert_eq!(manifest["resolved"][0]["as"], "succeeded", "{manifest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_work_was_resolved_as_succeeded_is_not_among_the_failed_ones() {
    let mut fleet = a_fleet().await;
    let script = format!(
        "{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done",
        fleet.effects.shell("start", "shop", "$MANTLE_TARGET"),
        fleet.world.path("gate").display(),
    );
    let process = format!(
        "  - {{ step: First, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("shop", &process).await;
    let task = lost(&mut fleet, "shop").await;
    fleet.server.ok(&["agent", "revoke", "web01"]).await;
    fleet.task_is(&task, "failed", SOON).await;
    let again = ["deploy", "--failed-only-of", &task];
    let refused = fleet.server.run(&again).await.exit(6);
    assert!(refused.stderr.contains("target 'web01'"), "{refused}");
    resolve(&fleet, &task, "succeeded").await;
    // Said a moment ago, taken in or not.
    let refused = fleet.server.run(&again).await.exit(6);
    let none = format!("no target failed in {task}");
    assert!(refused.stderr.contains(&none), "{refused}");
    fleet.world.file("gate", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_runs_of_a_cancelled_deployment_is_stopped_when_its_agent_is_back() {
    let mut fleet = a_fleet().await;
    project(&fleet, "shop", 0).await;
    project(&fleet, "next", 0).await;
    let task = lost(&mut fleet, "shop").await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    resolve(&fleet, &task, "failed").await;
    fleet.task_is(&task, "cancelled", SOON).await;
    fleet.server.kill9();
    fleet.server.restart().await;

    // Its gate stays shut: only the cancel can end it.
    fleet.agents[0].run();
    fleet.all_online().await;
    let shown = said_late(&fleet, &task).await;
    assert_eq!(first_action(&shown)["said_late"], "cancelled", "{shown}");
    wait_for("the log says so", SOON, || async {
        let log = fleet.log(&task).await;
        let told = |text: &str| text.contains("still under way") && text.contains("was cancelled");
        let told = log.iter().any(|line| told(&line.text));
        told.then_some(()).ok_or_else(|| format!("{log:?}"))
    })
    .await;
    assert_eq!(fleet.effects.count("end", "shop", "web01"), 0);

    // Nothing keeps the next one away.
    let next = fleet.detach("next").await;
    fleet.world.file("gate-next", "");
    fleet.task_is(&next, "succeeded", SOON).await;
}
