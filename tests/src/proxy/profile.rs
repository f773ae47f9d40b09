//! Lines as they are in the field, by name.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Proxy, Rate};

/// What a line is like for as long as it is [played](Profile::play).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Profile {
    /// Nothing is wrong with it.
    Perfect,
    /// Every packet takes this long, each way.
    Delayed(Duration),
    /// The last packet of every burst is late by this much.
    LateTail(Duration),
    /// This share of packets is lost, from 0 to 1.
    Lossy(f64),
    /// So many bits pass in a second, each way.
    Slow(u64),
    /// It begins well and then is dark, again and again.
    Intermittent {
        /// How long nothing passes.
        dark: Duration,
        /// How long it takes from one darkness to the next.
        every: Duration,
    },
    /// What is larger than this (headers included) vanishes without a word.
    Narrow(usize),
}

/// What may wait on a slow line before its router drops: a tenth of a second at 1 Mbit/s.
const SLOW_QUEUE_BYTES: usize = 12_500;

impl Profile {
    /// Puts it on both ways of the proxy, until what is returned is dropped or [`Proxy::pass`].
    /// To be called within a runtime.
    pub fn play(self, proxy: &Proxy) -> Played {
        let mut cycle = None;
        match self {
            Self::Perfect => {}
            Self::Delayed(delay) => proxy.delay(delay),
            Self::LateTail(delay) => proxy.tail_late(delay),
            Self::Lossy(share) => proxy.loss(share),
            Self::Slow(bits_per_second) => proxy.rate(Rate {
                bits_per_second,
                queue_bytes: SLOW_QUEUE_BYTES,
            }),
            Self::Intermittent { dark, every } => {
                cycle = Some(tokio::spawn(darken(proxy.clone(), dark, every)).abort_handle());
            }
            Self::Narrow(bytes) => proxy.mtu(bytes),
        }
        Played {
            proxy: proxy.clone(),
            cycle,
        }
    }
}

/// A profile that is on the line.
pub struct Played {
    proxy: Proxy,
    cycle: Option<AbortHandle>,
}

impl Drop for Played {
    fn drop(&mut self) {
        if let Some(cycle) = &self.cycle {
            cycle.abort();
        }
        self.proxy.pass();
    }
}

/// Whether a line is dark so long after it began, and when that changes.
fn cycle_at(since: Duration, dark: Duration, every: Duration) -> (bool, Duration) {
    // A cycle that is all darkness, or of no length, never changes.
    let (every, dark) = (every.max(Duration::from_millis(1)), dark.min(every));
    let cycles = u32::try_from(since.as_nanos() / every.as_nanos()).unwrap_or(u32::MAX);
    let began = every.saturating_mul(cycles);
    let darkens = began + every.saturating_sub(dark);
    if since < darkens {
        (false, darkens)
    } else {
        (true, began + every)
    }
}

async fn darken(proxy: Proxy, dark: Duration, every: Duration) {
    let start = Instant::now();
    loop {
        let (is_dark, until) = cycle_at(start.elapsed(), dark, every);
        if is_dark {
            proxy.drop_all();
        } else {
            proxy.pass();
        }
        sleep_until(start + until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_well_and_is_dark_at_the_end_of_each_cycle() {
        let seconds = Duration::from_secs;
        let table = [
            (0, (false, 20)),
            (19, (false, 20)),
            (20, (true, 30)),
            (29, (true, 30)),
            (30, (false, 50)),
            (55, (true, 60)),
        ];
        for (since, (is_dark, until)) in table {
            let found = cycle_at(seconds(since), seconds(10), seconds(30));
            assert_eq!(found, (is_dark, seconds(until)), "{since} s");
        }
        assert!(cycle_at(seconds(5), seconds(10), seconds(10)).0, "always");
        assert!(!cycle_at(seconds(5), seconds(0), seconds(10)).0, "never");
        assert!(
            cycle_at(seconds(5), seconds(20), seconds(10)).0,
            "more than always"
        );
    }
}
