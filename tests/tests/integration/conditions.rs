//! Run conditions in real deployments: what they see of what was done just before, and what becomes of
//! those that cannot be judged.

use crate::fleet::{Fleet, SOON, project_of, quoted};

fn step(name: &str, condition: &str, script: &str) -> String {
    let (condition, script) = (quoted(condition), quoted(script));
    format!(
        "  - {{ step: {name}, run: {condition}, targets: {{ tag: web }}, actions: [{{ action: {name}-it, uses: script, with: {{ run: {script} }} }}] }}\n"
    )
}

fn said(task: &serde_json::Value, step: usize) -> (&str, &str) {
    let step = &task["steps"][step];
    (
        step["state"].as_str().unwrap(),
        step["message"].as_str().unwrap_or_default(),
    )
}

/// No event comes between the end of one step and the condition of the next, so that it is judged
/// in the very turn that took the end in.
#[tokio::test]
async fn a_condition_sees_the_output_and_the_failure_of_the_step_right_before_it() {
    let fleet = Fleet::new(1).await;
    let process = [
        step(
            "check",
            "always",
            "set_octopusvariable Migrate \"$MANTLE_TARGET\"",
        ),
        step(
            "migrate",
            "#{if Octopus.Action[check-it].Output.Migrate == \"web01\"}yes#{/if}",
            &format!(
                "{}; exit 4",
                fleet.effects.shell("start", "migrate", "$MANTLE_TARGET")
            ),
        ),
        step(
            "publish",
            "#{unless Octopus.Deployment.Error}yes#{/unless}",
            &fleet.effects.shell("start", "publish", "$MANTLE_TARGET"),
        ),
        step(
            "repair",
            "#{if Octopus.Deployment.Error}yes#{/if}",
            &fleet.effects.shell("start", "repair", "$MANTLE_TARGET"),
        ),
    ]
    .concat();
    fleet.release("seen", &process).await;
    let task = fleet.detach("seen").await;
    let task = fleet.task_is(&task, "failed", SOON).await;
    assert_eq!(said(&task, 1).0, "failed", "it saw the output: {task}");
    assert_eq!(said(&task, 2).0, "skipped", "it saw the failure: {task}");
    assert_eq!(said(&task, 3).0, "succeeded", "it saw the failure: {task}");
    fleet
        .effects
        .assert_each_once([("migrate", "web01"), ("repair", "web01")]);
}

/// What can be told is refused by `apply` or `plan`, and nothing is queued; what shows only on the
/// way has failed. In neither case is it skipped, or run.
#[tokio::test]
async fn a_condition_that_cannot_be_judged_is_refused_or_fails_and_never_skips() {
    let fleet = Fleet::new(1).await;
    let touch = |name: &str| fleet.effects.shell("start", name, "$MANTLE_TARGET");
    let server = &fleet.server;

    let unreadable = step("publish", "#{if Go}yes", &touch("publish"));
    let unreadable = project_of("unreadable", &unreadable);
    let refused = fleet.try_apply("unreadable", &unreadable).await;
    refused.exit(7).complains(&["unreadable.yaml:", "#{if Go}"]);

    fleet
        .release("lacks", &step("publish", "#{Nope}", &touch("publish")))
        .await;
    for command in [&["plan"][..], &["deploy"]] {
        let args = [command, &["lacks", "1.0", "-e", "test"]].concat();
        server.run(&args).await.exit(7).complains(&[
            "the condition of step 'publish', '#{Nope}', cannot be judged",
            "line 1, column 1: '#{Nope}' has no value",
            "mantle release refresh-variables lacks 1.0",
        ]);
    }
    assert!(fleet.effects.read().is_empty());

    // That `check` sets nothing shows only when it has run.
    let output = "#{Octopus.Action[check-it].Output.Go}";
    let process = [
        step("check", "success", "echo nothing to say"),
        step("publish", output, &touch("publish")),
        format!(
            "  - step: parts\n    run: always\n    targets: {{ tag: web }}\n    actions:\n      - {{ action: first, run: {}, uses: script, with: {{ run: {} }} }}\n      - {{ action: last, run: always, uses: script, with: {{ run: {} }} }}\n",
            quoted(output),
            quoted(&touch("first")),
            quoted(&touch("last")),
        ),
        step("after", "success", &touch("after")),
    ]
    .concat();
    fleet.release("silent", &process).await;
    let deployed = fleet.deploy("silent").await.exit(3);
    let why = format!(
        "its condition '{output}' cannot be judged: line 1, column 1: '{output}' has no value"
    );
    deployed.complains(&[
        // The verdict, and the log.
        &format!("T-1 failed: 'publish' was not run: {why}"),
        &format!("step 2 'publish' failed: {why}"),
        &format!("web01 › first not-started: {why}"),
    ]);
    let task = fleet.task("T-1").await;
    let (state, message) = said(&task, 1);
    assert_eq!(state, "failed", "{task}");
    assert!(message.starts_with(&why), "{task}");
    assert_eq!(said(&task, 2).0, "failed", "{task}");
    let first = &task["steps"][2]["targets"][0]["actions"][0];
    assert_eq!(first["state"], "not-started", "{task}");
    assert!(
        first["message"].as_str().unwrap().starts_with(&why),
        "{task}"
    );
    assert_eq!(said(&task, 3).0, "skipped", "{task}");
    fleet.effects.assert_each_once([("last", "web01")]);
}
