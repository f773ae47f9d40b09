//! The queue of what comes in, bounded in number and in bytes.
//!
//! Whoever takes arrivals out holds their room until it comes for the next: what is being worked on
//! counts as well.

use std::sync::Arc;

use mantle_shared::protocol::{AttemptReport, ReportedState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::arrival::Arrival;
use super::limits::{ARRIVALS, ARRIVALS_BYTES};

/// What room is counted in.
const UNIT_BYTES: usize = 1024;
/// What any message takes beside its texts.
const OVERHEAD_BYTES: usize = 256;

/// Makes both ends.
pub fn arrivals() -> (Arrivals, ArrivalQueue) {
    let (sender, receiver) = mpsc::channel(ARRIVALS);
    let room = Arc::new(Semaphore::new(ARRIVALS_BYTES / UNIT_BYTES));
    let queue = ArrivalQueue {
        receiver,
        taken: Vec::new(),
        held: Vec::new(),
    };
    (Arrivals { sender, room }, queue)
}

/// Puts arrivals in. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Arrivals {
    sender: mpsc::Sender<(Arrival, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// Nobody takes arrivals in any more, or there is no room for one that need not be told.
#[derive(Debug)]
pub(super) struct NotTaken;

impl Arrivals {
    /// Waits for room: the stream that it came from is held back meanwhile.
    pub(super) async fn send(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let room = Arc::clone(&self.room).acquire_many_owned(units(&arrival));
        let room = room.await.map_err(|_| NotTaken)?;
        let sent = self.sender.send((arrival, room)).await;
        sent.map_err(|_| NotTaken)
    }

    /// Does not wait.
    pub(super) fn try_send(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(units(&arrival));
        let room = room.map_err(|_| NotTaken)?;
        let sent = self.sender.try_send((arrival, room));
        sent.map_err(|_| NotTaken)
    }
}

/// Gives arrivals out, in order.
#[derive(Debug)]
pub struct ArrivalQueue {
    receiver: mpsc::Receiver<(Arrival, OwnedSemaphorePermit)>,
    taken: Vec<(Arrival, OwnedSemaphorePermit)>,
    held: Vec<OwnedSemaphorePermit>,
}

impl ArrivalQueue {
    /// Waits for at least one and takes up to `limit`; 0 once nobody can send any more. The room of
    /// those that were taken before is free again.
    pub async fn recv_many(&mut self, batch: &mut Vec<Arrival>, limit: usize) -> usize {
        self.held.clear();
        let count = self.receiver.recv_many(&mut self.taken, limit).await;
        for (arrival, room) in self.taken.drain(..) {
            batch.push(arrival);
            self.held.push(room);
        }
        count
    }
}

fn units(arrival: &Arrival) -> u32 {
    let units = size(arrival)
        .div_ceil(UNIT_BYTES)
        .min(ARRIVALS_BYTES / UNIT_BYTES);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// About what an arrival takes in memory.
fn size(arrival: &Arrival) -> usize {
    OVERHEAD_BYTES
        + match arrival {
            Arrival::Resync { reports, .. } => reports.iter().map(report_size).sum(),
            Arrival::Records { records, .. } => records
                .records
                .iter()
                .map(|record| 64 + record.body.text_bytes())
                .sum(),
            Arrival::AttemptEnded { ended, .. } => ended.end.message.len(),
            Arrival::StartAnswered { .. }
            | Arrival::CancelAnswered { .. }
            | Arrival::AcquireAnswered { .. }
            | Arrival::AcquireProgressed { .. }
            | Arrival::Disconnected { .. } => 0,
            Arrival::Refused(refusal) => refusal.reason.len(),
        }
}

/// What a report takes in memory.
pub(super) fn report_size(report: &AttemptReport) -> usize {
    size_of::<AttemptReport>()
        + match &report.state {
            ReportedState::Accepted | ReportedState::Running => 0,
            ReportedState::Ended(end) => end.message.len(),
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::ids::{AgentId, AttemptId};
    use mantle_shared::protocol::{Level, Record, RecordBody, Records, Stream};
    use mantle_shared::uuid::Uuid;

    use super::*;

    fn records(bytes: usize) -> Arrival {
        let text = "x".repeat(bytes);
        let body = RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text,
        };
        Arrival::Records {
            agent: AgentId::from_uuid(Uuid::nil()),
            records: Records {
                attempt: AttemptId::from_uuid(Uuid::nil()),
                first_seq: 0,
                records: vec![Record { at_us: 0, body }],
            },
        }
    }

    #[tokio::test]
    async fn bytes_are_bounded_until_the_batch_is_done() {
        let (arrivals, mut queue) = arrivals();
        let large = 255 * 1024;
        let taken = (0..1000)
            .take_while(|_| arrivals.try_send(records(large)).is_ok())
            .count();
        assert_eq!(taken, 256);
        let mut batch = Vec::new();
        assert_eq!(queue.recv_many(&mut batch, 100).await, 100);
        assert!(
            arrivals.try_send(records(large)).is_err(),
            "what is being taken in counts"
        );
        batch.clear();
        assert_eq!(queue.recv_many(&mut batch, 10).await, 10);
        assert!(arrivals.send(records(large)).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_is_larger_than_the_room_is_taken_alone() {
        let (arrivals, mut queue) = arrivals();
        arrivals.send(records(ARRIVALS_BYTES * 2)).await.unwrap();
        assert!(arrivals.try_send(records(1)).is_err());
        let mut batch = Vec::new();
        assert_eq!(queue.recv_many(&mut batch, 10).await, 1);
        drop(queue);
        assert!(arrivals.send(records(1)).await.is_err());
    }
}
