//! What an action is given: its inputs, the variables, a place to work, a voice, and a reason to stop.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::Level;
use mantle_template::same_name;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ActionError;
use crate::output::service_message::MessageRules;
use crate::state_dir::StateDir;

/// The context of one run of an action.
pub struct ActionContext<'a> {
    /// Who and what this attempt is about.
    pub names: &'a Names,
    /// What stands under `with:`, templates evaluated.
    pub with: &'a Map<String, Value>,
    /// The variables, values evaluated.
    pub variables: &'a Variables,
    /// The packages of the order; they are in the cache.
    pub packages: &'a [OrderPackage],
    /// Brings files of a package out of the cache.
    pub package_files: &'a dyn PackageFiles,
    /// An empty folder that lives as long as the attempt's records do; the action's current folder.
    pub work_dir: &'a Path,
    /// A folder for files that may hold secrets, for the step's user alone; removed at the end.
    pub private_dir: &'a Path,
    /// Evaluates a text's templates with the attempt's variables; an error names token and place.
    pub render: &'a (dyn Fn(&str) -> Result<String, String> + Sync),
    /// The agent's directories: the cache, the application root.
    pub state_dir: &'a StateDir,
    /// Where lines, progress and output variables go.
    pub output: &'a dyn OutputSink,
    /// Trips on a cancel and at the deadline.
    pub stop: &'a StopToken,
    /// When the attempt is stopped.
    pub deadline: Instant,
}

/// Who and what an attempt is about, from its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The attempt.
    pub attempt: mantle_shared::AttemptId,
    /// The task.
    pub task: mantle_shared::TaskId,
    /// Such as `T-1042`.
    pub task_number: String,
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The step's name.
    pub step: String,
    /// The action's name.
    pub action: String,
    /// The target that the work is about.
    pub subject: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// How long processes have between the request to stop and the kill.
    pub grace: Duration,
}

/// A success, with what is worth saying about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionReport {
    /// The process's exit code, if there was one.
    pub exit_code: Option<i32>,
    /// Empty unless there is something to remark.
    pub message: String,
}

/// How a child process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildEnd {
    /// Its exit code; minus the signal's number if a signal ended it.
    pub exit_code: i32,
}

/// Where an action's words go. Everything is masked and on disk before it is sent anywhere.
pub trait OutputSink: Sync {
    /// A line of the action itself (stream `Agent`); line breaks make several.
    fn line(&self, level: Level, text: &str);
    /// How far it is, 0 to 100.
    fn progress(&self, percent: u8, message: &str);
    /// An output variable; a sensitive one is sealed before it is stored, and masked from now on.
    fn set_variable(&self, name: &str, value: &str, sensitive: bool);
    /// Runs a child process in the attempt's process group, its output captured as the step's
    /// output, until it ends or the stop token trips (then its whole tree is stopped and the error
    /// is [`ActionError::Stopped`]).
    /// Which service messages of its output are obeyed, the rules say.
    fn run_child(&self, command: Command, rules: &MessageRules) -> Result<ChildEnd, ActionError>;
    /// The output variables that were set so far, by the action and by its children.
    fn variables_set(&self) -> Vec<Variable>;
    /// Why the attempt fails is settled: what children say of it from now on does not change it.
    fn settle_failure(&self);
}

/// Brings files of a package out of the cache.
pub trait PackageFiles: Sync {
    /// Writes the package's whole tree into `into`, an existing empty folder.
    fn materialise(&self, package: &OrderPackage, into: &Path) -> Result<(), ActionError>;
}

/// What stands under `with:` as an action's own type. A key without a value is as if it were not
/// there.
pub(super) fn read_inputs<T: DeserializeOwned>(
    with: &Map<String, Value>,
) -> Result<T, ActionError> {
    let given = with.iter().filter(|(_, value)| !value.is_null());
    let given: Map<String, Value> = given
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    serde_json::from_value(Value::Object(given))
        .map_err(|error| ActionError::input(format!("the action's inputs: {error}")))
}

impl ActionContext<'_> {
    /// The inputs as the action's own type, which should say `deny_unknown_fields`.
    pub fn inputs<T: DeserializeOwned>(&self) -> Result<T, ActionError> {
        read_inputs(self.with)
    }

    /// A variable says yes.
    pub fn is_on(&self, variable: &str) -> bool {
        self.says(variable) == Some(true)
    }

    /// A variable says no.
    pub fn is_off(&self, variable: &str) -> bool {
        self.says(variable) == Some(false)
    }

    fn says(&self, variable: &str) -> Option<bool> {
        self.variables
            .get(variable)
            .and_then(mantle_shared::inputs::switch)
    }

    /// Says something as usual.
    pub fn info(&self, text: impl AsRef<str>) {
        self.output.line(Level::Info, text.as_ref());
    }

    /// Says something that is only of interest to who asks for details.
    pub fn verbose(&self, text: impl AsRef<str>) {
        self.output.line(Level::Verbose, text.as_ref());
    }

    /// Says that something is not right; the task ends with warnings.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.output.line(Level::Warning, text.as_ref());
    }

    /// Says that something is wrong.
    pub fn error(&self, text: impl AsRef<str>) {
        self.output.line(Level::Error, text.as_ref());
    }

    /// The time left until the deadline.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// A variable, its value evaluated.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name as declared.
    pub name: String,
    /// Its value.
    pub value: String,
    /// A secret.
    pub sensitive: bool,
    /// Handed to scripts.
    pub exported: bool,
}

impl std::fmt::Debug for Variable {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Variable({})", self.name)
    }
}

/// The variables of an attempt, in the order of the order.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    entries: Vec<Variable>,
    withheld: Vec<String>,
}

impl Variables {
    /// Takes the variables as they are.
    pub fn new(entries: Vec<Variable>) -> Self {
        Self {
            entries,
            withheld: Vec::new(),
        }
    }

    /// The same, with the names that a script must not look up.
    #[must_use]
    pub fn withholding(self, names: Vec<String>) -> Self {
        Self {
            withheld: names,
            ..self
        }
    }

    /// The names of the secrets that the action was not given, and of what reaches one.
    pub fn withheld(&self) -> impl Iterator<Item = &str> {
        self.withheld.iter().map(String::as_str)
    }

    /// The value of this name; case does not matter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|variable| same_name(&variable.name, name))
            .map(|variable| variable.value.as_str())
    }

    /// Gives a variable a value, in place of any of the same name.
    pub fn set(&mut self, variable: Variable) {
        self.withheld
            .retain(|name| !same_name(name, &variable.name));
        let mut entries = self.entries.iter_mut();
        match entries.find(|own| same_name(&own.name, &variable.name)) {
            Some(own) => *own = variable,
            None => self.entries.push(variable),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.entries.iter()
    }
}

/// Trips once, for a cancel or at the deadline; who waits on it wakes at once.
#[derive(Debug, Clone, Default)]
pub struct StopToken {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl StopToken {
    /// One that has not tripped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trips it.
    pub fn stop(&self) {
        let (flag, wake) = &*self.inner;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
    }

    /// Whether it tripped.
    pub fn is_stopped(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error if it tripped: for `?` between two pieces of work.
    pub fn check(&self) -> Result<(), ActionError> {
        if self.is_stopped() {
            Err(ActionError::Stopped)
        } else {
            Ok(())
        }
    }

    /// Waits this long, or less if it trips; the error says that it did.
    pub fn sleep(&self, time: Duration) -> Result<(), ActionError> {
        let (flag, wake) = &*self.inner;
        let guard = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = wake
            .wait_timeout_while(guard, time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *guard {
            Err(ActionError::Stopped)
        } else {
            Ok(())
        }
    }
}
