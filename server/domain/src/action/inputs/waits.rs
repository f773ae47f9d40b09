//! What the actions that wait for something take.

use schemars::JsonSchema;
use serde::{Deserialize, de};

use super::{Count, Span};

/// `wait`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long.
    #[serde(rename = "for")]
    pub time: Span,
    /// Why, for the log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `tcp.check`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// The machine; by default the target itself.
    #[serde(default)]
    pub host: Option<String>,
    /// The port.
    pub port: Count,
    /// How long to go on trying; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
}

/// No machine has a port beyond these.
pub(super) fn sound_port<E: de::Error>(check: &TcpCheck) -> Result<(), E> {
    match check.port {
        Count::Number(port) if !(1..=65_535).contains(&port) => Err(E::custom(format!(
            "'port' is {port}: a port is from 1 to 65535"
        ))),
        Count::Number(_) | Count::Template(_) => Ok(()),
    }
}
