//! A service of Windows for the tests: it says in a file that it runs, with what, and ends when it is told to.
//!
//! `testservice NAME FILE [fail|quit]`: a line for each start goes into the file. With `fail` it ends at once
//! with its own error 42; with `quit` it runs for a moment first.

#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a program for tests"
)]

#[cfg(windows)]
fn main() {
    windows_program::main();
}

#[cfg(not(windows))]
fn main() {
    eprintln!("services of Windows run on Windows");
}

#[cfg(windows)]
mod windows_program {
    use std::ffi::OsString;
    use std::io::Write as _;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use windows_service::service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType,
    };
    use windows_service::service_control_handler::{ServiceControlHandlerResult, register};
    use windows_service::{define_windows_service, service_dispatcher};

    define_windows_service!(called_by_windows, service_main);

    pub(super) fn main() {
        let name = std::env::args().nth(1).expect("a name");
        service_dispatcher::start(name, called_by_windows).expect("a service control manager");
    }

    fn service_main(_arguments: Vec<OsString>) {
        let words: Vec<String> = std::env::args().collect();
        let [program, name, file, rest @ ..] = words.as_slice() else {
            return;
        };
        let (told, stop) = channel();
        let handler = move |control| match control {
            ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
            ServiceControl::Stop => {
                let _ = told.send(());
                ServiceControlHandlerResult::NoError
            }
            _ => ServiceControlHandlerResult::NotImplemented,
        };
        let handle = register(name, handler).expect("a handler");
        let is = |state, exit_code| {
            let controls_accepted = if state == ServiceState::Running {
                ServiceControlAccept::STOP
            } else {
                ServiceControlAccept::empty()
            };
            handle
                .set_service_status(ServiceStatus {
                    service_type: ServiceType::OWN_PROCESS,
                    current_state: state,
                    controls_accepted,
                    exit_code,
                    checkpoint: 0,
                    wait_hint: Duration::ZERO,
                    process_id: None,
                })
                .expect("the manager was told");
        };
        let mut log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(file)
            .expect("the file");
        writeln!(log, "{program} {}", rest.join(" ")).expect("a line");
        let failed = ServiceExitCode::ServiceSpecific(42);
        match rest.first().map(String::as_str) {
            Some("fail") => return is(ServiceState::Stopped, failed),
            Some("quit") => {
                is(ServiceState::Running, ServiceExitCode::NO_ERROR);
                std::thread::sleep(Duration::from_millis(300));
                return is(ServiceState::Stopped, failed);
            }
            _ => is(ServiceState::Running, ServiceExitCode::NO_ERROR),
        }
        let _ = stop.recv();
        is(ServiceState::Stopped, ServiceExitCode::NO_ERROR);
    }
}
