//! A server that has fallen silent: it is asked again and again, so that one that was started anew is
//! noticed within a second of its being there, and while it owes a greeting it is left.

use std::time::Duration;

use quinn::Connection;
use tokio::time::{Instant, MissedTickBehavior};

use super::endpoint;

/// How often it is looked whether anything came.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a silent server is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Asks a silent server until the connection is over, which the caller notices.
pub(super) async fn ask_when_silent(connection: Connection, keepalive: Duration) {
    // The keepalive is answered by then, if anybody is there; one more question does no harm.
    let mut silence = Silence::new(keepalive + LOOK_EVERY, Instant::now());
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        if silence.asks(connection.stats().udp_rx.datagrams, Instant::now()) {
            endpoint::ask(&connection);
        }
    }
}

/// Returns once nothing at all has come in for so long, though something is owed: a server that is
/// there acknowledges what it gets at once, however long it thinks about it. This is for the greeting.
/// A server that was killed between the two ends of a handshake cannot say so when it is back: until a
/// client has the server's word that the handshake is done, it may repeat only what no other
/// process can answer (RFC 9002, section 6.2.1).
pub(super) async fn fell_silent(connection: &Connection, allowed: Duration) {
    let (now, half) = (Instant::now(), allowed / 2);
    let (mut silence, mut doubt) = (Silence::new(allowed, now), Silence::new(half, now));
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        let (received, now) = (connection.stats().udp_rx.datagrams, Instant::now());
        if silence.is_over_due(received, now) {
            return;
        }
        // One that only thinks has nothing to say by itself, and the keepalive may come too late.
        if doubt.asks(received, now) {
            endpoint::ask(connection);
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Watches a counter of what has come in.
struct Silence {
    allowed: Duration,
    received: u64,
    since: Instant,
    asked: Option<Instant>,
}

impl Silence {
    fn new(allowed: Duration, now: Instant) -> Self {
        Self {
            allowed,
            received: 0,
            since: now,
            asked: None,
        }
    }

    /// Whether nothing has come in for longer than a server that is there would need.
    fn is_over_due(&mut self, received: u64, now: Instant) -> bool {
        if received != self.received {
            self.received = received;
            self.since = now;
            self.asked = None;
        }
        now.duration_since(self.since) >= self.allowed
    }

    /// Whether it is to be asked now.
    fn asks(&mut self, received: u64, now: Instant) -> bool {
        let recently = |asked: Instant| now.duration_since(asked) < ASK_EVERY;
        if !self.is_over_due(received, now) || self.asked.is_some_and(recently) {
            return false;
        }
        self.asked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_owes_an_answer_is_asked_and_once_a_second() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_millis(3250), start);
        let mut look = |received, ms| silence.asks(received, start + Duration::from_millis(ms));
        assert!(!look(5, 1000));
        assert!(!look(6, 4000), "the keepalive was answered");
        assert!(!look(6, 7000));
        assert!(look(6, 7250));
        assert!(!look(6, 7500), "it was asked just now");
        assert!(!look(6, 8000));
        assert!(look(6, 8250), "again and again");
        assert!(!look(7, 8500), "it is back");
        assert!(!look(7, 11_500));
        assert!(look(7, 11_750));
    }

    #[test]
    fn silence_begins_anew_with_whatever_comes() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(3), start);
        let mut look =
            |received, second| silence.is_over_due(received, start + Duration::from_secs(second));
        assert!(!look(0, 2));
        assert!(look(0, 3), "nothing ever came");
        assert!(!look(1, 4));
        assert!(!look(1, 6));
        assert!(look(1, 7));
    }
}
