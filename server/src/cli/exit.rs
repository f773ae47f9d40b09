//! What the process ends with. The table is a contract with scripts: a code never changes its
//! meaning.

use std::path::Path;
use std::process::ExitCode;

use crate::api::body::TaskState;
use crate::api::problem::Problem;
use crate::client::ClientError;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It went well; an empty list is well too.
    Success = 0,
    /// A fault of ours or of the machine.
    Internal = 1,
    /// The command line cannot be read.
    Usage = 2,
    /// The deployment or task ended unsuccessfully.
    TaskFailed = 3,
    /// Not logged in, or not allowed.
    Forbidden = 4,
    /// Something that was named does not exist.
    NotFound = 5,
    /// A rule forbids it as things stand.
    Refused = 6,
    /// Files or values that cannot be meant.
    Invalid = 7,
    /// Waiting took too long; the task still runs.
    TimedOut = 8,
    /// The server cannot be reached.
    Unreachable = 9,
    /// The task was cancelled.
    Cancelled = 20,
    /// Ctrl-C: this program stopped waiting, the task goes on.
    Interrupted = 130,
}

impl Exit {
    /// The 'no' of a command that answers yes or no, as of `grep` and `test`.
    pub const NO: Self = Self::Internal;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The outcome of a task as an exit code; `None` while it is under way.
pub fn of_task(state: TaskState) -> Option<Exit> {
    match state {
        TaskState::Queued | TaskState::Running | TaskState::Cancelling => None,
        TaskState::Succeeded => Some(Exit::Success),
        TaskState::Failed | TaskState::TimedOut => Some(Exit::TaskFailed),
        TaskState::Cancelled => Some(Exit::Cancelled),
    }
}

/// A command that did not do what was asked, in words for people.
#[derive(Debug)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// What happened, to which named thing, and why.
    pub message: String,
    /// Every single reason, when there are several.
    pub reasons: Vec<String>,
    /// What to type next.
    pub help: Option<String>,
}

/// What a command answers.
pub type CliResult = Result<Exit, Failure>;

impl Failure {
    /// A failure with its exit code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            reasons: Vec::new(),
            help: None,
        }
    }

    /// Says what to type next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file of the operator's that cannot be read.
    pub fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let failure = Self {
            exit: Exit::Invalid,
            ..Self::io(&format!("cannot read {}", path.display()), error)
        };
        match (error.kind(), std::env::current_dir()) {
            (std::io::ErrorKind::NotFound, Ok(folder)) if path.is_relative() => failure.with_help(
                format!("check the path: it was looked for in {}", folder.display()),
            ),
            (std::io::ErrorKind::NotFound, _) => failure.with_help("check the path"),
            (_, _) => failure.with_help("check that it is a file which this user may read"),
        }
    }

    /// A local file or terminal that does not do as it should.
    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(Exit::Internal, format!("{what}: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => Exit::Unreachable,
            ClientError::WrongServer { .. } => Exit::Forbidden,
            ClientError::Refused(problem) => of_problem(problem),
            ClientError::Strange { .. } => Exit::Internal,
            ClientError::Setup { .. } => Exit::Usage,
        };
        let reasons = match &error {
            ClientError::Refused(problem) => problem.reasons.clone(),
            _ => Vec::new(),
        };
        Self {
            exit,
            message: error.to_string(),
            reasons,
            help: error.help(),
        }
    }
}

fn of_problem(problem: &Problem) -> Exit {
    match problem.status {
        401 | 403 => Exit::Forbidden,
        404 | 410 => Exit::NotFound,
        409 | 412 | 429 | 507 => Exit::Refused,
        400 | 413 | 415 | 422 => Exit::Invalid,
        502..=504 => Exit::Unreachable,
        _ => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_the_server_answers_has_its_code() {
        for (status, exit) in [
            (400, Exit::Invalid),
            (401, Exit::Forbidden),
            (403, Exit::Forbidden),
            (404, Exit::NotFound),
            (409, Exit::Refused),
            (413, Exit::Invalid),
            (422, Exit::Invalid),
            (500, Exit::Internal),
            (503, Exit::Unreachable),
            (507, Exit::Refused),
        ] {
            let problem = Problem::new(status, "x", "x", "x");
            assert_eq!(of_problem(&problem), exit, "{status}");
        }
    }

    #[test]
    fn a_tasks_outcome_is_the_exit_code() {
        assert_eq!(of_task(TaskState::Succeeded), Some(Exit::Success));
        assert_eq!(of_task(TaskState::Failed), Some(Exit::TaskFailed));
        assert_eq!(of_task(TaskState::Cancelled), Some(Exit::Cancelled));
        assert_eq!(of_task(TaskState::Cancelling), None);
    }
}
