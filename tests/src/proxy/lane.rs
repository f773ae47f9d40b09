//! One direction of one client: a queue that keeps the order of packets, with faults at both ends.
//!
//! Loss, duplication and size are decided when a packet arrives; pause, delay, rate and blackhole
//! when it leaves, so that they also hold for what waits already. Packets leave in the order in
//! which they came unless reordering is asked for: reordering by accident makes QUIC look lossy.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What waits in one lane at most; more is dropped and counted, as a router would.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// A link's speed, and how much waits for it before packets are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second.
    pub bits_per_second: u64,
    /// Bytes that may wait.
    pub queue_bytes: usize,
}

/// What is wrong with one direction. The default is a perfect line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Everything is dropped, silently.
    pub blackhole: bool,
    /// Nothing leaves, nothing is lost.
    pub paused: bool,
    /// Every packet takes this long.
    pub delay: Duration,
    /// The last packet of a burst takes this long: it leaves when another follows or time is up.
    pub tail_late: Duration,
    /// The share of packets that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of packets that come twice, from 0 to 1.
    pub duplicate: f64,
    /// The share of packets that overtake the one before, from 0 to 1.
    pub reorder: f64,
    /// The line's speed; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Payloads of more bytes are dropped; `None` lets all pass.
    pub payload_bytes_max: Option<usize>,
}

/// What became of the packets of one direction, over all clients.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) forwarded: AtomicU64,
    pub(super) forwarded_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) reordered: AtomicU64,
}

/// The counters of one direction at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came in.
    pub received: u64,
    /// Packets that were passed on, second copies included.
    pub forwarded: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Packets that were not passed on, for whatever fault.
    pub dropped: u64,
    /// Packets that were sent twice.
    pub duplicated: u64,
    /// Packets that overtook another.
    pub reordered: u64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            received: get(&self.received),
            forwarded: get(&self.forwarded),
            forwarded_bytes: get(&self.forwarded_bytes),
            dropped: get(&self.dropped),
            duplicated: get(&self.duplicated),
            reordered: get(&self.reordered),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

struct Packet {
    bytes: Vec<u8>,
    arrived: Instant,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// When the line is free again, with a rate.
    line_free: Option<Instant>,
}

/// When the packet at the head may leave.
enum Head {
    Now(Vec<u8>),
    At(Instant),
    NotYet,
}

pub(super) struct Lane {
    faults: Arc<Mutex<Faults>>,
    counters: Arc<Counters>,
    queue: Mutex<Queue>,
    wake: Notify,
    rng: Mutex<StdRng>,
}

impl Lane {
    pub(super) fn new(faults: Arc<Mutex<Faults>>, counters: Arc<Counters>, seed: u64) -> Self {
        Self {
            faults,
            counters,
            queue: Mutex::default(),
            wake: Notify::new(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// Takes a packet that came in.
    pub(super) fn offer(&self, bytes: &[u8]) {
        count(&self.counters.received);
        let faults = self.faults.lock().unwrap().clone();
        // All three are drawn for every packet, so that one fault does not shift another's dice.
        let (lost, twice, overtakes) = {
            let mut rng = self.rng.lock().unwrap();
            (
                rng.random::<f64>() < faults.loss,
                rng.random::<f64>() < faults.duplicate,
                rng.random::<f64>() < faults.reorder,
            )
        };
        let too_long = faults
            .payload_bytes_max
            .is_some_and(|most| bytes.len() > most);
        if faults.blackhole || lost || too_long {
            count(&self.counters.dropped);
            return;
        }
        let room = faults.rate.map_or(QUEUE_BYTES, |rate| rate.queue_bytes);
        let mut queue = self.queue.lock().unwrap();
        for copy in 0..=u8::from(twice) {
            if queue.bytes + bytes.len() > room {
                count(&self.counters.dropped);
                continue;
            }
            if copy == 1 {
                count(&self.counters.duplicated);
            }
            let packet = Packet {
                bytes: bytes.to_vec(),
                arrived: Instant::now(),
            };
            queue.bytes += bytes.len();
            let at = queue.packets.len().saturating_sub(usize::from(overtakes));
            if overtakes && !queue.packets.is_empty() {
                count(&self.counters.reordered);
            }
            queue.packets.insert(at, packet);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// The faults were changed: look again at what waits.
    pub(super) fn recheck(&self) {
        self.wake.notify_one();
    }

    /// The next packet, when it may leave. For one reader.
    pub(super) async fn next(&self) -> Vec<u8> {
        loop {
            match self.head(Instant::now()) {
                Head::Now(bytes) => {
                    count(&self.counters.forwarded);
                    self.counters
                        .forwarded_bytes
                        .fetch_add(bytes.len() as u64, Ordering::SeqCst);
                    return bytes;
                }
                Head::At(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.wake.notified() => {}
                },
                Head::NotYet => self.wake.notified().await,
            }
        }
    }

    fn head(&self, now: Instant) -> Head {
        let faults = self.faults.lock().unwrap().clone();
        let mut queue = self.queue.lock().unwrap();
        if faults.blackhole {
            let dropped = queue.packets.len() as u64;
            self.counters.dropped.fetch_add(dropped, Ordering::SeqCst);
            *queue = Queue::default();
        }
        if faults.paused {
            return Head::NotYet;
        }
        let Some(packet) = queue.packets.front() else {
            return Head::NotYet;
        };
        let mut due = packet.arrived + faults.delay;
        if queue.packets.len() == 1 {
            due = due.max(packet.arrived + faults.tail_late);
        }
        if faults.rate.is_some() {
            due = due.max(queue.line_free.unwrap_or(due));
        }
        if due > now {
            return Head::At(due);
        }
        let bytes = queue
            .packets
            .pop_front()
            .map(|packet| packet.bytes)
            .unwrap_or_default();
        queue.bytes -= bytes.len();
        queue.line_free = faults.rate.map(|rate| {
            let bits = bytes.len() as u64 * 8;
            now + Duration::from_secs_f64(bits as f64 / rate.bits_per_second.max(1) as f64)
        });
        Head::Now(bytes)
    }
}
