//! An agent says that a step's output is held back for want of room: its task warns while there is
//! still time to make some.

use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::OutputHeld;
use tokio::sync::mpsc;

use super::masked::say;
use super::{Ingest, KNOWN};
use crate::services::Feed;
use crate::store::{Store, StoreError, attempt_find, target_fetch};

/// How many of these lines may wait to be written. One that finds no room is in the server's log alone.
const WAITING: usize = 1_000;

/// Writes these lines into their tasks' logs, one after another: that output is held back, and that it
/// went on. Nobody waits for it, since the log may be what has no room.
pub(super) struct Teller {
    sender: mpsc::Sender<Line>,
    /// Until it is started.
    lines: Option<mpsc::Receiver<Line>>,
}

struct Line {
    task: TaskId,
    attempt: AttemptId,
    /// The text, with the name of the target in it.
    text: Box<dyn FnOnce(&str) -> String + Send>,
}

impl Teller {
    pub(super) fn new() -> Self {
        let (sender, lines) = mpsc::channel(WAITING);
        let lines = Some(lines);
        Self { sender, lines }
    }

    /// From now on lines are written, until this is dropped.
    pub(super) fn start(&mut self, store: Store, feed: Feed) {
        let Some(mut lines) = self.lines.take() else {
            return;
        };
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let target = executor(&store, line.attempt).await;
                say(&store, &feed, line.task, (line.text)(&target)).await;
            }
        });
    }

    fn tell(&self, line: Line) {
        let task = line.task;
        if self.sender.try_send(line).is_err() {
            tracing::warn!(task.id = %task, "a line about output that is held back found no room");
        }
    }
}

impl Ingest {
    /// Says so in the task's log, once an attempt.
    pub(super) async fn tell_output_held(&mut self, agent: AgentId, held: OutputHeld) {
        let attempt = held.attempt;
        let Some((task, owner)) = self.owner(attempt).await else {
            return;
        };
        if owner != agent || self.held_told.contains(&attempt) {
            return;
        }
        if self.held_told.len() >= KNOWN {
            self.held_told.clear();
        }
        self.held_told.insert(attempt);
        let minutes = held.stall_ms / 60_000;
        let text = move |target: &str| {
            format!(
                "the output of this step was held back on {target}: there was no room for it on the \
                 agent's disk, and the step had to wait. Unless a later line says that it went on, free \
                 some there; after {minutes} min without room what the step prints is counted instead \
                 of kept"
            )
        };
        let text = Box::new(text);
        self.teller.tell(Line {
            task,
            attempt,
            text,
        });
    }

    /// An attempt has ended and all that its agent kept of it is stored: whoever was told to make room
    /// is told that it is not needed any more.
    pub(super) fn tell_output_came(&mut self, task: TaskId, attempt: AttemptId) {
        if !self.held_told.remove(&attempt) {
            return;
        }
        let text = Box::new(|target: &str| {
            format!(
                "the output of this step that was held back on {target} went on and has come to its \
                 end; what could not be kept is counted in the log"
            )
        });
        self.teller.tell(Line {
            task,
            attempt,
            text,
        });
    }
}

/// The name of the target whose agent runs an attempt. Of one that was removed only the fact is left.
async fn executor(store: &Store, attempt: AttemptId) -> String {
    let target = async {
        let mut tx = store.read().await?;
        match attempt_find(&mut tx, attempt).await? {
            Some(row) => Ok(target_fetch(&mut tx, row.executor_id).await?.name),
            None => Err(StoreError::not_found("attempt")),
        }
    };
    target.await.unwrap_or_else(|_| "the target".to_owned())
}
