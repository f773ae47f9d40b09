//! `tentacle service` on Windows.

use serde_json::json;

use super::join::EXIT_REFUSED;
use super::service::{InstallArgs, ServiceCommand, StatusArgs, Which};
use super::{EXIT_INTERNAL, EXIT_NOT_FOUND, EXIT_USAGE, Failure, Output, print, print_json};
use crate::scm::{ScmError, State};
use crate::service::Profile;
use crate::service::windows::{self, ServiceError, Standing};
use crate::state_dir::StateDir;

pub(super) fn run(command: &ServiceCommand, state_dir: &StateDir) -> Result<(), Failure> {
    match command {
        ServiceCommand::Install(args) => install(args, state_dir),
        ServiceCommand::Start(Which { unit }) => {
            windows::start(unit, state_dir, false).map_err(fail)?;
            print(&format!("{unit} runs"));
            Ok(())
        }
        ServiceCommand::Restart(Which { unit }) => {
            windows::start(unit, state_dir, true).map_err(fail)?;
            print(&format!("{unit} runs anew"));
            Ok(())
        }
        ServiceCommand::Stop(Which { unit }) => {
            windows::stop(unit).map_err(fail)?;
            print(&format!("{unit} has stopped; running steps go on"));
            Ok(())
        }
        ServiceCommand::Status(args) => status(args, state_dir),
        ServiceCommand::Uninstall(Which { unit }) => uninstall(unit, state_dir),
    }
}

/// A failure with the code of its kind.
pub(super) fn fail(error: ServiceError) -> Failure {
    let code = match &error {
        ServiceError::Anothers { .. }
        | ServiceError::NotJoined(_)
        | ServiceError::Scm(ScmError::Closed(_) | ScmError::Shared { .. }) => EXIT_REFUSED,
        ServiceError::NotInstalled(_) | ServiceError::Scm(ScmError::None { .. }) => EXIT_NOT_FOUND,
        ServiceError::Scm(
            ScmError::Refused { .. }
            | ScmError::Ended { .. }
            | ScmError::Late { .. }
            | ScmError::Program { .. },
        )
        | ServiceError::Start { .. }
        | ServiceError::Program(_)
        | ServiceError::Settings(_)
        | ServiceError::Data(_) => EXIT_INTERNAL,
    };
    Failure::from_error(code, &error)
}

/// The agent has one way to run as a service here.
pub(super) fn check_profile(profile: Profile) -> Result<(), Failure> {
    match profile {
        Profile::Full => Ok(()),
        Profile::Confined => Err(Failure::new(
            EXIT_USAGE,
            "the profile 'confined' is there on Linux alone: on Windows the service runs as LocalSystem; leave '--profile' out",
        )),
    }
}

fn install(args: &InstallArgs, state_dir: &StateDir) -> Result<(), Failure> {
    check_profile(args.profile)?;
    if !args.writable.is_empty() || !args.manages.is_empty() {
        return Err(Failure::new(
            EXIT_USAGE,
            "'--writable' and '--manages' are for the profile 'confined', which is there on Linux alone",
        ));
    }
    let name = &args.which.unit;
    if args.dry_run {
        let setup = windows::plan(name, state_dir).map_err(fail)?;
        print_json(&json!({"schema": "tentacle.cli/v1", "name": name, "service": setup}));
        return Ok(());
    }
    windows::install(name, state_dir, &mut print).map_err(fail)?;
    print("'tentacle service start' starts it now");
    Ok(())
}

fn uninstall(name: &str, state_dir: &StateDir) -> Result<(), Failure> {
    if windows::uninstall(name, state_dir, &mut print).map_err(fail)? {
        let data = state_dir.root().display();
        print(&format!("the agent's data stays in {data}"));
    } else {
        print(&format!("there was no service {name}"));
    }
    Ok(())
}

fn status(args: &StatusArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let name = &args.which.unit;
    let standing = windows::standing(name, state_dir).map_err(fail)?;
    let Some(standing) = standing else {
        return Err(fail(ServiceError::NotInstalled(name.clone())));
    };
    match args.output {
        Output::Json => print_json(&json!({"schema": "tentacle.cli/v1", "service": standing})),
        Output::Table => table(&standing),
    }
    if standing.state == State::Running {
        return Ok(());
    }
    Err(Failure::new(
        EXIT_INTERNAL,
        format!(
            "{name} does not run; 'tentacle service start' starts it, {} and the event log show why it ended",
            state_dir.log_file().display()
        ),
    ))
}

fn table(standing: &Standing) {
    let Standing {
        name,
        display_name,
        account,
        state,
        start,
        pid,
        program,
        arguments,
        says,
    } = standing;
    let start = json!(start);
    let start = start.as_str().unwrap_or_default();
    print(&format!(
        "service   {name}, {display_name}: {}, {start}",
        state.word()
    ));
    print(&format!("account   {account}"));
    print(&format!("program   {program} {}", arguments.join(" ")));
    print(&format!("process   {pid}"));
    print(&format!("says      {says}"));
}
