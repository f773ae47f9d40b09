//! The agent as a service of a real systemd: installed, restarted, hung, confined and removed by its own
//! commands, while the real server deploys to it.

use mantle_tests::binaries::binary;
use mantle_tests::cli::Output;
use mantle_tests::process::Process;
use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, assert_lines, gated, open_gate, quoted};

/// How many lines a step prints.
const LINES: u64 = 20;
const UNIT: &str = "tentacle.service";

/// A server, and a machine of its own that systemd runs.
struct Machine {
    fleet: Fleet,
    systemd: Systemd,
    tentacle: String,
}

impl Machine {
    /// One on which nothing was installed.
    async fn bare() -> Self {
        let fleet = Fleet::server_only(&[]).await;
        let systemd = Systemd::boot(&fleet.world, Network::OfTheTest).await;
        let tentacle = binary("tentacle").display().to_string();
        Self {
            fleet,
            systemd,
            tentacle,
        }
    }

    /// One that joined as `web01` and serves.
    async fn joined(options: &[&str]) -> Self {
        let machine = Self::bare().await;
        machine.join(options).await.ok();
        machine.fleet.server.target_is("web01", true, SOON).await;
        machine
    }

    async fn join(&self, options: &[&str]) -> Output {
        let server = self.fleet.server.addresses().quic.to_string();
        let token = self.fleet.server.token().await;
        let words = [
            "join",
            "--install",
            "--server",
            &server,
            "--token",
            &token,
            "--name",
            "web01",
            "--tag",
            "web",
            "--environment",
            "test",
        ];
        self.agent(&[&words[..], options].concat()).await
    }

    /// A command of the agent's program on the machine.
    async fn agent(&self, words: &[&str]) -> Output {
        let command = [&[self.tentacle.as_str()], words].concat();
        self.systemd.run(&command).await
    }

    async fn shell(&self, script: &str) -> Output {
        self.systemd.run(&["sh", "-c", script]).await
    }

    async fn main_pid(&self) -> String {
        self.systemd.property(UNIT, "MainPID").await
    }

    /// The control groups of steps below the service's own.
    fn step_groups(&self) -> usize {
        let group = self.systemd.cgroup().join("system.slice").join(UNIT);
        let Ok(entries) = std::fs::read_dir(group) else {
            return 0;
        };
        let inside = |entry: &std::fs::DirEntry| {
            let members = std::fs::read_to_string(entry.path().join("cgroup.procs"));
            members.is_ok_and(|members| !members.trim().is_empty())
        };
        entries.flatten().filter(inside).count()
    }

    /// Deploys a step that waits for the gate, and waits until it is at work.
    async fn at_work(&self) -> Process {
        gated(&self.fleet, LINES, 0).await;
        let args = ["deploy", "step", "1.0", "-e", "test"];
        let waiting = self.fleet.beside("deploy", &args);
        wait_until("the step is at work", SOON, || {
            self.fleet.effects.count("start", "work", "web01") > 0
        })
        .await;
        waiting
    }

    /// Lets the step go on: it ran once, each line is there, and the deployment succeeds.
    async fn succeeds(&self, mut waiting: Process) {
        open_gate(&self.fleet);
        let ended = wait_for("the deployment is over", SOON, || {
            let ended = waiting.ended();
            async move { ended.ok_or_else(|| "it is still running".to_owned()) }
        })
        .await;
        assert_eq!(ended.code(), Some(0), "{}", waiting.stderr());
        self.fleet.effects.assert_each_once([("work", "web01")]);
        assert_lines(&self.fleet.log("T-1").await, "work", "web01", LINES);
    }
}

#[tokio::test]
async fn s52_a_service_that_systemd_restarts_keeps_its_step() {
    let machine = Machine::joined(&[]).await;
    let waiting = machine.at_work().await;
    assert_eq!(machine.step_groups(), 1, "the step has a group of its own");
    let before = machine.main_pid().await;
    machine.agent(&["service", "restart"]).await.ok();
    assert_ne!(machine.main_pid().await, before);
    assert_eq!(machine.step_groups(), 1, "the step is where it was");
    machine.fleet.server.target_is("web01", true, SOON).await;
    machine.succeeds(waiting).await;
    wait_until("the step's group is gone", SOON, || {
        machine.step_groups() == 0
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_hangs_is_killed_by_the_watchdog_and_its_step_goes_on() {
    let machine = Machine::joined(&[]).await;
    // As an administrator would: the unit itself is never edited.
    let quick = "[Service]\nWatchdogSec=2\n";
    let folder = machine
        .systemd
        .path("/etc/systemd/system/tentacle.service.d");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("quick.conf"), quick).unwrap();
    machine.shell("systemctl daemon-reload").await.ok();
    machine.agent(&["service", "restart"]).await.ok();
    machine.fleet.server.target_is("web01", true, SOON).await;
    let waiting = machine.at_work().await;
    let before = machine.main_pid().await;
    assert_eq!(machine.systemd.property(UNIT, "NRestarts").await, "0");
    machine.shell(&format!("kill -STOP {before}")).await.ok();
    wait_for("systemd has started it again", SOON, || async {
        match machine.systemd.property(UNIT, "NRestarts").await.as_str() {
            "0" => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    assert_ne!(machine.main_pid().await, before);
    machine.fleet.server.target_is("web01", true, SOON).await;
    machine.succeeds(waiting).await;
}

#[tokio::test]
async fn a62_a_service_whose_settings_others_can_write_does_not_start_and_says_how_to_mend_it() {
    let machine = Machine::joined(&[]).await;
    machine.agent(&["service", "stop"]).await.ok();
    machine.fleet.server.target_is("web01", false, SOON).await;
    machine
        .shell("chmod 666 /var/lib/tentacle/settings.json")
        .await
        .ok();
    let mend = "chmod 600 /var/lib/tentacle/settings.json";
    machine
        .agent(&["service", "start"])
        .await
        .exit(1)
        .complains(&["settings.json has the mode 0666", mend]);
    // Nobody is called every two seconds for what only a person mends.
    assert_eq!(machine.systemd.property(UNIT, "Result").await, "exit-code");
    machine
        .agent(&["service", "status"])
        .await
        .exit(1)
        .complains(&["tentacle.service does not run"]);
    machine.shell(mend).await.ok();
    machine.agent(&["service", "start"]).await.ok();
    machine.fleet.server.target_is("web01", true, SOON).await;
}

#[tokio::test]
async fn the_confined_agent_deploys_as_its_own_user_and_writes_nowhere_else() {
    let machine = Machine::joined(&["--profile", "confined"]).await;
    let script =
        "id -un; touch /etc/taken 2>/dev/null || echo closed; touch /var/tmp/mine && echo open";
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(script)
    );
    machine.fleet.release("step", &process).await;
    machine.fleet.deploy("step").await.ok();
    let log = machine.fleet.log("T-1").await;
    let said: Vec<_> = log.iter().map(|line| line.text.as_str()).collect();
    for word in ["tentacle", "closed", "open"] {
        assert!(said.contains(&word), "{word}: {said:?}");
    }
    let status = machine
        .agent(&["service", "status", "-o", "json"])
        .await
        .ok();
    let service = &status.json()["service"];
    assert_eq!(service["profile"], "confined");
    let says = service["says"].as_str().unwrap();
    assert!(says.starts_with("connected"), "{says}");
    // The other way again: the data is root's, and the agent is the same target. What is installed
    // belongs to whom a step gave it.
    let keep = "mkdir -p /var/lib/tentacle/apps/site && chown nobody /var/lib/tentacle/apps/site";
    machine.shell(keep).await.ok();
    machine.agent(&["service", "install"]).await.ok();
    machine.agent(&["service", "restart"]).await.ok();
    machine.fleet.server.target_is("web01", true, SOON).await;
    let owner = machine
        .shell("stat -c %U /var/lib/tentacle/identity/*")
        .await
        .ok();
    assert!(owner.stdout.lines().all(|user| user == "root"), "{owner}");
    let kept = machine
        .shell("stat -c %U /var/lib/tentacle/apps/site")
        .await;
    assert_eq!(kept.stdout.trim(), "nobody");
}

#[tokio::test]
async fn each_command_of_the_service_may_be_typed_twice_and_the_data_stays() {
    let machine = Machine::bare().await;
    machine
        .agent(&["service", "start"])
        .await
        .exit(5)
        .complains(&["there is no service tentacle.service"]);
    for _ in 0..2 {
        machine.agent(&["service", "install"]).await.ok();
    }
    // An image may hold it: before the machine has joined it does not start, and says why.
    machine
        .agent(&["service", "start"])
        .await
        .exit(6)
        .complains(&["has not joined a server yet", "tentacle join --server"]);
    let first = machine.join(&[]).await.ok();
    assert!(first.stdout.contains("the server is connected"), "{first}");
    let again = machine.join(&[]).await.ok();
    assert!(
        again
            .stdout
            .contains("web01 has joined this server already"),
        "{again}"
    );
    machine.fleet.server.target_is("web01", true, SOON).await;
    // A second agent on the machine neither takes nor ends the service of the first.
    let second = ["--data", "/srv/second"];
    let server = machine.fleet.server.addresses().quic.to_string();
    let token = machine.fleet.server.token().await;
    let join = [
        "join",
        "--install",
        "--server",
        &server,
        "--token",
        &token,
        "--name",
        "web02",
    ];
    machine
        .agent(&[&second[..], &join].concat())
        .await
        .exit(6)
        .complains(&["another data directory than /srv/second", "--unit NAME"]);
    machine
        .agent(&[&second[..], &["leave", "--purge"]].concat())
        .await
        .ok();
    let serves = machine.systemd.property(UNIT, "ActiveState").await;
    assert_eq!(serves, "active");
    for _ in 0..2 {
        machine.agent(&["service", "stop"]).await.ok();
    }
    for _ in 0..2 {
        machine.agent(&["service", "uninstall"]).await.ok();
    }
    machine.agent(&["service", "status"]).await.exit(5);
    let left = machine
        .shell("ls /var/lib/tentacle/identity; ls /etc/systemd/system")
        .await;
    assert!(left.stdout.contains("identity.json"), "{left}");
    assert!(!left.stdout.contains(UNIT), "{left}");
}

#[tokio::test]
async fn a_machine_leaves_when_nothing_runs_and_takes_all_but_what_it_serves() {
    let machine = Machine::joined(&[]).await;
    let waiting = machine.at_work().await;
    machine
        .agent(&["leave", "--purge"])
        .await
        .exit(6)
        .complains(&["steps run here", "(1 in all)", "--force"]);
    machine.fleet.server.target_is("web01", true, SOON).await;
    machine.succeeds(waiting).await;
    wait_for("the server has everything", SOON, || async {
        let left = machine.shell("ls /var/lib/tentacle/attempts").await.ok();
        if left.stdout.is_empty() {
            Ok(())
        } else {
            Err(left.to_string())
        }
    })
    .await;
    let left = machine.agent(&["leave", "--purge"]).await.ok();
    for part in [
        "the server knows that web01 has left",
        "removed /etc/systemd/system/tentacle.service",
        "removed /var/lib/tentacle/identity",
        "installed versions stay in /var/lib/tentacle-apps",
    ] {
        assert!(left.stdout.contains(part), "{part}: {left}");
    }
    machine.shell("ls -d /var/lib/tentacle").await.exit(2);
    let server = &machine.fleet.server;
    let agents = server.json(&["agent", "list"]).await;
    assert!(agents["items"][0]["revoked_at"].is_string(), "{agents}");
    let trail = server.ok(&["audit", "list"]).await;
    assert!(trail.stdout.contains("agent.leave"), "{trail}");
    // Typed again, it has nothing left to do; and the machine may come back under its name.
    let again = machine.agent(&["leave", "--purge"]).await.ok();
    assert!(again.stdout.contains("has joined no server"), "{again}");
    machine.join(&[]).await.ok();
    server.target_is("web01", true, SOON).await;
    // A server that cannot be told is told of, and nothing is lost meanwhile.
    server.ok(&["agent", "revoke", "web01"]).await;
    let left = machine.agent(&["leave", "--purge"]).await.ok();
    assert!(left.stdout.contains("had let web01 go already"), "{left}");
}
