//! How a cancel comes to a supervisor: by a file, for which there may be no room.

use mantle_shared::ids::AttemptId;

use super::Agent;

impl Agent {
    /// Asks a supervisor to stop. The room that is set aside for it counts for nothing here: some file
    /// systems write nothing in place.
    pub(super) fn write_cancel(&mut self, attempt: AttemptId) {
        let Some(folder) = self.folders.get_mut(&attempt) else {
            return;
        };
        if !self.disk.is_full() {
            folder.cancel = true;
        } else if let Some(live) = &mut self.live {
            live.unwritten.insert(attempt);
        }
    }

    /// Writes what there was no room for. Then every cancel that was taken is where its supervisor looks.
    pub(super) fn write_cancels_again(&mut self) {
        let Some(live) = &mut self.live else { return };
        for attempt in std::mem::take(&mut live.unwritten) {
            self.write_cancel(attempt);
        }
        if self.disk.is_full() {
            return;
        }
        let open = self.live.iter().flat_map(|live| live.brain.ledger().open());
        for (attempt, _) in open.filter(|(_, entry)| entry.cancel.is_some()) {
            let folder = self.folders.get(&attempt);
            assert!(
                folder.is_none_or(|folder| folder.cancel),
                "the cancel of {attempt} is lost"
            );
        }
    }
}
