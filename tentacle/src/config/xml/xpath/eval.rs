//! Evaluates expressions.

use super::super::tree::{Document, Kind, NodeId};
use super::XPathError;
use super::ast::{Axis, Comparison, Expr, Operator, Step, Test};
use super::context::Context;
use super::value::{Item, Value, to_number};

/// Where an evaluation stands: the node, its place among those looked at, and how many they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) item: Item,
    pub(super) position: usize,
    pub(super) size: usize,
}

pub(super) fn select(
    expr: &Expr,
    context: &mut Context<'_>,
    from: NodeId,
) -> Result<Vec<Item>, XPathError> {
    let at = At {
        item: Item::Node(from),
        position: 1,
        size: 1,
    };
    match evaluate(expr, context, at)? {
        Value::Nodes(nodes) => Ok(nodes),
        Value::Text(_) => Err(XPathError::NoNodes("a text")),
        Value::Number(_) => Err(XPathError::NoNodes("a number")),
        Value::Truth(_) => Err(XPathError::NoNodes("true or false")),
    }
}

pub(super) fn evaluate(
    expr: &Expr,
    context: &mut Context<'_>,
    at: At,
) -> Result<Value, XPathError> {
    context.spend(1)?;
    Ok(match expr {
        Expr::Or(left, right) => Value::Truth(
            evaluate(left, context, at)?.truth() || evaluate(right, context, at)?.truth(),
        ),
        Expr::And(left, right) => Value::Truth(
            evaluate(left, context, at)?.truth() && evaluate(right, context, at)?.truth(),
        ),
        Expr::Compare(how, left, right) => {
            let left = evaluate(left, context, at)?;
            let right = evaluate(right, context, at)?;
            Value::Truth(compare(*how, &left, &right, context)?)
        }
        Expr::Calculate(operator, left, right) => {
            let left = evaluate(left, context, at)?.number(context.document);
            let right = evaluate(right, context, at)?.number(context.document);
            Value::Number(match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
                Operator::Modulo => left % right,
            })
        }
        Expr::Negate(of) => Value::Number(-evaluate(of, context, at)?.number(context.document)),
        Expr::Union(left, right) => {
            let mut all = nodes(left, context, at)?;
            all.extend(nodes(right, context, at)?);
            Value::Nodes(in_order(all, context))
        }
        Expr::Path { absolute, steps } => {
            let from = if *absolute {
                Item::Node(Document::ROOT)
            } else {
                at.item
            };
            Value::Nodes(walk(vec![from], steps, context)?)
        }
        Expr::Filter {
            of,
            predicates,
            steps,
        } => {
            let mut found = nodes(of, context, at)?;
            for predicate in predicates {
                found = kept(found, predicate, context)?;
            }
            Value::Nodes(walk(found, steps, context)?)
        }
        Expr::Literal(text) => Value::Text(text.clone()),
        Expr::Number(number) => Value::Number(*number),
        Expr::Call(name, arguments) => super::functions::call(name, arguments, context, at)?,
    })
}

fn nodes(expr: &Expr, context: &mut Context<'_>, at: At) -> Result<Vec<Item>, XPathError> {
    match evaluate(expr, context, at)? {
        Value::Nodes(nodes) => Ok(nodes),
        Value::Text(_) | Value::Number(_) | Value::Truth(_) => Err(XPathError::Syntax(
            "nodes are needed where a value stands".to_owned(),
        )),
    }
}

/// In the document's order, each once.
fn in_order(mut items: Vec<Item>, context: &Context<'_>) -> Vec<Item> {
    items.sort_by_key(|item| match item {
        Item::Node(id) => (context.order(*id), 0),
        Item::Attribute(id, at) => (context.order(*id), at + 1),
    });
    items.dedup();
    items
}

fn walk(
    mut items: Vec<Item>,
    steps: &[Step],
    context: &mut Context<'_>,
) -> Result<Vec<Item>, XPathError> {
    for step in steps {
        let mut next = Vec::new();
        for item in items {
            let mut found = Vec::new();
            for candidate in axis(step.axis, item, context)? {
                context.spend(1)?;
                if matches(&step.test, step.axis, candidate, context)? {
                    found.push(candidate);
                }
            }
            for predicate in &step.predicates {
                found = kept(found, predicate, context)?;
            }
            next.extend(found);
        }
        items = in_order(next, context);
    }
    Ok(items)
}

/// Those for which the predicate holds; a number means the place.
fn kept(
    items: Vec<Item>,
    predicate: &Expr,
    context: &mut Context<'_>,
) -> Result<Vec<Item>, XPathError> {
    let size = items.len();
    let mut found = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let at = At {
            item,
            position: index + 1,
            size,
        };
        let holds = match evaluate(predicate, context, at)? {
            #[expect(clippy::cast_precision_loss, reason = "no document has 2^52 nodes")]
            Value::Number(number) => (number - at.position as f64).abs() < f64::EPSILON,
            other @ (Value::Nodes(_) | Value::Text(_) | Value::Truth(_)) => other.truth(),
        };
        if holds {
            found.push(item);
        }
    }
    Ok(found)
}

/// The nodes of an axis, nearest first.
fn axis(axis: Axis, item: Item, context: &mut Context<'_>) -> Result<Vec<Item>, XPathError> {
    let document = context.document;
    let owner = match item {
        Item::Attribute(owner, _) => Some(owner),
        Item::Node(_) => None,
    };
    let id = match item {
        Item::Node(id) | Item::Attribute(id, _) => id,
    };
    let parent = owner.or_else(|| document.parent(id));
    let ancestors =
        || -> Vec<NodeId> { std::iter::successors(parent, |id| document.parent(*id)).collect() };
    let below = |id: NodeId| {
        document
            .descendants(id)
            .into_iter()
            .skip(1)
            .collect::<Vec<_>>()
    };
    let siblings = |after: bool| -> Vec<NodeId> {
        let place = if owner.is_some() {
            None
        } else {
            document.place(id)
        };
        let Some((parent, at)) = place else {
            return Vec::new();
        };
        let all = document.children(parent);
        if after {
            all.get(at + 1..).unwrap_or_default().to_vec()
        } else {
            all.get(..at)
                .unwrap_or_default()
                .iter()
                .rev()
                .copied()
                .collect()
        }
    };
    let found: Vec<NodeId> = match axis {
        Axis::Itself => return Ok(vec![item]),
        Axis::Attribute => {
            let count = match owner {
                Some(_) => 0,
                None => document.element(id).map_or(0, |e| e.attributes.len()),
            };
            return Ok((0..count)
                .filter(|at| !is_declaration(document, id, *at))
                .map(|at| Item::Attribute(id, at))
                .collect());
        }
        // An attribute has nothing below it.
        Axis::Child | Axis::Descendant if owner.is_some() => Vec::new(),
        Axis::Child => document.children(id).to_vec(),
        Axis::Descendant => below(id),
        Axis::DescendantOrSelf if owner.is_some() => return Ok(vec![item]),
        Axis::DescendantOrSelf => document.descendants(id),
        Axis::Parent => parent.into_iter().collect(),
        Axis::Ancestor => ancestors(),
        Axis::AncestorOrSelf => {
            let mut found = vec![item];
            found.extend(ancestors().into_iter().map(Item::Node));
            return Ok(found);
        }
        Axis::FollowingSibling => siblings(true),
        Axis::PrecedingSibling => siblings(false),
        Axis::Following | Axis::Preceding => beyond(axis, id, owner, context)?,
    };
    context.spend(found.len())?;
    Ok(found
        .into_iter()
        .filter(|id| context.is_seen(*id))
        .map(Item::Node)
        .collect())
}

/// What comes after a node and is not in it, or before it and does not hold it.
fn beyond(
    axis: Axis,
    id: NodeId,
    owner: Option<NodeId>,
    context: &mut Context<'_>,
) -> Result<Vec<NodeId>, XPathError> {
    let document = context.document;
    let all = document.descendants(Document::ROOT);
    context.spend(all.len())?;
    let place = context.order(id) as usize;
    if axis == Axis::Following {
        let own = if owner.is_some() {
            1
        } else {
            document.descendants(id).len()
        };
        return Ok(all.get(place + own..).unwrap_or_default().to_vec());
    }
    let holders: Vec<NodeId> =
        std::iter::successors(document.parent(id), |id| document.parent(*id)).collect();
    let before = all.get(..place).unwrap_or_default();
    Ok(before
        .iter()
        .rev()
        .filter(|id| !holders.contains(id))
        .copied()
        .collect())
}

fn is_declaration(document: &Document, id: NodeId, at: usize) -> bool {
    let attribute = document.element(id).and_then(|e| e.attributes.get(at));
    attribute.is_some_and(|a| super::super::names::declared_prefix(&a.name).is_some())
}

fn matches(test: &Test, axis: Axis, item: Item, context: &Context<'_>) -> Result<bool, XPathError> {
    let document = context.document;
    let kind = match item {
        Item::Node(id) => Some(document.kind(id)),
        Item::Attribute(..) => None,
    };
    let principal = match axis {
        Axis::Attribute => kind.is_none(),
        Axis::Ancestor
        | Axis::AncestorOrSelf
        | Axis::Child
        | Axis::Descendant
        | Axis::DescendantOrSelf
        | Axis::Following
        | Axis::FollowingSibling
        | Axis::Parent
        | Axis::Preceding
        | Axis::PrecedingSibling
        | Axis::Itself => matches!(kind, Some(Kind::Element(_))),
    };
    Ok(match test {
        Test::Node => true,
        Test::Text => matches!(kind, Some(Kind::Text(_) | Kind::CData(_))),
        Test::Comment => matches!(kind, Some(Kind::Comment(_))),
        Test::Instruction(wanted) => match kind {
            Some(Kind::Instruction { target, .. }) => {
                wanted.as_ref().is_none_or(|wanted| wanted == target)
            }
            _ => false,
        },
        Test::Any => principal,
        Test::AnyNamed(name) => principal && super::functions::local_name(item, document) == *name,
        Test::AnyOf(prefix) => {
            let wanted = context.namespace_of(prefix)?;
            principal && super::functions::namespace(item, document) == wanted
        }
        Test::Name(prefix, name) => {
            let wanted = if prefix.is_empty() {
                String::new()
            } else {
                context.namespace_of(prefix)?
            };
            principal
                && super::functions::local_name(item, document) == *name
                && super::functions::namespace(item, document) == wanted
        }
    })
}

fn compare(
    how: Comparison,
    left: &Value,
    right: &Value,
    context: &mut Context<'_>,
) -> Result<bool, XPathError> {
    let document = context.document;
    match (left, right) {
        (Value::Nodes(_), Value::Truth(_)) | (Value::Truth(_), Value::Nodes(_)) => Ok(numbers(
            how,
            f64::from(u8::from(left.truth())),
            f64::from(u8::from(right.truth())),
        )),
        (Value::Nodes(lefts), Value::Nodes(rights)) => {
            context.spend(lefts.len().saturating_mul(rights.len()))?;
            let rights: Vec<String> = rights.iter().map(|item| item.text(document)).collect();
            Ok(lefts.iter().any(|item| {
                let text = item.text(document);
                rights.iter().any(|right| texts(how, &text, right))
            }))
        }
        (Value::Nodes(items), other) | (other, Value::Nodes(items)) => {
            context.spend(items.len())?;
            let swapped = matches!(right, Value::Nodes(_));
            Ok(items.iter().any(|item| {
                let own = Value::Text(item.text(document));
                if swapped {
                    plain(how, other, &own, document)
                } else {
                    plain(how, &own, other, document)
                }
            }))
        }
        _ => Ok(plain(how, left, right, document)),
    }
}

fn plain(how: Comparison, left: &Value, right: &Value, document: &Document) -> bool {
    match how {
        Comparison::Equal | Comparison::NotEqual => {
            let equal = if matches!(left, Value::Truth(_)) || matches!(right, Value::Truth(_)) {
                left.truth() == right.truth()
            } else if matches!(left, Value::Number(_)) || matches!(right, Value::Number(_)) {
                return numbers(how, left.number(document), right.number(document));
            } else {
                left.text(document) == right.text(document)
            };
            equal == (how == Comparison::Equal)
        }
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Greater
        | Comparison::GreaterOrEqual => numbers(how, left.number(document), right.number(document)),
    }
}

fn texts(how: Comparison, left: &str, right: &str) -> bool {
    match how {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Greater
        | Comparison::GreaterOrEqual => numbers(how, to_number(left), to_number(right)),
    }
}

#[expect(clippy::float_cmp, reason = "XPath compares numbers exactly")]
fn numbers(how: Comparison, left: f64, right: f64) -> bool {
    match how {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}
