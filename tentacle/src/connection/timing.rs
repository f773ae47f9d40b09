//! How long the connection waits for what. The environment may say otherwise, for tests.

use std::time::Duration;

/// Every duration that the connection goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The peer is gone after this long without a packet.
    pub idle_timeout: Duration,
    /// A packet is sent at least this often. It keeps UDP translations alive (they commonly last 30 s),
    /// and it is how an idle agent learns that its server was started anew: the answer to a packet of
    /// a connection that the server does not know is a reset.
    pub keepalive: Duration,
    /// One address has this long to complete a handshake.
    pub connect_timeout: Duration,
    /// From the handshake to `Welcome`.
    pub welcome_timeout: Duration,
    /// The same for a server from which nothing at all comes, not even an acknowledgement.
    pub greeting_silence: Duration,
    /// From `Welcome` to the last `Resynced`.
    pub resync_timeout: Duration,
    /// A frame on the control stream must be gone after this long, or the server reads no more.
    pub write_timeout: Duration,
    /// The first bound of the random wait between dials; it doubles.
    pub backoff_first: Duration,
    /// The last bound of that wait.
    pub backoff_max: Duration,
    /// A connection that lasted this long starts the waits from the beginning.
    pub stable_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(45),
            keepalive: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(10),
            welcome_timeout: Duration::from_secs(15),
            greeting_silence: Duration::from_secs(3),
            resync_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_mins(1),
            stable_after: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// The defaults, with what `TENTACLE_..._MS` variables change. A value that is no number of
    /// milliseconds is ignored: a typo must not keep an agent off its server.
    pub fn from_environment() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut timing = Self::default();
        let set = |name: &str, field: &mut Duration| {
            if let Some(ms) = lookup(name).and_then(|text| text.trim().parse().ok())
                && ms > 0
            {
                *field = Duration::from_millis(ms);
            }
        };
        set("TENTACLE_IDLE_TIMEOUT_MS", &mut timing.idle_timeout);
        set("TENTACLE_KEEPALIVE_MS", &mut timing.keepalive);
        set("TENTACLE_CONNECT_TIMEOUT_MS", &mut timing.connect_timeout);
        set("TENTACLE_BACKOFF_MAX_MS", &mut timing.backoff_max);
        set("TENTACLE_STABLE_AFTER_MS", &mut timing.stable_after);
        timing.backoff_first = timing.backoff_first.min(timing.backoff_max);
        timing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_changes_what_it_names_and_nonsense_is_ignored() {
        let timing = Timing::from_lookup(|name| match name {
            "TENTACLE_IDLE_TIMEOUT_MS" => Some("1500".to_owned()),
            "TENTACLE_KEEPALIVE_MS" => Some("soon".to_owned()),
            "TENTACLE_BACKOFF_MAX_MS" => Some("100".to_owned()),
            _ => None,
        });
        assert_eq!(timing.idle_timeout, Duration::from_millis(1500));
        assert_eq!(timing.keepalive, Timing::default().keepalive);
        assert_eq!(timing.backoff_first, Duration::from_millis(100));
    }
}
