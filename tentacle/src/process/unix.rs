//! Processes on Linux: a session and a child subreaper for each attempt, a cgroup where one can be
//! made, `/proc` for who descends from whom.

mod orphans;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{MARK, ProcessIdentity, Survivor, own_identity};
pub use orphans::Orphans;

/// Between two looks at a tree that is being killed.
const LOOK: Duration = Duration::from_millis(10);

/// The boot's id, and the pid namespace's: in a container that was started anew all processes of
/// before are gone, just as after a boot.
pub(super) fn boot_id() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let namespace: String = namespace
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    format!("{}-{namespace}", boot.trim())
}

/// Clock ticks from boot to the process's start; `None` if there is none or it is dead already.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    Stat::read(pid)
        .filter(|stat| !stat.dead)
        .map(|stat| stat.start_time)
}

/// A new session is made by the supervisor itself; the agent only keeps terminal signals away.
pub(super) fn spawn_detached(
    mut command: tokio::process::Command,
) -> io::Result<tokio::process::Child> {
    command.arg0("tentacle").kill_on_drop(false).spawn()
}

/// The supervisor takes SIGTERM as a hint to look at its folder.
pub(super) fn nudge(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended just now; then there is nobody to hurry.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Ends a supervisor that does not answer.
pub(super) fn kill(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

pub(super) fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// How much room there is for this user where `path` is.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw)
}

/// Fields of `/proc/<pid>/stat`.
struct Stat {
    name: String,
    dead: bool,
    parent: u32,
    session: u32,
    start_time: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The name stands in brackets and may hold anything, brackets too.
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        Some(Self {
            name: name.to_owned(),
            dead: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// What the processes of this supervisor carry. The label alone would not do: another agent of this
/// machine, on a copy of the data, may know an attempt by the same one.
fn mark_of(label: &str, supervisor: &ProcessIdentity) -> String {
    format!("{label}/{}-{}", supervisor.pid, supervisor.start_time)
}

/// All processes of this moment.
fn snapshot() -> HashMap<u32, Stat> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some((pid, stat)) = pid.and_then(|pid: u32| Some((pid, Stat::read(pid)?))) {
            all.insert(pid, stat);
        }
    }
    all
}

/// Those of the members that live.
fn named(members: HashSet<u32>, all: &HashMap<u32, Stat>) -> Vec<Survivor> {
    let living = members.into_iter().filter_map(|pid| {
        let stat = all.get(&pid).filter(|stat| !stat.dead)?;
        Some(Survivor {
            pid,
            name: stat.name.clone(),
        })
    });
    let mut survivors: Vec<Survivor> = living.collect();
    survivors.sort_by_key(|survivor| survivor.pid);
    survivors
}

/// All processes of an attempt: what descends from the supervisor. Since it is their subreaper, a
/// process that lost its parent becomes the supervisor's child and is not lost sight of.
#[derive(Debug)]
pub struct Tree {
    own_pid: u32,
    mark: String,
    cgroup: Option<PathBuf>,
}

impl Tree {
    /// Makes this process the root of a tree of its own.
    pub fn new(label: &str) -> io::Result<Self> {
        // Fails only if it leads a session already, which is as good.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self {
            own_pid: std::process::id(),
            mark: mark_of(label, &own_identity()),
            cgroup: enter_cgroup(label),
        })
    }

    /// Prepares a child: a process group of its own, so that a signal to it reaches no other, and the
    /// mark by which its like are known when this supervisor is not there any more.
    pub fn prepare(&self, command: &mut Command) {
        command.process_group(0).env(MARK, &self.mark);
    }

    /// To be called right after a child was spawned.
    pub fn adopt(&self, _child: &std::process::Child) {}

    /// Asks a child's process group to end.
    pub fn ask_to_stop(&self, pid: u32) {
        if let Some(pid) = pid_of(pid) {
            // It may be gone already.
            let _ = rustix::process::kill_process_group(pid, Signal::TERM);
        }
    }

    /// Who is still there.
    pub fn survivors(&self) -> Vec<Survivor> {
        let all = snapshot();
        let mut members: HashSet<u32> = self
            .cgroup
            .as_deref()
            .map(cgroup_members)
            .unwrap_or_default();
        members.extend(all.keys().copied().filter(|pid| self.descends(*pid, &all)));
        members.remove(&self.own_pid);
        named(members, &all)
    }

    /// Kills these; gives those that are still there when the time is over.
    pub fn kill(&self, which: &[Survivor], within: Duration) -> Vec<Survivor> {
        let wanted: HashSet<u32> = which.iter().map(|survivor| survivor.pid).collect();
        self.kill_while(within, |survivor| wanted.contains(&survivor.pid))
    }

    /// Kills all; gives those that are still there when the time is over.
    pub fn kill_all(&self, within: Duration) -> Vec<Survivor> {
        self.kill_while(within, |_| true)
    }

    /// The end of the attempt: processes that it left on purpose live on.
    pub fn release(&self) {
        if let Some(cgroup) = &self.cgroup {
            if let Some(parent) = cgroup.parent() {
                // Whoever lives on keeps the folder; it is empty and harmless.
                let _ = fs::write(parent.join("cgroup.procs"), self.own_pid.to_string());
            }
            let _ = fs::remove_dir(cgroup);
        }
    }

    /// The exit code; minus the signal's number if a signal ended the process.
    pub fn exit_code(status: ExitStatus) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(1))
    }

    /// A process that forks while it is killed is found on the next look.
    fn kill_while(&self, within: Duration, wanted: impl Fn(&Survivor) -> bool) -> Vec<Survivor> {
        let begun = Instant::now();
        loop {
            let mut left = self.survivors();
            left.retain(|survivor| wanted(survivor));
            if left.is_empty() || begun.elapsed() >= within {
                return left;
            }
            for survivor in &left {
                if let Some(pid) = pid_of(survivor.pid) {
                    // It may have ended since the look.
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn descends(&self, pid: u32, parents: &HashMap<u32, Stat>) -> bool {
        let mut at = pid;
        // A chain is never longer than there are processes; a snapshot may hold a circle.
        for _ in 0..parents.len() {
            match parents.get(&at) {
                Some(stat) if stat.parent == self.own_pid => return true,
                Some(stat) if stat.parent > 1 => at = stat.parent,
                _ => return false,
            }
        }
        false
    }
}

fn cgroup_members(cgroup: &Path) -> HashSet<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A cgroup below the agent's own, where the machine lets us: it also holds what leaves the tree by
/// a trick that the subreaper does not see. Nothing depends on it.
fn enter_cgroup(label: &str) -> Option<PathBuf> {
    let cgroup = cgroup_of(label)?;
    fs::create_dir(&cgroup).ok()?;
    let entered = fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string());
    if entered.is_err() {
        // Empty, and of no use.
        let _ = fs::remove_dir(&cgroup);
    }
    entered.ok().map(|()| cgroup)
}

/// Where the cgroup of this label would be: agent and supervisor begin in the same one.
fn cgroup_of(label: &str) -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right
            .starts_with("cgroup2 ")
            .then(|| left.split(' ').nth(4))
            .flatten()
    })?;
    // In the root group every process of the machine lives; that is not ours to divide.
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return None;
    }
    Some(
        Path::new(mount)
            .join(path)
            .join(format!("tentacle-{label}")),
    )
}

/// Tells which processes hold an attempt's output pipes open.
#[derive(Debug, Default)]
pub struct Holders {
    inodes: Vec<u64>,
}

impl Holders {
    /// Remembers a child's pipes.
    pub fn of(child: &std::process::Child) -> Self {
        let inode = |fd: Option<std::os::fd::BorrowedFd<'_>>| {
            fd.and_then(|fd| rustix::fs::fstat(fd).ok())
                .map(|stat| stat.st_ino)
        };
        let stdout = inode(child.stdout.as_ref().map(AsFd::as_fd));
        let stderr = inode(child.stderr.as_ref().map(AsFd::as_fd));
        Self {
            inodes: stdout.into_iter().chain(stderr).collect(),
        }
    }

    /// Those of the survivors that hold a pipe.
    pub fn among(&self, survivors: Vec<Survivor>) -> Vec<Survivor> {
        let names: Vec<String> = self
            .inodes
            .iter()
            .map(|inode| format!("pipe:[{inode}]"))
            .collect();
        let holds = |survivor: &Survivor| {
            fs::read_dir(format!("/proc/{}/fd", survivor.pid))
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|target| {
                    names
                        .iter()
                        .any(|name| target.as_os_str() == OsStr::new(name))
                })
        };
        survivors.into_iter().filter(holds).collect()
    }
}
