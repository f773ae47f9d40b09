//! Reads one tag. Nothing here looks further than the tag itself, recursion is bounded by [`MAX_NESTING`],
//! and no piece is read more than a bounded number of times, so a hostile text costs time linear in its size.

use crate::ast::{Arg, BlockKind, Comparison, Condition, Expr, Filter, Head, Step, Symbol, Tag};
use crate::calc;
use crate::lexer::is_name_char;
use crate::structure;

/// Tags within tags and brackets within brackets; real templates stay below five.
const MAX_NESTING: usize = 16;
/// Steps of a path, filters of a chain, arguments of a filter: each bounded so that a tag stays small.
const MAX_PIECES: usize = 64;
/// How deep an argument of a tag in the text itself is nested.
const ARGUMENT_NESTING: usize = 2;
/// The longest text between brackets.
const MAX_INDEX: usize = 4096;
/// The longest `if` or `each` that may stand as a filter's argument.
const MAX_BLOCK_ARGUMENT: usize = 512;

/// Why a tag cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) at: usize,
    pub(crate) reason: &'static str,
}

impl Syntax {
    /// Where reading goes on after a tag at `at` that cannot be read: what was read of it is text, the tags in
    /// its arguments too.
    pub(crate) fn resume(self, at: usize) -> usize {
        self.at.max(at + "#{".len())
    }
}

type Parse<T> = Result<T, Syntax>;

/// Reads the tag whose `#{` stands at `at`; also says where it ends.
pub(crate) fn parse_tag(source: &str, at: usize) -> Parse<(Tag<'_>, usize)> {
    let mut parser = Parser {
        source,
        pos: at,
        nesting: 0,
    };
    let tag = parser.tag()?;
    Ok((tag, parser.pos))
}

/// The same for a tag inside a block that is an argument: there, no further block may be an argument, or
/// a text full of unfinished ones would be read over and over.
pub(crate) fn parse_inner_tag(source: &str, at: usize) -> Parse<(Tag<'_>, usize)> {
    let mut parser = Parser {
        source,
        pos: at,
        nesting: ARGUMENT_NESTING,
    };
    let tag = parser.tag()?;
    Ok((tag, parser.pos))
}

/// Reads a variable's name as a path; `None` when it is not one (such a variable cannot be referred to).
pub(crate) fn parse_path(name: &str) -> Option<Symbol<'_>> {
    let mut parser = Parser {
        source: name,
        pos: 0,
        nesting: 0,
    };
    let symbol = parser.symbol(Names::Anywhere).ok()?;
    parser.space();
    let constant = symbol
        .steps
        .iter()
        .all(|step| !matches!(step, Step::Dynamic(_)));
    (constant && parser.pos == name.len()).then_some(symbol)
}

/// Where a name stands, which decides where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Anywhere,
    InCalculation,
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    pos: usize,
    nesting: usize,
}

impl<'s> Parser<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.pos..).unwrap_or_default()
    }

    fn slice(&self, from: usize, to: usize) -> &'s str {
        self.source.get(from..to).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn fail<T>(&self, reason: &'static str) -> Parse<T> {
        Err(Syntax {
            at: self.pos,
            reason,
        })
    }

    pub(crate) fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.pos += text.len();
        }
        found
    }

    fn expect(&mut self, text: &str, reason: &'static str) -> Parse<()> {
        if self.eat(text) {
            Ok(())
        } else {
            self.fail(reason)
        }
    }

    pub(crate) fn space(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start().len();
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nesting >= MAX_NESTING {
            return self.fail("tags are nested too deeply");
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    pub(crate) fn nest_calc<T>(&mut self, read: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.nested(read)
    }

    fn tag(&mut self) -> Parse<Tag<'s>> {
        self.expect("#{", "expected '#{'")?;
        if self.eat("/") {
            return self.end_tag();
        }
        let start = self.pos;
        self.space();
        if let Some(keyword) = self.keyword() {
            let tried = self.keyword_tag(keyword);
            let Err(error) = tried else { return tried };
            // A variable may be called 'if you like'.
            self.pos = start;
            return self.substitution().map_err(|_| error);
        }
        self.pos = start;
        self.substitution()
    }

    fn end_tag(&mut self) -> Parse<Tag<'s>> {
        self.space();
        let word = self.word();
        let kind = match word {
            "if" => BlockKind::If,
            "unless" => BlockKind::Unless,
            "each" => BlockKind::Each,
            _ => return self.fail("an end tag is '#{/if}', '#{/unless}' or '#{/each}'"),
        };
        self.space();
        self.expect("}", "expected '}'")?;
        Ok(Tag::End(kind))
    }

    fn word(&mut self) -> &'s str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        self.pos += end;
        rest.get(..end).unwrap_or_default()
    }

    /// A keyword and the white space (for `else`: the brace) that makes it one.
    fn keyword(&mut self) -> Option<&'static str> {
        let start = self.pos;
        let word = self.word();
        let known = ["if", "unless", "elseif", "each", "calc", "else"];
        let keyword = known
            .into_iter()
            .find(|known| word.eq_ignore_ascii_case(known))?;
        let space = self.peek().is_some_and(char::is_whitespace);
        self.space();
        let ends = self.peek() == Some('}');
        if (keyword == "else" && ends) || (keyword != "else" && space && !ends) {
            return Some(keyword);
        }
        self.pos = start;
        None
    }

    fn keyword_tag(&mut self, keyword: &'static str) -> Parse<Tag<'s>> {
        let tag = match keyword {
            "if" => Tag::If(self.condition()?),
            "unless" => Tag::Unless(self.condition()?),
            "elseif" => Tag::ElseIf(self.condition()?),
            "each" => self.each()?,
            "calc" => Tag::Calc(calc::parse(self)?),
            _ => Tag::Else,
        };
        self.space();
        self.expect("}", "expected '}'")?;
        Ok(tag)
    }

    fn substitution(&mut self) -> Parse<Tag<'s>> {
        let expr = self.nested(Self::expression)?;
        self.expect("}", "expected '}'; quote an argument that has other characters than letters, digits and _-:/~()")?;
        Ok(Tag::Substitution(expr))
    }

    fn expression(&mut self) -> Parse<Expr<'s>> {
        self.space();
        let head = if self.peek() == Some('|') {
            Head::Nothing
        } else {
            Head::Symbol(self.symbol(Names::Anywhere)?)
        };
        let filters = self.filters()?;
        Ok(Expr { head, filters })
    }

    fn operand(&mut self) -> Parse<Expr<'s>> {
        self.space();
        if let Some(text) = self.quoted()? {
            let filters = self.filters()?;
            return Ok(Expr {
                head: Head::Literal(text),
                filters,
            });
        }
        self.nested(Self::expression)
    }

    fn condition(&mut self) -> Parse<Condition<'s>> {
        let left = self.operand()?;
        self.space();
        let equal = if self.eat("==") {
            true
        } else if self.eat("!=") {
            false
        } else {
            return Ok(Condition {
                left,
                compare: None,
            });
        };
        let right = self.operand()?;
        Ok(Condition {
            left,
            compare: Some(Comparison { equal, right }),
        })
    }

    fn each(&mut self) -> Parse<Tag<'s>> {
        let reason = "a loop is '#{each item in Collection}'";
        let rest = self.rest();
        let end = rest
            .find(|c: char| !is_name_char(c) && !c.is_whitespace())
            .unwrap_or(rest.len());
        let header = rest.get(..end).unwrap_or_default();
        let Some(split) = in_keyword(header) else {
            return self.fail(reason);
        };
        let name = header.get(..split).unwrap_or_default().trim();
        if name.is_empty() {
            return self.fail(reason);
        }
        self.pos += split;
        self.space();
        self.pos += "in".len();
        let collection = self.nested(Self::expression)?;
        Ok(Tag::Each { name, collection })
    }

    fn filters(&mut self) -> Parse<Vec<Filter<'s>>> {
        let mut filters = Vec::new();
        loop {
            self.space();
            if !self.eat("|") {
                return Ok(filters);
            }
            if filters.len() == MAX_PIECES {
                return self.fail("too many filters");
            }
            self.space();
            let name = self.bare();
            if name.is_empty() {
                return self.fail("expected the name of a filter after '|'");
            }
            filters.push(Filter {
                name,
                args: self.arguments()?,
            });
        }
    }

    fn bare(&mut self) -> &'s str {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        self.pos += end;
        rest.get(..end).unwrap_or_default()
    }

    fn arguments(&mut self) -> Parse<Vec<Arg<'s>>> {
        let mut args = Vec::new();
        loop {
            self.space();
            if args.len() > MAX_PIECES {
                return self.fail("too many arguments");
            }
            if let Some(text) = self.quoted()? {
                args.push(Arg::Text(text));
            } else if self.rest().starts_with("#{") {
                args.push(self.nested(Self::template_argument)?);
            } else {
                let text = self.bare();
                if text.is_empty() {
                    return Ok(args);
                }
                args.push(Arg::Text(text));
            }
        }
    }

    /// A tag as an argument, or a whole `if` or `each` with its end.
    fn template_argument(&mut self) -> Parse<Arg<'s>> {
        let start = self.pos;
        match self.tag()? {
            Tag::Substitution(_) | Tag::Calc(_) => {}
            Tag::If(_) | Tag::Unless(_) | Tag::Each { .. } if self.nesting == ARGUMENT_NESTING => {
                let mut limit = (start + MAX_BLOCK_ARGUMENT).min(self.source.len());
                while !self.source.is_char_boundary(limit) {
                    limit -= 1;
                }
                let Some(end) = structure::block_end(self.slice(start, limit)) else {
                    self.pos = start;
                    return self.fail("the block that is an argument here has no end");
                };
                self.pos = start + end;
            }
            _ => {
                self.pos = start;
                return self.fail("this tag cannot be an argument");
            }
        }
        Ok(Arg::Template(self.slice(start, self.pos)))
    }

    /// `"text"`, or `\"text\"` as it looks inside JSON.
    fn quoted(&mut self) -> Parse<Option<&'s str>> {
        if self.eat("\\\"") {
            let rest = self.rest();
            let Some(end) = rest.find("\\\"") else {
                return self.fail("a quote is not closed");
            };
            self.pos += end + 2;
            return Ok(rest.get(..end));
        }
        if !self.eat("\"") {
            return Ok(None);
        }
        let rest = self.rest();
        let mut from = 0;
        loop {
            let Some(found) = rest.get(from..).and_then(|tail| tail.find(['"', '#'])) else {
                return self.fail("a quote is not closed");
            };
            let at = from + found;
            match rest.as_bytes().get(at..at + 2) {
                Some(b"#{") => {
                    return self.fail("a tag cannot stand inside quotes; write it without them");
                }
                _ if rest.as_bytes().get(at) == Some(&b'"') => {
                    self.pos += at + 1;
                    return Ok(rest.get(..at));
                }
                _ => from = at + 1,
            }
        }
    }

    /// A path.
    pub(crate) fn symbol(&mut self, names: Names) -> Parse<Symbol<'s>> {
        let mut steps = vec![Step::Name(self.name(names)?)];
        loop {
            if steps.len() > MAX_PIECES {
                return self.fail("too many steps in a name");
            }
            if self.eat(".") {
                steps.push(Step::Name(self.name(names)?));
            } else if self.rest().starts_with('[') {
                steps.push(self.nested(Self::index)?);
            } else {
                return Ok(Symbol { steps });
            }
        }
    }

    fn name(&mut self, names: Names) -> Parse<&'s str> {
        let rest = self.rest();
        let mut end = rest
            .find(|c: char| !is_name_char(c) && !c.is_whitespace())
            .unwrap_or(rest.len());
        if names == Names::InCalculation {
            end = calc::name_end(rest.get(..end).unwrap_or_default());
        }
        let name = rest.get(..end).unwrap_or_default().trim();
        if name.is_empty() {
            return self.fail("expected a name");
        }
        self.pos += end;
        Ok(name)
    }

    pub(crate) fn number(&mut self) -> Option<f64> {
        let rest = self.rest();
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let tail = rest.get(whole..).unwrap_or_default();
        let fraction = tail.strip_prefix('.').map_or(0, |digits| {
            digits.bytes().take_while(u8::is_ascii_digit).count()
        });
        let end = if fraction > 0 {
            whole + 1 + fraction
        } else {
            whole
        };
        let value = rest
            .get(..end)
            .filter(|_| whole > 0)
            .and_then(|text| text.parse().ok())?;
        self.pos += end;
        Some(value)
    }

    fn index(&mut self) -> Parse<Step<'s>> {
        self.expect("[", "expected '['")?;
        let start = self.pos;
        self.space();
        if self.rest().starts_with("#{") {
            if let Ok(Tag::Substitution(expr)) = self.tag() {
                self.space();
                if self.eat("]") {
                    return Ok(Step::Dynamic(Box::new(expr)));
                }
            }
            self.pos = start;
        }
        self.literal_index()
    }

    /// Text up to the bracket that closes it; brackets inside belong to it (`container[0]`).
    fn literal_index(&mut self) -> Parse<Step<'s>> {
        let rest = self.rest();
        let mut open = 0_usize;
        for (at, byte) in rest.bytes().enumerate().take(MAX_INDEX) {
            match byte {
                b'[' if open == MAX_NESTING => break,
                b'[' => open += 1,
                b']' if open == 0 => {
                    self.pos += at + 1;
                    return Ok(Step::Index(rest.get(..at).unwrap_or_default().trim()));
                }
                b']' => open -= 1,
                _ => {}
            }
        }
        self.fail("expected ']'")
    }
}

/// Where ` in ` begins in the header of a loop.
fn in_keyword(header: &str) -> Option<usize> {
    header
        .char_indices()
        .filter(|(_, c)| c.is_whitespace())
        .find_map(|(at, space)| {
            let tail = header.get(at + space.len_utf8()..)?;
            let word = tail.get(..2)?;
            let after = tail.get(2..)?.chars().next();
            // After 'in' a space, or the end of what names are made of.
            (word.eq_ignore_ascii_case("in") && after.is_none_or(char::is_whitespace)).then_some(at)
        })
}
