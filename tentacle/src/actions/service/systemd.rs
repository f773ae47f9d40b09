//! Services of systemd.

use std::time::Duration;

use super::super::systemd::control;
use super::super::{ActionError, StopToken};

fn unit(name: &str) -> String {
    format!("{name}.service")
}

/// Whether it runs; an error if there is none.
pub(super) fn is_running(name: &str, stop: &StopToken) -> Result<bool, ActionError> {
    control::require()?;
    let state = control::state(&unit(name), stop)?;
    if state.load == "loaded" {
        return Ok(state.is_active());
    }
    Err(ActionError::failed(format!(
        "systemd has no service {name} ({}); 'systemctl list-unit-files --type=service' lists those that there are",
        state.load
    )))
}

/// Starts or stops it, and waits until it is so.
pub(super) fn set(
    name: &str,
    start: bool,
    within: Duration,
    stop: &StopToken,
) -> Result<(), ActionError> {
    let unit = unit(name);
    let verb = if start { "start" } else { "stop" };
    control::order(&[verb, &unit], within, stop)?;
    if start {
        return control::stays_up(&unit, (within, Duration::ZERO), stop);
    }
    Ok(())
}
