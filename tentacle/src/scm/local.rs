//! The service control manager of this machine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_registry::LOCAL_MACHINE;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceDependency,
    ServiceErrorControl, ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod,
    ServiceInfo, ServiceStartType, ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::error::is_not_implemented;
use super::{
    Lacks, Measure, Recovery, Remedy, ScmError, Services, Setup, Start, State, Status,
    command_line, same_account,
};

/// Where Windows keeps what it tells of services by no other way: descriptions, and delayed starts.
const KEY: &str = r"SYSTEM\CurrentControlSet\Services";
/// There is no service of this name.
const NO_SERVICE: i32 = 1060;
/// The longest times that the interface takes, in its own units.
const LONGEST_MS: u64 = u32::MAX as u64 - 1;
const LONGEST_S: u64 = u32::MAX as u64 - 1;

/// The services of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Local {
    fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, ScmError> {
        ServiceManager::local_computer(None::<&str>, access)
            .map_err(|error| ScmError::Closed(cause(error).to_string()))
    }

    fn open(
        name: &str,
        access: ServiceAccess,
        doing: &'static str,
    ) -> Result<Option<Service>, ScmError> {
        let manager = Self::manager(ServiceManagerAccess::CONNECT)?;
        match manager.open_service(name, access).map_err(cause) {
            Ok(service) => Ok(Some(service)),
            Err(error) if error.raw_os_error() == Some(NO_SERVICE) => Ok(None),
            Err(error) => Err(ScmError::refused(doing, name, &error)),
        }
    }

    fn existing(
        name: &str,
        access: ServiceAccess,
        doing: &'static str,
    ) -> Result<Service, ScmError> {
        Self::open(name, access, doing)?.ok_or_else(|| ScmError::None {
            name: name.to_owned(),
        })
    }
}

impl Services for Local {
    fn setup(&self, name: &str) -> Result<Option<Setup>, ScmError> {
        const ASK: &str = "tell the configuration of";
        let Some(service) = Self::open(name, ServiceAccess::QUERY_CONFIG, ASK)? else {
            return Ok(None);
        };
        let refused = |error| ScmError::refused(ASK, name, &cause(error));
        let config = service.query_config().map_err(refused)?;
        if !config.service_type.contains(ServiceType::OWN_PROCESS) {
            return Err(ScmError::Shared {
                name: name.to_owned(),
            });
        }
        let line = config.executable_path.to_string_lossy();
        let (program, arguments) = command_line::split(&line, &|path| Path::new(path).is_file());
        let key = LOCAL_MACHINE.open(format!(r"{KEY}\{name}")).ok();
        let delayed = key
            .as_ref()
            .and_then(|key| key.get_u32("DelayedAutostart").ok());
        let description = key
            .as_ref()
            .and_then(|key| key.get_string("Description").ok());
        Ok(Some(Setup {
            display_name: text(config.display_name),
            description: description.unwrap_or_default(),
            program,
            arguments,
            start: match config.start_type {
                ServiceStartType::Disabled => Start::Disabled,
                ServiceStartType::OnDemand => Start::Manual,
                _ if delayed == Some(1) => Start::Delayed,
                _ => Start::Auto,
            },
            account: config.account_name.map_or_else(String::new, text),
            dependencies: config
                .dependencies
                .iter()
                .map(|dependency| text(dependency.to_system_identifier()))
                .collect(),
            recovery: recovery(&service).map_err(refused)?,
        }))
    }

    fn status(&self, name: &str) -> Result<Option<Status>, ScmError> {
        const ASK: &str = "tell the state of";
        let Some(service) = Self::open(name, ServiceAccess::QUERY_STATUS, ASK)? else {
            return Ok(None);
        };
        let status = service.query_status();
        let status = status.map_err(|error| ScmError::refused(ASK, name, &cause(error)))?;
        let (error, own_error) = match status.exit_code {
            ServiceExitCode::Win32(error) => (error, None),
            ServiceExitCode::ServiceSpecific(own) => (0, Some(own)),
        };
        Ok(Some(Status {
            state: match status.current_state {
                ServiceState::Stopped => State::Stopped,
                ServiceState::StartPending => State::Starting,
                ServiceState::StopPending => State::Stopping,
                ServiceState::Running => State::Running,
                ServiceState::ContinuePending
                | ServiceState::PausePending
                | ServiceState::Paused => State::Paused,
            },
            pid: status.process_id,
            error,
            own_error,
        }))
    }

    fn create(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError> {
        let manager =
            Self::manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)?;
        let account = Some(setup.account.as_str());
        let service = manager
            .create_service(&info(name, setup, account, password), rights())
            .map_err(|error| ScmError::refused("make", name, &cause(error)))?;
        settle(&service, name, setup)
    }

    fn change(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError> {
        const CHANGE: &str = "change";
        let there = self.setup(name)?.ok_or_else(|| ScmError::None {
            name: name.to_owned(),
        })?;
        let service = Self::existing(name, rights(), CHANGE)?;
        // An account that is named anew has to be given its password anew.
        let account = (password.is_some() || !same_account(&there.account, &setup.account))
            .then_some(setup.account.as_str());
        service
            .change_config(&info(name, setup, account, password))
            .map_err(|error| ScmError::refused(CHANGE, name, &cause(error)))?;
        settle(&service, name, setup)
    }

    fn delete(&self, name: &str) -> Result<(), ScmError> {
        const REMOVE: &str = "remove";
        let Some(service) = Self::open(name, ServiceAccess::DELETE, REMOVE)? else {
            return Ok(());
        };
        let deleted = service.delete();
        deleted.map_err(|error| ScmError::refused(REMOVE, name, &cause(error)))
    }

    fn start(&self, name: &str) -> Result<(), ScmError> {
        const START: &str = "start";
        let service = Self::existing(name, ServiceAccess::START, START)?;
        let started = service.start::<&str>(&[]);
        started.map_err(|error| ScmError::refused(START, name, &cause(error)))
    }

    fn stop(&self, name: &str) -> Result<(), ScmError> {
        const STOP: &str = "stop";
        let service = Self::existing(name, ServiceAccess::STOP, STOP)?;
        let stopped = service.stop().map(drop);
        stopped.map_err(|error| ScmError::refused(STOP, name, &cause(error)))
    }
}

/// What the service control manager wants for all that [`settle`] does: to name a restart as a remedy
/// takes the right to start.
fn rights() -> ServiceAccess {
    ServiceAccess::QUERY_CONFIG | ServiceAccess::CHANGE_CONFIG | ServiceAccess::START
}

fn info(name: &str, setup: &Setup, account: Option<&str>, password: Option<&str>) -> ServiceInfo {
    let mut dependencies: Vec<_> = setup
        .dependencies
        .iter()
        .map(ServiceDependency::from_system_identifier)
        .collect();
    if dependencies.is_empty() {
        // No list at all would leave the one that is there; an empty name ends the list.
        dependencies.push(ServiceDependency::Service(OsString::new()));
    }
    ServiceInfo {
        name: name.into(),
        display_name: setup.display_name.as_str().into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: match setup.start {
            Start::Auto | Start::Delayed => ServiceStartType::AutoStart,
            Start::Manual => ServiceStartType::OnDemand,
            Start::Disabled => ServiceStartType::Disabled,
        },
        error_control: ServiceErrorControl::Normal,
        executable_path: PathBuf::from(&setup.program),
        launch_arguments: setup.arguments.iter().map(OsString::from).collect(),
        dependencies,
        account_name: account.map(OsString::from),
        account_password: password.map(OsString::from),
    }
}

/// What is set beside the rest, one by one; some systems have not all of it.
fn settle(service: &Service, name: &str, setup: &Setup) -> Result<Lacks, ScmError> {
    let mut lacks = Vec::new();
    let mut done = |what, result: windows_service::Result<()>| match result.map_err(cause) {
        Err(error) if is_not_implemented(&error) => {
            lacks.push(what);
            Ok(())
        }
        Err(error) => Err(ScmError::refused("change", name, &error)),
        Ok(()) => Ok(()),
    };
    let description = service.set_description(&setup.description);
    done("a description", description)?;
    let with_the_machine = matches!(setup.start, Start::Auto | Start::Delayed);
    if with_the_machine {
        let delayed = setup.start == Start::Delayed;
        let result = service.set_delayed_auto_start(delayed);
        // What is not there need not be turned off.
        if delayed || result.is_ok() {
            done("a delayed start", result)?;
        }
    }
    if let Some(recovery) = &setup.recovery {
        let result = service.update_failure_actions(measures(recovery));
        done("recovery", result)?;
        let also = recovery.also_when_it_says_so;
        let result = service.set_failure_actions_on_non_crash_failures(also);
        done("recovery when it says itself that it failed", result)?;
    }
    Ok(lacks)
}

fn measures(recovery: &Recovery) -> ServiceFailureActions {
    let action = |measure: &Measure| ServiceAction {
        action_type: match measure.what {
            Remedy::Nothing => ServiceActionType::None,
            Remedy::Restart => ServiceActionType::Restart,
            Remedy::Reboot => ServiceActionType::Reboot,
            Remedy::Command => ServiceActionType::RunCommand,
        },
        delay: Duration::from_millis(measure.after_ms.min(LONGEST_MS)),
    };
    ServiceFailureActions {
        reset_period: recovery
            .reset_s
            .map_or(ServiceFailureResetPeriod::Never, |seconds| {
                ServiceFailureResetPeriod::After(Duration::from_secs(seconds.min(LONGEST_S)))
            }),
        reboot_msg: None,
        command: None,
        actions: Some(recovery.actions.iter().map(action).collect()),
    }
}

fn recovery(service: &Service) -> windows_service::Result<Option<Recovery>> {
    let told = service.get_failure_actions().and_then(|actions| {
        Ok((
            actions,
            service.get_failure_actions_on_non_crash_failures()?,
        ))
    });
    let (found, also_when_it_says_so) = match told {
        Err(windows_service::Error::Winapi(error)) if is_not_implemented(&error) => {
            return Ok(None);
        }
        told => told?,
    };
    let measure = |action: &ServiceAction| Measure {
        what: match action.action_type {
            ServiceActionType::None => Remedy::Nothing,
            ServiceActionType::Restart => Remedy::Restart,
            ServiceActionType::Reboot => Remedy::Reboot,
            ServiceActionType::RunCommand => Remedy::Command,
        },
        after_ms: u64::try_from(action.delay.as_millis()).unwrap_or(LONGEST_MS),
    };
    Ok(Some(Recovery {
        reset_s: match found.reset_period {
            ServiceFailureResetPeriod::Never => None,
            ServiceFailureResetPeriod::After(time) => Some(time.as_secs()),
        },
        actions: found.actions.iter().flatten().map(measure).collect(),
        also_when_it_says_so,
    }))
}

fn text(text: OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// What the system said.
pub(crate) fn cause(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        other => io::Error::other(other),
    }
}
