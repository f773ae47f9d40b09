//! How long to wait between dials: exponential with full jitter.
//!
//! Full jitter (a uniform draw from nothing to the bound) spreads a fleet that lost its server at
//! one instant evenly over the whole interval, so that the server's return is no stampede. The
//! bound starts anew only after a connection that lasted, since a server that accepts and then
//! throws everybody out is in trouble as well.

use std::time::Duration;

use super::timing::Timing;

/// The longest wait that a server may ask for by `GoAway`.
const MAX_REQUESTED: Duration = Duration::from_mins(10);

/// A first dial has this long. A server that is killed in the middle of a handshake and comes back does not
/// know it, and nothing tells the agent: only another dial finds it. Lines on which it takes longer are
/// given more by the next ones.
const FIRST_DIAL: Duration = Duration::from_secs(3);

/// The state of the waits.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(timing: &Timing) -> Self {
        Self {
            first: timing.backoff_first,
            max: timing.backoff_max,
            failures: 0,
        }
    }

    /// A connection lasted: the next waits are short again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long a dial may take by now, at most as long as any.
    pub(super) fn dial_timeout(&self, most: Duration) -> Duration {
        let doubled = 1_u32
            .checked_shl(self.failures.saturating_sub(1))
            .and_then(|factor| FIRST_DIAL.checked_mul(factor));
        doubled.map_or(most, |timeout| timeout.min(most))
    }

    /// The wait before the next dial. `draw` is uniform in 0..1. What the server asked for is
    /// waited in full before the draw is added.
    pub(super) fn next(&mut self, draw: f64, asked: Option<Duration>) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        asked.unwrap_or_default().min(MAX_REQUESTED) + bound.mul_f64(draw.clamp(0.0, 1.0))
    }

    fn bound(&self) -> Duration {
        let doubled = 1_u32
            .checked_shl(self.failures)
            .and_then(|factor| self.first.checked_mul(factor));
        doubled.map_or(self.max, |bound| bound.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_the_maximum_and_starts_anew() {
        let mut backoff = Backoff::new(&Timing::default());
        let bounds: Vec<_> = (0..9)
            .map(|_| backoff.next(1.0, None).as_millis())
            .collect();
        assert_eq!(
            bounds,
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
        );
        for _ in 0..100 {
            assert!(backoff.next(1.0, None) <= Duration::from_mins(1));
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0, None), Duration::from_millis(500));
        assert_eq!(backoff.next(0.0, None), Duration::ZERO);
    }

    #[test]
    fn dials_are_given_more_time_from_one_to_the_next() {
        let mut backoff = Backoff::new(&Timing::default());
        let most = Timing::default().connect_timeout;
        let mut timeouts = vec![backoff.dial_timeout(most).as_secs()];
        for _ in 0..40 {
            backoff.next(1.0, None);
            timeouts.push(backoff.dial_timeout(most).as_secs());
        }
        assert_eq!(timeouts[..5], [3, 3, 6, 10, 10]);
        assert_eq!(timeouts.last(), Some(&10));
        backoff.reset();
        assert_eq!(backoff.dial_timeout(most).as_secs(), 3);
        // Whatever is configured holds for the first one, too.
        let short = Duration::from_millis(300);
        assert_eq!(backoff.dial_timeout(short), short);
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor_with_a_bound() {
        let mut backoff = Backoff::new(&Timing::default());
        let wait = backoff.next(0.5, Some(Duration::from_secs(3)));
        assert_eq!(wait, Duration::from_millis(3250));
        assert!(backoff.next(0.0, Some(Duration::from_hours(24))) == MAX_REQUESTED);
    }

    const FLEET: usize = 500;
    const OUTAGE_S: f64 = 600.0;

    /// What a dial is to a server that is down.
    #[derive(Debug, Clone, Copy)]
    enum Down {
        /// The machine answers that nobody listens.
        Refused,
        /// Nothing comes back; a dial that is under way when the server returns gets through, since
        /// its first packet is repeated.
        Dark,
    }

    /// When each agent is back, in seconds after the server is, in order. All lost it at once.
    fn back_after(down: Down, mut draw: impl FnMut() -> f64) -> Vec<f64> {
        let timing = Timing::default();
        let mut times: Vec<f64> = (0..FLEET)
            .map(|_| {
                let mut backoff = Backoff::new(&timing);
                let mut now = 0.0;
                loop {
                    now += backoff.next(draw(), None).as_secs_f64();
                    let lasts = match down {
                        Down::Refused => 0.0,
                        Down::Dark => backoff.dial_timeout(timing.connect_timeout).as_secs_f64(),
                    };
                    if now + lasts > OUTAGE_S {
                        return (now - OUTAGE_S).max(0.0);
                    }
                    now += lasts;
                }
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// The most that come within a second.
    fn most_a_second(times: &[f64]) -> usize {
        let within = |from: f64| {
            times
                .iter()
                .filter(move |at| (from..from + 1.0).contains(*at))
        };
        times
            .iter()
            .map(|from| within(*from).count())
            .max()
            .unwrap()
    }

    #[test]
    fn s06_after_an_outage_500_agents_are_back_within_a_minute_and_are_no_herd() {
        for seed in 0..20_u64 {
            let mut state = seed;
            let mut draw = move || {
                // SplitMix64, to have the same draws in each run.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^= mixed >> 31;
                f64::from(u32::try_from(mixed >> 32).unwrap()) / f64::from(u32::MAX)
            };
            // The server takes 100 handshakes a second from one address in the long run, and 1,024 more
            // at once; evenly spread over a minute, 500 agents would be 8.3 a second.
            for (down, most) in [(Down::Refused, 40), (Down::Dark, 200)] {
                let times = back_after(down, &mut draw);
                assert!(*times.last().unwrap() <= 60.0, "{down:?} {seed}: {times:?}");
                let peak = most_a_second(&times);
                assert!(peak <= most, "{down:?} {seed}: {peak} in a second");
            }
        }
        // What this would be without the draw.
        assert_eq!(most_a_second(&back_after(Down::Refused, || 1.0)), FLEET);
    }
}
