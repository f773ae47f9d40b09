//! Live streams of a task's events and log, out of the store.
//!
//! A follower subscribes first and reads then, so that what is committed in between wakes it. It
//! reads the task's state before it drains: when that state was over, what the drain found is all.

use std::time::Duration;

use mantle_domain::permission::Permission;
use mantle_shared::ids::TaskId;
use tokio::sync::{mpsc, watch};

use super::error::Result;
use super::task_events::EventReader;
use super::tasks::{LogReader, task_shape};
use super::{Caller, Services, names};
use crate::api::body::{LogLine, Task, TaskEvent};
use crate::store::{TaskState, task_event_list};

/// How many items wait for a slow reader before its producer waits too.
const BUFFER: usize = 64;
/// Wake-ups cannot be lost inside one server; with several on one database they can.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
const BATCH: u32 = 500;

/// What a stream carries.
#[derive(Debug, Clone)]
pub enum Followed {
    /// Something happened.
    Event(Box<TaskEvent>),
    /// Something was printed.
    Line(Box<LogLine>),
    /// The task is over and everything was sent.
    Done(Box<Task>),
}

/// Use cases of those who watch.
impl Services {
    /// A task's events after a sequence, until it is over.
    pub async fn follow_events(
        &self,
        caller: &Caller,
        text: &str,
        after: u64,
    ) -> Result<mpsc::Receiver<Followed>> {
        let (task, wake) = self.watch(caller, text).await?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        let follower = Follower::new(self, task, wake, sender);
        tokio::spawn(follower.run_events(after));
        Ok(receiver)
    }

    /// A task's log after a sequence, until it is over.
    pub async fn follow_log(
        &self,
        caller: &Caller,
        text: &str,
        after: u64,
    ) -> Result<mpsc::Receiver<Followed>> {
        let (task, wake) = self.watch(caller, text).await?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        let follower = Follower::new(self, task, wake, sender);
        tokio::spawn(follower.run_log(after));
        Ok(receiver)
    }

    async fn watch(&self, caller: &Caller, text: &str) -> Result<(TaskId, watch::Receiver<u64>)> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let task = names::task(&mut tx, text).await?.id;
        Ok((task, self.feed.subscribe(task)))
    }
}

struct Follower {
    services: Services,
    task: TaskId,
    wake: watch::Receiver<u64>,
    sender: mpsc::Sender<Followed>,
}

/// The reader has gone, or the server stops.
struct Stop;

impl Follower {
    fn new(
        services: &Services,
        task: TaskId,
        wake: watch::Receiver<u64>,
        sender: mpsc::Sender<Followed>,
    ) -> Self {
        Self {
            services: services.clone(),
            task,
            wake,
            sender,
        }
    }

    async fn run_events(mut self, after: u64) {
        let mut reader = EventReader::default();
        loop {
            match self.step_events(&mut reader, after).await {
                Ok(Ok(())) => {}
                Ok(Err(Stop)) => return,
                // The stream just ends: whoever reads it comes back where it was.
                Err(error) => return report(&error),
            }
        }
    }

    async fn step_events(
        &mut self,
        reader: &mut EventReader,
        after: u64,
    ) -> Result<std::result::Result<(), Stop>> {
        self.wake.borrow_and_update();
        let row = self.services.task_row(self.task).await?;
        loop {
            let events = {
                let mut tx = self.services.store.read().await?;
                task_event_list(&mut tx, self.task, reader.last(), BATCH).await?
            };
            for event in &events {
                let shaped = reader.take(event)?.filter(|event| event.seq > after);
                if let Some(event) = shaped
                    && let Err(stop) = self.send(Followed::Event(Box::new(event))).await
                {
                    return Ok(Err(stop));
                }
            }
            if events.len() < BATCH as usize {
                break;
            }
        }
        if row.state == TaskState::Done {
            let mut task = task_shape(&row);
            if task.message.is_empty() {
                task.message = reader.message();
            }
            let _ = self.send(Followed::Done(Box::new(task))).await;
            return Ok(Err(Stop));
        }
        Ok(self.wait().await)
    }

    async fn run_log(mut self, after: u64) {
        let mut reader = LogReader::new(self.task, after);
        loop {
            match self.step_log(&mut reader).await {
                Ok(Ok(())) => {}
                Ok(Err(Stop)) => return,
                Err(error) => return report(&error),
            }
        }
    }

    async fn step_log(&mut self, reader: &mut LogReader) -> Result<std::result::Result<(), Stop>> {
        self.wake.borrow_and_update();
        let row = self.services.task_row(self.task).await?;
        loop {
            let before = reader.after;
            for line in reader.read(&self.services).await? {
                if let Err(stop) = self.send(Followed::Line(Box::new(line))).await {
                    return Ok(Err(stop));
                }
            }
            if reader.after == before {
                break;
            }
        }
        if row.state == TaskState::Done {
            let task = task_shape(&row);
            let _ = self.send(Followed::Done(Box::new(task))).await;
            return Ok(Err(Stop));
        }
        Ok(self.wait().await)
    }

    async fn send(&self, item: Followed) -> std::result::Result<(), Stop> {
        tokio::select! {
            sent = self.sender.send(item) => sent.map_err(|_| Stop),
            () = self.services.stopping.cancelled() => Err(Stop),
        }
    }

    async fn wait(&mut self) -> std::result::Result<(), Stop> {
        tokio::select! {
            changed = self.wake.changed() => {
                if changed.is_err() {
                    self.wake = self.services.feed.subscribe(self.task);
                }
                Ok(())
            }
            () = tokio::time::sleep(LOOK_AGAIN) => Ok(()),
            () = self.services.stopping.cancelled() => Err(Stop),
            () = self.sender.closed() => Err(Stop),
        }
    }
}

fn report(error: &super::Error) {
    let error = crate::api::error_chain(error);
    tracing::warn!(error, "a live stream ended early");
}
