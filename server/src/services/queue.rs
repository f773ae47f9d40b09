//! The queue: what waits, in which order, and why.
//!
//! The orchestrator and whoever looks at the queue read the same facts and let the same rule
//! decide, so that what is shown is what happens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mantle_domain::permission::Permission;
use mantle_domain::queue::{
    Awaited, Lane, Look, Place, Queued, Reason, Running, Turn, URGENT_IN_A_ROW, arrange, next_look,
};
use mantle_shared::ids::TaskId;
use serde_json::json;

use super::error::{Error, Result};
use super::tasks::{number, show_dropped, task_shape, task_state};
use super::{Caller, Deed, Services, at, names};
use crate::api::body::{Page, Task};
use crate::store::{
    AuditEntry, StoreError, TaskKind, TaskOutcome, TaskRow, TaskState, Tx, audit_append,
    max_running, task_fetch, task_mark_dropped, task_mark_moved_up, task_queue_list,
    task_queue_list_running, task_start_list,
};

/// The most tasks that are looked at. More than that wait only if something queues without end;
/// the oldest are looked at then.
const LOOK_AT: u32 = 10_000;
/// Who acts when a task's time is over.
const SERVER: &str = "server";

/// So many health checks run at once: they take no places of deployments, and are over soon.
const CHECKS_AT_ONCE: usize = 50;

/// What the order of the queue rests on: two queues, neither of which waits for the other.
#[derive(Debug, Clone)]
pub struct Queue {
    deployments: Lot,
    checks: Lot,
}

/// The tasks that take turns with each other.
#[derive(Debug, Clone, Default)]
pub struct Lot {
    queued: Vec<Queued>,
    running: Vec<Running>,
    recent: Vec<Lane>,
    limit: usize,
}

impl Queue {
    /// Reads it.
    pub async fn read(tx: &mut Tx) -> std::result::Result<Self, StoreError> {
        let limit = max_running(tx).await?;
        let queued = task_queue_list(tx, LOOK_AT).await?;
        let running = task_queue_list_running(tx).await?;
        let most = u32::try_from(URGENT_IN_A_ROW).unwrap_or(u32::MAX);
        let recent = task_start_list(tx, most).await?;
        let mut queue = Self {
            deployments: Lot {
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
                recent: recent
                    .into_iter()
                    .map(|(priority, moved_up)| Lane::of(priority, moved_up.map(at)))
                    .collect(),
                ..Lot::default()
            },
            checks: Lot {
                limit: CHECKS_AT_ONCE,
                ..Lot::default()
            },
        };
        for row in queued {
            queue.lot_of(row.kind).queued.push(Queued {
                task: row.id,
                number: row.number,
                owner: row.project_id,
                key: row.queue_key,
                priority: row.priority,
                moved_up: row.moved_up_at_us.map(at),
                not_before: row.not_before_us.map(at),
                expires: row.expires_at_us.map(at),
                awaits: None,
            });
        }
        for row in running {
            queue.lot_of(row.kind).running.push(Running {
                number: row.number,
                owner: row.project_id,
                lane: Lane::of(row.priority, row.moved_up_at_us.map(at)),
                key: row.queue_key,
                awaits_person: row.awaits_person_since_us.is_some(),
            });
        }
        Ok(queue)
    }

    fn lot_of(&mut self, kind: TaskKind) -> &mut Lot {
        match kind {
            TaskKind::HealthCheck => &mut self.checks,
            TaskKind::Deployment | TaskKind::Upgrade | TaskKind::Runbook => &mut self.deployments,
        }
    }

    /// Notes which tasks wait for agents since their turn came.
    #[must_use]
    pub fn awaiting(mut self, awaits: impl Fn(TaskId) -> Option<Awaited>) -> Self {
        for task in self.lots_mut().flat_map(|lot| &mut lot.queued) {
            task.awaits = awaits(task.task);
        }
        self
    }

    /// The two queues.
    pub fn lots(&self) -> [&Lot; 2] {
        [&self.deployments, &self.checks]
    }

    fn lots_mut(&mut self) -> impl Iterator<Item = &mut Lot> {
        [&mut self.deployments, &mut self.checks].into_iter()
    }

    /// Every waiting task's place: those of checks come last, though they wait for no deployment.
    pub fn places(&self, now: Timestamp) -> Vec<Place> {
        let lots = self.lots().into_iter();
        let all = lots.flat_map(|lot| lot.places(now));
        (1..)
            .zip(all)
            .map(|(position, place)| Place { position, ..place })
            .collect()
    }

    /// When it must be looked at again though nothing happens.
    pub fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        let lots = self.lots().into_iter();
        lots.filter_map(|lot| next_look(&lot.queued, now)).min()
    }

    /// The tasks that wait.
    pub fn waiting(&self) -> BTreeSet<TaskId> {
        let lots = self.lots().into_iter();
        lots.flat_map(|lot| &lot.queued)
            .map(|task| task.task)
            .collect()
    }
}

impl Lot {
    /// Every waiting task's place.
    pub fn places(&self, now: Timestamp) -> Vec<Place> {
        arrange(&Look {
            queued: &self.queued,
            running: &self.running,
            recent: &self.recent,
            limit: self.limit,
            now,
        })
    }

    /// How many more may start.
    pub fn room(&self) -> usize {
        let running = self.running.iter().filter(|run| !run.awaits_person);
        self.limit.saturating_sub(running.count())
    }
}

/// Use cases of the queue.
impl Services {
    /// The tasks that wait, in the order in which they start.
    pub async fn task_queue(&self, caller: &Caller) -> Result<Page<Task>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let places = self.queue_read(&mut tx).await?.places(self.now());
        let mut items = Vec::with_capacity(places.len());
        for place in &places {
            let row = task_fetch(&mut tx, place.task).await?;
            items.push(placed(&row, place));
        }
        drop(tx);
        self.hold_for_room(&mut items).await;
        Ok(Page { items, next: None })
    }

    /// Moves a task that waits to the top of the queue.
    pub async fn task_move_to_top(&self, caller: &Caller, text: &str) -> Result<Task> {
        caller.may(Permission::Prioritise)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = names::task(&mut tx, text).await?;
        let shown = number(row.number);
        match row.state {
            TaskState::Queued => {}
            TaskState::Running | TaskState::Done => {
                let state = task_state(&row).as_str();
                return Err(Error::refused(
                    "task-not-queued",
                    format!("{shown} cannot be moved: it does not wait any more ({state})"),
                    "'mantle task queue' shows what waits",
                ));
            }
        }
        task_mark_moved_up(&mut tx, row.id, now.as_microsecond()).await?;
        let deed = Deed {
            action: "task.move-to-top",
            subject: &shown,
            id: Some(row.id.as_uuid()),
            detail: json!({"title": row.title}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = task_fetch(&mut tx, row.id).await?;
        let task = self.task_in_queue(&mut tx, &row, now).await?;
        tx.commit().await?;
        self.wake.task_queued(row.id);
        Ok(task)
    }

    /// A task as the API shows it, with its place and what it waits for while it is queued.
    pub(super) async fn task_in_queue(
        &self,
        tx: &mut Tx,
        row: &TaskRow,
        now: Timestamp,
    ) -> Result<Task> {
        match row.state {
            TaskState::Running | TaskState::Done => return Ok(task_shape(row)),
            TaskState::Queued => {}
        }
        let places = self.queue_read(tx).await?.places(now);
        let own = places.iter().find(|place| place.task == row.id);
        Ok(own.map_or_else(|| task_shape(row), |place| placed(row, place)))
    }

    /// The queue, with what the orchestrator knows of it.
    async fn queue_read(&self, tx: &mut Tx) -> Result<Queue> {
        let queue = Queue::read(tx).await?;
        Ok(queue.awaiting(|task| self.presence.awaited(task)))
    }
}

fn placed(row: &TaskRow, place: &Place) -> Task {
    let mut task = task_shape(row);
    task.position = u32::try_from(place.position).ok();
    task.waiting = Some(place.turn.sentence());
    task.behind = match &place.turn {
        Turn::Waits(Reason::Behind { number: ahead, .. }) if row.kind == TaskKind::HealthCheck => {
            let ahead = number(*ahead);
            task.waiting = Some(format!("waits for {ahead}, another run of the same check"));
            None
        }
        Turn::Waits(Reason::Behind { number: ahead, .. }) => Some(number(*ahead)),
        Turn::Waits(Reason::Scheduled { .. } | Reason::Full { .. } | Reason::Agents(_))
        | Turn::Now
        | Turn::Expired { .. } => None,
    };
    task
}

/// Ends a task whose time was over before its turn came.
pub async fn expire(
    tx: &mut Tx,
    id: TaskId,
    now: Timestamp,
) -> std::result::Result<(), StoreError> {
    let row = task_fetch(tx, id).await?;
    let (outcome, at_us) = (TaskOutcome::TimedOut, now.as_microsecond());
    task_mark_dropped(tx, id, outcome, at_us).await?;
    show_dropped(tx, &row, outcome, at_us).await?;
    let entry = AuditEntry {
        at_us,
        actor: SERVER.to_owned(),
        action: "task.expire".to_owned(),
        subject: number(row.number),
        detail: json!({"title": row.title, "expires": row.expires_at_us.map(at), "id": id})
            .to_string(),
    };
    audit_append(tx, &entry).await.map(|_| ())
}
