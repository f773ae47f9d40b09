//! Locks across deployments: who holds what on which executor, and who comes next.
//!
//! An attempt holds its locks from its order to its end. A node that cannot have all of its locks
//! has none and waits, so that nobody holds one while it waits for another and there is no deadlock.
//! Who waited first comes first: a later one is not let past a waiting one that it conflicts with,
//! so that many who share do not starve one who wants it alone.
//!
//! What must hold: at most one holds a lock alone, or several share it; and whatever is let go, the
//! next that can go on is told (see [`Locks::ready`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, TargetId, TaskId};
use mantle_shared::lock::{Lock, conflict};
use mantle_shared::protocol::Outcome;

use crate::plan::NodeRef;

#[cfg(test)]
mod tests;

/// Who holds locks, and who waits for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    held: BTreeMap<AttemptId, Hold>,
    waiting: BTreeMap<Waiter, Wish>,
    revision: u64,
}

/// What an attempt holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its task.
    pub task: TaskId,
    /// Who that is, for people, such as `T-12 step 'Install'`.
    pub holder: String,
    /// Where it holds them.
    pub executor: TargetId,
    /// That target's agent.
    pub agent: AgentId,
    /// What it holds.
    pub locks: Vec<Lock>,
    /// It is over, as unknown or abandoned: what it started may still live, and nobody lets them go by itself.
    pub ended: Option<Outcome>,
    /// Somebody broke them: they count no more, though its process may still live.
    pub broken: bool,
}

/// A node that waits for locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter {
    /// Its task.
    pub task: TaskId,
    /// Which of its nodes.
    pub node: NodeRef,
}

/// What a waiting node wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Who that is, for people.
    pub holder: String,
    /// Where it wants them.
    pub executor: TargetId,
    /// What it wants.
    pub locks: Vec<Lock>,
    /// Since when it waits; the earlier, the sooner it is served.
    pub since: Timestamp,
}

/// Whether a node may have its locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has them.
    Granted {
        /// The attempts whose broken locks are passed over; the agent must pass them over too.
        despite: Vec<AttemptId>,
    },
    /// It waits.
    Held {
        /// For this lock.
        lock: String,
        /// Who has it, or comes first.
        by: String,
        /// It has it; otherwise it only waits since earlier.
        has_it: bool,
        /// How it ended, if it is over and has it all the same.
        ended: Option<Outcome>,
    },
}

impl Locks {
    /// Nobody holds anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What every attempt holds.
    pub fn held(&self) -> impl Iterator<Item = (AttemptId, &Hold)> {
        self.held.iter().map(|(attempt, hold)| (*attempt, hold))
    }

    /// Whether a node may have these locks now. Changes nothing.
    pub fn ask(&self, who: Waiter, wish: &Wish) -> Answer {
        let mut despite = Vec::new();
        let here = self
            .held
            .iter()
            .filter(|(_, hold)| hold.executor == wish.executor);
        for (attempt, hold) in here {
            let Some(lock) = conflict(&wish.locks, &hold.locks) else {
                continue;
            };
            if !hold.broken && !fault::sabotaged("locks-for-all") {
                return Answer::Held {
                    lock: lock.name.clone(),
                    by: hold.holder.clone(),
                    has_it: true,
                    ended: hold.ended,
                };
            }
            despite.push(*attempt);
        }
        let place = |waiter: &Waiter, wish: &Wish| (wish.since, *waiter);
        let first = self
            .waiting
            .iter()
            .filter(|(other, _)| **other != who)
            .filter(|(other, wanted)| place(other, wanted) < place(&who, wish))
            .filter(|(_, wanted)| wanted.executor == wish.executor)
            .find_map(|(_, wanted)| Some((conflict(&wish.locks, &wanted.locks)?, &wanted.holder)));
        match first {
            Some((lock, by)) => Answer::Held {
                lock: lock.name.clone(),
                by: by.clone(),
                has_it: false,
                ended: None,
            },
            None => Answer::Granted { despite },
        }
    }

    /// An attempt was ordered and holds its locks.
    pub fn take(&mut self, attempt: AttemptId, hold: Hold) {
        self.revision += 1;
        self.held.insert(attempt, hold);
    }

    /// An attempt is over, or its locks are let go otherwise.
    pub fn release(&mut self, attempt: AttemptId) {
        if self.held.remove(&attempt).is_some() {
            self.revision += 1;
        }
    }

    /// An attempt is over and keeps what it holds.
    pub fn mark_ended(&mut self, attempt: AttemptId, how: Outcome) {
        if let Some(hold) = self.held.get_mut(&attempt)
            && hold.ended != Some(how)
        {
            hold.ended = Some(how);
            self.revision += 1;
        }
    }

    /// This is what is held, whatever was known of it.
    pub fn replace_held(&mut self, held: BTreeMap<AttemptId, Hold>) {
        if self.held != held {
            self.held = held;
            self.revision += 1;
        }
    }

    /// A node waits.
    pub fn wait(&mut self, who: Waiter, wish: Wish) {
        self.revision += 1;
        self.waiting.insert(who, wish);
    }

    /// These nodes of a task wait, and no others of it do.
    pub fn replace_waiting(&mut self, task: TaskId, waiting: BTreeMap<NodeRef, Wish>) {
        let before: BTreeSet<Waiter> = self.waiters_of(task).collect();
        let now: BTreeSet<Waiter> = waiting
            .keys()
            .map(|node| Waiter { task, node: *node })
            .collect();
        if before == now {
            return;
        }
        self.waiting.retain(|waiter, _| waiter.task != task);
        let added = waiting.into_iter();
        self.waiting
            .extend(added.map(|(node, wish)| (Waiter { task, node }, wish)));
        self.revision += 1;
    }

    fn waiters_of(&self, task: TaskId) -> impl Iterator<Item = Waiter> {
        self.waiting
            .keys()
            .copied()
            .filter(move |waiter| waiter.task == task)
    }

    /// The waiting nodes whose owners must look again: they may have their locks now, or what they wait for
    /// is over and does not let go, which is to be said.
    pub fn ready(&self) -> Vec<Waiter> {
        if fault::sabotaged("waiters-not-woken") {
            return Vec::new();
        }
        self.waiting
            .iter()
            .filter(|(who, wish)| match self.ask(**who, wish) {
                Answer::Granted { .. } => true,
                Answer::Held { ended, .. } => ended.is_some(),
            })
            .map(|(who, _)| *who)
            .collect()
    }
}
