//! A real systemd as pid 1 of namespaces and a root of its own, for what only systemd can show.
//!
//! An init system is a danger to the machine that it runs on: at its start it clears `/tmp`, and it
//! writes in `/etc`, `/var` and `/dev`. It is therefore started by `boot.sh` alone, which gives it a
//! root on a tmpfs, leaves the machine's root for good, and refuses to go on if anything else than
//! the test's folder could be written from there. It has its own processes, mounts, host name,
//! message queues and cgroups; its network is its own too, unless a test needs the server in it.
//!
//! The test's folder and the binaries have the same paths inside as outside. Everything in it is
//! killed when [`Systemd`] is dropped. It needs root, and Debian's `systemd`.
//!
//! ```no_run
//! # async fn example() {
//! use mantle_tests::systemd::{Network, Systemd};
//! use mantle_tests::World;
//! let world = World::new();
//! let systemd = Systemd::boot(&world, Network::Own).await;
//! systemd.run(&["systemctl", "is-system-running"]).await.ok();
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::binary;
use crate::cli::{Cli, Output};
use crate::process::Process;
use crate::wait::{block_until, wait_for};
use crate::world::World;

#[cfg(test)]
mod tests;

/// Builds the root in which systemd may be started.
const BOOT: &str = include_str!("systemd/boot.sh");
/// Takes a cgroup of its own, so that its cgroup namespace begins there, and unshares the rest.
const ENTER: &str = r#"echo $$ > "$1/cgroup.procs" && shift && exec "$@""#;
/// How long it may take until systemd says that it runs.
const BOOT_DEADLINE: Duration = Duration::from_mins(1);
/// How long its processes may take to be gone after the kill.
const GONE_DEADLINE: Duration = Duration::from_secs(10);
/// What it could do to the machine beyond its namespaces.
const NEVER: &str = "-sys_module,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override";

/// The network that is seen inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with nothing in it.
    Own,
    /// That of the test, so that an agent inside reaches a server outside.
    OfTheTest,
}

/// A running systemd.
pub struct Systemd {
    world: World,
    process: Process,
    init: i32,
    network: Network,
    cgroup: Cgroup,
}

impl Systemd {
    /// Starts it and waits until it says that it runs.
    ///
    /// # Panics
    /// When it does not, or when the test is not run as root.
    pub async fn boot(world: &World, network: Network) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "a systemd of the test's own needs root: run the tests as root"
        );
        assert!(
            Path::new("/usr/lib/systemd/systemd").exists(),
            "systemd is not there; install it: apt-get install systemd"
        );
        let cgroup = Cgroup::new(world);
        let script = world.file("boot.sh", BOOT);
        let binaries = binary("tentacle").parent().expect("a folder").to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).arg(&cgroup.path);
        command.args(["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc"]);
        command.args(["--cgroup", "--kill-child"]);
        if network == Network::Own {
            command.arg("--net");
        }
        command.args(["setpriv", "--bounding-set", NEVER, "sh"]);
        command.arg(script).arg(world.root()).arg(binaries);
        command.args(["env", "-i", "container=lxc"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["/usr/lib/systemd/systemd", "--system"]);
        command.args(["--log-target=journal", "--show-status=0"]);
        let process = Process::spawn(world, "systemd", command);
        let mut systemd = Self {
            world: world.clone(),
            process,
            init: 0,
            network,
            cgroup,
        };
        systemd.init = systemd.find_init().await;
        systemd.wait_until_it_runs().await;
        systemd
    }

    async fn find_init(&mut self) -> i32 {
        let outer = self.process.pid();
        wait_for("systemd is pid 1", BOOT_DEADLINE, || {
            let ended = self.process.ended();
            let said = self.process.stderr();
            async move {
                assert!(ended.is_none(), "systemd did not start: {said}");
                let children =
                    std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
                let children = children.map_err(|error| error.to_string())?;
                let child = children.split_whitespace().next().ok_or("no child yet")?;
                let name =
                    std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
                match name.trim() {
                    "systemd" => child.parse().map_err(|_| children.clone()),
                    other => Err(format!("it is {other} still")),
                }
            }
        })
        .await
    }

    async fn wait_until_it_runs(&self) {
        wait_for("systemd runs", BOOT_DEADLINE, || async {
            let output = self.run(&["systemctl", "is-system-running"]).await;
            match output.stdout.trim() {
                "running" => Ok(()),
                "degraded" => {
                    let failed = self.run(&["systemctl", "--failed", "--no-pager"]).await;
                    panic!("a unit of the bare system failed: {failed}");
                }
                _ => Err(output.to_string()),
            }
        })
        .await;
    }

    /// Its process id outside.
    pub fn pid(&self) -> i32 {
        self.init
    }

    /// The folder of its cgroups, as this process sees it.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup.path
    }

    /// A path as it is inside, as this process can reach it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// The words that, put before a command, run it inside. Its process id is that of `nsenter`,
    /// which ends as the command does.
    pub fn enter(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--target={}", self.init)];
        for kind in ["mount", "pid", "uts", "ipc", "cgroup"] {
            words.push(format!("--{kind}"));
        }
        if self.network == Network::Own {
            words.push("--net".to_owned());
        }
        words
    }

    /// Runs a command inside to its end.
    pub async fn run(&self, command: &[&str]) -> Output {
        let enter = self.enter();
        let words: Vec<&str> = enter[1..].iter().map(String::as_str).collect();
        let cli = Cli::new(&self.world, Path::new(&enter[0]));
        cli.run(&[&words[..], command].concat()).await
    }

    /// The property of a unit, such as `ActiveState`.
    pub async fn property(&self, unit: &str, name: &str) -> String {
        let words = ["systemctl", "show", "--value", "-p", name, unit];
        self.run(&words).await.ok().stdout.trim().to_owned()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With pid 1 of its namespace goes every process in it.
        self.process.kill9();
        self.cgroup.remove();
    }
}

/// A cgroup of the test's own, in the unified hierarchy.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    fn new(world: &World) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let top = mount
            .into_iter()
            .find(|fields| fields.get(2) == Some(&"cgroup2"));
        let top = top.expect("a cgroup2 file system, which systemd needs")[1].to_owned();
        let name = world.root().file_name().expect("a name").to_owned();
        let path = Path::new(&top).join(name);
        std::fs::create_dir(&path).expect("a cgroup of the test's own");
        Self { path }
    }

    /// Removes it once its processes are gone.
    fn remove(&self) {
        block_until(GONE_DEADLINE, || remove_cgroups(&self.path).is_ok());
    }
}

fn remove_cgroups(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}
