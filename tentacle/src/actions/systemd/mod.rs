//! `systemd.service`: makes a unit, starts it, and waits until it is up and stays so.
//!
//! What must hold: a unit that does not come up does not stay. What was there before is written
//! down first, and put back and started again when the new one fails or the action is stopped. A
//! unit that somebody else made is not touched unless the file says so.

pub(super) mod back;
pub(super) mod control;
mod record;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mantle_shared::TaskId;
use mantle_shared::inputs::service_name;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, ActionContext, ActionError, ActionReport, StopToken, read_inputs, values};
use control::State;
use record::{Record, Store, read_unit, write_unit};

/// Where an administrator's units are, before those of packages.
const UNITS: &str = "/etc/systemd/system";
/// How long the service of before may take to be up again.
const RESTORE_TIMEOUT: Duration = Duration::from_mins(1);

/// `systemd.service`.
pub(super) struct SystemdService;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    name: String,
    exec: String,
    description: Option<String>,
    #[serde(default)]
    start: StartKind,
    user: Option<String>,
    group: Option<String>,
    directory: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    credentials: BTreeMap<String, String>,
    reload: Option<String>,
    #[serde(default, deserialize_with = "values::texts")]
    after: Vec<String>,
    #[serde(default = "yes", deserialize_with = "values::switch")]
    harden: bool,
    #[serde(default, deserialize_with = "values::texts")]
    writes: Vec<String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default = "yes", deserialize_with = "values::switch")]
    enable: bool,
    #[serde(default)]
    restart: Restart,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
    #[serde(default = "two_seconds", deserialize_with = "values::duration")]
    settle: Duration,
    #[serde(default, deserialize_with = "values::switch")]
    replace: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StartKind {
    #[default]
    Exec,
    Notify,
    Forking,
}

impl StartKind {
    fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Notify => "notify",
            Self::Forking => "forking",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Restart {
    #[default]
    Changed,
    Always,
    Reload,
}

fn yes() -> bool {
    true
}

pub(super) fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

/// The name, if a service may have it.
pub(super) fn checked_name(name: &str) -> Result<(), ActionError> {
    let checked = service_name(name).map(drop);
    checked.map_err(|why| ActionError::input(format!("with.name: {why}")))
}

impl Action for SystemdService {
    fn name(&self) -> &'static str {
        "systemd.service"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        checked_name(&read_inputs::<Inputs>(with)?.name)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        checked_name(&inputs.name)?;
        control::require()?;
        let service = Service::of(context, &inputs.name)?;
        let credentials = service.store.keep_credentials(&inputs.credentials)?;
        let (project, environment) = (&context.names.project, &context.names.environment);
        let text = unit::text(
            &inputs,
            &format!("{project} in {environment}"),
            &credentials,
        )?;
        let found = read_unit(&service.path)?;
        let before = control::state(&service.unit, context.stop)?;
        service.refuse_strangers(&inputs, found.as_deref(), &before)?;
        let known = service.store.read()?;
        let untried = known.as_ref().is_some_and(|record| record.pending);
        let changed = untried || found.as_deref() != Some(text.as_str());
        if changed {
            let record = next_record(context.names.task, known, found, &before);
            service.store.write(&record)?;
            service.put_up(context, &inputs, &text, record)?;
        } else {
            service.keep_up(context, &inputs, &before)?;
        }
        let kept = service.store.read()?.and_then(|record| record.unit);
        service
            .store
            .clean(&[&text, kept.as_deref().unwrap_or_default()]);
        Ok(ActionReport::default())
    }
}

/// What to go back to: of this task the first state, and never one that was not seen to work.
fn next_record(
    task: TaskId,
    known: Option<Record>,
    found: Option<String>,
    before: &State,
) -> Record {
    match known {
        Some(record) if record.pending || record.task == task => Record {
            task,
            pending: true,
            ..record
        },
        Some(_) | None => Record {
            task,
            unit: found,
            active: before.is_active(),
            enabled: before.is_enabled(),
            pending: true,
        },
    }
}

/// One service of this machine.
struct Service {
    unit: String,
    path: PathBuf,
    store: Store,
}

impl Service {
    fn of(context: &ActionContext<'_>, name: &str) -> Result<Self, ActionError> {
        let unit = format!("{name}.service");
        Ok(Self {
            path: PathBuf::from(UNITS).join(&unit),
            store: Store::of(context, name)?,
            unit,
        })
    }

    /// A unit of this name that was not made here stays, unless the file wants it replaced.
    fn refuse_strangers(
        &self,
        inputs: &Inputs,
        found: Option<&str>,
        state: &State,
    ) -> Result<(), ActionError> {
        let strange = match found {
            Some(text) => !text.starts_with(unit::MARK),
            None => !state.path.is_empty(),
        };
        if !strange || inputs.replace {
            return Ok(());
        }
        let path = if found.is_some() {
            self.path.display().to_string()
        } else {
            state.path.clone()
        };
        Err(ActionError::failed(format!(
            "there is a service {} already that Mantle did not make ({path}); give this one another name, or say 'replace: true'",
            inputs.name
        )))
    }

    /// Puts the new unit in its place and starts it; if that fails, the old one.
    fn put_up(
        &self,
        context: &ActionContext<'_>,
        inputs: &Inputs,
        text: &str,
        record: Record,
    ) -> Result<(), ActionError> {
        let since = now();
        let name = &inputs.name;
        let tried = write_unit(&self.path, Some(text))
            .and_then(|()| control::quickly(&["daemon-reload"], context.stop))
            .and_then(|()| self.enable(inputs.enable, context.stop))
            .and_then(|()| self.restart(inputs, "restart", context.stop));
        let Err(error) = tried else {
            context.info(format!("{name} has a new unit and is up"));
            return self.store.write(&Record {
                pending: false,
                ..record
            });
        };
        control::tell_journal(context, &self.unit, since);
        // What was given up must not be given up as well.
        let restored = self.restore(&record, &StopToken::new());
        let now = match &restored {
            Ok(()) if record.active => {
                format!("the unit of before is back, and {name} is up with it")
            }
            Ok(()) if record.unit.is_some() => {
                format!("the unit of before is back, and {name} is stopped as it was")
            }
            Ok(()) => format!("there was no {name} before, and there is none now"),
            Err(why) => format!(
                "and what it was before could not be put back: {why}; look with 'systemctl status {name}'"
            ),
        };
        if restored.is_ok() {
            self.store.forget()?;
        }
        match error {
            ActionError::Stopped => {
                context.warning(now);
                Err(ActionError::Stopped)
            }
            error => Err(ActionError::failed(format!("{error}; {now}"))),
        }
    }

    /// The unit is as it should be: it runs, and is started anew or told so if the file says that.
    fn keep_up(
        &self,
        context: &ActionContext<'_>,
        inputs: &Inputs,
        before: &State,
    ) -> Result<(), ActionError> {
        let since = now();
        let name = &inputs.name;
        let verb = match inputs.restart {
            Restart::Reload => "reload-or-restart",
            Restart::Changed if before.is_active() => "",
            Restart::Always | Restart::Changed => "restart",
        };
        self.enable(inputs.enable, context.stop)?;
        if verb.is_empty() {
            context.info(format!(
                "{name} is up, and its unit is as it should be: nothing to do"
            ));
            return Ok(());
        }
        self.restart(inputs, verb, context.stop)
            .inspect_err(|_| control::tell_journal(context, &self.unit, since))?;
        context.info(format!("{name} is up ({verb}), with the unit that it had"));
        Ok(())
    }

    fn enable(&self, enable: bool, stop: &StopToken) -> Result<(), ActionError> {
        let verb = if enable { "enable" } else { "disable" };
        control::quickly(&[verb, "--quiet", &self.unit], stop)
    }

    fn restart(&self, inputs: &Inputs, verb: &str, stop: &StopToken) -> Result<(), ActionError> {
        // A service that failed too often is not started again before this.
        control::quickly(&["reset-failed", &self.unit], stop).or_else(not_loaded)?;
        control::order(&[verb, &self.unit], inputs.within, stop)
            .map_err(|error| self.told(error, stop))?;
        control::stays_up(&self.unit, (inputs.within, inputs.settle), stop)
    }

    /// `systemctl` only says that it failed; the state says why.
    fn told(&self, error: ActionError, stop: &StopToken) -> ActionError {
        match (error, control::state(&self.unit, stop)) {
            (ActionError::Failed { message, .. }, Ok(state)) => ActionError::failed(format!(
                "{} did not come up: it is {} ({message})",
                self.unit,
                state.show()
            )),
            (error, _) => error,
        }
    }

    /// Makes it again what it was before.
    fn restore(&self, record: &Record, stop: &StopToken) -> Result<(), ActionError> {
        if record.unit.is_none() {
            control::order(&["stop", &self.unit], RESTORE_TIMEOUT, stop).or_else(not_loaded)?;
            self.enable(false, stop).or_else(not_loaded)?;
        }
        write_unit(&self.path, record.unit.as_deref())?;
        control::quickly(&["daemon-reload"], stop)?;
        control::quickly(&["reset-failed", &self.unit], stop).or_else(not_loaded)?;
        if record.unit.is_none() {
            return Ok(());
        }
        self.enable(record.enabled, stop)?;
        if !record.active {
            return control::order(&["stop", &self.unit], RESTORE_TIMEOUT, stop);
        }
        control::order(&["restart", &self.unit], RESTORE_TIMEOUT, stop)?;
        control::stays_up(&self.unit, (RESTORE_TIMEOUT, two_seconds()), stop)
    }
}

/// What is not there needs neither to be stopped nor to be forgotten.
fn not_loaded(error: ActionError) -> Result<(), ActionError> {
    let text = error.to_string();
    if text.contains("not loaded") || text.contains("does not exist") || text.contains("not found")
    {
        return Ok(());
    }
    Err(error)
}

/// Seconds since 1970, for the journal.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
