//! What happened on the network, in numbers. Never logged by the packet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counters of one gateway.
#[derive(Debug, Default)]
pub struct Counters {
    /// Work connections whose agent was taken in.
    pub welcomed: AtomicU64,
    /// Connections refused for who they were.
    pub refused: AtomicU64,
    /// Handshakes that were not finished in time.
    pub handshake_timeouts: AtomicU64,
    /// Connections sent away with a Retry to prove their address.
    pub retries: AtomicU64,
    /// Connections ignored because too many were being opened.
    pub ignored: AtomicU64,
    /// Streams reset because what came was not the protocol.
    pub bad_streams: AtomicU64,
    /// Messages of a type that is not known here.
    pub unsupported: AtomicU64,
    /// Answers to nothing that was asked; they are ignored.
    pub stray_answers: AtomicU64,
    /// Agents that did not read what they were sent.
    pub slow_agents: AtomicU64,
    /// Bytes of package objects sent.
    pub bulk_bytes: AtomicU64,
}

impl Counters {
    /// One more.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a few through in each interval and counts the rest.
#[derive(Debug)]
pub(super) struct Sampler {
    every: Duration,
    a_time: u32,
    window: Option<(Instant, u32)>,
    held_back: u64,
}

impl Sampler {
    /// `a_time` in each `every`.
    pub(super) fn new(a_time: u32, every: Duration) -> Self {
        Self {
            every,
            a_time,
            window: None,
            held_back: 0,
        }
    }

    /// Whether this one is told; with it, how many were not since the last one that was.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        let (since, told) = match self.window {
            Some((since, told)) if now.duration_since(since) < self.every => (since, told),
            _ => (now, 0),
        };
        if told >= self.a_time {
            self.held_back += 1;
            return None;
        }
        self.window = Some((since, told + 1));
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_and_the_rest_counted() {
        let start = Instant::now();
        let mut sampler = Sampler::new(2, Duration::from_mins(1));
        assert_eq!(sampler.admit(start), Some(0));
        assert_eq!(sampler.admit(start), Some(0));
        assert_eq!(sampler.admit(start), None);
        assert_eq!(sampler.admit(start), None);
        assert_eq!(sampler.admit(start + Duration::from_secs(61)), Some(2));
    }
}
