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
    fn what_the_server_asks_for_is_a_floor_with_a_bound() {
        let mut backoff = Backoff::new(&Timing::default());
        let wait = backoff.next(0.5, Some(Duration::from_secs(3)));
        assert_eq!(wait, Duration::from_millis(3250));
        assert!(backoff.next(0.0, Some(Duration::from_hours(24))) == MAX_REQUESTED);
    }
}
