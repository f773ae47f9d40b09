//! XPath 1.0 over a document, with what of 2.0 configuration needs: `*:name`, and comparisons by
//! word. Bounded: an expression has a length and a depth, an evaluation a number of steps.

mod ast;
mod context;
mod eval;
mod functions;
mod lex;
mod parse;
mod value;

pub(crate) use context::{Blanks, Context, Prefixes};
pub(crate) use value::Item;

use ast::Expr;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// How deep an expression may nest.
const MAX_DEPTH: usize = 64;

/// Why an expression selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XPathError {
    /// It is none.
    #[error("{0}")]
    Syntax(String),
    /// A prefix means nothing here.
    #[error("the prefix '{0}' is not declared")]
    Prefix(String),
    /// It gives a text, a number or a truth.
    #[error("it selects no nodes, it gives {0}")]
    NoNodes(&'static str),
    /// It takes too much work.
    #[error("it takes too much work")]
    Budget,
}

/// An expression that was read.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    expr: Expr,
}

impl Expression {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, XPathError> {
        if text.len() > MAX_LENGTH {
            return Err(XPathError::Syntax(format!(
                "it is longer than {MAX_LENGTH} bytes"
            )));
        }
        parse::expression(text).map(|expr| Self { expr })
    }

    /// The nodes that it selects from a node on, in the document's order.
    pub(crate) fn select(
        &self,
        context: &mut Context<'_>,
        from: super::NodeId,
    ) -> Result<Vec<Item>, XPathError> {
        eval::select(&self.expr, context, from)
    }
}

#[cfg(test)]
mod tests;
