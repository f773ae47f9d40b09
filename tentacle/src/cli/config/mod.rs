//! `tentacle config`: the agent's own configuration, and what it does to the files of others.

mod edit;
mod show;

use clap::Subcommand;

use super::Failure;
use crate::state_dir::StateDir;

/// What to do with configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Prints every setting of the agent with its value.
    Show(show::ShowArgs),
    /// Puts variables into a structured file, where their names are paths in it.
    Apply(edit::ApplyArgs),
    /// Changes an XML file as a .NET transform (XDT) says.
    Transform(edit::TransformArgs),
    /// Replaces the templates in a text file.
    Substitute(edit::SubstituteArgs),
}

pub(super) fn run(command: &ConfigCommand, state_dir: &StateDir) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show(args) => show::run(args, state_dir),
        ConfigCommand::Apply(args) => edit::apply(args),
        ConfigCommand::Transform(args) => edit::transform(args),
        ConfigCommand::Substitute(args) => edit::substitute(args),
    }
}
