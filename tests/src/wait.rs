//! Waiting for named conditions: the one place of the tests that sleeps.
//!
//! A test never sleeps for a fixed time. It says what it waits for and until when; if the time is
//! over, the failure says what was seen last.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is looked at. Short beside any deadline, long beside a look.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `probe` gives a value. Its error says what it saw instead; a probe that hangs is
/// cut off by the deadline as well.
///
/// # Panics
/// When `within` is over.
pub async fn wait_for<T, F, Fut>(what: &str, within: Duration, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    let mut seen = "nothing yet: the first look did not come back".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(state)) => seen = state,
            Err(_) => {}
        }
        assert!(
            Instant::now() < deadline,
            "waited {within:?} for: {what}\nseen last: {seen}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// When `within` is over.
pub async fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || {
        let holds = condition();
        async move {
            if holds {
                Ok(())
            } else {
                Err("it does not hold".to_owned())
            }
        }
    })
    .await;
}

/// Like [`wait_until`], for code without a runtime (such as `Drop`); tells whether it came true.
pub fn block_until(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if std::time::Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_is_returned() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(5), || {
            looks += 1;
            let now = looks;
            async move {
                if now == 3 {
                    Ok(now)
                } else {
                    Err(format!("look {now}"))
                }
            }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "seen last: the door is shut")]
    async fn a_condition_that_does_not_is_named_with_what_was_seen() {
        wait_for("an open door", Duration::from_millis(60), || async {
            Err::<(), _>("the door is shut".to_owned())
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "waited")]
    async fn a_probe_that_hangs_is_cut_off() {
        wait_for::<(), _, _>("an answer", Duration::from_millis(60), std::future::pending).await;
    }
}
