//! What people use today, measured in the same run on the same machine: each tool does what Mantle does,
//! as its own manual says, with connections open where it can hold them.
//!
//! Nothing of them is installed: what the machine lacks is unpacked into a folder. What cannot be had is
//! named under the table, and the rest is measured.

mod commands;
mod cost;
mod fanout;
mod files;
mod lines;
mod place;
mod salt;
mod ssh;
mod update;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::binaries::Programs;
use crate::report::Report;
use crate::rig::Rig;
use place::Place;
use salt::Salt;
use ssh::Farm;

/// How much is measured beside them.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// On how many targets a no-op runs, ascending.
    pub(crate) targets: Vec<usize>,
    /// How often.
    pub(crate) times: usize,
    /// The size of the file that is pushed.
    pub(crate) file_bytes: usize,
    /// To how many targets at once.
    pub(crate) receivers: usize,
    /// How many lines one step prints.
    pub(crate) lines: u64,
}

/// What is done by each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Steps that do nothing.
    Fanout,
    /// A large file.
    Files,
    /// Lines of a step.
    Lines,
    /// A new version of a site.
    Update,
}

/// The others, where they could be had.
struct Peers {
    place: Place,
    farm: Farm,
    salt: Option<Salt>,
}

/// Measures Mantle and the others.
pub(crate) fn measure(
    programs: &Programs,
    kept: Option<&Path>,
    beside: &Beside,
    works: &[Work],
    report: &mut Report,
) -> Result<()> {
    let place = Place::new(kept)?;
    let most = beside
        .targets
        .last()
        .copied()
        .unwrap_or(1)
        .max(beside.receivers);
    crate::say("targets over ssh");
    let farm = Farm::start(&place, most).context(
        "no target over ssh, so nothing of the others can be measured; install openssh-server",
    )?;
    let mut rig = Rig::start(programs)?;
    let mut groups = beside.targets.clone();
    groups.extend([1, beside.receivers]);
    groups.sort_unstable();
    groups.dedup();
    crate::say(&format!("{most} agents join"));
    rig.join_up_to(most, &groups)?;
    let mut peers = Peers {
        place,
        farm,
        salt: None,
    };
    let wanted = |work| works.contains(&work);
    if wanted(Work::Fanout) || wanted(Work::Files) {
        crate::say(&format!("a Salt master and {most} minions"));
        peers.salt = report.or_missing("Salt", Salt::start(&peers.place, most));
    }
    if wanted(Work::Fanout) {
        fanout::rows(&mut rig, &peers, beside, report)?;
    }
    if wanted(Work::Files) {
        files::rows(&rig, &peers, beside, report)?;
    }
    // It takes a share of the processor also when it does nothing.
    peers.salt = None;
    if wanted(Work::Lines) {
        lines::rows(&rig, &peers, beside.lines, report)?;
    }
    if wanted(Work::Update) {
        update::rows(programs, &peers, beside.receivers, report)?;
    }
    rig.stop()
}
