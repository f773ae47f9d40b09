//! Writes definitions back as the files that define them.
//!
//! What is exported reads back as the same definitions; comments and the author's layout are gone.

use mantle_shared::lock::{Lock, LockMode};
use serde_json::{Map, Value, json};

use super::{Definitions, duration, emit};
use crate::channel::ChannelDefinition;
use crate::environment::EnvironmentDefinition;
use crate::health::{DEFAULT_TIMEOUT_MS, HealthCheckDefinition, InMaintenance};
use crate::lifecycle::{DeployMode, Gate, LifecycleDefinition};
use crate::process::{
    Action, DEFAULT_ACTION_TIMEOUT_MS, DEFAULT_GRACE_MS, DEFAULT_PARALLELISM, OnFailure, Pick,
    Rolling, RunCondition, SecretAccess, Start, Step, TargetSelector, Unavailable, When, Window,
};
use crate::project::{ProjectDefinition, VersionSource};
use crate::queue::Priority;
use crate::target::{Platform, TargetDefinition};
use crate::variable::prompt::{Control, Prompt};
use crate::variable::{ScopedValue, Variable, VariableValue};
use crate::variable_set::VariableSetDefinition;

type Object = Map<String, Value>;

/// A project's file.
pub fn project(project: &ProjectDefinition) -> String {
    let mut file = head();
    put(&mut file, "project", json!(project.slug));
    option(&mut file, "description", project.description.as_ref());
    names(&mut file, "include", &project.include);
    option(&mut file, "lifecycle", project.lifecycle.as_ref());
    if project.version != VersionSource::default() {
        let version = match &project.version {
            VersionSource::Template(template) => json!(template),
            VersionSource::Package(id) => json!({ "package": id }),
        };
        put(&mut file, "version", version);
    }
    option(&mut file, "release_notes", project.release_notes.as_ref());
    let packages = project
        .packages
        .iter()
        .map(|package| json!({ "id": package.id }));
    list(&mut file, "packages", packages.collect());
    list(
        &mut file,
        "channels",
        project.channels.iter().map(channel).collect(),
    );
    variables(&mut file, &project.variables);
    list(
        &mut file,
        "process",
        project.process.steps.iter().map(step).collect(),
    );
    let mut timeouts = Object::new();
    span(
        &mut timeouts,
        "packages",
        project.process.timeouts.packages_ms,
    );
    span(
        &mut timeouts,
        "deployment",
        project.process.timeouts.deployment_ms,
    );
    if !timeouts.is_empty() {
        put(&mut file, "timeouts", Value::Object(timeouts));
    }
    match project.process.unavailable {
        Unavailable::Fail => {}
        Unavailable::Skip => put(&mut file, "unavailable", json!("skip")),
    }
    if !project.process.unhealthy.is_default() {
        put(
            &mut file,
            "unhealthy",
            json!(project.process.unhealthy.word()),
        );
    }
    if let Some(guided) = project.process.guided_failure {
        put(&mut file, "guided_failure", json!(guided));
    }
    emit::document(&file)
}

/// The file of variable sets, a document each; `None` if there are none.
pub fn variable_sets(sets: &[VariableSetDefinition]) -> Option<String> {
    let documents = sets.iter().map(|set| {
        let mut file = head();
        put(&mut file, "variable_set", json!(set.name));
        option(&mut file, "description", set.description.as_ref());
        names(&mut file, "include", &set.include);
        variables(&mut file, &set.variables);
        emit::document(&file)
    });
    let documents: Vec<String> = documents.collect();
    (!documents.is_empty()).then(|| documents.join("---\n"))
}

fn variables(file: &mut Object, variables: &[Variable]) {
    let variables: Object = variables
        .iter()
        .map(|variable| (variable.name.clone(), values(variable)))
        .collect();
    if !variables.is_empty() {
        put(file, "variables", Value::Object(variables));
    }
}

/// The file of environments, lifecycles, targets and health checks; `None` if there are none.
pub fn infrastructure(definitions: &Definitions) -> Option<String> {
    let mut file = head();
    list(
        &mut file,
        "environments",
        definitions.environments.iter().map(environment).collect(),
    );
    list(
        &mut file,
        "lifecycles",
        definitions.lifecycles.iter().map(lifecycle).collect(),
    );
    list(
        &mut file,
        "targets",
        definitions.targets.iter().map(target).collect(),
    );
    list(
        &mut file,
        "health_checks",
        definitions.health_checks.iter().map(health_check).collect(),
    );
    (file.len() > 1).then(|| emit::document(&file))
}

fn head() -> Object {
    let mut file = Object::new();
    put(&mut file, "mantle", json!("v1"));
    file
}

fn put(object: &mut Object, key: &str, value: Value) {
    object.insert(key.to_owned(), value);
}

fn option(object: &mut Object, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        put(object, key, json!(value));
    }
}

fn list(object: &mut Object, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        put(object, key, Value::Array(items));
    }
}

/// One name as itself, several as a list.
fn names<'a>(object: &mut Object, key: &str, names: impl IntoIterator<Item = &'a String>) {
    let names: Vec<&String> = names.into_iter().collect();
    match names.as_slice() {
        [] => {}
        [one] => put(object, key, json!(one)),
        many => put(object, key, json!(many)),
    }
}

/// A length of time, if there is one.
fn span(object: &mut Object, key: &str, ms: Option<u64>) {
    if let Some(ms) = ms {
        put(object, key, json!(duration::format(ms)));
    }
}

fn flag(object: &mut Object, key: &str, value: bool) {
    if value {
        put(object, key, json!(true));
    }
}

fn channel(channel: &ChannelDefinition) -> Value {
    let mut item = Object::new();
    put(&mut item, "name", json!(channel.name));
    option(&mut item, "description", channel.description.as_ref());
    flag(&mut item, "default", channel.default);
    option(&mut item, "lifecycle", channel.lifecycle.as_ref());
    let rules = channel.rules.iter().map(|rule| {
        let mut item = Object::new();
        put(&mut item, "package", json!(rule.package));
        option(&mut item, "range", rule.range.as_ref());
        option(&mut item, "prerelease", rule.prerelease.as_ref());
        Value::Object(item)
    });
    list(&mut item, "rules", rules.collect());
    Value::Object(item)
}

fn values(variable: &Variable) -> Value {
    match variable.values.as_slice() {
        [only] if only.scope.is_everywhere() => match &only.value {
            VariableValue::Text(text) => json!(text),
            VariableValue::Secret(path) => json!({ "secret": path }),
            VariableValue::PinnedSecret(secret) => json!({ "secret": secret.path }),
            VariableValue::Prompt(asked) => json!({ "prompt": prompt(asked) }),
        },
        values => Value::Array(values.iter().map(value).collect()),
    }
}

fn value(value: &ScopedValue) -> Value {
    let mut item = Object::new();
    match &value.value {
        VariableValue::Text(text) => put(&mut item, "value", json!(text)),
        VariableValue::Secret(path) => put(&mut item, "secret", json!(path)),
        VariableValue::PinnedSecret(secret) => put(&mut item, "secret", json!(secret.path)),
        VariableValue::Prompt(asked) => put(&mut item, "prompt", prompt(asked)),
    }
    let scope = &value.scope;
    names(&mut item, "environment", &scope.environments);
    names(&mut item, "target", &scope.targets);
    names(&mut item, "tag", &scope.tags);
    names(&mut item, "step", &scope.steps);
    names(&mut item, "channel", &scope.channels);
    names(&mut item, "tenant_tag", &scope.tenant_tags);
    names(&mut item, "process", &scope.processes);
    Value::Object(item)
}

fn prompt(prompt: &Prompt) -> Value {
    let mut item = Object::new();
    option(&mut item, "label", prompt.label.as_ref());
    option(&mut item, "description", prompt.description.as_ref());
    flag(&mut item, "required", prompt.required);
    option(&mut item, "default", prompt.default.as_ref());
    let control = match &prompt.control {
        // Something must stand there even if all of it is the default.
        Control::Text => "text",
        Control::MultiLine => "multi-line",
        Control::Checkbox => "checkbox",
        Control::Select(_) => "select",
        Control::Sensitive => "sensitive",
    };
    put(&mut item, "control", json!(control));
    if let Control::Select(options) = &prompt.control {
        list(
            &mut item,
            "options",
            options.iter().map(|option| json!(option)).collect(),
        );
    }
    Value::Object(item)
}

fn step(step: &Step) -> Value {
    let mut item = Object::new();
    put(&mut item, "step", json!(step.name));
    if let Some(targets) = &step.targets {
        put(&mut item, "targets", selector(targets));
    }
    if let Some(rolling) = &step.rolling {
        put(&mut item, "rolling", Value::Object(rolls(rolling)));
    }
    if step.max_parallel != DEFAULT_PARALLELISM {
        put(&mut item, "max_parallel", json!(step.max_parallel));
    }
    run(&mut item, &step.run);
    when(&mut item, &step.when);
    match step.start {
        Start::AfterPrevious => {}
        Start::WithPrevious => put(&mut item, "start", json!("with_previous")),
    }
    flag(&mut item, "required", step.required);
    span(&mut item, "timeout", step.timeout_ms);
    match step.unavailable {
        None => {}
        Some(Unavailable::Fail) => put(&mut item, "unavailable", json!("fail")),
        Some(Unavailable::Skip) => put(&mut item, "unavailable", json!("skip")),
    }
    if let Some(unhealthy) = step.unhealthy {
        put(&mut item, "unhealthy", json!(unhealthy.word()));
    }
    match step.actions.as_slice() {
        [only] if is_short(step, only) => action_keys(&mut item, only),
        actions => list(&mut item, "actions", actions.iter().map(action).collect()),
    }
    Value::Object(item)
}

fn rolls(rolling: &Rolling) -> Object {
    let share = |window: Window| match window {
        Window::Targets(count) => json!(count),
        Window::Percent(percent) => json!(format!("{percent}%")),
    };
    let mut item = Object::new();
    put(&mut item, "window", share(rolling.window));
    if let Some(allowed) = rolling.max_failed {
        put(&mut item, "max_failed", share(allowed));
    }
    flag(&mut item, "pause_after_first", rolling.pause_after_first);
    match rolling.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => put(&mut item, "on_failure", json!("continue")),
        OnFailure::Rollback => put(&mut item, "on_failure", json!("rollback")),
    }
    item
}

/// A step that is its own single action, whose conditions are the step's.
fn is_short(step: &Step, action: &Action) -> bool {
    action.name == step.name
        && step.timeout_ms.is_none()
        && action.run == RunCondition::Success
        && action.when == When::default()
}

fn action(action: &Action) -> Value {
    let mut item = Object::new();
    put(&mut item, "action", json!(action.name));
    run(&mut item, &action.run);
    when(&mut item, &action.when);
    action_keys(&mut item, action);
    Value::Object(item)
}

fn action_keys(item: &mut Object, action: &Action) {
    put(item, "uses", json!(action.uses));
    if let Some(run_on) = &action.run_on {
        put(item, "run_on", selector(run_on));
    }
    if !action.with.is_empty() {
        put(item, "with", Value::Object(action.with.clone()));
    }
    if action.timeout_ms != DEFAULT_ACTION_TIMEOUT_MS {
        put(item, "timeout", json!(duration::format(action.timeout_ms)));
    }
    if action.grace_ms != DEFAULT_GRACE_MS {
        put(item, "grace", json!(duration::format(action.grace_ms)));
    }
    if action.retries != crate::process::Retries::default() {
        let mut retries = Object::new();
        put(&mut retries, "count", json!(action.retries.count));
        if action.retries.backoff_ms > 0 {
            put(
                &mut retries,
                "backoff",
                json!(duration::format(action.retries.backoff_ms)),
            );
        }
        span(&mut retries, "max_backoff", action.retries.max_backoff_ms);
        put(item, "retries", Value::Object(retries));
    }
    match &action.secrets {
        SecretAccess::All => put(item, "secrets", json!("all")),
        SecretAccess::Named(names) => {
            list(
                item,
                "secrets",
                names.iter().map(|name| json!(name)).collect(),
            );
        }
    }
    flag(item, "disabled", action.disabled);
    if let Some(locks) = &action.locks {
        let locks: Vec<Value> = locks.iter().map(lock).collect();
        put(item, "locks", Value::Array(locks));
    }
}

fn lock(lock: &Lock) -> Value {
    match lock.mode {
        LockMode::Exclusive => json!(lock.name),
        LockMode::Shared => json!({ "name": lock.name, "mode": "shared" }),
    }
}

fn selector(selector: &TargetSelector) -> Value {
    let mut item = Object::new();
    put(&mut item, "tag", json!(selector.tag));
    if selector.pick == Pick::One {
        put(&mut item, "pick", json!("one"));
    }
    Value::Object(item)
}

fn run(item: &mut Object, condition: &RunCondition) {
    let text = match condition {
        RunCondition::Success => return,
        RunCondition::Failure => "failure",
        RunCondition::Always => "always",
        RunCondition::Template(template) => template,
    };
    put(item, "run", json!(text));
}

fn when(item: &mut Object, when: &When) {
    let mut conditions = Object::new();
    let environments = [
        ("environments", &when.environments),
        ("not_environments", &when.not_environments),
        ("channels", &when.channels),
    ];
    for (key, names) in environments {
        list(
            &mut conditions,
            key,
            names.iter().map(|name| json!(name)).collect(),
        );
    }
    if let Some(platform) = when.platform {
        let name = match platform {
            Platform::Linux => "linux",
            Platform::Windows => "windows",
        };
        put(&mut conditions, "platform", json!(name));
    }
    if !conditions.is_empty() {
        put(item, "when", Value::Object(conditions));
    }
}

fn environment(environment: &EnvironmentDefinition) -> Value {
    let mut item = Object::new();
    put(&mut item, "name", json!(environment.name));
    option(&mut item, "description", environment.description.as_ref());
    flag(&mut item, "guided_failure", environment.guided_failure);
    span(&mut item, "timeout", environment.timeout_ms);
    urgency(&mut item, environment.priority);
    Value::Object(item)
}

fn urgency(item: &mut Object, priority: Priority) {
    if !priority.is_normal() {
        put(item, "priority", json!(priority.word()));
    }
}

fn lifecycle(lifecycle: &LifecycleDefinition) -> Value {
    let mut item = Object::new();
    put(&mut item, "name", json!(lifecycle.name));
    option(&mut item, "description", lifecycle.description.as_ref());
    let phases = lifecycle.phases.iter().map(|phase| {
        let mut item = Object::new();
        put(&mut item, "name", json!(phase.name));
        list(
            &mut item,
            "environments",
            phase.environments.iter().map(|name| json!(name)).collect(),
        );
        if phase.deploy == DeployMode::Automatic {
            put(&mut item, "deploy", json!("automatic"));
        } else if !phase.automatic.is_empty() {
            put(&mut item, "deploy", json!(phase.automatic));
        }
        match phase.gate {
            Gate::All => {}
            Gate::Minimum(count) => put(&mut item, "minimum", json!(count)),
            Gate::Optional => flag(&mut item, "optional", true),
        }
        urgency(&mut item, phase.priority);
        Value::Object(item)
    });
    list(&mut item, "phases", phases.collect());
    let mut retention = Object::new();
    for (key, kept) in [
        ("releases", lifecycle.retention.releases),
        ("days", lifecycle.retention.days),
        ("packages", lifecycle.retention.packages),
        ("on_target", lifecycle.retention.on_target),
    ] {
        if let Some(kept) = kept {
            put(&mut retention, key, json!(kept));
        }
    }
    if !retention.is_empty() {
        put(&mut item, "retention", Value::Object(retention));
    }
    Value::Object(item)
}

fn target(target: &TargetDefinition) -> Value {
    let mut item = Object::new();
    put(&mut item, "name", json!(target.name));
    list(
        &mut item,
        "tags",
        target.tags.iter().map(|tag| json!(tag)).collect(),
    );
    list(
        &mut item,
        "environments",
        target.environments.iter().map(|name| json!(name)).collect(),
    );
    Value::Object(item)
}

fn health_check(check: &HealthCheckDefinition) -> Value {
    let mut item = Object::new();
    put(&mut item, "name", json!(check.name));
    option(&mut item, "description", check.description.as_ref());
    names(&mut item, "tags", &check.tags);
    names(&mut item, "environments", &check.environments);
    option(&mut item, "linux", check.linux.as_ref());
    option(&mut item, "windows", check.windows.as_ref());
    span(&mut item, "every", check.every_ms);
    if check.timeout_ms != DEFAULT_TIMEOUT_MS {
        span(&mut item, "timeout", Some(check.timeout_ms));
    }
    match check.maintenance {
        InMaintenance::Check => {}
        InMaintenance::Skip => put(&mut item, "maintenance", json!("skip")),
    }
    Value::Object(item)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
