//! The queue: who may start now, in which order, and why the others wait.
//!
//! Tasks stand in three lanes: those that somebody moved to the top, the urgent ones, the others.
//! Within a lane it goes by turns, one a project, so that a project with a hundred tasks does not
//! hold up one with a single task: of the tasks that could start, each project's first come before
//! each project's second, where what runs of the lane already counts as had. Of those whose turn it
//! is alike the oldest comes first.
//!
//! What must hold:
//! - of tasks with the same key one runs at a time, and none that waits is passed over by a later
//!   one of its key and lane;
//! - no more tasks run than the limit says; those that wait for a person do not count;
//! - the urgent lane never starves the others: after [`URGENT_IN_A_ROW`] of it one other starts;
//! - the answer depends on nothing but what is looked at, in whatever order that is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use mantle_shared::ids::TaskId;
use serde::{Deserialize, Serialize};

use crate::ids::ProjectId;

pub mod schedule;
pub mod when;

#[cfg(test)]
mod tests;

/// So many urgent tasks start in a row while another waits that could start. An urgent one waits
/// for at most one start of another; the others keep a fifth of the starts.
pub const URGENT_IN_A_ROW: usize = 4;

/// How urgent a task is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// As any other.
    #[default]
    Normal,
    /// Before those that are not.
    High,
}

impl Priority {
    /// The word in files, the database and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "normal" => Some(Self::Normal),
            "high" => Some(Self::High),
            _ => None,
        }
    }

    /// Nothing was asked.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// In which lane a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody moved it to the top.
    Top,
    /// It is urgent.
    Urgent,
    /// It is as any other.
    Normal,
}

impl Lane {
    /// The lane of a task.
    pub fn of(priority: Priority, moved_up: Option<Timestamp>) -> Self {
        match (moved_up, priority) {
            (Some(_), _) => Self::Top,
            (None, Priority::High) => Self::Urgent,
            (None, Priority::Normal) => Self::Normal,
        }
    }
}

/// A task that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The task.
    pub task: TaskId,
    /// Its number: the lower, the older.
    pub number: u64,
    /// With whom it takes turns; `None` for what belongs to no project.
    pub owner: Option<ProjectId>,
    /// Of tasks with the same key one runs at a time.
    pub key: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was moved to the top.
    pub moved_up: Option<Timestamp>,
    /// It does not start before.
    pub not_before: Option<Timestamp>,
    /// It does not start any more from then on.
    pub expires: Option<Timestamp>,
    /// Its turn has come and it waits for agents to connect: it keeps its key and takes no place.
    pub awaits: Option<Awaited>,
}

impl Queued {
    /// The agents that it waits for now. One whose patience is over has its turn like any other.
    fn awaits_at(&self, now: Timestamp) -> Option<&Awaited> {
        self.awaits.as_ref().filter(|awaited| awaited.until > now)
    }
}

/// The agents that a task waits for since its turn came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The targets whose agents are away, in order.
    pub targets: Vec<String>,
    /// Until then; what becomes of it without them is decided then.
    pub until: Timestamp,
}

/// A task that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub number: u64,
    /// With whom it takes turns.
    pub owner: Option<ProjectId>,
    /// Of tasks with the same key one runs at a time.
    pub key: Option<String>,
    /// In which lane it stood.
    pub lane: Lane,
    /// It waits for a person, which may take days: it keeps its key and takes no place.
    pub awaits_person: bool,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The tasks that wait, in any order.
    pub queued: &'a [Queued],
    /// The tasks that run.
    pub running: &'a [Running],
    /// The lanes of the last starts, the latest first; [`URGENT_IN_A_ROW`] are enough.
    pub recent: &'a [Lane],
    /// So many run at once.
    pub limit: usize,
    /// The time.
    pub now: Timestamp,
}

/// A waiting task's place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The task.
    pub task: TaskId,
    /// From 1: the order in which they would start as things stand.
    pub position: usize,
    /// Whether it is its turn.
    pub turn: Turn,
}

/// Whether it is a task's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It may start.
    Now,
    /// It waits.
    Waits(Reason),
    /// Its time is over: it never starts.
    Expired {
        /// Since when.
        at: Timestamp,
    },
}

/// Why a task waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its time has not come.
    Scheduled {
        /// When it does.
        at: Timestamp,
    },
    /// Another one of its key comes first.
    Behind {
        /// That one's number.
        number: u64,
        /// It runs; otherwise it waits too.
        runs: bool,
    },
    /// As many run as may.
    Full {
        /// How many may.
        limit: usize,
    },
    /// It waits for agents to connect.
    Agents(Awaited),
}

impl Turn {
    /// Why it waits, in a sentence that follows its number.
    pub fn sentence(&self) -> String {
        match self {
            Self::Now => "starts next".to_owned(),
            Self::Expired { at } => format!("has expired at {at} and will not start"),
            Self::Waits(reason) => reason.sentence(),
        }
    }
}

impl Reason {
    /// The reason, in a sentence that follows the task's number.
    pub fn sentence(&self) -> String {
        match self {
            Self::Scheduled { at } => format!("is scheduled for {at}"),
            Self::Behind { number, runs: true } => {
                format!("waits for T-{number}, which runs for the same project and environment")
            }
            Self::Behind {
                number,
                runs: false,
            } => format!(
                "waits for T-{number}, which comes first for the same project and environment"
            ),
            Self::Full { limit: 1 } => {
                "waits for its turn: one task runs at a time on this server".to_owned()
            }
            Self::Full { limit } => {
                format!("waits for its turn: {limit} tasks run at once on this server")
            }
            Self::Agents(awaited) => awaited.sentence(),
        }
    }
}

/// So many targets are named; a fleet is away as a whole after a restart.
const NAMED_MOST: usize = 3;

impl Awaited {
    fn sentence(&self) -> String {
        let (named, more) = self.targets.split_at(self.targets.len().min(NAMED_MOST));
        let named = named.join(", ");
        let whose = match (self.targets.len(), more.len()) {
            (1, _) => format!("the agent of {named}"),
            (_, 0) => format!("the agents of {named}"),
            (_, more) => format!("the agents of {named} and {more} more"),
        };
        let until = self.until.strftime("%H:%M:%S UTC");
        format!("waits for {whose}, which may come back, until {until}")
    }
}

/// Every waiting task's place, in order.
pub fn arrange(look: &Look<'_>) -> Vec<Place> {
    let mut places = Vec::with_capacity(look.queued.len());
    let mut place = |task: TaskId, turn: Turn| {
        places.push(Place {
            task,
            position: places.len() + 1,
            turn,
        });
    };
    let mut expired = Vec::new();
    let mut scheduled = Vec::new();
    let mut ready = Vec::new();
    for task in look.queued {
        match (task.expires, task.not_before) {
            (Some(at), _) if at <= look.now => expired.push((at, task)),
            (_, Some(at)) if at > look.now => scheduled.push((at, task)),
            (_, _) => ready.push(task),
        }
    }
    let (first, behind) = firsts(ready, look.running);
    let in_use = look.running.iter().filter(|r| !r.awaits_person).count();
    let mut room = look.limit.saturating_sub(in_use);
    for task in by_lanes(first, look) {
        let turn = if let Some(awaited) = task.awaits_at(look.now) {
            Turn::Waits(Reason::Agents(awaited.clone()))
        } else if room > 0 {
            room -= 1;
            Turn::Now
        } else {
            Turn::Waits(Reason::Full { limit: look.limit })
        };
        place(task.task, turn);
    }
    for (task, reason) in behind {
        place(task.task, Turn::Waits(reason));
    }
    scheduled.sort_by_key(|(at, task)| (*at, task.number));
    for (at, task) in scheduled {
        place(task.task, Turn::Waits(Reason::Scheduled { at }));
    }
    expired.sort_by_key(|(_, task)| task.number);
    for (at, task) in expired {
        place(task.task, Turn::Expired { at });
    }
    places
}

/// When the queue must be looked at again though nothing happens: a task's time comes or is over.
pub fn next_look(queued: &[Queued], now: Timestamp) -> Option<Timestamp> {
    queued
        .iter()
        .flat_map(|task| [task.not_before, task.expires])
        .flatten()
        .filter(|at| *at > now)
        .min()
}

/// Where a task stands before turns are taken: by lane; on top the last that was moved there comes
/// first, elsewhere the oldest.
fn precedence(task: &Queued) -> (Lane, std::cmp::Reverse<Option<Timestamp>>, u64) {
    let lane = Lane::of(task.priority, task.moved_up);
    (lane, std::cmp::Reverse(task.moved_up), task.number)
}

/// The first of each key that nothing of the key keeps from starting, and the others with what
/// they are behind.
fn firsts<'a>(
    mut ready: Vec<&'a Queued>,
    running: &[Running],
) -> (Vec<&'a Queued>, Vec<(&'a Queued, Reason)>) {
    ready.sort_by_key(|task| precedence(task));
    let mut taken: BTreeMap<&str, (u64, bool)> = running
        .iter()
        .filter_map(|run| Some((run.key.as_deref()?, (run.number, true))))
        .collect();
    let mut first = Vec::new();
    let mut behind = Vec::new();
    for task in ready {
        let Some(key) = task.key.as_deref() else {
            first.push(task);
            continue;
        };
        let ahead = taken.insert(key, (task.number, false));
        match ahead {
            None => first.push(task),
            Some((number, runs)) => behind.push((task, Reason::Behind { number, runs })),
        }
    }
    (first, behind)
}

/// The order in which they start: the top first, then the urgent ones, with one of the others after
/// so many of them.
fn by_lanes<'a>(first: Vec<&'a Queued>, look: &Look<'_>) -> Vec<&'a Queued> {
    let mut top = Vec::new();
    let mut urgent = Vec::new();
    let mut normal = Vec::new();
    for task in first {
        match Lane::of(task.priority, task.moved_up) {
            Lane::Top => top.push(task),
            Lane::Urgent => urgent.push(task),
            Lane::Normal => normal.push(task),
        }
    }
    let overtook = |lane: &&Lane| match lane {
        Lane::Top | Lane::Urgent => true,
        Lane::Normal => false,
    };
    let mut in_a_row = look.recent.iter().take_while(overtook).count() + top.len();
    let mut order = top;
    let mut urgent = VecDeque::from(by_turns(urgent, look, Lane::Urgent));
    let mut normal = VecDeque::from(by_turns(normal, look, Lane::Normal));
    loop {
        let give_way = in_a_row >= URGENT_IN_A_ROW && !normal.is_empty();
        let next = if give_way { None } else { urgent.pop_front() };
        match next {
            Some(task) => {
                in_a_row += 1;
                order.push(task);
            }
            None => match normal.pop_front() {
                Some(task) => {
                    // One that takes no place gives nothing away.
                    if task.awaits_at(look.now).is_none() {
                        in_a_row = 0;
                    }
                    order.push(task);
                }
                None => return order,
            },
        }
    }
}

/// One a project by turns; what runs counts as a turn that the project has had. Each lane by itself: a
/// project whose urgent tasks run all the time would else never have a turn among the others.
fn by_turns<'a>(tasks: Vec<&'a Queued>, look: &Look<'_>, lane: Lane) -> Vec<&'a Queued> {
    let mut had: BTreeMap<Option<ProjectId>, usize> = BTreeMap::new();
    let counts = |run: &&Running| run.lane == lane && !run.awaits_person;
    for run in look.running.iter().filter(counts) {
        *had.entry(run.owner).or_default() += 1;
    }
    let mut turns: BTreeSet<(usize, u64, usize)> = BTreeSet::new();
    for (index, task) in tasks.iter().enumerate() {
        let turn = had.entry(task.owner).or_default();
        turns.insert((*turn, task.number, index));
        if task.awaits_at(look.now).is_none() {
            *turn += 1;
        }
    }
    turns
        .into_iter()
        .filter_map(|(_, _, index)| tasks.get(index).copied())
        .collect()
}
