//! Variables, variable sets, and why a variable has its value.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Answers to the prompts of a deployment, by variable or label.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// These answers.
    pub fn new(answers: BTreeMap<String, String>) -> Self {
        Self(answers)
    }

    /// The answers. Some are secrets.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Nothing was answered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Any of them may be a secret, so none is shown.
impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// A variable set in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableSet {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The sets that it includes.
    #[serde(default)]
    pub include: Vec<String>,
    /// How many variables it has.
    pub variables: u32,
    /// The projects that include it.
    #[serde(default)]
    pub projects: Vec<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A variable set and its variables.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableSetDetail {
    /// The set.
    #[serde(flatten)]
    pub set: VariableSet,
    /// Every value of every variable.
    pub values: Vec<VariableView>,
}

/// One value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VariableView {
    /// The variable.
    pub name: String,
    /// Where it holds, for people.
    pub scope: String,
    /// The variable set that it stands in, if it is not the project's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub value: ValueView,
    /// The value with its templates evaluated, if that is another text; secrets in it by mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated: Option<String>,
    /// The server defines this variable itself: what the project says of it holds nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_server: bool,
    /// Two values are equally specific, so there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<String>,
}

/// A value as it may be shown: a secret by path and mark only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// Text, with its templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A secret's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The secret's mark: equal for equal values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// It is asked for at deployment, under this label; `value` holds without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// Where and for what variables are looked up.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VariablePlace {
    /// In this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// About this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// In this step or action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// For releases of this channel; by default the release's, or the project's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// As this release holds them, rather than as the project is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// Why a variable has its value.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableExplanation {
    /// The variable.
    pub variable: String,
    /// Where and for what, for people.
    pub situation: String,
    /// Every value, the most specific first.
    pub candidates: Vec<VariableCandidate>,
    /// Where the value comes from; absent if no candidate holds here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<VariableOrigin>,
    /// Two values are equally specific, so there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<String>,
    /// Where no target was named: those on which it is something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_targets: Vec<VariableOnTargets>,
    /// How many targets were not looked at.
    #[serde(default)]
    pub more_targets: u64,
}

/// Targets on which a variable is something else.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableOnTargets {
    /// Their names.
    pub targets: Vec<String>,
    /// What it is there.
    #[serde(flatten)]
    pub view: VariableView,
}

/// One value of the variable, and how it fares.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableCandidate {
    /// Where it holds, for people.
    pub scope: String,
    /// The variable set that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub value: ValueView,
    /// It is the one.
    pub wins: bool,
    /// It holds here; `rank` says how specific it is, and otherwise why it does not.
    pub matches: bool,
    /// For people.
    pub rank: String,
}

/// Where a value comes from, and the tokens in it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VariableOrigin {
    /// The variable, or a token for which there is none.
    pub name: String,
    /// From where.
    pub source: OriginSource,
    /// The variable set that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Where the value holds, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Which two of its values are equally specific, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub value: ValueView,
    /// The value with its templates evaluated, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated: Option<String>,
    /// Where the tokens in it come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub tokens: Vec<VariableOrigin>,
}

/// Who defines a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OriginSource {
    /// The project.
    Project,
    /// A variable set.
    VariableSet,
    /// The server.
    Server,
    /// It is only known when earlier actions have run.
    Later,
    /// Two of its values are equally specific, so it has none.
    Tied,
    /// Nobody.
    Nowhere,
    /// It is one of those that lead to itself, so it has no value.
    Circle,
}

/// Where a value holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableScope {
    /// In these environments.
    #[serde(default)]
    pub environments: Vec<String>,
    /// On these targets.
    #[serde(default)]
    pub targets: Vec<String>,
    /// On targets with one of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// In these steps or actions.
    #[serde(default)]
    pub steps: Vec<String>,
    /// For releases of these channels.
    #[serde(default)]
    pub channels: Vec<String>,
    /// For tenants with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenant_tags: Vec<String>,
    /// In these processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
}

/// Gives a variable of a project a value.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariablePut {
    /// Text, which may be a template; either this or `secret`.
    #[serde(default)]
    pub value: Option<String>,
    /// A secret's path.
    #[serde(default)]
    pub secret: Option<String>,
    /// Where it holds; nothing for everywhere.
    #[serde(default)]
    pub scope: VariableScope,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// Takes a value of a project's variable away.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableRemove {
    /// The scope of the value; nothing for the one that holds everywhere.
    #[serde(default)]
    pub scope: VariableScope,
    /// All of its values.
    #[serde(default)]
    pub all: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}
