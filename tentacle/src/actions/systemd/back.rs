//! `systemd.service.back`: the unit that a service had before this task, again.
//!
//! Servers order it to undo a `systemd.service`; no file names it. What another task changed stays.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};
use super::{Service, a_minute, checked_name, control};

/// `systemd.service.back`.
pub(in super::super) struct Back;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    name: String,
    #[serde(
        default = "a_minute",
        rename = "within",
        deserialize_with = "values::duration"
    )]
    _within: Duration,
}

impl Action for Back {
    fn name(&self) -> &'static str {
        "systemd.service.back"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        checked_name(&read_inputs::<Inputs>(with)?.name)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let name = &inputs.name;
        checked_name(name)?;
        control::require()?;
        let service = Service::of(context, name)?;
        let known = service.store.read()?;
        let Some(record) = known.filter(|record| record.task == context.names.task) else {
            context.info(format!(
                "this deployment left {name} as it was; it stays so"
            ));
            return Ok(ActionReport::default());
        };
        service.restore(&record, context.stop)?;
        service.store.forget()?;
        context.info(match (&record.unit, record.active) {
            (None, _) => format!("there was no {name} before, and there is none now"),
            (Some(_), true) => format!("{name} has the unit of before again, and is up"),
            (Some(_), false) => {
                format!("{name} has the unit of before again, and is stopped as it was")
            }
        });
        Ok(ActionReport::default())
    }
}
