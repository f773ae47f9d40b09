//! The action types: what an attempt can do.
//!
//! One file an action type, and a line in [`REGISTRY`]. An action runs inside the supervisor, on a
//! thread of its own, and may block; it must look at [`ActionContext::stop`] while it waits. Its
//! inputs have their templates evaluated before it sees them.

mod context;
mod files;
mod haproxy;
mod http;
mod http_check;
mod iis;
mod nginx;
mod notify;
mod package;
mod process_check;
mod run_script;
mod script;
mod service;
mod shells;
mod systemd;
mod tcp_check;
#[cfg(test)]
mod test_context;
mod tool;
pub(crate) mod values;
mod wait;
mod windows_service;
mod withheld;

use serde_json::{Map, Value};

use context::read_inputs;
pub use package::InUse;
pub use shells::Shell;

pub use context::{
    ActionContext, ActionReport, ChildEnd, Names, OutputSink, PackageFiles, StopToken, Variable,
    Variables,
};

/// Completes what a kill of the machine cut short in the installed versions. To be called when the
/// agent starts, before it does anything else. On Unix a switch is one rename, so nothing is.
pub fn complete_switches(apps: &std::path::Path) {
    #[cfg(not(unix))]
    package::complete_all(apps);
    #[cfg(unix)]
    let _ = apps;
}

/// What of a package is in use in an environment (the first of `place`) for a project (the second).
pub fn package_in_use(apps: &std::path::Path, place: (&str, &str), package: &str) -> Option<InUse> {
    package::in_use(apps, place, package)
}

/// An action type.
pub trait Action: Sync {
    /// Its name in `uses:`, such as `haproxy.drain`.
    fn name(&self) -> &'static str;

    /// Keys under `with:` whose texts the action evaluates itself, if at all.
    fn verbatim(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it can be carried out on this platform at all.
    fn here(&self) -> bool {
        true
    }

    /// Whether it takes these inputs, their templates evaluated. Nothing is done.
    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError>;

    /// Does the work. Blocks until it is done or [`ActionContext::stop`] trips.
    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError>;
}

/// Why an action did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// What stands under `with:` is not what the action takes. Nothing was done.
    #[error("{message}")]
    Input {
        /// Which key, why, and what it should be.
        message: String,
    },
    /// The work failed.
    #[error("{message}")]
    Failed {
        /// What happened to which thing, and why.
        message: String,
        /// The exit code, if a process failed.
        exit_code: Option<i32>,
    },
    /// The stop token tripped (a cancel or the deadline) and the action ended early.
    #[error("the action was stopped")]
    Stopped,
}

impl ActionError {
    /// The work failed, without an exit code.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            exit_code: None,
        }
    }

    /// An input is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input {
            message: message.into(),
        }
    }
}

/// Every action type of this agent that a file may name.
pub static REGISTRY: &[&dyn Action] = &[
    &script::Script,
    &package::Package,
    &package::Transfer,
    &http_check::HttpCheck,
    &notify::Notify,
    &iis::Site,
    &iis::Application,
    &iis::VirtualDirectory,
    &iis::AppPool,
    &iis::Feature,
    &haproxy::Drain,
    &haproxy::Enable,
    &systemd::SystemdService,
    &windows_service::WindowsService,
    &service::Service,
    &tcp_check::TcpCheck,
    &nginx::Drain,
    &nginx::Enable,
    &nginx::site::Site,
    &wait::Wait,
    &files::template::Template,
    &files::copy::Copy,
    &process_check::ProcessCheck,
];

/// What servers order to undo one of these, and no file names.
static UNDOING: &[&dyn Action] = &[
    &package::Back,
    &iis::Restore,
    &systemd::back::Back,
    &windows_service::back::Back,
    &files::back::Back,
    &nginx::site::SiteBack,
];

fn all() -> impl Iterator<Item = &'static dyn Action> {
    REGISTRY.iter().chain(UNDOING).copied()
}

/// The action type of this name.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    all().find(|action| action.name() == name)
}

/// What `Hello` lists: `action:<name>` for each that this platform has, `inputs:<name>` for inputs that agents of before do
/// not take, and `shell:<name>` for each shell that is on this machine.
pub fn features() -> Vec<String> {
    let here = all().filter(|action| action.here());
    let actions = here.map(|action| format!("action:{}", action.name()));
    let shells = Shell::ALL
        .into_iter()
        .filter(|shell| shell.find().is_some());
    let shells = shells.map(|shell| format!("shell:{shell}"));
    let inputs = ["inputs:package.scripts".to_owned()];
    actions.chain(inputs).chain(shells).collect()
}
