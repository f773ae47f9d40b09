//! The manual names everything there is: commands, options, keys of the files, action types, exit
//! codes. What is new and not described fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use mantle_domain::action::{Support, TYPES};
use serde_json::Value;

use super::Cli;
use super::exit::Exit;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a word stands in a text, not as part of a longer one.
fn names(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// Every command that does something, as its words, with its own options.
fn leaves(command: &Command, words: &[String], found: &mut Vec<(Vec<String>, Vec<String>)>) {
    let mut inner = command.get_subcommands().peekable();
    if inner.peek().is_none() {
        let options = command
            .get_arguments()
            .filter(|argument| !argument.is_global_set());
        let options =
            options.filter_map(|argument| argument.get_long().map(|long| format!("--{long}")));
        found.push((words.to_vec(), options.collect()));
        return;
    }
    for next in inner {
        let words = [words, &[next.get_name().to_owned()]].concat();
        leaves(next, &words, found);
    }
}

#[test]
fn every_command_is_in_the_manual() {
    let text = read("docs/src/cli.md");
    let mut commands = Vec::new();
    leaves(&Cli::command(), &[], &mut commands);
    assert!(commands.len() > 30, "the commands were found");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let missing: Vec<String> = commands
        .iter()
        .map(|(words, _)| words)
        .filter(|words| {
            let described = rows
                .iter()
                .any(|row| words.iter().all(|word| names(row, word)));
            !described
        })
        .map(|words| words.join(" "))
        .collect();
    assert!(missing.is_empty(), "not in docs/src/cli.md: {missing:?}");
}

#[test]
fn every_option_is_in_the_manual() {
    let chapters = [
        "cli",
        "server",
        "agents",
        "installation",
        "packages",
        "releases",
        "rolling",
        "files",
    ];
    let text: String = chapters
        .iter()
        .map(|chapter| read(&format!("docs/src/{chapter}.md")))
        .collect();
    let mut commands = Vec::new();
    leaves(&Cli::command(), &[], &mut commands);
    let missing: BTreeSet<String> = commands
        .iter()
        .flat_map(|(words, options)| options.iter().map(move |option| (words, option)))
        .filter(|(_, option)| !["--help", "--version"].contains(&option.as_str()))
        .filter(|(_, option)| !names(&text, option))
        .map(|(words, option)| format!("{} {option}", words.join(" ")))
        .collect();
    assert!(missing.is_empty(), "in no chapter: {missing:?}");
}

#[test]
fn every_key_of_the_files_is_in_the_manual() {
    let text: String = ["files", "actions", "variables", "rolling"]
        .iter()
        .map(|chapter| read(&format!("docs/src/{chapter}.md")))
        .collect();
    let mut keys = BTreeSet::new();
    collect_keys(
        &serde_json::to_value(mantle_domain::file::schema()).unwrap(),
        &mut keys,
    );
    assert!(
        keys.contains("not_environments") && keys.contains("wait_up"),
        "{keys:?}"
    );
    let missing: Vec<&String> = keys.iter().filter(|key| !names(&text, key)).collect();
    assert!(missing.is_empty(), "in no chapter: {missing:?}");
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|inner| collect_keys(inner, keys));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_keys(inner, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_action_type_that_agents_carry_out_has_a_section() {
    let text = read("docs/src/actions.md");
    for action in TYPES
        .iter()
        .filter(|action| action.support == Support::Checked)
    {
        assert!(
            text.contains(&format!("\n## {}\n", action.name)),
            "{}",
            action.name
        );
    }
}

#[test]
fn every_exit_code_is_in_the_manual_and_in_the_readme() {
    let all = [
        Exit::Success,
        Exit::Internal,
        Exit::Usage,
        Exit::TaskFailed,
        Exit::Forbidden,
        Exit::NotFound,
        Exit::Refused,
        Exit::Invalid,
        Exit::TimedOut,
        Exit::Unreachable,
        Exit::Cancelled,
        Exit::Interrupted,
    ];
    for file in ["docs/src/exit-codes.md", "README.md"] {
        let text = read(file);
        for exit in all {
            let row = format!("\n| {} |", exit as u8);
            assert!(text.contains(&row), "{file} has no row for {exit:?}");
        }
    }
}
