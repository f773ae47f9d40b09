//! The action types that files may name, and what each takes under `with:`.
//!
//! The types that agents carry out have their inputs spelt out here and are checked strictly when
//! a file is applied. The others are known names, so that a file can be written for what is to
//! come; a deployment that reaches one is refused with its name.

use serde::Deserialize as _;
use serde_json::Value;

use crate::plan::{Eyes, PlanAsk};
use crate::process::Action;

pub mod iis;
pub mod inputs;
pub mod needs;
pub mod notify;
mod transform_line;
pub mod undo;

/// The type that a person carries out.
pub const MANUAL: &str = "manual";

/// The type that brings a package's archive, not taken apart.
pub const PACKAGE_TRANSFER: &str = "package.transfer";

/// How far an action type has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Agents carry it out and its inputs are checked.
    Checked,
    /// The server asks a person, and its inputs are checked.
    Person,
    /// Its name is known, its inputs are only known to be a map.
    NameOnly,
}

/// What is known of an action type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionType {
    /// Its name, as under `uses:`.
    pub name: &'static str,
    /// What it does, for the schema and for lists.
    pub summary: &'static str,
    /// How far it has come.
    pub support: Support,
    /// It runs once on the server and needs no target.
    pub on_server: bool,
}

const fn checked(name: &'static str, summary: &'static str) -> ActionType {
    ActionType {
        name,
        summary,
        support: Support::Checked,
        on_server: false,
    }
}

const fn on_server(name: &'static str, summary: &'static str) -> ActionType {
    ActionType {
        name,
        summary,
        support: Support::NameOnly,
        on_server: true,
    }
}

/// Every type that a file may name.
pub const TYPES: &[ActionType] = &[
    checked("script", "run a script: its text, or a file of a package"),
    checked(
        "package",
        "install a package and make it the current version",
    ),
    checked(
        PACKAGE_TRANSFER,
        "put a package's archive into a folder, as it was pushed",
    ),
    checked("http.check", "wait until an address answers as expected"),
    checked(
        "haproxy.drain",
        "take a server out of a HAProxy backend and wait for its sessions",
    ),
    checked(
        "haproxy.enable",
        "put a server back into a HAProxy backend and wait until it is up",
    ),
    checked(
        "systemd.service",
        "make a systemd service, start it and wait until it is up",
    ),
    checked("service", "start, stop or restart a service that is there"),
    checked("iis.site", "create or update an IIS web site"),
    checked(
        "iis.application",
        "create or update an application of an IIS site",
    ),
    checked(
        "iis.virtual_directory",
        "create or update a virtual directory of an IIS site",
    ),
    checked(
        "iis.app_pool",
        "create, update, start, stop or recycle an IIS application pool",
    ),
    checked(
        "iis.feature",
        "turn on parts of Windows that IIS is made of",
    ),
    checked(
        "windows.service",
        "make or change a service of Windows, start it and wait until it runs",
    ),
    checked(
        "nginx.drain",
        "take a server out of an nginx upstream and wait for its connections",
    ),
    checked("nginx.enable", "put a server back into an nginx upstream"),
    checked(
        "nginx.site",
        "make the file of an nginx site, test it and reload",
    ),
    checked("file.template", "write a file from a template"),
    checked(
        "file.copy",
        "copy a file or a folder of a package or of the machine",
    ),
    checked("tcp.check", "wait until a port accepts connections"),
    checked("wait", "let time pass"),
    checked(
        "process.check",
        "wait until a process runs, or none of its name does",
    ),
    ActionType {
        name: MANUAL,
        summary: "wait for people to let it go on",
        support: Support::Person,
        on_server: true,
    },
    ActionType {
        name: "notify",
        summary: "tell people and programs, by webhook, chat or mail",
        support: Support::Checked,
        on_server: true,
    },
    on_server("deploy.release", "deploy a release of another project"),
    on_server(
        "health.check",
        "check the targets and leave out those that are ill",
    ),
];

/// The type of this name.
pub fn find(name: &str) -> Option<&'static ActionType> {
    TYPES.iter().find(|known| known.name == name)
}

/// Whether an action type takes these inputs, as a file that is applied would have them; why not.
pub fn check(uses: &str, with: &Value) -> Result<(), String> {
    inputs::check(uses, with).map_err(|error| error.to_string())
}

/// What a manual action asks, of inputs that were checked; `None` for any other type.
pub fn ask(action: &Action) -> Option<PlanAsk> {
    if action.uses != MANUAL {
        return None;
    }
    // A release from before the inputs were checked may hold anything.
    let with = inputs::Manual::deserialize(Value::Object(action.with.clone()));
    let with = with.unwrap_or_default();
    Some(PlanAsk {
        instructions: with.instructions,
        teams: with.teams.map_or_else(Vec::new, |teams| teams.0),
        approvals: with.approvals.unwrap_or(1).max(1),
        eyes: if with.four_eyes == Some(true) {
            Eyes::Four
        } else {
            Eyes::Any
        },
    })
}

/// The ids of the packages that an action uses: those that its `with:` names under `package`.
pub fn packages(action: &Action) -> Vec<String> {
    match action.with.get("package") {
        Some(Value::String(id)) => vec![id.clone()],
        _ => Vec::new(),
    }
}

/// The packages whose archives themselves some action of a process asks for.
pub fn archives(process: &crate::process::Process) -> Vec<String> {
    let actions = process.steps.iter().flat_map(|step| &step.actions);
    let transfers = actions.filter(|action| action.uses == PACKAGE_TRANSFER);
    transfers.flat_map(packages).collect()
}

/// The action can look up any variable by name, so it gets every one that is no secret: a script,
/// and whatever replaces values in files.
pub fn sees_all_variables(action: &Action) -> bool {
    let asks = |key: &str| action.with.get(key).is_some_and(|value| !value.is_null());
    action.uses == "script"
        || runs_scripts(action)
        || (action.uses == "file.template" && asks("from"))
        || ["substitute", "dotnet_config", "structured"]
            .into_iter()
            .any(asks)
}

/// The action runs scripts: its own, or those of its package.
pub fn runs_scripts(action: &Action) -> bool {
    let own = |key: &str| action.with.get(key).is_some_and(|value| !value.is_null());
    action.uses == "script"
        || action.uses == "package" && (own("scripts") || runs_packaged_scripts(action))
}

/// The scripts in the root of the action's package run; a template that may say so counts as yes.
pub fn runs_packaged_scripts(action: &Action) -> bool {
    action.uses == "package"
        && action
            .with
            .get("packaged_scripts")
            .is_some_and(|value| match value {
                Value::Bool(flag) => *flag,
                Value::String(text) => mantle_shared::inputs::switch(text) != Some(false),
                Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
            })
}

/// The variables by which an action is told how to work, as in Octopus: it gets them also where it
/// sees no others.
pub fn told_by(action: &Action) -> &'static [&'static str] {
    match action.uses.as_str() {
        "package" => &["Octopus.Action.SkipRemainingConventions"],
        _ => &[],
    }
}

/// The inputs that are no templates: a script's texts unless it asks for substitution, since
/// inserting values into a script is how injection happens.
pub fn literal_inputs(uses: &str, substitutes: bool) -> &'static [&'static str] {
    match uses {
        "script" if !substitutes => &["run", undo::ROLLBACK],
        "package" => &["scripts"],
        _ => &[],
    }
}
