//! `mantle environment`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::Output;
use crate::client::Client;

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the environments
    List,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    let Command::List = command;
    let page = client.environments().await?;
    out.list(&page.items, &["environment", "targets"], |item| {
        vec![item.name.clone(), item.targets.to_string()]
    })
}
