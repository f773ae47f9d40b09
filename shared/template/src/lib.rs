//! The template language `#{...}`, compatible with Octostache.
//!
//! ```
//! use mantle_template::{Options, Variables, render};
//! let variables: Variables = [("Name", "World"), ("Greeting", "Hello #{Name | ToUpper}")].into_iter().collect();
//! let options = Options::new(jiff::Timestamp::UNIX_EPOCH);
//! let rendered = render("#{Greeting}!", &variables, &options).unwrap();
//! assert_eq!(rendered.text, "Hello WORLD!");
//! ```
//!
//! # The language
//! - `#{Name}`, `#{A.B[index].C}`, `#{A[#{B}]}`, `#{A[*].C}` (the first). Names are compared without case. The
//!   value of a variable is a template itself. A value that is JSON can be walked into: `#{Json.items[0].name}`.
//! - `##{` is a literal `#{`.
//! - `#{if X}..#{elseif Y == "text"}..#{else}..#{/if}`, `#{unless X}..#{/unless}`; operands are names, quoted
//!   texts, or either with filters. Empty, missing, `0`, `no` and `false` are false.
//! - `#{each item in Collection}..#{/each}` over indexed variables (`#{item}`, `#{item.Key}`, `#{item.Property}`),
//!   JSON arrays and objects (`#{item.Key}`, `#{item.Value}`), or a list with commas; inside,
//!   `Octopus.Template.Each.Index`, `.First` and `.Last`. `| Reverse` turns a collection round.
//! - `#{calc A * (B + 2)}`.
//! - `#{Name | Filter argument "quoted argument" #{Argument} | Next}`; the filters are listed in [`filters`].
//!
//! # What must hold
//! - Rendering is a function of text, variables and options: no clock, no file, no randomness.
//! - Without [`Options::strict`] what cannot be evaluated stays as it was and is listed in
//!   [`Rendered::problems`]; the rest is rendered. (A calculation without an answer stays without its keyword,
//!   and a variable's value that is not a well-formed template is taken as it is, both as in the original.)
//! - What hangs on a value that is only stood in for is never shown as if it were known
//!   ([`Variables::stand_in`]).
//! - Text without tags is borrowed, never copied. Time, memory and depth are bounded for every input.

mod ast;
mod calc;
pub mod dotnet_regex;
mod evaluate;
pub mod filters;
mod json;
mod lexer;
mod loops;
mod number;
mod parser;
mod problem;
mod references;
mod resolve;
mod stand_in;
mod structure;
mod template;
mod variables;

pub use lexer::{fold, same_name};
pub use problem::{Error, Position, Problem, ProblemKind};
pub use references::{References, closure, references};
pub use template::{Budget, Limits, Options, Rendered, Template, is_truthy, render};
pub use variables::{Made, Variables};

#[cfg(test)]
mod tests;
