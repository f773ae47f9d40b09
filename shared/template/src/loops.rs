//! `each`: what a collection consists of, taken one at a time so that a huge list costs no memory.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::ast::{Expr, Head};
use crate::evaluate::{Eval, Evaluator};
use crate::json::{self, Members, Shape};
use crate::lexer::same_name;
use crate::resolve::{Frame, Item, Scope};
use crate::structure::Parsed;

/// The elements still to come.
enum Items<'v> {
    Nodes(std::slice::Iter<'v, u32>),
    Json {
        text: Cow<'v, str>,
        shape: Shape,
        pos: usize,
    },
    /// `pos` is `None` after the last element.
    List {
        text: Cow<'v, str>,
        pos: Option<usize>,
    },
    Reversed(Vec<Item>),
}

impl Items<'_> {
    /// The next element, and whether it is the last.
    fn next(&mut self) -> Option<(Item, bool)> {
        match self {
            Self::Nodes(nodes) => {
                let node = *nodes.next()?;
                Some((Item::Node(node), nodes.as_slice().is_empty()))
            }
            Self::Json { text, shape, pos } => {
                let mut members = Members::new(text, *shape, *pos);
                let (key, value) = members.next_pair()?;
                let last = members.at_end();
                *pos = members.position();
                let item = match key {
                    Some(key) => Item::Pair(key.into(), value.into()),
                    None => Item::Text(value.into()),
                };
                Some((item, last))
            }
            Self::List { text, pos } => {
                let rest = text.get((*pos)?..)?;
                let comma = rest.find(',');
                let item = rest.get(..comma.unwrap_or(rest.len()))?;
                *pos = comma.map(|comma| text.len() - rest.len() + comma + 1);
                Some((Item::Text(item.into()), comma.is_none()))
            }
            Self::Reversed(items) => {
                let item = items.pop()?;
                Some((item, items.is_empty()))
            }
        }
    }
}

impl<'v> Evaluator<'v> {
    /// Evaluates the body of a loop for each element.
    pub(crate) fn each(
        &mut self,
        template: &Parsed<'_>,
        name: &str,
        collection: &Expr<'_>,
        body: Range<usize>,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let mut items = self.items(collection, scope)?;
        let name: Rc<str> = name.into();
        let mut index = 0;
        while let Some((item, last)) = items.next() {
            self.fuel.charge(1)?;
            let frame = Frame {
                name: name.clone(),
                item,
                index,
                last,
                parent: scope.clone(),
            };
            let inner = Some(Rc::new(frame));
            self.deeper(|this| this.range(template, body.clone(), &inner, out))?;
            index += 1;
        }
        Ok(())
    }

    fn items(&mut self, collection: &Expr<'_>, scope: &Scope) -> Eval<Items<'v>> {
        let (reverse, filters) = match collection.filters.split_last() {
            Some((last, rest)) if same_name(last.name, "Reverse") && last.args.is_empty() => {
                (true, rest)
            }
            _ => (false, collection.filters.as_slice()),
        };
        let empty = Items::Reversed(Vec::new());
        let text = match &collection.head {
            Head::Symbol(symbol) if filters.is_empty() => match self.find(symbol, scope)? {
                None => None,
                Some(found) => match found.item {
                    Item::Node(node) if !self.variables.indexed(node).is_empty() => {
                        let nodes = Items::Nodes(self.variables.indexed(node).iter());
                        return if reverse {
                            self.reversed(nodes)
                        } else {
                            Ok(nodes)
                        };
                    }
                    _ => self.text(&found)?,
                },
            },
            head => self.filtered(head, filters, scope)?,
        };
        let Some(text) = text else { return Ok(empty) };
        self.fuel.charge_bytes(text.len())?;
        let items = split(text);
        if reverse {
            self.reversed(items)
        } else {
            Ok(items)
        }
    }

    fn reversed(&mut self, mut items: Items<'v>) -> Eval<Items<'v>> {
        let mut all = Vec::new();
        while let Some((item, _)) = items.next() {
            self.fuel.charge(1)?;
            all.push(item);
        }
        Ok(Items::Reversed(all))
    }
}

fn split(text: Cow<'_, str>) -> Items<'_> {
    match json::shape(&text) {
        Some(shape) => Items::Json {
            text,
            shape,
            pos: 0,
        },
        None => Items::List { text, pos: Some(0) },
    }
}
