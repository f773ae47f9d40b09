//! The agent as a service of Windows, and services that it deploys: with the service control manager of Wine.

use std::path::PathBuf;
use std::time::Duration;

use mantle_tests::cli::Output;
use mantle_tests::wait::wait_for;
use mantle_tests::wine::{beside_the_agent, windows_path};
use mantle_tests::{Agent, Joining, Platform, Server, World};
use serde_json::{Value, json};

/// Longer than anything here takes: Wine starts, and the machine does other things.
const PATIENCE: Duration = Duration::from_mins(2);

const INFRASTRUCTURE: &str = "mantle: v1
environments: [{ name: test }]
lifecycles: [{ name: standard, phases: [{ name: Test, environments: [test] }] }]
";

struct Farm {
    world: World,
    server: Server,
    agent: Agent,
}

impl Farm {
    /// A server with these files, and an agent that has joined.
    async fn start(files: &str) -> Self {
        let world = World::new();
        let server = Server::start(&world).await;
        for (name, text) in [
            ("infrastructure.yaml", INFRASTRUCTURE),
            ("files.yaml", files),
        ] {
            let file = world.file(name, text).display().to_string();
            server.ok(&["apply", "--yes", "-f", &file]).await;
        }
        let agent = Agent::join(&world, &server, "win01", how()).await;
        Self {
            world,
            server,
            agent,
        }
    }

    async fn service(&self, words: &[&str]) -> Output {
        self.agent.cli().run(&[&["service"], words].concat()).await
    }

    /// How a service stands, or nothing where there is none.
    async fn standing(&self, name: &str) -> Value {
        let status = ["status", "--unit", name, "-o", "json"];
        let output = self.service(&status).await;
        if output.code == Some(5) {
            return Value::Null;
        }
        output.json()["service"].take()
    }

    async fn release(&self, project: &str, version: &str) {
        self.server
            .ok(&["release", "create", project, version])
            .await;
    }

    async fn deploy(&self, project: &str, version: &str) -> Output {
        let words = ["deploy", project, version, "-e", "test"];
        self.server.run(&words).await
    }
}

fn how() -> Joining<'static> {
    Joining {
        tags: &["web"],
        environments: &["test"],
        platform: Platform::Wine,
        ..Joining::default()
    }
}

#[tokio::test]
async fn join_install_joins_starts_the_service_and_may_be_typed_again() {
    let world = World::new();
    let server = Server::start(&world).await;
    let file = world.file("infrastructure.yaml", INFRASTRUCTURE);
    let file = file.display().to_string();
    server.ok(&["apply", "--yes", "-f", &file]).await;
    let token = server.token().await;
    let at = server.addresses().quic;
    // Its data directory is the one that it joins with, before it can be asked.
    let (agent, refused) = Agent::try_join(&world, at, "mj1.wrong", "win01", how()).await;
    refused.exit(2);
    let address = at.to_string();
    let words = [
        "join",
        "--install",
        "--server",
        &address,
        "--token",
        &token,
        "--name",
        "win01",
        "--tag",
        "web",
        "--environment",
        "test",
    ];
    let said = agent.cli().run(&words).await.ok().stdout;
    for part in ["tentacle runs", "the server is connected"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    server.target_is("win01", true, PATIENCE).await;
    let said = agent.cli().run(&words).await.ok().stdout;
    assert!(said.contains("has joined this server already"), "{said}");

    // It leaves with all that it is.
    let said = agent.cli().run(&["leave", "--purge"]).await.ok().stdout;
    for part in [
        "stopped tentacle",
        "removed the service tentacle",
        "the server knows",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    agent.cli().run(&["service", "status"]).await.exit(5);
    assert!(!agent.data().join("identity").exists());
}

#[tokio::test]
async fn a_service_that_cannot_start_says_why_and_another_programs_is_let_alone() {
    let farm = Farm::start("mantle: v1\nenvironments: [{ name: test }]\n").await;
    farm.service(&["install", "--profile", "confined"])
        .await
        .exit(2)
        .complains(&["LocalSystem"]);
    farm.service(&["install"]).await.ok();
    // Its identity is there, but nobody can read it.
    let identity = farm.agent.data().join("identity/identity.json");
    farm.world.file("kept", std::fs::read(&identity).unwrap());
    std::fs::write(&identity, "{").unwrap();
    farm.service(&["start"]).await.exit(1).complains(&[
        "ended again",
        "with its own error 7",
        "identity.json",
    ]);
    std::fs::copy(farm.world.path("kept"), &identity).unwrap();
    farm.service(&["start"]).await.ok();
    farm.server.target_is("win01", true, PATIENCE).await;
    // The same name, from another data directory: that would be another agent's.
    let other = windows_path(&farm.world.path("other"));
    let cli = farm.agent.cli();
    for verb in ["install", "uninstall"] {
        cli.run(&["--data", &other, "service", verb])
            .await
            .exit(6)
            .complains(&["does not run the agent with the data directory"]);
    }
    assert_eq!(farm.standing("tentacle").await["state"], "running");
    cli.run(&["run", "--service", "tentacle"])
        .await
        .exit(6)
        .complains(&["service control manager"]);
}

/// A package with a service in it, deployed, changed, failed and rolled back.
#[tokio::test]
async fn a_service_of_a_package_is_made_changed_put_back_when_it_fails_and_rolled_back() {
    let farm = Shop::start().await;
    farm.deploy("1.0.0", json!({})).await.ok();
    let first = farm.is("1.0.0", "running").await;
    assert_eq!(first["display_name"], "The Shop");
    assert_eq!(first["start"], "manual");
    let file = windows_path(&farm.told());
    assert_eq!(first["arguments"], json!(["shop", file, "two words", "-x"]));

    // The same again: it is let alone.
    farm.again("1.0.0").await.ok();
    assert_eq!(farm.is("1.0.0", "running").await["pid"], first["pid"]);
    assert_eq!(farm.starts(), ["1.0.0"]);

    farm.deploy("2.0.0", json!({})).await.ok();
    let second = farm.is("2.0.0", "running").await;
    assert_ne!(second["pid"], first["pid"]);

    // One that ends as soon as it was started, and one that does not stay up: the one of before again.
    for (version, how) in [("3.0.0", "fail"), ("4.0.0", "quit")] {
        let failed = farm.deploy(version, json!({"Mode": how})).await.exit(3);
        failed.complains(&["its own error 42", "set up as before again, and runs"]);
        farm.is("2.0.0", "running").await;
    }
    assert_eq!(
        farm.starts(),
        ["1.0.0", "2.0.0", "3.0.0", "2.0.0", "4.0.0", "2.0.0"]
    );

    // A later action fails: the step rolls back, and the service with it.
    farm.deploy("5.0.0", json!({"Last": "5"})).await.exit(3);
    farm.becomes("2.0.0", "running").await;

    // A program that is not there is told before the service is touched.
    let missing = farm
        .deploy("6.0.0", json!({"Program": "none.exe"}))
        .await
        .exit(3);
    missing.complains(&["there is no file", "none.exe"]);
    farm.is("2.0.0", "running").await;
}

#[tokio::test]
async fn a_service_that_fails_at_its_first_deployment_is_not_there_afterwards() {
    let farm = Shop::start().await;
    let failed = farm.deploy("1.0.0", json!({"Mode": "fail"})).await.exit(3);
    failed.complains(&["there was no service shop before, and there is none now"]);
    assert_eq!(farm.farm.standing("shop").await, Value::Null);
    // What `service` makes of one that is there.
    farm.deploy("2.0.0", json!({})).await.ok();
    farm.is("2.0.0", "running").await;
    for (state, becomes) in [
        ("stopped", "stopped"),
        ("started", "running"),
        ("restarted", "running"),
    ] {
        farm.turn(state).await.ok();
        farm.is("2.0.0", becomes).await;
    }
}

const SHOP: &str = r##"mantle: v1
project: shop
lifecycle: standard
packages: [{ id: Shop }]
variables:
  Folder: "#{Octopus.Action[Install].Output.Package.InstallationDirectoryPath}"
  Told: 'TOLD'
  Mode: 'MODE'
  Program: 'PROGRAM'
  Last: 'LAST'
process:
  - step: Farm
    targets: { tag: web }
    rolling: { window: 1, on_failure: rollback }
    actions:
      - action: Install
        uses: package
        with: { package: Shop }
      - action: Run it
        uses: windows.service
        with:
          name: shop
          display_name: The Shop
          executable: "#{Folder}\\#{Program}"
          arguments: [shop, "#{Told}", "#{Mode}", "-x"]
          start: manual
          recovery: [5s, 1m]
      - action: Last
        uses: script
        with: { shell: cmd, run: "@exit #{Last}", substitute: true, rollback: "@exit 0" }
"##;

const TURNING: &str = "mantle: v1
project: turning-STATE
lifecycle: standard
process:
  - step: Turn
    targets: { tag: web }
    uses: service
    with: { name: shop, state: STATE }
";

struct Shop {
    farm: Farm,
}

impl Shop {
    async fn start() -> Self {
        let farm = Farm::start("mantle: v1\nenvironments: [{ name: test }]\n").await;
        let mut shop = Self { farm };
        shop.farm.agent.run();
        shop.farm.server.target_is("win01", true, PATIENCE).await;
        shop
    }

    /// Where the service writes a line at each start.
    fn told(&self) -> PathBuf {
        self.farm.world.path("told by the shop")
    }

    /// The versions that were started, in this order.
    fn starts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.told()).unwrap_or_default();
        let version = |line: &str| {
            let (program, _) = line.split_once(r"\shop.exe").expect("its program");
            program.rsplit('\\').next().expect("a folder").to_owned()
        };
        text.lines().map(version).collect()
    }

    /// Pushes a version of the package and deploys it, with other values of these variables.
    async fn deploy(&self, version: &str, other: Value) -> Output {
        let world = &self.farm.world;
        let value = |name: &str, usual: &str| other[name].as_str().unwrap_or(usual).to_owned();
        let project = SHOP
            .replace("TOLD", &windows_path(&self.told()))
            .replace("MODE", &value("Mode", "two words"))
            .replace("PROGRAM", &value("Program", "shop.exe"))
            .replace("LAST", &value("Last", "0"));
        let file = world.file("shop.yaml", project).display().to_string();
        self.farm.server.ok(&["apply", "--yes", "-f", &file]).await;
        let folder = world.dir(&format!("shop-{version}"));
        for (from, to) in [
            ("testservice.exe", "shop.exe"),
            ("bcryptprimitives.dll", "bcryptprimitives.dll"),
        ] {
            std::fs::copy(beside_the_agent(from), folder.join(to)).expect("a file of the package");
        }
        let archive = world.path(&format!("Shop.{version}.tar.gz"));
        let packed = std::process::Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder)
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let archive = archive.display().to_string();
        self.farm.server.ok(&["package", "push", &archive]).await;
        self.farm.release("shop", version).await;
        self.again(version).await
    }

    async fn again(&self, version: &str) -> Output {
        self.farm.deploy("shop", version).await
    }

    /// Deploys a project that starts, stops or restarts the service.
    async fn turn(&self, state: &str) -> Output {
        let project = TURNING.replace("STATE", state);
        let file = self
            .farm
            .world
            .file("turning.yaml", project)
            .display()
            .to_string();
        self.farm.server.ok(&["apply", "--yes", "-f", &file]).await;
        let name = format!("turning-{state}");
        self.farm.release(&name, "1.0.0").await;
        self.farm.deploy(&name, "1.0.0").await
    }

    /// The service is of this version and in this state.
    async fn is(&self, version: &str, state: &str) -> Value {
        let standing = self.farm.standing("shop").await;
        Self::check(&standing, version, state).unwrap_or_else(|wrong| panic!("{wrong}"));
        standing
    }

    async fn becomes(&self, version: &str, state: &str) {
        wait_for("the service is so", PATIENCE, || async {
            Self::check(&self.farm.standing("shop").await, version, state)
        })
        .await;
    }

    fn check(standing: &Value, version: &str, state: &str) -> Result<(), String> {
        let program = standing["program"].as_str().unwrap_or_default();
        let wanted = format!(r"\Shop\{version}\shop.exe");
        if program.ends_with(&wanted) && standing["state"] == state {
            return Ok(());
        }
        Err(format!("not {version} {state}: {standing:#}"))
    }
}
