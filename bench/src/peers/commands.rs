//! How each of the others is told to run something on its targets.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Peers;

/// A tool that reaches its targets over ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tool {
    /// `ssh` over connections that are open already.
    Ssh,
    /// `ClusterShell`.
    Clush(PathBuf),
    /// Ansible's ad-hoc command with the module `raw`, which needs nothing on the target.
    Ansible(PathBuf),
    /// `pyinfra exec`.
    Pyinfra(PathBuf),
}

impl Tool {
    /// What it is called in the table.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ssh => "ssh, connections open",
            Self::Clush(_) => "clush",
            Self::Ansible(_) => "Ansible raw, connections open",
            Self::Pyinfra(_) => "pyinfra",
        }
    }

    /// Finds or installs them all; each with the reason if it cannot be had.
    pub(super) fn all(peers: &Peers) -> Vec<(&'static str, Result<Self>)> {
        let place = &peers.place;
        let clush = || {
            let packages = ["clustershell", "python3-clustershell", "python3-yaml"];
            Ok(Self::Clush(place.debian("clush", &packages)?))
        };
        vec![
            ("ssh", Ok(Self::Ssh)),
            ("clush", clush()),
            (
                "Ansible",
                place.python("ansible-core", "ansible").map(Self::Ansible),
            ),
            (
                "pyinfra",
                place.python("pyinfra", "pyinfra").map(Self::Pyinfra),
            ),
        ]
    }

    /// Runs this on the first so many targets, all at once.
    pub(super) fn command(&self, peers: &Peers, count: usize, run: &str) -> Result<Command> {
        let farm = &peers.farm;
        let hosts = farm.hosts.get(..count).context("so many targets")?;
        let config = farm.config.display();
        let mut command = match self {
            Self::Ssh => {
                let mut command = Command::new("sh");
                let each = "-o ControlMaster=auto -o ControlPersist=600";
                let script = format!(
                    "failed=0; pids=; for host in {}; do ssh -F {config} {each} $host \"$1\" & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid || failed=1; done; exit $failed",
                    hosts.join(" ")
                );
                command.args(["-c", &script, "sh", run]);
                command
            }
            Self::Clush(program) => {
                // The script's own Python, not one that happens to come first.
                let mut command = Command::new("/usr/bin/python3");
                command.arg(program);
                command.args(["-S", "-f", "64", "-o", &format!("-F {config}")]);
                command.args(["-w", &hosts.join(","), run]);
                command
            }
            Self::Ansible(program) => {
                let inventory = farm.folder.join(format!("inventory-{count}"));
                std::fs::write(&inventory, format!("[all]\n{}\n", hosts.join("\n")))
                    .context("Ansible's inventory")?;
                let mut command = Command::new(program);
                command.arg("-i").arg(inventory);
                command.args(["all", "-m", "raw", "-a", run]);
                command
            }
            Self::Pyinfra(program) => {
                let inventory = farm.folder.join(format!("inventory_{count}.py"));
                std::fs::write(&inventory, pyinfra_inventory(peers, hosts))
                    .context("pyinfra's inventory")?;
                let mut command = Command::new(program);
                command.arg("-y").arg(inventory).args(["exec", "--", run]);
                command
            }
        };
        peers.place.equip(&mut command);
        if !matches!(self, Self::Clush(_)) {
            // Virtual environments bring their own.
            command.env_remove("PYTHONPATH");
        }
        command
            .current_dir(&farm.folder)
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .env("ANSIBLE_FORKS", "64")
            .env("ANSIBLE_PIPELINING", "True")
            .env("ANSIBLE_NOCOLOR", "1")
            .env(
                "ANSIBLE_SSH_ARGS",
                format!("-F {config} -o ControlMaster=auto -o ControlPersist=600"),
            );
        Ok(command)
    }
}

fn pyinfra_inventory(peers: &Peers, hosts: &[String]) -> String {
    let farm = &peers.farm;
    let folder = farm.folder.display();
    let each: Vec<String> = hosts
        .iter()
        .map(|host| {
            format!(
                "({host:?}, {{'ssh_port': {}, 'ssh_user': {:?}, 'ssh_key': '{folder}/id', 'ssh_known_hosts_file': '{folder}/known-hosts-pyinfra', 'ssh_strict_host_key_checking': 'no'}})",
                farm.port, farm.user
            )
        })
        .collect();
    format!("hosts = [{}]\n", each.join(", "))
}
