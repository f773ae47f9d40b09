//! `systemd.service` and `service` with a real systemd, on an agent that runs inside it.

use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::{Agent, Joining};

use crate::fleet::{Fleet, QUICK, number, project_of};

/// A program that says what it was given and stays, or ends with a word at the version `bad`.
const PROGRAM: &str = r#"#!/bin/sh
echo "web $1 with $GREETING and $(cat "$CREDENTIALS_DIRECTORY/key" 2>/dev/null)"
[ "$1" != bad ] || { echo "the port is taken" >&2; exit 3; }
echo "$1 $GREETING" > /run/web.says
exec sleep infinity
"#;

/// A server outside, and an agent with its systemd.
struct Machine {
    fleet: Fleet,
    systemd: Systemd,
}

impl Machine {
    async fn new() -> Self {
        let mut fleet = Fleet::server_only(&[]).await;
        let systemd = Systemd::boot(&fleet.world, Network::OfTheTest).await;
        let folder = systemd.path("/srv");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("web"), PROGRAM).unwrap();
        systemd.run(&["chmod", "755", "/srv/web"]).await.ok();
        let how = Joining {
            tags: &["web"],
            environments: &["test"],
            env: QUICK,
            ..Joining::default()
        };
        let mut agent = Agent::join(&fleet.world, &fleet.server, "web01", how).await;
        agent.enter(systemd.enter());
        agent.run();
        fleet.agents.push(agent);
        fleet.all_online().await;
        Self { fleet, systemd }
    }

    /// Applies a project with this process and makes its release of this version.
    async fn release(&self, version: &str, process: &str) {
        self.fleet.apply("shop", &project_of("shop", process)).await;
        let args = ["release", "create", "shop", version];
        self.fleet.server.ok(&args).await;
    }

    /// Deploys a version; what the log and the task say.
    async fn deploy(&self, version: &str, code: i32) -> String {
        let args = ["deploy", "shop", version, "-e", "test", "--detach"];
        let task = number(&self.fleet.server.json(&args).await);
        let waited = self.fleet.server.run(&["task", "wait", &task]).await;
        let log = self.fleet.server.ok(&["task", "logs", &task]).await.stdout;
        assert_eq!(waited.code, Some(code), "{waited}\n{log}");
        format!("{log}{}{}", waited.stdout, waited.stderr)
    }

    async fn web(&self, property: &str) -> String {
        self.systemd.property("web", property).await
    }

    fn unit(&self) -> String {
        let path = self.systemd.path("/etc/systemd/system/web.service");
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

fn service(argument: &str, more: &str) -> String {
    format!(
        "  - step: Start
    targets: {{ tag: web }}
    uses: systemd.service
    with: {{ name: web, exec: \"/srv/web {argument}\", settle: 500ms{more} }}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_systemd_service_is_made_hardened_and_restarted_only_when_it_changed() {
    let machine = Machine::new().await;
    let more =
        ", environment: { GREETING: \"good day\" }, credentials: { key: s3cret }, writes: /run";
    machine.release("1.0", &service("one", more)).await;
    machine.deploy("1.0", 0).await;
    assert_eq!(machine.web("ActiveState").await, "active");
    assert_eq!(machine.web("UnitFileState").await, "enabled");
    for (property, value) in [
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("PrivateTmp", "yes"),
    ] {
        assert_eq!(machine.web(property).await, value, "{property}");
    }
    let cgroup = machine.systemd.cgroup().join("system.slice/web.service");
    let members = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert!(!members.is_empty(), "it runs in a cgroup of its own");
    assert!(!machine.unit().contains("s3cret"), "{}", machine.unit());
    let journal = machine
        .systemd
        .run(&["journalctl", "-o", "cat", "-u", "web"])
        .await;
    assert!(
        journal.stdout.contains("web one with good day and s3cret"),
        "{journal}"
    );

    let first = machine.web("MainPID").await;
    let log = machine.deploy("1.0", 0).await;
    assert!(log.contains("nothing to do"), "{log}");
    assert_eq!(machine.web("MainPID").await, first, "nothing changed");

    let changed = more.replace("s3cret", "0ther");
    machine.release("1.1", &service("one", &changed)).await;
    machine.deploy("1.1", 0).await;
    assert_ne!(
        machine.web("MainPID").await,
        first,
        "its credential is another"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_come_up_is_told_of_and_is_what_it_was_before() {
    let machine = Machine::new().await;
    machine.release("0.9", &service("bad", "")).await;
    let log = machine.deploy("0.9", 3).await;
    assert!(
        log.contains("the port is taken"),
        "its journal is told: {log}"
    );
    assert!(log.contains("there was no web before"), "{log}");
    assert_eq!(machine.unit(), "");
    assert_eq!(machine.web("LoadState").await, "not-found");

    machine.release("1.0", &service("one", "")).await;
    machine.deploy("1.0", 0).await;
    let good = machine.unit();
    machine.release("1.1", &service("bad", "")).await;
    let log = machine.deploy("1.1", 3).await;
    assert!(
        log.contains("exit code 3") && log.contains("is up with it"),
        "{log}"
    );
    assert_eq!(machine.unit(), good);
    assert_eq!(machine.web("ActiveState").await, "active");

    // What somebody else made is left alone.
    let path = machine.systemd.path("/etc/systemd/system/theirs.service");
    std::fs::write(&path, "[Service]\nExecStart=/bin/sleep 600\n").unwrap();
    let theirs = service("one", "").replace("name: web", "name: theirs");
    machine.release("1.2", &theirs).await;
    let log = machine.deploy("1.2", 3).await;
    assert!(log.contains("that Mantle did not make"), "{log}");
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .contains("sleep 600")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_rolls_back_gives_services_what_they_had_and_service_starts_and_stops() {
    let machine = Machine::new().await;
    let farm = |argument: &str, last: &str| {
        format!(
            "  - step: Farm
    targets: {{ tag: web }}
    rolling: {{ window: 1, on_failure: rollback }}
    actions:
      - {{ action: start, uses: systemd.service, with: {{ name: web, exec: \"/srv/web {argument}\", settle: 0s }} }}
      - {{ action: look, uses: script, with: {{ run: \"{last}\" }} }}
"
        )
    };
    machine.release("1.0", &farm("one", "true")).await;
    machine.deploy("1.0", 0).await;
    let good = machine.unit();
    machine.release("1.1", &farm("two", "exit 1")).await;
    let log = machine.deploy("1.1", 3).await;
    assert!(
        log.contains("has the unit of before again, and is up"),
        "{log}"
    );
    assert_eq!(machine.unit(), good);
    assert_eq!(machine.web("ActiveState").await, "active");

    for (version, state, active) in [
        ("2.0", "stopped", "inactive"),
        ("2.1", "started", "active"),
        ("2.2", "restarted", "active"),
    ] {
        let before = machine.web("MainPID").await;
        let process = format!(
            "  - {{ step: Set, targets: {{ tag: web }}, uses: service, with: {{ name: web, state: {state} }} }}\n"
        );
        machine.release(version, &process).await;
        machine.deploy(version, 0).await;
        assert_eq!(machine.web("ActiveState").await, active, "{state}");
        assert_ne!(machine.web("MainPID").await, before, "{state}");
    }
    let none = "  - { step: Set, targets: { tag: web }, uses: service, with: { name: nobody, state: started } }\n";
    machine.release("3.0", none).await;
    let log = machine.deploy("3.0", 3).await;
    assert!(log.contains("systemd has no service nobody"), "{log}");
}
