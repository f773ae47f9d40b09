//! `package.transfer`: an archive itself, as it was pushed, beside the same package taken apart.

use crate::fleet::{Fleet, project_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_arrives_byte_for_byte_beside_the_same_package_taken_apart() {
    let fleet = Fleet::new(1).await;
    let drop = fleet.world.path("drop/off");
    let process = format!(
        "  - step: only
    targets: {{ tag: web }}
    actions:
      - {{ action: install, uses: package, with: {{ package: Site }} }}
      - {{ action: hand, uses: package.transfer, with: {{ package: Site, to: '{}', file: \"site-#{{Octopus.Release.Number}}.tgz\" }} }}
      - {{ action: look, uses: script, with: {{ run: \"cp '#{{Octopus.Action[hand].Output.Package.FilePath}}' '{}'\", substitute: true }} }}
",
        drop.display(),
        fleet.world.path("seen").display()
    );
    let page = "a page ".repeat(100_000);
    fleet
        .push("Site", "1.0", &[("index.html", page.as_str())])
        .await;
    let yaml = project_of("site", &process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("site", &yaml).await;
    fleet.server.ok(&["release", "create", "site", "1.0"]).await;
    fleet.deploy("site").await.ok();
    let pushed = std::fs::read(fleet.world.path("Site.1.0.tar.gz")).unwrap();
    let arrived = std::fs::read(drop.join("site-1.0.tgz")).unwrap();
    assert!(
        pushed == arrived,
        "{} and {} bytes",
        pushed.len(),
        arrived.len()
    );
    assert!(std::fs::read(fleet.world.path("seen")).unwrap() == pushed);
    let installed = fleet
        .world
        .path("agent-web01/apps/test/site/Site/current/index.html");
    assert_eq!(std::fs::read_to_string(installed).unwrap(), page);
    // Once more it is there, and a release does not differ from its project for it.
    fleet.deploy("site").await.ok();
    let log = fleet.log("T-2").await;
    assert!(
        log.iter()
            .any(|line| line.text.ends_with("is there already")),
        "{log:?}"
    );
    let drift = fleet.server.ok(&["release", "drift", "site", "1.0"]).await;
    assert!(!drift.stdout.contains("Site"), "{drift}");
}
