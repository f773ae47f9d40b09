//! What the records add up to: where each attempt stands. Pure; replaying the journal and living
//! through it are the same function.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::fault;
use mantle_shared::lock::{Lock, conflict};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::{AttemptId, Digest, JournalId, TaskId};

use super::record::Record;
use crate::process::ProcessIdentity;

/// Ended attempts are remembered at least this long, so that a repeated id gets its outcome.
pub const REMEMBER_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// More tombstones than this are not kept, whatever their age: they live in memory.
const MOST_TOMBSTONES: usize = 20_000;

/// Where every attempt stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    began: Option<Began>,
    attempts: BTreeMap<AttemptId, Entry>,
    epochs: BTreeMap<TaskId, (u64, i64)>,
    highest_epoch: u64,
}

/// How a journal began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Began {
    /// Its id.
    pub journal: JournalId,
    /// When.
    pub at_us: i64,
    /// It took the place of one that was lost.
    pub after_loss: bool,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its task.
    pub task: TaskId,
    /// The epoch of the order that started (or voided) it.
    pub epoch: u64,
    /// When it was accepted or voided.
    pub at_us: i64,
    /// Where it stands.
    pub phase: Phase,
    /// Somebody wants it stopped; with the grace in milliseconds.
    pub cancel: Option<u32>,
    /// What it holds while it lives.
    pub locks: Vec<Lock>,
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It may be started. The digest is that of its order.
    Accepted(Digest),
    /// Its supervisor was started.
    Spawned(Digest, ProcessIdentity),
    /// It is over, and the server does not have all of it.
    Ended(Digest, AttemptEnd),
    /// It is over, and the server has all of it.
    Acknowledged(Digest, AttemptEnd),
    /// It never started and never will.
    Voided,
}

/// A record that cannot follow those before it: the journal was damaged or mixed up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record about attempt {attempt} does not follow from those before it")]
pub struct Illegal {
    /// The attempt.
    pub attempt: AttemptId,
}

impl Ledger {
    /// Takes a record in.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        match record {
            Record::Began {
                journal,
                at_us,
                after_loss,
            } => {
                self.began = Some(Began {
                    journal: *journal,
                    at_us: *at_us,
                    after_loss: *after_loss,
                });
                Ok(())
            }
            Record::Accepted {
                attempt,
                task,
                epoch,
                payload,
                at_us,
                locks,
            } => {
                self.see_epoch(Some(*task), *epoch, *at_us);
                self.insert(*attempt, *task, *epoch, *at_us, Phase::Accepted(*payload))?;
                self.change(*attempt, |entry| {
                    entry.locks.clone_from(locks);
                    true
                })
            }
            Record::Voided {
                attempt,
                task,
                epoch,
                at_us,
            } => {
                self.see_epoch(Some(*task), *epoch, *at_us);
                self.insert(*attempt, *task, *epoch, *at_us, Phase::Voided)
            }
            Record::Spawned { attempt, process } => self.change(*attempt, |entry| {
                if let Phase::Accepted(payload) = entry.phase {
                    entry.phase = Phase::Spawned(payload, process.clone());
                    return true;
                }
                false
            }),
            Record::CancelRequested {
                attempt,
                epoch,
                grace_ms,
            } => {
                self.change(*attempt, |entry| {
                    entry.cancel = Some(*grace_ms);
                    matches!(entry.phase, Phase::Accepted(_) | Phase::Spawned(..))
                })?;
                let seen = self
                    .attempts
                    .get(attempt)
                    .map(|entry| (entry.task, entry.at_us));
                if let Some((task, at_us)) = seen {
                    self.see_epoch(Some(task), *epoch, at_us);
                }
                Ok(())
            }
            Record::Finished { attempt, end } => self.change(*attempt, |entry| match entry.phase {
                Phase::Accepted(payload) | Phase::Spawned(payload, _) => {
                    entry.phase = Phase::Ended(payload, end.clone());
                    true
                }
                Phase::Ended(..) | Phase::Acknowledged(..) | Phase::Voided => false,
            }),
            Record::Acknowledged { attempt } => self.change(*attempt, |entry| {
                if let Phase::Ended(payload, end) = &entry.phase {
                    entry.phase = Phase::Acknowledged(*payload, end.clone());
                    return true;
                }
                false
            }),
            Record::EpochSeen { task, epoch, at_us } => {
                self.see_epoch(*task, *epoch, *at_us);
                Ok(())
            }
        }
    }

    /// How the journal began; none for one of a version that did not say.
    pub fn began(&self) -> Option<Began> {
        self.began
    }

    /// The attempt's entry.
    pub fn get(&self, attempt: AttemptId) -> Option<&Entry> {
        self.attempts.get(&attempt)
    }

    /// Every attempt.
    pub fn attempts(&self) -> impl Iterator<Item = (AttemptId, &Entry)> {
        self.attempts
            .iter()
            .map(|(attempt, entry)| (*attempt, entry))
    }

    /// Attempts that are not over.
    pub fn open(&self) -> impl Iterator<Item = (AttemptId, &Entry)> {
        self.attempts().filter(|(_, entry)| entry.phase.is_open())
    }

    /// The first of these locks that an attempt holds which may live, and that attempt. One that could
    /// not be stopped may live although it is over.
    pub fn holder(&self, wanted: &[Lock], despite: &[AttemptId]) -> Option<(String, AttemptId)> {
        if fault::sabotaged("holders-forgotten") {
            return None;
        }
        self.attempts()
            .filter(|(attempt, entry)| entry.may_hold() && !despite.contains(attempt))
            .find_map(|(attempt, entry)| {
                let lock = conflict(wanted, &entry.locks)?;
                Some((lock.name.clone(), attempt))
            })
    }

    /// Attempts of which the server does not have everything.
    pub fn unacknowledged(&self) -> impl Iterator<Item = (AttemptId, &Entry)> {
        self.attempts()
            .filter(|(_, entry)| entry.phase.is_open() || matches!(entry.phase, Phase::Ended(..)))
    }

    /// The highest epoch seen for this task; 0 if none.
    pub fn task_epoch(&self, task: TaskId) -> u64 {
        self.epochs.get(&task).map_or(0, |(epoch, _)| *epoch)
    }

    /// The highest epoch that any server ever sent.
    pub fn highest_epoch(&self) -> u64 {
        self.highest_epoch
    }

    /// Forgets what another server's counter said: the next server's begins anew. Attempts stay, since
    /// their processes do.
    pub fn forget_epochs(&mut self) {
        self.highest_epoch = 0;
        self.epochs.clear();
        for entry in self.attempts.values_mut() {
            entry.epoch = 0;
        }
    }

    /// A digest over what is not acknowledged, by which two logs can be compared.
    pub fn digest(&self) -> Digest {
        let mut text = format!("{}\n", self.highest_epoch);
        for (attempt, entry) in self.unacknowledged() {
            let name = match entry.phase {
                Phase::Accepted(_) => "accepted",
                Phase::Spawned(..) => "spawned",
                Phase::Ended(..) => "ended",
                Phase::Acknowledged(..) => "acknowledged",
                Phase::Voided => "voided",
            };
            text.push_str(&[&attempt.to_string(), " ", name, "\n"].concat());
        }
        Digest::of(text.as_bytes())
    }

    /// The ledger without tombstones that are old or too many, and without the epochs of tasks long
    /// gone; `None` if there are none. What may still hold a lock stays: whoever breaks the lock names
    /// it. What is forgotten must be gone from the journal first.
    pub fn pruned(&self, now_us: i64) -> Option<Self> {
        let mut pruned = self.clone();
        pruned.prune(now_us);
        let counts = |ledger: &Self| (ledger.attempts.len(), ledger.epochs.len());
        (counts(&pruned) != counts(self)).then_some(pruned)
    }

    fn prune(&mut self, now_us: i64) {
        let horizon = now_us.saturating_sub(REMEMBER_US);
        let mut tombstones: Vec<(i64, AttemptId)> = self
            .attempts()
            .filter(|(_, entry)| matches!(entry.phase, Phase::Acknowledged(..) | Phase::Voided))
            .filter(|(_, entry)| !entry.may_hold())
            .map(|(attempt, entry)| (entry.at_us, attempt))
            .collect();
        tombstones.sort_unstable();
        let too_many = tombstones.len().saturating_sub(MOST_TOMBSTONES);
        for (index, (at_us, attempt)) in tombstones.into_iter().enumerate() {
            if at_us < horizon || index < too_many {
                self.attempts.remove(&attempt);
            }
        }
        let tasks: BTreeSet<TaskId> = self.attempts.values().map(|entry| entry.task).collect();
        self.epochs
            .retain(|task, (_, at_us)| *at_us >= horizon || tasks.contains(task));
    }

    /// The fewest records that add up to this ledger.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(Began {
            journal,
            at_us,
            after_loss,
        }) = self.began
        {
            records.push(Record::Began {
                journal,
                at_us,
                after_loss,
            });
        }
        records.push(Record::EpochSeen {
            task: None,
            epoch: self.highest_epoch,
            at_us: 0,
        });
        for (task, (epoch, at_us)) in &self.epochs {
            records.push(Record::EpochSeen {
                task: Some(*task),
                epoch: *epoch,
                at_us: *at_us,
            });
        }
        for (attempt, entry) in self.attempts() {
            entry.records(attempt, &mut records);
        }
        records
    }

    fn insert(
        &mut self,
        attempt: AttemptId,
        task: TaskId,
        epoch: u64,
        at_us: i64,
        phase: Phase,
    ) -> Result<(), Illegal> {
        if self.attempts.contains_key(&attempt) {
            return Err(Illegal { attempt });
        }
        let entry = Entry {
            task,
            epoch,
            at_us,
            phase,
            cancel: None,
            locks: Vec::new(),
        };
        self.attempts.insert(attempt, entry);
        Ok(())
    }

    fn change(
        &mut self,
        attempt: AttemptId,
        change: impl FnOnce(&mut Entry) -> bool,
    ) -> Result<(), Illegal> {
        let changed = self.attempts.get_mut(&attempt).is_some_and(change);
        if changed {
            Ok(())
        } else {
            Err(Illegal { attempt })
        }
    }

    fn see_epoch(&mut self, task: Option<TaskId>, epoch: u64, at_us: i64) {
        self.highest_epoch = self.highest_epoch.max(epoch);
        if let Some(task) = task {
            let seen = self.epochs.entry(task).or_default();
            *seen = (seen.0.max(epoch), seen.1.max(at_us));
        }
    }
}

impl Entry {
    /// Its process may be there, with locks.
    fn may_hold(&self) -> bool {
        !self.locks.is_empty() && self.phase.may_live()
    }

    fn records(&self, attempt: AttemptId, records: &mut Vec<Record>) {
        let payload = match &self.phase {
            Phase::Voided => {
                records.push(Record::Voided {
                    attempt,
                    task: self.task,
                    epoch: self.epoch,
                    at_us: self.at_us,
                });
                return;
            }
            Phase::Accepted(payload)
            | Phase::Spawned(payload, _)
            | Phase::Ended(payload, _)
            | Phase::Acknowledged(payload, _) => *payload,
        };
        records.push(Record::Accepted {
            attempt,
            task: self.task,
            epoch: self.epoch,
            payload,
            at_us: self.at_us,
            locks: self.locks.clone(),
        });
        if let Phase::Spawned(_, process) = &self.phase {
            let process = process.clone();
            records.push(Record::Spawned { attempt, process });
        }
        if let Some(grace_ms) = self.cancel {
            let epoch = self.epoch;
            records.push(Record::CancelRequested {
                attempt,
                epoch,
                grace_ms,
            });
        }
        if let Phase::Ended(_, end) | Phase::Acknowledged(_, end) = &self.phase {
            let end = end.clone();
            records.push(Record::Finished { attempt, end });
        }
        if matches!(self.phase, Phase::Acknowledged(..)) {
            records.push(Record::Acknowledged { attempt });
        }
    }
}

impl Phase {
    /// Its process may be there.
    fn may_live(&self) -> bool {
        match self {
            Self::Accepted(_) | Self::Spawned(..) => true,
            Self::Ended(_, end) | Self::Acknowledged(_, end) => end.outcome == Outcome::Abandoned,
            Self::Voided => false,
        }
    }

    /// Not over: it may run, or is about to.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Accepted(_) | Self::Spawned(..))
    }
}
