//! `file.back`: the files that an action of this task changed, as they were before it.
//!
//! Servers order it to undo a `file.template` or a `file.copy`; no file names it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Action, ActionContext, ActionError, ActionReport, read_inputs};
use super::keeper::Keeper;

/// `file.back`.
pub(in super::super) struct Back;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    action: String,
}

impl Action for Back {
    fn name(&self) -> &'static str {
        "file.back"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        Keeper::of(context, &inputs.action)?.take_back_all(|| Ok(()))?;
        Ok(ActionReport::default())
    }
}
