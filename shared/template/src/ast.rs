//! What one tag says. Every piece borrows from the template's text, and a tag lives only while it is being
//! evaluated: a file with a million tokens never has a tree of a million nodes in memory.

/// One `#{...}`.
#[derive(Debug)]
pub(crate) enum Tag<'s> {
    Substitution(Expr<'s>),
    Calc(Calc<'s>),
    If(Condition<'s>),
    Unless(Condition<'s>),
    ElseIf(Condition<'s>),
    Else,
    Each { name: &'s str, collection: Expr<'s> },
    End(BlockKind),
}

/// The constructs that have a body and an end tag of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    If,
    Unless,
    Each,
}

/// A value and the filters it goes through.
#[derive(Debug)]
pub(crate) struct Expr<'s> {
    pub(crate) head: Head<'s>,
    pub(crate) filters: Vec<Filter<'s>>,
}

/// Where a chain of filters starts.
#[derive(Debug)]
pub(crate) enum Head<'s> {
    /// `#{ | NowDate}`
    Nothing,
    Symbol(Symbol<'s>),
    /// A quoted operand of a comparison.
    Literal(&'s str),
}

/// A dotted and indexed path.
#[derive(Debug)]
pub(crate) struct Symbol<'s> {
    pub(crate) steps: Vec<Step<'s>>,
}

#[derive(Debug)]
pub(crate) enum Step<'s> {
    Name(&'s str),
    Index(&'s str),
    /// `[#{...}]`
    Dynamic(Box<Expr<'s>>),
}

#[derive(Debug)]
pub(crate) struct Filter<'s> {
    pub(crate) name: &'s str,
    pub(crate) args: Vec<Arg<'s>>,
}

#[derive(Debug)]
pub(crate) enum Arg<'s> {
    Text(&'s str),
    /// A whole tag or block; its text is rendered as a template of its own.
    Template(&'s str),
}

#[derive(Debug)]
pub(crate) struct Condition<'s> {
    pub(crate) left: Expr<'s>,
    pub(crate) compare: Option<Comparison<'s>>,
}

#[derive(Debug)]
pub(crate) struct Comparison<'s> {
    pub(crate) equal: bool,
    pub(crate) right: Expr<'s>,
}

/// A calculation. The parser bounds its size, so dropping it cannot exhaust the stack.
#[derive(Debug)]
pub(crate) enum Calc<'s> {
    Number(f64),
    Symbol(Symbol<'s>),
    Operation(Box<Calc<'s>>, Operator, Box<Calc<'s>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}
