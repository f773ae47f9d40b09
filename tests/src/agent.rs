//! A real agent process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::binaries::binary;
use crate::cli::{Cli, Output};
use crate::grammar;
use crate::process::Process;
use crate::server::{Server, strs};
use crate::small_disk::{self, KeptDisk, SmallDisk};
use crate::wine;
use crate::world::World;

/// How long an agent may take until the server counts it as connected.
pub const ONLINE_DEADLINE: Duration = Duration::from_secs(30);
/// How long an agent may take to stop in good order.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How an agent joins.
#[derive(Debug, Clone, Default)]
pub struct Joining<'a> {
    /// Its tags.
    pub tags: &'a [&'a str],
    /// Its environments.
    pub environments: &'a [&'a str],
    /// The address to dial instead of the server's: a fault proxy's.
    pub via: Option<SocketAddr>,
    /// The name to dial in place of the address, at its port.
    pub host: Option<&'a str>,
    /// Environment variables of the running agent.
    pub env: &'a [(&'a str, &'a str)],
    /// What it runs on.
    pub platform: Platform,
}

/// What an agent runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// This machine.
    #[default]
    Native,
    /// Windows, as Wine plays it.
    Wine,
}

/// An agent that has joined. It may be running or not.
pub struct Agent {
    /// The target's name.
    pub name: String,
    world: World,
    data: PathBuf,
    env: Vec<(String, String)>,
    platform: Platform,
    disk: Option<KeptDisk>,
    mounts_of: Option<i32>,
    enter: Vec<String>,
    process: Option<Process>,
}

impl Agent {
    /// Joins, starts, and waits until the server counts it as connected.
    pub async fn start(world: &World, server: &Server, name: &str, how: Joining<'_>) -> Self {
        let mut agent = Self::join(world, server, name, how).await;
        agent.run();
        server.target_is(name, true, ONLINE_DEADLINE).await;
        agent
    }

    /// Joins with a token of its own, without running.
    pub async fn join(world: &World, server: &Server, name: &str, how: Joining<'_>) -> Self {
        let token = server.token().await;
        let address = how.via.unwrap_or(server.addresses().quic);
        let (agent, output) = Self::try_join(world, address, &token, name, how).await;
        output.ok();
        agent
    }

    /// Types the join command and gives what it said.
    pub async fn try_join(
        world: &World,
        server: SocketAddr,
        token: &str,
        name: &str,
        how: Joining<'_>,
    ) -> (Self, Output) {
        let agent = Self {
            name: name.to_owned(),
            world: world.clone(),
            data: world.path(&format!("agent-{name}")),
            env: how
                .env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            platform: how.platform,
            disk: None,
            mounts_of: None,
            enter: Vec::new(),
            process: None,
        };
        let data = agent.data_as_seen();
        let address = how.host.map_or_else(
            || server.to_string(),
            |host| format!("{host}:{}", server.port()),
        );
        let words = grammar::agent_join(&data, &address, token, name, how.tags, how.environments);
        let output = agent.cli().run(&strs(&words)).await;
        (agent, output)
    }

    /// Its data directory, as it names it itself.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its data directory, as this process can reach it.
    pub fn files(&self) -> PathBuf {
        self.disk
            .as_ref()
            .map_or_else(|| self.data.clone(), KeptDisk::path)
    }

    /// Puts the data directory on a disk of so many bytes, for all lives to come.
    pub async fn keep_on_small_disk(&mut self, size_bytes: u64) {
        let disk = KeptDisk::mount(&self.world, &self.name, &self.data, size_bytes).await;
        self.disk = Some(disk);
    }

    /// Lets it see the mounts of this process in all lives to come.
    pub fn see_mounts_of(&mut self, pid: i32) {
        self.mounts_of = Some(pid);
    }

    /// Puts these words before its command in all lives to come, such as those of
    /// [`crate::systemd::Systemd::enter`].
    pub fn enter(&mut self, words: Vec<String>) {
        self.enter = words;
    }

    /// The disk of [`Self::keep_on_small_disk`].
    pub fn disk(&self) -> Option<&KeptDisk> {
        self.disk.as_ref()
    }

    /// Commands of the agent's binary about this agent.
    pub fn cli(&self) -> Cli {
        let program = match self.platform {
            Platform::Native => binary("tentacle"),
            Platform::Wine => wine::agent_program(&self.world),
        };
        Cli::new(&self.world, &program).env(grammar::AGENT_DATA, self.data_as_seen().display())
    }

    /// Its data directory, as the agent itself names it.
    fn data_as_seen(&self) -> PathBuf {
        match self.platform {
            Platform::Native => self.data.clone(),
            Platform::Wine => wine::windows_path(&self.data).into(),
        }
    }

    /// Changes an environment variable of the lives to come.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it in the foreground of a process of its own.
    pub fn run(&mut self) {
        self.run_with(None);
    }

    /// Like [`Self::run`], with a data directory on a disk of so many bytes, which starts with what
    /// is in it now and is gone with the process. [`Self::small_disk`] is the way to its files.
    pub fn run_on_small_disk(&mut self, size_bytes: u64) {
        let folder = self.data.clone();
        self.run_with(Some(SmallDisk { folder, size_bytes }));
    }

    /// The data directory on the small disk, as this process can reach it.
    pub fn small_disk(&mut self) -> PathBuf {
        small_disk::seen_by(self.process().pid(), &self.data.clone())
    }

    fn run_with(&mut self, disk: Option<SmallDisk>) {
        let mut command = self
            .cli()
            .command(&strs(&grammar::agent_run(&self.data_as_seen())));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(disk) = disk {
            command = disk.with(&command);
        } else if let Some(disk) = &self.disk {
            command = disk.enter(&command);
        } else if let Some(pid) = self.mounts_of {
            command = small_disk::in_mounts_of(pid, &command);
        } else if let Some((program, words)) = self.enter.split_first() {
            command = behind(program, words, &command);
        }
        let name = format!("agent {}", self.name);
        self.process = Some(Process::spawn(&self.world, &name, command));
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the agent was started")
    }

    /// Kills it without a chance to react. What it supervises lives on.
    pub fn kill9(&mut self) {
        self.process().kill9();
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process().stop(STOP_DEADLINE).await
    }
}

/// The command with a program and its words before it, and the same environment.
fn behind(program: &str, words: &[String], command: &Command) -> Command {
    let mut wrapped = Command::new(program);
    wrapped.args(words).arg(command.get_program());
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}
