//! Tasks: list, show, cancel, their events and logs in pages.

use std::collections::HashMap;

use mantle_domain::permission::Permission;
use mantle_domain::queue::{Priority, schedule};
use mantle_domain::state::went_on_despite;
use mantle_shared::Digest;
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::protocol::{Level, RecordBody, Stream};
use serde_json::json;

use super::deployments::DeploymentOrder;
use super::error::{Error, Result};
use super::task_events::{EventReader, moment};
use super::{Caller, Deed, Services, at, interruptions, names, plan_shape};
use crate::api::body::{
    LogKind, LogLine, Page, Task, TaskDetail, TaskEvent, TaskPriority, TaskState, TaskWarning,
};
use crate::store::{
    self, LogRecord, StoreError, TaskFilter, TaskKind, TaskOutcome, TaskRow, Tx,
    attempt_list_of_task, deployment_current_list, deployment_current_show,
    deployment_manifest_find, log_read, log_read_remarks, task_event_list, task_fetch, task_list,
    task_mark_cancel_asked, task_mark_dropped,
};

/// How many events or lines are read at once.
const BATCH: u32 = 500;
/// The plan is among the first events.
const FIRST: u32 = 4;
/// How many warnings a task shows; its log has all.
const WARNED_MOST: usize = 20;
/// How many highlights.
const HIGHLIGHTS_MOST: usize = 50;
/// In so much of a log they are looked for: a long one must not hold up who asks how it stands.
const REMARKS_BATCHES: usize = 100;

/// Use cases of tasks.
impl Services {
    /// Tasks, the newest first.
    pub async fn task_list(
        &self,
        caller: &Caller,
        project: Option<&str>,
        kind: Option<&str>,
        (before, limit): (Option<&str>, u32),
    ) -> Result<Page<Task>> {
        caller.may(Permission::Read)?;
        let mut filter = of_kind(kind)?;
        let mut tx = self.store.read().await?;
        if let Some(slug) = project {
            filter.project_id = Some(names::project(&mut tx, slug).await?.id);
        }
        if let Some(text) = before {
            filter.before = Some(names::task_number(text)?);
        }
        let rows = task_list(&mut tx, &filter, limit).await?;
        let full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| full).map(|row| number(row.number));
        drop(tx);
        let mut items: Vec<Task> = rows.iter().map(task_shape).collect();
        self.hold_for_room(&mut items).await;
        Ok(Page { items, next })
    }

    /// A task with its matrix.
    pub async fn task_show(&self, caller: &Caller, text: &str) -> Result<TaskDetail> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::task(&mut tx, text).await?;
        let reader = read_events(&mut tx, row.id).await?;
        let mut task = self.task_in_queue(&mut tx, &row, self.now()).await?;
        if task.message.is_empty() {
            task.message = reader.message();
        }
        let order: DeploymentOrder = serde_json::from_str(&row.body).unwrap_or_default();
        let manifest = deployment_manifest_find(&mut tx, row.id).await?;
        let interruptions = interruptions::of_task(&mut tx, &row).await?;
        let unresolved = self.task_unresolved(&mut tx, &row, reader.state()).await?;
        drop(tx);
        self.hold_for_room([&mut task]).await;
        let (warned, highlights) = self.task_remarks(&row, &reader).await?;
        Ok(TaskDetail {
            comment: order.comment,
            fields: order.fields,
            interruptions,
            unresolved,
            warned,
            highlights,
            manifest: manifest.map(|body| Digest::of(&body).to_string()),
            task,
            left_out: reader.plan().map(plan_shape::left_out).unwrap_or_default(),
            steps: reader.steps(),
            packages: self.packages_on_the_way(row.id, reader.state()),
            last_event: reader.last(),
        })
    }

    /// Asks a task to stop. One that has not begun is over at once.
    pub async fn task_cancel(&self, caller: &Caller, text: &str) -> Result<Task> {
        match self.try_cancel(caller, text).await {
            // What is to stop must not wait for somebody who tidies up.
            Err(Error::StorageFull { .. }) if self.free_reserve().await => {
                self.try_cancel(caller, text).await
            }
            done => done,
        }
    }

    async fn try_cancel(&self, caller: &Caller, text: &str) -> Result<Task> {
        caller.may(Permission::Deploy)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = names::task(&mut tx, text).await?;
        let shown = number(row.number);
        match row.state {
            store::TaskState::Done => {
                let state = task_state(&row).as_str();
                return Err(Error::refused(
                    "task-over",
                    format!("{shown} cannot be cancelled: it is over ({state})"),
                    format!("'mantle task show {shown}' shows how it went"),
                ));
            }
            store::TaskState::Queued => {
                let at_us = now.as_microsecond();
                let outcome = TaskOutcome::Cancelled;
                task_mark_cancel_asked(&mut tx, row.id, &caller.actor.name, at_us).await?;
                task_mark_dropped(&mut tx, row.id, outcome, at_us).await?;
                show_dropped(&mut tx, &row, outcome, at_us).await?;
            }
            store::TaskState::Running => {
                let by = &caller.actor.name;
                task_mark_cancel_asked(&mut tx, row.id, by, now.as_microsecond()).await?;
            }
        }
        let deed = Deed {
            action: "task.cancel",
            subject: &shown,
            id: Some(row.id.as_uuid()),
            detail: json!({"title": row.title}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = task_fetch(&mut tx, row.id).await?;
        tx.commit().await?;
        self.wake.cancel_requested(row.id);
        self.feed.task_changed(row.id);
        Ok(task_shape(&row))
    }

    /// A page of a task's events after a sequence.
    pub async fn task_events(
        &self,
        caller: &Caller,
        text: &str,
        after: u64,
    ) -> Result<Page<TaskEvent>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::task(&mut tx, text).await?;
        let mut items = Vec::new();
        let mut reader = EventReader::default();
        let mut more = true;
        while more && items.len() < BATCH as usize {
            let events = task_event_list(&mut tx, row.id, reader.last(), BATCH).await?;
            more = events.len() == BATCH as usize;
            for event in &events {
                if let Some(item) = reader.take(event)?.filter(|item| item.seq > after) {
                    items.push(item);
                }
            }
        }
        Ok(Page {
            next: more.then(|| reader.last().to_string()),
            items,
        })
    }

    /// A page of a task's log after a sequence.
    pub async fn task_log(&self, caller: &Caller, text: &str, after: u64) -> Result<Page<LogLine>> {
        caller.may(Permission::Read)?;
        let task = {
            let mut tx = self.store.read().await?;
            names::task(&mut tx, text).await?.id
        };
        let mut reader = LogReader::new(task, after);
        let lines = reader.read(self).await?;
        Ok(Page {
            next: reader.more.then(|| reader.after.to_string()),
            items: lines,
        })
    }

    /// What in a task is worth a look: what its plan said, then what its log says, as far as that
    /// can be read in a moment. First what may be wrong, then what its steps highlighted.
    async fn task_remarks(
        &self,
        row: &TaskRow,
        events: &EventReader,
    ) -> Result<(Vec<TaskWarning>, Vec<TaskWarning>)> {
        let mut warned = Vec::new();
        let mut highlights = Vec::new();
        if row.has_warnings {
            let planned = events.plan().map_or(&[][..], |plan| &plan.warnings);
            warned.extend(planned.iter().map(|text| TaskWarning {
                target: String::new(),
                action: String::new(),
                text: text.clone(),
            }));
            let despite = went_on_despite(events.state());
            warned.extend(despite.into_iter().map(|text| TaskWarning {
                target: String::new(),
                action: String::new(),
                text,
            }));
        }
        let mut log = LogReader::new(row.id, 0);
        for _ in 0..REMARKS_BATCHES {
            for line in log.read_remarks(self).await? {
                if line.level == level_word(Level::Highlight) {
                    highlights.push(as_remark(line));
                } else if row.has_warnings {
                    warned.push(as_remark(line));
                }
            }
            let enough = warned.len() >= WARNED_MOST && highlights.len() >= HIGHLIGHTS_MOST;
            if !log.more || enough {
                break;
            }
        }
        // Of a task that goes on the words may still come: the mark is set before they are stored.
        if row.has_warnings && warned.is_empty() && row.state == store::TaskState::Done {
            warned.push(wordless(row, &log));
        }
        warned.truncate(WARNED_MOST);
        highlights.truncate(HIGHLIGHTS_MOST);
        Ok((warned, highlights))
    }

    /// The task of a number, as it stands.
    pub(super) async fn task_row(&self, task: TaskId) -> Result<TaskRow> {
        let mut tx = self.store.read().await?;
        Ok(task_fetch(&mut tx, task).await?)
    }
}

/// Every kind that can be asked for by name, beside its own.
const EVERY_KIND: &str = "all";

/// The tasks of a kind. Health checks come by themselves, hour by hour: they are not among the others
/// unless they are asked for.
fn of_kind(kind: Option<&str>) -> Result<TaskFilter> {
    let mut filter = TaskFilter::default();
    match kind {
        None => filter.not_kind = Some(TaskKind::HealthCheck),
        Some(EVERY_KIND) => {}
        Some(word) => {
            let kinds: Vec<&str> = TaskKind::ALL.iter().map(|kind| kind.word()).collect();
            let unknown = || {
                Error::not_found(
                    "kind of task",
                    word,
                    kinds.iter().copied(),
                    format!("write {EVERY_KIND}, or one of {}", kinds.join(", ")),
                )
            };
            filter.kind = Some(TaskKind::from_word(word).ok_or_else(unknown)?);
        }
    }
    Ok(filter)
}

/// Folds all events of a task.
pub(super) async fn read_events(tx: &mut Tx, task: TaskId) -> Result<EventReader> {
    let mut reader = EventReader::default();
    loop {
        let events = task_event_list(tx, task, reader.last(), BATCH).await?;
        for event in &events {
            reader.take(event)?;
        }
        if events.len() < BATCH as usize {
            return Ok(reader);
        }
    }
}

/// Folds the events of a task up to its plan, which is all that names are taken from: a step on a thousand
/// targets has thousands of events behind it.
async fn read_plan(tx: &mut Tx, task: TaskId) -> Result<EventReader> {
    let mut reader = EventReader::default();
    while reader.plan().is_none() {
        let events = task_event_list(tx, task, reader.last(), FIRST).await?;
        for event in &events {
            reader.take(event)?;
        }
        if events.len() < FIRST as usize {
            break;
        }
    }
    Ok(reader)
}

/// Reads a task's log piece by piece, with names for the attempts.
#[derive(Debug)]
pub(super) struct LogReader {
    task: TaskId,
    /// The last record that was read.
    pub(super) after: u64,
    /// There was more than one piece.
    pub(super) more: bool,
    places: HashMap<AttemptId, Place>,
}

/// Whose an attempt is, in the words of the plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) step: u32,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) executor: String,
    pub(super) attempt: u32,
}

impl LogReader {
    /// Reads what comes after a sequence.
    pub(super) fn new(task: TaskId, after: u64) -> Self {
        Self {
            task,
            after,
            more: false,
            places: HashMap::new(),
        }
    }

    /// The next piece. Records that are not shown count as read.
    pub(super) async fn read(&mut self, services: &Services) -> Result<Vec<LogLine>> {
        let records = {
            let mut logs = services.store.read_logs().await?;
            log_read(&mut logs, self.task, self.after, BATCH).await?
        };
        self.take(services, records).await
    }

    /// The same, of warnings, highlights and gaps alone.
    async fn read_remarks(&mut self, services: &Services) -> Result<Vec<LogLine>> {
        let records = {
            let mut logs = services.store.read_logs().await?;
            log_read_remarks(&mut logs, self.task, self.after, BATCH).await?
        };
        self.take(services, records).await
    }

    async fn take(&mut self, services: &Services, records: Vec<LogRecord>) -> Result<Vec<LogLine>> {
        self.more = records.len() >= BATCH as usize;
        let unknown = records
            .iter()
            .filter_map(|record| record.attempt)
            .any(|(attempt, _)| !self.places.contains_key(&attempt));
        if unknown {
            self.places = places(services, self.task).await?;
        }
        let mut lines = Vec::with_capacity(records.len());
        for record in records {
            self.after = record.seq;
            lines.extend(self.shape(record));
        }
        Ok(lines)
    }

    fn shape(&self, record: LogRecord) -> Option<LogLine> {
        let place = record
            .attempt
            .and_then(|(attempt, _)| self.places.get(&attempt).cloned())
            .unwrap_or_default();
        let continues = matches!(record.record.body, RecordBody::Piece { .. });
        let (kind, level, text, percent) = match record.record.body {
            RecordBody::Line {
                stream,
                level,
                text,
            }
            | RecordBody::Piece {
                stream,
                level,
                text,
            } => (
                log_kind(stream, record.attempt.is_some()),
                level,
                text,
                None,
            ),
            RecordBody::Gap {
                lines,
                bytes,
                reason,
            } => (
                LogKind::Gap,
                Level::Warning,
                format!("{lines} lines ({bytes} bytes) of output could not be kept: {reason}"),
                None,
            ),
            RecordBody::Progress { percent, message } => {
                (LogKind::Agent, Level::Verbose, message, Some(percent))
            }
            RecordBody::Artifact {
                name, size_bytes, ..
            } => (
                LogKind::Agent,
                Level::Info,
                format!("collected the file '{name}' ({size_bytes} bytes)"),
                None,
            ),
            RecordBody::Variable { .. } => return None,
        };
        Some(LogLine {
            seq: record.seq,
            at: moment(record.record.at_us),
            step: place.step,
            action: place.action,
            target: place.target,
            executor: place.executor,
            attempt: place.attempt,
            kind,
            level: level_word(level).to_owned(),
            text,
            continues,
            percent,
        })
    }
}

/// Whose the attempts of a task are.
pub(super) async fn places(services: &Services, task: TaskId) -> Result<HashMap<AttemptId, Place>> {
    let mut tx = services.store.read().await?;
    let reader = read_plan(&mut tx, task).await?;
    let attempts = attempt_list_of_task(&mut tx, task).await?;
    let plan = reader.plan();
    let name = |id| {
        plan.and_then(|plan| plan.target(id))
            .map(|target| target.name.clone())
            .unwrap_or_default()
    };
    Ok(attempts
        .into_iter()
        .map(|row| {
            let step = plan.and_then(|plan| plan.step(row.step));
            let action = step.and_then(|step| step.actions.get(row.action as usize));
            let place = Place {
                step: row.step + 1,
                action: action.map(|action| action.name.clone()).unwrap_or_default(),
                target: name(row.subject_id),
                executor: name(row.executor_id),
                attempt: row.attempt,
            };
            (row.id, place)
        })
        .collect())
}

fn log_kind(stream: Stream, of_attempt: bool) -> LogKind {
    match stream {
        Stream::Stdout => LogKind::Stdout,
        Stream::Stderr => LogKind::Stderr,
        Stream::Agent if of_attempt => LogKind::Agent,
        Stream::Agent => LogKind::Server,
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Verbose => "verbose",
        Level::Info => "info",
        Level::Highlight => "highlight",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

/// A task's number for people.
pub(super) fn number(number: u64) -> String {
    format!("T-{number}")
}

/// A line of a log that makes its task worth a look.
fn as_remark(line: LogLine) -> TaskWarning {
    let text = if line.text.trim().is_empty() {
        format!("step {} printed a {} without text", line.step, line.level)
    } else {
        line.text
    };
    TaskWarning {
        target: line.target,
        action: line.action,
        text,
    }
}

/// What is said where nothing is left of what a task was marked for.
fn wordless(row: &TaskRow, log: &LogReader) -> TaskWarning {
    let text = if let Some(removed) = row.log_removed_at_us.map(at) {
        let day = removed.strftime("%Y-%m-%d");
        format!("its warnings stood in its log, which was removed on {day}")
    } else if log.more {
        "its warnings stand far down in its log, after many highlights".to_owned()
    } else {
        "something was worth a warning of which no text is left in its log".to_owned()
    };
    TaskWarning {
        target: String::new(),
        action: String::new(),
        text,
    }
}

/// A task as the API shows it.
pub(super) fn task_shape(row: &TaskRow) -> Task {
    let order: DeploymentOrder = serde_json::from_str(&row.body).unwrap_or_default();
    Task {
        id: row.id,
        number: number(row.number),
        kind: row.kind.word().to_owned(),
        title: row.title.clone(),
        project: order.project,
        version: order.version,
        environment: order.environment,
        state: task_state(row),
        warnings: row.has_warnings,
        message: dropped_because(row).unwrap_or_default(),
        behind: None,
        priority: match row.priority {
            Priority::Normal => TaskPriority::Normal,
            Priority::High => TaskPriority::High,
        },
        position: None,
        waiting: awaits_person(row),
        awaits_room: false,
        at: row.not_before_us.map(at),
        expires: row.expires_at_us.map(at),
        created_at: at(row.created_at_us),
        created_by: row.created_by.clone(),
        started_at: row.started_at_us.map(at),
        ended_at: row.ended_at_us.map(at),
        log_removed_at: row.log_removed_at_us.map(at),
    }
}

/// What a running task waits for, if nothing but a person is awaited in it.
fn awaits_person(row: &TaskRow) -> Option<String> {
    row.awaits_person_since_us?;
    let number = number(row.number);
    Some(format!(
        "waits for a person; 'mantle interruption list --task {number}' shows what it asks"
    ))
}

/// Why a task is over that never began; its events say it of one that did.
fn dropped_because(row: &TaskRow) -> Option<String> {
    let over = row.state == store::TaskState::Done && row.started_at_us.is_none();
    match (row.outcome.filter(|_| over)?, row.expires_at_us) {
        (TaskOutcome::TimedOut, Some(expired)) => Some(schedule::expired(at(expired))),
        (TaskOutcome::Cancelled, _) => {
            let by = row.cancel_by.as_deref()?;
            Some(format!("cancelled by {by} before it began"))
        }
        (_, _) => None,
    }
}

/// How a task stands, in the API's words.
pub(super) fn task_state(row: &TaskRow) -> TaskState {
    state_word(row.state, row.outcome, row.cancel_at_us.is_some())
}

/// The same, from the parts.
pub(super) fn state_word(
    state: store::TaskState,
    outcome: Option<TaskOutcome>,
    cancelling: bool,
) -> TaskState {
    match (state, outcome) {
        (store::TaskState::Queued | store::TaskState::Running, _) if cancelling => {
            TaskState::Cancelling
        }
        (store::TaskState::Queued, _) => TaskState::Queued,
        (store::TaskState::Running, _) => TaskState::Running,
        (store::TaskState::Done, Some(TaskOutcome::Succeeded)) => TaskState::Succeeded,
        (store::TaskState::Done, Some(TaskOutcome::Cancelled)) => TaskState::Cancelled,
        (store::TaskState::Done, Some(TaskOutcome::TimedOut)) => TaskState::TimedOut,
        (store::TaskState::Done, Some(TaskOutcome::Failed | TaskOutcome::Unknown) | None) => {
            TaskState::Failed
        }
    }
}

/// Keeps the dashboard current when a deployment is dropped before it began.
pub(super) async fn show_dropped(
    tx: &mut Tx,
    row: &TaskRow,
    outcome: TaskOutcome,
    at_us: i64,
) -> std::result::Result<(), StoreError> {
    let rows = deployment_current_list(tx, row.project_id).await?;
    if let Some(mut current) = rows.into_iter().find(|current| current.task_id == row.id) {
        current.state = store::TaskState::Done;
        current.outcome = Some(outcome);
        current.changed_at_us = at_us;
        deployment_current_show(tx, &current).await?;
    }
    Ok(())
}
