//! Saying how attempts ended of which nothing is known: their agent is gone for good, lost its journal, or
//! could not stop them.
//!
//! A word is a row. The server that drives the task takes it in and decides what comes of it, now or
//! after a restart; whoever says it is told at once if there is nothing to be said.

use std::collections::BTreeMap;

use mantle_domain::permission::Permission;
use mantle_domain::plan::NO_TARGET;
use mantle_domain::state::{
    Attempt, AttemptStatus, ResolvedAs, State, Unresolvable, is_known_end, view,
};
use mantle_shared::ids::{AttemptId, TargetId};
use mantle_shared::protocol::Outcome;
use serde_json::json;

use super::error::{Error, Result};
use super::tasks::{number, read_events};
use super::{Caller, Deed, Presence, Services, at, names};
use crate::api::body::{ResolvedAttempt, TaskResolve, TaskResolved, UnresolvedAttempt, WorkState};
use crate::store::{
    AttemptRow, ResolutionRow, TaskRow, TaskState, Tx, attempt_find, attempt_list_of_task,
    resolution_insert, resolution_list_of_target, resolution_list_of_task,
};

/// The most that is shown of a target.
const SHOWN_MOST: u32 = 20;

/// A task as its events say, with what stands beside them.
struct Picture {
    task: TaskRow,
    state: State,
    /// Ends that the agents said and that came after the events.
    said: BTreeMap<AttemptId, Outcome>,
    /// What people said, whether it is taken in yet or not.
    resolved: BTreeMap<AttemptId, ResolutionRow>,
}

/// Use cases of resolving.
impl Services {
    /// Says how attempts of a task ended of which nothing is known.
    pub async fn task_resolve(
        &self,
        caller: &Caller,
        text: &str,
        request: &TaskResolve,
    ) -> Result<TaskResolved> {
        caller.may(Permission::ResolveTasks)?;
        let (ended, reason) = checked(request)?;
        let now = self.now();
        // Its whole log is read before the turn to write is taken.
        let picture = {
            let mut tx = self.store.read().await?;
            Picture::read(&mut tx, text).await?
        };
        let target = request.target.as_deref();
        let chosen = picture.choose(target, &*self.presence)?;
        let mut tx = self.store.begin().await?;
        let mut resolved = Vec::with_capacity(chosen.len());
        for attempt in chosen {
            let row = ResolutionRow {
                attempt_id: attempt,
                task_id: picture.task.id,
                about: picture.about(attempt),
                ended,
                resolved_by: caller.actor.name.clone(),
                reason: reason.clone(),
                at_us: now.as_microsecond(),
                taken_at_us: None,
            };
            // What came in since is its agent's word, or somebody else's.
            let is_known = attempt_find(&mut tx, attempt).await?.and_then(said);
            if is_known.is_none() && resolution_insert(&mut tx, &row).await? {
                resolved.push(row);
            }
        }
        let shown = number(picture.task.number);
        if resolved.is_empty() {
            return Err(nothing(&shown, target));
        }
        let attempts: Vec<AttemptId> = resolved.iter().map(|row| row.attempt_id).collect();
        let about: Vec<&str> = resolved.iter().map(|row| row.about.as_str()).collect();
        let deed = Deed {
            action: "task.resolve",
            subject: &shown,
            id: Some(picture.task.id.as_uuid()),
            detail: json!({
                "as": ended.word(), "reason": reason, "about": about, "attempts": attempts,
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        self.wake.resolved(picture.task.id);
        self.feed.task_changed(picture.task.id);
        Ok(TaskResolved {
            resolved: resolved.into_iter().map(|row| shape(&shown, row)).collect(),
            task: shown,
        })
    }

    /// What people may say something of in a task.
    pub(super) async fn task_unresolved(
        &self,
        tx: &mut Tx,
        task: &TaskRow,
        state: &State,
    ) -> Result<Vec<UnresolvedAttempt>> {
        let open = mantle_domain::state::unresolved(state);
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let picture = Picture::of(tx, task.clone(), state.clone()).await?;
        let may = |attempt: &Attempt| {
            let is_connected = self.presence.is_online(attempt.agent);
            attempt.check_resolve(is_connected).is_ok()
        };
        Ok(open
            .into_iter()
            .filter(|(id, attempt)| picture.is_open(*id) && may(attempt))
            .map(|(id, attempt)| picture.unresolved(id, attempt))
            .collect())
    }
}

/// What people said of a task's attempts.
pub(super) async fn of_task(tx: &mut Tx, task: &TaskRow) -> Result<Vec<ResolvedAttempt>> {
    let rows = resolution_list_of_task(tx, task.id).await?;
    let shown = number(task.number);
    Ok(rows.into_iter().map(|row| shape(&shown, row)).collect())
}

/// What people said of the work that brought a target to where it is, the newest first.
pub(super) async fn of_target(tx: &mut Tx, target: TargetId) -> Result<Vec<ResolvedAttempt>> {
    let rows = resolution_list_of_target(tx, target, SHOWN_MOST).await?;
    let shape = |(task, row)| shape(&number(task), row);
    Ok(rows.into_iter().map(shape).collect())
}

fn checked(request: &TaskResolve) -> Result<(ResolvedAs, String)> {
    let ended = request.ended.parse::<ResolvedAs>().map_err(|error| {
        let help = "it is resolved --as failed or --as succeeded";
        Error::invalid("bad-resolution", error, help)
    })?;
    // The one character that PostgreSQL takes in no text.
    let reason = request.reason.replace('\0', "").trim().to_owned();
    if reason.is_empty() {
        return Err(Error::invalid(
            "no-reason",
            "work is resolved for a reason, which the task and the audit trail keep",
            "say with --reason what you saw on the machine",
        ));
    }
    Ok((ended, reason))
}

impl Picture {
    async fn read(tx: &mut Tx, text: &str) -> Result<Self> {
        let task = names::task(tx, text).await?;
        let shown = number(task.number);
        if task.state == TaskState::Queued {
            return Err(Error::refused(
                "task-not-begun",
                format!("{shown} has not begun, so that there is nothing to resolve"),
                format!("to keep it from beginning: mantle task cancel {shown}"),
            ));
        }
        let state = read_events(tx, task.id).await?.state().clone();
        Self::of(tx, task, state).await
    }

    async fn of(tx: &mut Tx, task: TaskRow, state: State) -> Result<Self> {
        let attempts = attempt_list_of_task(tx, task.id).await?;
        let resolved = resolution_list_of_task(tx, task.id).await?;
        Ok(Self {
            said: attempts
                .into_iter()
                .filter_map(|row| Some((row.id, said(row)?)))
                .collect(),
            resolved: resolved
                .into_iter()
                .map(|row| (row.attempt_id, row))
                .collect(),
            task,
            state,
        })
    }

    /// Neither its agent nor a person has said how it ended.
    fn is_open(&self, attempt: AttemptId) -> bool {
        !self.said.contains_key(&attempt) && !self.resolved.contains_key(&attempt)
    }

    /// The attempts that are resolved, or why none is.
    fn choose(&self, target: Option<&str>, presence: &dyn Presence) -> Result<Vec<AttemptId>> {
        let shown = number(self.task.number);
        let wanted = target.map(|name| self.known_target(name)).transpose()?;
        let is_wanted = |attempt: &Attempt| {
            let planned = self
                .state
                .plan
                .as_deref()
                .and_then(|plan| plan.node(attempt.node));
            wanted.is_none_or(|wanted| {
                planned.is_some_and(|node| node.subject == wanted || node.executor == wanted)
            })
        };
        let open = mantle_domain::state::unresolved(&self.state);
        let open = open.into_iter().filter(|(_, attempt)| is_wanted(attempt));
        let open: Vec<_> = open.filter(|(id, _)| self.is_open(*id)).collect();
        let judged = open.iter().map(|(id, attempt)| {
            let is_connected = presence.is_online(attempt.agent);
            (*id, attempt.check_resolve(is_connected))
        });
        let judged: Vec<_> = judged.collect();
        let may = judged.iter().filter(|(_, may)| may.is_ok());
        let may: Vec<AttemptId> = may.map(|(id, _)| *id).collect();
        if !may.is_empty() {
            return Ok(may);
        }
        let connected = judged
            .iter()
            .find(|(_, may)| *may == Err(Unresolvable::AgentConnected));
        if let Some((attempt, _)) = connected {
            return Err(Error::refused(
                "agent-connected",
                format!(
                    "{} of {shown} runs, and its agent is connected: it says itself how that ends",
                    self.about(*attempt)
                ),
                match &self.state.cancel {
                    None => format!("to stop it: mantle task cancel {shown}"),
                    Some(cancel) => format!(
                        "it was asked to stop; what its agent has not said by {} can be resolved then: mantle task show {shown}",
                        cancel.deadline.strftime("%H:%M:%SZ")
                    ),
                },
            ));
        }
        let before = self.resolved.values().find(|row| {
            let known = self.state.attempts.get(&row.attempt_id);
            known.is_some_and(is_wanted)
        });
        match before {
            Some(row) => Err(Error::refused(
                "already-resolved",
                format!(
                    "{} said before that {} {}: {}",
                    row.resolved_by,
                    row.about,
                    row.ended.word(),
                    row.reason
                ),
                format!("'mantle task show {shown}' shows how it stands"),
            )),
            None => Err(nothing(&shown, target)),
        }
    }

    fn known_target(&self, name: &str) -> Result<TargetId> {
        let targets = self
            .state
            .plan
            .as_deref()
            .map_or(&[][..], |plan| &plan.targets);
        let known = targets.iter().find(|target| target.name == name);
        known.map(|target| target.id).ok_or_else(|| {
            let names = targets.iter().map(|target| target.name.as_str());
            let shown = number(self.task.number);
            let help = format!("'mantle task show {shown}' lists the targets that it is about");
            Error::not_found("target", name, names, help)
        })
    }

    /// What an attempt is, for people.
    fn about(&self, attempt: AttemptId) -> String {
        let Some(known) = self.state.attempts.get(&attempt) else {
            return attempt.to_string();
        };
        let one = self.unresolved(attempt, known);
        if one.executor == one.target {
            format!("'{}' on {}", one.action, one.target)
        } else {
            format!("'{}' on {} for {}", one.action, one.executor, one.target)
        }
    }

    fn unresolved(&self, id: AttemptId, attempt: &Attempt) -> UnresolvedAttempt {
        let plan = self.state.plan.as_deref();
        let name = |target: TargetId| {
            if target == NO_TARGET {
                return view::ON_SERVER.to_owned();
            }
            let known = plan.and_then(|plan| plan.target(target));
            known.map_or_else(|| target.to_string(), |known| known.name.clone())
        };
        let planned = plan.and_then(|plan| plan.node(attempt.node));
        let action = plan.and_then(|plan| plan.action(attempt.node));
        UnresolvedAttempt {
            attempt: id,
            action: action.map_or_else(String::new, |action| action.name.clone()),
            target: planned.map_or_else(String::new, |node| name(node.subject)),
            executor: planned.map_or_else(String::new, |node| name(node.executor)),
            state: match &attempt.status {
                AttemptStatus::Starting | AttemptStatus::Running { .. } => WorkState::Running,
                AttemptStatus::Over {
                    outcome: Outcome::Abandoned,
                    ..
                } => WorkState::Abandoned,
                AttemptStatus::Over { .. } => WorkState::Unknown,
            },
        }
    }
}

/// What its agent said of an attempt, if that says anything.
fn said(row: AttemptRow) -> Option<Outcome> {
    row.outcome.filter(|outcome| is_known_end(*outcome))
}

fn nothing(task: &str, target: Option<&str>) -> Error {
    let on = target.map_or_else(String::new, |name| format!(" about {name}"));
    Error::refused(
        "nothing-to-resolve",
        format!("of nothing in {task}{on} it is unknown how it ended"),
        format!("'mantle task show {task}' shows how it stands"),
    )
}

fn shape(task: &str, row: ResolutionRow) -> ResolvedAttempt {
    ResolvedAttempt {
        attempt: row.attempt_id,
        task: task.to_owned(),
        about: row.about,
        ended: row.ended.word().to_owned(),
        by: row.resolved_by,
        reason: row.reason,
        at: at(row.at_us),
    }
}
