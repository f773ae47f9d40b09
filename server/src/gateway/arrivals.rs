//! The queue of what comes in, bounded in number and in bytes.
//!
//! Whoever takes arrivals out holds their room while it works on them: that counts as well.

use std::sync::Arc;

use mantle_shared::protocol::{AttemptReport, ReportedState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::arrival::Arrival;
use super::limits::{ANSWERS_BYTES, ARRIVALS, ARRIVALS_BYTES};

/// What room is counted in.
const UNIT_BYTES: usize = 1024;
/// What any message takes beside its texts.
const OVERHEAD_BYTES: usize = 256;

/// Makes both ends.
pub fn arrivals() -> (Arrivals, ArrivalQueue) {
    let (answers_in, answers) = lane(ANSWERS_BYTES);
    let (output_in, output) = lane(ARRIVALS_BYTES);
    let arrivals = Arrivals {
        answers: answers_in,
        output: output_in,
    };
    (arrivals, ArrivalQueue { answers, output })
}

fn lane(bytes: usize) -> (LaneIn, Lane) {
    let (sender, receiver) = mpsc::channel(ARRIVALS);
    let lane = Lane {
        receiver,
        taken: Vec::new(),
    };
    let room = Arc::new(Semaphore::new(bytes / UNIT_BYTES));
    let units = bytes / UNIT_BYTES;
    (
        LaneIn {
            sender,
            room,
            units,
        },
        lane,
    )
}

/// Puts arrivals in. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Arrivals {
    answers: LaneIn,
    output: LaneIn,
}

#[derive(Debug, Clone)]
struct LaneIn {
    sender: mpsc::Sender<(Arrival, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    units: usize,
}

/// Nobody takes arrivals in any more, or there is no room for one that need not be told.
#[derive(Debug)]
pub(super) struct NotTaken;

impl Arrivals {
    /// Waits for room: the stream that it came from is held back meanwhile.
    pub(super) async fn send(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let lane = self.lane(&arrival);
        let room = Arc::clone(&lane.room).acquire_many_owned(lane.units(&arrival));
        let room = room.await.map_err(|_| NotTaken)?;
        let sent = lane.sender.send((arrival, room)).await;
        sent.map_err(|_| NotTaken)
    }

    /// Does not wait.
    pub(super) fn try_send(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let lane = self.lane(&arrival);
        let room = Arc::clone(&lane.room).try_acquire_many_owned(lane.units(&arrival));
        let room = room.map_err(|_| NotTaken)?;
        let sent = lane.sender.try_send((arrival, room));
        sent.map_err(|_| NotTaken)
    }

    fn lane(&self, arrival: &Arrival) -> &LaneIn {
        match arrival {
            Arrival::Records { .. }
            | Arrival::RecordsGone { .. }
            | Arrival::AttemptEnded { .. } => &self.output,
            Arrival::Resync { .. }
            | Arrival::Disconnected { .. }
            | Arrival::StartAnswered { .. }
            | Arrival::CancelAnswered { .. }
            | Arrival::AcquireAnswered { .. }
            | Arrival::AcquireProgressed { .. }
            | Arrival::OutputHeld { .. }
            | Arrival::Refused(_) => &self.answers,
        }
    }
}

impl LaneIn {
    fn units(&self, arrival: &Arrival) -> u32 {
        let units = size(arrival).div_ceil(UNIT_BYTES).min(self.units);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

/// What comes out, in two lanes: what rests on the log being written waits for that, and nothing else
/// does.
#[derive(Debug)]
pub struct ArrivalQueue {
    /// What agents answer and how they come and go.
    pub answers: Lane,
    /// What attempts print, and their ends, which rest on it.
    pub output: Lane,
}

/// Gives arrivals out, in order.
#[derive(Debug)]
pub struct Lane {
    receiver: mpsc::Receiver<(Arrival, OwnedSemaphorePermit)>,
    taken: Vec<(Arrival, OwnedSemaphorePermit)>,
}

/// What was taken out together. Its room is free again when this is dropped.
#[derive(Debug, Default)]
pub struct Taken {
    /// The arrivals.
    pub arrivals: Vec<Arrival>,
    /// Their room, to be kept for as long as they are worked on.
    pub room: Room,
}

/// The room of arrivals that are being worked on.
#[derive(Debug, Default)]
pub struct Room(#[expect(dead_code, reason = "it is held, not read")] Vec<OwnedSemaphorePermit>);

impl Lane {
    /// Waits for at least one and takes up to `limit`; none once nobody can send any more. May be dropped
    /// and called again.
    pub async fn recv_many(&mut self, limit: usize) -> Option<Taken> {
        if self.receiver.recv_many(&mut self.taken, limit).await == 0 {
            return None;
        }
        let (arrivals, room) = self.taken.drain(..).unzip();
        Some(Taken {
            arrivals,
            room: Room(room),
        })
    }
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
            | Arrival::OutputHeld { .. }
            | Arrival::RecordsGone { .. }
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
    use mantle_shared::protocol::{
        Level, Record, RecordBody, Records, StartAnswer, StartResult, Stream,
    };
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
        let working = queue.output.recv_many(100).await.unwrap();
        assert_eq!(working.arrivals.len(), 100);
        assert!(
            arrivals.try_send(records(large)).is_err(),
            "what is being taken in counts"
        );
        assert!(
            arrivals.try_send(answer()).is_ok(),
            "the other lane has room of its own"
        );
        drop(working);
        assert!(arrivals.send(records(large)).await.is_ok());
        assert_eq!(queue.answers.recv_many(9).await.unwrap().arrivals.len(), 1);
    }

    fn answer() -> Arrival {
        Arrival::StartAnswered {
            agent: AgentId::from_uuid(Uuid::nil()),
            answer: StartAnswer {
                request: 1,
                attempt: AttemptId::from_uuid(Uuid::nil()),
                result: StartResult::Accepted,
            },
        }
    }

    #[tokio::test]
    async fn one_that_is_larger_than_the_room_is_taken_alone() {
        let (arrivals, mut queue) = arrivals();
        arrivals.send(records(ARRIVALS_BYTES * 2)).await.unwrap();
        assert!(arrivals.try_send(records(1)).is_err());
        let taken = queue.output.recv_many(10).await.unwrap();
        assert_eq!(taken.arrivals.len(), 1);
        drop((taken, queue));
        assert!(arrivals.send(records(1)).await.is_err());
    }
}
