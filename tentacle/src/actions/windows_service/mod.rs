//! `windows.service`: makes or changes a service of Windows, starts it, and waits until it runs and goes on.
//!
//! What must hold: a setup that does not come up does not stay. What the service was before is written down
//! first, and it is that again, running if it ran, when the new setup fails or the action is stopped. All of
//! it is decided on [`Services`], so that the tests see it on any platform.

pub(super) mod back;
mod change;
mod record;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use mantle_shared::inputs::{duration_ms, service_name};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};
use crate::scm::{LOCAL_SYSTEM, Recovery, ScmError, Setup, Start};
use change::Changing;

/// It is started again after these times where nothing else is said.
const RESTARTS_MS: [u64; 3] = [5_000, 30_000, 60_000];
/// A day without a failure, and they are counted from the first again.
const RESET_S: u64 = 24 * 60 * 60;
/// What is said where there are no such services.
#[cfg(not(windows))]
const NO_WINDOWS: &str = "this machine has no services of Windows; put 'when: { platform: windows }' at the action, or use 'systemd.service'";

/// `windows.service`.
pub(super) struct WindowsService;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    name: String,
    executable: String,
    #[serde(default, deserialize_with = "values::texts")]
    arguments: Vec<String>,
    display_name: Option<String>,
    description: Option<String>,
    #[serde(default)]
    start: StartMode,
    account: Option<String>,
    password: Option<String>,
    #[serde(default, deserialize_with = "values::texts")]
    dependencies: Vec<String>,
    #[serde(default, deserialize_with = "optional_times")]
    recovery: Option<Vec<u64>>,
    #[serde(default)]
    restart: Restart,
    state: Option<Wanted>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
    #[serde(default = "two_seconds", deserialize_with = "values::duration")]
    settle: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StartMode {
    #[default]
    Auto,
    Delayed,
    Manual,
    Disabled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Restart {
    #[default]
    Changed,
    Always,
}

/// What the service is to be afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Started,
    Stopped,
}

pub(super) fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

/// Times such as `5s`, one or a list.
fn optional_times<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u64>>, D::Error> {
    let texts = values::texts(deserializer)?;
    let time = |text: &String| {
        duration_ms(text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "'{text}' is not a length of time; write one like 30s, 10m or 1h30m"
            ))
        })
    };
    texts.iter().map(time).collect::<Result<_, _>>().map(Some)
}

impl Inputs {
    fn sound(self) -> Result<Self, ActionError> {
        service_name(&self.name).map_err(|why| ActionError::input(format!("with.name: {why}")))?;
        if self.executable.trim().is_empty() {
            return Err(ActionError::input("with.executable: it names no program"));
        }
        if self.start == StartMode::Disabled && self.state == Some(Wanted::Started) {
            return Err(ActionError::input(
                "with.state: a service that is disabled cannot be started; leave 'state' out, or give it another 'start'",
            ));
        }
        Ok(self)
    }

    fn runs(&self) -> bool {
        let wanted = self.state.unwrap_or(match self.start {
            StartMode::Disabled => Wanted::Stopped,
            StartMode::Auto | StartMode::Delayed | StartMode::Manual => Wanted::Started,
        });
        wanted == Wanted::Started
    }

    /// An empty password, as templates give it, is none.
    fn password(&self) -> Option<&str> {
        self.password
            .as_deref()
            .filter(|password| !password.is_empty())
    }

    fn setup(&self) -> Setup {
        let recovery = self.recovery.as_deref().unwrap_or(&RESTARTS_MS);
        Setup {
            display_name: self
                .display_name
                .clone()
                .unwrap_or_else(|| self.name.clone()),
            description: self.description.clone().unwrap_or_default(),
            program: self.executable.trim().to_owned(),
            arguments: self.arguments.clone(),
            start: match self.start {
                StartMode::Auto => Start::Auto,
                StartMode::Delayed => Start::Delayed,
                StartMode::Manual => Start::Manual,
                StartMode::Disabled => Start::Disabled,
            },
            account: self
                .account
                .clone()
                .unwrap_or_else(|| LOCAL_SYSTEM.to_owned()),
            dependencies: self.dependencies.clone(),
            recovery: Some(Recovery::restarts(recovery, RESET_S)),
        }
    }
}

impl Action for WindowsService {
    fn name(&self) -> &'static str {
        "windows.service"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with)?.sound().map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs = context.inputs::<Inputs>()?.sound()?;
        let services = services()?;
        let program = inputs.executable.trim();
        if !Path::new(program).is_file() {
            return Err(ActionError::failed(format!(
                "with.executable: there is no file {program} on this machine; the folder of a package is the output 'Package.InstallationDirectoryPath' of the 'package' that installs it"
            )));
        }
        Changing::of(context, services, &inputs.name)?.run(&inputs)?;
        Ok(ActionReport::default())
    }
}

/// The services of this machine.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "other machines have none")]
fn services() -> Result<&'static dyn crate::scm::Services, ActionError> {
    Ok(&crate::scm::local::Local)
}

#[cfg(not(windows))]
fn services() -> Result<&'static dyn crate::scm::Services, ActionError> {
    Err(ActionError::failed(NO_WINDOWS))
}

impl From<ScmError> for ActionError {
    fn from(error: ScmError) -> Self {
        Self::failed(error.to_string())
    }
}
