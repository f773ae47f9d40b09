//! `mantle variable-set`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::{Output, ago, names};
use super::variable::value;
use crate::api::body::VariableSetDetail;
use crate::client::Client;

/// What to do with variable sets.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the variable sets
    List,
    /// Show a variable set and its variables
    Show {
        /// The set's name
        name: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.variable_sets().await?;
            let headers = ["set", "variables", "projects", "changed", "description"];
            out.list(&page.items, &headers, |set| {
                vec![
                    set.name.clone(),
                    set.variables.to_string(),
                    names(&set.projects),
                    ago(set.updated_at),
                    set.description.clone(),
                ]
            })
        }
        Command::Show { name } => {
            let set = client.variable_set(&name).await?;
            out.object(&set, lines)
        }
    }
}

fn lines(detail: &VariableSetDetail) -> Vec<String> {
    let set = &detail.set;
    let mut lines = vec![
        format!("{}  {}", set.name, set.description),
        format!("includes  {}", names(&set.include)),
        format!("projects  {}", names(&set.projects)),
        "variables".to_owned(),
    ];
    let values = detail.values.iter();
    lines.extend(
        values.map(|one| format!("  {} = {}  ({})", one.name, value(&one.value), one.scope)),
    );
    lines
}
