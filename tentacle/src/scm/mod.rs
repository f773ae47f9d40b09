//! Services of Windows: what they are, and how they are asked and changed.
//!
//! What is decided about a service is decided on the types here, on any platform; `local` alone speaks
//! with the service control manager. What a system cannot keep (Wine has no delayed start, for one) is
//! told to whoever asked for it, and never passed over.

pub mod command_line;
pub mod error;
#[cfg(windows)]
pub mod local;
#[cfg(windows)]
pub mod system;
#[cfg(test)]
pub(crate) mod testing;
pub mod wait;

use serde::{Deserialize, Serialize};

pub use error::ScmError;

/// The account of a service unless another is said: all of the machine.
pub const LOCAL_SYSTEM: &str = "LocalSystem";

/// How a service is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Its name in lists.
    pub display_name: String,
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// Its program.
    pub program: String,
    /// What the program is given.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// When it starts.
    pub start: Start,
    /// Whom it runs as.
    pub account: String,
    /// Services that are started before it.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// What is done when it fails; nothing where the system does not tell.
    #[serde(default)]
    pub recovery: Option<Recovery>,
}

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the machine.
    Auto,
    /// With the machine, after all others.
    Delayed,
    /// When somebody starts it.
    Manual,
    /// Never.
    Disabled,
}

/// What is done when a service fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// So long without a failure, and they are counted from the first again; `None` is never.
    pub reset_s: Option<u64>,
    /// What is done after the first failure, the second, ...; the last one from then on.
    pub actions: Vec<Measure>,
    /// Whether that also holds when the service itself says that it failed.
    pub also_when_it_says_so: bool,
}

/// What is done after one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What.
    pub what: Remedy,
    /// How long after it.
    pub after_ms: u64,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// Nothing.
    Nothing,
    /// It is started again.
    Restart,
    /// The machine is.
    Reboot,
    /// A command is run, which is set elsewhere and stays.
    Command,
}

impl Recovery {
    /// It is started again after these times.
    pub fn restarts(after_ms: &[u64], reset_s: u64) -> Self {
        let restart = |after_ms: &u64| Measure {
            what: Remedy::Restart,
            after_ms: *after_ms,
        };
        Self {
            reset_s: Some(reset_s),
            actions: after_ms.iter().map(restart).collect(),
            also_when_it_says_so: !after_ms.is_empty(),
        }
    }
}

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Its process, where it runs.
    pub pid: Option<u32>,
    /// The error of Windows with which it last ended; 0 is none.
    pub error: u32,
    /// The error of its own with which it last ended, if it is that.
    pub own_error: Option<u32>,
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing.
    Stopped,
    /// It is being started.
    Starting,
    /// It is being stopped.
    Stopping,
    /// It runs.
    Running,
    /// It stands still, or is about to, or about to go on.
    Paused,
}

impl State {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

impl Setup {
    /// Whether this is what is there: what the system does not tell is taken to be right, and accounts
    /// and paths are the same in any case.
    pub fn is_as(&self, there: &Self) -> bool {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let names = |all: &[String]| -> Vec<String> {
            let mut names: Vec<_> = all.iter().map(|name| name.to_lowercase()).collect();
            names.sort();
            names
        };
        let recovery = match (&self.recovery, &there.recovery) {
            (Some(wanted), Some(there)) => wanted == there,
            (None, _) | (_, None) => true,
        };
        recovery
            && self.display_name == there.display_name
            && self.description == there.description
            && same(&self.program, &there.program)
            && self.arguments == there.arguments
            && self.start == there.start
            && same_account(&self.account, &there.account)
            && names(&self.dependencies) == names(&there.dependencies)
    }
}

/// Whether two names mean one account.
pub fn same_account(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        let name = name.to_lowercase();
        match name.as_str() {
            "" | "localsystem" | r".\localsystem" | r"nt authority\system" => {
                "localsystem".to_owned()
            }
            "localservice" => r"nt authority\localservice".to_owned(),
            "networkservice" => r"nt authority\networkservice".to_owned(),
            _ => name,
        }
    };
    plain(one) == plain(other)
}

/// Whether nobody may run a service as this account without its password. Accounts of the system and of
/// services have none, those that a domain manages (`NAME$`) keep theirs to themselves.
pub fn needs_password(account: &str) -> bool {
    let lower = account.to_lowercase();
    let system = same_account(account, LOCAL_SYSTEM)
        || lower.starts_with(r"nt authority\")
        || lower.starts_with(r"nt service\")
        || matches!(lower.as_str(), "localservice" | "networkservice");
    !system && !lower.ends_with('$')
}

/// The services of a machine.
pub trait Services {
    /// How a service is set up; `None` if there is none of this name.
    fn setup(&self, name: &str) -> Result<Option<Setup>, ScmError>;
    /// How a service stands; `None` if there is none of this name.
    fn status(&self, name: &str) -> Result<Option<Status>, ScmError>;
    /// Makes a service. Gives what this system cannot keep of it.
    fn create(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError>;
    /// Sets a service up anew. Gives what this system cannot keep of it.
    fn change(&self, name: &str, setup: &Setup, password: Option<&str>) -> Result<Lacks, ScmError>;
    /// Removes a service; one that runs goes when it has stopped.
    fn delete(&self, name: &str) -> Result<(), ScmError>;
    /// Tells a service to start.
    fn start(&self, name: &str) -> Result<(), ScmError>;
    /// Tells a service to stop.
    fn stop(&self, name: &str) -> Result<(), ScmError>;
}

/// What a system says that it has not implemented.
pub type Lacks = Vec<&'static str>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_have_a_password_are_told_from_those_that_have_none() {
        for (account, needs) in [
            ("LocalSystem", false),
            ("localsystem", false),
            (r"NT AUTHORITY\LocalService", false),
            ("NetworkService", false),
            (r"NT SERVICE\shop", false),
            (r"SHOP\gulls$", false),
            (r"SHOP\gulls", true),
            (r".\gulls", true),
            ("gulls@shop.example", true),
        ] {
            assert_eq!(needs_password(account), needs, "{account}");
        }
        assert!(same_account(r"NT AUTHORITY\SYSTEM", "LocalSystem"));
        assert!(same_account("LocalService", r"NT Authority\LocalService"));
        assert!(!same_account(r"a\b", r"a\c"));
    }

    #[test]
    fn what_the_system_does_not_tell_is_no_difference_and_everything_else_is() {
        let there = testing::setup("shop.exe");
        let mut wanted = there.clone();
        wanted.program = "SHOP.exe".to_owned();
        wanted.account = r"NT AUTHORITY\SYSTEM".to_owned();
        wanted.recovery = Some(Recovery::restarts(&[1], 1));
        assert!(wanted.is_as(&there));
        let with = |change: &dyn Fn(&mut Setup)| {
            let mut other = there.clone();
            change(&mut other);
            other
        };
        let others = [
            with(&|setup| setup.display_name.push('x')),
            with(&|setup| setup.description.push('x')),
            with(&|setup| setup.program.push('x')),
            with(&|setup| setup.arguments.push("X".to_owned())),
            with(&|setup| setup.start = Start::Delayed),
            with(&|setup| setup.account = "NetworkService".to_owned()),
            with(&|setup| setup.dependencies.push("x".to_owned())),
        ];
        for other in others {
            assert!(!other.is_as(&there), "{other:?}");
        }
        let told = with(&|setup| setup.recovery = Some(Recovery::restarts(&[2], 1)));
        assert!(!wanted.is_as(&told));
    }
}
