//! What deployments leave out, and how a target stands by its standing connection.

use serde_json::Value;

use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, SOON, quoted};

async fn target(fleet: &Fleet, name: &str) -> Value {
    fleet.server.json(&["target", "show", name]).await
}

async fn health_is(fleet: &Fleet, name: &str, health: &str) -> Value {
    wait_for(&format!("{name} is {health}"), SOON, || async {
        let shown = target(fleet, name).await;
        if shown["health"] == health {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_in_maintenance_is_left_out_and_the_deployment_says_why() {
    let mut fleet = Fleet::new(2).await;
    let script = fleet.effects.shell("start", "work", "$MANTLE_TARGET");
    let process = format!(
        "  - {{ step: work, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("shop", &process).await;
    let maintenance = ["target", "maintenance", "web02", "on"];
    let unsaid = fleet.server.run(&maintenance).await;
    assert_eq!(unsaid.code, Some(2), "{unsaid}");
    let said = [&maintenance[..], &["--reason", "new disks"]].concat();
    fleet.server.ok(&said).await;
    let task = fleet.detach("shop").await;
    let over = fleet.task_is(&task, "succeeded", SOON).await;
    let warned = over["warned"].to_string();
    assert!(
        warned.contains("web02 is in maintenance (new disks) and is left out"),
        "{warned}"
    );
    fleet.effects.assert_each_once([("work", "web01")]);

    fleet
        .server
        .ok(&["target", "maintenance", "web02", "off"])
        .await;
    let task = fleet.detach("shop").await;
    fleet.task_is(&task, "succeeded", SOON).await;
    assert_eq!(fleet.effects.count("start", "work", "web02"), 1);

    let healthy = health_is(&fleet, "web02", "healthy").await;
    assert!(healthy["health_since"].is_string(), "{healthy}");
    fleet.agents[1].kill9();
    // That it is gone is known at once, since when as soon as it is written.
    wait_for("web02 is gone, and since when", SOON, || async {
        let gone = target(&fleet, "web02").await;
        let since = gone["health_since"].as_str() > healthy["health_since"].as_str();
        if gone["health"] == "unavailable" && since {
            Ok(())
        } else {
            Err(gone.to_string())
        }
    })
    .await;
    let listed = fleet.server.ok(&["target", "list"]).await;
    assert!(listed.stdout.contains("unavailable"), "{listed}");
}
