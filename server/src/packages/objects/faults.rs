//! Makes the n-th step of the local store fail, so that a test can cut a push at every one.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts steps; the one that is set fails with a full disk, and so do all after it.
#[derive(Debug)]
pub(crate) struct Faults {
    steps: AtomicU64,
    fail_from: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            steps: AtomicU64::new(0),
            fail_from: AtomicU64::new(u64::MAX),
        }
    }
}

impl Faults {
    /// Fails from this step on, counted from now.
    pub(crate) fn fail_from(&self, step: u64) {
        self.steps.store(0, Ordering::SeqCst);
        self.fail_from.store(step, Ordering::SeqCst);
    }

    /// How many steps there were.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    pub(crate) fn hit(&self) -> io::Result<()> {
        if self.steps.fetch_add(1, Ordering::SeqCst) >= self.fail_from.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}
