//! Where installed versions lie, and who can read them.

use std::os::unix::fs::PermissionsExt as _;

use crate::fleet::{Fleet, project_of};

#[tokio::test]
async fn installed_versions_are_where_the_agent_was_told_and_others_can_read_them() {
    let mut fleet = Fleet::server_only(&[]).await;
    let apps = fleet.world.path("applications");
    let told = [("TENTACLE_APPS", apps.to_str().unwrap())];
    fleet.join_with("web01", "web", None, &told).await;
    fleet.all_online().await;
    let files = [("site/index.html", "one")];
    fleet.push("Site", "1.0", &files).await;
    let process = "  - { step: only, targets: { tag: web }, actions: [{ action: install, uses: package, with: { package: Site } }] }\n";
    let yaml = project_of("site", process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("site", &yaml).await;
    fleet.server.ok(&["release", "create", "site", "1.0"]).await;
    fleet.deploy("site").await.ok();
    let file = apps.join("test/site/Site/current/site/index.html");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    let real = file.canonicalize().unwrap();
    for path in real.ancestors().take_while(|path| path.starts_with(&apps)) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        let wanted = if path.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(mode & 0o777, wanted, "{}", path.display());
    }
    let data = std::fs::metadata(fleet.agents[0].data()).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);

    // It is kept: also a life that is not told goes on there, and everybody is told where.
    fleet.agents[0].stop().await;
    let cli = fleet.agents[0].cli();
    for command in [&["status"][..], &["config", "show"], &["doctor"]] {
        let output = cli.run(command).await;
        let said = format!("{}", apps.display());
        assert!(output.stdout.contains(&said), "{output}");
    }
}
