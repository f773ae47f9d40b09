//! Reminding a connected agent that its certificate is to be renewed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mantle_shared::fault;
use mantle_shared::protocol::CertificateDue;

use super::outbox::Outbox;
use super::trust::TrustedKey;

/// The clock is looked at this often at least: it can be set while one waits.
const LOOK: Duration = Duration::from_hours(1);
/// How often one is reminded who does nothing, at most.
const AGAIN_AT_LEAST: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_mins(10);

/// Reminds the agent from half of its certificate's life on, for as long as the connection lasts: it
/// comes back with another certificate, and that is another connection.
pub(super) async fn remind(key: TrustedKey, control: &Outbox) {
    loop {
        let left_us = if fault::sabotaged("nothing-is-due") {
            i64::MAX
        } else {
            key.due_at_us().saturating_sub(now_us())
        };
        if left_us > 0 {
            let left = Duration::from_micros(left_us.unsigned_abs());
            tokio::time::sleep(left.min(LOOK)).await;
            continue;
        }
        // An agent that reads nothing is disconnected by what it is also sent.
        let _ = control.push(
            &CertificateDue {
                not_after_us: key.not_after_us,
            }
            .into(),
        );
        tokio::time::sleep(again(&key)).await;
    }
}

/// A tenth of the time that is left when a certificate is due.
fn again(key: &TrustedKey) -> Duration {
    let left_us = key.not_after_us.saturating_sub(key.due_at_us()).max(0);
    Duration::from_micros(left_us.unsigned_abs() / 10).clamp(AGAIN_AT_LEAST, AGAIN_AT_MOST)
}

fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
