//! `tentacle service`: the agent as a service of this machine.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;
use crate::service::unit::Profile;
#[cfg(not(windows))]
use crate::service::unit::unit_name;
#[cfg(not(any(target_os = "linux", windows)))]
use {super::Failure, crate::state_dir::StateDir};

/// The name of a service is that of its unit without `.service`.
#[cfg(windows)]
fn unit_name(text: &str) -> Result<String, String> {
    mantle_shared::inputs::service_name(text).map(str::to_owned)
}

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// Installs the agent as a service that starts with the machine.
    Install(InstallArgs),
    /// Starts the service, and waits until the agent works.
    Start(Which),
    /// Stops the service; running steps go on.
    Stop(Which),
    /// Starts the service anew; running steps go on.
    Restart(Which),
    /// Says how the service stands; the exit code is 0 if it runs.
    Status(StatusArgs),
    /// Stops and removes the service; the agent's data stays.
    Uninstall(Which),
}

/// Which service.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// The service's unit, on Windows its name, for a second agent of one machine.
    #[arg(long, value_name = "NAME", default_value = "tentacle", value_parser = unit_name)]
    pub(super) unit: String,
}

/// How to install it.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// How much of the machine the agent and its steps may touch.
    #[arg(long, value_enum, default_value = "full")]
    pub(super) profile: Profile,
    /// A further folder that the confined agent may write; may be given again.
    #[arg(long, value_name = "DIR")]
    pub(super) writable: Vec<PathBuf>,
    /// A service that the confined agent may start, stop and restart; may be given again.
    #[arg(long, value_name = "UNIT", value_parser = unit_name)]
    pub(super) manages: Vec<String>,
    /// Shows the unit and changes nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// How to print.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn run(command: &ServiceCommand, _state_dir: &StateDir) -> Result<(), Failure> {
    let _ = command;
    Err(unsupported())
}

/// What is said where there is no such service.
#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn unsupported() -> Failure {
    Failure::new(
        super::join::EXIT_REFUSED,
        "the agent does not install itself as a service on this platform yet; start it with 'tentacle run'",
    )
}

#[cfg(windows)]
pub(super) use super::service_windows::{fail, run};
#[cfg(target_os = "linux")]
pub(super) use linux::{fail, run};

#[cfg(target_os = "linux")]
mod linux {
    use serde_json::json;

    use super::{InstallArgs, ServiceCommand, StatusArgs, Which};
    use crate::cli::join::EXIT_REFUSED;
    use crate::cli::{
        EXIT_INTERNAL, EXIT_NOT_FOUND, EXIT_USAGE, Failure, Output, print, print_json,
    };
    use crate::service::systemd::{self, Install, ServiceError, Standing};
    use crate::service::unit;
    use crate::state_dir::StateDir;

    pub(in crate::cli) fn run(
        command: &ServiceCommand,
        state_dir: &StateDir,
    ) -> Result<(), Failure> {
        match command {
            ServiceCommand::Install(args) => install(args, state_dir),
            ServiceCommand::Start(Which { unit }) => {
                systemd::start(unit, state_dir, false).map_err(fail)?;
                print(&format!("{unit} runs"));
                Ok(())
            }
            ServiceCommand::Restart(Which { unit }) => {
                systemd::start(unit, state_dir, true).map_err(fail)?;
                print(&format!("{unit} runs anew"));
                Ok(())
            }
            ServiceCommand::Stop(Which { unit }) => {
                systemd::stop(unit).map_err(fail)?;
                print(&format!("{unit} has stopped; running steps go on"));
                Ok(())
            }
            ServiceCommand::Status(args) => status(args),
            ServiceCommand::Uninstall(Which { unit }) => uninstall(unit, state_dir),
        }
    }

    /// A failure with the code of its kind.
    pub(in crate::cli) fn fail(error: ServiceError) -> Failure {
        let code = match &error {
            ServiceError::NoSystemd
            | ServiceError::NotRoot
            | ServiceError::Replaceable { .. }
            | ServiceError::Anothers { .. }
            | ServiceError::NotJoined { .. } => EXIT_REFUSED,
            ServiceError::Path(_) | ServiceError::OnlyConfined(_) => EXIT_USAGE,
            ServiceError::NotInstalled { .. } => EXIT_NOT_FOUND,
            ServiceError::Command { .. }
            | ServiceError::Io { .. }
            | ServiceError::Settings(_)
            | ServiceError::Data(_) => EXIT_INTERNAL,
        };
        Failure::from_error(code, &error)
    }

    fn install(args: &InstallArgs, state_dir: &StateDir) -> Result<(), Failure> {
        let options = Install {
            unit: args.which.unit.clone(),
            profile: args.profile,
            writable: args.writable.clone(),
            manages: args.manages.clone(),
        };
        if args.dry_run {
            let unit = systemd::plan(&options, state_dir)
                .and_then(|found| Ok(unit::unit(&found)?))
                .map_err(fail)?;
            print(unit.trim_end());
            return Ok(());
        }
        systemd::install(&options, state_dir, &mut print).map_err(fail)?;
        print("'tentacle service start' starts it now");
        Ok(())
    }

    fn uninstall(unit: &str, state_dir: &StateDir) -> Result<(), Failure> {
        if systemd::uninstall(unit, &mut print).map_err(fail)? {
            let data = state_dir.root().display();
            print(&format!("the agent's data stays in {data}"));
        } else {
            print(&format!("there was no service {unit}"));
        }
        Ok(())
    }

    fn status(args: &StatusArgs) -> Result<(), Failure> {
        let unit = &args.which.unit;
        let standing = systemd::standing(unit).map_err(fail)?;
        let Some(standing) = standing else {
            let unit = unit.clone();
            return Err(fail(ServiceError::NotInstalled { unit }));
        };
        match args.output {
            Output::Json => {
                print_json(&json!({"schema": "tentacle.cli/v1", "service": standing}));
            }
            Output::Table => table(&standing),
        }
        if standing.active == "active" {
            return Ok(());
        }
        Err(Failure::new(
            EXIT_INTERNAL,
            format!(
                "{unit} does not run; 'tentacle service start' starts it, 'journalctl -u {unit}' shows why it ended"
            ),
        ))
    }

    fn table(standing: &Standing) {
        let Standing {
            unit,
            file,
            profile,
            active,
            sub,
            at_boot,
            pid,
            restarts,
            says,
        } = standing;
        print(&format!("service   {unit}: {active} ({sub}), {at_boot}"));
        print(&format!("profile   {profile}"));
        print(&format!("unit      {file}"));
        print(&format!("process   {pid}, started anew {restarts} times"));
        print(&format!("says      {says}"));
    }
}
