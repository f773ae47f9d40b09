//! Drafts the order of one attempt: all that its supervisor needs, but the values of secrets.
//!
//! The server replaces each [`DraftValue::Secret`] by the value of exactly that version, adds the
//! attempt's id and key, and sends the result.

use mantle_shared::order::OrderPackage;
use serde_json::{Map, Value};

use crate::variable::PinnedSecret;

/// An order whose secrets are still references.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderDraft {
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub release: String,
    /// The step's name.
    pub step: String,
    /// The action's name.
    pub action: String,
    /// The target that the work is about.
    pub subject: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// The action type.
    pub uses: String,
    /// What the action takes; texts in it are templates.
    pub with: Map<String, Value>,
    /// The variables that the action can reach, one winner a name, in order.
    pub variables: Vec<DraftVariable>,
    /// The packages that it uses.
    pub packages: Vec<OrderPackage>,
    /// The attempt is stopped after this long.
    pub timeout_ms: u64,
    /// Between the request to stop and the kill.
    pub grace_ms: u64,
}

/// A variable's winner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: DraftValue,
    /// It is handed to a script's environment.
    pub exported: bool,
}

/// A value, or which secret's version holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftValue {
    /// Text, which may be a template over the other variables.
    Text(String),
    /// A secret that the server fills in.
    Secret(PinnedSecret),
    /// A sensitive output variable: its sealed value, opened by the server.
    Sealed(String),
}
