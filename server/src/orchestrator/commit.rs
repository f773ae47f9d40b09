//! Writing down what was decided: the events and all that follows from them, in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mantle_domain::manifest;
use mantle_domain::order::OrderContext;
use mantle_domain::plan::Plan;
use mantle_domain::state::{Event, State};
use mantle_shared::fault;
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use serde_json::json;

use super::active::{About, Context, Decided, Deploys};
use super::finish::{finish, show_current, show_target};
use super::turn::{Late, Turn};
use super::{Orchestrator, earlier, locks, people, resolutions};
use crate::store::{
    AgentProfile, AttemptRow, AttemptState, AuditEntry, EventsAppended, NewTaskEvent, StoreError,
    TargetState, TaskState, Tx, agent_mark_connected, agent_mark_seen, attempt_insert,
    attempt_mark_ended, attempt_mark_running, audit_append, deployment_manifest_insert,
    held_lock_release, resolution_delete, task_event_append, task_mark_started, task_mark_warned,
};

/// Between two tries to commit.
const RETRY: Duration = Duration::from_millis(500);
/// Who acts when nobody asked.
const SERVER: &str = "server";

/// What became of a turn.
#[derive(Default)]
pub(super) struct Committed {
    /// Deployments whose events stand, or of which there were none.
    pub(super) touched: Vec<TaskId>,
    /// Tasks of which something could not be written: of theirs nothing is acknowledged.
    pub(super) unwritten: BTreeSet<TaskId>,
}

/// What is done about a commit that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The database will take it once it is itself again, so nothing is lost by waiting.
    TryAgain,
    /// The same again would fail for ever, and everybody would wait for it: what is at fault is
    /// found by committing everything apart, and put aside.
    Apart,
}

fn remedy(error: &StoreError) -> Remedy {
    match error {
        StoreError::Busy(_) | StoreError::Unavailable(_) | StoreError::NoSpace(_) => {
            Remedy::TryAgain
        }
        StoreError::NotFound { .. }
        | StoreError::Conflict { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Aborted
        | StoreError::Statement(_) => Remedy::Apart,
    }
}

impl Orchestrator {
    /// Commits a turn and evolves the deployments that it touched. While the database cannot be
    /// written it tries again: nothing is dropped, and nothing goes on. What the database refuses
    /// stops nobody else: it is parked.
    pub(super) async fn commit(&mut self, decided: Vec<Decided>, turn: &Turn) -> Committed {
        let mut touched: Vec<TaskId> = decided.iter().map(|d| d.task).collect();
        let parts = decided.iter().filter(|d| !d.events.is_empty()).count() + turn.parts();
        if parts == 0 {
            // Even so an agent may have come back, to which what is outstanding must be sent.
            return Committed {
                touched,
                ..Committed::default()
            };
        }
        let has = |wanted: fn(&Event) -> bool| decided.iter().flat_map(|d| &d.events).any(wanted);
        let orders = has(|event| matches!(event, Event::AttemptOrdered { .. }));
        let ends = has(|event| matches!(event, Event::AttemptFinished { .. }));
        self.read_findings(&decided).await;
        if ends {
            fault::point("server.before_end_commit");
        }
        loop {
            match self.write(&decided, turn).await {
                Ok(()) => break,
                Err(error) => match remedy(&error) {
                    Remedy::TryAgain => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "what was decided cannot be committed; trying again"
                        );
                        tokio::time::sleep(RETRY).await;
                    }
                    Remedy::Apart if parts > 1 => return self.commit_apart(decided, turn).await,
                    Remedy::Apart => return self.refused(decided, turn, &error),
                },
            }
        }
        if ends {
            fault::point("server.after_end_commit");
        }
        if orders {
            fault::point("server.after_order_commit");
        }
        let mut said = Vec::new();
        for decision in decided {
            let (task, events) = (decision.task, decision.events.clone());
            said.extend(late_words(task, &events));
            self.apply(decision);
            self.note_locks(task, &events);
            self.tell_blocked(task, &events).await;
        }
        for attempt in &turn.unlocked {
            self.locks.release(*attempt);
        }
        for late in &turn.late {
            self.note_late(late.attempt, late.end.outcome);
            self.parts.feed.task_changed(late.task);
        }
        for row in &turn.resolved {
            self.locks_stale = true;
            self.parts.feed.task_changed(row.task_id);
        }
        self.tell_resolutions(turn, &said).await;
        self.tell_put_off(turn).await;
        touched.sort();
        touched.dedup();
        Committed {
            touched,
            ..Committed::default()
        }
    }

    /// Something in the turn is refused by the database: the rest is committed piece by piece.
    async fn commit_apart(&mut self, decided: Vec<Decided>, turn: &Turn) -> Committed {
        let mut committed = Committed::default();
        let nothing = Turn::default();
        for decision in decided {
            committed.add(Box::pin(self.commit(vec![decision], &nothing)).await);
        }
        for part in turn.apart() {
            committed.add(Box::pin(self.commit(Vec::new(), &part)).await);
        }
        committed
    }

    /// The database refuses this one thing: what was decided never happened.
    fn refused(&mut self, decided: Vec<Decided>, turn: &Turn, error: &StoreError) -> Committed {
        let mut committed = Committed::default();
        for decision in decided {
            if decision.events.is_empty() {
                committed.touched.push(decision.task);
            } else {
                committed.unwritten.insert(decision.task);
                self.park(decision.task, error);
            }
        }
        committed
            .unwritten
            .extend(turn.late.iter().map(|late| late.task));
        if turn.parts() > 0 {
            tracing::error!(
                attempts = ?turn.late.iter().map(|late| late.attempt).collect::<Vec<_>>(),
                agents = ?turn.seen.iter().map(|(agent, _)| agent).chain(&turn.left).collect::<Vec<_>>(),
                error = error as &dyn std::error::Error,
                "the database refuses what was to be noted of an agent; it is passed over"
            );
        }
        committed
    }

    fn apply(&mut self, decision: Decided) {
        let Some(deployment) = self.deployments.get_mut(&decision.task) else {
            return;
        };
        for event in &decision.events {
            match event {
                Event::AttemptOrdered { attempt, .. } => {
                    self.attempts.insert(*attempt, decision.task);
                }
                Event::DeploymentFinished {
                    verdict, message, ..
                } => tracing::info!(
                    task.number = deployment.context.number,
                    verdict = ?verdict,
                    message,
                    "a task is over"
                ),
                _ => {}
            }
        }
        // Its place among those that run is free for another.
        self.look_again |= decision.next.awaits_person() && !deployment.state.awaits_person();
        deployment.state = decision.next;
        if !decision.events.is_empty() {
            deployment.next_event += decision.events.len() as u64;
            deployment.parked_for = Duration::ZERO;
            self.parts.feed.task_changed(decision.task);
        }
    }

    async fn write(&self, decided: &[Decided], turn: &Turn) -> Result<(), StoreError> {
        let now_us = super::effects::now_us();
        self.parts
            .store
            .write(async |tx| {
                for decision in decided {
                    let Some(deployment) = self.deployments.get(&decision.task) else {
                        continue;
                    };
                    if decision.events.is_empty() {
                        continue;
                    }
                    write_deployment(
                        tx,
                        &deployment.context,
                        deployment.epoch,
                        deployment.next_event,
                        &decision.next,
                        &decision.events,
                        now_us,
                    )
                    .await?;
                }
                for Late { task, attempt, end } in &turn.late {
                    if mark_ended(tx, *attempt, end.outcome, Some(end), now_us).await? {
                        resolutions::write_late(tx, *task, *attempt, end, now_us).await?;
                    }
                }
                for row in &turn.resolved {
                    resolutions::write_after_end(tx, row, now_us).await?;
                }
                for moot in &turn.moot {
                    resolution_delete(tx, moot.row.attempt_id).await?;
                    task_mark_warned(tx, moot.row.task_id).await?;
                }
                for attempt in &turn.unlocked {
                    held_lock_release(tx, *attempt).await?;
                }
                earlier::write(tx, &turn.kept).await?;
                write_presence(tx, turn, now_us).await
            })
            .await
    }
}

impl Committed {
    fn add(&mut self, other: Self) {
        self.touched.extend(other.touched);
        self.unwritten.extend(other.unwritten);
    }
}

/// The attempts on which their agents' word came late.
fn late_words(task: TaskId, events: &[Event]) -> Vec<(TaskId, AttemptId)> {
    let late = events.iter().filter_map(|event| match event {
        Event::AttemptFinishedLate { attempt, .. } => Some((task, *attempt)),
        _ => None,
    });
    late.collect()
}

/// Agents that came, went or were refused.
async fn write_presence(tx: &mut Tx, turn: &Turn, now_us: i64) -> Result<(), StoreError> {
    for (agent, hello) in &turn.seen {
        let profile = AgentProfile {
            version: storable(&hello.version),
            os: storable(&hello.os),
            arch: storable(&hello.arch),
            host_name: storable(&hello.host_name),
            features: hello.features.iter().map(|word| storable(word)).collect(),
            boot_id: storable(&hello.boot_id),
        };
        // A conflict: it was revoked in the meantime, and its connection is being closed.
        match agent_mark_connected(tx, *agent, &profile, hello.highest_epoch, now_us).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for agent in &turn.left {
        match agent_mark_seen(tx, *agent, now_us).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for refusal in &turn.refusals {
        let entry = AuditEntry {
            at_us: now_us,
            actor: refusal
                .agent
                .map_or_else(|| "unknown".to_owned(), |a| format!("agent:{a}")),
            action: "connection.refuse".to_owned(),
            subject: refusal.remote.to_string(),
            detail: json!({ "reason": refusal.reason, "more": refusal.more }).to_string(),
        };
        audit_append(tx, &entry).await?;
    }
    Ok(())
}

/// What an agent says of itself, without the one character that PostgreSQL takes in no text.
fn storable(said: &str) -> String {
    said.replace('\0', "")
}

/// One deployment's events from this number on, and every row that shows what they established.
pub(super) async fn write_deployment(
    tx: &mut Tx,
    context: &Context,
    epoch: u64,
    first: u64,
    next: &State,
    events: &[Event],
    now_us: i64,
) -> Result<(), StoreError> {
    // The start comes before the events: they are only taken of a task that runs.
    if events
        .iter()
        .any(|e| matches!(e, Event::DeploymentBegan { .. }))
        || (next.began_at.is_none() && next.is_finished())
    {
        task_mark_started(tx, context.task, epoch, now_us).await?;
    }
    let rows = events
        .iter()
        .map(|event| {
            let body = serde_json::to_string(event)
                .map_err(|error| StoreError::corrupt(format!("an event to be written: {error}")))?;
            Ok(NewTaskEvent {
                at_us: now_us,
                body,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    match task_event_append(tx, context.task, epoch, first, &rows).await? {
        EventsAppended::Now => {}
        // A commit whose answer was lost, and which was kept: with all that follows.
        EventsAppended::Before => return Ok(()),
    }
    for event in events {
        write_event(tx, context, epoch, next, event, now_us).await?;
    }
    people::write_awaiting(tx, context, epoch, next, now_us).await
}

async fn write_event(
    tx: &mut Tx,
    context: &Context,
    epoch: u64,
    next: &State,
    event: &Event,
    now_us: i64,
) -> Result<(), StoreError> {
    match event {
        Event::DeploymentBegan { plan, .. } => {
            if let About::Deployment(deploys) = &context.about {
                let manifest = manifest(context, deploys, plan, now_us)?;
                deployment_manifest_insert(tx, context.task, manifest.as_bytes(), now_us).await?;
            }
            if !plan.warnings.is_empty() {
                task_mark_warned(tx, context.task).await?;
            }
            show_current(tx, context, TaskState::Running, None, now_us).await?;
            let targets = plan.targets.len();
            let detail = json!({ "targets": targets });
            audit_own(tx, context, "begin", detail, now_us).await
        }
        Event::AttemptOrdered {
            attempt,
            node,
            number,
            ..
        } => {
            let Some((plan, known)) = next.plan.as_ref().zip(next.attempts.get(attempt)) else {
                return Ok(());
            };
            let Some(planned) = plan.node(*node) else {
                return Ok(());
            };
            let row = AttemptRow {
                id: *attempt,
                task_id: context.task,
                agent_id: known.agent,
                step: node.step,
                action: node.action,
                subject_id: planned.subject,
                executor_id: planned.executor,
                attempt: *number,
                epoch,
                state: AttemptState::Ordered,
                outcome: None,
                end_body: None,
                created_at_us: now_us,
                ended_at_us: None,
            };
            attempt_insert(tx, &row).await?;
            locks::write_taken(tx, context, plan, (*attempt, *node), now_us).await
        }
        Event::AttemptStarted { attempt, .. } => attempt_mark_running(tx, *attempt).await,
        Event::AttemptFinished {
            attempt,
            outcome,
            end,
            ..
        } => {
            // Without the agent's word the row stays open, so that its word can still be taken.
            match end {
                Some(end) => mark_ended(tx, *attempt, *outcome, Some(end), now_us)
                    .await
                    .map(|_| ()),
                None => locks::write_ended(tx, *attempt, *outcome, false).await,
            }
        }
        Event::AttemptFinishedLate { attempt, end, .. } => {
            mark_ended(tx, *attempt, end.outcome, Some(end), now_us).await?;
            let known = next.attempts.get(attempt);
            if known.is_some_and(|known| known.contradiction().is_some()) {
                task_mark_warned(tx, context.task).await?;
            }
            Ok(())
        }
        Event::AttemptResolved { attempt, by, .. } => {
            resolutions::write_taken(tx, *attempt, by, now_us).await
        }
        Event::CancelRequested { by, .. } => {
            audit_own(tx, context, "cancel", json!({ "by": by }), now_us).await
        }
        Event::DeploymentFinished {
            verdict, message, ..
        } => finish(tx, context, epoch, next, *verdict, message, now_us).await,
        Event::SubjectStarted { subject, .. } => {
            show_target(tx, context, *subject, TargetState::Deploying, now_us).await
        }
        Event::StepStarted { step, .. } => {
            let step = next.plan.as_ref().and_then(|plan| plan.step(*step));
            match step.filter(|step| step.back.is_some()) {
                Some(step) => {
                    let detail = json!({ "step": step.name });
                    audit(tx, context, "deployment.roll_back", detail, now_us).await
                }
                None => Ok(()),
            }
        }
        Event::StepFinished { step, .. } if next.set_aside.values().any(|at| at == step) => {
            task_mark_warned(tx, context.task).await
        }
        Event::StepTimedOut { step, .. } => {
            let name = next.plan.as_ref().and_then(|plan| plan.step(*step));
            let name = name.map_or("", |step| step.name.as_str());
            let detail = json!({ "step": name });
            audit_own(tx, context, "time_out", detail, now_us).await
        }
        Event::DeploymentTimedOut { .. } => {
            audit_own(tx, context, "time_out", json!({}), now_us).await
        }
        Event::InterruptionRaised {
            number,
            question,
            deadline,
            ..
        } => people::write_raised(tx, context, next, *number, question, *deadline, now_us).await,
        Event::InterruptionClosed { number, how, .. } => {
            people::write_closed(tx, context, *number, *how, now_us).await
        }
        Event::SubjectExcluded { .. }
        | Event::NodeFinished {
            waived_by: Some(_), ..
        } => task_mark_warned(tx, context.task).await,
        // Who answered wrote it down.
        Event::InterruptionAnswered { .. }
        | Event::AcquisitionOrdered { .. }
        | Event::AcquisitionPutOff { .. }
        | Event::AcquisitionDone { .. }
        | Event::AcquisitionFailed { .. }
        | Event::StepSkipped { .. }
        | Event::SubjectPassedOver { .. }
        | Event::SubjectFinished { .. }
        | Event::StepFinished { .. }
        | Event::NodeWaiting { .. }
        | Event::NodeBlocked { .. }
        | Event::NodeSkipped { .. }
        | Event::NodeFinished { .. }
        | Event::AttemptSeenRunning { .. }
        | Event::CancelDelivered { .. } => Ok(()),
    }
}

/// Writes down an agent's word on an attempt; false if there is one already.
async fn mark_ended(
    tx: &mut Tx,
    attempt: AttemptId,
    outcome: Outcome,
    end: Option<&AttemptEnd>,
    now_us: i64,
) -> Result<bool, StoreError> {
    let body = serde_json::to_string(&end)
        .map_err(|error| StoreError::corrupt(format!("an attempt's end: {error}")))?;
    let is_first = attempt_mark_ended(tx, attempt, outcome, &body, now_us).await?;
    locks::write_ended(tx, attempt, outcome, true).await?;
    Ok(is_first)
}

/// Writes down what became of a task as a whole, under the name of its kind.
pub(super) async fn audit_own(
    tx: &mut Tx,
    context: &Context,
    verb: &str,
    detail: serde_json::Value,
    now_us: i64,
) -> Result<(), StoreError> {
    let action = format!("{}.{verb}", context.noun());
    audit(tx, context, &action, detail, now_us).await
}

pub(super) async fn audit(
    tx: &mut Tx,
    context: &Context,
    action: &str,
    detail: serde_json::Value,
    now_us: i64,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at_us: now_us,
        actor: SERVER.to_owned(),
        action: action.to_owned(),
        subject: context.number.clone(),
        detail: detail.to_string(),
    };
    audit_append(tx, &entry).await.map(|_| ())
}

/// What the deployment in fact used, so that two deployments can be compared.
pub(super) fn manifest<'c>(
    context: &Context,
    deploys: &'c Deploys,
    plan: &Plan,
    now_us: i64,
) -> Result<&'c str, StoreError> {
    if let Some(made) = deploys.manifest.get() {
        return Ok(made);
    }
    let order = OrderContext {
        plan,
        process: &context.pins.process,
        variables: &context.pins.variables,
        task_number: &context.number,
        outputs: &[],
        failed: None,
        lists: Some(context.lists(plan)),
    };
    let made = manifest::manifest(
        &order,
        &context.pins.packages,
        deploys.digests,
        moment(now_us),
    );
    let made = serde_json::to_string(&made)
        .map_err(|error| StoreError::corrupt(format!("a manifest to be written: {error}")))?;
    Ok(deploys.manifest.get_or_init(|| made))
}

pub(super) fn moment(now_us: i64) -> Timestamp {
    Timestamp::from_microsecond(now_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::{Remedy, remedy};
    use crate::store::StoreError;

    #[test]
    fn only_what_passes_by_itself_is_waited_for() {
        for (error, expected) in [
            (StoreError::Busy(None), Remedy::TryAgain),
            (StoreError::Unavailable(None), Remedy::TryAgain),
            (StoreError::not_found("task"), Remedy::Apart),
            (StoreError::conflict("task"), Remedy::Apart),
            (StoreError::corrupt("column id"), Remedy::Apart),
            (StoreError::Aborted, Remedy::Apart),
        ] {
            assert_eq!(remedy(&error), expected, "{error}");
        }
    }
}
