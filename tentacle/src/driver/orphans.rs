//! Ends what nobody supervises any more: an attempt whose supervisor was killed, or hangs while it ought
//! to stop.
//!
//! What must hold: an attempt is over only when its processes are, for its locks are let go with it. So
//! they are stopped first, and what cannot be stopped is said to be abandoned, which keeps the locks.

use std::path::PathBuf;
use std::time::Duration;

use mantle_shared::AttemptId;
use tokio::time::{Instant, sleep};

use super::recover::{self, Rest};
use super::{Driver, Local};
use crate::process::{self, Orphans, ProcessIdentity, Survivor};
use crate::supervisor::files::{self, Claim};

/// How long the processes of a dead supervisor have between the request to stop and the kill, unless a
/// cancel says otherwise; no cancel gives them more than twice as much.
const GRACE: Duration = Duration::from_secs(5);
/// How long a kill may take before processes count as abandoned.
const KILL: Duration = Duration::from_secs(5);
/// Between two looks at processes that are being stopped.
const LOOK: Duration = Duration::from_millis(50);
/// How long after the grace of a cancel a supervisor must have got as far as its result: longer than it
/// gives an action that does not listen.
const ANSWER: Duration = Duration::from_secs(15);

/// What is to be ended, and why.
struct Ending {
    attempt: AttemptId,
    dir: PathBuf,
    boot_id: String,
    supervisor: ProcessIdentity,
    /// The supervisor lives, and did not answer a cancel.
    hangs: bool,
    grace: Duration,
}

impl Driver {
    /// Ends the processes of an attempt, then looks what there is to say of it.
    pub(super) fn end_orphans(
        &mut self,
        attempt: AttemptId,
        supervisor: ProcessIdentity,
        hangs: bool,
    ) {
        let Some(dir) = self.attempts.begin_ending(attempt) else {
            return;
        };
        let grace = self.cancel_of(attempt).map_or(GRACE, |grace_ms| {
            Duration::from_millis(grace_ms.into()).min(GRACE * 2)
        });
        tracing::error!(
            attempt.id = %attempt,
            supervisor.pid = supervisor.pid,
            hangs,
            "nobody supervises a step any more; its processes are stopped"
        );
        let ending = Ending {
            attempt,
            dir,
            boot_id: self.boot_id.clone(),
            supervisor,
            hangs,
            grace,
        };
        let local = self.local.clone();
        // Lost when the agent goes down; the next one finds the same.
        tokio::spawn(async move {
            let found = ending.end().await;
            let _ = local.send(Local::Ended(attempt, found)).await;
        });
    }

    /// Ends the attempts whose supervisors have not stopped them long after they were told to.
    pub(super) fn end_overdue(&mut self) {
        let open = self.brain.ledger().open().map(|(attempt, _)| attempt);
        let open: Vec<AttemptId> = open.collect();
        for attempt in open {
            let Some(grace_ms) = self.cancel_of(attempt) else {
                continue;
            };
            let allowed = Duration::from_millis(grace_ms.into()) + ANSWER;
            let Some((dir, since)) = self.attempts.cancelled(attempt, Instant::now()) else {
                continue;
            };
            // Who writes its result is not hanging, however long the disk stays full.
            if since.elapsed() < allowed || files::is_concluding(&dir) {
                continue;
            }
            let supervisor = match files::read_claim(&dir) {
                Ok(Some(Claim::Supervisor { process })) => Some(process),
                _ => self.spawned(attempt).cloned(),
            };
            // A dead one is found by its end.
            if let Some(supervisor) = supervisor.filter(process::is_alive) {
                self.end_orphans(attempt, supervisor, true);
            }
        }
    }

    /// The grace of the cancel that was asked for.
    fn cancel_of(&self, attempt: AttemptId) -> Option<u32> {
        self.brain.ledger().get(attempt)?.cancel
    }
}

impl Ending {
    async fn end(self) -> recover::Found {
        let orphans = Orphans::of(&self.supervisor, &self.attempt.to_string());
        let stopped = survivors(&orphans).await;
        orphans.ask_to_stop(&stopped);
        wait_gone(&orphans, self.grace, |_| {}).await;
        let left = wait_gone(&orphans, KILL, |left| orphans.kill(left)).await;
        // One that lives after all has seen its processes end, and says so itself.
        if self.hangs && !files::is_concluding(&self.dir) {
            process::kill(&self.supervisor);
            let begun = Instant::now();
            while process::is_alive(&self.supervisor) && begun.elapsed() < KILL {
                sleep(LOOK).await;
            }
        }
        let rest = Rest {
            stopped,
            left,
            hung: self.hangs,
        };
        let look = move || {
            recover::look_after(
                &self.dir,
                self.attempt,
                &self.boot_id,
                Some(&self.supervisor),
                Some(&rest),
            )
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(found) => found,
            Err(error) => recover::Found::Unclear(std::io::Error::other(error)),
        }
    }
}

/// Waits until they are gone or the time is over; gives those that are left.
async fn wait_gone(
    orphans: &Orphans,
    within: Duration,
    each: impl Fn(&[Survivor]),
) -> Vec<Survivor> {
    let begun = Instant::now();
    loop {
        let left = survivors(orphans).await;
        if left.is_empty() || begun.elapsed() >= within {
            return left;
        }
        // What forks meanwhile is found on the next look.
        each(&left);
        sleep(LOOK).await;
    }
}

/// Reads every process of the machine, which may take a moment.
async fn survivors(orphans: &Orphans) -> Vec<Survivor> {
    let orphans = orphans.clone();
    let look = tokio::task::spawn_blocking(move || orphans.survivors());
    look.await.unwrap_or_default()
}
