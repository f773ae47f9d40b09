//! Values as they were typed: what is a template and what a comment, and what is not made a number of.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::tests::project;
use super::*;
use crate::variable::VariableValue;

#[test]
fn a_template_in_quotes_blocks_or_after_text_is_no_comment() {
    let text = project(concat!(
        "# a real comment, even with #{Name} in it\n",
        "variables:\n",
        "  A: \"#{B}\" # fine\n",
        "  B: '#{C} #{D}'\n",
        "  C: x#{D}\n",
        "  D: |\n",
        "    #{E}\n",
        "    text #{F}\n",
        "  E: >-\n",
        "    #{F}\n",
    ));
    let known = Known::default();
    let parsed = parse(
        &[Source {
            name: "f.yaml",
            text: &text,
        }],
        &known,
    )
    .unwrap();
    let value = |name: &str| match &crate::variable::find(&parsed.projects[0].variables, name)
        .unwrap()
        .values[0]
        .value
    {
        VariableValue::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(value("A"), "#{B}");
    assert_eq!(value("C"), "x#{D}");
    assert_eq!(value("D"), "#{E}\ntext #{F}\n");
    assert_eq!(value("E"), "#{F}");
}

#[test]
fn unquoted_values_of_variables_stay_as_they_were_typed() {
    let text =
        project("variables: { A: 8080, B: 1.10, C: 007, D: true, E: yes, F: 0x1F, G: 1e3 }\n");
    let parsed = parse(
        &[Source {
            name: "f.yaml",
            text: &text,
        }],
        &Known::default(),
    )
    .unwrap();
    let values: Vec<String> = parsed.projects[0]
        .variables
        .iter()
        .map(|v| match &v.values[0].value {
            VariableValue::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        values,
        ["8080", "1.10", "007", "true", "yes", "0x1F", "1e3"]
    );
}
