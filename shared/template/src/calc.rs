//! `#{calc A * (B + 2)}`: numbers and variables with `+ - * / %` and parentheses.
//!
//! A name may hold `-`, `/` and white space, so an operator after a bare name needs white space on both sides
//! (`A - B`) or braces around the name (`{A}-B`); `A-B` is the variable of that name.

use crate::ast::{Arg, Calc, Expr, Head, Operator, Step, Symbol};
use crate::number;
use crate::parser::{Names, Parser, Syntax};

/// Keeps the tree small enough to be walked and dropped by recursion.
const MAX_OPERATIONS: usize = 128;

/// Reads an expression.
pub(crate) fn parse<'s>(parser: &mut Parser<'s>) -> Result<Calc<'s>, Syntax> {
    let mut budget = MAX_OPERATIONS;
    sum(parser, &mut budget)
}

fn sum<'s>(parser: &mut Parser<'s>, budget: &mut usize) -> Result<Calc<'s>, Syntax> {
    let operators = [("+", Operator::Add), ("-", Operator::Subtract)];
    chain(parser, budget, &operators, product)
}

fn product<'s>(parser: &mut Parser<'s>, budget: &mut usize) -> Result<Calc<'s>, Syntax> {
    let operators = [
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Modulo),
    ];
    chain(parser, budget, &operators, operand)
}

type Read<'s> = fn(&mut Parser<'s>, &mut usize) -> Result<Calc<'s>, Syntax>;

fn chain<'s>(
    parser: &mut Parser<'s>,
    budget: &mut usize,
    operators: &[(&str, Operator)],
    read: Read<'s>,
) -> Result<Calc<'s>, Syntax> {
    let mut left = read(parser, budget)?;
    loop {
        parser.space();
        let Some((_, operator)) = operators.iter().find(|(sign, _)| parser.eat(sign)) else {
            return Ok(left);
        };
        if *budget == 0 {
            return parser.fail("the calculation is too long");
        }
        *budget -= 1;
        left = Calc::Operation(Box::new(left), *operator, Box::new(read(parser, budget)?));
    }
}

fn operand<'s>(parser: &mut Parser<'s>, budget: &mut usize) -> Result<Calc<'s>, Syntax> {
    parser.space();
    if let Some(number) = parser.number() {
        return Ok(Calc::Number(number));
    }
    if parser.eat("-") {
        let value = parser.nest_calc(|parser| operand(parser, budget))?;
        return Ok(Calc::Operation(
            Box::new(Calc::Number(0.0)),
            Operator::Subtract,
            Box::new(value),
        ));
    }
    if parser.eat("(") {
        let inner = parser.nest_calc(|parser| sum(parser, budget))?;
        parser.space();
        return if parser.eat(")") {
            Ok(inner)
        } else {
            parser.fail("expected ')'")
        };
    }
    if parser.eat("{") {
        let symbol = parser.symbol(Names::Anywhere)?;
        return if parser.eat("}") {
            Ok(Calc::Symbol(symbol))
        } else {
            parser.fail("expected '}'")
        };
    }
    parser.symbol(Names::InCalculation).map(Calc::Symbol)
}

/// Where a bare name ends within `text`, a run of characters that names may have: before a parenthesis that it did not open, and before white space
/// that is followed by `-` or `/` and white space.
pub(crate) fn name_end(text: &str) -> usize {
    let mut open = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => return at,
            ')' => open -= 1,
            _ if c.is_whitespace() && matches!(chars.peek(), Some((_, '-' | '/'))) => {
                let mut tail = chars.clone();
                tail.next();
                if tail.next().is_some_and(|(_, next)| next.is_whitespace()) {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The expression without its parentheses and white space, which is what the original leaves of one that has no
/// answer.
pub(crate) fn shown(calc: &Calc<'_>) -> String {
    let mut out = String::new();
    show(calc, &mut out);
    out
}

fn show(calc: &Calc<'_>, out: &mut String) {
    match calc {
        Calc::Number(number) => out.push_str(&number::shortest(*number)),
        Calc::Symbol(symbol) => show_symbol(symbol, out),
        Calc::Operation(left, operator, right) => {
            show(left, out);
            out.push(match operator {
                Operator::Add => '+',
                Operator::Subtract => '-',
                Operator::Multiply => '*',
                Operator::Divide => '/',
                Operator::Modulo => '%',
            });
            show(right, out);
        }
    }
}

fn show_symbol(symbol: &Symbol<'_>, out: &mut String) {
    for (at, step) in symbol.steps.iter().enumerate() {
        match step {
            Step::Name(name) => {
                if at > 0 {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(index) => {
                out.push('[');
                out.push_str(index);
                out.push(']');
            }
            Step::Dynamic(expr) => {
                out.push_str("[#{");
                show_expr(expr, out);
                out.push_str("}]");
            }
        }
    }
}

fn show_expr(expr: &Expr<'_>, out: &mut String) {
    match &expr.head {
        Head::Nothing => {}
        Head::Symbol(symbol) => show_symbol(symbol, out),
        Head::Literal(text) => quote(text, out),
    }
    for filter in &expr.filters {
        out.push_str(" | ");
        out.push_str(filter.name);
        for arg in &filter.args {
            out.push(' ');
            match arg {
                Arg::Text(text) => quote(text, out),
                Arg::Template(text) => out.push_str(text),
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Works it out; `resolve` gives a variable's number. `None`: something is not a number, or has no answer.
pub(crate) fn evaluate<E>(
    calc: &Calc<'_>,
    resolve: &mut impl FnMut(&Symbol<'_>) -> Result<Option<f64>, E>,
) -> Result<Option<f64>, E> {
    match calc {
        Calc::Number(number) => Ok(Some(*number)),
        Calc::Symbol(symbol) => resolve(symbol),
        Calc::Operation(left, operator, right) => {
            let Some(left) = evaluate(left, resolve)? else {
                return Ok(None);
            };
            let Some(right) = evaluate(right, resolve)? else {
                return Ok(None);
            };
            Ok(apply(left, *operator, right).filter(|value| value.is_finite()))
        }
    }
}

fn apply(left: f64, operator: Operator, right: f64) -> Option<f64> {
    match operator {
        Operator::Add => Some(left + right),
        Operator::Subtract => Some(left - right),
        Operator::Multiply => Some(left * right),
        Operator::Divide => Some(left / right),
        Operator::Modulo => modulo(left, right),
    }
}

/// Whole numbers only.
fn modulo(left: f64, right: f64) -> Option<f64> {
    // Above 2^53 a float no longer tells neighbouring integers apart.
    let whole = |value: f64| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    (whole(left) && whole(right) && right != 0.0).then(|| left % right)
}
