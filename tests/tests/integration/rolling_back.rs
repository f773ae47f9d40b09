//! A step that fails takes back what it did, with real processes: from the targets that it touched
//! and from no other, over a killed server, and with a word on what it could not take back.

use std::path::PathBuf;

use mantle_tests::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::fleet::{Fleet, SOON, number, project_of, quoted};

/// A site that goes through its targets one by one: what runs there is stopped, the version is
/// installed, and looked at. The look fails where a file of the target's name is; what was stopped
/// is started again when that is undone, not before a gate is open and not while there is a wedge.
fn site(fleet: &Fleet) -> String {
    let file = |name: &str| fleet.world.path(name).display().to_string();
    let effect = |what: &str| {
        let target = "$MANTLE_TARGET-$MANTLE_RELEASE";
        fleet.effects.shell(what, "Farm", target)
    };
    let look = format!(
        "{}\n[ ! -e '{}'\"$MANTLE_TARGET\" ] || exit 3",
        effect("look"),
        file("trap-")
    );
    let again = format!(
        "{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\n[ ! -e '{}' ] || exit 4\n{}",
        effect("back"),
        file("gate"),
        file("wedge"),
        effect("again"),
    );
    let tell = effect("tell");
    let process = format!(
        "  - step: Farm
    targets: {{ tag: web }}
    rolling: {{ window: 1, on_failure: rollback }}
    actions:
      - {{ action: stop, uses: script, with: {{ run: {}, rollback: {} }} }}
      - {{ action: install, uses: package, with: {{ package: Site }} }}
      - {{ action: look, uses: script, with: {{ run: {} }} }}
  - {{ step: Tell, run: always, targets: {{ tag: web, pick: one }}, uses: script, with: {{ run: {} }} }}
",
        quoted(&effect("stop")),
        quoted(&again),
        quoted(&look),
        quoted(&tell),
    );
    project_of("site", &process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    )
}

/// Three targets, the project, and these versions of it; the last is not deployed and fails on the
/// second target.
async fn fleet_with(versions: &[&str]) -> Fleet {
    let fleet = Fleet::new(3).await;
    fleet.apply("site", &site(&fleet)).await;
    let last = versions.last().unwrap();
    for version in versions {
        let page = format!("this is {version}");
        fleet.push("Site", version, &[("index.html", &page)]).await;
        fleet
            .server
            .ok(&["release", "create", "site", version])
            .await;
        if version == last {
            fleet.world.file("trap-web02", "");
        } else {
            fleet
                .server
                .ok(&["deploy", "site", version, "-e", "test"])
                .await;
        }
    }
    fleet
}

fn open_gate(fleet: &Fleet) {
    fleet.world.file("gate", "");
}

async fn detach(fleet: &Fleet, version: &str) -> String {
    let args = ["deploy", "site", version, "-e", "test", "--detach"];
    number(&fleet.server.json(&args).await)
}

fn installed(fleet: &Fleet, target: &str) -> PathBuf {
    fleet
        .world
        .path(&format!("agent-{target}/apps/test/site/Site"))
}

/// What each target runs.
fn running(fleet: &Fleet) -> [String; 3] {
    ["web01", "web02", "web03"].map(|target| {
        let page = installed(fleet, target).join("current/index.html");
        let page = std::fs::read_to_string(page).unwrap_or_default();
        page.replace("this is ", "")
    })
}

/// The targets about which this was done by a release, in order.
fn did(fleet: &Fleet, what: &str, version: &str) -> Vec<String> {
    let effects = fleet.effects.read().into_iter();
    let own = effects.filter(|effect| effect.what == what);
    let suffix = format!("-{version}");
    own.filter_map(|effect| effect.target.strip_suffix(&suffix).map(str::to_owned))
        .collect()
}

fn message(task: &Value) -> &str {
    task["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_on_the_second_target_is_taken_back_and_the_third_is_never_touched() {
    let fleet = fleet_with(&["1.0", "1.1"]).await;
    open_gate(&fleet);
    let plan = fleet
        .server
        .ok(&["plan", "site", "1.1", "-e", "test"])
        .await;
    for line in [
        "rolls back if it fails",
        "2. Roll back Farm",
        "runs only if 'Farm' fails",
        "   web01  to 1.0",
        "   web03  to 1.0",
        "   not undone: look: it has no 'rollback' script",
        "   Undo install (package.back)",
    ] {
        assert!(plan.stdout.contains(line), "{line}\n{plan}");
    }
    let went = fleet
        .server
        .run(&["deploy", "site", "1.1", "-e", "test"])
        .await;
    let said = "'look' failed on web02: the script ended with exit code 3; rolled back: web02 and web01; 'look' is not undone on web02 and web01 (it has no 'rollback' script)";
    assert_eq!(went.code, Some(3), "{went}");
    assert!(
        (went.stdout.clone() + &went.stderr).contains(said),
        "{went}"
    );
    assert_eq!(running(&fleet), ["1.0", "1.0", "1.0"]);
    assert!(!installed(&fleet, "web03").join("1.1").exists());
    assert_eq!(did(&fleet, "stop", "1.1"), ["web01", "web02"]);
    assert_eq!(did(&fleet, "again", "1.1"), ["web02", "web01"]);
    assert_eq!(did(&fleet, "tell", "1.1"), ["web01"]);
    let task = fleet.task("T-2").await;
    let back = &task["steps"][1];
    assert_eq!(back["name"], "Roll back Farm", "{task}");
    assert_eq!(back["state"], "succeeded", "{task}");
    let status = fleet.server.ok(&["status"]).await;
    assert!(status.stdout.contains("1.0"), "{status}");
    // What runs there is what ran there before: a later plan goes by it, and so does a choice of
    // what did not succeed.
    let plan = fleet
        .server
        .ok(&["plan", "site", "1.1", "-e", "test"])
        .await;
    for line in ["   web01  to 1.0", "   web02  to 1.0"] {
        assert!(plan.stdout.contains(line), "{plan}");
    }
    std::fs::remove_file(fleet.world.path("trap-web02")).unwrap();
    fleet
        .server
        .ok(&["deploy", "--failed-only-of", "T-2"])
        .await;
    assert_eq!(running(&fleet), ["1.1", "1.1", "1.1"]);
    let trail = fleet.server.ok(&["audit", "list", "-n", "200"]).await;
    assert!(trail.stdout.contains("deployment.roll_back"), "{trail}");
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_goes_on_with_the_way_back() {
    let mut fleet = fleet_with(&["1.0", "1.1"]).await;
    let task = detach(&fleet, "1.1").await;
    wait_until("the way back has begun", SOON, || {
        did(&fleet, "back", "1.1") == ["web02"]
    })
    .await;
    fleet.server.kill9();
    open_gate(&fleet);
    wait_until("what is undone goes on", SOON, || {
        did(&fleet, "again", "1.1") == ["web02"]
    })
    .await;
    fleet.server.restart().await;
    let end = fleet.task_is(&task, "failed", SOON).await;
    assert!(
        message(&end).contains("rolled back: web02 and web01"),
        "{end}"
    );
    assert_eq!(running(&fleet), ["1.0", "1.0", "1.0"]);
    for what in ["back", "again"] {
        assert_eq!(did(&fleet, what, "1.1"), ["web02", "web01"], "each once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_deployment_ever_has_nothing_to_go_back_to() {
    let fleet = fleet_with(&["1.0"]).await;
    open_gate(&fleet);
    let plan = fleet
        .server
        .ok(&["plan", "site", "1.0", "-e", "test"])
        .await;
    for line in [
        "   web01  nothing of the project runs there now",
        "   not undone: install: nothing of site ran there before",
    ] {
        assert!(plan.stdout.contains(line), "{line}\n{plan}");
    }
    let task = detach(&fleet, "1.0").await;
    let end = fleet.task_is(&task, "failed", SOON).await;
    let said = "; not rolled back: web02 and web01; 'install' is not undone on web02 and web01 (nothing of site ran there before)";
    assert!(message(&end).contains(said), "{end}");
    assert_eq!(running(&fleet), ["1.0", "1.0", ""]);
    // What can be undone is.
    assert_eq!(did(&fleet, "again", "1.0"), ["web02", "web01"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_stops_the_way_back_where_it_is() {
    let fleet = fleet_with(&["1.0", "1.1"]).await;
    let task = detach(&fleet, "1.1").await;
    wait_until("the way back has begun", SOON, || {
        did(&fleet, "back", "1.1") == ["web02"]
    })
    .await;
    fleet.server.ok(&["task", "cancel", &task]).await;
    let end = fleet.task_is(&task, "cancelled", SOON).await;
    assert!(
        message(&end).contains("not rolled back: web02 ('Undo stop' was cancelled"),
        "{end}"
    );
    assert_eq!(running(&fleet), ["1.1", "1.0", "1.0"], "as far as it came");
    assert_eq!(did(&fleet, "again", "1.1"), [""; 0]);
    assert_eq!(did(&fleet, "tell", "1.1"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_undone_waits_for_a_person() {
    let fleet = fleet_with(&["1.0", "1.1"]).await;
    open_gate(&fleet);
    fleet.world.file("wedge", "");
    for (answer, said, ran) in [
        (
            "fail",
            "not rolled back: web02 ('Undo stop' failed: the script ended with exit code 4",
            ["1.1", "1.0", "1.0"],
        ),
        (
            "retry",
            "rolled back: web02 and web01",
            ["1.1", "1.0", "1.0"],
        ),
    ] {
        let task = detach(&fleet, "1.1").await;
        let asked = wait_for("somebody is asked", SOON, || async {
            let list = ["interruption", "list", "--task", &task, "-o", "json"];
            let list = fleet.server.run(&list).await;
            let items = list.json()["items"].as_array().cloned().unwrap_or_default();
            let open = items.into_iter().find(|one| one["state"] == "open");
            open.ok_or_else(|| list.to_string())
        })
        .await;
        assert_eq!(asked["target"], "web02", "{asked}");
        if answer == "retry" {
            std::fs::remove_file(fleet.world.path("wedge")).unwrap();
        }
        let id = asked["id"].as_str().unwrap();
        fleet
            .server
            .ok(&["interruption", "answer", id, answer])
            .await;
        let end = fleet.task_is(&task, "failed", SOON).await;
        assert!(message(&end).contains(said), "{end}");
        assert_eq!(running(&fleet), ran, "{answer}");
    }
}
