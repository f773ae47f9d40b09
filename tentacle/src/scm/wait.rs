//! Starting and stopping with a deadline: the service control manager only takes the wish.

use std::time::{Duration, Instant};

use super::{ScmError, Services, State, Status};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// A service that is being started takes no other wish yet; one that has just stopped is no error.
const TAKES_NO_WISH: i32 = 1061;
const NOT_ACTIVE: i32 = 1062;
const RUNS_ALREADY: i32 = 1056;
/// It did not become what it should; Wine says so too of one that ended meanwhile, with an error of its own.
const NO_ANSWER: i32 = 1053;

/// Waits; an error ends the wait with it.
pub type Pause<'a, E> = &'a dyn Fn(Duration) -> Result<(), E>;

/// Starts a service, and waits until it runs and has run on for a while.
pub fn start<E: From<ScmError>>(
    services: &dyn Services,
    name: &str,
    (within, settle): (Duration, Duration),
    pause: Pause<'_, E>,
) -> Result<(), E> {
    match services.start(name) {
        Err(ScmError::Refused {
            code: RUNS_ALREADY, ..
        })
        | Ok(()) => {}
        Err(error) => {
            let no_answer = matches!(&error, ScmError::Refused { code, .. } if *code == NO_ANSWER);
            let status = status(services, name)?;
            if no_answer && status.state == State::Stopped && status.own_error.is_some() {
                return Err(ScmError::ended(name, &status).into());
            }
            return Err(error.into());
        }
    }
    let deadline = Instant::now() + within;
    loop {
        let status = status(services, name)?;
        match status.state {
            State::Running => break,
            State::Stopped => return Err(ScmError::ended(name, &status).into()),
            is if Instant::now() >= deadline => {
                return Err(late(name, State::Running, is, within).into());
            }
            State::Starting | State::Stopping | State::Paused => pause(LOOK)?,
        }
    }
    let begun = status(services, name)?.pid;
    let deadline = Instant::now() + settle;
    loop {
        let status = status(services, name)?;
        // Another process: it ended and was started again by the service control manager.
        let same = begun.is_none() || status.pid.is_none() || status.pid == begun;
        if status.state != State::Running || !same {
            return Err(ScmError::ended(name, &status).into());
        }
        if Instant::now() >= deadline {
            return Ok(());
        }
        pause(LOOK)?;
    }
}

/// Stops a service, and waits until it has. One that is not there is stopped.
pub fn stop<E: From<ScmError>>(
    services: &dyn Services,
    name: &str,
    within: Duration,
    pause: Pause<'_, E>,
) -> Result<(), E> {
    let deadline = Instant::now() + within;
    let mut told = false;
    loop {
        let Some(status) = services.status(name)? else {
            return Ok(());
        };
        if status.state == State::Stopped {
            return Ok(());
        }
        if !told && status.state != State::Stopping {
            told = match services.stop(name) {
                Ok(()) => true,
                Err(ScmError::Refused {
                    code: TAKES_NO_WISH | NOT_ACTIVE,
                    ..
                }) => false,
                Err(error) => return Err(error.into()),
            };
        }
        if Instant::now() >= deadline {
            return Err(late(name, State::Stopped, status.state, within).into());
        }
        pause(LOOK)?;
    }
}

fn status(services: &dyn Services, name: &str) -> Result<Status, ScmError> {
    services.status(name)?.ok_or_else(|| ScmError::None {
        name: name.to_owned(),
    })
}

fn late(name: &str, wanted: State, is: State, within: Duration) -> ScmError {
    ScmError::Late {
        name: name.to_owned(),
        wanted,
        is,
        within,
    }
}
