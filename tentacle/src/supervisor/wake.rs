//! The wake channel: a byte on standard output tells the agent that there is something new on disk.
//!
//! The agent may be dead, or not reading: neither may hold the attempt up. So one thread writes, and
//! everybody else only leaves it a note.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Leaves notes for the thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    note: SyncSender<()>,
}

impl Waker {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let (note, notes) = sync_channel(1);
        std::thread::Builder::new()
            .name("wake".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                let mut pipe = std::io::stdout();
                while notes.recv().is_ok() {
                    if pipe.write_all(b".").and_then(|()| pipe.flush()).is_err() {
                        // The agent is gone; the one that comes after it looks at the files.
                        return;
                    }
                }
            })?;
        Ok(Self { note })
    }

    /// There is something new.
    pub(super) fn wake(&self) {
        match self.note.try_send(()) {
            // A note that waits says all that there is to say, and nobody listens to a dead pipe.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}
