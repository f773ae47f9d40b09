//! Removing the past: tasks, logs and the beginning of the audit trail that the operator's rules no
//! longer keep.
//!
//! In portions, each of which is one transaction: nobody waits for the whole, and a run that is cut off
//! goes on where it was. What is judged in a reading transaction is looked at again in the one that
//! removes, so that nothing can come into use in between. Logs are in another file: they are noted down
//! first and removed after (`Services::remove_logs`). With a task go the variables that none but it has.

use std::collections::BTreeMap;

use mantle_domain::audit::{CUT_ACTION, Cut};
use mantle_domain::ids::TaskId;
use mantle_domain::retention::Fate;
use mantle_domain::upkeep::{Hold, Keep, Piece, Sieve};
use serde_json::json;

use super::answered::Going;
use super::error::Result;
use super::tasks::number;
use super::{Caller, Deed, Services};
use crate::api::body::{RetentionCount, RetentionItem, RetentionResult};
use crate::store::{
    PastTask, TaskHold, audit_cut, audit_cut_find, audit_head, log_bytes, log_bytes_of,
    past_audit_bytes, past_audit_list, past_task_bytes, past_task_list, task_log_retire,
    task_retire,
};

/// Tasks of one transaction.
const TASKS: u32 = 100;
/// Entries of the audit trail of one transaction.
const ENTRIES: u32 = 2000;
/// How many of a kind an answer names; the rest is counted.
const NAMED: usize = 1000;

/// Whether something is removed, or only said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is only said.
    Say,
    /// It is done.
    Do,
}

/// What is removed of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Log,
}

/// What is said of one kind.
pub(super) struct Tally {
    kind: &'static str,
    items: Vec<RetentionItem>,
    count: RetentionCount,
}

impl Tally {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            items: Vec::new(),
            count: RetentionCount {
                kind: kind.to_owned(),
                ..RetentionCount::default()
            },
        }
    }

    pub(super) fn note(&mut self, name: String, fate: &Fate, (pieces, size_bytes): (u64, u64)) {
        if fate.goes() {
            self.count.goes += pieces;
            self.count.size_bytes += size_bytes;
        }
        if self.items.len() < NAMED {
            self.items.push(RetentionItem {
                kind: self.kind.to_owned(),
                name,
                goes: fate.goes(),
                why: fate.why().to_owned(),
            });
        }
    }

    pub(super) fn into(self, result: &mut RetentionResult) {
        result.items.extend(self.items);
        result.counts.push(self.count);
    }
}

/// Use cases of upkeep.
impl Services {
    /// Removes whole tasks, with the variables that none but they have.
    pub(super) async fn retain_tasks(
        &self,
        caller: &Caller,
        mode: Mode,
        going: &mut Going,
        result: &mut RetentionResult,
    ) -> Result<()> {
        let keep = self.upkeep.tasks;
        let total = match keep.size_bytes {
            None => 0,
            Some(_) => past_task_bytes(&mut self.store.read().await?).await?,
        };
        let sieve = Sieve::new(keep, total, self.now().as_microsecond());
        self.sift(caller, (Part::Whole, sieve), mode, going, result)
            .await
    }

    /// Removes logs of tasks that stay.
    pub(super) async fn retain_logs(
        &self,
        caller: &Caller,
        mode: Mode,
        going: &mut Going,
        result: &mut RetentionResult,
    ) -> Result<()> {
        let keep = self.upkeep.logs;
        let total = match keep.size_bytes {
            None => 0,
            Some(_) => log_bytes(&mut self.store.read_logs().await?).await?,
        };
        let sieve = Sieve::new(keep, total, self.now().as_microsecond());
        self.sift(caller, (Part::Log, sieve), mode, going, result)
            .await
    }

    async fn sift(
        &self,
        caller: &Caller,
        (part, mut sieve): (Part, Sieve),
        mode: Mode,
        going: &mut Going,
        result: &mut RetentionResult,
    ) -> Result<()> {
        let mut tally = Tally::new(match part {
            Part::Whole => "task",
            Part::Log => "log",
        });
        let mut after = 0;
        'pages: loop {
            let page = past_task_list(&mut self.store.read().await?, after, TASKS).await?;
            let mut chosen = BTreeMap::new();
            let from = after;
            for task in &page {
                if !sieve.takes_from(task.created_at_us) {
                    self.remove(caller, (part, mode), from, (&chosen, going))
                        .await?;
                    break 'pages;
                }
                after = task.number;
                let Some(size_bytes) = self.size_of(part, task).await? else {
                    continue;
                };
                let fate = sieve.judge(piece(task, size_bytes));
                // What went with its release or its task makes room as well.
                if going.took(task) {
                    continue;
                }
                if fate.goes() {
                    chosen.insert(task.number, task.id);
                }
                let name = format!("{} {}", number(task.number), task.title);
                tally.note(name, &fate, (1, size_bytes));
            }
            self.remove(caller, (part, mode), from, (&chosen, going))
                .await?;
            if page.len() < TASKS as usize {
                break;
            }
        }
        tally.into(result);
        Ok(())
    }

    /// How large that part of a task is; `None` if there is nothing of it.
    async fn size_of(&self, part: Part, task: &PastTask) -> Result<Option<u64>> {
        match part {
            Part::Whole => Ok(Some(task.size_bytes)),
            Part::Log if task.is_log_removed => Ok(None),
            Part::Log => {
                let size = log_bytes_of(&mut self.store.read_logs().await?, task.id).await?;
                Ok((size > 0).then_some(size))
            }
        }
    }

    /// Removes those of a page that were chosen, if nothing needs them now either.
    async fn remove(
        &self,
        caller: &Caller,
        (part, mode): (Part, Mode),
        after: u64,
        (chosen, going): (&BTreeMap<u64, TaskId>, &mut Going),
    ) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        if part == Part::Whole {
            going.tasks.extend(chosen.keys());
        }
        if mode == Mode::Say {
            let mut tx = self.store.read().await?;
            for task in chosen.values().filter(|_| part == Part::Whole) {
                going.task_would_go(&mut tx, *task).await?;
            }
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let mut removed = Vec::new();
        let mut answered = Vec::new();
        for task in past_task_list(&mut tx, after, TASKS).await? {
            if task.hold.is_some() || !chosen.contains_key(&task.number) {
                continue;
            }
            match part {
                Part::Whole => {
                    answered.extend(task_retire(&mut tx, task.id, now.as_microsecond()).await?);
                }
                Part::Log => task_log_retire(&mut tx, task.id, now.as_microsecond()).await?,
            }
            removed.push(number(task.number));
        }
        if let (Some(first), Some(last)) = (removed.first(), removed.last()) {
            let subject = if first == last {
                first.clone()
            } else {
                format!("{first} to {last}")
            };
            let deed = Deed {
                action: match part {
                    Part::Whole => "task.remove",
                    Part::Log => "log.remove",
                },
                subject: &subject,
                id: None,
                detail: json!({ "tasks": removed, "rule": rule(match part {
                    Part::Whole => self.upkeep.tasks,
                    Part::Log => self.upkeep.logs,
                }) }),
            };
            caller.audit(&mut tx, now, deed).await?;
            tx.commit().await?;
        }
        going.note_all(&answered);
        Ok(())
    }

    /// Removes the beginning of the audit trail. The newest entry stays: the trail goes on from it.
    pub(super) async fn retain_audit(
        &self,
        caller: &Caller,
        mode: Mode,
        result: &mut RetentionResult,
    ) -> Result<()> {
        let keep = self.upkeep.audit;
        let (total, head, mut cut) = {
            let mut tx = self.store.read().await?;
            let total = match keep.size_bytes {
                None => 0,
                Some(_) => past_audit_bytes(&mut tx).await?,
            };
            (
                total,
                audit_head(&mut tx).await?,
                audit_cut_find(&mut tx).await?,
            )
        };
        let mut sieve = Sieve::new(keep, total, self.now().as_microsecond());
        let mut tally = Tally::new("audit");
        loop {
            let first = cut.through + 1;
            let entries =
                past_audit_list(&mut self.store.read().await?, cut.through, ENTRIES).await?;
            let (mut size_bytes, mut reason) = (0, None);
            for entry in &entries {
                let fate = sieve.judge(Piece {
                    past_since_us: Some(entry.at_us),
                    size_bytes: entry.size_bytes,
                    hold: (entry.sequence >= head.sequence).then_some(Hold::Open),
                });
                if !fate.goes() {
                    break;
                }
                size_bytes += entry.size_bytes;
                cut = Cut {
                    through: entry.sequence,
                    hash: entry.hash,
                };
                reason = Some(fate);
            }
            let Some(fate) = reason else { break };
            let rows = cut.through + 1 - first;
            let name = format!("entries {first} to {}", cut.through);
            tally.note(name.clone(), &fate, (rows, size_bytes));
            if mode == Mode::Do {
                self.cut(caller, (&cut, &name), &fate).await?;
            }
            if rows < u64::from(ENTRIES) {
                break;
            }
        }
        tally.into(result);
        Ok(())
    }

    async fn cut(&self, caller: &Caller, (cut, name): (&Cut, &str), fate: &Fate) -> Result<()> {
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let rows = audit_cut(&mut tx, cut).await?;
        let deed = Deed {
            action: CUT_ACTION,
            subject: name,
            id: None,
            detail: json!({
                "through": cut.through, "hash": cut.hash, "rows": rows, "why": fate.why(),
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn piece(task: &PastTask, size_bytes: u64) -> Piece {
    Piece {
        past_since_us: task.ended_at_us,
        size_bytes,
        hold: task.hold.map(|hold| match hold {
            TaskHold::Open => Hold::Open,
            TaskHold::Dashboard => Hold::Dashboard,
            TaskHold::Target => Hold::Target,
            TaskHold::Lock => Hold::Lock,
            TaskHold::History => Hold::History,
        }),
    }
}

fn rule(keep: Keep) -> serde_json::Value {
    json!({ "age_ms": keep.age_ms, "size_bytes": keep.size_bytes })
}
