//! The public face: a template, what it is rendered with, and what comes out.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::evaluate::Evaluator;
use crate::lexer;
use crate::problem::{Error, Log, Problem, ProblemKind};
use crate::references::{self, References};
use crate::structure::Parsed;
use crate::variables::Variables;

/// What rendering may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest result in bytes. A template larger than this may still grow to twice its size.
    pub output_bytes: usize,
    /// Units of work: a tag, a turn of a loop, a few dozen bytes handled by a filter.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // A million tokens with a few filters each fit; an endless expansion ends within seconds.
        Self {
            output_bytes: 64 << 20,
            steps: 20_000_000,
        }
    }
}

/// What rendering depends on besides text and variables.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time that `NowDate` and `NowDateUtc` print.
    pub now: Timestamp,
    /// The local time's distance from UTC, for `NowDate` and for dates without an offset.
    pub offset: Offset,
    /// Whether anything unresolved is an error.
    pub strict: bool,
    /// What it may cost.
    pub limits: Limits,
}

impl Options {
    /// Lenient, in UTC.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            offset: Offset::UTC,
            strict: false,
            limits: Limits::default(),
        }
    }

    /// The same, but anything that cannot be evaluated is an error that names the token and its place.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

/// The result of rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered<'t> {
    /// The text; borrowed from the template if it has no tags.
    pub text: Cow<'t, str>,
    /// What was left as it was, in the order of the template, each token once.
    pub problems: Vec<Problem>,
    /// How many further problems were met but not kept.
    pub more_problems: usize,
    /// Whether the `Null` filter was evaluated: the original then has no result at all rather than a text.
    pub null: bool,
    /// How much work it was, in the units of [`Limits::steps`].
    pub steps: u64,
    /// The variables that were read of which the values only stand in ([`Variables::stand_in`]).
    pub hidden: Vec<String>,
}

impl Rendered<'_> {
    /// The tokens that are well-formed but could not be evaluated.
    pub fn unresolved(&self) -> impl Iterator<Item = &str> {
        let unresolved = |kind: &ProblemKind| {
            matches!(
                kind,
                ProblemKind::Missing
                    | ProblemKind::UnknownFilter { .. }
                    | ProblemKind::FilterFailed { .. }
                    | ProblemKind::NoAnswer
            )
        };
        self.problems
            .iter()
            .filter(move |problem| unresolved(&problem.kind))
            .map(|problem| problem.token.as_str())
    }

    /// The first problem that is more than an unresolved token: a tag that cannot be read, or variables that
    /// refer to themselves.
    pub fn first_error(&self) -> Option<&Problem> {
        let error = |kind: &ProblemKind| {
            matches!(
                kind,
                ProblemKind::Syntax { .. }
                    | ProblemKind::Recursion { .. }
                    | ProblemKind::TooDeep { .. }
            )
        };
        self.problems.iter().find(|problem| error(&problem.kind))
    }

    /// Whether everything was evaluated.
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A text whose blocks have been paired. Parsing never fails: what is not a tag is text, and listed by
/// [`problems`](Self::problems).
#[derive(Debug, Clone)]
pub struct Template<'t> {
    parsed: Parsed<'t>,
}

impl<'t> Template<'t> {
    /// Reads the structure of `source`, which it borrows.
    pub fn parse(source: &'t str) -> Self {
        Self {
            parsed: Parsed::new(source),
        }
    }

    /// The text it was made from.
    pub fn source(&self) -> &'t str {
        self.parsed.source
    }

    /// Whether it renders to itself whatever the variables are.
    pub fn is_literal(&self) -> bool {
        lexer::is_plain(self.parsed.source)
    }

    /// The places that cannot be read as tags.
    pub fn problems(&self) -> Vec<Problem> {
        let mut log = Log::default();
        self.log_errors(&mut log);
        log.finish(self.parsed.source)
    }

    /// Which variables it can reach by itself; see [`crate::closure`] for what these reach in turn.
    pub fn references(&self) -> References {
        references::of(&self.parsed)
    }

    /// Renders it.
    pub fn render(&self, variables: &Variables, options: &Options) -> Result<Rendered<'t>, Error> {
        let source = self.parsed.source;
        if self.is_literal() {
            return Ok(Rendered {
                text: Cow::Borrowed(source),
                problems: Vec::new(),
                more_problems: 0,
                null: false,
                steps: 0,
                hidden: Vec::new(),
            });
        }
        let mut log = Log::default();
        self.log_errors(&mut log);
        let outcome = Evaluator::new(variables, options, log, source.len()).run(&self.parsed)?;
        let problems = outcome.log.finish(source);
        if options.strict
            && let Some(first) = problems.first()
        {
            return Err(first.clone().into());
        }
        Ok(Rendered {
            text: Cow::Owned(outcome.text),
            problems,
            more_problems: outcome.more,
            null: outcome.null,
            steps: outcome.steps,
            hidden: outcome.hidden,
        })
    }

    /// Renders it and gives the result to `write` piece by piece, so that never all of it is in memory; the text
    /// that is returned is empty. Where there is an error, what was finished before it has been written.
    pub fn render_to(
        &self,
        variables: &Variables,
        options: &Options,
        write: &mut dyn FnMut(&str),
    ) -> Result<Rendered<'static>, Error> {
        let source = self.parsed.source;
        let mut log = Log::default();
        self.log_errors(&mut log);
        let outcome = Evaluator::new(variables, options, log, source.len())
            .to(write)
            .run(&self.parsed)?;
        let problems = outcome.log.finish(source);
        if options.strict
            && let Some(first) = problems.first()
        {
            return Err(first.clone().into());
        }
        Ok(Rendered {
            text: Cow::Borrowed(""),
            problems,
            more_problems: outcome.more,
            null: outcome.null,
            steps: outcome.steps,
            hidden: outcome.hidden,
        })
    }

    fn log_errors(&self, log: &mut Log) {
        for error in &self.parsed.errors {
            let token = self
                .parsed
                .source
                .get(error.start..error.end)
                .unwrap_or_default();
            log.add(
                ProblemKind::Syntax {
                    reason: error.reason.to_owned(),
                },
                token,
                error.start,
            );
        }
        log.more += self.parsed.more_errors;
    }
}

/// Renders `text`: [`Template::parse`] and [`Template::render`] in one.
pub fn render<'t>(
    text: &'t str,
    variables: &Variables,
    options: &Options,
) -> Result<Rendered<'t>, Error> {
    Template::parse(text).render(variables, options)
}

/// Work that several renderings share: each may take what the ones before have left, so that many texts
/// together are bounded like one.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So many units of [`Limits::steps`].
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Renders `text` with what is left. What hits a limit takes all that it was allowed.
    pub fn render<'t>(
        &mut self,
        text: &'t str,
        variables: &Variables,
        options: &Options,
    ) -> Result<Rendered<'t>, Error> {
        let mut options = options.clone();
        options.limits.steps = options.limits.steps.min(self.left);
        let allowed = options.limits.steps;
        let result = render(text, variables, &options);
        let used = match &result {
            Ok(rendered) => rendered.steps,
            Err(Error::TooMuchWork { .. } | Error::TooLarge { .. }) => allowed,
            // It was evaluated to its end; how much that was is not known, so it is counted as its size.
            Err(_) => text.len() as u64,
        };
        self.left = self.left.saturating_sub(used);
        result
    }
}

/// What counts as true: everything but the empty text, `0`, `no` and `false` (the words in any case, with or
/// without white space around them).
pub fn is_truthy(text: &str) -> bool {
    let word = text.trim();
    !(text.is_empty()
        || text == "0"
        || word.eq_ignore_ascii_case("no")
        || word.eq_ignore_ascii_case("false"))
}
