//! Namespaces of a process's own: mounts, a network, a host name. Debian allows them to everyone, within
//! a user namespace where the caller is not root.

use std::process::Command;

/// A command that runs its further arguments with these namespaces of its own, such as `--mount`.
pub fn unshare(kinds: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(kinds);
    command
}
