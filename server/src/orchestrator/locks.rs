//! The locks of all deployments: granted in a turn on a copy, noted when the turn is committed.
//!
//! What is held stands in the database with the orders that took it; who waits follows from the
//! deployments' states. Whenever either changes, whoever can go on now is looked at again in the
//! next turn, so that no waking is lost.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mantle_domain::lock::{Answer, Hold, Locks, Waiter, Wish};
use mantle_domain::plan::{NodeRef, Plan};
use mantle_domain::state::{Attempt, Claim, Event, Input, LockKeeper, NodeState, State};
use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::lock::Lock;
use mantle_shared::protocol::{Level, Outcome, Record, RecordBody, Stream};

use super::Orchestrator;
use super::active::Context;
use super::effects::now_us;
use super::turn::Turn;
use crate::store::{
    HeldLockRow, LockEnd, StoreError, Tx, held_lock_insert, held_lock_list, held_lock_mark_ended,
    held_lock_release, log_append_server,
};

/// Grants locks to one deployment within a turn.
pub(super) struct Keeper<'a> {
    pub(super) locks: &'a RefCell<Locks>,
    pub(super) task: TaskId,
    pub(super) number: &'a str,
}

impl LockKeeper for Keeper<'_> {
    fn claim(&self, claim: &Claim<'_>) -> Answer {
        let who = Waiter {
            task: self.task,
            node: claim.node,
        };
        let wish = Wish {
            holder: holder(self.number, claim.plan, claim.node),
            executor: claim.executor,
            locks: claim.locks.clone(),
            since: claim.since,
        };
        let mut locks = self.locks.borrow_mut();
        let answer = locks.ask(who, &wish);
        match &answer {
            Answer::Granted { .. } => {
                if let Some(hold) = hold(self.task, self.number, claim.plan, claim.node) {
                    locks.take(claim.attempt, hold);
                }
            }
            Answer::Held { .. } => locks.wait(who, wish),
        }
        answer
    }
}

/// Who holds a lock, for people.
fn holder(number: &str, plan: &Plan, node: NodeRef) -> String {
    let action = plan.action(node).map_or("", |action| action.name.as_str());
    format!("{number} step '{action}'")
}

fn hold(task: TaskId, number: &str, plan: &Plan, node: NodeRef) -> Option<Hold> {
    let planned = plan.node(node)?;
    let locks = plan.action(node)?.locks_of(planned.subject);
    let agent = plan.target(planned.executor)?.agent;
    (!locks.is_empty()).then(|| Hold {
        task,
        holder: holder(number, plan, node),
        executor: planned.executor,
        agent,
        locks,
        ended: None,
        broken: false,
    })
}

/// The nodes that wait for locks, by what the state says.
fn waiting(number: &str, state: &State) -> BTreeMap<NodeRef, Wish> {
    let Some(plan) = state.plan.as_deref() else {
        return BTreeMap::new();
    };
    let nodes = state.nodes.iter().filter_map(|(node, known)| {
        let NodeState::Waiting {
            since,
            blocked: Some(_),
            ..
        } = known
        else {
            return None;
        };
        let planned = plan.node(*node)?;
        let wish = Wish {
            holder: holder(number, plan, *node),
            executor: planned.executor,
            locks: plan.action(*node)?.locks_of(planned.subject),
            since: *since,
        };
        Some((*node, wish))
    });
    nodes.collect()
}

/// What becomes of an attempt's locks with its end: one that may still live keeps them.
fn kept(outcome: Outcome) -> Option<LockEnd> {
    match outcome {
        Outcome::Unknown => Some(LockEnd::Unknown),
        Outcome::Abandoned => Some(LockEnd::Abandoned),
        Outcome::Succeeded
        | Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Cancelled
        | Outcome::NotStarted
        | Outcome::Interrupted => None,
    }
}

/// What the agent's word on an attempt means for its locks: what it does not know of any more it
/// does not run either.
fn kept_by_word(outcome: Outcome) -> Option<LockEnd> {
    kept(outcome).filter(|end| *end == LockEnd::Abandoned)
}

fn outcome_of(end: LockEnd) -> Outcome {
    match end {
        LockEnd::Unknown => Outcome::Unknown,
        LockEnd::Abandoned => Outcome::Abandoned,
    }
}

/// Writes down what an order takes.
pub(super) async fn write_taken(
    tx: &mut Tx,
    context: &Context,
    plan: &Plan,
    (attempt, node): (AttemptId, NodeRef),
    at_us: i64,
) -> Result<(), StoreError> {
    let Some(hold) = hold(context.task, &context.number, plan, node) else {
        return Ok(());
    };
    for Lock { name, mode } in hold.locks {
        let row = HeldLockRow {
            attempt_id: attempt,
            name,
            mode,
            executor_id: hold.executor,
            agent_id: hold.agent,
            task_id: hold.task,
            holder: hold.holder.clone(),
            taken_at_us: at_us,
            ended: None,
            broken_at_us: None,
            broken_by: None,
        };
        held_lock_insert(tx, &row).await?;
    }
    Ok(())
}

/// Writes down what the end of an attempt means for its locks; `said` by its agent or not.
pub(super) async fn write_ended(
    tx: &mut Tx,
    attempt: AttemptId,
    outcome: Outcome,
    said: bool,
) -> Result<(), StoreError> {
    let keeps = if said {
        kept_by_word(outcome)
    } else {
        kept(outcome)
    };
    match keeps {
        Some(end) => held_lock_mark_ended(tx, attempt, end).await,
        None => held_lock_release(tx, attempt).await,
    }
}

impl Orchestrator {
    /// Reads what is held: after a start, and when somebody broke a lock.
    pub(super) async fn read_locks(&mut self) -> Result<(), StoreError> {
        let rows = held_lock_list(&mut self.parts.store.read().await?).await?;
        let mut held: BTreeMap<AttemptId, Hold> = BTreeMap::new();
        self.abandoned.clear();
        if fault::sabotaged("holders-forgotten") {
            return Ok(());
        }
        for row in rows {
            if row.ended == Some(LockEnd::Abandoned) {
                self.abandoned.insert(row.attempt_id);
            }
            let hold = held.entry(row.attempt_id).or_insert_with(|| Hold {
                task: row.task_id,
                holder: row.holder,
                executor: row.executor_id,
                agent: row.agent_id,
                locks: Vec::new(),
                ended: row.ended.map(outcome_of),
                broken: row.broken_at_us.is_some(),
            });
            hold.locks.push(Lock {
                name: row.name,
                mode: row.mode,
            });
        }
        self.locks.replace_held(held);
        Ok(())
    }

    /// Before a turn is decided: what is held is read if somebody changed it, and whoever can have
    /// its locks is looked at.
    pub(super) async fn prepare_locks(&mut self, turn: &mut Turn) {
        if std::mem::take(&mut self.locks_stale) {
            // If it cannot be read, what is held is still held; the next sweep tries again.
            if let Err(error) = self.read_locks().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "which locks are held cannot be read; it is tried again"
                );
            }
            self.wake_waiting();
        }
        self.take_kept(turn);
        turn.unlocked.extend(std::mem::take(&mut self.unlocked));
        for task in std::mem::take(&mut self.unblocked) {
            turn.input(task, Input::Tick);
        }
    }

    /// Notes what committed events mean for the locks, and who waits now.
    pub(super) fn note_locks(&mut self, task: TaskId, events: &[Event]) {
        let Some(deployment) = self.deployments.get(&task) else {
            self.stop_waiting(task);
            return;
        };
        let (number, state) = (&deployment.context.number, &deployment.state);
        for event in events {
            match event {
                Event::AttemptOrdered { attempt, node, .. } => {
                    let plan = state.plan.as_deref();
                    if let Some(hold) = plan.and_then(|plan| hold(task, number, plan, *node)) {
                        self.locks.take(*attempt, hold);
                    }
                }
                Event::AttemptFinished {
                    attempt,
                    outcome,
                    end,
                    ..
                } => {
                    let keeps = match end {
                        Some(_) => kept_by_word(*outcome),
                        None => kept(*outcome),
                    };
                    match keeps {
                        Some(LockEnd::Abandoned) => {
                            self.abandoned.insert(*attempt);
                            self.locks.mark_ended(*attempt, *outcome);
                        }
                        Some(LockEnd::Unknown) => self.locks.mark_ended(*attempt, *outcome),
                        None => self.locks.release(*attempt),
                    }
                }
                // What is held is read anew: what could not be stopped is passed over by name.
                Event::AttemptResolved { .. } => self.locks_stale = true,
                Event::AttemptFinishedLate { attempt, end, .. }
                    if kept_by_word(end.outcome).is_none() =>
                {
                    self.locks.release(*attempt);
                }
                _ => {}
            }
        }
        self.locks.replace_waiting(task, waiting(number, state));
    }

    /// The end of an attempt whose deployment is over was written down.
    pub(super) fn note_late(&mut self, attempt: AttemptId, outcome: Outcome) {
        if kept_by_word(outcome).is_none() {
            self.locks.release(attempt);
        }
    }

    /// A task is not driven any more, or not for now: its nodes wait for nothing.
    pub(super) fn stop_waiting(&mut self, task: TaskId) {
        self.locks.replace_waiting(task, BTreeMap::new());
    }

    /// Whoever can have its locks now is looked at in the next turn.
    pub(super) fn wake_waiting(&mut self) {
        if self.locks.revision() == self.locks_seen {
            return;
        }
        self.locks_seen = self.locks.revision();
        let ready = self.locks.ready().into_iter().map(|waiter| waiter.task);
        self.unblocked.extend(ready);
    }

    /// Which of these attempts, of which their agents know nothing, are over by the server's word:
    /// nothing of theirs lives, and they hold nothing any more.
    pub(super) fn forgotten_holds(&self, unreported: &[AttemptId]) -> Vec<AttemptId> {
        let over = |attempt: AttemptId, hold: &Hold| match self.deployments.get(&hold.task) {
            Some(deployment) => {
                let known = deployment.state.attempts.get(&attempt);
                known.is_some_and(Attempt::is_over)
            }
            None => !self.parked.contains_key(&hold.task),
        };
        self.locks
            .held()
            .filter(|(attempt, hold)| {
                unreported.contains(attempt)
                    && !self.abandoned.contains(attempt)
                    && over(*attempt, hold)
            })
            .map(|(attempt, _)| attempt)
            .collect()
    }

    /// What is held through an agent.
    pub(super) fn holds_of(&self, agent: AgentId) -> Vec<AttemptId> {
        let held = self.locks.held();
        held.filter(|(_, hold)| hold.agent == agent)
            .map(|(attempt, _)| attempt)
            .collect()
    }

    /// Tells in a task's log what its nodes wait for. Only for people: what is lost with the process
    /// stands in the events all the same.
    pub(super) async fn tell_blocked(&self, task: TaskId, events: &[Event]) {
        let Some(deployment) = self.deployments.get(&task) else {
            return;
        };
        let Some(plan) = deployment.state.plan.as_deref() else {
            return;
        };
        let said = |event: &Event| {
            let Event::NodeBlocked { node, .. } = event else {
                return None;
            };
            let blocked = event.blocked()?;
            // Not of what the task itself holds: mostly that is gone in a moment, after every action. Where a
            // step at the same time holds it for longer, `task show` says so.
            let own = format!("{} ", deployment.context.number);
            if blocked.by.starts_with(&own) && blocked.ended.is_none() {
                return None;
            }
            let executor = &plan.target(plan.node(*node)?.executor)?.name;
            let action = &plan.action(*node)?.name;
            Some(format!("{action} {}", blocked.sentence(executor)))
        };
        let lines: Vec<Record> = events
            .iter()
            .filter_map(said)
            .map(|text| Record {
                at_us: now_us(),
                body: RecordBody::Line {
                    stream: Stream::Agent,
                    level: Level::Info,
                    text,
                },
            })
            .collect();
        if lines.is_empty() {
            return;
        }
        let store = &self.parts.store;
        let written = store
            .write_logs(async |tx| log_append_server(tx, task, &lines).await)
            .await;
        if let Err(error) = written {
            tracing::warn!(
                task.id = %task,
                error = &error as &dyn std::error::Error,
                "what a task waits for could not be written to its log"
            );
        }
    }
}
