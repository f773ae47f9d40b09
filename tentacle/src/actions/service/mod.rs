//! `service`: starts, stops or restarts a service that is there, on Linux and on Windows.
//!
//! What is as it should be already is left alone, so it may be repeated. It waits until the service
//! is what it should be.

#[cfg(not(windows))]
mod systemd;
#[cfg(windows)]
mod windows;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

#[cfg(not(windows))]
use systemd as manager;
#[cfg(windows)]
use windows as manager;

use super::systemd::{a_minute, checked_name};
use super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};

/// `service`.
pub(super) struct Service;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    name: String,
    state: Wanted,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
}

/// What a service should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Started,
    Stopped,
    Restarted,
}

impl Action for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        checked_name(&read_inputs::<Inputs>(with)?.name)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let name = &inputs.name;
        checked_name(name)?;
        let running = manager::is_running(name, context.stop)?;
        let become_so = |start: bool| manager::set(name, start, inputs.within, context.stop);
        match (inputs.state, running) {
            (Wanted::Started, true) => context.info(format!("{name} runs already")),
            (Wanted::Stopped, false) => context.info(format!("{name} is stopped already")),
            (Wanted::Started, false) => {
                become_so(true)?;
                context.info(format!("{name} is started"));
            }
            (Wanted::Stopped, true) => {
                become_so(false)?;
                context.info(format!("{name} is stopped"));
            }
            (Wanted::Restarted, running) => {
                if running {
                    become_so(false)?;
                }
                become_so(true)?;
                context.info(format!("{name} is started anew"));
            }
        }
        Ok(ActionReport::default())
    }
}
