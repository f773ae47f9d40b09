//! Variables: values, scopes, secrets, and ties between values.

use mantle_template::{fold, same_name};
use std::collections::BTreeSet;

use super::super::grammar::{PromptItem, PromptedItem, SecretItem, ValueItem};
use super::super::node::{Key, Kind, Node, Position, Problem};
use super::super::report::Report;
use super::super::scalar::{Scalar, resolve};
use super::super::typed::{At, Raw};
use super::infrastructure::known_environment;
use super::project::Inside;
use super::{World, prompt};
use crate::explain::nearest;
use crate::name;
use crate::process::Process;
use crate::variable::{
    DEPLOYMENT_PROCESS, MOST_TIES, Scope, ScopedValue, Variable, VariableValue, describe_scope,
    is_of_server, knobs, scope_ties,
};

/// By variable in lower case: where each of its values stands.
pub(super) type Places = Vec<(String, Vec<Position>)>;

/// The names of a document's variables, and of those that hold a secret.
pub(super) fn outline(node: &Node) -> (BTreeSet<String>, BTreeSet<String>) {
    let Kind::Map(entries) = &node.kind else {
        return (BTreeSet::new(), BTreeSet::new());
    };
    let names = entries.iter().map(|(key, _)| key.text.clone());
    let secret = entries.iter().filter(|(_, value)| holds_secret(value));
    (
        names.collect(),
        secret.map(|(key, _)| key.text.clone()).collect(),
    )
}

/// The names of the variables, checked; the nodes for later, when the process is known.
pub(super) fn entries(
    node: Option<Node>,
    inside: &mut Inside,
    report: &mut Report,
) -> Vec<(Key, Node)> {
    let Some(node) = node else {
        return Vec::new();
    };
    let Kind::Map(entries) = node.kind else {
        report.error(
            Problem::new(node.at, "expected a map from names to values").next("write Name: value"),
        );
        return Vec::new();
    };
    for (key, value) in &entries {
        if key.text.trim().is_empty() {
            report.error(
                Problem::new(key.at, "the name of a variable is empty").next("write Name: value"),
            );
        } else if key.text.contains("#{") || key.text.chars().any(char::is_control) {
            report.error(
                Problem::new(
                    key.at,
                    format!("'{}' cannot be the name of a variable", key.text),
                )
                .next("use one line of text without '#{'"),
            );
        } else if is_of_server(&key.text) {
            report.warn(
                Problem::new(
                    key.at,
                    format!(
                        "the server defines '{}' itself, so what stands here holds nowhere",
                        key.text
                    ),
                )
                .next("give the variable another name, or remove it"),
            );
        } else if let Some(instead) = knobs::in_place_of(&key.text) {
            report.warn(
                Problem::new(key.at, format!("'{}' has no effect here", key.text)).next(instead),
            );
        }
        let twin = entries
            .iter()
            .take_while(|(other, _)| other.at != key.at)
            .find(|(other, _)| same_name(&other.text, &key.text));
        if let Some((other, _)) = twin {
            report.error(
                Problem::new(
                    key.at,
                    format!(
                        "'{}' and '{}' at line {} are the same variable: case does not count",
                        key.text, other.text, other.at.line
                    ),
                )
                .next("put the values of both under one name"),
            );
        }
        inside.variables.insert(key.text.clone());
        if holds_secret(value) {
            inside.secret_variables.insert(key.text.clone());
        }
    }
    entries
}

fn holds_secret(node: &Node) -> bool {
    match &node.kind {
        Kind::Map(_) => {
            let prompt = node.get("prompt");
            let control = prompt.and_then(|prompt| prompt.get("control"));
            node.get("secret").is_some() || control.is_some_and(|word| word.is("sensitive"))
        }
        Kind::List(items) => items.iter().any(holds_secret),
        Kind::Plain(_) | Kind::Text(_) => false,
    }
}

/// Converts them, sorted by name, and looks for ties; says where each value stands.
pub(super) fn convert(
    entries: &[(Key, Node)],
    process: &Process,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> (Vec<Variable>, Places) {
    let mut variables = Vec::with_capacity(entries.len());
    let mut all_places = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let Some(values) = values(node, world, inside, report) else {
            continue;
        };
        let (places, values): (Vec<Position>, Vec<ScopedValue>) = values
            .into_iter()
            .map(|value| (value.at, value.value))
            .unzip();
        for tie in scope_ties(&values, process).take(MOST_TIES) {
            let scope = |index: usize| {
                values
                    .get(index)
                    .map(|value| describe_scope(&value.scope))
                    .unwrap_or_default()
            };
            let first = places.get(tie.first).copied().unwrap_or(key.at);
            let second = places.get(tie.second).copied().unwrap_or(key.at);
            report.error(
                Problem::new(
                    second,
                    format!(
                        "variable '{}' has two equally specific values for {}: this one ({}) and the one at line {} ({})",
                        key.text, tie.situation, scope(tie.second), first.line, scope(tie.first)
                    ),
                )
                .next("give one of them a further scope, or remove it"),
            );
        }
        all_places.push((fold(&key.text), places));
        variables.push(Variable {
            name: key.text.clone(),
            values,
        });
    }
    variables.sort_by(|a, b| (fold(&a.name), &a.name).cmp(&(fold(&b.name), &b.name)));
    (variables, all_places)
}

fn values(
    node: &Node,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> Option<Vec<At<ScopedValue>>> {
    let single = |value| {
        Some(vec![At {
            at: node.at,
            value: ScopedValue::own(value, Scope::default()),
        }])
    };
    match &node.kind {
        Kind::Plain(text) if resolve(text) == Scalar::Null => {
            report.error(
                Problem::new(node.at, "a variable needs a value")
                    .next("write \"\" for an empty one"),
            );
            None
        }
        Kind::Plain(text) | Kind::Text(text) => single(VariableValue::Text(text.clone())),
        Kind::Map(_) if is_scoped(node) => {
            report.error(
                Problem::new(
                    node.at,
                    "a value and where it holds stand in a list of values",
                )
                .next("put it into a list: - { value: ..., environment: ... }"),
            );
            None
        }
        Kind::Map(_) if node.get("prompt").is_some() => match node.read::<PromptedItem>() {
            Ok(item) => single(VariableValue::Prompt(prompt::convert(item.prompt, report))),
            Err(problem) => {
                report.error(problem);
                None
            }
        },
        Kind::Map(_) => match node.read::<SecretItem>() {
            Ok(item) => {
                known_secret(&item.secret, world, report);
                single(VariableValue::Secret(item.secret.value))
            }
            Err(problem) => {
                report.error(problem.next(
                    "write a text, '{ secret: PATH }', '{ prompt: ... }' or a list of values",
                ));
                None
            }
        },
        Kind::List(items) => {
            if items.is_empty() {
                report.error(
                    Problem::new(node.at, "the list of values is empty")
                        .next("remove the variable"),
                );
            }
            let mut values = Vec::new();
            for item in items {
                match item.read::<ValueItem>() {
                    Ok(value) => values.extend(scoped(item.at, value, world, inside, report)),
                    Err(problem) => report.error(problem),
                }
            }
            Some(values)
        }
    }
}

/// It would be right in a list.
fn is_scoped(node: &Node) -> bool {
    node.read::<SecretItem>().is_err()
        && node.read::<PromptedItem>().is_err()
        && node.read::<ValueItem>().is_ok()
}

fn scoped(
    at: Position,
    item: ValueItem,
    world: &World,
    inside: &Inside,
    report: &mut Report,
) -> Option<At<ScopedValue>> {
    let value = value_of(at, item.value, item.secret, item.prompt, world, report)?;
    let environments = joined([item.environment.0, item.environments.0]);
    for name in &environments {
        known_environment(name, world, report);
    }
    let tags = joined([item.tag.0, item.tags.0]);
    for tag in &tags {
        report.word("tag", tag, name::IN_TAGS);
        let known = world.targets.iter().flat_map(|(_, tags)| tags);
        unmatched("tag", tag, known, "no target has the tag", world, report);
    }
    let targets = joined([item.target.0, item.targets.0]);
    for target in &targets {
        report.word("target", target, name::IN_TARGETS);
        let known = world.targets.iter().map(|(name, _)| name);
        unmatched("target", target, known, "there is no target", world, report);
    }
    let steps = joined([item.step.0, item.steps.0]);
    for name in &steps {
        if inside.library {
            report.title("step or action", name);
        } else {
            let names = inside.places.iter().map(String::as_str);
            report.reference("step or action", name, names, "name one of the process");
        }
    }
    let channels = joined([item.channel.0, item.channels.0]);
    for name in &channels {
        if inside.library {
            report.title("channel", name);
        } else {
            known_channel(name, inside, report);
        }
    }
    let tenant_tags = joined([item.tenant_tag.0, item.tenant_tags.0]);
    for tag in &tenant_tags {
        report.word("tenant tag", tag, &['/', ' ']);
    }
    if let Some(first) = tenant_tags.first() {
        report.unheeded(
            first.at,
            &format!("a value is scoped to tenant tag '{}'", first.value),
            "it is kept and holds nowhere: nothing is deployed for a tenant yet",
        );
    }
    let processes = item.process.0;
    for name in &processes {
        let hint = "write process: deployment";
        report.reference("process", name, [DEPLOYMENT_PROCESS], hint);
    }
    if matches!(value, VariableValue::Prompt(_))
        && let Some(name) = targets.first().or(tags.first()).or(steps.first())
    {
        report.error(
            Problem::new(
                name.at,
                "a prompt is asked once for a deployment, so it has no target, tag or step",
            )
            .next("scope it to environments or channels"),
        );
    }
    Some(At {
        at,
        value: ScopedValue::own(
            value,
            Scope {
                environments: set(environments),
                targets: set(targets),
                tags: set(tags),
                steps: set(steps),
                channels: set(channels),
                tenant_tags: set(tenant_tags),
                processes: set(processes),
            },
        ),
    })
}

/// A target or tag may come later, so one that is not there is a warning.
fn unmatched<'a>(
    kind: &str,
    name: &At<String>,
    known: impl Iterator<Item = &'a String> + Clone,
    what: &str,
    world: &World,
    report: &mut Report,
) {
    if !world.complete || known.clone().any(|other| *other == name.value) {
        return;
    }
    let problem = Problem::new(
        name.at,
        format!(
            "{what} '{}', so a value scoped to it holds nowhere yet",
            name.value
        ),
    );
    let meant = nearest(&name.value, known.map(String::as_str));
    report.warn(match meant {
        Some(meant) => problem.meant(Some(meant)),
        None => problem.next(format!("'mantle target list' shows every {kind}")),
    });
}

/// The one of the three that is given.
fn value_of(
    at: Position,
    text: Option<At<Raw>>,
    secret: Option<At<String>>,
    prompt: Option<At<PromptItem>>,
    world: &World,
    report: &mut Report,
) -> Option<VariableValue> {
    match (text, secret, prompt) {
        (Some(text), None, None) => Some(VariableValue::Text(text.value.0)),
        (None, Some(path), None) => {
            known_secret(&path, world, report);
            Some(VariableValue::Secret(path.value))
        }
        (None, None, Some(item)) => Some(VariableValue::Prompt(prompt::convert(item, report))),
        (None, None, None) => {
            report.error(
                Problem::new(at, "a value needs 'value', 'secret' or 'prompt'")
                    .next("write \"\" for an empty one"),
            );
            None
        }
        (Some(_), Some(_), _) | (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => {
            report.error(
                Problem::new(at, "a value is one of 'value', 'secret' and 'prompt'")
                    .next("keep one; the default of a prompt stands in it"),
            );
            None
        }
    }
}

/// A reference to one of the project's channels.
pub(super) fn known_channel(name: &At<String>, inside: &Inside, report: &mut Report) {
    let names: Vec<&str> = if inside.channels.is_empty() {
        vec![crate::channel::IMPLICIT_CHANNEL]
    } else {
        inside.channels.iter().map(String::as_str).collect()
    };
    report.reference(
        "channel",
        name,
        names.iter().copied(),
        "declare it under 'channels:'",
    );
}

/// A secret may be set later, so its absence is a warning.
pub(super) fn known_secret(path: &At<String>, world: &World, report: &mut Report) {
    if path.trim().is_empty()
        || path.contains(']')
        || path.contains("#{")
        || path.chars().any(char::is_control)
    {
        report.error(
            Problem::new(
                path.at,
                format!("'{}' cannot be the path of a secret", path.value),
            )
            .next("write one like shop/database-password"),
        );
    } else if world.complete && !world.secrets.contains(&path.value) {
        let problem = Problem::new(
            path.at,
            format!("the secret '{}' is not set yet", path.value),
        );
        let meant = nearest(&path.value, world.secrets.iter().map(String::as_str));
        report.warn(match meant {
            Some(name) => problem.meant(Some(name)),
            None => problem.next(format!(
                "before a release is created: mantle secret set {}",
                path.value
            )),
        });
    }
}

pub(super) fn joined<const N: usize>(lists: [Vec<At<String>>; N]) -> Vec<At<String>> {
    lists.into_iter().flatten().collect()
}

pub(super) fn set(names: Vec<At<String>>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.value).collect()
}
