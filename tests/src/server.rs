//! A real server process and the operator's commands against it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

use crate::binaries::binary;
use crate::cli::{Cli, Output};
use crate::grammar::{self, Addresses};
use crate::process::Process;
use crate::small_disk::{KeptDisk, SmallDisk};
use crate::wait::wait_for;
use crate::world::World;

/// A debug build on a busy machine: long beside what it takes, short beside a hang.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a server may take to drain.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A server.
pub struct Server {
    world: World,
    data: PathBuf,
    env: Vec<(String, String)>,
    args: Vec<String>,
    addresses: Addresses,
    disk: Option<KeptDisk>,
    process: Process,
}

impl Server {
    /// Starts a server on ports of the system's choice and waits until it listens.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, &[]).await
    }

    /// Like [`Self::start`], with environment variables, which a restart keeps.
    pub async fn start_with(world: &World, env: &[(&str, &str)]) -> Self {
        let data = world.path("server-data");
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::launch_first(world, data, env, None, None).await
    }

    /// Like [`Self::start`], with all of its data directory on a disk of so many bytes, which
    /// outlives it.
    pub async fn start_on_kept_disk(world: &World, size_bytes: u64) -> Self {
        let data = world.dir("server-data");
        let disk = KeptDisk::mount(world, "server", &data, size_bytes).await;
        Self::launch_first(world, data, Vec::new(), None, Some(disk)).await
    }

    /// Like [`Self::start`], with `folder` of its data directory on a disk of so many bytes.
    pub async fn start_on_small_disk(world: &World, folder: &str, size_bytes: u64) -> Self {
        let data = world.path("server-data");
        let disk = SmallDisk {
            folder: data.join(folder),
            size_bytes,
        };
        Self::launch_first(world, data, Vec::new(), Some(disk), None).await
    }

    async fn launch_first(
        world: &World,
        data: PathBuf,
        env: Vec<(String, String)>,
        disk: Option<SmallDisk>,
        kept: Option<KeptDisk>,
    ) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let on = match (&disk, &kept) {
            (Some(disk), _) => Disk::New(disk),
            (None, Some(kept)) => Disk::Kept(kept),
            (None, None) => Disk::Ordinary,
        };
        let how = How {
            env: &env,
            args: &[],
        };
        let (process, addresses) = launch(world, &data, how, on, any, any).await;
        Self {
            world: world.clone(),
            data,
            env,
            args: Vec::new(),
            addresses,
            disk: kept,
            process,
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
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

    /// The disk of [`Self::start_on_kept_disk`].
    pub fn disk(&self) -> Option<&KeptDisk> {
        self.disk.as_ref()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it without a chance to react.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP_DEADLINE).await
    }

    /// Changes an environment variable of the lives to come.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Adds this to the command line of the lives to come.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Starts it again, after [`Self::kill9`] or [`Self::stop`], on the same ports.
    pub async fn restart(&mut self) {
        let Addresses { https, quic } = self.addresses;
        let on = self.disk.as_ref().map_or(Disk::Ordinary, Disk::Kept);
        let how = How {
            env: &self.env,
            args: &self.args,
        };
        let (process, addresses) = launch(&self.world, &self.data, how, on, https, quic).await;
        assert_eq!(addresses, self.addresses, "the ports are the same");
        self.process = process;
    }

    /// Starts it again without waiting for anything; [`Self::is_listening`] tells how far it is.
    pub fn relaunch(&mut self) {
        let Addresses { https, quic } = self.addresses;
        let on = self.disk.as_ref().map_or(Disk::Ordinary, Disk::Kept);
        let how = How {
            env: &self.env,
            args: &self.args,
        };
        self.process = spawn(&self.world, &self.data, how, on, https, quic);
    }

    /// Whether the process of [`Self::relaunch`] listens.
    pub fn is_listening(&self) -> bool {
        std::fs::read_to_string(self.files().join(grammar::ADDRESSES_FILE))
            .is_ok_and(|text| grammar::read_addresses(&text).is_some())
    }

    /// The operator's command line on the server's machine.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.world, &binary("mantle")).env(grammar::SERVER_DATA, self.files().display())
    }

    /// Runs an operator's command.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.cli().run(args).await
    }

    /// Runs an operator's command that must succeed.
    pub async fn ok(&self, args: &[&str]) -> Output {
        self.run(args).await.ok()
    }

    /// Runs an operator's command with `-o json` that must succeed.
    pub async fn json(&self, args: &[&str]) -> Value {
        self.ok(&[args, &["-o", "json"]].concat()).await.json()
    }

    /// A new join token.
    pub async fn token(&self) -> String {
        let output = self.ok(&strs(&grammar::token_create())).await;
        grammar::token_of(&output.json())
            .unwrap_or_else(|| panic!("no join token in the answer\n{output}"))
    }

    /// Waits until the target is connected (`online`) or no more.
    pub async fn target_is(&self, name: &str, online: bool, within: Duration) {
        let state = if online { "online" } else { "offline" };
        wait_for(&format!("agent {name} {state}"), within, || async {
            let output = self.run(&strs(&grammar::target_list())).await;
            if output.code == Some(0) && grammar::target_online(&output.json(), name) == online {
                Ok(())
            } else {
                Err(output.to_string())
            }
        })
        .await;
    }
}

/// Borrows words as arguments.
pub(crate) fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What the data directory lies on.
enum Disk<'a> {
    Ordinary,
    New(&'a SmallDisk),
    Kept(&'a KeptDisk),
}

/// What a server is told beside where it is.
#[derive(Clone, Copy)]
struct How<'a> {
    env: &'a [(String, String)],
    args: &'a [String],
}

async fn launch(
    world: &World,
    data: &Path,
    how: How<'_>,
    disk: Disk<'_>,
    https: SocketAddr,
    quic: SocketAddr,
) -> (Process, Addresses) {
    let file = files_on(&disk, data).join(grammar::ADDRESSES_FILE);
    let mut process = spawn(world, data, how, disk, https, quic);
    let addresses = wait_for("the server listens", START_DEADLINE, || {
        assert!(process.ended().is_none(), "the server ended at its start");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let addresses = grammar::read_addresses(&text);
        async move { addresses.ok_or_else(|| format!("{}: {text}", grammar::ADDRESSES_FILE)) }
    })
    .await;
    (process, addresses)
}

/// The data directory, as this process can reach it.
fn files_on(disk: &Disk<'_>, data: &Path) -> PathBuf {
    match disk {
        Disk::Ordinary | Disk::New(_) => data.to_owned(),
        Disk::Kept(kept) => kept.path(),
    }
}

fn spawn(
    world: &World,
    data: &Path,
    how: How<'_>,
    disk: Disk<'_>,
    https: SocketAddr,
    quic: SocketAddr,
) -> Process {
    // What an earlier life wrote must not be taken for this one's.
    let _ = std::fs::remove_file(files_on(&disk, data).join(grammar::ADDRESSES_FILE));
    let mut command =
        Cli::new(world, &binary("mantle")).command(&strs(&grammar::server_run(data, https, quic)));
    command.args(how.args);
    command.envs(how.env.iter().map(|(name, value)| (name, value)));
    let command = match disk {
        Disk::New(disk) => disk.with(&command),
        Disk::Kept(disk) => disk.enter(&command),
        Disk::Ordinary => command,
    };
    Process::spawn(world, "server", command)
}
