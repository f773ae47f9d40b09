//! Which element of the file an element of the transform means: an XPath that grows from element to
//! element, narrowed by `xdt:Locator`.

use super::super::xml::xpath::{Blanks, Context, Expression, Item, Prefixes};
use super::super::xml::{Document, NodeId};
use super::Message;
use super::directive;

/// What stands for the default namespace in an XPath, which has none.
const DEFAULT_PREFIX: &str = "_defaultNamespace";

/// An element of the transform and what it means.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) parent: Option<&'a Scope<'a>>,
    pub(super) id: NodeId,
    /// The XPath of what it means.
    pub(super) path: String,
    /// The XPath of where it would be put.
    pub(super) parent_path: String,
    pub(super) prefixes: Prefixes,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        rules: &Document,
        id: NodeId,
        parent: Option<&'a Scope<'a>>,
    ) -> Result<Self, Message> {
        let above = parent.map_or("", |parent| parent.path.as_str());
        let step = step(rules, id);
        let (path, parent_path) = match directive::own(rules, id, "Locator") {
            None => (format!("{}{step}", slashed(above)), above.to_owned()),
            Some(attribute) => {
                let position = rules.position_of(attribute.start);
                located(rules, id, &attribute.value(), above, &step)
                    .map_err(|text| Message { position, text })?
            }
        };
        let prefixes = rules
            .prefixes_at(id)
            .into_iter()
            .map(|(prefix, namespace)| {
                let prefix = if prefix.is_empty() {
                    DEFAULT_PREFIX.to_owned()
                } else {
                    prefix
                };
                (prefix, namespace)
            })
            .collect();
        Ok(Self {
            parent,
            id,
            path,
            parent_path,
            prefixes,
        })
    }
}

fn slashed(path: &str) -> String {
    if path.ends_with('/') {
        path.to_owned()
    } else {
        format!("{path}/")
    }
}

fn step(rules: &Document, id: NodeId) -> String {
    let name = rules
        .element(id)
        .map_or("", |element| element.name.as_str());
    if !name.contains(':') && !rules.namespace(id).is_empty() {
        format!("{DEFAULT_PREFIX}:{name}")
    } else {
        name.to_owned()
    }
}

/// The XPaths of an element with a locator, and of where it would be put.
fn located(
    rules: &Document,
    id: NodeId,
    locator: &str,
    above: &str,
    step: &str,
) -> Result<(String, String), String> {
    let (name, arguments) = directive::parse(locator)?;
    let arguments = arguments
        .map(|text| directive::split(&text))
        .unwrap_or_default();
    let one = || match &arguments[..] {
        [one] => Ok(one.as_str()),
        _ => Err(format!("{name} takes one argument")),
    };
    let plain = format!("{}{step}", slashed(above));
    match name.as_str() {
        "Match" => {
            if arguments.is_empty() {
                return Err("Match needs the names of attributes".to_owned());
            }
            let conditions: Vec<String> = arguments
                .iter()
                .map(|key| matched(rules, id, key))
                .collect::<Result<_, _>>()?;
            let path = format!("{plain}[{}]", conditions.join(" and "));
            Ok((path, above.to_owned()))
        }
        "Condition" => {
            let condition = one()?;
            let open = if condition.starts_with('[') { "" } else { "[" };
            let close = if condition.ends_with(']') && open.is_empty() {
                ""
            } else {
                "]"
            };
            Ok((format!("{plain}{open}{condition}{close}"), above.to_owned()))
        }
        "XPath" => {
            let path = one()?;
            let path = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("{plain}/{path}").replace("/./", "/")
            };
            Ok((path.clone(), path))
        }
        _ => Err(format!(
            "'{name}' is no locator; there are Match, Condition, XPath"
        )),
    }
}

/// `@key='value'`, the value being the one that the transform's element has.
fn matched(rules: &Document, id: NodeId, key: &str) -> Result<String, String> {
    let attribute = rules
        .element(id)
        .and_then(|element| element.attribute(key))
        .ok_or_else(|| format!("Match names the attribute '{key}', which is not there"))?;
    let value = attribute.value();
    let literal = match (value.contains('\''), value.contains('"')) {
        (false, _) => format!("'{value}'"),
        (true, false) => format!("\"{value}\""),
        (true, true) => {
            let parts: Vec<String> = value.split('\'').map(|part| format!("'{part}'")).collect();
            format!("concat({})", parts.join(", \"'\", "))
        }
    };
    Ok(format!("@{}={literal}", attribute.name))
}

/// The elements that an XPath selects.
pub(super) fn select(
    document: &Document,
    path: &str,
    prefixes: &Prefixes,
    from: NodeId,
) -> Result<Vec<NodeId>, String> {
    let mut context = Context::new(document, prefixes, Blanks::Seen);
    let items = Expression::parse(path)
        .and_then(|expression| expression.select(&mut context, from))
        .map_err(|error| format!("'{path}': {error}"))?;
    items
        .into_iter()
        .map(|item| match item {
            Item::Node(id) if document.element(id).is_some() => Ok(id),
            Item::Node(_) | Item::Attribute(..) => {
                Err(format!("'{path}' selects what is no element"))
            }
        })
        .collect()
}
