//! The service on Windows: the service control manager for most of it, an entry of the event log, and a
//! data directory that is closed to all but the system and administrators.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::log_file::LogFile;
use crate::driver::Status as Says;
use crate::identity::Identity;
use crate::scm::local::Local;
use crate::scm::system::{self, Severity};
use crate::scm::{LOCAL_SYSTEM, Recovery, ScmError, Services, Setup, Start, State, wait};
use crate::settings::{self, SettingsError};
use crate::state_dir::{StateDir, StateDirError};

/// The one agent of a machine.
pub const NAME: &str = "tentacle";
/// As long as the Linux service has.
const LIMIT: Duration = Duration::from_secs(150);
/// How often a service that starts or stops is looked at is the affair of [`wait`]; so long it must run on.
const SETTLE: Duration = Duration::ZERO;
/// It is started again after these times, at last once a minute: when it has been killed, and when it
/// ended with an error.
const RESTARTS_MS: [u64; 3] = [2_000, 10_000, 60_000];
/// A day without a failure, and they are counted anew.
const RESET_S: u64 = 24 * 60 * 60;
/// How much of its log says why a start failed.
const LAST_LINES: usize = 10;
/// By these words the service control manager starts the agent, and an installation knows one for its own.
const RUN: [&str; 2] = ["run", "--service"];

/// Why the service could not be installed, asked or removed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service control manager, or a program of Windows.
    #[error(transparent)]
    Scm(#[from] ScmError),
    /// It is not there.
    #[error("there is no service {0}; type 'tentacle service install'")]
    NotInstalled(String),
    /// The machine has not joined.
    #[error(
        "the service {0} is installed, but this machine has not joined a server yet, so it is not started; type 'tentacle join --server HOST:PORT --token TOKEN', then 'tentacle service start'"
    )]
    NotJoined(String),
    /// It is another program's, or runs another agent.
    #[error("the service {name} does not run the agent with the data directory {}; give this one a service of its own with 'tentacle service install --unit NAME', or name the other with --data", .data.display())]
    Anothers {
        /// The service.
        name: String,
        /// This agent's data directory.
        data: PathBuf,
    },
    /// It ended as soon as it was started.
    #[error("{error}{}", with_lines(.lines))]
    Start {
        /// How.
        error: ScmError,
        /// The end of its log.
        lines: String,
    },
    /// Where the program is cannot be told.
    #[error("the program of this command cannot be found")]
    Program(#[source] io::Error),
    /// Where installed versions go cannot be settled.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data directory cannot be made.
    #[error(transparent)]
    Data(#[from] StateDirError),
}

fn with_lines(lines: &str) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; the end of the agent's log:\n{lines}")
    }
}

/// Says what was done.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// How the service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its name in lists.
    pub display_name: String,
    /// The account that it runs as.
    pub account: String,
    /// What it is doing.
    pub state: State,
    /// When it starts.
    pub start: Start,
    /// Its process, 0 if there is none.
    pub pid: u32,
    /// Its program.
    pub program: String,
    /// What that is given.
    pub arguments: Vec<String>,
    /// What the agent says of itself; nothing of another program.
    pub says: String,
}

/// What the service is to be.
pub fn plan(name: &str, state_dir: &StateDir) -> Result<Setup, ServiceError> {
    let program = std::env::current_exe().map_err(ServiceError::Program)?;
    Ok(setup(name, &program, state_dir.root()))
}

fn setup(name: &str, program: &Path, data: &Path) -> Setup {
    let [run, service] = RUN;
    let words = ["--data", &data.to_string_lossy(), run, service, name];
    Setup {
        display_name: if name == NAME {
            "Mantle Tentacle".to_owned()
        } else {
            format!("Mantle Tentacle ({name})")
        },
        description: "Carries out on this machine what its Mantle server orders. Steps that run go on when it is stopped.".to_owned(),
        program: plain(program),
        arguments: words.map(str::to_owned).to_vec(),
        start: Start::Delayed,
        account: LOCAL_SYSTEM.to_owned(),
        // The network: without it the first tries of the agent come to nothing.
        dependencies: vec!["Tcpip".to_owned()],
        recovery: Some(Recovery::restarts(&RESTARTS_MS, RESET_S)),
    }
}

/// The service control manager takes no path in the form that has no limit of its length.
fn plain(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.strip_prefix(r"\\?\").unwrap_or(&text).to_owned()
}

/// Whether this service runs the agent with this data directory.
pub fn serves(name: &str, state_dir: &StateDir) -> Result<bool, ServiceError> {
    Ok(Local
        .setup(name)?
        .is_some_and(|setup| is_ours(&setup, state_dir.root())))
}

fn is_ours(setup: &Setup, data: &Path) -> bool {
    let words: Vec<_> = setup.arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--data", own, run, service, _] => {
            [*run, *service] == RUN && own.to_lowercase() == data.to_string_lossy().to_lowercase()
        }
        _ => false,
    }
}

/// Refuses what cannot be installed, before anything is changed.
pub fn check(name: &str, state_dir: &StateDir) -> Result<(), ServiceError> {
    refuse_anothers(name, state_dir)?;
    // Who may not do this learns it now.
    system::register_source(name).map_err(ServiceError::from)
}

fn refuse_anothers(name: &str, state_dir: &StateDir) -> Result<(), ServiceError> {
    match Local.setup(name)? {
        Some(there) if !is_ours(&there, state_dir.root()) => Err(ServiceError::Anothers {
            name: name.to_owned(),
            data: state_dir.root().to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Installs the service, so that it starts with the machine. It does not start it now.
pub fn install(name: &str, state_dir: &StateDir, say: Say<'_>) -> Result<(), ServiceError> {
    let wanted = plan(name, state_dir)?;
    check(name, state_dir)?;
    state_dir.create()?;
    let apps = settings::settle(state_dir, None)?;
    settings::create(&apps.path)?;
    system::close_folder(state_dir.root())?;
    let root = state_dir.root().display();
    say(&format!(
        "{root} is for the system and administrators alone"
    ));
    let lacks = match Local.setup(name)? {
        None => {
            let lacks = Local.create(name, &wanted, None)?;
            say(&format!("made the service {name}, {}", wanted.display_name));
            lacks
        }
        Some(there) if wanted.is_as(&there) => {
            say(&format!("the service {name} is there already and the same"));
            Vec::new()
        }
        Some(_) => {
            let lacks = Local.change(name, &wanted, None)?;
            say(&format!("changed the service {name}"));
            lacks
        }
    };
    for lack in lacks {
        say(&format!(
            "this system has not implemented {lack}: that is left out"
        ));
    }
    say(&format!("the event log of applications knows it as {name}"));
    say(&format!("{name} starts with the machine"));
    Ok(())
}

/// Starts it, or starts it anew so that a new identity or program is used; waits until the agent works.
pub fn start(name: &str, state_dir: &StateDir, anew: bool) -> Result<(), ServiceError> {
    must_be_there(name)?;
    if !Identity::exists(state_dir.root()) {
        return Err(ServiceError::NotJoined(name.to_owned()));
    }
    if anew {
        stop(name)?;
    }
    let started = wait::start(&Local, name, (LIMIT, SETTLE), &pause);
    started.map_err(|error: ScmError| ServiceError::Start {
        lines: LogFile::at(state_dir).last_lines(LAST_LINES),
        error,
    })
}

/// Stops it. Running steps go on.
pub fn stop(name: &str) -> Result<(), ServiceError> {
    must_be_there(name)?;
    wait::stop::<ScmError>(&Local, name, LIMIT, &pause)?;
    Ok(())
}

/// Stops and removes it. The data directory stays. Gives whether there was something to remove.
pub fn uninstall(name: &str, state_dir: &StateDir, say: Say<'_>) -> Result<bool, ServiceError> {
    refuse_anothers(name, state_dir)?;
    let there = Local.status(name)?;
    if there.is_some_and(|status| status.state != State::Stopped) {
        stop(name)?;
        say(&format!("stopped {name}; running steps go on to their end"));
    }
    if there.is_some() {
        Local.delete(name)?;
        say(&format!("removed the service {name}"));
    }
    let source = system::remove_source(name)?;
    if source {
        say("removed its entry of the event log");
    }
    Ok(there.is_some() || source)
}

/// How it stands, if it is there.
pub fn standing(name: &str, state_dir: &StateDir) -> Result<Option<Standing>, ServiceError> {
    let (Some(setup), Some(status)) = (Local.setup(name)?, Local.status(name)?) else {
        return Ok(None);
    };
    let pid = status.pid.unwrap_or_default();
    let ours = is_ours(&setup, state_dir.root());
    let says = Says::read(&state_dir.status_file()).ok().flatten();
    let says = says.filter(|says| ours && pid != 0 && says.pid == pid);
    Ok(Some(Standing {
        name: name.to_owned(),
        display_name: setup.display_name,
        account: setup.account,
        state: status.state,
        start: setup.start,
        pid,
        program: setup.program,
        arguments: setup.arguments,
        says: says.map_or_else(String::new, |says| says.line()),
    }))
}

/// Says in the event log how the agent's life goes.
pub fn tell(name: &str, error: Option<&str>) {
    match error {
        Some(text) => system::tell_event_log(name, Severity::Error, text),
        None => system::tell_event_log(name, Severity::Information, "the agent runs"),
    }
}

fn must_be_there(name: &str) -> Result<(), ServiceError> {
    match Local.status(name)? {
        Some(_) => Ok(()),
        None => Err(ServiceError::NotInstalled(name.to_owned())),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "an action's pause can be given up"
)]
fn pause(time: Duration) -> Result<(), ScmError> {
    std::thread::sleep(time);
    Ok(())
}
