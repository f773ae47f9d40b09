//! Which variables a template can reach, told from its text alone.
//!
//! The answer may be too large, never too small: an index that is only known at run time, and a collection that
//! is looped over, stand for everything beneath them. (One thing is not followed: `#{A[x]}` shows `x` if only
//! `A[x].Name` exists. That needs no value, and no value is handed out for it.)

use std::collections::{BTreeSet, HashMap};

use crate::ast::{Arg, Calc, Condition, Expr, Head, Step, Symbol, Tag};
use crate::filters;
use crate::lexer::{self, Hit, fold};
use crate::parser::{parse_path, parse_tag};
use crate::structure::Parsed;
use crate::variables::Variables;

/// The variables a template can reach by itself, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Whole names. `a.b[c].d` stands for its beginnings `a.b[c]`, `a.b` and `a` as well: each may hold JSON with the
    /// rest. (They are not kept, or a hostile text would take sixty times its size.)
    pub names: BTreeSet<String>,
    /// Names that stand for themselves and for everything indexed beneath them: `a` for `#{A[#{B}].C}` and for
    /// `#{each x in A}`.
    pub prefixes: BTreeSet<String>,
    /// Filters that it names and that do not exist, as they are spelt.
    pub unknown_filters: BTreeSet<String>,
}

impl References {
    /// Whether a variable of that name can be reached.
    pub fn reaches(&self, name: &str) -> bool {
        let name = normal(name);
        self.begins(&name)
            || self.prefixes.contains(&name)
            || name.match_indices('[').any(|(at, _)| {
                name.get(..at)
                    .is_some_and(|head| self.prefixes.contains(head))
            })
    }

    /// Whether `name` is a whole name or the beginning of one.
    fn begins(&self, name: &str) -> bool {
        let follows = |sign: char| {
            let start = format!("{name}{sign}");
            let mut after = self.names.range(start.clone()..);
            after.next().is_some_and(|found| found.starts_with(&start))
        };
        self.names.contains(name) || follows('.') || follows('[')
    }

    /// Whether nothing can be reached.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.prefixes.is_empty()
    }

    /// Adds what another template can reach.
    pub fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
        self.prefixes.extend(other.prefixes);
        self.unknown_filters.extend(other.unknown_filters);
    }

    fn symbol(&mut self, symbol: &Symbol<'_>, collection: bool) {
        let mut shown = String::new();
        for step in &symbol.steps {
            match step {
                Step::Name(name) => {
                    if !shown.is_empty() {
                        shown.push('.');
                    }
                    shown.push_str(&fold(name));
                }
                Step::Index("*") => {
                    self.names.insert(shown.clone());
                    self.prefixes.insert(shown);
                    return;
                }
                Step::Index(index) => {
                    shown.push('[');
                    shown.push_str(&fold(index));
                    shown.push(']');
                }
                Step::Dynamic(expr) => {
                    self.expr(expr, false);
                    self.prefixes.insert(shown.clone());
                    // Inner tokens of later steps count as well; the path itself is covered by its prefix.
                    shown.push_str("[*]");
                }
            }
        }
        if collection {
            self.prefixes.insert(shown.clone());
        }
        self.names.insert(shown);
    }

    fn expr(&mut self, expr: &Expr<'_>, collection: bool) {
        if let Head::Symbol(symbol) = &expr.head {
            self.symbol(symbol, collection);
        }
        for filter in &expr.filters {
            let reverse = collection && lexer::same_name(filter.name, "Reverse");
            if !reverse && !filters::exists(filter.name) {
                self.unknown_filters.insert(filter.name.to_owned());
            }
        }
        for arg in expr.filters.iter().flat_map(|filter| &filter.args) {
            if let Arg::Template(text) = arg {
                self.text(text);
            }
        }
    }

    fn condition(&mut self, condition: &Condition<'_>) {
        self.expr(&condition.left, false);
        if let Some(compare) = &condition.compare {
            self.expr(&compare.right, false);
        }
    }

    fn calc(&mut self, calc: &Calc<'_>) {
        match calc {
            Calc::Number(_) => {}
            Calc::Symbol(symbol) => self.symbol(symbol, false),
            Calc::Operation(left, _, right) => {
                self.calc(left);
                self.calc(right);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.parsed(&Parsed::new(text));
    }

    fn parsed(&mut self, parsed: &Parsed<'_>) {
        let text = parsed.source;
        let mut pos = 0;
        while let Some(hit) = lexer::next(text, pos..text.len()) {
            pos = match hit {
                Hit::Escape { resume, .. } => resume,
                Hit::Tag { at, .. } => match parse_tag(text, at) {
                    // The `else` of a block is no name.
                    Ok((Tag::Else, end)) if parsed.next_part(at).is_some() => end,
                    Ok((tag, end)) => {
                        self.tag(&tag);
                        end
                    }
                    Err(error) => error.resume(at),
                },
            };
        }
    }

    fn tag(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Substitution(expr) => self.expr(expr, false),
            Tag::Calc(calc) => self.calc(calc),
            Tag::If(condition) | Tag::Unless(condition) | Tag::ElseIf(condition) => {
                self.condition(condition);
            }
            Tag::Each { collection, .. } => self.expr(collection, true),
            // Outside a block, `else` is a variable.
            Tag::Else => {
                self.names.insert("else".to_owned());
            }
            Tag::End(_) => {}
        }
    }
}

/// What `text` can reach.
pub fn references(text: &str) -> References {
    let mut references = References::default();
    references.text(text);
    references
}

pub(crate) fn of(parsed: &Parsed<'_>) -> References {
    let mut references = References::default();
    references.parsed(parsed);
    references
}

/// The names, as in `variables`, of everything that `texts` can reach, directly or through the values of the
/// variables they reach.
pub fn closure<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    variables: &Variables,
) -> BTreeSet<String> {
    let known: Vec<(&str, Option<&str>, String)> = variables
        .iter()
        .map(|(name, value)| (name, value, normal(name)))
        .collect();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut by_prefix: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, (_, _, name)) in known.iter().enumerate() {
        by_name.entry(name).or_default().push(index);
        for (at, _) in name.match_indices('[') {
            by_prefix
                .entry(name.get(..at).unwrap_or_default())
                .or_default()
                .push(index);
        }
    }
    let mut reached = vec![false; known.len()];
    let mut todo: Vec<References> = texts.into_iter().map(references).collect();
    while let Some(references) = todo.pop() {
        let exact = references
            .names
            .iter()
            .chain(&references.prefixes)
            .flat_map(|name| beginnings(name))
            .filter_map(|name| by_name.get(name));
        let beneath = references
            .prefixes
            .iter()
            .filter_map(|prefix| by_prefix.get(prefix.as_str()));
        for index in exact.chain(beneath).flatten() {
            let Some(seen) = reached.get_mut(*index) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            if let Some((_, Some(value), _)) = known.get(*index) {
                todo.push(crate::references(value));
            }
        }
    }
    let names = known.iter().zip(reached).filter(|(_, reached)| *reached);
    names.map(|((name, _, _), _)| (*name).to_owned()).collect()
}

/// A name in the spelling that paths are compared in.
fn normal(name: &str) -> String {
    let Some(path) = parse_path(name) else {
        return fold(name);
    };
    let mut references = References::default();
    references.symbol(&path, false);
    references.names.pop_first().unwrap_or_else(|| fold(name))
}

/// A name and the beginnings that it stands for.
fn beginnings(name: &str) -> impl Iterator<Item = &str> {
    let steps = name.match_indices(['.', '[']);
    let shorter = steps.filter_map(|(at, _)| name.get(..at));
    std::iter::once(name).chain(shorter)
}
