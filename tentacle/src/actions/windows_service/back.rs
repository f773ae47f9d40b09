//! `windows.service.back`: what a service of Windows was before this task, again.
//!
//! Servers order it to undo a `windows.service`; no file names it. What another task changed stays.

use std::time::Duration;

use mantle_shared::inputs::service_name;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::change::Changing;
use super::{a_minute, services};
use crate::actions::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};

/// `windows.service.back`.
pub(in crate::actions) struct Back;

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

impl Inputs {
    fn sound(self) -> Result<Self, ActionError> {
        service_name(&self.name).map_err(|why| ActionError::input(format!("with.name: {why}")))?;
        Ok(self)
    }
}

impl Action for Back {
    fn name(&self) -> &'static str {
        "windows.service.back"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with)?.sound().map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs = context.inputs::<Inputs>()?.sound()?;
        go_back(&Changing::of(context, services()?, &inputs.name)?, context)?;
        Ok(ActionReport::default())
    }
}

/// Puts back what this task found.
pub(super) fn go_back(
    service: &Changing<'_>,
    context: &ActionContext<'_>,
) -> Result<(), ActionError> {
    let known = service.store().read()?;
    let Some(record) = known.filter(|record| record.task == context.names.task) else {
        context.info("this deployment left the service as it was; it stays so");
        return Ok(());
    };
    service.restore(&record, context.stop)?;
    service.store().forget()?;
    context.info(service.is_now(&record));
    Ok(())
}
