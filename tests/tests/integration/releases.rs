//! The life of releases with real processes: phases that deploy by themselves and by hand, blocks,
//! other variables, plans that bind, comparisons, retention.

use mantle_tests::wait::wait_for;
use serde_json::Value;

use crate::fleet::{Fleet, SOON, number, project_of, quoted};

/// The lifecycle of the fleet, with these phases and this retention.
fn lifecycle(phases: &str, retention: &str) -> String {
    format!("mantle: v1\nlifecycles:\n  - name: standard\n    phases:\n{phases}{retention}")
}

const AUTOMATIC_THEN_MANUAL: &str =
    "      - { name: Test, environments: [test], deploy: automatic }
      - { name: Production, environments: [production] }
";
const BOTH_AUTOMATIC: &str = "      - { name: Test, environments: [test], deploy: automatic }
      - { name: Production, environments: [production], deploy: automatic }
";

/// One step that notes that it ran, and where.
fn noting(fleet: &Fleet) -> String {
    let script = fleet.effects.shell("start", "work", "$MANTLE_ENVIRONMENT");
    format!(
        "  - {{ step: work, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    )
}

fn items(value: &Value) -> &[Value] {
    value["items"].as_array().expect("a list")
}

/// The titles of tasks, the oldest first: `T-1 test succeeded lifecycle`.
async fn tasks(fleet: &Fleet) -> Vec<String> {
    let list = fleet.server.json(&["task", "list"]).await;
    let text = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> = items(&list)
        .iter()
        .map(|task| {
            ["number", "environment", "state", "created_by"]
                .map(|key| text(task, key))
                .join(" ")
        })
        .collect();
    all.reverse();
    all
}

#[tokio::test]
async fn a_release_goes_through_an_automatic_and_a_manual_phase() {
    let fleet = Fleet::new(1).await;
    fleet
        .apply("lifecycle", &lifecycle(AUTOMATIC_THEN_MANUAL, ""))
        .await;
    fleet
        .apply("shop", &project_of("shop", &noting(&fleet)))
        .await;
    let created = fleet
        .server
        .ok(&["release", "create", "shop", "1.0"])
        .await
        .complains(&["T-1", "test", "by itself"]);
    assert!(created.stdout.contains("shop 1.0 (default)"), "{created}");
    fleet.task_is("T-1", "succeeded", SOON).await;
    // The manual phase waits for somebody.
    let promoted = ["promote", "shop", "--from", "test", "-e", "production"];
    fleet.server.ok(&promoted).await;
    let said = tasks(&fleet).await;
    assert!(
        said[0].starts_with("T-1 test succeeded lifecycle"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("T-2 production succeeded") && !said[1].contains("lifecycle"),
        "{said:?}"
    );
    assert_eq!(said.len(), 2, "{said:?}");

    // A blocked release enters nothing more, says why, and may be deployed where it has been.
    fleet.server.ok(&["release", "create", "shop", "1.1"]).await;
    fleet.task_is("T-3", "succeeded", SOON).await;
    let block = [
        "release",
        "block",
        "shop",
        "1.1",
        "--reason",
        "loses orders",
    ];
    fleet.server.ok(&block).await;
    let listed = fleet.server.ok(&["release", "list", "shop"]).await;
    assert!(listed.stdout.contains("loses orders"), "{listed}");
    let shown = fleet.server.ok(&["release", "show", "shop", "1.1"]).await;
    assert!(shown.stdout.contains("blocked"), "{shown}");
    let status = fleet.server.ok(&["status"]).await;
    assert!(status.stdout.contains("blocked: loses orders"), "{status}");
    let refused = fleet
        .server
        .run(&["deploy", "shop", "1.1", "-e", "production"])
        .await
        .exit(6);
    refused.complains(&["loses orders", "release unblock shop 1.1"]);
    fleet
        .server
        .ok(&["deploy", "shop", "1.1", "-e", "test"])
        .await;
    let unblock = ["release", "unblock", "shop", "1.1"];
    fleet.server.run(&unblock).await.exit(2);
    let because = ["--reason", "the orders are found"];
    fleet.server.ok(&[&unblock[..], &because].concat()).await;
    let shown = fleet.server.ok(&["release", "show", "shop", "1.1"]).await;
    let line = "the orders are found (it was blocked: loses orders)";
    assert!(shown.stdout.contains(line), "{shown}");
    fleet.server.ok(&promoted).await;
    fleet.server.ok(&["audit", "verify"]).await;
}

/// The server dies at this point when the first deployment ends; the second must be queued once.
async fn dies_when_a_phase_is_passed(point: &str) {
    let mut fleet = Fleet::server_only(&[("MANTLE_FAULT", point)]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    fleet
        .apply("lifecycle", &lifecycle(BOTH_AUTOMATIC, ""))
        .await;
    fleet
        .apply("shop", &project_of("shop", &noting(&fleet)))
        .await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    wait_for("the server dies", SOON, || {
        let ended = fleet.server.process().ended();
        async move { ended.ok_or_else(|| "it lives".to_owned()) }
    })
    .await;
    fleet.server.set_env("MANTLE_FAULT", "");
    fleet.server.restart().await;
    fleet.task_is("T-1", "succeeded", SOON).await;
    fleet.task_is("T-2", "succeeded", SOON).await;
    let said = tasks(&fleet).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].starts_with("T-2 production succeeded lifecycle"),
        "{said:?}"
    );
    fleet
        .effects
        .assert_each_once([("work", "test"), ("work", "production")]);
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn a_server_that_dies_before_a_phase_is_passed_sends_the_release_on_once() {
    dies_when_a_phase_is_passed("server.before_end_commit").await;
}

#[tokio::test]
async fn a_server_that_dies_after_a_phase_is_passed_sends_the_release_on_once() {
    dies_when_a_phase_is_passed("server.after_end_commit").await;
}

#[tokio::test]
async fn a_plan_binds_until_what_it_rests_on_changes() {
    let mut fleet = Fleet::new(1).await;
    fleet.release("shop", &noting(&fleet)).await;
    let plan = ["plan", "shop", "1.0", "-e", "test"];
    let first = fleet.server.json(&plan).await;
    let id = first["id"].as_str().expect("a plan's id").to_owned();
    let printed = fleet.server.ok(&plan).await;
    assert!(
        printed.stdout.contains(&id),
        "the same plan has the same id\n{printed}"
    );
    let deploy = ["deploy", "shop", "1.0", "-e", "test", "--plan", &id];
    fleet.server.ok(&deploy).await;

    fleet.join("web02", "web", None).await;
    fleet.all_online().await;
    let refused = fleet.server.run(&deploy).await.exit(6);
    refused.complains(&[&id, "target 'web02' takes part now", "mantle plan"]);
    let unknown = ["deploy", "shop", "1.0", "-e", "test", "--plan", "plan-0"];
    fleet.server.run(&unknown).await.exit(5);
    let again = fleet.server.json(&plan).await;
    let id = again["id"].as_str().expect("a plan's id").to_owned();
    let deploy = ["deploy", "shop", "1.0", "-e", "test", "--plan", &id];
    fleet.server.ok(&deploy).await;

    // It binds also while the deployment waits: what changed when its turn comes refuses it.
    let gate = fleet.world.path("gate");
    let process = format!(
        "  - {{ step: hold, targets: {{ tag: web, pick: one }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&format!(
            "while [ ! -e '{}' ]; do sleep 0.05; done",
            gate.display()
        ))
    );
    fleet.release("holds", &process).await;
    let plan = fleet
        .server
        .json(&["plan", "holds", "1.0", "-e", "test"])
        .await;
    let id = plan["id"].as_str().expect("a plan's id").to_owned();
    let held = fleet.detach("holds").await;
    let args = [
        "deploy", "holds", "1.0", "-e", "test", "--plan", &id, "--detach",
    ];
    let bound = number(&fleet.server.json(&args).await);
    fleet
        .server
        .ok(&["target", "tag", "web01", "web", "blue"])
        .await;
    std::fs::write(&gate, "").unwrap();
    fleet.task_is(&held, "succeeded", SOON).await;
    let task = fleet.task_is(&bound, "failed", SOON).await;
    let message = task["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(&id) && message.contains("blue"),
        "{message}"
    );
}

#[tokio::test]
async fn a_release_that_is_blocked_while_it_waits_does_not_begin() {
    let fleet = Fleet::new(1).await;
    let gate = fleet.world.path("gate");
    let script = format!("while [ ! -e '{}' ]; do sleep 0.05; done", gate.display());
    let process = format!(
        "  - {{ step: hold, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("shop", &process).await;
    fleet.server.ok(&["release", "create", "shop", "1.1"]).await;
    std::fs::write(&gate, "").unwrap();
    for version in ["1.0", "1.1"] {
        let args = ["deploy", "shop", version, "-e", "test"];
        fleet.server.ok(&args).await;
    }
    std::fs::remove_file(&gate).unwrap();
    let mut queued = Vec::new();
    for version in ["1.0", "1.1"] {
        let args = ["deploy", "shop", version, "-e", "production", "--detach"];
        queued.push(number(&fleet.server.json(&args).await));
    }
    fleet.task_is(&queued[0], "running", SOON).await;
    let block = ["release", "block", "shop", "1.1", "--reason", "it leaks"];
    fleet.server.ok(&block).await;
    std::fs::write(&gate, "").unwrap();
    fleet.task_is(&queued[0], "succeeded", SOON).await;
    let task = fleet.task_is(&queued[1], "failed", SOON).await;
    let message = task["message"].as_str().unwrap_or_default();
    assert!(message.contains("it leaks"), "{message}");
}

#[tokio::test]
async fn a_refresh_reaches_no_deployment_that_was_asked_for_before() {
    let mut fleet = Fleet::new(1).await;
    let gate = fleet.world.path("gate");
    let report = fleet.world.path("report");
    let first = format!("while [ ! -e '{}' ]; do sleep 0.05; done", gate.display());
    let second = format!("echo \"$MANTLE_TASK $PORT\" >> '{}'", report.display());
    let process = format!(
        "  - {{ step: hold, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}
  - {{ step: tell, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}
",
        quoted(&first),
        quoted(&second)
    );
    let project = |port: u32| {
        project_of("shop", &process).replace(
            "process:",
            &format!("variables: {{ Port: {port}, Other: {port} }}\nprocess:"),
        )
    };
    fleet.apply("shop", &project(80)).await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    let running = fleet.detach("shop").await;
    let queued = fleet.detach("shop").await;
    fleet.task_is(&running, "running", SOON).await;
    fleet.apply("shop", &project(81)).await;

    let refresh = [
        "release",
        "refresh-variables",
        "shop",
        "1.0",
        "--only",
        "port",
    ];
    let dry = fleet
        .server
        .ok(&[&refresh[..], &["--dry-run"]].concat())
        .await;
    assert!(dry.stdout.contains("Port: 80 -> 81"), "{dry}");
    assert!(!dry.stdout.contains("Other"), "{dry}");
    let unasked = [&refresh[..], &["--reason", "the port moved"]].concat();
    fleet
        .server
        .run(&unasked)
        .await
        .exit(2)
        .complains(&["--yes"]);
    fleet.server.ok(&[&unasked[..], &["--yes"]].concat()).await;
    // A server that comes back has forgotten nothing of what it was asked.
    fleet.server.kill9();
    fleet.server.restart().await;
    std::fs::write(&gate, "").unwrap();
    fleet.task_is(&queued, "succeeded", SOON).await;
    let after = fleet.detach("shop").await;
    fleet.task_is(&after, "succeeded", SOON).await;
    let told = std::fs::read_to_string(&report).unwrap();
    let expected = format!("{running} 80\n{queued} 80\n{after} 81\n");
    assert_eq!(told, expected);

    let shown = fleet.server.ok(&["release", "show", "shop", "1.0"]).await;
    assert!(shown.stdout.contains("the port moved"), "{shown}");
    let diff = fleet
        .server
        .ok(&["deployment", "diff", &running, &after])
        .await;
    assert!(diff.stdout.contains("'tell' Port: 80 -> 81"), "{diff}");
    let revert = ["release", "revert-variables", "shop", "1.0", "--yes"];
    let revert = [&revert[..], &["--reason", "it was the old one"]].concat();
    let reverted = fleet.server.ok(&revert).await;
    assert!(reverted.stdout.contains("Port: 81 -> 80"), "{reverted}");
    for part in [
        "back from snapshot 2 (",
        "to snapshot 1 (",
        ": created)",
        "snapshot 3 now",
    ] {
        assert!(reverted.stderr.contains(part), "{part}\n{reverted}");
    }
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn releases_and_deployments_are_compared_down_to_files() {
    let fleet = Fleet::new(1).await;
    let process =
        "  - { step: put, targets: { tag: web }, uses: package, with: { package: Site } }\n";
    let project = project_of("shop", process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("shop", &project).await;
    fleet
        .push("Site", "1.0", &[("a/same.txt", "same"), ("b.txt", "one")])
        .await;
    let notes = [
        "release",
        "create",
        "shop",
        "--notes",
        "#{Octopus.Release.Number} begins",
        "--field",
        "ticket:OPS-12",
    ];
    fleet.server.ok(&notes).await;
    let drift = fleet.server.ok(&["release", "drift", "shop", "1.0"]).await;
    drift.complains(&["would hold the same"]);
    let first = number(
        &fleet
            .server
            .json(&["deploy", "shop", "1.0", "-e", "test", "--detach"])
            .await,
    );
    fleet.task_is(&first, "succeeded", SOON).await;
    fleet
        .push(
            "Site",
            "1.1",
            &[
                ("a/same.txt", "same"),
                ("b.txt", "two"),
                ("c/new.txt", "new"),
            ],
        )
        .await;
    let drift = fleet.server.ok(&["release", "drift", "shop", "1.0"]).await;
    for part in ["Site: 1.0 -> 1.1", "~ b.txt", "+ c/new.txt"] {
        assert!(drift.stdout.contains(part), "{part}\n{drift}");
    }
    assert!(!drift.stdout.contains("same.txt"), "{drift}");
    fleet
        .server
        .ok(&["release", "create", "shop", "--notes", "more"])
        .await;
    let diff = ["release", "diff", "shop", "1.0", "1.1"];
    let diff = fleet.server.ok(&diff).await;
    assert!(diff.stdout.contains("~ b.txt"), "{diff}");
    let changes = ["release", "changes", "shop", "1.1", "-e", "test"];
    let changes = fleet.server.ok(&changes).await;
    assert!(
        changes.stdout.contains("from 1.0 to 1.1") && changes.stdout.contains("more"),
        "{changes}"
    );
    let shown = fleet.server.ok(&["release", "show", "shop", "1.0"]).await;
    assert!(
        shown.stdout.contains("1.0 begins") && shown.stdout.contains("ticket: OPS-12"),
        "{shown}"
    );
    let second = number(
        &fleet
            .server
            .json(&["deploy", "shop", "1.1", "-e", "test", "--detach"])
            .await,
    );
    fleet.task_is(&second, "succeeded", SOON).await;
    let diff = fleet
        .server
        .ok(&["deployment", "diff", &first, &second])
        .await;
    for part in ["release: 1.0 -> 1.1", "Site: 1.0 -> 1.1", "+ c/new.txt"] {
        assert!(diff.stdout.contains(part), "{part}\n{diff}");
    }
    let manifest = fleet.server.json(&["deployment", "show", &second]).await;
    let targets = &manifest["manifest"]["targets"][0];
    assert_eq!(targets["name"], "web01");
    assert!(
        targets["agent_version"]
            .as_str()
            .is_some_and(|v| !v.is_empty())
    );
    let task = fleet.server.ok(&["task", "show", &second]).await;
    assert!(
        task.stdout
            .contains(&format!("mantle deployment show {second}")),
        "{task}"
    );
}

#[tokio::test]
async fn what_no_rule_keeps_goes_and_what_runs_stays() {
    let fleet = Fleet::new(1).await;
    let retention = "    retention: { releases: 1, packages: 1 }\n";
    let phases = AUTOMATIC_THEN_MANUAL.replace(", deploy: automatic", "");
    fleet
        .apply("lifecycle", &lifecycle(&phases, retention))
        .await;
    let process =
        "  - { step: put, targets: { tag: web }, uses: package, with: { package: Site } }\n";
    let project = project_of("shop", process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("shop", &project).await;
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        fleet.push("Site", version, &[("v.txt", version)]).await;
        fleet
            .server
            .ok(&["release", "create", "shop", version])
            .await;
    }
    for version in ["1.0", "1.1"] {
        let args = ["deploy", "shop", version, "-e", "test"];
        fleet.server.ok(&args).await;
    }
    fleet.push("Site", "1.4", &[("v.txt", "1.4")]).await;
    let dry = fleet.server.ok(&["retention", "run", "--dry-run"]).await;
    // 1.1 runs, 1.0 ran before, 1.3 is the newest of those that were nowhere. What 1.2 alone held
    // goes with it, for 1.4 is the newest that no release holds.
    let going: Vec<&str> = dry
        .stdout
        .lines()
        .filter(|line| line.contains("would go"))
        .collect();
    assert_eq!(going.len(), 2, "{dry}");
    for (line, name) in going.iter().zip(["shop 1.2", "Site 1.2"]) {
        assert!(line.contains(name) && line.contains("newest 1"), "{dry}");
    }
    fleet.server.ok(&["retention", "run"]).await;
    let left = fleet.server.json(&["release", "list", "shop"]).await;
    let versions: Vec<&str> = items(&left)
        .iter()
        .map(|release| release["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.3", "1.1", "1.0"]);
    // The release before can still be gone back to.
    fleet
        .server
        .ok(&["deploy", "shop", "1.0", "-e", "test"])
        .await;
    let packages = fleet.server.json(&["package", "versions", "Site"]).await;
    let versions: Vec<&str> = items(&packages)
        .iter()
        .map(|package| package["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.4", "1.3", "1.1", "1.0"]);
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn the_reference_example_applies_exports_releases_and_plans() {
    let fleet = Fleet::server_only(&[]).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/domain/tests");
    let file = |name: &str| folder.join("octofx").join(name).display().to_string();
    let (infrastructure, project) = (file("infrastructure.yaml"), file("octofx.yaml"));
    for path in [
        "octofx/database-password",
        "octofx/database-password-live",
        "octofx/chat-webhook",
    ] {
        let cli = fleet.server.cli();
        cli.run_with_input(&["secret", "set", path], b"x")
            .await
            .ok();
    }
    let validate = ["validate", &infrastructure, &project];
    let valid = fleet.server.ok(&validate).await;
    assert!(valid.stdout.contains("project octofx"), "{valid}");
    let apply = ["apply", "--yes", "-f", &infrastructure, "-f", &project];
    fleet.server.ok(&apply).await;
    let exported = fleet.world.path("exported");
    let to = exported.display().to_string();
    fleet.server.ok(&["export", "--to", &to]).await;
    let again = fleet.server.ok(&["apply", "--yes", "-f", &to]).await;
    again.complains(&["nothing to change"]);
    let site = [
        ("index.html", "#{SiteName}"),
        ("appsettings.json", "{}"),
        ("deploy/migrate.sh", "true"),
    ];
    fleet.push("OctoFX.Web", "1.2.0", &site).await;
    fleet.push("OctoFX.Web", "1.3.0-hotfix.1", &site).await;
    let stable = fleet.server.ok(&["release", "create", "octofx"]).await;
    assert!(
        stable.stdout.contains("(stable)") && stable.stdout.contains("1.2.0"),
        "{stable}"
    );
    // Its test phase deploys by itself, which cannot succeed here: nobody joined.
    stable.complains(&["T-1", "test"]);
    let hotfix = [
        "release",
        "create",
        "octofx",
        "9.0.0",
        "--package",
        "OctoFX.Web:1.3.0-hotfix.1",
    ];
    let hotfix = fleet.server.ok(&hotfix).await;
    assert!(hotfix.stdout.contains("(hotfix)"), "{hotfix}");
    let mut fleet = fleet;
    for (name, tag) in [
        ("db01", "database"),
        ("lb01", "load-balancer"),
        ("web01", "web"),
    ] {
        fleet.join(name, tag, None).await;
    }
    fleet.all_online().await;
    // Without a machine for the steps without targets there is no plan.
    let plan = ["plan", "octofx", "9.0.0", "-e", "test"];
    let refused = fleet.server.run(&plan).await.exit(6);
    refused.complains(&["'Tell the team'", "server-worker"]);
    fleet.join("worker01", "server-worker", None).await;
    fleet.all_online().await;
    let shown = fleet.server.ok(&plan).await;
    for part in [
        "octofx 9.0.0 (hotfix) -> test · 4 targets",
        "Migrate the database",
        "web01 on lb01",
        "OctoFX.Web 1.3.0-hotfix.1",
        "bin/octofx --port 8080",
        "url=http://localhost:8080/",
        "skipped: only in production",
        "Tell the team (notify)",
        "plan id",
    ] {
        assert!(shown.stdout.contains(part), "{part}\n{shown}");
    }
}
