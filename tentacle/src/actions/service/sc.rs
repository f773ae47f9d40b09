//! Services of Windows, by `sc.exe`, which is there on every Windows.

use std::time::{Duration, Instant};

use super::super::tool::ask;
use super::super::values::show_duration;
use super::super::{ActionError, StopToken};

/// The service control manager answers at once; a machine under load may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a service is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// States of a service, as `winsvc.h` numbers them.
const STOPPED: u32 = 1;
const RUNNING: u32 = 4;

/// Whether it runs; an error if there is none.
pub(super) fn is_running(name: &str, stop: &StopToken) -> Result<bool, ActionError> {
    state(name, stop).map(|state| state != STOPPED)
}

/// Starts or stops it, and waits until it is so.
pub(super) fn set(
    name: &str,
    start: bool,
    within: Duration,
    stop: &StopToken,
) -> Result<(), ActionError> {
    let (verb, wanted) = if start {
        ("start", RUNNING)
    } else {
        ("stop", STOPPED)
    };
    let answer = ask("sc.exe", &[verb, name], ANSWER_TIMEOUT, stop)?;
    if !answer.is_ok() {
        return Err(ActionError::failed(format!(
            "'sc {verb} {name}' failed: {}",
            answer.complaint()
        )));
    }
    let deadline = Instant::now() + within;
    loop {
        let now = state(name, stop)?;
        if now == wanted {
            return Ok(());
        }
        if Instant::now() >= deadline || (start && now == STOPPED) {
            return Err(ActionError::failed(format!(
                "{name} did not {verb} within {}: its state is {now} (1 is stopped, 4 is running); look into the event log",
                show_duration(within)
            )));
        }
        stop.sleep(POLL_INTERVAL)?;
    }
}

fn state(name: &str, stop: &StopToken) -> Result<u32, ActionError> {
    let answer = ask("sc.exe", &["query", name], ANSWER_TIMEOUT, stop)?;
    parse(&answer.out).ok_or_else(|| {
        ActionError::failed(format!(
            "Windows does not say what the service {name} is: {}; 'sc query state= all' lists those that there are",
            answer.complaint()
        ))
    })
}

/// The words are in the language of the machine, so the numbers are read: type, then state.
fn parse(text: &str) -> Option<u32> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let numbers = values.filter_map(|(_, value)| {
        let number = value.split_whitespace().next()?;
        value.split_whitespace().nth(1)?;
        number.parse::<u32>().ok()
    });
    numbers.into_iter().find(|number| (1..=7).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_in_any_language() {
        for (text, state) in [
            (
                "\r\nSERVICE_NAME: w3svc\r\n        TYPE               : 20  WIN32_SHARE_PROCESS\r\n        STATE              : 4  RUNNING\r\n        WIN32_EXIT_CODE    : 0  (0x0)\r\n",
                Some(RUNNING),
            ),
            (
                "DIENSTNAME: w3svc\r\n        TYP                : 10  WIN32_OWN_PROCESS\r\n        STATUS             : 1  STOPPED\r\n",
                Some(STOPPED),
            ),
            (
                "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n",
                None,
            ),
        ] {
            assert_eq!(parse(text), state, "{text}");
        }
    }
}
