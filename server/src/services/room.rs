//! A full disk of the server: who asks how it stands is told, whatever else cannot be said any more.

use mantle_domain::permission::Permission;

use super::error::{Error, Result};
use super::tasks::number;
use super::{Caller, Services, at};
use crate::api::body::{ServerRoom, Task, TaskState};
use crate::store::{RoomLeft, Tx, task_queue_list, task_queue_list_running};

/// How often it is looked whether room can be set aside for a full disk.
pub const RESERVE_EVERY: std::time::Duration = std::time::Duration::from_mins(1);

/// So many tasks that wait are named.
const NAMED: u32 = 100;

/// What a full disk is, and what to do.
#[derive(Debug, Clone)]
pub(super) struct Full {
    what: String,
    todo: String,
}

impl Full {
    /// Nothing while there is room.
    pub(super) fn of(room: &RoomLeft) -> Option<Self> {
        room.full_since_us?;
        let Some(place) = &room.place else {
            return Some(Self {
                what: "the database server has no room left".to_owned(),
                todo: "free some on its disk".to_owned(),
            });
        };
        let left = place.free_bytes.map_or_else(
            || "no room".to_owned(),
            |free| format!("{} KiB", free / 1024),
        );
        let file_system = place.file_system.display();
        Some(Self {
            what: format!(
                "the server's disk is full: the file system {file_system} has {left} left for {}",
                place.folder.display()
            ),
            todo: format!("free some room on {file_system}, or enlarge it"),
        })
    }

    /// In a sentence without a subject, of a task.
    pub(super) fn waits(&self) -> String {
        let Self { what, todo } = self;
        format!("waits for room: {what}; {todo}, and it goes on by itself")
    }

    /// Says so of a task that is not over and waits for nothing else.
    pub(super) fn hold(&self, task: &mut Task) {
        let is_scheduled = task.at.is_some_and(|at| at > jiff::Timestamp::now());
        let awaits_person = task.state == TaskState::Running && task.waiting.is_some();
        if !task.state.is_over() && !is_scheduled && !awaits_person {
            task.awaits_room = true;
            task.waiting = Some(self.waits());
        }
    }
}

impl Services {
    /// Nothing while there is room.
    pub(super) async fn full(&self) -> Option<Full> {
        Full::of(&self.room().await)
    }

    /// Says of each task that it waits for room, if it does.
    pub(super) async fn hold_for_room<'t>(&self, tasks: impl IntoIterator<Item = &'t mut Task>) {
        if let Some(full) = self.full().await {
            for task in tasks {
                full.hold(task);
            }
        }
    }

    async fn room(&self) -> RoomLeft {
        let store = self.store.clone();
        // A file system that does not answer must not hold up the others.
        let looked = tokio::task::spawn_blocking(move || store.room_left()).await;
        looked.unwrap_or(RoomLeft {
            place: None,
            full_since_us: None,
        })
    }

    /// Frees what is set aside of the server's disk, if anything is.
    pub(super) async fn free_reserve(&self) -> bool {
        let Some(reserve) = self.store.reserve() else {
            return false;
        };
        let freed = tokio::task::spawn_blocking(move || reserve.give_up()).await;
        let freed = freed.unwrap_or_default();
        if freed {
            tracing::warn!(
                "the server's disk is full; what was set aside of it is freed for a cancel"
            );
        }
        freed
    }

    /// Sets some of the server's disk aside, if there is plenty and none is.
    pub async fn keep_reserve(&self) {
        let Some(reserve) = self.store.reserve() else {
            return;
        };
        let kept = tokio::task::spawn_blocking(move || reserve.keep()).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no room can be set aside for a full disk; it is tried again"
            );
        }
    }

    /// Refuses with what is to be done, if there is no room.
    pub(super) async fn must_have_room(&self) -> Result<()> {
        match self.full().await {
            None => Ok(()),
            Some(Full { what, todo }) => Err(Error::StorageFull {
                detail: format!("{what}: nothing can be written down; {todo}"),
            }),
        }
    }

    /// How much room there is, and who waits for some.
    pub(super) async fn server_room(&self, caller: &Caller, tx: &mut Tx) -> Result<ServerRoom> {
        caller.may(Permission::Read)?;
        let room = self.room().await;
        let (mut waiting, mut waiting_count) = (Vec::new(), 0);
        if room.full_since_us.is_some() {
            let running = task_queue_list_running(tx).await?;
            let queued = task_queue_list(tx, NAMED).await?;
            let numbers = running.iter().map(|row| row.number);
            let numbers = numbers.chain(queued.iter().map(|row| row.number));
            waiting = numbers.map(number).collect();
            waiting_count = waiting.len() as u64;
            waiting.truncate(NAMED as usize);
        }
        let place = room.place.as_ref();
        Ok(ServerRoom {
            folder: place.map(|place| place.folder.display().to_string()),
            file_system: place.map(|place| place.file_system.display().to_string()),
            free_bytes: place.and_then(|place| place.free_bytes),
            full_since: room.full_since_us.map(at),
            waiting,
            waiting_count,
        })
    }
}
