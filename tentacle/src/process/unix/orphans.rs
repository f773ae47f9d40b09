//! An attempt's processes as they are seen from outside, when its supervisor is dead or hangs and can
//! tell nothing of them any more.
//!
//! What the supervisor's death takes away is the line of descent: orphans belong to another parent from
//! then on. What stays is the mark in their environment, their session and their cgroup. No process
//! that is older than the supervisor counts, so that a pid that is used again misleads nobody.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::process::Signal;

use super::{Stat, Survivor, cgroup_members, cgroup_of, mark_of, named, pid_of, snapshot};
use crate::process::{MARK, ProcessIdentity, is_alive};

/// The processes of an attempt, without its supervisor.
#[derive(Debug, Clone)]
pub struct Orphans {
    supervisor: ProcessIdentity,
    label: String,
}

impl Orphans {
    /// Those that this supervisor started. `label` is what its tree was made with.
    pub fn of(supervisor: &ProcessIdentity, label: &str) -> Self {
        Self {
            supervisor: supervisor.clone(),
            label: label.to_owned(),
        }
    }

    /// Who is still there.
    pub fn survivors(&self) -> Vec<Survivor> {
        let mut all = snapshot();
        let kin = |pid: &u32, stat: &mut Stat| {
            stat.start_time >= self.supervisor.start_time
                && ![1, std::process::id(), self.supervisor.pid].contains(pid)
        };
        all.retain(kin);
        let mut members = cgroup_of(&self.label)
            .map(|cgroup| cgroup_members(&cgroup))
            .unwrap_or_default();
        let mark = mark_of(&self.label, &self.supervisor);
        members.extend(all.keys().copied().filter(|pid| is_marked(*pid, &mark)));
        let supervised = is_alive(&self.supervisor);
        // A session keeps its leader's pid from being used again; but once it was empty, another may
        // have it.
        let in_session = |pid: &u32| {
            all.get(pid)
                .is_some_and(|stat| stat.session == self.supervisor.pid)
        };
        if supervised || members.iter().any(in_session) {
            members.extend(all.keys().copied().filter(in_session));
        }
        if supervised {
            members.insert(self.supervisor.pid);
        }
        add_descendants(&mut members, &all);
        named(members, &all)
    }

    /// Asks these to end.
    pub fn ask_to_stop(&self, which: &[Survivor]) {
        signal(which, Signal::TERM);
    }

    /// Kills these.
    pub fn kill(&self, which: &[Survivor]) {
        signal(which, Signal::KILL);
    }
}

/// Whether the process was given this mark, which everything that it starts inherits.
fn is_marked(pid: u32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| {
        variable
            .strip_prefix(MARK.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            == Some(mark.as_bytes())
    })
}

fn add_descendants(members: &mut HashSet<u32>, all: &HashMap<u32, Stat>) {
    loop {
        let before = members.len();
        let children = all
            .iter()
            .filter(|(_, stat)| members.contains(&stat.parent))
            .map(|(pid, _)| *pid);
        let children: Vec<u32> = children.collect();
        members.extend(children);
        if members.len() == before {
            return;
        }
    }
}

fn signal(which: &[Survivor], signal: Signal) {
    for pid in which.iter().filter_map(|survivor| pid_of(survivor.pid)) {
        // It may have ended since the look.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
