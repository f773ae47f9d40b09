//! The attempts that are not forgotten: who watches them, who sends their records.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use mantle_shared::AttemptId;
use mantle_shared::protocol::AttemptEnd;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::output::spool::{self, Extent};
use crate::process::ProcessIdentity;

/// What a shipper waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Counts the news.
    pub news: u64,
    /// Set once the attempt is over and its spool complete.
    pub end: Option<AttemptEnd>,
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Live {
    pub dir: PathBuf,
    pub progress: watch::Sender<Progress>,
    shipper: Option<AbortHandle>,
    /// From where on the server lacks records, as it said last.
    stored: u64,
    /// It said so again, though something was sent meanwhile.
    stuck: bool,
    /// A supervisor that was started by an agent before this one: it is looked at now and then.
    found_again: Option<ProcessIdentity>,
    /// How far its spool reached at the last look.
    extent: Extent,
    /// Records below this number are acknowledged, and may be on the disk still.
    acknowledged: Option<u64>,
    /// Since when it is known that it was cancelled.
    cancelled: Option<Instant>,
    /// The agent is ending its processes itself.
    ending: bool,
    /// The session on which it was said that its output is held back.
    held_told: Option<u64>,
}

#[cfg(test)]
impl Live {
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    live: HashMap<AttemptId, Live>,
    later: HashSet<AttemptId>,
}

impl Attempts {
    pub(super) fn insert(&mut self, attempt: AttemptId, dir: PathBuf) {
        self.live.entry(attempt).or_insert_with(|| Live {
            dir,
            progress: watch::channel(Progress::default()).0,
            shipper: None,
            stored: 0,
            stuck: false,
            found_again: None,
            extent: Extent::default(),
            acknowledged: None,
            cancelled: None,
            ending: false,
            held_told: None,
        });
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Live> {
        self.live.get(&attempt)
    }

    pub(super) fn remove(&mut self, attempt: AttemptId) {
        self.later.remove(&attempt);
        if let Some(shipper) = self.live.remove(&attempt).and_then(|live| live.shipper) {
            shipper.abort();
        }
    }

    /// There is something new on disk.
    pub(super) fn touch(&self, attempt: AttemptId) {
        if let Some(live) = self.live.get(&attempt) {
            live.progress.send_modify(|progress| progress.news += 1);
        }
    }

    /// It is over, and its spool complete.
    pub(super) fn complete(&mut self, attempt: AttemptId, end: AttemptEnd) {
        if let Some(live) = self.live.get_mut(&attempt) {
            live.found_again = None;
            live.progress
                .send_modify(|progress| progress.end = Some(end));
        }
    }

    pub(super) fn is_shipping(&self, attempt: AttemptId) -> bool {
        let shipper = self
            .live
            .get(&attempt)
            .and_then(|live| live.shipper.as_ref());
        shipper.is_some_and(|shipper| !shipper.is_finished())
    }

    /// This one sends the attempt's records from here on.
    pub(super) fn set_shipper(&mut self, attempt: AttemptId, from_seq: u64, shipper: AbortHandle) {
        let Some(live) = self.live.get_mut(&attempt) else {
            return shipper.abort();
        };
        live.stored = from_seq;
        live.stuck = false;
        live.acknowledged = Some(from_seq);
        if let Some(old) = live.shipper.replace(shipper) {
            old.abort();
        }
    }

    /// The server answers each portion of records with what it has stored. If that does not grow, the
    /// portion did not follow what is stored, and none after it will.
    pub(super) fn stored(&mut self, attempt: AttemptId, next_seq: u64) {
        if let Some(live) = self.live.get_mut(&attempt) {
            live.stuck = next_seq <= live.stored;
            live.stored = live.stored.max(next_seq);
            live.acknowledged = Some(live.stored);
        }
    }

    /// The attempts whose records must be sent again, and from where on. To be asked now and then: an
    /// answer to what was sent before the last change of shippers looks the same, and the next clears
    /// it.
    pub(super) fn take_stuck(&mut self) -> Vec<(AttemptId, u64)> {
        let stuck = self.live.iter_mut().filter(|(_, live)| live.stuck);
        stuck
            .map(|(attempt, live)| {
                live.stuck = false;
                (*attempt, live.stored)
            })
            .collect()
    }

    pub(super) fn stop_shipping(&mut self) {
        for live in self.live.values_mut() {
            live.stuck = false;
            if let Some(shipper) = live.shipper.take() {
                shipper.abort();
            }
        }
    }

    pub(super) fn found_again(&mut self, attempt: AttemptId, process: ProcessIdentity) {
        if let Some(live) = self.live.get_mut(&attempt) {
            live.found_again = Some(process);
        }
    }

    /// Its folder, and since when it is cancelled: since now, if that is news. `None` while it is being
    /// ended anyway.
    pub(super) fn cancelled(
        &mut self,
        attempt: AttemptId,
        now: Instant,
    ) -> Option<(PathBuf, Instant)> {
        let live = self.live.get_mut(&attempt).filter(|live| !live.ending)?;
        Some((live.dir.clone(), *live.cancelled.get_or_insert(now)))
    }

    /// The agent begins to end its processes; gives its folder, or `None` if it does so already.
    pub(super) fn begin_ending(&mut self, attempt: AttemptId) -> Option<PathBuf> {
        let live = self.live.get_mut(&attempt).filter(|live| !live.ending)?;
        live.ending = true;
        Some(live.dir.clone())
    }

    /// They are ended, as far as they can be.
    pub(super) fn end_ending(&mut self, attempt: AttemptId) {
        if let Some(live) = self.live.get_mut(&attempt) {
            live.ending = false;
        }
    }

    pub(super) fn is_ending(&self, attempt: AttemptId) -> bool {
        self.live.get(&attempt).is_some_and(|live| live.ending)
    }

    pub(super) fn any_found_again(&self) -> bool {
        self.live.values().any(|live| live.found_again.is_some())
    }

    /// Touches those whose spool has grown; gives those whose supervisor is gone.
    pub(super) fn look(&mut self) -> Vec<AttemptId> {
        let mut gone = Vec::new();
        for (attempt, live) in &mut self.live {
            let Some(process) = &live.found_again else {
                continue;
            };
            let extent = spool::extent(&live.dir);
            if extent != live.extent {
                live.extent = extent;
                live.progress.send_modify(|progress| progress.news += 1);
            }
            if !live.ending && !crate::process::is_alive(process) {
                live.found_again = None;
                gone.push(*attempt);
            }
        }
        gone
    }

    pub(super) fn look_later(&mut self, attempt: AttemptId) {
        self.later.insert(attempt);
    }

    pub(super) fn take_later(&mut self) -> Vec<AttemptId> {
        self.later.drain().collect()
    }

    /// Removes from the disk what the server has acknowledged, segment by segment.
    pub(super) fn remove_acknowledged(&mut self) {
        for (attempt, live) in &mut self.live {
            let Some(below) = live.acknowledged.take() else {
                continue;
            };
            if let Err(error) = spool::remove_below(&live.dir, below) {
                // The next acknowledgement is another chance, and the end of the attempt the last.
                tracing::warn!(attempt.id = %attempt, %error, "records that the server has cannot be removed");
            }
        }
    }

    /// The attempts whose output is held back for want of room, of which this session was not told.
    pub(super) fn newly_held(&mut self, session: u64) -> Vec<AttemptId> {
        let told = Some(session);
        let live = self.live.iter_mut();
        live.filter(|(_, live)| live.held_told != told && live.progress.borrow().end.is_none())
            .filter(|(_, live)| spool::is_held(&live.dir))
            .map(|(attempt, live)| {
                live.held_told = told;
                *attempt
            })
            .collect()
    }

    /// How many records the attempt has: one segment is read.
    pub(super) fn records(&self, attempt: AttemptId) -> u64 {
        let live = self.live.get(&attempt);
        live.map_or(0, |live| spool::count(&live.dir))
    }
}
