//! The manual's page on templates: every row of its tables is rendered, and every filter has a row.

use std::collections::BTreeSet;

use super::lenient;
use crate::filters::NAMES;

struct Example {
    line: usize,
    variables: Vec<(String, String)>,
    template: String,
    result: String,
}

const PAGE: &str = include_str!("../../../../docs/src/templates.md");

/// A cell's code, with what Markdown and the page's own notation hide in it.
fn code(cell: &str) -> Option<String> {
    let inner = cell.trim().strip_prefix('`')?.strip_suffix('`')?;
    Some(inner.replace("\\n", "\n").replace('\0', "|"))
}

fn examples(text: &str) -> Vec<Example> {
    let rows = text.lines().enumerate();
    rows.filter_map(|(at, line)| {
        let row = line.replace("\\|", "\0");
        let cells: Vec<&str> = row
            .strip_prefix('|')?
            .strip_suffix('|')?
            .split('|')
            .collect();
        let [variables, template, result] = cells.as_slice() else {
            return None;
        };
        let variables = code(variables)?;
        let pairs = variables.split("; ").map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        Some(Example {
            line: at + 1,
            variables: pairs.collect(),
            template: code(template)?,
            result: code(result)?,
        })
    })
    .collect()
}

#[test]
fn every_example_of_the_manual_gives_what_it_says() {
    let examples = examples(PAGE);
    assert!(
        examples.len() > 80,
        "{} examples were found",
        examples.len()
    );
    let mut wrong = Vec::new();
    for example in &examples {
        let pairs: Vec<(&str, &str)> = example
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let text = lenient(&pairs, &example.template).text;
        if text != example.result {
            wrong.push(format!(
                "line {}: {}\n     gives {text:?}\n     says  {:?}",
                example.line, example.template, example.result
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_filter_has_an_example_in_the_manual() {
    let templates: String = examples(PAGE)
        .iter()
        .map(|example| example.template.clone() + "\n")
        .collect();
    let words: BTreeSet<&str> = templates
        .split('|')
        .filter_map(|piece| piece.trim_start().split([' ', '}']).next())
        .collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
    let unknown: Vec<_> = ["Nope", "Reverse"]
        .iter()
        .filter(|name| NAMES.contains(name))
        .collect();
    assert!(unknown.is_empty());
}
