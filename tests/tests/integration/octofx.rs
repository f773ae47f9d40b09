//! The reference example, whole: a database, a balancer and web servers with a systemd of their own,
//! deployed to test by a release, promoted to production, signed and told of. What its comments claim
//! is looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mantle_tests::binaries::binary;
use mantle_tests::cli::Cli;
use mantle_tests::grammar;
use mantle_tests::haproxy::{HaProxy, Watch};
use mantle_tests::namespaces::{WayIn, unshare};
use mantle_tests::process::Process;
use mantle_tests::proxy::Proxy;
use mantle_tests::receivers::Webhook;
use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::wait::wait_for;
use mantle_tests::{Agent, Joining, Server, World};
use serde_json::Value;

use crate::fleet::{QUICK, SOON};

/// A deployment of it takes a while: each web server is drained, started and asked three times.
const PATIENCE: Duration = Duration::from_mins(4);
const ENVIRONMENTS: &[&str] = &["test", "production"];
/// The agents' data inside: services have a `/tmp` of their own, so it is not there.
const DATA: &str = "/var/lib/tentacle";
/// Where an agent with that folder installs.
const APPS: &str = "/var/lib/tentacle-apps";
/// The example's own port, on the loopback of each web server.
const PORT: u16 = 8080;

/// A web server: a machine with its own network and its own systemd, in which the agent is a unit.
struct Web {
    name: &'static str,
    systemd: Systemd,
    way_in: WayIn,
    _way_out: Proxy,
}

impl Web {
    async fn boot(name: &'static str, server: &Server) -> Self {
        let world = World::new();
        let systemd = Systemd::boot(&world, Network::Own).await;
        let up = ["ip", "link", "set", "lo", "up"];
        systemd.run(&up).await.ok();
        let quic = server.addresses().quic;
        let way_out = Proxy::start_in_network_of(systemd.pid(), quic, 1).expect("a way out");
        let data = PathBuf::from(DATA);
        let tentacle = binary("tentacle").display().to_string();
        let address = way_out.addr().to_string();
        let token = server.token().await;
        let join = grammar::agent_join(&data, &address, &token, name, &["web"], ENVIRONMENTS);
        let mut words = vec![tentacle.as_str()];
        words.extend(join.iter().map(String::as_str));
        systemd.run(&words).await.ok();
        let mut unit = vec![
            "systemd-run".to_owned(),
            "--unit=tentacle".to_owned(),
            "--property=KillMode=process".to_owned(),
        ];
        unit.extend(
            QUICK
                .iter()
                .map(|(name, value)| format!("--setenv={name}={value}")),
        );
        unit.push(tentacle.clone());
        unit.extend(grammar::agent_run(&data));
        let unit: Vec<&str> = unit.iter().map(String::as_str).collect();
        systemd.run(&unit).await.ok();
        let way_in = WayIn::open(systemd.pid(), PORT).await;
        Self {
            name,
            systemd,
            way_in,
            _way_out: way_out,
        }
    }

    /// Where the versions of the package are, as this process can reach it.
    fn apps(&self, environment: &str) -> PathBuf {
        self.systemd
            .path(&format!("{APPS}/{environment}/octofx/OctoFX.Web"))
    }

    /// A file of the version in use.
    fn installed(&self, environment: &str, file: &str) -> String {
        let path = self.apps(environment);
        // The link leads to where the version is inside.
        let current = std::fs::read_link(path.join("current")).expect("a version in use");
        let path = path.join(current.file_name().unwrap()).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// How many versions are on it.
    fn versions(&self, environment: &str) -> usize {
        let found = std::fs::read_dir(self.apps(environment)).expect("versions");
        let is_version = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
        found
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| is_version(&entry.file_name().to_string_lossy()))
            .count()
    }
}

/// The machine of the balancer: HAProxy's socket is where its package puts it.
struct Balancer {
    haproxy: HaProxy,
    watch: Watch,
    _mounts: Process,
    _agent: Agent,
}

impl Balancer {
    async fn start(world: &World, server: &Server, webs: &[&Web]) -> Self {
        let places: Vec<_> = webs
            .iter()
            .map(|web| (web.name, web.way_in.address()))
            .collect();
        let haproxy = HaProxy::start_before(world, &places).await;
        let mut command = unshare(&["--mount"]);
        command.args(["sh", "-c"]);
        command.arg("mount -t tmpfs tmpfs /run && mkdir /run/haproxy && ln -s \"$1\" /run/haproxy/admin.sock && echo mounted && exec sleep infinity");
        command.arg("sh").arg(&haproxy.socket);
        let mut mounts = Process::spawn(world, "the balancer's mounts", command);
        mounts
            .line("they are there", SOON, |line| line == "mounted")
            .await;
        let how = Joining {
            tags: &["load-balancer"],
            environments: ENVIRONMENTS,
            env: QUICK,
            ..Joining::default()
        };
        let mut agent = Agent::join(world, server, "lb01", how).await;
        agent.see_mounts_of(mounts.pid());
        agent.run();
        server.target_is("lb01", true, SOON).await;
        Self {
            watch: haproxy.watch(),
            haproxy,
            _mounts: mounts,
            _agent: agent,
        }
    }

    async fn all_up(&self, count: usize) {
        wait_for("all servers are up", SOON, || async {
            let states = self.haproxy.states().await?;
            let up = states.iter().filter(|state| state.status == "UP").count();
            if up == count {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        })
        .await;
    }
}

/// What the project's package holds. The database is a file in which the migration writes.
fn package(world: &World, version: &str, database: &Path) -> String {
    let folder = world.dir(&format!("web-{version}"));
    let migrate = format!(
        "set -eu\necho \"migrate $DATABASE with a password of ${{#DATABASE_PASSWORD}} signs to $OCTOPUS_RELEASE_NUMBER\" >>'{}'\n",
        database.display()
    );
    let program = format!(
        "#!/bin/sh\n# The example calls it as: octofx --port PORT\nhere=$(cd \"$(dirname \"$0\")/..\" && pwd -P)\nsleep infinity | '{}' serve --listen \"127.0.0.1:$2\" --root \"$here\" --name \"$(uname -n)\" --address-file /run/octofx.address\n",
        binary("webserver").display()
    );
    for (name, text) in [
        ("deploy/migrate.sh", migrate.as_str()),
        ("bin/octofx", program.as_str()),
        ("version.txt", version),
        (
            "pages/index.html",
            "<h1>#{SiteName} #{Octopus.Release.Number} on #{Octopus.Machine.Name}</h1>\n",
        ),
        ("pages/raw.txt", "#{SiteName}\n"),
        (
            "appsettings.json",
            "{\n  \"Logging\": { \"LogLevel\": { \"Default\": \"Warning\" } },\n  \"Database\": \"\"\n}\n",
        ),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let program = folder.join("bin/octofx");
    let executable: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let archive = world.path(&format!("OctoFX.Web.{version}.tar.gz"));
    let packed = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(&folder)
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    archive.display().to_string()
}

async fn task_ends(server: &Server, number: &str) -> String {
    let words = ["task", "wait", number, "--timeout", "4m"];
    let waited = server.run(&words).await;
    let logs = server.run(&["task", "logs", number]).await;
    assert_eq!(waited.code, Some(0), "{waited}\n{logs}");
    logs.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_example_is_deployed_promoted_signed_and_told_of() {
    let world = World::new();
    let env = [QUICK, &[("MANTLE_WORKER", "beside")]].concat();
    let server = Server::start_with(&world, &env).await;
    let hook = Webhook::start(0).await;
    for (path, value) in [
        ("octofx/database-password", "test-password".to_owned()),
        (
            "octofx/database-password-live",
            "a-password-of-production".to_owned(),
        ),
        ("octofx/chat-webhook", hook.url("/team")),
    ] {
        let cli = server.cli();
        cli.run_with_input(&["secret", "set", path], value.as_bytes())
            .await
            .ok();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/domain/tests/octofx");
    let file = |name: &str| folder.join(name).display().to_string();
    let apply = [
        "apply",
        "--yes",
        "-f",
        &file("infrastructure.yaml"),
        "-f",
        &file("octofx.yaml"),
    ];
    server.ok(&apply).await;

    let (web01, web09) = tokio::join!(Web::boot("web01", &server), Web::boot("web09", &server));
    let balancer = Balancer::start(&world, &server, &[&web01, &web09]).await;
    let how = Joining {
        tags: &["database"],
        environments: ENVIRONMENTS,
        env: QUICK,
        ..Joining::default()
    };
    let _db01 = Agent::start(&world, &server, "db01", how).await;
    for name in ["web01", "web09", "server-worker"] {
        server.target_is(name, true, SOON).await;
    }

    // A new release goes to test by itself.
    let database = world.path("database");
    let push = |version: &str| package(&world, version, &database);
    server.ok(&["package", "push", &push("1.2.0")]).await;
    let created = server.ok(&["release", "create", "octofx"]).await;
    created.complains(&["T-1", "test"]);
    let log = task_ends(&server, "T-1").await;
    let migrated = std::fs::read_to_string(&database).unwrap();
    assert_eq!(
        migrated,
        "migrate Server=sql-test;Database=octofx with a password of 13 signs to 0.0.1\n"
    );
    balancer.all_up(2).await;
    for web in [&web01, &web09] {
        assert_eq!(
            web.systemd.property("octofx", "ActiveState").await,
            "active"
        );
        let page = web.installed("test", "pages/index.html");
        assert_eq!(page, format!("<h1>OctoFX 0.0.1 on {}</h1>\n", web.name));
        assert_eq!(
            web.installed("test", "pages/raw.txt"),
            "#{SiteName}\n",
            "only **/*.html"
        );
        let settings: Value =
            serde_json::from_str(&web.installed("test", "appsettings.json")).unwrap();
        assert_eq!(settings["Logging"]["LogLevel"]["Default"], "Debug");
        assert_eq!(settings["Database"], "Server=sql-test;Database=octofx");
    }
    assert!(!log.contains("test-password"), "{log}");
    let told = hook.first_at("/team", SOON).await;
    assert_eq!(told.body["text"], "OctoFX 0.0.1: Success");
    assert!(!log.contains("/team"), "the address is a secret: {log}");

    // To production: one web server at a time, then somebody signs.
    let key = server
        .ok(&["apikey", "create", "ann", "--team", "release-managers"])
        .await;
    let ann: Cli = server.cli().env("MANTLE_TOKEN", key.stdout.trim());
    let promote = [
        "promote",
        "octofx",
        "0.0.1",
        "--from",
        "test",
        "-e",
        "production",
        "--detach",
        "-o",
        "json",
    ];
    let task = server.ok(&promote).await.json();
    let task = task["number"].as_str().unwrap().to_owned();
    let asked = wait_for("it asks", PATIENCE, || async {
        let list = server
            .json(&["interruption", "list", "--task", &task])
            .await;
        let open = grammar::items(&list)
            .into_iter()
            .find(|one| one["state"] == "open");
        open.ok_or_else(|| list.to_string())
    })
    .await;
    assert_eq!(
        asked["instructions"],
        "Look at http://localhost:8080 and say whether 0.0.1 may stay."
    );
    assert_eq!(
        hook.at("/team").len(),
        1,
        "nobody is told before it is signed"
    );
    let id = asked["id"].as_str().unwrap();
    server
        .run(&["interruption", "answer", id, "proceed"])
        .await
        .exit(4);
    ann.run(&["interruption", "answer", id, "proceed"])
        .await
        .ok();
    let log = task_ends(&server, &task).await;
    assert!(!log.contains("a-password-of-production"), "{log}");
    let migrated = std::fs::read_to_string(&database).unwrap();
    assert_eq!(
        migrated.lines().last(),
        Some("migrate Server=sql-ag;Database=octofx with a password of 24 signs to 0.0.1")
    );
    let database_of = |web: &Web| {
        let text = web.installed("production", "appsettings.json");
        let settings: Value = serde_json::from_str(&text).unwrap();
        (
            settings["Database"].as_str().unwrap().to_owned(),
            settings["Logging"]["LogLevel"]["Default"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    let of = |server: &str| {
        (
            format!("Server={server};Database=octofx"),
            "Information".to_owned(),
        )
    };
    assert_eq!(database_of(&web01), of("sql-ag"));
    assert_eq!(
        database_of(&web09),
        of("sql-dr"),
        "a value of that target alone"
    );
    balancer.all_up(2).await;
    // Never both out at once: each went out and came back before the other did.
    let out: Vec<String> = balancer
        .watch
        .changes()
        .iter()
        .filter(|change| change.status.starts_with("DRAIN") || change.status.starts_with("UP"))
        .map(|change| format!("{} {}", change.server, change.status))
        .collect();
    let mut drained: Vec<&str> = Vec::new();
    for change in &out {
        let (name, status) = change.split_once(' ').unwrap();
        drained.retain(|own| *own != name);
        if status.starts_with("DRAIN") {
            drained.push(name);
        }
        assert!(drained.len() < 2, "{out:?}");
    }
    assert!(
        out.iter().filter(|change| change.contains("DRAIN")).count() >= 4,
        "{out:?}"
    );

    // Newer versions: three earlier ones stay.
    for version in ["1.3.0", "1.4.0", "1.5.0", "1.6.0"] {
        server.ok(&["package", "push", &push(version)]).await;
    }
    for version in ["1.3.0", "1.4.0", "1.5.0", "1.6.0"] {
        let package = format!("OctoFX.Web:{version}");
        let created = server
            .json(&["release", "create", "octofx", "--package", &package])
            .await;
        let number = created["queued"][0]["number"].as_str();
        task_ends(&server, number.unwrap_or_else(|| panic!("{created:#}"))).await;
    }
    assert_eq!(
        web01.versions("test"),
        4,
        "the one in use and three earlier"
    );
    assert_eq!(web01.installed("test", "version.txt"), "1.6.0");
    let told = hook.at("/team");
    assert_eq!(told.last().unwrap().body["text"], "OctoFX 0.0.5: Success");
}
