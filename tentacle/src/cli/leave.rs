//! `tentacle leave`: this machine is no target any more.
//!
//! In this order, so that whoever is killed in between types it again and it goes on: the server is told
//! first, with the key that it knows; the key goes last. Installed versions stay: they serve.

use std::fs;
use std::io;
use std::path::Path;

use clap::Args;
use mantle_shared::Digest;

use super::join::EXIT_REFUSED;
use super::{EXIT_INTERNAL, EXIT_UNREACHABLE, Failure, print, warn};
use crate::connection::{self, LeaveError, Left, ServerAddress, Timing};
use crate::identity::Identity;
use crate::link::HelloFacts;
use crate::settings;
use crate::state_dir::{StateDir, StateDirError};

/// How to leave.
#[derive(Debug, Args)]
pub(super) struct LeaveArgs {
    /// Also removes the service, and all data of the agent; installed versions stay.
    #[arg(long)]
    purge: bool,
    /// Leaves although steps run or the server cannot be told.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &LeaveArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let apps = settings::apps(state_dir).ok().map(|apps| apps.path);
    refuse_unfinished(args, state_dir)?;
    // One that runs would hold the data, and could begin something meanwhile.
    let stopped = service::stop(state_dir)?;
    let told = refuse_unfinished(args, state_dir)
        .and_then(|()| refuse_running(state_dir))
        .and_then(|()| tell_server(args, state_dir));
    if let Err(failure) = told {
        if stopped {
            service::resume(state_dir)?;
        }
        return Err(failure);
    }
    if args.purge {
        service::uninstall(state_dir)?;
        purge(state_dir)?;
    }
    remove(&state_dir.identity())?;
    if args.purge {
        // Only if nothing of another's is in there.
        let _ = fs::remove_dir(state_dir.root());
    }
    if let Some(apps) = apps.filter(|apps| apps.is_dir()) {
        print(&format!(
            "installed versions stay in {}: applications run from there",
            apps.display()
        ));
    }
    Ok(())
}

/// What runs, or was not stored by the server yet, would be lost to it. An attempt's folder is made before
/// anything is started, and removed when the server has everything.
fn refuse_unfinished(args: &LeaveArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let attempts = match fs::read_dir(state_dir.attempts()) {
        Ok(entries) => entries.count(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            let path = state_dir.attempts().display().to_string();
            let why = format!("{path} cannot be read: {error}; run as the agent's user");
            return Err(Failure::new(EXIT_INTERNAL, why));
        }
    };
    if args.force || attempts == 0 {
        return Ok(());
    }
    Err(Failure::new(
        EXIT_REFUSED,
        format!(
            "steps run here or are not yet stored by the server ({attempts} in all), which would never learn how they ended; wait for them, or type the same command with --force"
        ),
    ))
}

fn refuse_running(state_dir: &StateDir) -> Result<(), Failure> {
    if matches!(state_dir.lock(), Err(StateDirError::InUse { .. })) {
        return Err(Failure::new(
            EXIT_REFUSED,
            format!(
                "the agent runs with {}; stop it, then type the same command again",
                state_dir.root().display()
            ),
        ));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod service {
    use super::super::service::fail;
    use super::{Failure, StateDir, print};
    use crate::service::systemd::{self, ServiceError};

    const UNIT: &str = "tentacle.service";

    /// Whether it ran and was stopped. Another agent's service is let alone.
    pub(super) fn stop(state_dir: &StateDir) -> Result<bool, Failure> {
        if !systemd::serves(UNIT, state_dir) {
            return Ok(false);
        }
        match systemd::standing(UNIT) {
            Ok(Some(standing)) if standing.pid != 0 => {
                systemd::stop(UNIT).map_err(fail)?;
                print(&format!("stopped {UNIT}"));
                Ok(true)
            }
            Ok(_) | Err(ServiceError::NoSystemd) => Ok(false),
            Err(error) => Err(fail(error)),
        }
    }

    /// Back to how it was.
    pub(super) fn resume(state_dir: &StateDir) -> Result<(), Failure> {
        systemd::start(UNIT, state_dir, false).map_err(fail)?;
        print(&format!("started {UNIT} again"));
        Ok(())
    }

    pub(super) fn uninstall(state_dir: &StateDir) -> Result<(), Failure> {
        if !systemd::serves(UNIT, state_dir) {
            return Ok(());
        }
        match systemd::standing(UNIT) {
            Ok(None) | Err(ServiceError::NoSystemd) => Ok(()),
            Ok(Some(_)) => systemd::uninstall(UNIT, &mut print).map(drop).map_err(fail),
            Err(error) => Err(fail(error)),
        }
    }
}

#[cfg(windows)]
mod service {
    use super::super::service::fail;
    use super::{Failure, StateDir, print};
    use crate::scm::State;
    use crate::service::windows::{self, NAME};

    /// Whether it ran and was stopped. Another agent's service is let alone.
    pub(super) fn stop(state_dir: &StateDir) -> Result<bool, Failure> {
        if !windows::serves(NAME, state_dir).map_err(fail)? {
            return Ok(false);
        }
        let standing = windows::standing(NAME, state_dir).map_err(fail)?;
        if standing.is_none_or(|standing| standing.state == State::Stopped) {
            return Ok(false);
        }
        windows::stop(NAME).map_err(fail)?;
        print(&format!("stopped {NAME}"));
        Ok(true)
    }

    /// Back to how it was.
    pub(super) fn resume(state_dir: &StateDir) -> Result<(), Failure> {
        windows::start(NAME, state_dir, false).map_err(fail)?;
        print(&format!("started {NAME} again"));
        Ok(())
    }

    pub(super) fn uninstall(state_dir: &StateDir) -> Result<(), Failure> {
        if !windows::serves(NAME, state_dir).map_err(fail)? {
            return Ok(());
        }
        windows::uninstall(NAME, state_dir, &mut print)
            .map(drop)
            .map_err(fail)
    }
}

/// There is no service on this platform yet.
#[cfg(not(any(target_os = "linux", windows)))]
mod service {
    use super::{Failure, StateDir};

    pub(super) fn stop(_state_dir: &StateDir) -> Result<bool, Failure> {
        Ok(false)
    }

    pub(super) fn resume(_state_dir: &StateDir) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) fn uninstall(_state_dir: &StateDir) -> Result<(), Failure> {
        Ok(())
    }
}

fn tell_server(args: &LeaveArgs, state_dir: &StateDir) -> Result<(), Failure> {
    if !Identity::exists(state_dir.root()) {
        print("this machine has joined no server");
        return Ok(());
    }
    let told = Identity::load(state_dir.root())
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))
        .and_then(|identity| {
            let told = told(&identity);
            told.map(|left| (identity.name, left))
        });
    match told {
        Ok((name, Left::Now)) => {
            print(&format!("the server knows that {name} has left"));
            Ok(())
        }
        Ok((name, Left::Before)) => {
            print(&format!("the server had let {name} go already"));
            Ok(())
        }
        Err(mut failure) if args.force => {
            failure.add("; on the server type 'mantle agent revoke NAME'");
            warn(&format!("the server was not told: {}", failure.message));
            Ok(())
        }
        Err(mut failure) => {
            failure.add(
                "\n  nothing of this machine's was removed; type the same command with --force to leave all the same, and 'mantle agent revoke NAME' on the server",
            );
            Err(failure)
        }
    }
}

/// Tells the first of its addresses that listens.
fn told(identity: &Identity) -> Result<Left, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
    let timing = Timing::from_environment();
    let facts = HelloFacts {
        features: crate::actions::features(),
        boot_id: crate::process::boot_id(),
        highest_epoch: 0,
        journal: Digest::of(b""),
    };
    let mut last = Failure::new(EXIT_INTERNAL, "the identity names no server");
    for address in &identity.servers {
        let Ok(address) = address.parse::<ServerAddress>() else {
            continue;
        };
        match runtime.block_on(connection::leave(&address, identity, &facts, &timing)) {
            Ok(left) => return Ok(left),
            Err(error @ (LeaveError::Refused(_) | LeaveError::Unsupported)) => {
                return Err(Failure::from_error(EXIT_REFUSED, &error));
            }
            Err(error) => last = Failure::from_error(EXIT_UNREACHABLE, &error),
        }
    }
    Err(last)
}

/// Everything in the data directory that is the agent's own, but the identity and installed versions.
fn purge(state_dir: &StateDir) -> Result<(), Failure> {
    let root = state_dir.root();
    let own = [
        state_dir.journal(),
        state_dir.attempts(),
        state_dir.artifacts(),
        state_dir.cache(),
        state_dir.status_file(),
        state_dir.log_file(),
        state_dir.log_file().with_extension("log.1"),
        root.join("settings.json"),
        root.join("lock"),
    ];
    for path in &own {
        remove(path)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => {
            print(&format!("removed {}", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(
            EXIT_INTERNAL,
            format!("{} could not be removed: {error}", path.display()),
        )),
    }
}
