//! Chaos: real processes under random faults, and a judge of what is left.
//!
//! A run deploys without a pause over a server and N agents, kills, freezes, cuts and fills what its
//! [`schedule`] says, lets everything heal, and then hands the histories of all processes to the
//! [`checker`](crate::checker). Everything random comes from the seed; what the operating system
//! does in between does not, so that a repeated run breaks the same things at the same times and
//! need not meet the same race.
//!
//! `tests/chaos --minutes 60 --seed N --agents 10` is the command; `tests/chaos --help` has the rest.

mod collect;
mod driver;
mod ending;
mod measure;
mod person;
mod report;
mod schedule;
mod set_up;
mod work;
mod workload;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

pub use report::Report;
pub use schedule::{Fault, Scheduled, schedule};

/// Agents with a disk that can be filled.
pub const SMALL_DISKS: usize = 2;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long faults happen.
    pub length: Duration,
    /// Decides everything that is random.
    pub seed: u64,
    /// How many agents.
    pub agents: usize,
    /// A rule of the product that is broken on purpose: see `sabotage.txt`.
    pub sabotage: Option<String>,
    /// Faults other than those of the schedule: none for the seed's own.
    pub faults: Option<Vec<Scheduled>>,
    /// Where the history is kept if something is wrong; the run's folder by default.
    pub keep: Option<PathBuf>,
    /// Says what happens, for people.
    pub say: fn(&str),
}

/// Runs it.
///
/// # Panics
/// When the fleet cannot even be set up.
pub async fn run(options: &Options) -> Report {
    driver::run(options).await
}

/// A time in which something was out of order, by the wall clock.
#[derive(Debug, Clone, Copy)]
struct Interval {
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Interval {
    fn open() -> Self {
        Self {
            from: Timestamp::now(),
            until: None,
        }
    }

    fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from <= until && self.until.is_none_or(|end| from <= end)
    }
}

/// What the driver tells those who deploy and measure, and they each other.
struct Shared {
    /// The life of the server that listens; nothing while none does.
    life: watch::Sender<Option<u64>>,
    /// For each agent, how often it was disturbed; odd while it is.
    disturbed: Mutex<Vec<u64>>,
    /// Tasks that are under way, the oldest first.
    open: Mutex<Vec<String>>,
    /// Tasks of which a cancel was asked for.
    cancelled: Mutex<BTreeSet<String>>,
    /// Tasks of which a person may have said how their work ended.
    resolved: Mutex<BTreeSet<String>>,
    /// When an agent's disk was full; no agent for the server's.
    full: Mutex<Vec<(Option<usize>, Interval)>>,
    /// When an agent's supervisors were killed.
    orphaned: Mutex<Vec<(usize, Timestamp)>>,
    /// Nothing new is deployed any more.
    over: AtomicBool,
}

impl Shared {
    fn new(agents: usize) -> Self {
        Self {
            life: watch::Sender::new(Some(0)),
            disturbed: Mutex::new(vec![0; agents]),
            open: Mutex::default(),
            cancelled: Mutex::default(),
            resolved: Mutex::default(),
            full: Mutex::default(),
            orphaned: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    fn disturb(&self, agent: usize) {
        if let Some(count) = self.disturbed.lock().unwrap().get_mut(agent)
            && *count % 2 == 0
        {
            *count += 1;
        }
    }

    fn calm(&self, agent: usize) {
        if let Some(count) = self.disturbed.lock().unwrap().get_mut(agent)
            && *count % 2 == 1
        {
            *count += 1;
        }
    }

    fn disturbances(&self) -> Vec<u64> {
        self.disturbed.lock().unwrap().clone()
    }

    /// Whether the server's disk was full at any time from one moment to another.
    fn server_was_full(&self, from: Timestamp, until: Timestamp) -> bool {
        let full = self.full.lock().unwrap();
        full.iter()
            .any(|(agent, when)| agent.is_none() && when.overlaps(from, until))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// The name of the agent with this number.
fn agent_name(agent: usize) -> String {
    format!("agent{agent:02}")
}
