//! What readers have read and the recorder has not taken yet: a full disk holds them back.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by the readers of an attempt's output and who waits for them.
#[derive(Debug, Default)]
pub struct InHand(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    readers: u32,
    /// How often the recorder took something.
    taken: u64,
    lines: u64,
    bytes: u64,
}

/// A reader's; it is to be dropped while the recorder is held that has taken it.
#[derive(Debug)]
pub struct Holding<'a> {
    of: &'a InHand,
    lines: u64,
    bytes: u64,
}

impl InHand {
    /// A reader has this, and waits for the recorder.
    pub fn hold(&self, chunk: &[u8]) -> Holding<'_> {
        let lines = chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum();
        let bytes = chunk.len() as u64;
        let mut counts = self.counts();
        counts.readers += 1;
        counts.lines += lines;
        counts.bytes += bytes;
        Holding {
            of: self,
            lines,
            bytes,
        }
    }

    /// Some reader waits. As long as the number stays the same, all that do are held back.
    pub fn waiting(&self) -> Option<u64> {
        let counts = self.counts();
        (counts.readers > 0).then_some(counts.taken)
    }

    /// How many lines and bytes readers have.
    pub(super) fn size(&self) -> (u64, u64) {
        let counts = self.counts();
        (counts.lines, counts.bytes)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        counts.readers -= 1;
        counts.taken += 1;
        counts.lines -= self.lines;
        counts.bytes -= self.bytes;
    }
}
