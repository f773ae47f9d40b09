//! A real server and real agents in a folder of their own, driven by the programs' own command lines.
//!
//! What holds here: everything that was started is stopped by its own id and the folder is removed,
//! also when a measurement fails; every wait has a deadline.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries::Programs;

/// The environment of all deployments.
pub(crate) const ENVIRONMENT: &str = "bench";
/// What is declared before anything else.
const INFRASTRUCTURE: &str = "mantle: v1
environments: [{ name: bench }]
lifecycles: [{ name: bench, phases: [{ name: Bench, environments: [bench] }] }]
";
/// For the server to listen, and for all agents to be connected; debug builds on a busy machine too.
pub(crate) const START_DEADLINE: Duration = Duration::from_mins(2);
/// For everything to end by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a log is shown.
const SHOWN_LINES: usize = 20;
/// The file in which a server says where it listens.
const ADDRESSES: &str = "server.json";

/// A process that is stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it prints goes into this file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| log.display().to_string())?;
        let err = out.try_clone().context("the log of a process")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&mut self) {
        if !self.is_over()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            // It may end just now.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }
}

/// Asks a process to end, and waits for that for a while; one that stays is killed when it is dropped.
pub(crate) fn end(process: &mut Process) {
    process.terminate();
    let deadline = Instant::now() + STOP_DEADLINE;
    while !process.is_over() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Over already unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server and its agents.
#[derive(Debug)]
pub(crate) struct Rig {
    programs: Programs,
    // Agents first: they are dropped before their server, and the folder last.
    agents: Vec<Process>,
    server: Process,
    addresses: (SocketAddr, SocketAddr),
    options: Vec<String>,
    folder: TempDir,
}

impl Rig {
    /// A server without agents.
    pub(crate) fn start(programs: &Programs) -> Result<Self> {
        Self::start_with(programs, &[])
    }

    /// The same with further options of `mantle server run`.
    pub(crate) fn start_with(programs: &Programs, options: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mantle-bench-")
            .tempdir()
            .context("a temporary folder")?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (server, addresses) = serve(programs, folder.path(), options, (any, any))?;
        let rig = Self {
            programs: programs.clone(),
            agents: Vec::new(),
            server,
            addresses,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            folder,
        };
        rig.apply("infrastructure", INFRASTRUCTURE)?;
        Ok(rig)
    }

    /// The folder of everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server.
    pub(crate) fn server(&self) -> &Process {
        &self.server
    }

    /// Where its API is, and the administrator's key.
    pub(crate) fn api(&self) -> Result<(String, String)> {
        let file = self.folder.path().join("server/admin.key");
        let key = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok((
            format!("https://{}", self.addresses.0),
            key.trim().to_owned(),
        ))
    }

    /// Kills the server without a chance to react and starts it anew at the same addresses; on return it
    /// listens.
    pub(crate) fn kill_and_restart(&mut self) -> Result<()> {
        self.server.child.kill().context("killing the server")?;
        self.server.child.wait().context("the killed server")?;
        // What the one before wrote must not be taken for the next one's.
        let file = self.folder.path().join("server").join(ADDRESSES);
        std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let folder = self.folder.path();
        let (server, _) = serve(&self.programs, folder, &options, self.addresses)?;
        self.server = server;
        Ok(())
    }

    /// Starts many agents in one process, which join: all in the environment of all deployments.
    pub(crate) fn swarm(&self, options: &[String]) -> Result<Swarm> {
        self.swarm_with(options, true)
    }

    /// The same, with the tag `all`, and in that environment only if it is said.
    pub(crate) fn swarm_with(&self, options: &[String], in_environment: bool) -> Result<Swarm> {
        let uses = options
            .iter()
            .skip_while(|option| *option != "--agents")
            .nth(1)
            .context("how many agents")?;
        let token = self.json(&["agent", "token", "create", "--uses", uses])?;
        let token = token
            .pointer("/token")
            .and_then(Value::as_str)
            .context("no join token in the answer")?;
        let mut command = Command::new(&self.programs.swarm);
        command
            .args(["--server", &self.addresses.1.to_string()])
            .args(["--token", token, "--tag", "all", "--stop-at-eof"])
            .arg("--data")
            .arg(self.folder.path().join("swarm"))
            .args(options);
        if in_environment {
            command.args(["--environment", ENVIRONMENT]);
        }
        isolate(&mut command, self.folder.path());
        Swarm::start(command, &self.folder.path().join("swarm.log"))
    }

    /// The agents.
    pub(crate) fn agents(&self) -> &[Process] {
        &self.agents
    }

    /// Joins and starts agents until there are so many, and waits until all are connected. Each has
    /// the tag `first-N` for every N of `groups` that it belongs to.
    pub(crate) fn join_up_to(&mut self, count: usize, groups: &[usize]) -> Result<()> {
        while self.agents.len() < count {
            let agent = self.join(self.agents.len() + 1, groups)?;
            self.agents.push(agent);
        }
        wait_for("all agents are connected", || {
            let targets = self.json(&["target", "list"])?;
            Ok((online(&targets) == count).then_some(()))
        })
    }

    fn join(&self, number: usize, groups: &[usize]) -> Result<Process> {
        let name = format!("agent-{number:03}");
        let token = self.json(&["agent", "token", "create"])?;
        let token = token
            .pointer("/token")
            .and_then(Value::as_str)
            .context("no join token in the answer")?;
        let mut command = self.tentacle(&name);
        command
            .stdin(Stdio::null())
            .args(["join", "--server", &self.addresses.1.to_string()])
            .args(["--token", token, "--name", &name])
            .args(["--environment", ENVIRONMENT]);
        for group in groups.iter().filter(|group| number <= **group) {
            command.args(["--tag", &format!("first-{group}")]);
        }
        finish(command, "an agent joins")?;
        let mut command = self.tentacle(&name);
        command.arg("run");
        Process::start(command, &self.folder.path().join(format!("{name}.log")))
    }

    fn tentacle(&self, name: &str) -> Command {
        let mut command = Command::new(&self.programs.tentacle);
        command.arg("--data").arg(self.folder.path().join(name));
        isolate(&mut command, self.folder.path());
        command
    }

    /// Types a command of the operator that must succeed; gives its JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let said = self.run(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&said)
            .with_context(|| format!("what 'mantle {}' printed", args.join(" ")))
    }

    /// Types a command of the operator that must succeed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        self.typed(args, Stdio::null())
    }

    /// The same with a file as its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &Path) -> Result<String> {
        let input = File::open(input).with_context(|| input.display().to_string())?;
        self.typed(args, input.into())
    }

    fn typed(&self, args: &[&str], input: Stdio) -> Result<String> {
        let mut command = Command::new(&self.programs.mantle);
        command.args(args).stdin(input);
        isolate(&mut command, self.folder.path());
        command.env("MANTLE_DATA", self.folder.path().join("server"));
        finish(command, &format!("mantle {}", args.join(" "))).with_context(|| {
            format!(
                "the server's log ends with\n{}",
                tail(&self.folder.path().join("server.log"))
            )
        })
    }

    /// Applies a file with this text.
    pub(crate) fn apply(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        let file = file.display().to_string();
        self.run(&["apply", "--yes", "-f", &file]).map(drop)
    }

    /// Deploys a release and waits for its end, which must be a success; gives the task.
    pub(crate) fn deploy(&self, project: &str, version: &str) -> Result<Value> {
        let args = ["deploy", project, version, "-e", ENVIRONMENT, "--no-logs"];
        self.json(&args)
    }

    /// Types a command of the operator that must succeed and hands each line that it prints on at once.
    pub(crate) fn read(
        &self,
        args: &[&str],
        mut take: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let mut command = Command::new(&self.programs.mantle);
        command.args(args);
        isolate(&mut command, self.folder.path());
        command.env("MANTLE_DATA", self.folder.path().join("server"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting mantle {}", args.join(" ")))?;
        // Ended when it is dropped, whatever is wrong with a line.
        let mut process = Process { child };
        let pipe = process.child.stdout.take().context("its output")?;
        for line in BufReader::new(pipe).lines() {
            take(&line.context("a line of its output")?)?;
        }
        let status = process.child.wait().context("its end")?;
        ensure!(status.success(), "mantle {}: {status}", args.join(" "));
        Ok(())
    }

    /// Waits until a task is over, which must be a success; gives it.
    pub(crate) fn wait(&self, task: &str) -> Result<Value> {
        let ended = wait_for("the task is over", || {
            let task = self.json(&["task", "show", task])?;
            let ended = task.get("ended_at").is_some_and(Value::is_string);
            Ok(ended.then_some(task))
        })?;
        let state = ended.get("state").and_then(Value::as_str);
        ensure!(state == Some("succeeded"), "{task} is {state:?}");
        Ok(ended)
    }

    /// Waits until a task's turn has come.
    pub(crate) fn wait_begun(&self, task: &str) -> Result<()> {
        wait_for("the task has begun", || {
            let task = self.json(&["task", "show", task])?;
            let begun = task.get("started_at").is_some_and(Value::is_string);
            Ok(begun.then_some(()))
        })
    }

    /// Stops everything in good order: agents first, so that they can say goodbye.
    pub(crate) fn stop(mut self) -> Result<()> {
        for agent in &mut self.agents {
            agent.terminate();
        }
        until_over(&mut self.agents)?;
        self.server.terminate();
        until_over(std::slice::from_mut(&mut self.server))
    }
}

/// Starts a server at these addresses, for HTTPS and QUIC, and waits until it listens; gives where.
fn serve(
    programs: &Programs,
    folder: &Path,
    options: &[&str],
    (https, quic): (SocketAddr, SocketAddr),
) -> Result<(Process, (SocketAddr, SocketAddr))> {
    let data = folder.join("server");
    let mut command = Command::new(&programs.mantle);
    command
        .args(["server", "run", "--listen-https", &https.to_string()])
        .args(["--listen-quic", &quic.to_string(), "-o", "json"])
        .args(options)
        .arg("--data")
        .arg(&data);
    isolate(&mut command, folder);
    let log = folder.join("server.log");
    let mut server = Process::start(command, &log)?;
    let addresses = wait_for("the server listens", || {
        ensure!(
            !server.is_over(),
            "the server ended at its start:\n{}",
            tail(&log)
        );
        Ok(read_addresses(&data.join(ADDRESSES)))
    })?;
    Ok((server, addresses))
}

/// A moment of a swarm: its counts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Moment {
    /// When, in microseconds since 1970.
    pub(crate) at_us: i64,
    /// Have an identity.
    pub(crate) joined: usize,
    /// Are connected.
    pub(crate) connected: usize,
    /// Times that one was taken in.
    pub(crate) connects: usize,
}

/// Many agents in one process.
#[derive(Debug)]
pub(crate) struct Swarm {
    process: Process,
    said: Arc<Mutex<Vec<Moment>>>,
    log: PathBuf,
}

impl Swarm {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let err = File::create(log).with_context(|| log.display().to_string())?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(err)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let pipe = child.stdout.take();
        let process = Process { child };
        let pipe = pipe.context("the swarm's output")?;
        let said: Arc<Mutex<Vec<Moment>>> = Arc::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if let Ok(moment) = serde_json::from_str(&line) {
                    heard
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(moment);
                }
            }
        });
        Ok(Self {
            process,
            said,
            log: log.to_owned(),
        })
    }

    /// Everything that it said so far.
    pub(crate) fn said(&self) -> Vec<Moment> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it said last.
    pub(crate) fn now(&self) -> Option<Moment> {
        self.said().last().copied()
    }

    /// Waits until its counts are so.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        within: Duration,
        are_so: impl Fn(&Moment) -> bool,
    ) -> Result<()> {
        wait_within(what, within, || {
            ensure!(
                !self.process.is_over(),
                "the swarm ended:\n{}",
                tail(&self.log)
            );
            Ok(self.now().filter(|now| are_so(now)).map(drop))
        })
        .with_context(|| format!("the swarm says {:?}", self.now()))
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.terminate();
        until_over(std::slice::from_mut(&mut self.process))
    }
}

fn until_over(processes: &mut [Process]) -> Result<()> {
    let deadline = Instant::now() + STOP_DEADLINE;
    while !processes.iter_mut().all(Process::is_over) {
        ensure!(
            Instant::now() < deadline,
            "a program did not stop within {} s",
            STOP_DEADLINE.as_secs()
        );
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Neither the home nor the settings of whoever runs the benchmark count.
fn isolate(command: &mut Command, folder: &Path) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("MANTLE_") || text.starts_with("TENTACLE_") {
            command.env_remove(&name);
        }
    }
    command.env("HOME", folder).current_dir(folder);
}

/// Runs a command to its end, which must be a success; gives its standard output.
fn finish(mut command: Command, what: &str) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{what}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what}: not text"))
}

/// Looks until something is there.
fn wait_for<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_within(what, START_DEADLINE, look)
}

fn wait_within<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            within.as_secs()
        );
        std::thread::sleep(LOOK);
    }
}

/// Where a server listens, for HTTPS and QUIC.
fn read_addresses(file: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(file).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let address = |name: &str| value.get(name)?.as_str()?.parse().ok();
    Some((address("https")?, address("quic")?))
}

/// How many targets of a list are connected.
fn online(targets: &Value) -> usize {
    let items = targets.get("items").unwrap_or(targets);
    let is_online = |target: &&Value| {
        target.get("online").and_then(Value::as_bool) == Some(true)
            || target.get("state").and_then(Value::as_str) == Some("online")
    };
    items
        .as_array()
        .map_or(0, |items| items.iter().filter(is_online).count())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(SHOWN_LINES)..)
        .unwrap_or_default()
        .join("\n")
}
