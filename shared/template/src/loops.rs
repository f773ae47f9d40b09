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
    Nodes {
        nodes: &'v [u32],
        reverse: bool,
    },
    Json {
        text: Cow<'v, str>,
        shape: Shape,
        pos: usize,
    },
    /// Where the elements begin, the next one last.
    JsonReversed {
        text: Cow<'v, str>,
        shape: Shape,
        starts: Vec<u32>,
    },
    /// What is left of the list is `text[range]`; `None` after the last element.
    List {
        text: Cow<'v, str>,
        range: Option<Range<usize>>,
        reverse: bool,
    },
    Nothing,
}

impl Items<'_> {
    /// The next element, and whether it is the last.
    fn next(&mut self) -> Option<(Item, bool)> {
        match self {
            Self::Nodes { nodes, reverse } => {
                let (node, rest) = if *reverse {
                    nodes.split_last()?
                } else {
                    nodes.split_first()?
                };
                *nodes = rest;
                Some((Item::Node(*node), rest.is_empty()))
            }
            Self::Json { text, shape, pos } => {
                let mut members = Members::new(text, *shape, *pos);
                let item = member(&mut members)?;
                let last = members.at_end();
                *pos = members.position();
                Some((item, last))
            }
            Self::JsonReversed {
                text,
                shape,
                starts,
            } => {
                let start = starts.pop()?;
                let item = member(&mut Members::new(text, *shape, start as usize))?;
                Some((item, starts.is_empty()))
            }
            Self::List {
                text,
                range,
                reverse,
            } => {
                let rest = range.take()?;
                let left = text.get(rest.clone())?;
                let comma = if *reverse {
                    left.rfind(',')
                } else {
                    left.find(',')
                };
                let (item, after) = match comma.map(|comma| rest.start + comma) {
                    None => (rest, None),
                    Some(comma) if *reverse => (comma + 1..rest.end, Some(rest.start..comma)),
                    Some(comma) => (rest.start..comma, Some(comma + 1..rest.end)),
                };
                let last = after.is_none();
                *range = after;
                Some((Item::Text(text.get(item)?.into()), last))
            }
            Self::Nothing => None,
        }
    }
}

fn member(members: &mut Members<'_>) -> Option<Item> {
    let (key, value) = members.next_pair()?;
    Some(match key {
        Some(key) => Item::Pair(key.into(), value.into()),
        None => Item::Text(value.into()),
    })
}

impl<'v> Evaluator<'v> {
    /// Evaluates the body of a loop for each element.
    pub(crate) fn each(
        &mut self,
        template: &Parsed<'_>,
        name: &str,
        collection: &Expr<'_>,
        (block, body): (Range<usize>, Range<usize>),
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let before = self.hidden.now();
        let mut items = self.items(collection, scope)?;
        if self.hidden.read_since(before) {
            let block = template.source.get(block).unwrap_or_default();
            return self.made(before, block, out);
        }
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
        let text = match &collection.head {
            Head::Symbol(symbol) if filters.is_empty() => match self.find(symbol, scope)? {
                None => None,
                Some(found) => match found.item {
                    Item::Node(node) if !self.variables.indexed(node).is_empty() => {
                        return Ok(Items::Nodes {
                            nodes: self.variables.indexed(node),
                            reverse,
                        });
                    }
                    _ => self.text(&found)?,
                },
            },
            head => self.filtered(head, filters, scope)?,
        };
        let Some(text) = text else {
            return Ok(Items::Nothing);
        };
        self.fuel.charge_bytes(text.len())?;
        let begins_like_json = text.trim_start().starts_with(['{', '[', '/']);
        if begins_like_json {
            self.fuel.charge_parse(text.len())?;
        }
        let shape = json::shape(&text);
        if shape.is_some() {
            // The loop reads each element again.
            self.fuel.charge_parse(text.len())?;
        }
        match shape {
            Some(shape) if reverse => self.json_reversed(text, shape),
            Some(shape) => Ok(Items::Json {
                text,
                shape,
                pos: 0,
            }),
            None => Ok(Items::List {
                range: Some(0..text.len()),
                text,
                reverse,
            }),
        }
    }

    /// Only where the elements begin is kept of them: four bytes each, of which the shortest take two.
    fn json_reversed(&mut self, text: Cow<'v, str>, shape: Shape) -> Eval<Items<'v>> {
        self.fuel.charge_parse(text.len())?;
        let mut starts = Vec::new();
        let mut members = Members::new(&text, shape, 0);
        let mut start = 0;
        while members.next_pair().is_some() {
            self.fuel.charge(1)?;
            starts.extend(u32::try_from(start));
            start = members.position();
        }
        Ok(Items::JsonReversed {
            text,
            shape,
            starts,
        })
    }
}
