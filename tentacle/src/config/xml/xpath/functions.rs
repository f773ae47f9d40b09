//! The functions of XPath 1.0, and those of 2.0 that people use on configuration.

use super::super::names;
use super::super::tree::{Document, Kind};
use super::XPathError;
use super::ast::Expr;
use super::context::Context;
use super::eval::{At, evaluate};
use super::value::{Item, Value};

/// Each with the fewest and the most arguments.
const FUNCTIONS: [(&str, usize, usize); 29] = [
    ("last", 0, 0),
    ("position", 0, 0),
    ("count", 1, 1),
    ("local-name", 0, 1),
    ("namespace-uri", 0, 1),
    ("name", 0, 1),
    ("string", 0, 1),
    ("concat", 2, 64),
    ("starts-with", 2, 2),
    ("ends-with", 2, 2),
    ("contains", 2, 2),
    ("substring-before", 2, 2),
    ("substring-after", 2, 2),
    ("substring", 2, 3),
    ("string-length", 0, 1),
    ("normalize-space", 0, 1),
    ("translate", 3, 3),
    ("lower-case", 1, 1),
    ("upper-case", 1, 1),
    ("boolean", 1, 1),
    ("not", 1, 1),
    ("true", 0, 0),
    ("false", 0, 0),
    ("number", 0, 1),
    ("sum", 1, 1),
    ("floor", 1, 1),
    ("ceiling", 1, 1),
    ("round", 1, 1),
    ("exists", 1, 1),
];

/// Refuses a function that there is not, and a wrong number of arguments.
pub(super) fn check(name: &str, arguments: usize) -> Result<(), XPathError> {
    match FUNCTIONS.iter().find(|(known, _, _)| *known == name) {
        None => Err(XPathError::Syntax(format!("there is no function '{name}'"))),
        Some((_, least, most)) if arguments < *least || arguments > *most => Err(
            XPathError::Syntax(format!("'{name}' does not take {arguments} arguments")),
        ),
        Some(_) => Ok(()),
    }
}

/// A name without its prefix; empty for what has none.
pub(super) fn local_name(item: Item, document: &Document) -> String {
    names::split(&name(item, document)).1.to_owned()
}

fn name(item: Item, document: &Document) -> String {
    match item {
        Item::Attribute(id, at) => document
            .element(id)
            .and_then(|element| element.attributes.get(at))
            .map(|attribute| attribute.name.clone())
            .unwrap_or_default(),
        Item::Node(id) => match document.kind(id) {
            Kind::Element(element) => element.name.clone(),
            Kind::Instruction { target, .. } => target.clone(),
            Kind::Root | Kind::Text(_) | Kind::CData(_) | Kind::Comment(_) | Kind::Verbatim(_) => {
                String::new()
            }
        },
    }
}

/// The namespace of a name.
pub(super) fn namespace(item: Item, document: &Document) -> String {
    match item {
        Item::Node(id) => document.namespace(id),
        Item::Attribute(id, _) => document.attribute_namespace(id, &name(item, document)),
    }
}

pub(super) fn call(
    name: &str,
    arguments: &[Expr],
    context: &mut Context<'_>,
    at: At,
) -> Result<Value, XPathError> {
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(evaluate(argument, context, at)?);
    }
    let document = context.document;
    // Many functions take the node at hand if they are given nothing.
    let first = values
        .first()
        .cloned()
        .unwrap_or_else(|| Value::Nodes(vec![at.item]));
    let text = |index: usize| -> String {
        values
            .get(index)
            .map(|value| value.text(document))
            .unwrap_or_default()
    };
    let own = || first.text(document);
    context.spend(own().len() / 64)?;
    #[expect(clippy::cast_precision_loss, reason = "no document has 2^52 nodes")]
    Ok(match name {
        "last" => Value::Number(at.size as f64),
        "position" => Value::Number(at.position as f64),
        "count" => Value::Number(items(&first)?.len() as f64),
        "exists" | "boolean" => Value::Truth(first.truth()),
        "not" => Value::Truth(!first.truth()),
        "true" => Value::Truth(true),
        "false" => Value::Truth(false),
        "local-name" => Value::Text(of_first(&first, document, local_name)?),
        "namespace-uri" => Value::Text(of_first(&first, document, namespace)?),
        "name" => Value::Text(of_first(&first, document, self::name)?),
        "string" => Value::Text(own()),
        "concat" => Value::Text(values.iter().map(|value| value.text(document)).collect()),
        "starts-with" => Value::Truth(own().starts_with(&text(1))),
        "ends-with" => Value::Truth(own().ends_with(&text(1))),
        "contains" => Value::Truth(own().contains(&text(1))),
        "substring-before" => Value::Text(
            own()
                .split_once(&text(1))
                .map(|(before, _)| before.to_owned())
                .unwrap_or_default(),
        ),
        "substring-after" => Value::Text(
            own()
                .split_once(&text(1))
                .map(|(_, after)| after.to_owned())
                .unwrap_or_default(),
        ),
        "substring" => Value::Text(substring(
            &own(),
            values.get(1).map_or(f64::NAN, |v| v.number(document)),
            values.get(2).map(|v| v.number(document)),
        )),
        "string-length" => Value::Number(own().chars().count() as f64),
        "normalize-space" => Value::Text(own().split_whitespace().collect::<Vec<_>>().join(" ")),
        "translate" => Value::Text(translate(&own(), &text(1), &text(2))),
        "lower-case" => Value::Text(own().to_lowercase()),
        "upper-case" => Value::Text(own().to_uppercase()),
        "number" => Value::Number(first.number(document)),
        "sum" => Value::Number(
            items(&first)?
                .iter()
                .map(|item| super::value::to_number(&item.text(document)))
                .sum(),
        ),
        "floor" => Value::Number(first.number(document).floor()),
        "ceiling" => Value::Number(first.number(document).ceil()),
        "round" => Value::Number((first.number(document) + 0.5).floor()),
        _ => return Err(XPathError::Syntax(format!("there is no function '{name}'"))),
    })
}

fn items(value: &Value) -> Result<&[Item], XPathError> {
    match value {
        Value::Nodes(items) => Ok(items),
        Value::Text(_) | Value::Number(_) | Value::Truth(_) => {
            Err(XPathError::Syntax("a function needs nodes".to_owned()))
        }
    }
}

fn of_first(
    value: &Value,
    document: &Document,
    what: fn(Item, &Document) -> String,
) -> Result<String, XPathError> {
    let first = items(value)?.first();
    Ok(first.map(|item| what(*item, document)).unwrap_or_default())
}

/// Places count from one; both are rounded first.
fn substring(text: &str, from: f64, length: Option<f64>) -> String {
    let round = |number: f64| (number + 0.5).floor();
    let from = round(from);
    let end = length.map_or(f64::INFINITY, |length| from + round(length));
    #[expect(clippy::cast_precision_loss, reason = "no text has 2^52 characters")]
    text.chars()
        .enumerate()
        .filter(|(at, _)| {
            let place = *at as f64 + 1.0;
            place >= from && place < end
        })
        .map(|(_, c)| c)
        .collect()
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    text.chars()
        .filter_map(|c| match from.chars().position(|found| found == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        })
        .collect()
}
