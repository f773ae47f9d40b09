//! What `process.check` takes.

use schemars::JsonSchema;
use serde::{Deserialize, de};

use super::{Count, Span};

/// `process.check`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessCheck {
    /// The program's name, such as `nginx`, or `w3wp.exe` on Windows.
    #[serde(default)]
    pub name: Option<String>,
    /// A text that the command line holds. Linux only.
    #[serde(default)]
    pub command: Option<String>,
    /// Whose process it is. Linux only.
    #[serde(default)]
    pub user: Option<String>,
    /// How many must run at least; 1 by default, or none if `at_most` is given.
    #[serde(default)]
    pub at_least: Option<Count>,
    /// How many may run at most; 0 says that none must.
    #[serde(default)]
    pub at_most: Option<Count>,
    /// How long to go on looking; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
    /// The pause between two looks; a second by default.
    #[serde(default)]
    pub interval: Option<Span>,
}

pub(super) fn sound_process<E: de::Error>(check: &ProcessCheck) -> Result<(), E> {
    if check.name.is_none() && check.command.is_none() {
        return Err(E::custom(
            "which process? give its 'name', or a 'command' that its command line holds",
        ));
    }
    match (&check.at_least, &check.at_most) {
        (Some(Count::Number(least)), Some(Count::Number(most))) if least > most => Err(E::custom(
            format!("'at_least' is {least} and 'at_most' is {most}, which no number is"),
        )),
        _ => Ok(()),
    }
}
