//! Targets over ssh: daemons of our own on addresses of the loopback network, with throw-away keys.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::place::{Place, finish};
use crate::rig::Process;

/// A daemon listens on no more addresses than this.
const ADDRESSES_EACH: usize = 13;
/// For the daemons to answer.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The targets.
#[derive(Debug)]
pub(crate) struct Farm {
    // Stopped when they are dropped.
    _daemons: Vec<Process>,
    /// What the clients read.
    pub(crate) config: PathBuf,
    /// Where keys, sockets and logs are.
    pub(crate) folder: PathBuf,
    /// The addresses of all.
    pub(crate) hosts: Vec<String>,
    /// The port of all.
    pub(crate) port: u16,
    /// The user of all.
    pub(crate) user: String,
}

impl Farm {
    /// Starts daemons for so many targets.
    pub(crate) fn start(place: &Place, count: usize) -> Result<Self> {
        let daemon = place.debian(
            "sshd",
            &["openssh-server", "openssh-sftp-server", "libwrap0"],
        )?;
        place.debian(
            "ssh",
            &["openssh-client", "libfido2-1", "libcbor0.8", "libedit2"],
        )?;
        let folder = place.fresh("ssh")?;
        for key in ["host", "id"] {
            let mut make = Command::new("ssh-keygen");
            place.equip(&mut make);
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key));
            finish(make, "making a key for ssh")?;
        }
        let hosts: Vec<String> = (1..=count)
            .map(|number| format!("127.0.1.{number}"))
            .collect();
        let port = TcpListener::bind(("127.0.1.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("a port for ssh")?
            .port();
        let user = whoami()?;
        let config = folder.join("config");
        write(&config, &client_config(&folder, port, &user))?;
        let mut daemons = Vec::new();
        for (index, hosts) in hosts.chunks(ADDRESSES_EACH).enumerate() {
            let file = folder.join(format!("sshd-{index}.conf"));
            write(&file, &daemon_config(&folder, hosts, port))?;
            let command = daemon_command(place, &daemon, &file, &folder)?;
            let log = folder.join(format!("sshd-{index}.log"));
            daemons.push(Process::start(command, &log)?);
        }
        let farm = Self {
            _daemons: daemons,
            config,
            folder,
            hosts,
            port,
            user,
        };
        farm.wait_until_ready(place)?;
        Ok(farm)
    }

    fn wait_until_ready(&self, place: &Place) -> Result<()> {
        for host in self.hosts.iter().step_by(ADDRESSES_EACH) {
            let deadline = Instant::now() + START_DEADLINE;
            loop {
                let mut command = self.client(place, "ssh");
                command.args([host.as_str(), "true"]);
                let Err(error) = finish(command, "the first word over ssh") else {
                    break;
                };
                ensure!(Instant::now() < deadline, "{error:#}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// A client that knows the targets.
    pub(crate) fn client(&self, place: &Place, program: &str) -> Command {
        let mut command = Command::new(program);
        place.equip(&mut command);
        command.arg("-F").arg(&self.config);
        command
    }
}

/// A daemon that is root separates its rights, and for that wants a folder and a user, which this machine
/// has only where a daemon was installed: they are made in a mount namespace of its own.
fn daemon_command(place: &Place, daemon: &Path, config: &Path, folder: &Path) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let users_here = folder.join("passwd");
        write(
            &users_here,
            &format!("{users}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"),
        )?;
        let script = "mount --bind \"$1\" /etc/passwd && mount -t tmpfs none /run && \
                      mkdir -m 755 /run/sshd && exec \"$2\" -D -e -f \"$3\"";
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", script, "sshd"])
            .arg(&users_here)
            .arg(daemon)
            .arg(config);
        command
    } else {
        let mut command = Command::new(daemon);
        command.args(["-D", "-e", "-f"]).arg(config);
        command
    };
    place.equip(&mut command);
    // The login shell of the targets is not to read what the benchmark's own libraries are.
    command.env_remove("PYTHONPATH");
    Ok(command)
}

fn daemon_config(folder: &Path, hosts: &[String], port: u16) -> String {
    let folder = folder.display();
    let mut text = format!(
        "Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/id.pub
StrictModes no
PasswordAuthentication no
UsePAM no
MaxStartups 500
MaxSessions 500
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
# A login shell would read this machine's start-up files, and their cost is nobody's figure.
SetEnv SHLVL=5
LogLevel ERROR
"
    );
    for host in hosts {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "ListenAddress {host}");
    }
    text
}

fn client_config(folder: &Path, port: u16, user: &str) -> String {
    let folder = folder.display();
    format!(
        "Host 127.0.1.*
  Port {port}
  User {user}
  IdentityFile {folder}/id
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile {folder}/known-hosts
  ControlPath {folder}/%h
  LogLevel ERROR
"
    )
}

fn whoami() -> Result<String> {
    let mut command = Command::new("id");
    command.arg("-un");
    Ok(finish(command, "the name of this user")?.trim().to_owned())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| file.display().to_string())
}
