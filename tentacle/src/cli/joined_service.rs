//! What `tentacle join --install` does beside joining: the service, started, and the server reached.

use super::{Failure, service};
use crate::service::Profile;
use crate::state_dir::StateDir;

#[cfg(target_os = "linux")]
pub(super) use linux::{check, start};

/// Whether the service could be installed.
#[cfg(not(target_os = "linux"))]
pub(super) fn check(_profile: Profile, _state_dir: &StateDir) -> Result<(), Failure> {
    Err(service::unsupported())
}

/// Installs the service.
#[cfg(not(target_os = "linux"))]
pub(super) fn start(
    _profile: Profile,
    _state_dir: &StateDir,
    _say: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    Err(service::unsupported())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::{Duration, Instant};

    use super::service::fail;
    use super::{Failure, Profile, StateDir};
    use crate::cli::{EXIT_INTERNAL, EXIT_UNREACHABLE};
    use crate::driver::{Connection, Status};
    use crate::service::systemd::{self, Install};

    /// The service of the one agent of a machine.
    const UNIT: &str = "tentacle.service";
    /// An agent dials at once, and again within seconds.
    const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
    const LOOK: Duration = Duration::from_millis(100);

    fn options(profile: Profile) -> Install {
        Install {
            unit: UNIT.to_owned(),
            profile,
            writable: Vec::new(),
            manages: Vec::new(),
        }
    }

    pub(in crate::cli) fn check(profile: Profile, state_dir: &StateDir) -> Result<(), Failure> {
        systemd::check(&options(profile), state_dir)
            .map(drop)
            .map_err(fail)
    }

    pub(in crate::cli) fn start(
        profile: Profile,
        state_dir: &StateDir,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        systemd::install(&options(profile), state_dir, say).map_err(fail)?;
        // Anew, so that another identity or program than before is used.
        systemd::start(UNIT, state_dir, true).map_err(fail)?;
        say(&format!("{UNIT} runs"));
        let connected = connected(state_dir)?;
        say(&connected);
        Ok(())
    }

    /// Waits until the agent that was just started has reached its server.
    fn connected(state_dir: &StateDir) -> Result<String, Failure> {
        let deadline = Instant::now() + CONNECTED_WITHIN;
        let pid = systemd::standing(UNIT).map_err(fail)?.map(|now| now.pid);
        let mut reason = "it has not said why".to_owned();
        while Instant::now() < deadline {
            let status = Status::read(&state_dir.status_file())
                .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
            // What an agent before it wrote says nothing of this one.
            match status.filter(|status| Some(status.pid) == pid) {
                Some(Status {
                    connection: Connection::Connected { .. },
                    ..
                }) => return Ok("the server is connected".to_owned()),
                Some(Status {
                    connection: Connection::Disconnected { reason: why },
                    ..
                }) => reason = why,
                Some(_) | None => {}
            }
            std::thread::sleep(LOOK);
        }
        Err(Failure::new(
            EXIT_UNREACHABLE,
            format!(
                "the service runs, but has not reached the server in {} s: {reason}; it goes on trying, 'tentacle status' says how it stands",
                CONNECTED_WITHIN.as_secs()
            ),
        ))
    }
}
