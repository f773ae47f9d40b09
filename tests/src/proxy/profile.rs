//! Lines as they are in the field, by name.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{BOTH, Faults, Proxy, Rate, payload_within};

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
    /// Puts it on both ways of the proxy. To be called within a runtime.
    pub fn play(self, proxy: &Proxy) -> Played {
        let mut cycle = JoinSet::new();
        if let Self::Intermittent { dark, every } = self {
            cycle.spawn(darken(proxy.clone(), dark, every));
        } else {
            for direction in BOTH {
                proxy.set(direction, |faults| *faults = self.faults());
            }
        }
        Played {
            proxy: proxy.clone(),
            cycle,
        }
    }

    /// What is wrong with each way of it from the beginning.
    fn faults(self) -> Faults {
        let fine = Faults::default();
        match self {
            Self::Perfect | Self::Intermittent { .. } => fine,
            Self::Delayed(delay) => Faults { delay, ..fine },
            Self::LateTail(tail_late) => Faults { tail_late, ..fine },
            Self::Lossy(loss) => Faults { loss, ..fine },
            Self::Slow(bits_per_second) => Faults {
                rate: Some(Rate {
                    bits_per_second,
                    queue_bytes: SLOW_QUEUE_BYTES,
                }),
                ..fine
            },
            Self::Narrow(mtu) => Faults {
                payload_bytes_max: Some(payload_within(mtu)),
                ..fine
            },
        }
    }
}

/// A profile that is on the line.
pub struct Played {
    proxy: Proxy,
    cycle: JoinSet<()>,
}

impl Played {
    /// Ends it: the line is perfect, and stays so.
    pub async fn end(mut self) {
        // Waited for, or it might darken the line once more.
        self.cycle.shutdown().await;
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
    fn each_profile_breaks_what_its_name_says_and_nothing_else() {
        let delay = Duration::from_millis(20);
        let broken = |change: fn(&mut Faults)| {
            let mut faults = Faults::default();
            change(&mut faults);
            faults
        };
        let cycle = Profile::Intermittent {
            dark: delay,
            every: delay,
        };
        let table = [
            (Profile::Perfect, broken(|_| ())),
            (cycle, broken(|_| ())),
            (
                Profile::Delayed(delay),
                broken(|faults| faults.delay = Duration::from_millis(20)),
            ),
            (
                Profile::LateTail(delay),
                broken(|faults| faults.tail_late = Duration::from_millis(20)),
            ),
            (Profile::Lossy(0.02), broken(|faults| faults.loss = 0.02)),
            (
                Profile::Narrow(1280),
                broken(|faults| faults.payload_bytes_max = Some(1252)),
            ),
        ];
        for (profile, expected) in table {
            assert_eq!(profile.faults(), expected, "{profile:?}");
        }
        let rate = Profile::Slow(1_000_000).faults().rate.unwrap();
        assert_eq!(rate.bits_per_second, 1_000_000);
    }

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
