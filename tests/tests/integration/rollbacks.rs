//! Going back to what ran before: what is deployed, with which variables, and what it costs.

use std::path::PathBuf;

use mantle_tests::cli::Output;

use crate::fleet::{Fleet, project_of};

/// A site of one package whose script prints a variable.
fn site(color: &str) -> String {
    let process = "  - step: site
    targets: { tag: web }
    actions:
      - { action: install, uses: package, with: { package: Site } }
      - { action: tell, uses: script, with: { run: 'echo \"it is $(mantle_get Color)\"' } }
";
    project_of("site", process).replace(
        "process:",
        &format!("packages: [{{ id: Site }}]\nversion: {{ package: Site }}\nvariables: {{ Color: {color} }}\nprocess:"),
    )
}

/// Pushes this version, makes a release of it and deploys that.
async fn bring(fleet: &Fleet, version: &str) {
    let page = format!("this is {version}").repeat(4096);
    fleet.push("Site", version, &[("index.html", &page)]).await;
    fleet
        .server
        .ok(&["release", "create", "site", version])
        .await;
    fleet
        .server
        .run(&["deploy", "site", version, "-e", "test"])
        .await
        .ok();
}

async fn back(fleet: &Fleet, more: &[&str]) -> Output {
    let args = [&["rollback", "site", "-e", "test"], more].concat();
    fleet.server.run(&args).await
}

fn installed(fleet: &Fleet) -> PathBuf {
    fleet.world.path("apps/test/site/Site")
}

fn current(fleet: &Fleet) -> String {
    let real = installed(fleet).join("current").canonicalize().unwrap();
    let page = std::fs::read_to_string(real.join("index.html")).unwrap();
    assert!(page.starts_with("this is "));
    real.file_name().unwrap().to_str().unwrap().to_owned()
}

fn versions(fleet: &Fleet) -> Vec<String> {
    let entries = std::fs::read_dir(installed(fleet)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with('1') && !name.contains("mantle-install"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_rollback_switches_to_what_ran_before_with_its_variables_and_sends_nothing() {
    let mut fleet = Fleet::server_only(&[]).await;
    let apps = fleet.world.path("apps");
    let told = [("TENTACLE_APPS", apps.to_str().unwrap())];
    fleet.join_with("web01", "web", None, &told).await;
    fleet.all_online().await;
    fleet.apply("site", &site("red")).await;
    let nothing = back(&fleet, &[]).await;
    assert_eq!(nothing.code, Some(6), "{nothing}");
    assert!(
        nothing
            .stderr
            .contains("no release of site was deployed to test"),
        "{nothing}"
    );

    bring(&fleet, "1.0").await;
    let only = back(&fleet, &[]).await;
    assert_eq!(only.code, Some(6), "{only}");
    assert!(only.stderr.contains("none but 1.0"), "{only}");
    bring(&fleet, "1.1").await;
    // 1.0 gets other variables afterwards: a rollback has those that it was deployed with.
    fleet.apply("site", &site("blue")).await;
    fleet
        .server
        .ok(&[
            "release",
            "refresh-variables",
            "site",
            "1.0",
            "--reason",
            "blue",
            "--yes",
        ])
        .await;
    assert_eq!(current(&fleet), "1.1");

    let planned = back(&fleet, &["--dry-run"]).await.ok();
    assert!(planned.stdout.contains("goes back from 1.1"), "{planned}");
    assert_eq!(current(&fleet), "1.1");
    let id = planned.stdout.split("plan id: ").nth(1).expect("its id");
    let id = id.trim();
    let deployed = ["deploy", "site", "1.0", "-e", "test", "--plan", id];
    let refused = fleet.server.run(&deployed).await.exit(6);
    refused.complains(&[id, "mantle rollback site -e test --to 1.0 --plan"]);
    let other = back(&fleet, &["--plan", id, "--current-variables"]).await;
    other
        .exit(6)
        .complains(&["goes back to other variables now", "--dry-run"]);
    let went = back(&fleet, &["--plan", id]).await.ok();
    assert!(
        went.stdout.contains("T-3 site 1.0 -> test succeeded"),
        "{went}"
    );
    assert!(went.stderr.contains("0 bytes sent"), "{went}");
    assert_eq!(current(&fleet), "1.0");
    assert_eq!(versions(&fleet), ["1.0", "1.1"], "nothing is unpacked anew");
    let said = |log: Vec<crate::fleet::Line>, text: &str| log.iter().any(|line| line.text == text);
    assert!(said(fleet.log("T-3").await, "it is red"));

    // 1.1 was gone back from: the way back from 1.0 is not to it, unless it is named.
    let further = back(&fleet, &[]).await;
    assert_eq!(further.code, Some(6), "{further}");
    assert!(
        further
            .stderr
            .contains("--to VERSION' goes back to one of 1.1"),
        "{further}"
    );
    further.complains(&["with success beside 1.0 was gone back from: 1.1"]);
    back(&fleet, &["--to", "1.1"]).await.ok();
    assert_eq!(current(&fleet), "1.1");
    let same = back(&fleet, &["--to", "1.1"]).await;
    assert_eq!(same.code, Some(6), "{same}");

    back(&fleet, &["--to", "1.0", "--current-variables"])
        .await
        .ok();
    assert!(said(fleet.log("T-5").await, "it is blue"));
    let audit = fleet.server.ok(&["audit", "list", "-o", "json"]).await;
    assert!(audit.stdout.contains("back_from"), "{audit}");
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn after_a_failed_deployment_the_way_back_is_to_what_succeeded_last() {
    let fleet = Fleet::new(1).await;
    let step = |run: &str| {
        let process = format!(
            "  - {{ step: only, targets: {{ tag: web }}, uses: script, with: {{ run: {run} }} }}\n"
        );
        project_of("site", &process)
    };
    for (version, run) in [("1.0", "echo zero"), ("1.1", "echo one"), ("1.2", "exit 1")] {
        fleet.apply("site", &step(run)).await;
        fleet
            .server
            .ok(&["release", "create", "site", version])
            .await;
        fleet
            .server
            .run(&["deploy", "site", version, "-e", "test"])
            .await;
    }
    let went = back(&fleet, &[]).await.ok();
    assert!(went.stdout.contains("site 1.1 -> test succeeded"), "{went}");
    let log = fleet.log("T-4").await;
    assert!(
        log.iter().any(|line| line.text == "one"),
        "its process is the release's"
    );
}
