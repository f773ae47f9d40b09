//! What `windows.service` takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use super::{OneOrMany, Span};

/// `windows.service`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowsService {
    /// The service's name.
    pub name: String,
    /// The path of its program, as the target has it.
    pub executable: String,
    /// What the program is given: each word is one argument, however many spaces it has.
    #[serde(default)]
    pub arguments: Option<OneOrMany<String>>,
    /// Its name in lists; by default its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What it is, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// When it starts; `auto` by default.
    #[serde(default)]
    pub start: Option<WindowsStart>,
    /// The account that it runs as; `LocalSystem` by default.
    #[serde(default)]
    pub account: Option<String>,
    /// The account's password, where it has one: a secret.
    #[serde(default)]
    pub password: Option<String>,
    /// Services that are started before it.
    #[serde(default)]
    pub dependencies: Option<OneOrMany<String>>,
    /// After which time it is started again when it has failed once, twice, ...; `[5s, 30s, 1m]` by default, `[]` is never.
    #[serde(default)]
    pub recovery: Option<OneOrMany<Span>>,
    /// When it is started anew; `changed` by default.
    #[serde(default)]
    pub restart: Option<WindowsRestart>,
    /// What it is to be afterwards; `started` by default, `stopped` where it is disabled.
    #[serde(default)]
    pub state: Option<WindowsState>,
    /// How long it may take to stop, and again to run; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long it must then go on; 2 seconds by default.
    #[serde(default)]
    pub settle: Option<Span>,
}

/// When a service of Windows starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowsStart {
    /// With the machine.
    Auto,
    /// With the machine, after all others.
    Delayed,
    /// When somebody starts it.
    Manual,
    /// Never.
    Disabled,
}

/// When a service of Windows is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowsRestart {
    /// When its setup is another.
    Changed,
    /// At every deployment.
    Always,
}

/// What a service of Windows is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowsState {
    /// Running.
    Started,
    /// Not running.
    Stopped,
}

/// A name that is one, a program, and no start of what is disabled.
pub(super) fn sound<E: de::Error>(service: &WindowsService) -> Result<(), E> {
    super::services::sound_name(&service.name)?;
    if service.executable.trim().is_empty() {
        return Err(E::custom("'executable' names no program"));
    }
    if service.start == Some(WindowsStart::Disabled) && service.state == Some(WindowsState::Started)
    {
        return Err(E::custom(
            "a service that is disabled cannot be started; leave 'state' out, or give it another 'start'",
        ));
    }
    Ok(())
}
