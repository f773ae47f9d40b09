//! A server that has fallen silent is asked again and again, so that one that was started anew is
//! noticed within a second of its being there.

use std::time::Duration;

use quinn::Connection;
use tokio::time::{Instant, MissedTickBehavior};

use super::endpoint;

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Asks a silent server until the connection is over, which the caller notices.
pub(super) async fn ask_when_silent(connection: Connection, keepalive: Duration) {
    let mut silence = Silence::new(keepalive, Instant::now());
    let mut ticks = tokio::time::interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if silence.is_over_due(connection.stats().udp_rx.datagrams, Instant::now()) {
            endpoint::ask(&connection);
        }
    }
}

/// Watches a counter of what has come in.
struct Silence {
    /// The keepalive is answered by then, if anybody is there.
    allowed: Duration,
    received: u64,
    since: Instant,
}

impl Silence {
    fn new(keepalive: Duration, now: Instant) -> Self {
        Self {
            allowed: keepalive + ASK_EVERY,
            received: 0,
            since: now,
        }
    }

    /// Whether nothing has come in for longer than a server that is there would need.
    fn is_over_due(&mut self, received: u64, now: Instant) -> bool {
        if received != self.received {
            self.received = received;
            self.since = now;
        }
        now.duration_since(self.since) >= self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_owes_an_answer_is_asked() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(3), start);
        let mut look =
            |received, second| silence.is_over_due(received, start + Duration::from_secs(second));
        assert!(!look(5, 1));
        assert!(!look(6, 4), "the keepalive was answered");
        assert!(!look(6, 7));
        assert!(look(6, 8));
        assert!(look(6, 9), "again and again");
        assert!(!look(7, 10), "it is back");
        assert!(look(7, 14));
    }
}
