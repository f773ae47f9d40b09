//! Finds what a path stands for: loop variables from the innermost outwards, then the variables; JSON values
//! are entered where a step has no variable of its own.
//!
//! A value found in a loop's frame is evaluated with that frame in sight, one found among the variables with
//! none, as in the original.

use std::borrow::Cow;
use std::rc::Rc;

use crate::ast::{Step, Symbol};
use crate::evaluate::{Eval, Evaluator, Halt};
use crate::json;
use crate::lexer::{fold, is_plain, same_name};
use crate::problem::ProblemKind;
use crate::structure::Parsed;
use crate::variables::{Kind, ROOT};

/// What a loop's variable, or a step of a path, stands for.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Node(u32),
    Text(Rc<str>),
    /// A member of a JSON object.
    Pair(Rc<str>, Rc<str>),
}

/// One turn of a loop.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) name: Rc<str>,
    pub(crate) item: Item,
    pub(crate) index: usize,
    pub(crate) last: bool,
    pub(crate) parent: Scope,
}

/// The loops around a place, innermost first.
pub(crate) type Scope = Option<Rc<Frame>>;

/// A value that is being evaluated.
#[derive(Debug)]
pub(crate) struct Active {
    level: usize,
    folded: String,
    pub(crate) shown: String,
}

/// A step whose index is known.
#[derive(Debug)]
pub(crate) struct Known<'s> {
    kind: Kind,
    text: Cow<'s, str>,
}

/// Where a path led.
pub(crate) struct Found<'s> {
    pub(crate) item: Item,
    level: Scope,
    path: Vec<Known<'s>>,
}

impl<'v> Evaluator<'v> {
    /// The text that a path stands for, evaluated.
    pub(crate) fn symbol(
        &mut self,
        symbol: &Symbol<'_>,
        scope: &Scope,
    ) -> Eval<Option<Cow<'v, str>>> {
        if let Some(found) = self.find(symbol, scope)? {
            return self.text(&found);
        }
        let Some(is_empty) = self.variables.empty() else {
            return Ok(None);
        };
        let path = self.known(symbol, scope)?;
        let empty = path.is_some_and(|path| is_empty(&show(&path)));
        Ok(empty.then_some(Cow::Borrowed("")))
    }

    /// What a path leads to.
    pub(crate) fn find<'s>(
        &mut self,
        symbol: &Symbol<'s>,
        scope: &Scope,
    ) -> Eval<Option<Found<'s>>> {
        let Some(path) = self.known(symbol, scope)? else {
            return Ok(None);
        };
        let Some(first) = path.first() else {
            return Ok(None);
        };
        let mut level = scope.clone();
        while let Some(frame) = level.take() {
            let start = if same_name(&first.text, &frame.name) {
                Some((frame.item.clone(), 1))
            } else {
                special(&frame, &path).map(|text| (Item::Text(text), path.len()))
            };
            if let Some((start, used)) = start {
                let own = Some(frame.clone());
                if let Some(item) = self.walk(start, used, &path, &own)? {
                    return Ok(Some(Found {
                        item,
                        level: own,
                        path,
                    }));
                }
            }
            level.clone_from(&frame.parent);
        }
        let item = self.walk(Item::Node(ROOT), 0, &path, &None)?;
        Ok(item.map(|item| Found {
            item,
            level: None,
            path,
        }))
    }

    /// The path with its inner tokens replaced by their values; `None` if one of them has none.
    fn known<'s>(&mut self, symbol: &Symbol<'s>, scope: &Scope) -> Eval<Option<Vec<Known<'s>>>> {
        let mut path = Vec::with_capacity(symbol.steps.len());
        for step in &symbol.steps {
            path.push(match step {
                Step::Name(name) => Known {
                    kind: Kind::Name,
                    text: Cow::Borrowed(*name),
                },
                Step::Index(index) => Known {
                    kind: Kind::Index,
                    text: Cow::Borrowed(*index),
                },
                Step::Dynamic(expr) => {
                    match self.bending(|this| this.quietly(|this| this.expr(expr, scope)))? {
                        Some(text) => {
                            self.fuel.charge_bytes(text.len())?;
                            Known {
                                kind: Kind::Index,
                                text: Cow::Owned(text.into_owned()),
                            }
                        }
                        None => return Ok(None),
                    }
                }
            });
        }
        Ok(Some(path))
    }

    fn walk(
        &mut self,
        start: Item,
        used: usize,
        path: &[Known<'_>],
        level: &Scope,
    ) -> Eval<Option<Item>> {
        let mut item = start;
        for step in path.get(used..).unwrap_or_default() {
            match self.step(&item, step, path, level)? {
                Some(next) => item = next,
                None => return Ok(None),
            }
        }
        Ok(Some(item))
    }

    fn step(
        &mut self,
        item: &Item,
        step: &Known<'_>,
        path: &[Known<'_>],
        level: &Scope,
    ) -> Eval<Option<Item>> {
        let raw = match item {
            Item::Node(node) => {
                if step.kind == Kind::Index
                    && step.text == "*"
                    && let Some(first) = self.variables.indexed(*node).first()
                {
                    return Ok(Some(Item::Node(*first)));
                }
                if let Some(child) = self.variables.child(*node, step.kind, &step.text) {
                    return Ok(Some(Item::Node(child)));
                }
                if step.kind == Kind::Name
                    && same_name(&step.text, "Key")
                    && let Some(index) = self.variables.index_text(*node)
                {
                    return Ok(Some(Item::Text(index.into())));
                }
                match self.variables.item(*node) {
                    Some(raw) => {
                        return self.bending(|this| {
                            this.note_read(*node);
                            this.enter_json(raw, step, path, level)
                        });
                    }
                    None => return Ok(None),
                }
            }
            Item::Pair(key, value) => {
                return Ok(match step.kind {
                    Kind::Name if same_name(&step.text, "Key") => Some(Item::Text(key.clone())),
                    Kind::Name if same_name(&step.text, "Value") => Some(Item::Text(value.clone())),
                    _ => None,
                });
            }
            Item::Text(text) => text,
        };
        self.bending(|this| this.enter_json(raw, step, path, level))
    }

    /// The member of a value that is JSON, once the tokens in it are replaced.
    fn enter_json(
        &mut self,
        raw: &str,
        step: &Known<'_>,
        path: &[Known<'_>],
        level: &Scope,
    ) -> Eval<Option<Item>> {
        if raw.is_empty() || step.text.is_empty() {
            return Ok(None);
        }
        let text = if is_plain(raw) {
            Cow::Borrowed(raw)
        } else {
            match self.quietly(|this| this.value(raw, path, level)) {
                Ok(text) => Cow::Owned(text),
                // JSON whose members refer to each other: take the one asked for as it stands.
                Err(Halt::Loop(_)) if !self.recurses(path, level) => Cow::Borrowed(raw),
                Err(halt) => return Err(halt),
            }
        };
        self.fuel.charge_parse(text.len())?;
        let found = json::get(&text, &step.text);
        // What was found is read once more, to be written anew.
        self.fuel
            .charge_parse(found.as_ref().map_or(0, String::len))?;
        Ok(found.map(|text| Item::Text(text.into())))
    }

    /// The evaluated text of what was found.
    pub(crate) fn text(&mut self, found: &Found<'_>) -> Eval<Option<Cow<'v, str>>> {
        let size = match &found.item {
            Item::Node(node) => self.variables.item(*node).map_or(0, str::len),
            Item::Text(text) | Item::Pair(text, _) => text.len(),
        };
        self.fuel.charge_scan(size)?;
        if let Item::Node(node) = &found.item {
            self.note_read(*node);
        }
        let raw = match &found.item {
            Item::Node(node) => match self.variables.item(*node) {
                Some(raw) if is_plain(raw) => return Ok(Some(Cow::Borrowed(raw))),
                Some(raw) => Cow::Borrowed(raw),
                None => return Ok(None),
            },
            Item::Text(text) | Item::Pair(text, _) if is_plain(text) => {
                return Ok(Some(Cow::Owned(text.to_string())));
            }
            Item::Text(text) | Item::Pair(text, _) => Cow::Borrowed(&**text),
        };
        self.value(&raw, &found.path, &found.level)
            .map(|text| Some(Cow::Owned(text)))
    }

    /// Evaluates a value as the template that it is.
    fn value(&mut self, raw: &str, path: &[Known<'_>], level: &Scope) -> Eval<String> {
        let active = active(path, level);
        if self
            .stack
            .iter()
            .any(|other| other.level == active.level && other.folded == active.folded)
        {
            let mut chain: Vec<String> = self
                .stack
                .iter()
                .map(|active| active.shown.clone())
                .collect();
            chain.push(active.shown);
            return Err(Halt::Loop(ProblemKind::Recursion { chain }));
        }
        self.fuel.charge_bytes(raw.len())?;
        self.stack.push(active);
        let result = self.nested(|this| this.value_text(raw, level));
        self.stack.pop();
        result
    }

    fn value_text(&mut self, raw: &str, level: &Scope) -> Eval<String> {
        let parsed = Parsed::new(raw);
        if let Some(error) = parsed.errors.first() {
            let token = raw.get(error.start..error.end).unwrap_or_default();
            self.problem(
                ProblemKind::Syntax {
                    reason: error.reason.to_owned(),
                },
                token,
            );
            return Ok(raw.to_owned());
        }
        let mut out = String::with_capacity(raw.len());
        self.range(&parsed, 0..raw.len(), level, &mut out)?;
        Ok(out)
    }

    fn recurses(&self, path: &[Known<'_>], level: &Scope) -> bool {
        let active = active(path, level);
        self.stack
            .iter()
            .any(|other| other.level == active.level && other.folded == active.folded)
    }
}

fn active(path: &[Known<'_>], level: &Scope) -> Active {
    let shown = show(path);
    // A frame lives as long as a value that is evaluated in it, so its address tells frames apart.
    let level = level.as_ref().map_or(0, |frame| Rc::as_ptr(frame).addr());
    Active {
        level,
        folded: fold(&shown),
        shown,
    }
}

fn show(path: &[Known<'_>]) -> String {
    let mut shown = String::new();
    for step in path {
        match step.kind {
            Kind::Name => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(&step.text);
            }
            Kind::Index => {
                shown.push('[');
                shown.push_str(&step.text);
                shown.push(']');
            }
        }
    }
    shown
}

/// `Octopus.Template.Each.Index`, `.First` and `.Last` of a loop.
fn special(frame: &Frame, path: &[Known<'_>]) -> Option<Rc<str>> {
    let [a, b, c, what] = path else { return None };
    let names = [(a, "Octopus"), (b, "Template"), (c, "Each")];
    if !names
        .iter()
        .all(|(step, name)| step.kind == Kind::Name && same_name(&step.text, name))
    {
        return None;
    }
    let truth = |value: bool| if value { "True" } else { "False" };
    if same_name(&what.text, "Index") {
        return Some(frame.index.to_string().into());
    }
    if same_name(&what.text, "First") {
        return Some(truth(frame.index == 0).into());
    }
    same_name(&what.text, "Last").then(|| truth(frame.last).into())
}
