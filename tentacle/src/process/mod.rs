//! Processes: who is who over restarts, how a supervisor outlives the agent, how a tree is stopped.
//!
//! `unix.rs` and `windows.rs` hold the same functions; nothing else in the agent knows the platform.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use platform::{Holders, Orphans, Tree, free_bytes};

/// The variable by which every process of an attempt is known for one of it.
pub const MARK: &str = "TENTACLE_ATTEMPT";
/// Set to `1`, the agent stops when its standard input ends: it was started by somebody who holds the
/// other end, and with whom it is to go.
pub const STOP_AT_EOF: &str = "TENTACLE_STOP_AT_EOF";

/// A process, so that no other can be taken for it: pids are used again, and so are start times
/// after a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: u32,
    /// When it started, in the platform's own unit.
    pub start_time: u64,
    /// The boot (and, in a container, the container's start) that it belongs to.
    pub boot_id: String,
}

/// A process of an attempt's tree that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its process id.
    pub pid: u32,
    /// The program's name, as far as it can be told.
    pub name: String,
}

/// For people: the first ten, by name and pid.
pub fn names(survivors: &[Survivor]) -> String {
    let mut names: Vec<String> = survivors
        .iter()
        .take(10)
        .map(|survivor| format!("{} (pid {})", survivor.name, survivor.pid))
        .collect();
    if survivors.len() > names.len() {
        names.push(format!("{} more", survivors.len() - names.len()));
    }
    names.join(", ")
}

/// Changes when the machine (or the container) starts anew.
pub fn boot_id() -> String {
    platform::boot_id()
}

/// This process.
pub fn own_identity() -> ProcessIdentity {
    let pid = std::process::id();
    ProcessIdentity {
        pid,
        start_time: platform::start_time(pid).unwrap_or(0),
        boot_id: boot_id(),
    }
}

/// The identity of a process that is alive now.
pub fn identity_of(pid: u32) -> Option<ProcessIdentity> {
    Some(ProcessIdentity {
        pid,
        start_time: platform::start_time(pid)?,
        boot_id: boot_id(),
    })
}

/// Whether exactly this process is alive.
pub fn is_alive(identity: &ProcessIdentity) -> bool {
    identity.boot_id == boot_id()
        && identity.start_time != 0
        && platform::start_time(identity.pid) == Some(identity.start_time)
}

/// Starts a process that is independent of this one: it lives on when this one dies.
pub fn spawn_detached(
    mut command: tokio::process::Command,
) -> std::io::Result<tokio::process::Child> {
    // What this process was told is not for those that it starts: an agent that was started by a step
    // carries that step's mark, and what a step starts must not speak to the agent's service manager.
    command.env_remove(MARK).env_remove(STOP_AT_EOF);
    for variable in crate::service::notify::VARIABLES {
        command.env_remove(variable);
    }
    platform::spawn_detached(command)
}

/// Asks a supervisor to look for its orders now rather than in a moment. Only a hint.
pub fn nudge(identity: &ProcessIdentity) {
    if is_alive(identity) {
        platform::nudge(identity.pid);
    }
}

/// Ends a supervisor by force. What it supervised lives on, where the platform does not see to that.
pub fn kill(identity: &ProcessIdentity) {
    if is_alive(identity) {
        platform::kill(identity.pid);
    }
}

/// The program to start supervisors with: this one, also after its file was replaced.
pub fn own_program() -> PathBuf {
    platform::own_program()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn this_process_is_alive_and_one_of_another_time_is_not() {
        let own = own_identity();
        assert!(is_alive(&own));
        assert!(!is_alive(&ProcessIdentity {
            start_time: own.start_time + 1,
            ..own.clone()
        }));
        assert!(!is_alive(&ProcessIdentity {
            boot_id: "another".to_owned(),
            ..own
        }));
    }
}
