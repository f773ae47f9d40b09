//! Real processes for the tests beside this file: a server, agents, and what operators type.

use std::net::SocketAddr;
use std::time::Duration;

use mantle_tests::cli::Output;
use mantle_tests::lines::{check_lines, shell_counting};
use mantle_tests::process::Process;
use mantle_tests::wait::wait_for;
use mantle_tests::{Agent, Effects, Joining, Server, World};
use serde_json::Value;

/// No condition of these tests takes longer, on a busy machine with debug builds.
pub const SOON: Duration = Duration::from_mins(1);
/// Agents look for a lost server often, so that a test need not wait for their patience.
pub const QUICK: &[(&str, &str)] = &[
    ("TENTACLE_BACKOFF_MAX_MS", "400"),
    ("TENTACLE_STABLE_AFTER_MS", "100"),
    ("TENTACLE_IDLE_TIMEOUT_MS", "6000"),
    ("TENTACLE_KEEPALIVE_MS", "1500"),
    ("TENTACLE_CONNECT_TIMEOUT_MS", "3000"),
];

const INFRASTRUCTURE: &str = "mantle: v1
environments: [{ name: test }, { name: production }]
lifecycles:
  - name: standard
    phases:
      - { name: Test, environments: [test] }
      - { name: Production, environments: [production] }
";

/// A server, its agents, and a file in which steps note what they did.
pub struct Fleet {
    pub world: World,
    pub server: Server,
    pub agents: Vec<Agent>,
    pub effects: Effects,
}

/// A line of a task's log.
#[derive(Debug, Clone)]
pub struct Line {
    pub target: String,
    pub action: String,
    pub text: String,
}

impl Fleet {
    /// A server with environments `test` and `production` and the lifecycle `standard`, and agents
    /// `web01`, `web02` ... with the tag `web` in both.
    pub async fn new(agents: usize) -> Self {
        let mut fleet = Self::server_only(&[]).await;
        for number in 1..=agents {
            fleet.join(&format!("web{number:02}"), "web", None).await;
        }
        fleet.all_online().await;
        fleet
    }

    /// The server alone, with these environment variables.
    pub async fn server_only(env: &[(&str, &str)]) -> Self {
        let world = World::new();
        let server = Server::start_with(&world, env).await;
        Self::around(world, server).await
    }

    /// The server alone, with its data on a disk of so many bytes.
    pub async fn server_on_kept_disk(size_bytes: u64) -> Self {
        let world = World::new();
        let server = Server::start_on_kept_disk(&world, size_bytes).await;
        Self::around(world, server).await
    }

    async fn around(world: World, server: Server) -> Self {
        let effects = Effects::at(world.path("effects"));
        let fleet = Self {
            world,
            server,
            agents: Vec::new(),
            effects,
        };
        fleet.apply("infrastructure", INFRASTRUCTURE).await;
        fleet
    }

    /// Joins one more agent and starts it, without waiting until it is connected.
    pub async fn join(&mut self, name: &str, tag: &str, via: Option<SocketAddr>) {
        self.join_with(name, tag, via, &[]).await;
    }

    /// Like [`Self::join`], with further environment variables.
    pub async fn join_with(
        &mut self,
        name: &str,
        tag: &str,
        via: Option<SocketAddr>,
        env: &[(&str, &str)],
    ) {
        let env = [QUICK, env].concat();
        let how = Joining {
            tags: &[tag],
            environments: &["test", "production"],
            via,
            env: &env,
            ..Joining::default()
        };
        let mut agent = Agent::join(&self.world, &self.server, name, how).await;
        agent.run();
        self.agents.push(agent);
    }

    /// Waits until every agent is connected.
    pub async fn all_online(&self) {
        for agent in &self.agents {
            self.server.target_is(&agent.name, true, SOON).await;
        }
    }

    /// Applies this text.
    pub async fn apply(&self, name: &str, yaml: &str) {
        self.try_apply(name, yaml).await.ok();
    }

    /// Applies this text and gives what was said.
    pub async fn try_apply(&self, name: &str, yaml: &str) -> Output {
        let file = self.world.file(&format!("{name}.yaml"), yaml);
        self.server
            .run(&["apply", "--yes", "-f", &file.display().to_string()])
            .await
    }

    /// Applies a project with this process and makes its release 1.0.
    pub async fn release(&self, project: &str, process: &str) {
        self.apply(project, &project_of(project, process)).await;
        self.server.ok(&["release", "create", project, "1.0"]).await;
    }

    /// Packs these files as `ID.VERSION.tar.gz` and pushes them.
    pub async fn push(&self, id: &str, version: &str, files: &[(&str, &str)]) {
        let folder = format!("package-{id}-{version}");
        for (name, content) in files {
            self.world.file(&format!("{folder}/{name}"), content);
        }
        let archive = self.world.path(&format!("{id}.{version}.tar.gz"));
        let status = std::process::Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(self.world.path(&folder))
            .arg(".")
            .status()
            .expect("tar");
        assert!(status.success());
        self.server
            .ok(&["package", "push", &archive.display().to_string()])
            .await;
    }

    /// Deploys 1.0 to test and waits for the end.
    pub async fn deploy(&self, project: &str) -> Output {
        self.server
            .run(&["deploy", project, "1.0", "-e", "test"])
            .await
    }

    /// Queues a deployment of 1.0 to test and gives its task's number.
    pub async fn detach(&self, project: &str) -> String {
        let args = ["deploy", project, "1.0", "-e", "test", "--detach"];
        number(&self.server.json(&args).await)
    }

    /// A command of the operator that runs beside the test.
    pub fn beside(&self, name: &str, args: &[&str]) -> Process {
        Process::spawn(&self.world, name, self.server.cli().command(args))
    }

    /// Kills the supervisors of all steps, which the steps' own processes outlive.
    pub fn kill_supervisors(&self) {
        kill_supervisors(&self.world);
    }

    /// The task with all that it does.
    pub async fn task(&self, number: &str) -> Value {
        self.server.json(&["task", "show", number]).await
    }

    /// Waits until the task has this state, and gives it.
    pub async fn task_is(&self, number: &str, state: &str, within: Duration) -> Value {
        wait_for(&format!("{number} {state}"), within, || async {
            let output = self
                .server
                .run(&["task", "show", number, "-o", "json"])
                .await;
            if output.code != Some(0) {
                return Err(output.to_string());
            }
            let task = output.json();
            if task["state"] == state {
                Ok(task)
            } else {
                Err(task.to_string())
            }
        })
        .await
    }

    /// The task's log.
    pub async fn log(&self, number: &str) -> Vec<Line> {
        let output = self
            .server
            .ok(&["task", "logs", number, "-o", "json"])
            .await;
        lines(&output.stdout)
    }
}

/// Kills the supervisors of all steps in a world, and gives how many there were.
pub fn kill_supervisors(world: &World) -> usize {
    let supervises = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == b"exec-attempt")
    };
    let found = world.processes().into_iter().filter(supervises);
    let killed = found.filter_map(|pid| {
        let pid = rustix::process::Pid::from_raw(pid)?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok()
    });
    killed.count()
}

/// The records in an agent's journal, in order.
pub fn journal(agent: &Agent) -> Vec<Value> {
    let text = std::fs::read_to_string(agent.data().join("journal/journal")).expect("a journal");
    let records = text.lines().filter_map(|line| {
        // Behind the checksum; the first line is the file's own.
        let (_, json) = line.split_once(' ')?;
        serde_json::from_str(json).ok()
    });
    records.collect()
}

/// The log lines in what `task logs -o json` printed.
pub fn lines(printed: &str) -> Vec<Line> {
    printed
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).expect("a line of JSON");
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            Line {
                target: text("target"),
                action: text("action"),
                text: text("text"),
            }
        })
        .collect()
}

/// Releases a project `step` of one action `work`, which prints `count` numbered lines, the second half
/// of them behind a gate that the test opens with [`open_gate`], and ends with this exit code.
pub async fn gated(fleet: &Fleet, count: u64, code: i32) {
    let script = format!(
        "{}
{}
while [ ! -e '{}' ]; do sleep 0.02; done
{}
{}
exit {code}",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET"),
        shell_counting("line", count / 2, "sleep 0.005"),
        fleet.world.path("gate").display(),
        shell_counting("line", count, "sleep 0.005").replacen(
            "i=1",
            &format!("i={}", count / 2 + 1),
            1
        ),
        fleet.effects.shell("end", "work", "$MANTLE_TARGET"),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("step", &process).await;
}

/// Lets the script of [`gated`] go on.
pub fn open_gate(fleet: &Fleet) {
    fleet.world.file("gate", "");
}

/// The number in what a command printed of a task.
pub fn number(task: &Value) -> String {
    task["number"].as_str().expect("a task's number").to_owned()
}

/// A project file without variables.
pub fn project_of(project: &str, process: &str) -> String {
    format!("mantle: v1\nproject: {project}\nlifecycle: standard\nprocess:\n{process}")
}

/// Shell text as a YAML string.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Asserts that the numbered lines `line 1` to `line count` of one action about one target are all
/// there, once and in order.
pub fn assert_lines(log: &[Line], action: &str, target: &str, count: u64) {
    let texts = log
        .iter()
        .filter(|line| line.action == action && line.target == target)
        .map(|line| line.text.as_str());
    let report = check_lines(texts, "line", count);
    assert!(report.is_right(), "{action} on {target}: {report}");
}
