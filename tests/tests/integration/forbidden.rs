//! What a lifecycle allows is asked again when a deployment's turn comes: what it forbids by then ends
//! with the reason, and what has been somewhere may always go there again.

use crate::fleet::{Fleet, SOON, number, project_of, quoted};

/// A lifecycle with these phases.
fn lifecycle(phases: &[(&str, &str)]) -> String {
    let phases: Vec<String> = phases
        .iter()
        .map(|(name, environment)| {
            format!("      - {{ name: {name}, environments: [{environment}] }}\n")
        })
        .collect();
    let phases = phases.concat();
    format!("mantle: v1\nlifecycles:\n  - name: standard\n    phases:\n{phases}")
}

#[tokio::test]
async fn what_is_forbidden_while_a_deployment_waits_does_not_begin() {
    let fleet = Fleet::new(1).await;
    let (server, gate) = (&fleet.server, fleet.world.path("gate"));
    let script = format!("while [ ! -e '{}' ]; do sleep 0.05; done", gate.display());
    let process = format!(
        "  - {{ step: hold, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    let both = lifecycle(&[("Test", "test"), ("Production", "production")]);
    fleet.apply("lifecycle", &both).await;
    fleet.apply("shop", &project_of("shop", &process)).await;
    for version in ["1.0", "1.1", "1.2"] {
        server.ok(&["release", "create", "shop", version]).await;
    }
    std::fs::write(&gate, "").unwrap();
    for version in ["1.0", "1.1", "1.2"] {
        server.ok(&["deploy", "shop", version, "-e", "test"]).await;
    }
    server
        .ok(&["deploy", "shop", "1.2", "-e", "production"])
        .await;
    std::fs::remove_file(&gate).unwrap();
    let mut queued = Vec::new();
    for version in ["1.0", "1.1", "1.2"] {
        let args = ["deploy", "shop", version, "-e", "production", "--detach"];
        queued.push(number(&server.json(&args).await));
    }
    fleet.task_is(&queued[0], "running", SOON).await;
    // A phase comes between, which none of them has passed. One of them was in production before,
    // and that it is blocked by now forbids it nothing there.
    let stage = "mantle: v1\nenvironments: [{ name: stage }]\n";
    fleet.apply("stage", stage).await;
    let between = lifecycle(&[
        ("Test", "test"),
        ("Stage", "stage"),
        ("Production", "production"),
    ]);
    fleet.apply("lifecycle", &between).await;
    let block = ["release", "block", "shop", "1.2", "--reason", "it leaks"];
    server.ok(&block).await;
    std::fs::write(&gate, "").unwrap();
    fleet.task_is(&queued[0], "succeeded", SOON).await;
    let refused = fleet.task_is(&queued[1], "failed", SOON).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("shop 1.1 may not go to 'production' yet: phase 'Stage'"),
        "{message}"
    );
    fleet.task_is(&queued[2], "succeeded", SOON).await;
}
