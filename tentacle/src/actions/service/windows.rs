//! Services of Windows.

use std::time::Duration;

use super::super::{ActionError, StopToken};
use crate::scm::local::Local;
use crate::scm::{ScmError, Services as _, State, wait};

/// Whether it runs; an error if there is none.
pub(super) fn is_running(name: &str, _stop: &StopToken) -> Result<bool, ActionError> {
    let status = Local.status(name)?.ok_or_else(|| ScmError::None {
        name: name.to_owned(),
    })?;
    Ok(status.state != State::Stopped)
}

/// Starts or stops it, and waits until it is so.
pub(super) fn set(
    name: &str,
    start: bool,
    within: Duration,
    stop: &StopToken,
) -> Result<(), ActionError> {
    let pause = |time| stop.sleep(time);
    if start {
        wait::start(&Local, name, (within, Duration::ZERO), &pause)
    } else {
        wait::stop(&Local, name, within, &pause)
    }
}
