//! `tentacle config show`.

use clap::Args;
use serde_json::json;

use super::super::{EXIT_INTERNAL, Failure, Output, print, print_json};
use crate::actions;
use crate::brain::BrainConfig;
use crate::settings;
use crate::state_dir::StateDir;

/// How to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &ShowArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let apps = settings::apps(state_dir)
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?
        .path;
    let limits = BrainConfig::default();
    let settings = [
        ("state-dir", state_dir.root().display().to_string()),
        ("applications", apps.display().to_string()),
        ("cache", state_dir.cache().display().to_string()),
        ("most-attempts", limits.most_attempts.to_string()),
        ("features", actions::features().join(" ")),
    ];
    match args.output {
        Output::Json => {
            let settings: serde_json::Map<String, serde_json::Value> = settings
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect();
            print_json(&json!({"schema": "tentacle.cli/v1", "settings": settings}));
        }
        Output::Table => {
            for (key, value) in settings {
                print(&format!("{key:<14} {value}"));
            }
        }
    }
    Ok(())
}
