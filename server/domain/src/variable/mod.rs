//! Variables: named values with scopes, of which the most specific wins.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::SecretVersionId;

pub mod circle;
mod effective;
pub mod explanation;
mod in_scope;
pub mod knobs;
mod literal;
pub mod overview;
pub mod prompt;
mod resolve;
mod stand_in;
mod system;
pub mod tags;
mod tie;
pub mod uses;

pub use effective::{Effective, EffectiveSet, EffectiveValue};
pub use in_scope::secrets_in_scope;
pub use literal::literal;
pub(crate) use resolve::describe_value;
pub use resolve::{
    Candidate, DEPLOYMENT_PROCESS, Rank, Situation, SituationTarget, Tie, candidates,
    describe_scope, find, resolve,
};
pub use stand_in::{StandIn, made, made_comparably};
pub use system::{Surroundings, is_of_server, system_variables};
pub use tie::{MOST_TIES, PossibleTie, TaggedTarget, scope_ties, tag_ties};

/// A variable and all its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name. Names that differ in case only are the same name.
    pub name: String,
    /// Its values; no two have an equal scope.
    pub values: Vec<ScopedValue>,
}

/// One value and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopedValue {
    /// The value.
    pub value: VariableValue,
    /// Where it holds.
    #[serde(default, skip_serializing_if = "Scope::is_everywhere")]
    pub scope: Scope,
    /// The variable set that it comes from; `None` for a value of the project itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl ScopedValue {
    /// A value of the project, or set, that says it.
    pub fn own(value: VariableValue, scope: Scope) -> Self {
        Self {
            value,
            scope,
            from: None,
        }
    }
}

/// A value, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableValue {
    /// Text, which may be a template.
    Text(String),
    /// A secret by its path: what a project says.
    Secret(String),
    /// A secret pinned to one version: what a release holds.
    PinnedSecret(PinnedSecret),
    /// What a deployment asks for; see [`prompt`].
    Prompt(prompt::Prompt),
}

impl VariableValue {
    /// It may not be shown, and only who uses it may have it.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Secret(_) | Self::PinnedSecret(_) => true,
            Self::Prompt(prompt) => prompt.control == prompt::Control::Sensitive,
        }
    }
}

/// A secret in a snapshot: never its value, never its ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedSecret {
    /// The path that the project named.
    pub path: String,
    /// The version that holds the value.
    pub secret_version: SecretVersionId,
    /// HMAC of the value: equal values compare equal, nothing can be read from it. Hex.
    pub mark: String,
}

/// Where a value holds: of each kind any of the named ones, and all kinds together.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// In these environments.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub environments: BTreeSet<String>,
    /// On these targets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub targets: BTreeSet<String>,
    /// On targets with one of these tags.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// In these steps or actions, by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub steps: BTreeSet<String>,
    /// For releases of these channels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub channels: BTreeSet<String>,
    /// For tenants with one of these tags. Nothing is deployed for a tenant yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tenant_tags: BTreeSet<String>,
    /// In these processes; the only one so far is [`DEPLOYMENT_PROCESS`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub processes: BTreeSet<String>,
}

impl Scope {
    /// It names nothing, so the value holds everywhere.
    pub fn is_everywhere(&self) -> bool {
        *self == Self::default()
    }
}
