//! Variables of a project or release: list, explain, set, unset.
//!
//! What sets and unsets changes the stored definition and applies it like a file, so that it is
//! checked, refused and audited in the same way. A secret's value is never here: its mark is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_domain::channel;
use mantle_domain::explain::{Refusal, nearest};
use mantle_domain::file::export;
use mantle_domain::permission::Permission;
use mantle_domain::process::Process;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::variable::explanation::{
    Explained, Explanation, Origin, Question, Shown, Source, explain, place, shown,
};
use mantle_domain::variable::overview::{
    Held, OnTargets, TargetHere, Winner, on_targets, overview,
};
use mantle_domain::variable::{
    DEPLOYMENT_PROCESS, Scope, ScopedValue, Situation, SituationTarget, Variable, VariableValue,
    describe_scope, is_of_server,
};
use mantle_template::same_name;

use super::apply_read::{READINGS, never_still};
use super::declared::{project_definition, whole_project};
use super::error::{Error, Result};
use super::planning::Pins;
use super::releases::secret_facts;
use super::{Caller, Services, names};
use crate::api::body::{
    ApplyFile, ApplyRequest, ApplyResult, OriginSource, ValueView, VariableCandidate,
    VariableExplanation, VariableOnTargets, VariableOrigin, VariablePlace, VariablePut,
    VariableRemove, VariableScope, VariableView,
};
use crate::store::{Tx, target_list};

/// More targets than these are not looked at where none was named.
const MOST_TARGETS: usize = 500;

/// Use cases of variables.
impl Services {
    /// With a place, each variable's value there; otherwise every value of every variable.
    pub async fn variable_list(
        &self,
        caller: &Caller,
        project: &str,
        at: &VariablePlace,
    ) -> Result<Vec<VariableView>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let here = Here::read(&mut tx, project, at).await?;
        let marks = marks(&mut tx).await?;
        drop(tx);
        let nowhere = at.environment.is_none() && at.target.is_none() && at.step.is_none();
        if nowhere && at.channel.is_none() {
            return Ok(all_values(&here.variables, &marks));
        }
        let now = self.now();
        let list = move || {
            let system = here.system();
            let found = overview(&here.question(&system, &marks, now)).into_iter();
            found.filter_map(|one| held(one, &marks)).collect()
        };
        self.evaluations.looking.run(list).await
    }

    /// Why a variable has its value in a place.
    pub async fn variable_explain(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        at: &VariablePlace,
    ) -> Result<VariableExplanation> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let here = Here::read(&mut tx, project, at).await?;
        let marks = marks(&mut tx).await?;
        let targets = match at.target {
            None => Some(targets_in(&mut tx, here.environment.as_deref()).await?),
            Some(_) => None,
        };
        drop(tx);
        let (name, now) = (name.to_owned(), self.now());
        let explained = move || {
            let system = here.system();
            let question = here.question(&system, &marks, now);
            let mut said = explanation(explain(&question, &name)?);
            if let Some((targets, more)) = targets {
                let found = on_targets(&question, &name, &targets).into_iter();
                said.on_targets = found.map(|one| elsewhere(one, &marks)).collect();
                said.more_targets = more;
            }
            Ok(said)
        };
        self.evaluations.looking.run(explained).await?
    }

    /// Gives a project's variable a value, in place of the one of the same scope.
    pub async fn variable_put(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        request: &VariablePut,
    ) -> Result<ApplyResult> {
        caller.may(Permission::Configure)?;
        let value = match (&request.value, &request.secret) {
            (Some(text), None) => VariableValue::Text(text.clone()),
            (None, Some(path)) => VariableValue::Secret(path.clone()),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Error::invalid(
                    "bad-value",
                    format!("variable '{name}' needs either a text or a secret"),
                    "write NAME=VALUE, or NAME --secret PATH",
                ));
            }
        };
        let scope = scope(&request.scope);
        self.change_project(caller, project, request.dry_run, |definition| {
            put(
                &mut definition.variables,
                name,
                value.clone(),
                scope.clone(),
            );
            Ok(())
        })
        .await
    }

    /// Takes a value of a project's variable away, or all of them.
    pub async fn variable_remove(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        request: &VariableRemove,
    ) -> Result<ApplyResult> {
        caller.may(Permission::Configure)?;
        let scope = (!request.all).then(|| scope(&request.scope));
        self.change_project(caller, project, request.dry_run, |definition| {
            remove(definition, name, scope.as_ref())
        })
        .await
    }

    /// Changes a project as if its file had been changed and applied.
    async fn change_project(
        &self,
        caller: &Caller,
        project: &str,
        dry_run: bool,
        change: impl Fn(&mut ProjectDefinition) -> Result<()>,
    ) -> Result<ApplyResult> {
        for _ in 0..READINGS {
            let row = {
                let mut tx = self.store.read().await?;
                names::project(&mut tx, project).await?
            };
            let mut definition = project_definition(&row)?;
            change(&mut definition)?;
            let request = ApplyRequest {
                files: vec![ApplyFile {
                    name: format!(
                        "'variable set' of project {}, as 'mantle export' writes it",
                        row.slug
                    ),
                    text: export::project(&definition),
                }],
                dry_run,
                ..ApplyRequest::default()
            };
            let files = self.read_files(&request.files).await?;
            let mut tx = self.store.begin().await?;
            // Another change of the project meanwhile would be undone by this one.
            let now = names::project(&mut tx, project).await?;
            if now.body == row.body && files.hold(&mut tx).await? {
                return self.apply_in(tx, caller, &request, &files).await;
            }
        }
        Err(never_still())
    }
}

fn put(variables: &mut Vec<Variable>, name: &str, value: VariableValue, scope: Scope) {
    let value = ScopedValue::own(value, scope);
    let known = variables
        .iter_mut()
        .find(|variable| same_name(&variable.name, name));
    let Some(variable) = known else {
        variables.push(Variable {
            name: name.to_owned(),
            values: vec![value],
        });
        return;
    };
    let same = variable
        .values
        .iter_mut()
        .find(|one| one.scope == value.scope);
    match same {
        Some(slot) => *slot = value,
        None => variable.values.push(value),
    }
}

fn remove(definition: &mut ProjectDefinition, name: &str, scope: Option<&Scope>) -> Result<()> {
    let variables = &mut definition.variables;
    let Some(at) = variables
        .iter()
        .position(|variable| same_name(&variable.name, name))
    else {
        return Err(Refusal::UnknownVariable {
            project: definition.slug.clone(),
            variable: name.to_owned(),
            suggestion: nearest(name, variables.iter().map(|one| one.name.as_str())),
        }
        .into());
    };
    if let (Some(scope), Some(variable)) = (scope, variables.get_mut(at)) {
        let before = variable.values.len();
        variable.values.retain(|value| value.scope != *scope);
        if variable.values.len() == before {
            let known = variable.values.iter().map(|one| describe_scope(&one.scope));
            return Err(Error::Missing {
                detail: format!(
                    "variable '{}' has no value for {}",
                    variable.name,
                    describe_scope(scope)
                ),
                reasons: Vec::new(),
                help: format!(
                    "it has values for {}; --all removes all of them",
                    known.collect::<Vec<_>>().join("; ")
                ),
            });
        }
        if !variable.values.is_empty() {
            return Ok(());
        }
    }
    variables.remove(at);
    Ok(())
}

fn scope(scope: &VariableScope) -> Scope {
    let set = |names: &[String]| names.iter().cloned().collect();
    Scope {
        environments: set(&scope.environments),
        targets: set(&scope.targets),
        tags: set(&scope.tags),
        steps: set(&scope.steps),
        channels: set(&scope.channels),
        tenant_tags: set(&scope.tenant_tags),
        processes: set(&scope.processes),
    }
}

/// Where and for what, with all that it names found.
struct Here {
    project: String,
    variables: Vec<Variable>,
    environment: Option<String>,
    channel: Option<String>,
    release: Option<String>,
    target: Option<(String, String, Vec<String>)>,
    step: Option<String>,
    step_tag: Option<String>,
    action: Option<String>,
}

impl Here {
    async fn read(tx: &mut Tx, project: &str, at: &VariablePlace) -> Result<Self> {
        let row = names::project(tx, project).await?;
        let definition = whole_project(tx, &row).await?;
        let known = channel::effective(&definition.channels);
        let mut channel = Some(channel::default_of(&definition.channels).name);
        let mut process = definition.process;
        let mut variables = definition.variables;
        if let Some(version) = &at.release {
            let release = names::release(tx, &row, version).await?;
            let pins = Pins::read(tx, release.digests()).await?;
            channel = Some(release.channel);
            process = pins.process.process;
            variables = pins.variables.variables;
        }
        if let Some(name) = &at.channel {
            if !known.iter().any(|one| one.name == *name) {
                return Err(Refusal::UnknownChannel {
                    project: row.slug,
                    channel: name.clone(),
                    suggestion: nearest(name, known.iter().map(|one| one.name.as_str())),
                }
                .into());
            }
            channel = Some(name.clone());
        }
        let mut here = Self {
            project: row.slug,
            variables,
            environment: None,
            channel,
            release: at.release.clone(),
            target: None,
            step: None,
            step_tag: None,
            action: None,
        };
        if let Some(name) = &at.environment {
            here.environment = Some(names::environment(tx, name).await?.name);
        }
        if let Some(name) = &at.target {
            let target = names::target(tx, name).await?;
            let mut tags = target.tags;
            tags.sort();
            here.target = Some((target.id.to_string(), target.name, tags));
        }
        if let Some(name) = &at.step {
            here.at_step(&process, name)?;
        }
        Ok(here)
    }

    fn at_step(&mut self, process: &Process, name: &str) -> Result<()> {
        let Some((step, action, tag)) = place(process, name) else {
            let steps = process.steps.iter();
            let all = steps.flat_map(|step| {
                let actions = step.actions.iter().map(|action| action.name.as_str());
                actions.chain([step.name.as_str()])
            });
            let known: Vec<&str> = all.collect();
            return Err(Error::not_found(
                "step or action",
                name,
                known,
                format!("'mantle project show {}' lists the steps", self.project),
            ));
        };
        self.step = Some(step.to_owned());
        self.action = action.map(str::to_owned);
        self.step_tag = tag.map(str::to_owned);
        Ok(())
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            environment: self.environment.as_deref(),
            channel: self.channel.as_deref(),
            target: self
                .target
                .as_ref()
                .map(|(_, name, tags)| SituationTarget { name, tags }),
            step: self.step.as_deref(),
            step_tag: self.step_tag.as_deref(),
            action: self.action.as_deref(),
            tenant_tags: &[],
            process: Some(DEPLOYMENT_PROCESS),
        }
    }

    /// What the server defines as far as this says it.
    fn system(&self) -> Vec<(String, String)> {
        let target = self.target.as_ref();
        let of_target = target.map(|(id, name, tags)| system_of_target(id, name, tags));
        let known = [
            ("Octopus.Project.Name", Some(self.project.clone())),
            ("Octopus.Project.Slug", Some(self.project.clone())),
            ("Octopus.Environment.Name", self.environment.clone()),
            ("Octopus.Release.Channel.Name", self.channel.clone()),
            ("Octopus.Release.Number", self.release.clone()),
            ("Octopus.Step.Name", self.step.clone()),
            ("Octopus.Action.Name", self.action.clone()),
        ];
        known
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .chain(of_target.into_iter().flatten())
            .collect()
    }

    fn question<'a>(
        &'a self,
        system: &'a [(String, String)],
        marks: &'a BTreeMap<String, String>,
        now: Timestamp,
    ) -> Question<'a> {
        Question {
            project: &self.project,
            variables: &self.variables,
            situation: self.situation(),
            system,
            marks,
            now,
        }
    }
}

/// The targets that a variable may be looked up for, and how many more there are.
async fn targets_in(tx: &mut Tx, environment: Option<&str>) -> Result<(Vec<TargetHere>, u64)> {
    let environment = match environment {
        Some(name) => Some(names::environment(tx, name).await?.id),
        None => None,
    };
    let rows = target_list(tx, environment).await?;
    let more = rows.len().saturating_sub(MOST_TARGETS);
    let targets = rows.into_iter().take(MOST_TARGETS).map(|row| {
        let mut tags = row.tags;
        tags.sort();
        TargetHere {
            system: system_of_target(&row.id.to_string(), &row.name, &tags),
            name: row.name,
            tags,
        }
    });
    Ok((targets.collect(), more as u64))
}

/// What the server says of a target.
fn system_of_target(id: &str, name: &str, tags: &[String]) -> Vec<(String, String)> {
    let known = [
        ("Octopus.Machine.Id", id.to_owned()),
        ("Octopus.Machine.Name", name.to_owned()),
        ("Octopus.Machine.Roles", tags.join(",")),
    ];
    known
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The marks of all secrets that have a value, by path.
pub(super) async fn marks(tx: &mut Tx) -> Result<BTreeMap<String, String>> {
    let facts = secret_facts(tx).await?;
    Ok(facts
        .into_iter()
        .map(|(path, facts)| (path, facts.mark))
        .collect())
}

/// Every value of every variable.
pub(super) fn all_values(
    variables: &[Variable],
    marks: &BTreeMap<String, String>,
) -> Vec<VariableView> {
    let values = variables.iter().flat_map(|variable| {
        let values = variable.values.iter();
        values.map(move |value| view(&variable.name, value, marks))
    });
    values.collect()
}

fn view(name: &str, value: &ScopedValue, marks: &BTreeMap<String, String>) -> VariableView {
    VariableView {
        scope: describe_scope(&value.scope),
        set: value.from.clone(),
        value: value_view(shown(&value.value, marks)),
        of_server: is_of_server(name),
        ..VariableView::named(name)
    }
}

impl VariableView {
    /// Nothing yet but the name.
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scope: String::new(),
            set: None,
            value: ValueView::default(),
            evaluated: None,
            of_server: false,
            tie: None,
        }
    }
}

/// A variable in one place; `None` if it has no value there.
fn held(one: Held<'_>, marks: &BTreeMap<String, String>) -> Option<VariableView> {
    let named = VariableView::named(one.name);
    match one.winner {
        Winner::Value(value) => Some(VariableView {
            evaluated: one.evaluated,
            ..view(one.name, value, marks)
        }),
        Winner::Server(value) => Some(VariableView {
            value: ValueView {
                value,
                ..ValueView::default()
            },
            of_server: true,
            ..named
        }),
        Winner::Nothing => None,
        Winner::Tie(tie) => Some(VariableView {
            scope: tie.situation.clone(),
            tie: Some(tie.to_string()),
            ..named
        }),
    }
}

fn elsewhere(one: OnTargets<'_>, marks: &BTreeMap<String, String>) -> VariableOnTargets {
    let OnTargets { targets, held: own } = one;
    let name = own.name;
    VariableOnTargets {
        targets,
        view: held(own, marks).unwrap_or_else(|| VariableView::named(name)),
    }
}

fn value_view(value: Shown) -> ValueView {
    match value {
        Shown::Text(text) => ValueView {
            value: Some(text),
            ..ValueView::default()
        },
        Shown::Secret { path, mark } => ValueView {
            secret: Some(path),
            mark,
            ..ValueView::default()
        },
        Shown::Prompt { label, default } => ValueView {
            prompt: Some(label),
            value: default,
            ..ValueView::default()
        },
    }
}

fn explanation(found: Explanation) -> VariableExplanation {
    VariableExplanation {
        variable: found.variable,
        situation: found.situation,
        candidates: found.candidates.into_iter().map(candidate).collect(),
        winner: found.winner.map(origin),
        tie: found.tie.map(|tie| tie.to_string()),
        on_targets: Vec::new(),
        more_targets: 0,
    }
}

fn candidate(one: Explained) -> VariableCandidate {
    VariableCandidate {
        scope: one.scope,
        set: one.from,
        value: value_view(one.value),
        wins: one.wins,
        matches: one.rank.is_ok(),
        rank: one.rank.unwrap_or_else(|why| why),
    }
}

fn origin(one: Origin) -> VariableOrigin {
    let mut tie = None;
    let (source, set, scope) = match one.source {
        Source::Variable { set: None, scope } => (OriginSource::Project, None, Some(scope)),
        Source::Variable { set, scope } => (OriginSource::VariableSet, set, Some(scope)),
        Source::System => (OriginSource::Server, None, None),
        Source::Later => (OriginSource::Later, None, None),
        Source::Tied(two) => {
            tie = Some(two.to_string());
            (OriginSource::Tied, None, None)
        }
        Source::Nowhere => (OriginSource::Nowhere, None, None),
        Source::Circle => (OriginSource::Circle, None, None),
    };
    VariableOrigin {
        name: one.name,
        source,
        set,
        scope,
        tie,
        value: one.value.map(value_view).unwrap_or_default(),
        evaluated: one.evaluated,
        tokens: one.tokens.into_iter().map(origin).collect(),
    }
}
