//! Deployments, plans, and what runs where.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::task::{TaskPriority, TaskState};
use super::variable::Answers;

/// Asks for a deployment.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentCreate {
    /// The project's slug.
    pub project: String,
    /// The release's version; may be left out when `from` says where to take it.
    #[serde(default)]
    pub version: Option<String>,
    /// Take the release that runs in this environment.
    #[serde(default)]
    pub from: Option<String>,
    /// Where to.
    pub environment: String,
    /// The id of the plan that it must be: it is refused if what the plan rests on has changed. That
    /// of a rollback is one that was planned with the same `rollback`.
    #[serde(default)]
    pub plan: Option<String>,
    /// Answers to what the deployment asks, by variable or label.
    #[serde(default, skip_serializing_if = "Answers::is_empty")]
    pub variables: Answers,
    /// What is to be said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Its own fields, at most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Which targets and steps take part, and how long it may take.
    #[serde(default, skip_serializing_if = "DeploymentChoices::is_default")]
    pub choices: DeploymentChoices,
    /// How urgent it is; `high` takes the permission to change the order of the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<TaskPriority>,
    /// It does not begin before; at most 30 days ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// If it has not begun by then it never does, and ends as timed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Go back: to the release that succeeded there before the one that was last deployed, or to
    /// the one that `version` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
}

/// How to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// With the variables that the release has now, in place of those that it was deployed with.
    #[serde(default)]
    pub current_variables: bool,
}

/// Which targets and steps take part in a deployment, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentChoices {
    /// Only these targets, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Only targets with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Not these targets, neither as what it is about nor to run something on behalf of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Only the targets that did not succeed in this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_only_of: Option<String>,
    /// Not these steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Only these steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What becomes of targets that are away: `fail` or `skip`; as project and steps say by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<UnavailableTargets>,
    /// What becomes of targets that are unhealthy: `deploy`, `skip` or `fail`; as project and steps say
    /// by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<UnhealthyTargets>,
    /// How long it may take, such as `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<String>,
    /// Whether a failure asks a person; as project and environment say by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guided_failure: Option<bool>,
}

impl DeploymentChoices {
    /// Nothing is chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of targets that are away when a deployment is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnavailableTargets {
    /// There is no deployment while one is.
    Fail,
    /// They are left out.
    Skip,
}

/// What becomes of targets that are unhealthy by a check when a deployment is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnhealthyTargets {
    /// They take part as any other.
    Deploy,
    /// They are left out.
    Skip,
    /// There is no deployment while one is.
    Fail,
}

/// A target that takes no part although a step would be about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutTarget {
    /// Its name.
    pub name: String,
    /// `excluded`, `not chosen`, `offline`, `not joined`, `in maintenance` or `unhealthy`.
    pub why: String,
}

/// Asks what a deployment would do.
pub type PlanRequest = DeploymentCreate;

/// What a deployment would do, target by target.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanBody {
    /// The plan's id: a deployment that names it is refused if this plan does not hold any more.
    /// Empty for somebody who may not deploy, and where it is refused: no such plan is kept.
    #[serde(default)]
    pub id: String,
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// The release's channel.
    pub channel: String,
    /// Where to.
    pub environment: String,
    /// Every target that takes part, by name.
    pub targets: Vec<PlanTarget>,
    /// The version that it goes back from, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_from: Option<String>,
    /// The targets that take no part although a step would be about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutTarget>,
    /// How long it may take, such as `2h`; none if the server's own limit holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<String>,
    /// The steps, in order, also those that do not apply here.
    pub steps: Vec<PlanStep>,
    /// What deserves attention beforehand.
    pub warnings: Vec<String>,
    /// Why it would be refused all the same: agents that do not know an action type yet. It has no id then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// A failure asks a person what becomes of it.
    #[serde(default)]
    pub guided_failure: bool,
    /// What the deployment asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PlanPrompt>,
}

/// A variable that is asked for when the deployment is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanPrompt {
    /// The variable.
    pub variable: String,
    /// What people see in place of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the answer is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `text`, `multi-line`, `checkbox`, `select` or `sensitive`.
    pub control: String,
    /// The answers of a `select`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// There is no deployment without an answer or a default.
    pub required: bool,
    /// What holds without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// It was answered.
    pub answered: bool,
}

/// A target that takes part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanTarget {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it runs on.
    pub platform: String,
}

/// One step of a plan.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// From 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// `with_previous` if its turn comes together with that of the step before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// No deployment may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// It rolls.
    pub rolling: bool,
    /// The most targets inside it at once.
    pub parallel: u32,
    /// So many targets may fail, and the step has not failed.
    #[serde(default)]
    pub max_failed: u32,
    /// `stop`, `continue` or `rollback`: what becomes of the others once more have failed; if it
    /// rolls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// After the first target a person is asked whether to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause_after_first: bool,
    /// The whole step is stopped after this long, such as `2h`; none if the server's own limit holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Under which condition it runs, in words; empty for "if all went well".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// The targets that it is about, in the order in which they start.
    pub targets: Vec<String>,
    /// What it does, in order.
    pub actions: Vec<PlanAction>,
    /// Why it does not apply here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// It runs only if another step fails, and undoes what that one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<PlanRollBack>,
}

/// What rolling back would lead to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanRollBack {
    /// The step that would be undone.
    pub step: String,
    /// Its targets, in the order in which they would be put back.
    pub targets: Vec<PlanPutBack>,
    /// What would not be undone.
    pub not_undone: Vec<PlanNotUndone>,
}

/// What a target would be put back to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanPutBack {
    /// The target.
    pub name: String,
    /// The version of the release that runs there; none if nothing of the project does.
    pub version: Option<String>,
    /// That version had failed there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
}

/// An action that would not be undone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanNotUndone {
    /// The action.
    pub action: String,
    /// Why.
    pub why: String,
    /// On these targets; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// One action of a step.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanAction {
    /// Its name.
    pub name: String,
    /// Its type.
    pub uses: String,
    /// Under which condition it runs, in words; empty for "if all went well".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// The packages that its executor needs.
    pub packages: Vec<String>,
    /// About whom, by whom, with what.
    pub nodes: Vec<PlanNode>,
    /// Why it does not apply here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// One action about one target.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlanNode {
    /// The target that it is about.
    pub target: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// Its inputs, evaluated as far as they can be: secrets as their names, what is only known
    /// later as its template.
    #[schema(value_type = Object)]
    pub with: serde_json::Map<String, serde_json::Value>,
}

/// What runs where: one row a project.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusBody {
    /// The environments, in the order of the columns.
    pub environments: Vec<String>,
    /// The projects.
    pub projects: Vec<StatusRow>,
    /// What every deployment that is not over waits for, in a sentence without a subject: room on the
    /// server's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
}

/// One project's row.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusRow {
    /// The project's slug.
    pub project: String,
    /// Its latest release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_release: Option<String>,
    /// One for each environment that has seen a deployment.
    pub cells: Vec<StatusCell>,
}

/// The last deployment of a project into an environment, and what runs there.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusCell {
    /// The environment.
    pub environment: String,
    /// The release that was last deployed with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Why that release is blocked, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// It runs with an older snapshot of its variables than it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_variables: Option<super::OlderVariables>,
    /// The release of the last deployment.
    pub last_version: String,
    /// The last deployment's number.
    pub last_task: String,
    /// How it stands.
    pub last_state: TaskState,
    /// Nothing but a person is awaited in it.
    #[serde(default)]
    pub awaits_person: bool,
    /// When it was queued, or ended.
    pub at: Timestamp,
    /// The deployment that runs there, if that is not the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<StatusUnderWay>,
}

/// A deployment that runs although a later one was asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusUnderWay {
    /// Its release.
    pub version: String,
    /// Its number.
    pub task: String,
    /// Nothing but a person is awaited in it.
    #[serde(default)]
    pub awaits_person: bool,
}

/// What a deployment in fact used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeploymentManifest {
    /// The deployment's number.
    pub number: String,
    /// The digest of the manifest.
    pub digest: String,
    /// The manifest: targets, packages by digest, the values that actions got. Secrets are marks.
    #[schema(value_type = Object)]
    pub manifest: serde_json::Value,
    /// What people said of attempts whose end nobody knew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<super::ResolvedAttempt>,
}

/// How two deployments differ in what they used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeploymentDiff {
    /// The first deployment's number.
    pub from: String,
    /// The second one's.
    pub to: String,
    /// They used the same.
    pub same: bool,
    /// What was deployed where.
    pub what: Vec<String>,
    /// Who took part.
    pub targets: Vec<String>,
    /// The packages that differ.
    pub packages: Vec<super::PackageDiff>,
    /// The values that differ; secrets by their marks.
    pub values: Vec<String>,
}

/// Asks for what the rules no longer keep to be removed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRun {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What retention removed, or would.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RetentionResult {
    /// What becomes of each thing that was judged; of tasks, logs, answers and the audit trail at most
    /// 1,000 each.
    pub items: Vec<RetentionItem>,
    /// How many tasks, logs, sets of answers and entries of the audit trail go, and how much they hold.
    #[serde(default)]
    pub counts: Vec<RetentionCount>,
    /// It was done.
    pub done: bool,
}

/// How much of one kind goes, or went.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RetentionCount {
    /// `task`, `log`, `variables` or `audit`.
    pub kind: String,
    /// How many tasks, logs, sets of answers or entries.
    pub goes: u64,
    /// What they hold, as it is stored.
    pub size_bytes: u64,
}

/// What becomes of one thing, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RetentionItem {
    /// `release`, `package`, `task`, `log`, `variables` (answers of a deployment) or `audit`.
    pub kind: String,
    /// Its name and version or number.
    pub name: String,
    /// It goes, or went.
    pub goes: bool,
    /// Why.
    pub why: String,
}
