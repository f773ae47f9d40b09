//! What keeps the collector away from a push that is under way.
//!
//! A push finds most of its objects in the store already. Until its row names them, nothing does;
//! so whatever was written or found since the oldest push began is out of the collector's reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// An object that is found again is marked as touched only when its mark is older than this, which
/// spares a second push of the same content 18,000 writes. The collector allows for it.
pub(crate) const TOUCH_AFTER: Duration = Duration::from_hours(1);

/// The pushes under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    started: BTreeMap<u64, SystemTime>,
}

/// Keep it until what was pushed is named by a row, or given up.
#[derive(Debug, Clone)]
pub struct PushLease {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    leases: Leases,
    number: u64,
}

impl Leases {
    /// A push begins.
    pub(crate) fn begin(&self) -> PushLease {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        table.started.insert(number, SystemTime::now());
        PushLease {
            _held: Arc::new(Held {
                leases: self.clone(),
                number,
            }),
        }
    }

    /// What was last touched before this may be collected, if nothing names it.
    pub(crate) fn cutoff(&self, now: SystemTime, grace: Duration) -> SystemTime {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let aged = now.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let oldest = table.started.values().min().copied();
        oldest
            .map_or(aged, |oldest| oldest.min(aged))
            .checked_sub(TOUCH_AFTER)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self
            .leases
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        table.started.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_push_holds_the_cutoff_back() {
        let leases = Leases::default();
        let later = SystemTime::now() + Duration::from_hours(100);
        let free = leases.cutoff(later, Duration::from_hours(1));
        let first = leases.begin();
        let second = leases.begin();
        let held = leases.cutoff(later, Duration::from_hours(1));
        assert!(held < SystemTime::now() && free > SystemTime::now());
        drop(first);
        assert!(leases.cutoff(later, Duration::from_hours(1)) >= held);
        drop(second.clone());
        assert!(leases.cutoff(later, Duration::from_hours(1)) < free);
        drop(second);
        assert_eq!(leases.cutoff(later, Duration::from_hours(1)), free);
    }
}
