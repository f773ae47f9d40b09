//! What goes wrong with services of Windows, and what helps.

use std::time::Duration;

use super::{State, Status};

/// Errors of Windows by which it says that it has no such thing: a level, a call, a request.
const NOT_IMPLEMENTED: [i32; 3] = [50, 120, 124];

/// Why a service is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScmError {
    /// Windows said no.
    #[error("Windows refuses to {doing} the service {name}: {text}{}", hint(*.code))]
    Refused {
        /// `make`, `start`, ...
        doing: &'static str,
        /// Which.
        name: String,
        /// The error's number; 0 if it has none.
        code: i32,
        /// What Windows says of it.
        text: String,
    },
    /// The service control manager cannot be asked.
    #[error(
        "the services of this machine cannot be asked: {0}; type the same command as an administrator"
    )]
    Closed(String),
    /// It shares its process with others, or is a driver.
    #[error(
        "{name} is no service with a process of its own, so it is not touched; choose another name"
    )]
    Shared {
        /// Which.
        name: String,
    },
    /// It is not there.
    #[error("there is no service {name}; 'sc query state= all' lists those that there are")]
    None {
        /// Which.
        name: String,
    },
    /// It was started and is over already.
    #[error("{name} was started and has ended again ({}); its own log and the event log say why", ended(*.error, *.own_error))]
    Ended {
        /// Which.
        name: String,
        /// The error of Windows.
        error: u32,
        /// Its own.
        own_error: Option<u32>,
    },
    /// It takes too long.
    #[error("{name} is not {} after {} s: it is {}; its own log and the event log say why", .wanted.word(), .within.as_secs(), .is.word())]
    Late {
        /// Which.
        name: String,
        /// What it should be.
        wanted: State,
        /// What it is.
        is: State,
        /// How long it had.
        within: Duration,
    },
    /// A program of Windows failed.
    #[error("'{program}' failed: {text}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        text: String,
    },
}

impl ScmError {
    /// From what the system said.
    pub fn refused(doing: &'static str, name: &str, error: &std::io::Error) -> Self {
        Self::Refused {
            doing,
            name: name.to_owned(),
            code: error.raw_os_error().unwrap_or_default(),
            text: error.to_string(),
        }
    }

    /// It ended, by its status.
    pub fn ended(name: &str, status: &Status) -> Self {
        Self::Ended {
            name: name.to_owned(),
            error: status.error,
            own_error: status.own_error,
        }
    }
}

/// Whether the system says with this error that it has no such thing.
pub fn is_not_implemented(error: &std::io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| NOT_IMPLEMENTED.contains(&code))
}

fn ended(error: u32, own_error: Option<u32>) -> String {
    match (error, own_error) {
        (_, Some(own)) => format!("with its own error {own}"),
        (0, None) => "without an error".to_owned(),
        (error, None) => format!("with the error {error} of Windows"),
    }
}

/// What helps; the words of Windows for these mislead, or stop short of it.
fn hint(code: i32) -> &'static str {
    match code {
        2 | 3 => "; its program is not there: look at the path",
        5 => "; run the agent, or this command, as an administrator",
        1051 => "; other services that run depend on it: stop them before it",
        1053 => {
            "; the program did not answer the service control manager: look whether it is made as a service, and start it by hand to see what it says"
        }
        1057 => {
            "; write the account as DOMAIN\\NAME or .\\NAME, and look whether its password is right"
        }
        1058 => "; it is disabled: give it another start",
        1068 | 1075 => "; a service that it depends on is not there or does not start",
        1069 => {
            "; its account cannot log on: look at the password, and give the account the right to log on as a service"
        }
        1072 => {
            "; it is being removed, which ends when every program that shows services (services.msc, the task manager) is closed"
        }
        1073 | 1078 => "; another service has this name or display name",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_which_service_and_what_helps() {
        let error =
            |code| ScmError::refused("start", "shop", &std::io::Error::from_raw_os_error(code));
        for (code, part) in [
            (1069, "log on as a service"),
            (1072, "services.msc"),
            (5, "administrator"),
        ] {
            let text = error(code).to_string();
            assert!(
                text.starts_with("Windows refuses to start the service shop: "),
                "{text}"
            );
            assert!(text.contains(part), "{text}");
        }
        let ended = ScmError::Ended {
            name: "shop".to_owned(),
            error: 1066,
            own_error: Some(42),
        };
        assert!(ended.to_string().contains("its own error 42"), "{ended}");
    }

    #[test]
    fn only_what_says_so_is_not_implemented() {
        let is = |code| is_not_implemented(&std::io::Error::from_raw_os_error(code));
        assert!(is(50) && is(120) && is(124));
        assert!(!is(5) && !is(0) && !is(1072));
        assert!(!is_not_implemented(&std::io::Error::other("x")));
    }
}
