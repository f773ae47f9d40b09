//! What the journal records, and how a record stands in the file.
//!
//! A line each: the crc32c of the JSON in 8 hex digits, a space, the JSON. JSON, since journals live
//! longer than releases; kinds and fields are only ever added.

use mantle_shared::lock::Lock;
use mantle_shared::protocol::AttemptEnd;
use mantle_shared::{AttemptId, Digest, JournalId, TaskId};
use serde::{Deserialize, Serialize};

use crate::process::ProcessIdentity;

/// A fact about an attempt or a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// From here on this is a journal of its own, whatever came before.
    Began {
        /// Its id.
        journal: JournalId,
        /// When.
        at_us: i64,
        /// It took the place of one that was lost.
        after_loss: bool,
    },
    /// The attempt may be started: from here on it exists.
    Accepted {
        /// Which.
        attempt: AttemptId,
        /// Its task.
        task: TaskId,
        /// The epoch of the order.
        epoch: u64,
        /// The digest of the order's bytes.
        payload: Digest,
        /// When.
        at_us: i64,
        /// What it holds while it lives; nothing by a server that does not say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        locks: Vec<Lock>,
    },
    /// Its supervisor process exists.
    Spawned {
        /// Which.
        attempt: AttemptId,
        /// The supervisor.
        process: ProcessIdentity,
    },
    /// Somebody wants it stopped.
    CancelRequested {
        /// Which.
        attempt: AttemptId,
        /// The epoch of the order.
        epoch: u64,
        /// How long processes have between the request to stop and the kill.
        grace_ms: u32,
    },
    /// It is over.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// How it ended.
        end: AttemptEnd,
    },
    /// The server has all of it; what is left is a tombstone.
    Acknowledged {
        /// Which.
        attempt: AttemptId,
    },
    /// It was cancelled before it was ever seen, and must not start when its order comes late.
    Voided {
        /// Which.
        attempt: AttemptId,
        /// Its task.
        task: TaskId,
        /// The epoch of the cancel.
        epoch: u64,
        /// When.
        at_us: i64,
    },
    /// A server spoke with this epoch.
    EpochSeen {
        /// For which task; none for the server's own counter.
        task: Option<TaskId>,
        /// The epoch.
        epoch: u64,
        /// When.
        at_us: i64,
    },
}

/// Appends a record as a line.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let json = serde_json::to_vec(record)?;
    out.extend_from_slice(format!("{:08x} ", crc32c::crc32c(&json)).as_bytes());
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(())
}

/// Reads a line without its line feed; `None` if it is damaged.
pub(super) fn decode(line: &[u8]) -> Option<Record> {
    let (sum, rest) = line.split_first_chunk::<8>()?;
    let json = rest.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum != crc32c::crc32c(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}
