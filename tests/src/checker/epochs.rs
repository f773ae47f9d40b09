//! Epochs never fall (I8): by the order of the records in each agent's journal.

use std::collections::BTreeMap;

use tentacle::journal::Record;

use super::Violation;
use super::history::History;

/// I8. An order of an older epoch must not be obeyed: no attempt is accepted or voided under one.
pub(super) fn epochs_rise(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (agent, journal) in &history.agents {
        let mut highest: BTreeMap<String, u64> = BTreeMap::new();
        for segment in &journal.segments {
            for (index, record) in segment.records.iter().enumerate() {
                let Some((task, epoch, what)) = epoch_of(record) else {
                    continue;
                };
                let known = highest.entry(task.clone()).or_default();
                // The order of a summary says nothing; what it holds counts all the same.
                if index >= segment.summary && epoch < *known {
                    found.push(Violation::new(
                        "I8",
                        format!(
                            "{agent} {what} of epoch {epoch} about {task}, after epoch {known}"
                        ),
                    ));
                }
                *known = (*known).max(epoch);
            }
        }
    }
    found
}

/// The task, the epoch, and what was done under it.
fn epoch_of(record: &Record) -> Option<(String, u64, &'static str)> {
    match record {
        Record::Accepted { task, epoch, .. } => {
            Some((format!("task {task}"), *epoch, "took an order"))
        }
        Record::Voided { task, epoch, .. } => {
            Some((format!("task {task}"), *epoch, "obeyed a cancel"))
        }
        Record::EpochSeen { task, epoch, .. } => {
            let about = task.map_or_else(|| "all".to_owned(), |task| format!("task {task}"));
            Some((about, *epoch, "noted a word"))
        }
        Record::Began { .. }
        | Record::Spawned { .. }
        | Record::CancelRequested { .. }
        | Record::Finished { .. }
        | Record::Acknowledged { .. } => None,
    }
}
