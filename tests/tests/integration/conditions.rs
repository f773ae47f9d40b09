//! Run conditions in real deployments: what they see of what was done just before.

use crate::fleet::{Fleet, SOON, quoted};

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
