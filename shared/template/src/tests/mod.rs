//! The language by tables: each row is variables, a template and what it renders to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blocks;
mod dates;
mod escapes;
mod hostile;
mod laws;
mod manual;
mod numbers;
mod problems;
mod reach;
mod reference;
mod stand_ins;
mod strings;
mod substitution;

use crate::{Options, Rendered, Variables, render};

/// Variables, template, result.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().copied().collect()
}

/// Saturday, 4 May 2030, 09:07:03.25 UTC.
fn options() -> Options {
    Options::new("2030-05-04T09:07:03.25Z".parse().unwrap())
}

fn lenient<'t>(pairs: &[(&str, &str)], template: &'t str) -> Rendered<'t> {
    render(template, &variables(pairs), &options()).unwrap()
}

#[track_caller]
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (pairs, template, expected) in rows {
        let text = lenient(pairs, template).text;
        if text != *expected {
            wrong.push(format!(
                "{template}\n     gives {text:?}\n  expected {expected:?}\n      with {pairs:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

/// Rows of (value, filters, result) for `#{V | filters}`.
#[track_caller]
fn check_filters(rows: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (value, filters, expected) in rows {
        let template = format!("#{{V | {filters}}}");
        let text = lenient(&[("V", value)], &template).text.into_owned();
        // An expected '-' says that the token stays.
        let expected = if *expected == "-" {
            template.as_str()
        } else {
            expected
        };
        if text != expected {
            wrong.push(format!(
                "{value:?} | {filters}\n     gives {text:?}\n  expected {expected:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}
