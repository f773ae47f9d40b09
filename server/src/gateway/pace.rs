//! How fast package objects leave: a token bucket for the server and one for each agent.
//!
//! Bulk goes in pieces, each of which waits for its turn, so that a line that others need is not
//! filled by packages. What must hold:
//! - in any time, no more leaves than the rate times that time, and what a quarter of a second saves up;
//! - turns are given in the order in which they were asked for, so that all transfers go on together;
//! - a piece is so small that a thousand agents with all their transfers each get one within eight
//!   seconds: a receiver takes half a minute of silence for a dead line.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be saved up by a bucket of which nothing was taken: enough that a timer that is late by some
/// milliseconds costs nothing.
const SAVED: Duration = Duration::from_millis(250);
/// Pieces of this part of a second's bytes: 2,000 transfers have one each within 8 s.
const PIECES_A_SECOND: u64 = 256;
/// Smaller pieces would be all overhead.
const PIECE_LEAST_BYTES: u64 = 4 * 1024;
/// Larger ones would hold more of the window than they need.
const PIECE_MOST_BYTES: u64 = 64 * 1024;

/// So many bytes in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushRate(NonZeroU64);

impl PushRate {
    /// The lowest rate of a server: below it a large fleet's transfers would stand still for longer than
    /// their receivers wait.
    pub const SERVER_LEAST: u64 = 1024 * 1024;
    /// The lowest rate of one agent, for the same reason; it has two transfers at most.
    pub const AGENT_LEAST: u64 = 64 * 1024;

    /// `None` for none at all, which is no pace.
    pub fn new(bytes_a_second: u64) -> Option<Self> {
        NonZeroU64::new(bytes_a_second).map(Self)
    }

    fn bytes_a_second(self) -> u64 {
        self.0.get()
    }

    /// How long so many bytes take.
    fn time_of(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_a_second());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn piece_bytes(self) -> u64 {
        (self.bytes_a_second() / PIECES_A_SECOND).clamp(PIECE_LEAST_BYTES, PIECE_MOST_BYTES)
    }
}

/// How fast packages are pushed. Without a rate as fast as the line takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushRates {
    /// To all agents together.
    pub server: Option<PushRate>,
    /// To each agent.
    pub agent: Option<PushRate>,
}

/// Gives turns at a rate, first come, first served.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: PushRate,
    /// When all that was taken so far is paid for. In the past: something is saved up.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(super) fn new(rate: PushRate) -> Self {
        Self {
            rate,
            paid: Mutex::new(None),
        }
    }

    /// Takes so many bytes; the answer is when they may leave.
    fn take(&self, bytes: u64, now: Instant) -> Instant {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = paid.map_or(now, |paid| paid.max(now));
        let to = from + self.rate.time_of(bytes);
        *paid = Some(to);
        to.checked_sub(SAVED).map_or(now, |at| at.max(now))
    }
}

/// The buckets that hold for one agent's transfers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<'a> {
    pub(super) agent: Option<&'a Bucket>,
    pub(super) server: Option<&'a Bucket>,
}

impl Pace<'_> {
    /// How much leaves at a time; `None` for all that there is.
    pub(super) fn piece_bytes(self) -> Option<usize> {
        let least = [self.agent, self.server]
            .into_iter()
            .flatten()
            .map(|bucket| bucket.rate.piece_bytes())
            .min()?;
        usize::try_from(least).ok()
    }

    /// Waits until so many bytes may leave. The agent's turn comes first: one whose own pace is low holds
    /// no turn of the server meanwhile.
    pub(super) async fn turn(self, bytes: usize) {
        if mantle_shared::fault::sabotaged("pushes-not-paced") {
            return;
        }
        for bucket in [self.agent, self.server].into_iter().flatten() {
            let at = bucket.take(bytes as u64, Instant::now());
            tokio::time::sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;

    fn rate(bytes_a_second: u64) -> PushRate {
        PushRate::new(bytes_a_second).unwrap()
    }

    proptest! {
        /// Whatever is taken whenever: in no span leaves more than the rate gives and was saved up.
        #[test]
        fn no_more_leaves_than_the_rate_and_what_was_saved(
            bytes_a_second in PushRate::AGENT_LEAST..1024 * KIB * KIB,
            takes in proptest::collection::vec((0_u64..400, 1_u64..=16), 1..60),
        ) {
            let rate = rate(bytes_a_second);
            let bucket = Bucket::new(rate);
            let start = Instant::now();
            let mut now = start;
            let mut left: Vec<(Instant, u64)> = Vec::new();
            for (later_ms, parts) in takes {
                now += Duration::from_millis(later_ms);
                let bytes = rate.piece_bytes() * parts / 16;
                let at = bucket.take(bytes, now);
                prop_assert!(at >= now);
                if let Some((before, _)) = left.last() {
                    prop_assert!(at >= *before, "turns are in order");
                }
                left.push((at, bytes));
            }
            for first in 0..left.len() {
                let mut sum = 0;
                for (at, bytes) in &left[first..] {
                    sum += bytes;
                    let span = *at - left[first].0 + SAVED;
                    // A microsecond for each division that was rounded down.
                    let due = rate.time_of(sum);
                    prop_assert!(due <= span + Duration::from_micros(60), "{due:?} in {span:?}");
                }
            }
        }

        /// A large fleet's transfers all get a turn long before a receiver gives up.
        #[test]
        fn a_thousand_agents_get_a_piece_each_within_eight_seconds(
            bytes_a_second in PushRate::SERVER_LEAST..1 << 40,
        ) {
            let rate = rate(bytes_a_second);
            prop_assert!(rate.time_of(2000 * rate.piece_bytes()) <= Duration::from_secs(8));
        }
    }

    #[test]
    fn a_piece_fits_into_what_is_saved_up() {
        for bytes_a_second in [PushRate::AGENT_LEAST, PushRate::SERVER_LEAST, 1 << 30] {
            let rate = rate(bytes_a_second);
            assert!(rate.time_of(rate.piece_bytes()) < SAVED, "{rate:?}");
        }
    }

    #[test]
    fn the_smaller_of_two_pieces_counts_and_without_a_rate_there_is_none() {
        let (slow, fast) = (Bucket::new(rate(64 * KIB)), Bucket::new(rate(1 << 30)));
        let piece = |agent, server| Pace { agent, server }.piece_bytes();
        assert_eq!(piece(None, None), None);
        assert_eq!(piece(None, Some(&fast)), Some(64 * 1024));
        assert_eq!(piece(Some(&slow), Some(&fast)), Some(4 * 1024));
    }

    /// One transfer: whose bucket it takes from, how much it has left, and the next thing that it does.
    struct Sending<'a> {
        agent: &'a Bucket,
        left: u64,
        at: Instant,
        has_agents_turn: bool,
    }

    /// Runs transfers beside each other, as [`Pace::turn`] lets them, on a clock of its own; says how
    /// long each took.
    fn run(server: &Bucket, start: Instant, transfers: &[(&Bucket, u64)]) -> Vec<Duration> {
        let mut all: Vec<Sending<'_>> = transfers
            .iter()
            .map(|(agent, left)| Sending {
                agent,
                left: *left,
                at: start,
                has_agents_turn: false,
            })
            .collect();
        while let Some(next) = all
            .iter_mut()
            .filter(|sending| sending.left > 0)
            .min_by_key(|sending| sending.at)
        {
            let (agent, server) = (Some(next.agent), Some(server));
            let piece = Pace { agent, server }.piece_bytes().unwrap() as u64;
            let bucket = if next.has_agents_turn { server } else { agent };
            next.at = bucket.unwrap().take(piece, next.at);
            if next.has_agents_turn {
                next.left = next.left.saturating_sub(piece);
            }
            next.has_agents_turn = !next.has_agents_turn;
        }
        all.iter().map(|sending| sending.at - start).collect()
    }

    #[test]
    fn transfers_of_one_agent_share_its_rate_and_all_agents_share_the_servers() {
        const MIB: u64 = 1024 * KIB;
        let server = Bucket::new(rate(MIB));
        let (left, right) = (Bucket::new(rate(MIB)), Bucket::new(rate(256 * KIB)));
        // All together in so many seconds, less what was saved up; and each with a fair share.
        let check = |took: Vec<Duration>, seconds: u64| {
            let whole = Duration::from_secs(seconds);
            let last = took.iter().max().copied().unwrap_or_default();
            assert!(last <= whole && last + SAVED >= whole, "{took:?}");
            let early = 2 * SAVED + Duration::from_millis(100);
            assert!(took.iter().all(|took| *took + early >= whole), "{took:?}");
        };
        // Two transfers of 1 MiB each to one agent of 1 MiB/s.
        let start = Instant::now();
        check(run(&server, start, &[(&left, MIB), (&left, MIB)]), 2);
        // The slow agent has its own pace, and the other the rest.
        let later = start + Duration::from_secs(10);
        let both = [(&left, 3 * MIB), (&right, MIB)];
        check(run(&server, later, &both), 4);
    }
}
