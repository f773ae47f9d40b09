//! Prompts of variables.

use super::super::grammar::{ControlWord, PromptItem};
use super::super::node::Problem;
use super::super::report::Report;
use super::super::typed::At;
use crate::variable::prompt::{Control, Prompt};

/// Converts a prompt; what it asks must be answerable, and its default an answer.
pub(super) fn convert(item: At<PromptItem>, report: &mut Report) -> Prompt {
    let At { at, value: item } = item;
    let options: Vec<String> = item
        .options
        .0
        .iter()
        .map(|option| option.0.clone())
        .collect();
    if item.control == ControlWord::Select && options.is_empty() {
        report.error(
            Problem::new(at, "a prompt with 'control: select' needs 'options'")
                .next("add options: [one, two]"),
        );
    }
    if let Some(first) = item.options.0.first()
        && item.control != ControlWord::Select
    {
        report.error(
            Problem::new(
                first.at,
                "'options' belong to a prompt with 'control: select'",
            )
            .next("add 'control: select' or remove them"),
        );
    }
    if let Some(label) = &item.label
        && (label.trim().is_empty() || label.contains('=') || label.chars().any(char::is_control))
    {
        report.error(
            Problem::new(
                label.at,
                format!("'{}' cannot be a prompt's label", label.value),
            )
            .next("use one line of text without '='"),
        );
    }
    let prompt = Prompt {
        label: item.label.map(|label| label.value),
        description: item.description,
        required: item.required,
        default: item.default.as_ref().map(|default| default.0.clone()),
        control: match item.control {
            ControlWord::Text => Control::Text,
            ControlWord::MultiLine => Control::MultiLine,
            ControlWord::Checkbox => Control::Checkbox,
            ControlWord::Select => Control::Select(options),
            ControlWord::Sensitive => Control::Sensitive,
        },
    };
    let Some(default) = item.default else {
        return prompt;
    };
    if prompt.control == Control::Sensitive {
        report.error(
            Problem::new(
                default.at,
                "a sensitive prompt has no default: it would stand here in clear",
            )
            .next("remove it, or use a secret: '{ secret: PATH }'"),
        );
    } else if default.0.contains("#{") {
        report.template(default.at, &default.0);
    } else if let Err(why) = prompt.accept(&default.0) {
        report.error(Problem::new(
            default.at,
            format!("the default '{}' is no answer: {why}", default.0),
        ));
    }
    prompt
}
