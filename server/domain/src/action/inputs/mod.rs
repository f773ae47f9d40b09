//! What each checked action type takes under `with:`.
//!
//! Texts are templates and are evaluated on the target, so a number or a choice may also be given
//! as a text that holds a `#{...}`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::notify::Notify;
use super::transform_line::Transform;
use super::{MANUAL, PACKAGE_TRANSFER, iis};
use crate::name;

mod files;
mod nginx;
mod processes;
mod services;
mod values;
mod waits;
mod windows_service;

pub use files::{FileCopy, FileEncoding, FileTemplate, LineEnds};
pub use nginx::{NginxDrain, NginxEnable, NginxSite};
pub use processes::ProcessCheck;
pub use services::{Service, ServiceState, StartKind, SystemdRestart, SystemdService};
pub use values::{Count, OneOrMany, Span, Status, Switch};
pub use waits::{TcpCheck, Wait};
pub use windows_service::{WindowsRestart, WindowsService, WindowsStart, WindowsState};

/// `script`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The script's text.
    #[serde(default)]
    pub run: Option<String>,
    /// The script that undoes it when its step rolls back; without one it is not undone.
    #[serde(default)]
    pub rollback: Option<String>,
    /// The package that holds the script.
    #[serde(default)]
    pub package: Option<String>,
    /// The script's path in the package.
    #[serde(default)]
    pub file: Option<String>,
    /// What runs it. By default it follows from the file's extension, or from the platform.
    #[serde(default)]
    pub shell: Option<Shell>,
    /// Arguments: a list, or one text that is split at spaces.
    #[serde(default)]
    pub arguments: Option<OneOrMany<String>>,
    /// Evaluate the templates in the script's text before it runs. Values are inserted as they
    /// are, so only where they can be trusted.
    #[serde(default)]
    pub substitute: Option<Switch>,
    /// Whether lines of its output such as `##octopus[setVariable ...]` are obeyed, as they are
    /// unless this says no. With `false` only the helper functions can say such things.
    #[serde(default)]
    pub service_messages: Option<Switch>,
}

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// The POSIX shell.
    Sh,
    /// Bash.
    Bash,
    /// Python 3.
    Python,
    /// The Windows command processor.
    Cmd,
    /// Windows PowerShell.
    PowerShell,
    /// PowerShell 7.
    Pwsh,
}

/// `package`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's id.
    pub package: String,
    /// Files, as globs, in which `#{...}` is replaced.
    #[serde(default)]
    pub substitute: Option<OneOrMany<String>>,
    /// XDT transforms of .NET configuration files: `automatic`, or `TRANSFORM => TARGET`.
    #[serde(default)]
    pub transforms: Option<OneOrMany<Transform>>,
    /// Whether what a transform warns of is told only, rather than a failure.
    #[serde(default)]
    pub ignore_transform_warnings: Option<Switch>,
    /// .NET configuration files whose settings take the values of the variables with their names.
    #[serde(default)]
    pub dotnet_config: Option<OneOrMany<String>>,
    /// Configuration files (JSON, YAML, XML, properties) whose values are replaced by the variables
    /// named as their paths.
    #[serde(default)]
    pub structured: Option<OneOrMany<String>>,
    /// Scripts that run while it is installed.
    #[serde(default)]
    pub scripts: Option<PackageScripts>,
    /// Whether the scripts `PreDeploy`, `Deploy`, `PostDeploy` and `DeployFailed` in the package's root run.
    #[serde(default)]
    pub packaged_scripts: Option<Switch>,
    /// A folder into which the version is copied as well, for what must find it at a path of its own.
    #[serde(default)]
    pub custom_directory: Option<CustomDirectory>,
    /// Whether nothing is done if exactly this version is in use already, with the same configuration.
    #[serde(default)]
    pub skip_if_installed: Option<Switch>,
    /// How many earlier versions stay on the target.
    #[serde(default)]
    pub keep: Option<Count>,
}

/// Where a `package` action copies the version to.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomDirectory {
    /// The folder, as an absolute path of the target.
    pub path: String,
    /// Whether what is in it and is not the version's is removed.
    #[serde(default)]
    pub purge: Option<Switch>,
    /// What stays all the same, as globs relative to the folder.
    #[serde(default)]
    pub exclude: Option<OneOrMany<String>>,
}

/// Scripts of a `package` action. Their texts are taken as they are: no templates.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageScripts {
    /// What runs them; by default it follows from the platform.
    #[serde(default)]
    pub shell: Option<Shell>,
    /// Whether lines of their output such as `##octopus[setVariable ...]` are obeyed, as they are
    /// unless this says no.
    #[serde(default)]
    pub service_messages: Option<Switch>,
    /// Runs when the files are unpacked, before anything is written into them.
    #[serde(default)]
    pub pre_deploy: Option<String>,
    /// Runs when the files are as they will be, before the version is in use.
    #[serde(default)]
    pub deploy: Option<String>,
    /// Runs when the version is in use.
    #[serde(default)]
    pub post_deploy: Option<String>,
    /// Runs when any of it failed.
    #[serde(default)]
    pub deploy_failed: Option<String>,
}

/// `package.transfer`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageTransfer {
    /// The package's id.
    pub package: String,
    /// The folder into which its archive is put, as an absolute path of the target.
    pub to: String,
    /// The archive's name there; `ID.VERSION.FORMAT` by default.
    #[serde(default)]
    pub file: Option<String>,
}

/// `http.check`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The address to ask.
    pub url: String,
    /// The statuses that count as good: 200, 2xx, 200-299 or a list of such; 200 by default.
    #[serde(default)]
    pub expect: Option<OneOrMany<Status>>,
    /// Texts that the answer must hold.
    #[serde(default)]
    pub contains: Option<OneOrMany<String>>,
    /// Headers of the request.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether any certificate will do.
    #[serde(default)]
    pub insecure: Option<Switch>,
    /// How long to go on trying.
    #[serde(default)]
    pub within: Option<Span>,
    /// How many good answers in a row it takes; 1 by default.
    #[serde(default)]
    pub consecutive: Option<Count>,
    /// The pause between two tries.
    #[serde(default)]
    pub interval: Option<Span>,
    /// How long one answer may take.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// `haproxy.drain`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyDrain {
    /// The backend.
    pub backend: String,
    /// The server's name in it.
    pub server: String,
    /// The runtime API: a Unix socket's path, or `HOST:PORT`.
    #[serde(default)]
    pub socket: Option<String>,
    /// How long to wait for sessions to end.
    #[serde(default)]
    pub wait: Option<Span>,
    /// Whether sessions that are left after the wait are shut, rather than the action failing.
    #[serde(default)]
    pub force_after: Option<Switch>,
}

/// `haproxy.enable`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyEnable {
    /// The backend.
    pub backend: String,
    /// The server's name in it.
    pub server: String,
    /// The runtime API: a Unix socket's path, or `HOST:PORT`.
    #[serde(default)]
    pub socket: Option<String>,
    /// How long to wait until it is up.
    #[serde(default)]
    pub wait_up: Option<Span>,
}

/// The most people that one manual action may ask for.
pub const MOST_APPROVALS: u32 = 20;

/// `manual`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// What to look at before it goes on; a template.
    pub instructions: String,
    /// The teams whose members may answer. Without any it is whoever may answer anything.
    #[serde(default)]
    pub teams: Option<OneOrMany<String>>,
    /// How many people must let it go on; 1 by default.
    #[serde(default)]
    pub approvals: Option<u32>,
    /// Whether the one who deployed does not count.
    #[serde(default)]
    pub four_eyes: Option<bool>,
}

/// Reads the inputs of an action type strictly; what they say is left to the agent.
pub(crate) fn check<'de, D: Deserializer<'de>>(uses: &str, with: D) -> Result<(), D::Error> {
    match uses {
        "script" => Script::deserialize(with).and_then(|script| sound_script(&script)),
        "package" => Package::deserialize(with).and_then(|package| sound_package(&package)),
        PACKAGE_TRANSFER => {
            PackageTransfer::deserialize(with).and_then(|transfer| absolute("to", &transfer.to))
        }
        "http.check" => HttpCheck::deserialize(with).and_then(|check| sound_check(&check)),
        "haproxy.drain" => HaproxyDrain::deserialize(with).map(drop),
        "haproxy.enable" => HaproxyEnable::deserialize(with).map(drop),
        "iis.site" => iis::Site::deserialize(with).and_then(|site| site.sound()),
        "iis.application" => iis::Application::deserialize(with).and_then(|own| own.sound()),
        "iis.virtual_directory" => iis::VirtualDirectory::deserialize(with).map(drop),
        "iis.app_pool" => iis::AppPool::deserialize(with).and_then(|pool| pool.sound()),
        "iis.feature" => iis::Feature::deserialize(with).map(drop),
        "notify" => Notify::deserialize(with).and_then(|notify| notify.sound()),
        "systemd.service" => SystemdService::deserialize(with)
            .and_then(|service| services::sound_name(&service.name)),
        "windows.service" => {
            WindowsService::deserialize(with).and_then(|service| windows_service::sound(&service))
        }
        "service" => {
            Service::deserialize(with).and_then(|service| services::sound_name(&service.name))
        }
        "nginx.drain" => NginxDrain::deserialize(with).map(drop),
        "nginx.enable" => NginxEnable::deserialize(with).map(drop),
        "nginx.site" => NginxSite::deserialize(with).and_then(|site| nginx::sound_site(&site)),
        "file.template" => {
            FileTemplate::deserialize(with).and_then(|file| files::sound_template(&file))
        }
        "file.copy" => FileCopy::deserialize(with).and_then(|copy| files::sound_copy(&copy)),
        "process.check" => {
            ProcessCheck::deserialize(with).and_then(|check| processes::sound_process(&check))
        }
        "wait" => Wait::deserialize(with).map(drop),
        "tcp.check" => TcpCheck::deserialize(with).and_then(|check| waits::sound_port(&check)),
        MANUAL => Manual::deserialize(with).and_then(|manual| sound_manual(&manual)),
        _ => de::IgnoredAny::deserialize(with).map(drop),
    }
}

fn sound_script<E: de::Error>(script: &Script) -> Result<(), E> {
    match (&script.run, &script.file, &script.package) {
        (Some(_), Some(_), _) | (Some(_), None, Some(_)) => Err(E::custom(
            "a script is either its text under 'run' or a 'file' of a package, not both",
        )),
        (None, None, _) => Err(E::custom(
            "a script needs its text under 'run', or 'package' and 'file'",
        )),
        (None, Some(_), None) => Err(E::custom(
            "'file' is a path in a package: name the package under 'package'",
        )),
        (None, Some(_), Some(_)) | (Some(_), None, None) => Ok(()),
    }
}

fn sound_package<E: de::Error>(package: &Package) -> Result<(), E> {
    let Some(directory) = &package.custom_directory else {
        return Ok(());
    };
    absolute("custom_directory", &directory.path)
}

/// A path that is known must be absolute somewhere: which platform it is for is not known here.
fn absolute<E: de::Error>(key: &str, path: &str) -> Result<(), E> {
    let path = path.trim();
    let absolute = path.starts_with(['/', '\\'])
        || path
            .get(1..3)
            .is_some_and(|two| [":\\", ":/"].contains(&two));
    if absolute || path.contains("#{") {
        return Ok(());
    }
    Err(E::custom(format!(
        "'{key}' is to be in '{path}', which is no absolute path; write one such as /var/www/shop or D:\\Sites\\Shop"
    )))
}

fn sound_manual<E: de::Error>(manual: &Manual) -> Result<(), E> {
    if manual.instructions.trim().is_empty() {
        return Err(E::custom(
            "'instructions' is empty: say what to look at before it goes on",
        ));
    }
    if let Some(count) = manual.approvals
        && !(1..=MOST_APPROVALS).contains(&count)
    {
        return Err(E::custom(format!(
            "'approvals' is {count}: from 1 to {MOST_APPROVALS} people can be asked for"
        )));
    }
    let teams = manual.teams.iter().flat_map(|teams| &teams.0);
    match teams.into_iter().find(|team| !name::is_word(team)) {
        Some(team) => Err(E::custom(format!("'{team}' cannot be the name of a team"))),
        None => Ok(()),
    }
}

/// An empty list says that no status is right, which nobody means.
fn sound_check<E: de::Error>(check: &HttpCheck) -> Result<(), E> {
    match &check.expect {
        Some(OneOrMany(statuses)) if statuses.is_empty() => Err(E::custom(
            "'expect' names no status; write 200, 2xx, 200-299 or a list of such",
        )),
        Some(_) | None => Ok(()),
    }
}
