//! `tentacle run --service NAME`: the agent, started by the service control manager of Windows.
//!
//! A stop ends the agent as a break would in the foreground; supervisors are processes of their own and run
//! on. How the agent failed is in its log and in the event log, and the service's own error is the code that
//! the command would have ended with.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    ServiceControlHandlerResult, ServiceStatusHandle, register,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::join::EXIT_REFUSED;
use super::run::{Host, RunArgs, agent, log_filter};
use super::{EXIT_INTERNAL, Failure};
use crate::service::log_file::LogFile;
use crate::service::windows;
use crate::state_dir::StateDir;

/// What a start and a stop may take, as the service control manager is told: a journal to be read, a
/// goodbye to be said.
const PENDING: Duration = Duration::from_mins(1);

/// The one way from the command line to the function that the service control manager calls, which can be
/// given nothing.
static ASKED: OnceLock<Asked> = OnceLock::new();

struct Asked {
    name: String,
    args: RunArgs,
    state_dir: StateDir,
}

define_windows_service!(called_by_windows, service_main);

/// Runs as this service until it is stopped.
pub(super) fn run(name: &str, args: &RunArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let asked = ASKED.set(Asked {
        name: name.to_owned(),
        args: args.clone(),
        state_dir: state_dir.clone(),
    });
    asked.map_err(|_| Failure::new(EXIT_INTERNAL, "the agent was started twice in one process"))?;
    service_dispatcher::start(name, called_by_windows).map_err(|error| {
        let mut failure = Failure::new(
            EXIT_REFUSED,
            "'--service' is for the service control manager, which did not start this process",
        );
        failure.add(format_args!(
            " ({}); type 'tentacle service start', or 'tentacle run' to run it in the foreground",
            crate::scm::local::cause(error)
        ));
        failure
    })
}

fn service_main(_arguments: Vec<OsString>) {
    let Some(Asked {
        name,
        args,
        state_dir,
    }) = ASKED.get()
    else {
        return;
    };
    log(state_dir);
    let (told, stop) = oneshot::channel();
    let service = Arc::new(Service::default());
    let heard = Arc::clone(&service);
    let mut told = Some(told);
    let handler = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // Said before this returns: from then on no other wish is taken, and none comes to a handler
            // that is gone.
            heard.is(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            // Nobody listens any more where the agent ends anyway.
            let _ = told.take().map(|told| told.send(()));
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    match register(name, handler) {
        Ok(handle) => service.begin(handle),
        Err(error) => {
            let error = crate::scm::local::cause(error);
            tracing::error!(%error, "the service control manager does not listen");
            return;
        }
    }
    let host = Manager {
        name,
        service: Arc::clone(&service),
        stop: Some(stop),
    };
    let ended = match agent(args, state_dir, host) {
        Ok(()) => ServiceExitCode::NO_ERROR,
        Err(failure) => {
            tracing::error!("{}", failure.message);
            windows::tell(name, Some(&failure.message));
            ServiceExitCode::ServiceSpecific(failure.code.into())
        }
    };
    service.is(ServiceState::Stopped, ended);
}

/// What the service control manager is told.
#[derive(Debug, Default)]
struct Service {
    handle: OnceLock<ServiceStatusHandle>,
}

impl Service {
    fn begin(&self, handle: ServiceStatusHandle) {
        // It is registered once.
        let _ = self.handle.set(handle);
        self.is(ServiceState::StartPending, ServiceExitCode::NO_ERROR);
    }

    fn is(&self, state: ServiceState, exit_code: ServiceExitCode) {
        let Some(handle) = self.handle.get() else {
            return;
        };
        let pending = matches!(
            state,
            ServiceState::StartPending | ServiceState::StopPending
        );
        let told = handle.set_service_status(ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: if state == ServiceState::Running {
                ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN
            } else {
                ServiceControlAccept::empty()
            },
            exit_code,
            checkpoint: u32::from(pending),
            wait_hint: if pending { PENDING } else { Duration::ZERO },
            process_id: None,
        });
        if let Err(error) = told {
            let error = crate::scm::local::cause(error);
            tracing::warn!(%error, "the service control manager was not told");
        }
    }
}

/// The service control manager as the agent's host.
struct Manager {
    name: &'static str,
    service: Arc<Service>,
    stop: Option<oneshot::Receiver<()>>,
}

impl Host for Manager {
    fn stop(&mut self) -> Result<impl Future<Output = ()> + 'static, Failure> {
        let stop = self.stop.take();
        Ok(async move {
            match stop {
                // The handler lives as long as the process, so that it is never dropped unsent.
                Some(stop) => drop(stop.await),
                None => std::future::pending().await,
            }
        })
    }

    fn ready(&mut self) {
        self.service
            .is(ServiceState::Running, ServiceExitCode::NO_ERROR);
        windows::tell(self.name, None);
    }
}

/// What would go to standard error goes into a file.
fn log(state_dir: &StateDir) {
    // Fails only if somebody has set one up before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(Mutex::new(LogFile::at(state_dir)))
        .with_ansi(false)
        .try_init();
}
