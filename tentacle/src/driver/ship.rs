//! Sends one attempt's records, from where the server is, then its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mantle_shared::AttemptId;
use mantle_shared::protocol::{
    AttemptEnded, Level, Message, PROTOCOL_ARTIFACTS, RECORDS_TARGET_BYTES, Record, RecordBody,
    Records, Stream,
};
use tokio::sync::{mpsc, watch};

use super::attempts::Progress;
use crate::output::spool::{self, SpoolError, SpoolReader};

/// How many records are passed over before others get their turn.
const SKIP: u64 = 20_000;
/// What a record takes beside its text.
const RECORD_BYTES: usize = 16;

/// What to send.
pub(super) struct Shipment {
    pub attempt: AttemptId,
    pub dir: PathBuf,
    pub from_seq: u64,
    /// What the server understands.
    pub protocol: u16,
    pub progress: watch::Receiver<Progress>,
    pub seen: Arc<AtomicU64>,
    pub out: mpsc::Sender<Message>,
}

/// Sends until the end was sent or the connection is gone. An idle shipper sends a new line at once.
pub(super) async fn ship(mut shipment: Shipment) {
    let path = shipment.dir.join(spool::FILE_NAME);
    let mut reader: Option<SpoolReader> = None;
    loop {
        let end = shipment.progress.borrow_and_update().end.clone();
        if reader.is_none() {
            reader = match SpoolReader::open(&path) {
                Ok(reader) => reader,
                Err(error) => {
                    tracing::error!(attempt.id = %shipment.attempt, error = %error, "records cannot be sent");
                    None
                }
            };
        }
        if let Some(reader) = &mut reader {
            match next_batch(reader, &shipment).await {
                Some((first_seq, records)) => {
                    let attempt = shipment.attempt;
                    let message = Records {
                        attempt,
                        first_seq,
                        records,
                    };
                    if shipment.out.send(message.into()).await.is_err() {
                        return;
                    }
                    continue;
                }
                None => shipment.seen.store(reader.next_seq(), Ordering::Relaxed),
            }
        }
        if let Some(end) = end {
            let message = AttemptEnded {
                attempt: shipment.attempt,
                end,
            };
            // A lost connection is followed by a resync, and this by another shipment.
            let _ = shipment.out.send(message.into()).await;
            return;
        }
        tokio::select! {
            changed = shipment.progress.changed() => if changed.is_err() { return },
            () = shipment.out.closed() => return,
        }
    }
}

/// What is there, up to a message's size; `None` if nothing is.
async fn next_batch(reader: &mut SpoolReader, shipment: &Shipment) -> Option<(u64, Vec<Record>)> {
    while reader.next_seq() < shipment.from_seq {
        let step = shipment.from_seq.min(reader.next_seq() + SKIP);
        match reader.skip_to(step) {
            Ok(true) => tokio::task::yield_now().await,
            // Damage is settled once the supervisor is gone.
            Ok(false) | Err(_) => return None,
        }
    }
    let first_seq = reader.next_seq();
    let mut records = Vec::new();
    let mut bytes = 0;
    while bytes < RECORDS_TARGET_BYTES {
        match reader.next_record() {
            Ok(Some(record)) => {
                bytes += RECORD_BYTES + record.body.text_bytes();
                records.push(understood(record, shipment.protocol));
            }
            Ok(None) | Err(SpoolError::Damaged { .. }) => break,
            Err(error) => {
                tracing::error!(attempt.id = %shipment.attempt, error = %error, "records cannot be read");
                break;
            }
        }
    }
    (!records.is_empty()).then_some((first_seq, records))
}

/// The record in the words of a server of this version: one that knows no artifacts reads of them.
fn understood(record: Record, protocol: u16) -> Record {
    let RecordBody::Artifact { name, .. } = &record.body else {
        return record;
    };
    if protocol >= PROTOCOL_ARTIFACTS {
        return record;
    }
    let text = format!(
        "the file '{name}' stays on the agent: the server is older than the agent and takes none; upgrade it"
    );
    Record {
        at_us: record.at_us,
        body: RecordBody::Line {
            stream: Stream::Agent,
            level: Level::Warning,
            text,
        },
    }
}

#[cfg(test)]
mod tests {
    use mantle_shared::Digest;

    use super::*;

    #[test]
    fn a_server_that_knows_no_artifacts_is_told_of_them_in_a_line() {
        let record = Record {
            at_us: 7,
            body: RecordBody::Artifact {
                name: "report.xml".to_owned(),
                size_bytes: 9,
                digest: Digest::of(b"<report/>"),
            },
        };
        assert_eq!(understood(record.clone(), PROTOCOL_ARTIFACTS), record);
        let older = understood(record, PROTOCOL_ARTIFACTS - 1);
        assert_eq!(older.at_us, 7);
        let said = format!("{:?}", older.body);
        assert!(
            said.starts_with("Line") && said.contains("'report.xml' stays"),
            "{said}"
        );
    }
}
