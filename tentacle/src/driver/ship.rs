//! Sends one attempt's records, from where the server is, then its end.

use std::path::PathBuf;
use std::time::Duration;

use mantle_shared::AttemptId;
use mantle_shared::protocol::{
    AttemptEnded, CUT_MARK, Level, Message, PROTOCOL_ARTIFACTS, RECORDS_TARGET_BYTES, Record,
    RecordBody, Records, RecordsGone, Stream,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::attempts::Progress;
use crate::output::spool::{Next, SpoolError, SpoolReader};

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
    pub out: mpsc::Sender<Message>,
}

/// Between two messages of an attempt that prints a little now and then: each costs agent and server the
/// same, whether it holds one line or ten.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends until the end was sent or the connection is gone. An idle shipper sends a new line at once, and
/// what follows it soon after together.
pub(super) async fn ship(shipment: Shipment) {
    let mut shipper = Shipper {
        position: shipment.from_seq,
        shipment,
        reader: None,
        missing_until: None,
    };
    let mut sent = Instant::now();
    loop {
        let end = shipper.shipment.progress.borrow_and_update().end.clone();
        if let Some(message) = shipper.next().await {
            if shipper.shipment.out.send(message).await.is_err() {
                return;
            }
            sent = Instant::now();
            continue;
        }
        let Shipment {
            attempt,
            progress,
            out,
            ..
        } = &mut shipper.shipment;
        if let Some(end) = end {
            let attempt = *attempt;
            // A lost connection is followed by a resync, and this by another shipment.
            let _ = out.send(AttemptEnded { attempt, end }.into()).await;
            return;
        }
        if more(progress, out, sent + PAUSE).await.is_err() {
            return;
        }
    }
}

/// Waits for something new, and then until this moment or for the end. An error if nobody needs it any more.
/// Cancel safe.
async fn more(
    progress: &mut watch::Receiver<Progress>,
    out: &mpsc::Sender<Message>,
    not_before: Instant,
) -> Result<(), ()> {
    let mut is_new = false;
    loop {
        tokio::select! {
            changed = progress.changed() => {
                changed.map_err(|_| ())?;
                is_new = true;
                let is_over = progress.borrow().end.is_some();
                if is_over || Instant::now() >= not_before {
                    return Ok(());
                }
            }
            () = tokio::time::sleep_until(not_before), if is_new => return Ok(()),
            () = out.closed() => return Err(()),
        }
    }
}

struct Shipper {
    shipment: Shipment,
    reader: Option<SpoolReader>,
    /// The number of the record that is sent next.
    position: u64,
    /// Records up to this number are not there, as was found out.
    missing_until: Option<u64>,
}

impl Shipper {
    /// The next message about the records; `None` until there is more.
    async fn next(&mut self) -> Option<Message> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open()?,
        };
        let message = self.next_of(&mut reader).await;
        self.reader = Some(reader);
        message
    }

    fn open(&self) -> Option<SpoolReader> {
        match SpoolReader::open(&self.shipment.dir, self.position) {
            Ok(reader) => reader,
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    async fn next_of(&mut self, reader: &mut SpoolReader) -> Option<Message> {
        while reader.next_seq() < self.position {
            let step = self.position.min(reader.next_seq() + SKIP);
            match reader.skip_to(step) {
                Ok(true) => tokio::task::yield_now().await,
                // Damage is settled once the supervisor is gone.
                Ok(false) | Err(_) => return None,
            }
        }
        if reader.next_seq() > self.position && self.missing_until.is_none() {
            // They were removed before the server had them all, or it has lost some since.
            self.missing_until = Some(reader.next_seq());
        }
        if let Some(until) = self.missing_until.take() {
            return Some(self.gone(until));
        }
        let (first_seq, records) = (self.position, self.batch(reader));
        self.position += records.len() as u64;
        let attempt = self.shipment.attempt;
        match (records.is_empty(), self.missing_until.take()) {
            (true, None) => None,
            (true, Some(until)) => Some(self.gone(until)),
            (false, missing_until) => {
                self.missing_until = missing_until;
                let records = Records {
                    attempt,
                    first_seq,
                    records,
                };
                Some(records.into())
            }
        }
    }

    /// What is there, up to a message's size, or up to where some are missing.
    fn batch(&mut self, reader: &mut SpoolReader) -> Vec<Record> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < RECORDS_TARGET_BYTES {
            match reader.advance() {
                Ok(Next::Record(record)) => {
                    bytes += RECORD_BYTES + record.body.text_bytes();
                    records.push(understood(record, self.shipment.protocol));
                }
                Ok(Next::Missing { until }) => {
                    self.missing_until = Some(until);
                    break;
                }
                Ok(Next::Nothing) | Err(SpoolError::Damaged { .. }) => break,
                Err(error) => {
                    self.complain(&error);
                    break;
                }
            }
        }
        records
    }

    fn gone(&mut self, until: u64) -> Message {
        let gone = RecordsGone {
            attempt: self.shipment.attempt,
            first_seq: self.position,
            next_seq: until,
        };
        tracing::warn!(
            attempt.id = %gone.attempt, gone.first_seq, gone.next_seq,
            "records of an attempt are not on the disk any more"
        );
        self.position = until;
        gone.into()
    }

    fn complain(&self, error: &SpoolError) {
        tracing::error!(attempt.id = %self.shipment.attempt, %error, "records cannot be read");
    }
}

/// The record in the words of a server of this version: one that knows no artifacts reads of them, and
/// one that knows no pieces of lines gets lines that are marked as cut.
fn understood(record: Record, protocol: u16) -> Record {
    if protocol >= PROTOCOL_ARTIFACTS {
        return record;
    }
    let body = match record.body {
        RecordBody::Artifact { name, .. } => RecordBody::Line {
            stream: Stream::Agent,
            level: Level::Warning,
            text: format!(
                "the file '{name}' stays on the agent: the server is older than the agent and takes none; upgrade it"
            ),
        },
        RecordBody::Piece {
            stream,
            level,
            mut text,
        } => {
            text.push_str(CUT_MARK);
            RecordBody::Line {
                stream,
                level,
                text,
            }
        }
        body @ (RecordBody::Line { .. }
        | RecordBody::Variable { .. }
        | RecordBody::Progress { .. }
        | RecordBody::Gap { .. }) => body,
    };
    Record {
        at_us: record.at_us,
        body,
    }
}

#[cfg(test)]
mod tests {
    use mantle_shared::Digest;

    use super::*;

    fn said(body: RecordBody, protocol: u16) -> String {
        let record = understood(Record { at_us: 7, body }, protocol);
        assert_eq!(record.at_us, 7);
        format!("{:?}", record.body)
    }

    #[test]
    fn an_older_server_is_told_in_lines_what_it_does_not_know() {
        let file = RecordBody::Artifact {
            name: "report.xml".to_owned(),
            size_bytes: 9,
            digest: Digest::of(b"<report/>"),
        };
        let piece = RecordBody::Piece {
            stream: Stream::Stderr,
            level: Level::Error,
            text: "half".to_owned(),
        };
        for body in [&file, &piece] {
            assert_eq!(said(body.clone(), PROTOCOL_ARTIFACTS), format!("{body:?}"));
        }
        let older = PROTOCOL_ARTIFACTS - 1;
        let file = said(file, older);
        assert!(
            file.starts_with("Line") && file.contains("'report.xml' stays"),
            "{file}"
        );
        let piece = said(piece, older);
        assert!(
            piece.starts_with("Line { stream: Stderr") && piece.contains("half [line cut here]"),
            "{piece}"
        );
    }
}
