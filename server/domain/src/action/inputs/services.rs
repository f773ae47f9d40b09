//! What the actions about services take.

use std::collections::BTreeMap;

use mantle_shared::inputs::service_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use super::{OneOrMany, Span, Switch};

/// `systemd.service`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdService {
    /// The service's name, without `.service`.
    pub name: String,
    /// The command that it runs, as in `ExecStart=`.
    pub exec: String,
    /// What it is, for lists; by default the project and the environment.
    #[serde(default)]
    pub description: Option<String>,
    /// How systemd knows that it has started; `exec` by default.
    #[serde(default)]
    pub start: Option<StartKind>,
    /// The user that it runs as; root by default.
    #[serde(default)]
    pub user: Option<String>,
    /// The group that it runs as; by default the user's.
    #[serde(default)]
    pub group: Option<String>,
    /// The folder that it starts in.
    #[serde(default)]
    pub directory: Option<String>,
    /// Environment variables. Whoever may ask systemd can read them: secrets belong to `credentials`.
    #[serde(default)]
    pub environment: Option<BTreeMap<String, String>>,
    /// Secrets as files: `NAME` becomes `$CREDENTIALS_DIRECTORY/NAME`, for the service alone.
    #[serde(default)]
    pub credentials: Option<BTreeMap<String, String>>,
    /// The command that makes it read its configuration again, as in `ExecReload=`.
    #[serde(default)]
    pub reload: Option<String>,
    /// Units that are started before it, beside the network.
    #[serde(default)]
    pub after: Option<OneOrMany<String>>,
    /// Whether it is shut off from what a service seldom needs; true by default.
    #[serde(default)]
    pub harden: Option<Switch>,
    /// Folders that it may write to although it is shut off.
    #[serde(default)]
    pub writes: Option<OneOrMany<String>>,
    /// Further lines of the section `[Service]`, which stand last.
    #[serde(default)]
    pub settings: Option<BTreeMap<String, String>>,
    /// Whether it is started with the machine; true by default.
    #[serde(default)]
    pub enable: Option<Switch>,
    /// When it is restarted; `changed` by default.
    #[serde(default)]
    pub restart: Option<SystemdRestart>,
    /// How long it may take until it is active; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long it must then stay up; 2 seconds by default.
    #[serde(default)]
    pub settle: Option<Span>,
    /// Whether a unit of this name that Mantle did not make is replaced.
    #[serde(default)]
    pub replace: Option<Switch>,
}

/// How systemd knows that a service has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartKind {
    /// Its program could be started.
    Exec,
    /// It says so itself, by `sd_notify`.
    Notify,
    /// Its first process ends and leaves it in the background.
    Forking,
}

/// When a service is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SystemdRestart {
    /// When its unit or a credential is another.
    Changed,
    /// At every deployment.
    Always,
    /// When its unit or a credential is another; otherwise it is told to read its configuration again.
    Reload,
}

/// `service`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The service's name; on Linux without `.service`.
    pub name: String,
    /// What it should be.
    pub state: ServiceState,
    /// How long it may take; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
}

/// What a service should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Running.
    Started,
    /// Not running.
    Stopped,
    /// Running, and started anew.
    Restarted,
}

/// A name becomes a file and an argument, so it may be neither a path nor an option.
pub(super) fn sound_name<E: de::Error>(name: &str) -> Result<(), E> {
    if name.contains("#{") {
        return Ok(());
    }
    service_name(name).map(drop).map_err(E::custom)
}
