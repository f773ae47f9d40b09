//! The grammar: what may stand in a file. The same types give the JSON Schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::node::Node;
use super::typed::{At, Each, Many, Raw};
use crate::health::InMaintenance;
use crate::lifecycle::DeployMode;
use crate::process::{OnFailure, Pick, Start, Unavailable, Unhealthy};
use crate::queue::Priority;
use crate::target::Platform;

/// One document of a file: a project, a variable set, or what projects are deployed to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map that begins with 'mantle: v1'")]
pub(super) struct Document {
    /// The version of the file format.
    #[schemars(extend("const" = "v1"))]
    pub(super) mantle: At<String>,
    /// The project's slug.
    pub(super) project: Option<At<String>>,
    /// The name of a variable set, whose variables projects include.
    pub(super) variable_set: Option<At<String>>,
    /// What the project or variable set is, in a sentence.
    pub(super) description: Option<At<String>>,
    /// Variable sets whose variables belong to the project, or to this set, too.
    #[serde(default)]
    pub(super) include: Many<At<String>>,
    /// The lifecycle that its releases follow.
    pub(super) lifecycle: Option<At<String>>,
    /// Where the next release's version comes from: a template over `Octopus.Version.*`, or a
    /// package.
    #[schemars(with = "Option<VersionSchema>")]
    pub(super) version: Option<Node>,
    /// The notes of a release that is made without any: a template.
    pub(super) release_notes: Option<At<String>>,
    /// The packages that the project uses.
    pub(super) packages: Option<Each<PackageItem>>,
    /// Which package versions a kind of release may take.
    pub(super) channels: Option<Each<ChannelItem>>,
    /// Named values: a text, a secret, or a list of values with scopes.
    #[schemars(with = "Option<std::collections::BTreeMap<String, VariableSchema>>")]
    pub(super) variables: Option<Node>,
    /// The steps, in order.
    pub(super) process: Option<Each<StepItem>>,
    /// How long a deployment may take.
    pub(super) timeouts: Option<At<TimeoutsItem>>,
    /// What becomes of targets that are away when a deployment is planned: fail (default) or skip.
    pub(super) unavailable: Option<At<Unavailable>>,
    /// What becomes of targets that are unhealthy by a check: deploy (default), skip or fail.
    pub(super) unhealthy: Option<Unhealthy>,
    /// Whether a failure asks a person instead of failing the deployment. Without it, as the
    /// environment has it.
    pub(super) guided_failure: Option<bool>,
    /// Where releases go, in order.
    pub(super) environments: Option<Each<EnvironmentItem>>,
    /// In which order releases may enter the environments.
    pub(super) lifecycles: Option<Each<LifecycleItem>>,
    /// Machines that are expected to join.
    pub(super) targets: Option<Each<TargetItem>>,
    /// Scripts that say how targets are.
    pub(super) health_checks: Option<Each<HealthCheckItem>>,
}

/// How long a deployment may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with 'packages' or 'deployment'"
)]
pub(super) struct TimeoutsItem {
    /// For all packages to be on their targets.
    pub(super) packages: Option<At<String>>,
    /// From its begin to its end.
    pub(super) deployment: Option<At<String>>,
}

/// `version:`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "exists for its schema")]
pub(super) enum VersionSchema {
    /// A template.
    Template(String),
    /// The version of a package.
    Package(VersionPackage),
}

/// The version of a package.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a template, or a map with 'package'")]
pub(super) struct VersionPackage {
    /// The package's id.
    pub(super) package: At<String>,
}

/// A package that the project uses.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a package: a map with 'id'")]
pub(super) struct PackageItem {
    /// The package's id.
    pub(super) id: At<String>,
}

/// A channel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a channel: a map with 'name'")]
pub(super) struct ChannelItem {
    /// Its name.
    pub(super) name: At<String>,
    /// What it is for.
    pub(super) description: Option<String>,
    /// Releases go here unless they name another.
    #[serde(default)]
    pub(super) default: bool,
    /// The lifecycle of its releases, in place of the project's.
    pub(super) lifecycle: Option<At<String>>,
    /// What the packages of a release must satisfy when it is created.
    pub(super) rules: Option<Each<RuleItem>>,
}

/// What one package's version must satisfy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a rule: a map with 'package' and 'range' or 'prerelease'"
)]
pub(super) struct RuleItem {
    /// The package's id.
    pub(super) package: At<String>,
    /// A `NuGet` range, such as `[1.0,2.0)`.
    pub(super) range: Option<At<String>>,
    /// An expression for the pre-release text, such as `^$`.
    pub(super) prerelease: Option<At<String>>,
}

/// A variable: a text, a secret, or a list of values.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "exists for its schema")]
pub(super) enum VariableSchema {
    /// A text, which may be a template.
    Text(Raw),
    /// A secret.
    Secret(SecretItem),
    /// A value that is asked for when a deployment is created.
    Prompt(PromptedItem),
    /// Values with scopes, of which the most specific holds.
    Values(Vec<ValueItem>),
}

/// A secret by its path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with 'secret'")]
pub(super) struct SecretItem {
    /// The path under which `mantle secret set` stored it.
    pub(super) secret: At<String>,
}

/// A value that is asked for when a deployment is created.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with 'prompt'")]
pub(super) struct PromptedItem {
    /// What is asked.
    pub(super) prompt: At<PromptItem>,
}

/// What is asked when a deployment is created.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with 'label', 'control' and the like"
)]
pub(super) struct PromptItem {
    /// What people see in place of the variable's name.
    pub(super) label: Option<At<String>>,
    /// What the answer is for.
    pub(super) description: Option<String>,
    /// There is no deployment without an answer or a default.
    #[serde(default)]
    pub(super) required: bool,
    /// What holds without an answer; may be a template.
    pub(super) default: Option<At<Raw>>,
    /// What may be answered.
    #[serde(default)]
    pub(super) control: ControlWord,
    /// The answers of a 'select'.
    #[serde(default)]
    pub(super) options: Many<At<Raw>>,
}

/// What may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ControlWord {
    /// One line.
    #[default]
    Text,
    /// Lines.
    MultiLine,
    /// Yes or no.
    Checkbox,
    /// One of the options.
    Select,
    /// A text that is kept as a secret.
    Sensitive,
}

/// One value of a variable, and where it holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a value: a map with 'value', 'secret' or 'prompt', and where it holds"
)]
pub(super) struct ValueItem {
    /// The text, which may be a template.
    pub(super) value: Option<At<Raw>>,
    /// A secret's path.
    pub(super) secret: Option<At<String>>,
    /// What is asked when a deployment is created.
    pub(super) prompt: Option<At<PromptItem>>,
    /// Only in this environment.
    #[serde(default)]
    pub(super) environment: Many<At<String>>,
    /// Only in these environments.
    #[serde(default)]
    pub(super) environments: Many<At<String>>,
    /// Only on this target.
    #[serde(default)]
    pub(super) target: Many<At<String>>,
    /// Only on these targets.
    #[serde(default)]
    pub(super) targets: Many<At<String>>,
    /// Only on targets with this tag.
    #[serde(default)]
    pub(super) tag: Many<At<String>>,
    /// Only on targets with one of these tags.
    #[serde(default)]
    pub(super) tags: Many<At<String>>,
    /// Only in this step or action.
    #[serde(default)]
    pub(super) step: Many<At<String>>,
    /// Only in these steps or actions.
    #[serde(default)]
    pub(super) steps: Many<At<String>>,
    /// Only for releases of this channel.
    #[serde(default)]
    pub(super) channel: Many<At<String>>,
    /// Only for releases of these channels.
    #[serde(default)]
    pub(super) channels: Many<At<String>>,
    /// Only for tenants with this tag. Nothing is deployed for a tenant yet.
    #[serde(default)]
    pub(super) tenant_tag: Many<At<String>>,
    /// Only for tenants with one of these tags. Nothing is deployed for a tenant yet.
    #[serde(default)]
    pub(super) tenant_tags: Many<At<String>>,
    /// Only in this process: deployment.
    #[serde(default)]
    pub(super) process: Many<At<String>>,
}

/// A step: where, and either its actions or, in short, the one that it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a step: a map with 'step' and 'uses' or 'actions'"
)]
pub(super) struct StepItem {
    /// Its name.
    pub(super) step: At<String>,
    /// Which targets it is about. Without it the step runs once, on no target.
    pub(super) targets: Option<At<SelectorItem>>,
    /// How many targets at once go through the whole step.
    pub(super) rolling: Option<At<RollingItem>>,
    /// The most targets at work at once.
    pub(super) max_parallel: Option<At<u32>>,
    /// When it runs: success (default), failure, always, or a template that is true.
    pub(super) run: Option<At<String>>,
    /// Where it applies at all.
    pub(super) when: Option<WhenItem>,
    /// When its turn comes: after everything before it (default), or with the step before it.
    pub(super) start: Option<At<Start>>,
    /// No deployment may leave it out.
    pub(super) required: Option<At<bool>>,
    /// What becomes of targets that are away when a deployment is planned: fail or skip; as the
    /// project says by default.
    pub(super) unavailable: Option<Unavailable>,
    /// What becomes of targets that are unhealthy by a check. Without it, as the project has it.
    pub(super) unhealthy: Option<Unhealthy>,
    /// What it does, in order.
    pub(super) actions: Option<At<Each<ActionItem>>>,
    /// The action type, for a step that is its own single action.
    pub(super) uses: Option<At<String>>,
    /// What the action takes.
    #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub(super) with: Option<Node>,
    /// Which targets' agents run the action, in place of the subject's own.
    pub(super) run_on: Option<At<SelectorItem>>,
    /// An attempt is stopped after this long; of a step with 'actions' the whole step.
    pub(super) timeout: Option<At<String>>,
    /// Between the request to stop and the kill.
    pub(super) grace: Option<At<String>>,
    /// How often and how soon a failed attempt is repeated.
    pub(super) retries: Option<RetriesItem>,
    /// Secrets that the action may look up, or 'all'.
    #[schemars(with = "Option<SecretsSchema>")]
    pub(super) secrets: Option<Node>,
    /// It stays in the process but never runs.
    pub(super) disabled: Option<bool>,
    /// What the action holds on its executor while it runs, in place of the target as a whole.
    #[schemars(with = "Option<Vec<LockSchema>>")]
    pub(super) locks: Option<Node>,
}

/// One unit of work of a step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an action: a map with 'action' and 'uses'"
)]
pub(super) struct ActionItem {
    /// Its name.
    pub(super) action: At<String>,
    /// The action type.
    pub(super) uses: At<String>,
    /// What the action takes.
    #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub(super) with: Option<Node>,
    /// Which targets' agents run it, in place of the subject's own.
    pub(super) run_on: Option<At<SelectorItem>>,
    /// When it runs: success (default), failure, always, or a template that is true.
    pub(super) run: Option<At<String>>,
    /// Where it applies at all.
    pub(super) when: Option<WhenItem>,
    /// An attempt is stopped after this long.
    pub(super) timeout: Option<At<String>>,
    /// Between the request to stop and the kill.
    pub(super) grace: Option<At<String>>,
    /// How often and how soon a failed attempt is repeated.
    pub(super) retries: Option<RetriesItem>,
    /// Secrets that it may look up, or 'all'.
    #[schemars(with = "Option<SecretsSchema>")]
    pub(super) secrets: Option<Node>,
    /// It stays in the process but never runs.
    pub(super) disabled: Option<bool>,
    /// What the action holds on its executor while it runs, in place of the target as a whole.
    #[schemars(with = "Option<Vec<LockSchema>>")]
    pub(super) locks: Option<Node>,
}

/// `secrets:`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "exists for its schema")]
pub(super) enum SecretsSchema {
    /// The word `all`, or one variable.
    One(String),
    /// Variables that hold secrets.
    Named(Vec<String>),
}

/// A lock.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "exists for its schema")]
pub(super) enum LockSchema {
    /// One that nobody else may hold.
    Name(String),
    /// One with its mode.
    Lock(LockItem),
}

/// A lock with its mode.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a lock: a name, or a map with 'name' and 'mode'"
)]
pub(super) struct LockItem {
    /// Its name.
    pub(super) name: At<String>,
    /// Whether others that share it may hold it too.
    #[serde(default)]
    pub(super) mode: LockModeWord,
}

/// Whether others may hold a lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LockModeWord {
    /// Nobody else.
    #[default]
    Exclusive,
    /// Others that share it.
    Shared,
}

/// Which targets, by tag.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with 'tag'")]
pub(super) struct SelectorItem {
    /// Targets with this tag.
    pub(super) tag: At<String>,
    /// All of them, or the first by name.
    #[serde(default)]
    pub(super) pick: Pick,
}

/// How a step rolls over its targets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with 'window'")]
pub(super) struct RollingItem {
    /// So many targets at once, such as 1, or a share of them, such as 25%.
    pub(super) window: At<Raw>,
    /// So many targets, or such a share of them, may fail, and the step has not failed.
    pub(super) max_failed: Option<At<Raw>>,
    /// After the first target a person is asked whether to go on.
    pub(super) pause_after_first: Option<bool>,
    /// What becomes of the targets that wait once more have failed: stop (default), continue or rollback.
    #[serde(default)]
    pub(super) on_failure: OnFailure,
}

/// Where something applies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with 'environments', 'channels' or 'platform'"
)]
pub(super) struct WhenItem {
    /// Only in this environment.
    #[serde(default)]
    pub(super) environment: Many<At<String>>,
    /// Only in these environments.
    #[serde(default)]
    pub(super) environments: Many<At<String>>,
    /// In all but these environments.
    #[serde(default)]
    pub(super) not_environments: Many<At<String>>,
    /// Only for releases of this channel.
    #[serde(default)]
    pub(super) channel: Many<At<String>>,
    /// Only for releases of these channels.
    #[serde(default)]
    pub(super) channels: Many<At<String>>,
    /// Only for targets on this platform.
    pub(super) platform: Option<Platform>,
}

/// How a failed attempt is repeated.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with 'count' and 'backoff'")]
pub(super) struct RetriesItem {
    /// How many more attempts after the first.
    pub(super) count: At<u32>,
    /// The wait before the first of them.
    pub(super) backoff: Option<At<String>>,
    /// The wait doubles from one to the next, up to this. Without it, it stays the same.
    pub(super) max_backoff: Option<At<String>>,
}

/// An environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an environment: a map with 'name'")]
pub(super) struct EnvironmentItem {
    /// Its name.
    pub(super) name: At<String>,
    /// What it is.
    pub(super) description: Option<String>,
    /// A failure asks a person instead of failing the deployment.
    pub(super) guided_failure: Option<bool>,
    /// How long a deployment into it may take, unless its project says.
    pub(super) timeout: Option<At<String>>,
    /// How urgent deployments into it are: normal (default) or high.
    #[serde(default)]
    pub(super) priority: Priority,
}

/// A lifecycle.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a lifecycle: a map with 'name' and 'phases'"
)]
pub(super) struct LifecycleItem {
    /// Its name.
    pub(super) name: At<String>,
    /// What it is for.
    pub(super) description: Option<String>,
    /// Its phases in order. Without any, each environment is one.
    pub(super) phases: Option<Each<PhaseItem>>,
    /// What is kept.
    pub(super) retention: Option<RetentionItem>,
}

/// One phase.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a phase: a map with 'name' and 'environments'"
)]
pub(super) struct PhaseItem {
    /// Its name.
    pub(super) name: At<String>,
    /// Its environments. Without any: all that no earlier phase names.
    #[serde(default)]
    pub(super) environments: Many<At<String>>,
    /// Whether a release that reaches it goes there by itself: manual (default), automatic, or the
    /// list of its environments to which it does.
    #[schemars(with = "Option<DeploySchema>")]
    pub(super) deploy: Option<Node>,
    /// Success in so many of its environments is enough to pass it.
    pub(super) minimum: Option<At<u32>>,
    /// It may be passed over.
    #[serde(default)]
    pub(super) optional: bool,
    /// How urgent deployments into it are: normal (default) or high.
    #[serde(default)]
    pub(super) priority: Priority,
}

/// `deploy:`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "exists for its schema")]
pub(super) enum DeploySchema {
    /// All of its environments, or none.
    Mode(DeployMode),
    /// Some of its environments.
    Environments(Vec<String>),
}

/// What is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with 'releases', 'days', 'packages' or 'on_target'"
)]
pub(super) struct RetentionItem {
    /// So many releases of a project in each phase.
    pub(super) releases: Option<u32>,
    /// Releases younger than so many days.
    pub(super) days: Option<u32>,
    /// So many versions of a package that no release holds.
    pub(super) packages: Option<u32>,
    /// So many versions of a package on a target.
    pub(super) on_target: Option<u32>,
}

/// A machine that is expected to join.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a target: a map with 'name'")]
pub(super) struct TargetItem {
    /// Its name.
    pub(super) name: At<String>,
    /// Its tags.
    #[serde(default)]
    pub(super) tags: Many<At<String>>,
    /// The environments that it is in.
    #[serde(default)]
    pub(super) environments: Many<At<String>>,
}

/// A script that says how targets are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a health check: a map with 'name' and 'linux' or 'windows'"
)]
pub(super) struct HealthCheckItem {
    /// Its name.
    pub(super) name: At<String>,
    /// What it looks at.
    pub(super) description: Option<String>,
    /// Only targets with one of these tags. Without any: whatever their tags.
    #[serde(default)]
    pub(super) tags: Many<At<String>>,
    /// Only targets in one of these environments. Without any: wherever they are.
    #[serde(default)]
    pub(super) environments: Many<At<String>>,
    /// The script for targets on Linux.
    pub(super) linux: Option<At<String>>,
    /// The script for targets on Windows.
    pub(super) windows: Option<At<String>>,
    /// How often it runs by itself, 5s at least. Without it: only by hand.
    pub(super) every: Option<At<String>>,
    /// A script is ended after this long, and its target is unhealthy: 1m by default, 1h at most.
    pub(super) timeout: Option<At<String>>,
    /// What it does about targets in maintenance: check (default) or skip.
    #[serde(default)]
    pub(super) maintenance: InMaintenance,
}
