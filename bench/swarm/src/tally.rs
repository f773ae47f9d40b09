//! How many agents there are and what they do, in numbers, and telling that line by line.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tentacle::output::recorder::now_us;
use tokio::sync::watch;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Have an identity.
    pub(crate) joined: AtomicU64,
    /// Have been taken in, and are not gone again.
    pub(crate) connected: AtomicU64,
    /// Times that an agent was taken in.
    pub(crate) connects: AtomicU64,
    /// Attempts that were accepted.
    pub(crate) started: AtomicU64,
    /// Attempts whose end the server has stored.
    pub(crate) ended: AtomicU64,
}

/// A moment of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    at_us: i64,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Counts {
    joined: u64,
    connected: u64,
    connects: u64,
    started: u64,
    ended: u64,
}

impl Tally {
    /// One more.
    pub(crate) fn up(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer.
    pub(crate) fn down(count: &AtomicU64) {
        count.fetch_sub(1, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            joined: read(&self.joined),
            connected: read(&self.connected),
            connects: read(&self.connects),
            started: read(&self.started),
            ended: read(&self.ended),
        }
    }
}

/// Prints a line for each change until it is told to stop, and the last one then.
pub(crate) async fn print(tally: Arc<Tally>, mut stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(LOOK);
    let mut told = None;
    loop {
        let last = tokio::select! {
            _ = look.tick() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        let counts = tally.counts();
        if told != Some(counts) {
            told = Some(counts);
            let line = Line {
                at_us: now_us(),
                counts,
            };
            // Whoever started it may be gone; it goes on all the same until it is told to stop.
            if let Ok(line) = serde_json::to_string(&line) {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        }
        if last {
            return;
        }
    }
}
