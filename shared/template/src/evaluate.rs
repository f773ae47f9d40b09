//! Walks over a template and writes its result.
//!
//! Tags are read again where they stand, so that nothing is kept of a template but the text. Recursion happens
//! in values, blocks and arguments only; all three count against [`MAX_DEPTH`].

use std::borrow::Cow;

use crate::ast::{Arg, Condition, Expr, Filter, Head, Symbol, Tag};
use crate::calc;
use crate::filters::{self, Outcome};
use crate::lexer::{self, Hit};
use crate::number;
use crate::parser::parse_tag;
use crate::problem::{Error, Log, ProblemKind};
use crate::resolve::{Active, Scope};
use crate::stand_in::{Hidden, Mark};
use crate::structure::Parsed;
use crate::template::Options;
use crate::variables::Variables;

/// Values in values, blocks in blocks, templates in arguments. Each level takes a few KiB of stack.
pub(crate) const MAX_DEPTH: usize = 96;

/// Why evaluation of a token, or of everything, stops.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A loop or too deep a chain: the outermost token is left as it was.
    Loop(ProblemKind),
    /// A limit: there is no result.
    Limit(Error),
}

pub(crate) type Eval<T> = Result<T, Halt>;

/// The work that is left.
#[derive(Debug)]
pub(crate) struct Fuel {
    left: u64,
    limit: u64,
}

impl Fuel {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// What was charged so far.
    pub(crate) fn used(&self) -> u64 {
        self.limit - self.left
    }

    pub(crate) fn charge(&mut self, steps: u64) -> Eval<()> {
        let Some(left) = self.left.checked_sub(steps) else {
            return Err(Halt::Limit(Error::TooMuchWork { limit: self.limit }));
        };
        self.left = left;
        Ok(())
    }

    /// Charges for looking through `bytes` bytes.
    pub(crate) fn charge_scan(&mut self, bytes: usize) -> Eval<()> {
        self.charge(bytes as u64 / 1024)
    }

    /// Charges for handling `bytes` bytes.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Eval<()> {
        self.charge(1 + bytes as u64 / 64)
    }

    /// Charges for reading `bytes` bytes as JSON, byte by byte: several times the work of copying them.
    pub(crate) fn charge_parse(&mut self, bytes: usize) -> Eval<()> {
        self.charge(1 + bytes as u64 / 16)
    }
}

/// Where finished pieces of the result go. What is written cannot be taken back: only the text of a tag can, and
/// a piece ends with a tag.
pub(crate) type Sink<'v> = &'v mut dyn FnMut(&str);

/// The size of a piece: large beside the cost of writing it, small beside a result that matters. In tests pieces
/// are small, so that small templates have several.
const PIECE: usize = if cfg!(test) { 16 } else { 64 * 1024 };

/// One rendering.
pub(crate) struct Evaluator<'v> {
    pub(crate) variables: &'v Variables,
    options: &'v Options,
    pub(crate) fuel: Fuel,
    max_output: usize,
    log: Log,
    /// The values that are being evaluated, outermost first.
    pub(crate) stack: Vec<Active>,
    depth: usize,
    /// Above zero inside values and arguments, where a place in the text is not a place in the template.
    pub(crate) level: usize,
    /// Above zero while problems do not count.
    pub(crate) quiet: usize,
    at: usize,
    /// Why the expression at hand has no value, if it is not simply missing.
    reason: Option<ProblemKind>,
    null: bool,
    pub(crate) hidden: Hidden,
    sink: Option<Sink<'v>>,
    /// How much has gone there.
    written: usize,
}

/// What a rendering leaves behind.
pub(crate) struct Done {
    pub(crate) text: String,
    pub(crate) more: usize,
    pub(crate) log: Log,
    pub(crate) null: bool,
    pub(crate) steps: u64,
    /// The variables with stand-ins that were read.
    pub(crate) hidden: Vec<String>,
}

impl<'v> Evaluator<'v> {
    pub(crate) fn new(
        variables: &'v Variables,
        options: &'v Options,
        log: Log,
        size: usize,
    ) -> Self {
        Self {
            variables,
            options,
            fuel: Fuel::new(options.limits.steps),
            max_output: options.limits.output_bytes.max(size.saturating_mul(2)),
            log,
            stack: Vec::new(),
            depth: 0,
            level: 0,
            quiet: 0,
            at: 0,
            reason: None,
            null: false,
            hidden: Hidden::default(),
            sink: None,
            written: 0,
        }
    }

    /// Lets the result go out piece by piece.
    pub(crate) fn to(mut self, sink: Sink<'v>) -> Self {
        self.sink = Some(sink);
        self
    }

    pub(crate) fn run(mut self, template: &Parsed<'_>) -> Result<Done, Error> {
        let size = template.source.len();
        if self.variables.has_stand_ins() {
            template.source.clone_into(&mut self.hidden.template);
        }
        let mut text = match self.sink {
            Some(_) => String::new(),
            None => String::with_capacity(size + size / 16),
        };
        match self.range(template, 0..size, &None, &mut text) {
            Ok(()) => {}
            Err(Halt::Limit(error)) => return Err(error),
            // Tokens of the template itself catch these; keep the text if one ever slips through.
            Err(Halt::Loop(kind)) => self.problem(kind, template.source),
        }
        self.flush(&mut text);
        Ok(Done {
            text,
            more: self.log.more,
            log: self.log,
            null: self.null,
            steps: self.fuel.used(),
            hidden: self.hidden.names(self.variables),
        })
    }

    /// Evaluates `template[range]` onto `out`.
    pub(crate) fn range(
        &mut self,
        template: &Parsed<'_>,
        range: std::ops::Range<usize>,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let source = template.source;
        let mut pos = range.start;
        while let Some(hit) = lexer::next(source, pos..range.end) {
            match hit {
                Hit::Escape { text_end, resume } => {
                    self.push(out, slice(source, pos, text_end))?;
                    self.push(out, "{")?;
                    pos = resume;
                }
                Hit::Tag { text_end, at } => {
                    self.push(out, slice(source, pos, text_end))?;
                    pos = self.tag(template, at, scope, out)?;
                    if self.level == 0 && out.len() >= PIECE {
                        self.flush(out);
                    }
                }
            }
        }
        self.push(out, slice(source, pos, range.end))
    }

    fn push(&mut self, out: &mut String, text: &str) -> Eval<()> {
        let is_result = self.level == 0;
        let written = if is_result { self.written } else { 0 };
        self.fits(written.saturating_add(out.len()).saturating_add(text.len()))?;
        if is_result && self.sink.is_some() && text.len() >= PIECE {
            self.flush(out);
            self.write(text);
        } else {
            out.push_str(text);
        }
        Ok(())
    }

    /// Lets go of what is finished of the result, if somebody takes it.
    fn flush(&mut self, out: &mut String) {
        if self.sink.is_some() {
            self.write(out);
            out.clear();
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(sink) = &mut self.sink {
            sink(text);
            self.written += text.len();
        }
    }

    /// Nothing that exists meanwhile may be larger than a result.
    fn fits(&self, bytes: usize) -> Eval<()> {
        if bytes > self.max_output {
            return Err(Halt::Limit(Error::TooLarge {
                limit: self.max_output,
            }));
        }
        Ok(())
    }

    /// Counts a level of recursion while `work` is done.
    pub(crate) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        if self.depth >= MAX_DEPTH {
            let chain = self
                .stack
                .iter()
                .map(|active| active.shown.clone())
                .collect();
            return Err(Halt::Loop(ProblemKind::TooDeep { chain }));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// The same, for a text that is not the template's own.
    pub(crate) fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        self.level += 1;
        let result = self.deeper(work);
        self.level -= 1;
        result
    }

    /// Runs `work` without noting its problems.
    pub(crate) fn quietly<T>(&mut self, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        self.quiet += 1;
        let result = work(self);
        self.quiet -= 1;
        result
    }

    pub(crate) fn problem(&mut self, kind: ProblemKind, token: &str) {
        if self.quiet == 0 {
            self.log.add(kind, token, self.at);
        }
    }

    /// Evaluates the tag at `at` and says where to go on.
    fn tag(
        &mut self,
        template: &Parsed<'_>,
        at: usize,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<usize> {
        let source = template.source;
        let (tag, end) = match parse_tag(source, at) {
            Ok(read) => read,
            // As far as it could be read it stays as it was.
            Err(error) => {
                let resume = error.resume(at);
                self.push(out, slice(source, at, resume))?;
                return Ok(resume);
            }
        };
        self.fuel.charge(1)?;
        if self.level == 0 {
            self.at = at;
        }
        let before = self.written + out.len();
        let result = self.evaluate_tag(template, &tag, at..end, scope, out);
        match result {
            Err(Halt::Loop(kind)) if self.level == 0 => {
                // Only what belongs to this tag goes; a block is left as a whole.
                out.truncate(before.saturating_sub(self.written));
                self.at = at;
                let end = block_end(template, &tag, at, end);
                self.problem(kind, slice(source, at, tag_end(source, at, end)));
                self.push(out, slice(source, at, end))?;
                Ok(end)
            }
            other => other,
        }
    }

    fn evaluate_tag(
        &mut self,
        template: &Parsed<'_>,
        tag: &Tag<'_>,
        range: std::ops::Range<usize>,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<usize> {
        let token = slice(template.source, range.start, range.end);
        match tag {
            Tag::Substitution(expr) => self.substitution(expr, token, scope, out)?,
            Tag::Calc(expression) => self.calculation(expression, token, scope, out)?,
            // Outside a block it is a variable of that name.
            Tag::Else => self.substitution(&named("else"), token, scope, out)?,
            Tag::ElseIf(_) | Tag::End(_) => self.push(out, token)?,
            Tag::If(_) | Tag::Unless(_) | Tag::Each { .. } => {
                if template.next_part(range.start).is_none() {
                    self.push(out, token)?;
                    return Ok(range.end);
                }
                return self.block(template, tag, range, scope, out);
            }
        }
        Ok(range.end)
    }

    fn substitution(
        &mut self,
        expr: &Expr<'_>,
        token: &str,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let before = self.hidden.now();
        let value = self.expr(expr, scope)?;
        let hangs = if expr.filters.is_empty() {
            self.hidden.bent_since(before)
        } else {
            self.hidden.read_since(before)
        };
        if hangs && !self.is_unknown_filter() {
            return self.made(before, token, out);
        }
        if let Some(value) = value {
            self.fuel.charge_bytes(value.len())?;
            return self.push(out, &value);
        }
        if expr
            .filters
            .last()
            .is_some_and(|filter| lexer::same_name(filter.name, "null"))
        {
            self.null |= self.quiet == 0;
            return Ok(());
        }
        let kind = self.reason.take().unwrap_or(ProblemKind::Missing);
        self.problem(kind, token);
        self.push(out, token)
    }

    fn calculation(
        &mut self,
        expression: &crate::ast::Calc<'_>,
        token: &str,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let before = self.hidden.now();
        let value = calc::evaluate(
            expression,
            &mut |symbol: &Symbol<'_>| -> Eval<Option<f64>> {
                Ok(self
                    .symbol(symbol, scope)?
                    .and_then(|value| number::parse(&value)))
            },
        )?;
        if self.hidden.read_since(before) {
            return self.made(before, token, out);
        }
        if let Some(value) = value {
            return self.push(out, &number::shortest(value));
        }
        self.problem(ProblemKind::NoAnswer, token);
        self.push(out, "#{")?;
        self.push(out, &calc::shown(expression))?;
        self.push(out, "}")
    }

    /// Evaluates the block that opens with `tag`, which is known to be closed, and says where it ends.
    fn block(
        &mut self,
        template: &Parsed<'_>,
        tag: &Tag<'_>,
        head: std::ops::Range<usize>,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<usize> {
        let end = close(template, head.start);
        // Finding the end hops over all parts, which may be many and in a loop.
        self.fuel.charge((end - head.start) as u64 / 128)?;
        if let Tag::Each { name, collection } = tag {
            let body = head.end..template.next_part(head.start).unwrap_or(end);
            let block = head.start..end;
            self.each(template, name, collection, (block, body), scope, out)?;
        } else {
            self.branches(template, tag, head, end, scope, out)?;
        }
        Ok(end)
    }

    /// Evaluates the first branch whose condition holds. The branches are read one after the other: of a block
    /// with a million of them nothing is kept.
    fn branches(
        &mut self,
        template: &Parsed<'_>,
        first: &Tag<'_>,
        head: std::ops::Range<usize>,
        end: usize,
        scope: &Scope,
        out: &mut String,
    ) -> Eval<()> {
        let source = template.source;
        let mut later = None;
        let (mut at, mut body) = (head.start, head.end);
        while let Some(next) = template.next_part(at) {
            self.fuel.charge(1)?;
            let before = self.hidden.now();
            let holds = match later.as_ref().unwrap_or(first) {
                Tag::If(condition) | Tag::ElseIf(condition) => self.condition(condition, scope)?,
                Tag::Unless(condition) => self.condition(condition, scope)?.map(|holds| !holds),
                Tag::Else
                | Tag::Substitution(_)
                | Tag::Calc(_)
                | Tag::Each { .. }
                | Tag::End(_) => Some(true),
            };
            if self.hidden.read_since(before) && !self.is_unknown_filter() {
                return self.made(before, slice(source, head.start, end), out);
            }
            match holds {
                Some(true) => {
                    return self.deeper(|this| this.range(template, body..next, scope, out));
                }
                Some(false) => {}
                None => {
                    let kind = self.reason.take().unwrap_or(ProblemKind::Missing);
                    self.problem(kind, slice(source, head.start, head.end));
                    return self.push(out, slice(source, head.start, end));
                }
            }
            let Ok((tag, tag_end)) = parse_tag(source, next) else {
                return Ok(());
            };
            later = Some(tag);
            (at, body) = (next, tag_end);
        }
        Ok(())
    }

    /// Whether a condition holds; `None` if a filter in it has no value.
    fn condition(&mut self, condition: &Condition<'_>, scope: &Scope) -> Eval<Option<bool>> {
        let Some(left) = self.operand(&condition.left, scope)? else {
            return Ok(None);
        };
        let Some(compare) = &condition.compare else {
            return Ok(Some(crate::is_truthy(&left)));
        };
        let Some(right) = self.operand(&compare.right, scope)? else {
            return Ok(None);
        };
        Ok(Some((left == right) == compare.equal))
    }

    /// A missing name is empty here; a filter without a value is not.
    fn operand(&mut self, expr: &Expr<'_>, scope: &Scope) -> Eval<Option<Cow<'v, str>>> {
        let value = self.expr(expr, scope)?;
        Ok(if expr.filters.is_empty() {
            Some(value.unwrap_or_default())
        } else {
            value
        })
    }

    /// The value of an expression; without one, `reason` may say more.
    pub(crate) fn expr(&mut self, expr: &Expr<'_>, scope: &Scope) -> Eval<Option<Cow<'v, str>>> {
        self.filtered(&expr.head, &expr.filters, scope)
    }

    /// The same, of an expression's head and some of its filters.
    pub(crate) fn filtered(
        &mut self,
        head: &Head<'_>,
        filters: &[Filter<'_>],
        scope: &Scope,
    ) -> Eval<Option<Cow<'v, str>>> {
        self.reason = None;
        let mut value = match head {
            Head::Nothing => None,
            Head::Literal(text) => Some(Cow::Owned((*text).to_owned())),
            Head::Symbol(symbol) => self.symbol(symbol, scope)?,
        };
        for filter in filters {
            let missing = value.is_none() && matches!(head, Head::Symbol(_));
            value = self.filter(filter, value, missing, scope)?;
        }
        Ok(value)
    }

    fn filter(
        &mut self,
        filter: &Filter<'_>,
        value: Option<Cow<'v, str>>,
        missing: bool,
        scope: &Scope,
    ) -> Eval<Option<Cow<'v, str>>> {
        let before = self.reason.take();
        let mut args = Vec::with_capacity(filter.args.len());
        let mut size = value.as_ref().map_or(0, |value| value.len());
        for arg in &filter.args {
            let arg = self.argument(arg, scope)?;
            size += arg.len();
            self.fits(size)?;
            args.push(arg);
        }
        self.fuel.charge_bytes(size)?;
        let call = filters::Call {
            input: value.as_deref(),
            args: &args,
            options: self.options,
        };
        let outcome = filters::call(filter.name, &call, &mut self.fuel)?;
        let name = filter.name.to_owned();
        let reason = match outcome {
            Outcome::Value(text) => {
                self.fits(text.len())?;
                return Ok(Some(Cow::Owned(text)));
            }
            Outcome::Nothing => return Ok(None),
            Outcome::Unknown => ProblemKind::UnknownFilter { filter: name },
            Outcome::Failed(_) if missing => ProblemKind::Missing,
            Outcome::Failed(reason) => ProblemKind::FilterFailed {
                filter: name,
                reason: reason.into_owned(),
            },
        };
        // The first failure of a chain is the one to tell.
        self.reason = before.or(Some(reason));
        Ok(None)
    }

    /// The expression at hand has no value whatever its variables are.
    fn is_unknown_filter(&self) -> bool {
        matches!(self.reason, Some(ProblemKind::UnknownFilter { .. }))
    }

    /// Writes what stands in the place of what `token` comes to, which hangs on values that are not known.
    pub(crate) fn made(&mut self, before: Mark, token: &str, out: &mut String) -> Eval<()> {
        self.reason = None;
        self.fuel.charge(self.variables.len() as u64)?;
        let made = self.hidden.made(self.variables, before, token);
        self.fuel.charge_bytes(self.hidden.recipe_bytes())?;
        self.push(out, &made)
    }

    fn argument(&mut self, arg: &Arg<'_>, scope: &Scope) -> Eval<String> {
        let text = match arg {
            Arg::Text(text) => return Ok((*text).to_owned()),
            Arg::Template(text) => *text,
        };
        let mut out = String::new();
        self.nested(|this| this.range(&Parsed::new(text), 0..text.len(), scope, &mut out))?;
        self.reason = None;
        Ok(out)
    }
}

/// Where the closed block at `at` ends.
fn close(template: &Parsed<'_>, at: usize) -> usize {
    let mut last = at;
    while let Some(next) = template.next_part(last) {
        last = next;
    }
    tag_end(template.source, last, last)
}

/// Where the construct at `at` ends: the block if the tag opens one that is closed, the tag otherwise.
fn block_end(template: &Parsed<'_>, tag: &Tag<'_>, at: usize, end: usize) -> usize {
    let opens = matches!(tag, Tag::If(_) | Tag::Unless(_) | Tag::Each { .. });
    if opens && template.next_part(at).is_some() {
        close(template, at)
    } else {
        end
    }
}

fn tag_end(source: &str, at: usize, otherwise: usize) -> usize {
    parse_tag(source, at).map_or(otherwise, |(_, end)| end)
}

fn named(name: &str) -> Expr<'_> {
    let symbol = Symbol {
        steps: vec![crate::ast::Step::Name(name)],
    };
    Expr {
        head: Head::Symbol(symbol),
        filters: Vec::new(),
    }
}

fn slice(source: &str, from: usize, to: usize) -> &str {
    source.get(from..to).unwrap_or_default()
}
