//! Steps and actions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::duration;
use super::super::grammar::{
    ActionItem, RetriesItem, SelectorItem, StepItem, TimeoutsItem, WhenItem,
};
use super::super::node::{Kind, Node, Position, Problem};
use super::super::report::Report;
use super::super::typed::{At, Each, Many};
use super::infrastructure::known_environment;
use super::project::{Inside, known_package};
use super::references::Doers;
use super::rolling;
use super::variables::{joined, known_channel, known_secret, set};
use super::{World, locks, manual};
use crate::action::{self, MANUAL, Support};
use crate::explain::nearest;
use crate::name;
use crate::process::{
    Action, DEFAULT_ACTION_TIMEOUT_MS, DEFAULT_ANSWER_TIMEOUT_MS, DEFAULT_GRACE_MS,
    DEFAULT_PARALLELISM, Process, Retries, RunCondition, SecretAccess, Start, Step, TargetSelector,
    Timeouts, Unavailable, Unhealthy, When,
};
use crate::release::inline_secret;

/// The most attempts beside the first; more hide a fault rather than ride it out.
const MAX_RETRIES: u32 = 10;

/// The names of all steps and actions, each of which must be unique: outputs and scopes use them.
pub(super) fn collect_names(steps: &[At<StepItem>], inside: &mut Inside, report: &mut Report) {
    let mut seen: Vec<(String, Position)> = Vec::new();
    for step in steps {
        report.title("step", &step.step);
        report.unique("step or action", &step.step, &seen);
        seen.push((step.step.value.clone(), step.step.at));
        let actions = step
            .actions
            .iter()
            .flat_map(|actions| actions.0.iter().flatten());
        for item in actions {
            report.title("action", &item.action);
            // The only action of a step may bear the step's name: that is what the short form means.
            if item.action.value != step.step.value
                || step.actions.as_ref().is_some_and(|all| all.0.len() > 1)
            {
                report.unique("step or action", &item.action, &seen);
            }
            seen.push((item.action.value.clone(), item.action.at));
        }
    }
    inside.places = seen.into_iter().map(|(name, _)| name).collect();
    inside.places.sort();
    inside.places.dedup();
    inside.doers = Doers::of(steps);
}

/// What a project says of all its steps.
pub(super) struct Whole {
    pub(super) timeouts: Option<At<TimeoutsItem>>,
    pub(super) unavailable: Option<At<Unavailable>>,
    pub(super) unhealthy: Option<Unhealthy>,
    pub(super) guided_failure: Option<bool>,
}

pub(super) fn convert(
    steps: Vec<At<StepItem>>,
    whole: Whole,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> Process {
    if let Some(start) = steps.first().and_then(|first| first.start.as_ref())
        && start.value == Start::WithPrevious
    {
        report.error(
            Problem::new(
                start.at,
                "before the first step there is none to start with",
            )
            .next("remove 'start'"),
        );
    }
    Process {
        steps: steps
            .into_iter()
            .map(|item| step(item, world, inside, report))
            .collect(),
        timeouts: whole
            .timeouts
            .map_or_else(Timeouts::default, |item| Timeouts {
                packages_ms: span(item.value.packages, report),
                deployment_ms: span(item.value.deployment, report),
            }),
        unavailable: whole
            .unavailable
            .map_or_else(Unavailable::default, |item| item.value),
        unhealthy: whole.unhealthy.unwrap_or_default(),
        guided_failure: whole.guided_failure,
    }
}

fn step(item: At<StepItem>, world: &World, inside: &Inside, report: &mut Report) -> Step {
    let At { at, value: item } = item;
    let name = item.step.clone();
    let targets = item.targets.map(|selector| selector_of(selector, report));
    if let (Some(rolling), None) = (&item.rolling, &targets) {
        report.error(
            Problem::new(rolling.at, "a step without 'targets' cannot roll")
                .next("add 'targets: { tag: ... }' or remove 'rolling'"),
        );
    }
    let max_parallel = match &item.max_parallel {
        Some(limit) if limit.value == 0 => {
            report.error(Problem::new(
                limit.at,
                "at least 1 target must be allowed at once",
            ));
            DEFAULT_PARALLELISM
        }
        Some(limit) => limit.value,
        None => DEFAULT_PARALLELISM,
    };
    if let (Some(required), Some(true)) = (&item.required, item.disabled)
        && required.value
    {
        report.error(
            Problem::new(required.at, "a step that is required cannot be disabled")
                .next("remove one of the two"),
        );
    }
    // Of a step in short form it is its action's.
    let step_timeout = match item.uses {
        Some(_) => None,
        None => item.timeout.clone(),
    };
    let own = Own {
        uses: item.uses,
        with: item.with,
        run_on: item.run_on,
        timeout: item.timeout,
        grace: item.grace,
        retries: item.retries,
        secrets: item.secrets,
        disabled: item.disabled,
        locks: item.locks,
    };
    let place = Place { at, name: &name };
    let actions = actions_of(&place, own, item.actions, world, inside, report);
    if let Some(run) = &item.run
        && run.contains("Octopus.Machine.")
    {
        report.warn(
            Problem::new(
                run.at,
                "a step's 'run' is judged once for the whole step, where there is no Octopus.Machine",
            )
            .next("give the condition to the step's actions, which are judged for each target"),
        );
    }
    let rolling = item.rolling;
    Step {
        targets,
        rolling: rolling.and_then(|rolling| rolling::convert(&rolling, report)),
        name: name.value,
        max_parallel,
        run: run_of(item.run, report),
        when: when_of(item.when, world, inside, report),
        start: item.start.map_or(Start::default(), |start| start.value),
        required: item.required.is_some_and(|required| required.value),
        timeout_ms: span(step_timeout, report),
        unavailable: item.unavailable,
        unhealthy: item.unhealthy,
        actions,
    }
}

/// What a step in short form says of its only action.
struct Own {
    uses: Option<At<String>>,
    with: Option<Node>,
    run_on: Option<At<SelectorItem>>,
    timeout: Option<At<String>>,
    grace: Option<At<String>>,
    retries: Option<RetriesItem>,
    secrets: Option<Node>,
    disabled: Option<bool>,
    locks: Option<Node>,
}

/// A step by its name, and where it stands.
struct Place<'a> {
    at: Position,
    name: &'a At<String>,
}

fn actions_of(
    step: &Place<'_>,
    own: Own,
    list: Option<At<Each<ActionItem>>>,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> Vec<Action> {
    let Some(uses) = own.uses else {
        own.stray(report);
        let list = report.each(list.map(|list| list.value));
        if list.is_empty() {
            report.error(
                Problem::new(step.at, format!("step '{}' does nothing", step.name.value))
                    .next("add 'uses: TYPE', or 'actions:' with at least one"),
            );
        }
        let disabled = own.disabled.unwrap_or(false);
        let actions = list.into_iter().map(|action| {
            let mut action = action_of(action.value, world, inside, report);
            action.disabled |= disabled;
            action
        });
        return actions.collect();
    };
    if let Some(list) = &list {
        report.error(
            Problem::new(list.at, "a step has either 'uses' or 'actions', not both")
                .next("move 'uses' and what belongs to it into an action of its own"),
        );
    }
    let only = ActionItem {
        action: step.name.clone(),
        uses,
        with: own.with,
        run_on: own.run_on,
        run: None,
        when: None,
        timeout: own.timeout,
        grace: own.grace,
        retries: own.retries,
        secrets: own.secrets,
        disabled: own.disabled,
        locks: own.locks,
    };
    vec![action_of(only, world, inside, report)]
}

impl Own {
    /// Says which keys of a step belong to an action, where the step itself is none.
    fn stray(&self, report: &mut Report) {
        let keys = [
            ("with", self.with.as_ref().map(|value| value.at)),
            ("run_on", self.run_on.as_ref().map(|value| value.at)),
            ("grace", self.grace.as_ref().map(|value| value.at)),
            ("retries", self.retries.as_ref().map(|value| value.count.at)),
            ("secrets", self.secrets.as_ref().map(|value| value.at)),
            ("locks", self.locks.as_ref().map(|value| value.at)),
        ];
        for (key, at) in keys {
            if let Some(at) = at {
                report.error(
                    Problem::new(
                        at,
                        format!("'{key}' belongs to an action, and this step has no 'uses'"),
                    )
                    .next("move it into one of the step's actions"),
                );
            }
        }
    }
}

/// Known to the format, but nothing carries it out yet.
fn is_named_only(uses: &str) -> bool {
    action::find(uses).is_some_and(|known| known.support == Support::NameOnly)
}

fn action_of(item: ActionItem, world: &World, inside: &Inside, report: &mut Report) -> Action {
    if is_named_only(&item.uses) && item.disabled != Some(true) {
        let (name, uses) = (&item.action.value, &item.uses.value);
        report.warn(
            Problem::new(
                item.uses.at,
                format!("action '{name}' is of type '{uses}', which this version cannot run"),
            )
            .next("a deployment that reaches it is refused: exclude it with 'when:', or write 'disabled: true'"),
        );
    }
    let patience = if item.uses.value == MANUAL {
        manual::check(&item, report);
        DEFAULT_ANSWER_TIMEOUT_MS
    } else {
        DEFAULT_ACTION_TIMEOUT_MS
    };
    let with = with_of(&item.uses, item.with, world, inside, report);
    Action {
        name: item.action.value,
        uses: item.uses.value,
        with,
        run_on: item.run_on.map(|selector| selector_of(selector, report)),
        run: run_of(item.run, report),
        when: when_of(item.when, world, inside, report),
        timeout_ms: millis(item.timeout, patience, 1, report),
        grace_ms: millis(item.grace, DEFAULT_GRACE_MS, 0, report),
        retries: retries_of(item.retries, report),
        secrets: secrets_of(item.secrets.as_ref(), inside, report),
        disabled: item.disabled.unwrap_or(false),
        locks: item.locks.as_ref().map(|node| locks::read(node, report)),
    }
}

fn selector_of(item: At<SelectorItem>, report: &mut Report) -> TargetSelector {
    report.word("tag", &item.tag, name::IN_TAGS);
    TargetSelector {
        tag: item.value.tag.value,
        pick: item.value.pick,
    }
}

fn run_of(item: Option<At<String>>, report: &mut Report) -> RunCondition {
    let Some(item) = item else {
        return RunCondition::Success;
    };
    match item.as_str() {
        "success" => RunCondition::Success,
        "failure" => RunCondition::Failure,
        "always" => RunCondition::Always,
        text if text.contains("#{") => {
            report.condition(item.at, text);
            RunCondition::Template(item.value)
        }
        text => {
            let problem = Problem::new(item.at, format!("'{text}' is no run condition"));
            report.error(match nearest(text, ["success", "failure", "always"]) {
                Some(meant) => problem.meant(Some(meant)),
                None => problem
                    .next("write success, failure, always, or a template such as \"#{Name}\""),
            });
            RunCondition::Success
        }
    }
}

fn when_of(item: Option<WhenItem>, world: &World, inside: &Inside, report: &mut Report) -> When {
    let Some(item) = item else {
        return When::default();
    };
    let environments = joined([item.environment.0, item.environments.0]);
    let Many(not_environments) = item.not_environments;
    for name in environments.iter().chain(&not_environments) {
        known_environment(name, world, report);
    }
    let channels = joined([item.channel.0, item.channels.0]);
    for name in &channels {
        known_channel(name, inside, report);
    }
    When {
        environments: set(environments),
        not_environments: set(not_environments),
        channels: set(channels),
        platform: item.platform,
    }
}

/// A length of time, if there is one.
pub(super) fn span(item: Option<At<String>>, report: &mut Report) -> Option<u64> {
    item.is_some().then(|| millis(item, u64::MAX, 1, report))
}

fn millis(item: Option<At<String>>, default: u64, least: u64, report: &mut Report) -> u64 {
    let Some(item) = item else {
        return default;
    };
    match duration::parse(&item) {
        Ok(value) if value >= least => value,
        Ok(_) => {
            report.error(Problem::new(item.at, "it must be longer than nothing").next("write 10m"));
            default
        }
        Err(error) => {
            report.error(Problem::new(item.at, error.to_string()));
            default
        }
    }
}

fn retries_of(item: Option<RetriesItem>, report: &mut Report) -> Retries {
    let Some(item) = item else {
        return Retries::default();
    };
    if item.count.value > MAX_RETRIES {
        report.error(Problem::new(
            item.count.at,
            format!(
                "{} retries are too many: at most {MAX_RETRIES}",
                item.count.value
            ),
        ));
    }
    let backoff_ms = millis(item.backoff, 0, 0, report);
    let most = item.max_backoff.as_ref().map(|most| most.at);
    let max_backoff_ms = span(item.max_backoff, report);
    if let (Some(at), Some(most)) = (most, max_backoff_ms)
        && most < backoff_ms
    {
        report.error(
            Problem::new(at, "'max_backoff' is shorter than 'backoff'")
                .next("the wait begins with 'backoff' and grows up to 'max_backoff'"),
        );
    }
    Retries {
        count: item.count.value,
        backoff_ms,
        max_backoff_ms,
    }
}

fn secrets_of(node: Option<&Node>, inside: &Inside, report: &mut Report) -> SecretAccess {
    let Some(node) = node else {
        return SecretAccess::default();
    };
    if let Kind::Plain(word) | Kind::Text(word) = &node.kind
        && word == "all"
    {
        return SecretAccess::All;
    }
    let names = match node.read::<Many<At<String>>>() {
        Ok(Many(names)) => names,
        Err(problem) => {
            report.error(problem.next("write secrets: [Name, ...] or secrets: all"));
            return SecretAccess::default();
        }
    };
    for name in &names {
        if inside.variables.contains(&name.value) && !inside.secret_variables.contains(&name.value)
        {
            report.error(
                Problem::new(
                    name.at,
                    format!("variable '{}' holds no secret", name.value),
                )
                .next("remove it: every action sees what is no secret"),
            );
        } else if !inside.open {
            let known = inside.secret_variables.iter().map(String::as_str);
            report.reference(
                "secret variable",
                name,
                known,
                "name a variable whose value is a secret",
            );
        }
    }
    SecretAccess::Named(set(names))
}

fn with_of(
    uses: &At<String>,
    node: Option<Node>,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> Map<String, Value> {
    let node = node.unwrap_or(Node {
        at: uses.at,
        kind: Kind::Map(Vec::new()),
    });
    let known = action::find(uses);
    if known.is_none() {
        let problem = Problem::new(uses.at, format!("there is no action type '{}'", uses.value));
        let names = action::TYPES.iter().map(|known| known.name);
        report.error(match nearest(uses, names.clone()) {
            Some(meant) => problem.meant(Some(meant)),
            None => problem.next(format!(
                "the types are {}",
                names.collect::<Vec<_>>().join(", ")
            )),
        });
    }
    let Kind::Map(entries) = &node.kind else {
        report.error(Problem::new(
            node.at,
            "expected a map of inputs under 'with'",
        ));
        return Map::new();
    };
    let literal = literal_inputs(uses, &node);
    for (key, value) in entries {
        if !literal.contains(key.text.as_str()) {
            check_templates(value, report);
        }
    }
    let resolved = with_secrets_as_templates(&node, world, report);
    let checked = known.is_some_and(|known| match known.support {
        Support::Checked | Support::Person => true,
        Support::NameOnly => false,
    });
    if checked && let Err(problem) = action::inputs::check(uses, &resolved) {
        report.error(Problem {
            at: problem.at.or(Some(node.at)),
            ..problem
        });
    }
    if let Some(package) = node.get("package")
        && let Kind::Plain(id) | Kind::Text(id) = &package.kind
        && !id.contains("#{")
    {
        let id = At {
            at: package.at,
            value: id.clone(),
        };
        known_package(&id, inside, report);
    }
    match node.to_json() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Inputs that are no templates: a script's text, unless it asks for substitution.
pub(super) fn literal_inputs(uses: &str, with: &Node) -> BTreeSet<&'static str> {
    let substitutes = with
        .get("substitute")
        .is_some_and(|node| node.to_json() != Value::Bool(false));
    action::literal_inputs(uses, substitutes)
        .iter()
        .copied()
        .collect()
}

fn check_templates(node: &Node, report: &mut Report) {
    match &node.kind {
        Kind::Plain(text) | Kind::Text(text) => {
            if text.contains("#{") {
                report.template(node.at, text);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| check_templates(item, report)),
        Kind::Map(entries) => entries
            .iter()
            .for_each(|(_, value)| check_templates(value, report)),
    }
}

/// The same inputs with each `{ secret: PATH }` as the text that it becomes in a release.
fn with_secrets_as_templates(node: &Node, world: &World, report: &mut Report) -> Node {
    let kind = match &node.kind {
        Kind::Map(entries) => match entries.as_slice() {
            [(key, value)] if key.text == "secret" => {
                if let Kind::Plain(path) | Kind::Text(path) = &value.kind {
                    let path = At {
                        at: value.at,
                        value: path.clone(),
                    };
                    known_secret(&path, world, report);
                    Kind::Text(inline_secret::template(&path))
                } else {
                    node.kind.clone()
                }
            }
            entries => Kind::Map(
                entries
                    .iter()
                    .map(|(key, value)| {
                        (key.clone(), with_secrets_as_templates(value, world, report))
                    })
                    .collect(),
            ),
        },
        Kind::List(items) => Kind::List(
            items
                .iter()
                .map(|item| with_secrets_as_templates(item, world, report))
                .collect(),
        ),
        Kind::Plain(_) | Kind::Text(_) => node.kind.clone(),
    };
    Node { at: node.at, kind }
}
