//! IIS on a Windows agent, by the stand-in for `appcmd.exe`; and one project over both platforms.

use std::time::Duration;

use mantle_tests::cli::Output;
use mantle_tests::wait::wait_for;
use mantle_tests::wine::iis_state;
use mantle_tests::{Agent, Joining, Platform, Server, World};
use serde_json::Value;

/// Longer than anything here takes: Wine starts, and the machine does other things.
const PATIENCE: Duration = Duration::from_mins(2);

const FILES: &str = r##"mantle: v1
environments: [{ name: test }]
lifecycles: [{ name: standard, phases: [{ name: Test, environments: [test] }] }]
---
mantle: v1
project: site
lifecycle: standard
packages: [{ id: Site }]
variables:
  Place: "#{Octopus.Action[Install].Output.Package.InstallationDirectoryPath}"
process:
  - step: Farm
    targets: { tag: web }
    rolling: { window: 1, on_failure: rollback }
    actions:
      - action: Install
        uses: package
        with: { package: Site }
      - action: Pool
        uses: iis.app_pool
        when: { platform: windows }
        with: { name: Gulls, clr: none }
      - action: Put it on IIS
        uses: iis.site
        when: { platform: windows }
        with:
          site: The Gulls
          path: "#{Place}"
          pool: Gulls
          bindings: ["http/*:8080:"]
      - action: Serve it
        uses: script
        when: { platform: linux }
        with: { run: 'cat "$PLACE/index.html"', rollback: "true" }
      - action: Last
        uses: script
        when: { platform: windows }
        with: { shell: cmd, run: "@if not \"#{Octopus.Release.Number}\"==\"3.0.0\" (exit 0) else (exit 5)", substitute: true, rollback: "@exit 0" }
"##;

struct Farm {
    world: World,
    server: Server,
    windows: Agent,
    _linux: Agent,
}

impl Farm {
    async fn start() -> Self {
        let world = World::new();
        let server = Server::start(&world).await;
        let file = world.file("site.yaml", FILES).display().to_string();
        server.ok(&["apply", "--yes", "-f", &file]).await;
        let how = |platform: Platform| Joining {
            tags: &["web"],
            environments: &["test"],
            platform,
            ..Joining::default()
        };
        let linux = Agent::start(&world, &server, "web01", how(Platform::default())).await;
        let windows = Agent::start(&world, &server, "win01", how(Platform::Wine)).await;
        Self {
            world,
            server,
            windows,
            _linux: linux,
        }
    }

    async fn deploy(&self, version: &str) -> Output {
        let folder = format!("site-{version}");
        self.world
            .file(&format!("{folder}/index.html"), format!("page {version}\n"));
        let archive = self.world.path(&format!("Site.{version}.tar.gz"));
        let packed = std::process::Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(self.world.path(&folder))
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let archive = archive.display().to_string();
        self.server.ok(&["package", "push", &archive]).await;
        self.server
            .ok(&["release", "create", "site", version])
            .await;
        self.server
            .run(&["deploy", "site", version, "-e", "test"])
            .await
    }

    /// The folder that the site on IIS leads to.
    fn leads_to(&self) -> String {
        let state = iis_state(&self.world);
        let root = &state["sites"]["The Gulls"]["applications"]["/"]["directories"]["/"];
        root.as_str().unwrap_or_default().to_owned()
    }

    fn fail_next(&self, text: &str) {
        let mut state = iis_state(&self.world);
        state["failing"] = serde_json::json!([text]);
        mantle_tests::wine::set_iis_state(&self.world, &state);
    }
}

#[tokio::test]
async fn one_project_goes_over_linux_and_windows_each_in_its_own_way_and_back() {
    let farm = Farm::start().await;
    farm.deploy("1.0.0").await.ok();
    let state = iis_state(&farm.world);
    let site = &state["sites"]["The Gulls"];
    assert_eq!(site["started"], Value::Bool(true), "{state:#}");
    assert_eq!(site["applications"]["/"]["pool"], "Gulls");
    assert_eq!(
        state["pools"]["Gulls"]["settings"]["managedRuntimeVersion"],
        ""
    );
    assert!(
        farm.leads_to().ends_with(r"\Site\1.0.0"),
        "{}",
        farm.leads_to()
    );
    let log = farm.server.ok(&["task", "logs", "T-1"]).await.stdout;
    assert!(log.contains("page 1.0.0"), "{log}");

    // The folder is the last thing that changes; where that fails all is as it was.
    farm.fail_next("set vdir");
    let failed = farm.deploy("2.0.0").await.exit(3);
    failed.complains(&["Told to fail"]);
    assert!(
        farm.leads_to().ends_with(r"\Site\1.0.0"),
        "{}",
        farm.leads_to()
    );
    let again = ["deploy", "site", "2.0.0", "-e", "test"];
    farm.server.ok(&again).await;
    assert!(
        farm.leads_to().ends_with(r"\Site\2.0.0"),
        "{}",
        farm.leads_to()
    );

    // A step that fails later rolls the site back too, on both platforms.
    farm.deploy("3.0.0").await.exit(3);
    let back = wait_for("the site leads back", PATIENCE, || async {
        let leads_to = farm.leads_to();
        if leads_to.ends_with(r"\Site\2.0.0") {
            Ok(leads_to)
        } else {
            Err(leads_to)
        }
    });
    back.await;
    assert_eq!(iis_state(&farm.world)["pools"]["Gulls"]["started"], true);
    drop(farm.windows);
}

#[tokio::test]
async fn iis_is_refused_by_the_plan_on_a_machine_that_is_no_windows() {
    let farm = Farm::start().await;
    let text = FILES
        .replace("project: site", "project: wrong")
        .replace("        when: { platform: windows }\n", "");
    let (_, project) = text.split_once("---\n").unwrap();
    let file = farm.world.file("wrong.yaml", project).display().to_string();
    farm.server.ok(&["apply", "--yes", "-f", &file]).await;
    let folder = farm.world.file("empty/index.html", "x");
    let archive = farm.world.path("Site.9.0.0.tar.gz");
    let packed = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(folder.parent().unwrap())
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    let archive = archive.display().to_string();
    farm.server.ok(&["package", "push", &archive]).await;
    farm.server
        .ok(&["release", "create", "wrong", "1.0.0"])
        .await;
    let plan = ["plan", "wrong", "1.0.0", "-e", "test"];
    farm.server
        .run(&plan)
        .await
        .exit(6)
        .complains(&["web01", "iis.site"]);
}
