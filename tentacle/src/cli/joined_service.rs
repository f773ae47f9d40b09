//! What `tentacle join --install` does beside joining: the service, started, and the server reached.

use super::Failure;
use crate::service::Profile;
use crate::state_dir::StateDir;

#[cfg(not(any(target_os = "linux", windows)))]
pub(super) use elsewhere::{check, start};
#[cfg(any(target_os = "linux", windows))]
pub(super) use here::{check, start};

#[cfg(not(any(target_os = "linux", windows)))]
mod elsewhere {
    use super::{Failure, Profile, StateDir};
    use crate::cli::service::unsupported;

    /// Whether the service could be installed.
    pub(in crate::cli) fn check(_profile: Profile, _state_dir: &StateDir) -> Result<(), Failure> {
        Err(unsupported())
    }

    /// Installs the service.
    pub(in crate::cli) fn start(
        _profile: Profile,
        _state_dir: &StateDir,
        _say: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        Err(unsupported())
    }
}

#[cfg(target_os = "linux")]
mod manager {
    use super::{Failure, Profile, StateDir};
    use crate::cli::service::fail;
    use crate::service::systemd::{self, Install};

    /// The service of the one agent of a machine.
    pub(super) const NAME: &str = "tentacle.service";

    fn options(profile: Profile) -> Install {
        Install {
            unit: NAME.to_owned(),
            profile,
            writable: Vec::new(),
            manages: Vec::new(),
        }
    }

    /// Whether the service could be installed.
    pub(in crate::cli) fn check(profile: Profile, state_dir: &StateDir) -> Result<(), Failure> {
        systemd::check(&options(profile), state_dir)
            .map(drop)
            .map_err(fail)
    }

    /// Installs it and starts it anew, so that another identity or program than before is used.
    pub(super) fn put_up(
        profile: Profile,
        state_dir: &StateDir,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        systemd::install(&options(profile), state_dir, say).map_err(fail)?;
        systemd::start(NAME, state_dir, true).map_err(fail)
    }

    pub(super) fn pid(_state_dir: &StateDir) -> Result<Option<u32>, Failure> {
        let standing = systemd::standing(NAME).map_err(fail)?;
        Ok(standing.map(|now| now.pid))
    }
}

#[cfg(windows)]
mod manager {
    use super::{Failure, Profile, StateDir};
    use crate::cli::service::fail;
    use crate::cli::service_windows::check_profile;
    use crate::service::windows;

    /// The service of the one agent of a machine.
    pub(super) const NAME: &str = windows::NAME;

    /// Whether the service could be installed.
    pub(in crate::cli) fn check(profile: Profile, state_dir: &StateDir) -> Result<(), Failure> {
        check_profile(profile)?;
        windows::check(NAME, state_dir).map_err(fail)
    }

    /// Installs it and starts it anew, so that another identity or program than before is used.
    pub(super) fn put_up(
        _profile: Profile,
        state_dir: &StateDir,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        windows::install(NAME, state_dir, say).map_err(fail)?;
        windows::start(NAME, state_dir, true).map_err(fail)
    }

    pub(super) fn pid(state_dir: &StateDir) -> Result<Option<u32>, Failure> {
        let standing = windows::standing(NAME, state_dir).map_err(fail)?;
        Ok(standing.map(|now| now.pid))
    }
}

#[cfg(any(target_os = "linux", windows))]
mod here {
    use std::time::{Duration, Instant};

    pub(in crate::cli) use super::manager::check;
    use super::manager::{NAME, pid, put_up};
    use super::{Failure, Profile, StateDir};
    use crate::cli::{EXIT_INTERNAL, EXIT_UNREACHABLE};
    use crate::driver::{Connection, Status};

    /// An agent dials at once, and again within seconds.
    const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
    const LOOK: Duration = Duration::from_millis(100);

    /// Installs the service, starts it, and waits until the server is there.
    pub(in crate::cli) fn start(
        profile: Profile,
        state_dir: &StateDir,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        put_up(profile, state_dir, say)?;
        say(&format!("{NAME} runs"));
        let connected = connected(state_dir)?;
        say(&connected);
        Ok(())
    }

    /// Waits until the agent that was just started has reached its server.
    fn connected(state_dir: &StateDir) -> Result<String, Failure> {
        let deadline = Instant::now() + CONNECTED_WITHIN;
        let pid = pid(state_dir)?;
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
