//! `mantle lifecycle`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::Output;
use crate::api::body::Lifecycle;
use crate::client::Client;

/// What to do with lifecycles.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the lifecycles
    List,
    /// Show a lifecycle's phases
    Show {
        /// The lifecycle's name
        name: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.lifecycles().await?;
            out.list(&page.items, &["lifecycle", "phases"], |item| {
                vec![item.name.clone(), phases(item).join(" -> ")]
            })
        }
        Command::Show { name } => {
            let lifecycle = client.lifecycle(&name).await?;
            out.object(&lifecycle, |item| {
                let mut lines = vec![item.name.clone()];
                let phases = phases(item).into_iter().zip(&item.phases);
                lines.extend(phases.map(|(text, phase)| {
                    let gate = passed(&phase.passed_by);
                    let how = match (phase.automatic, phase.automatic_in.as_slice()) {
                        (true, _) => format!("automatic, {gate}"),
                        (false, []) => gate,
                        (false, some) => format!("automatic in {}, {gate}", some.join(", ")),
                    };
                    format!("  {text}  {how}")
                }));
                if !item.keeps.is_empty() {
                    lines.push(format!("keeps {}", item.keeps));
                }
                lines
            })
        }
    }
}

fn phases(lifecycle: &Lifecycle) -> Vec<String> {
    let phases = lifecycle.phases.iter();
    phases
        .map(|phase| format!("{} ({})", phase.name, phase.environments.join(", ")))
        .collect()
}

fn passed(gate: &str) -> String {
    match gate {
        "optional" => "optional".to_owned(),
        "all" | "" => "passed by all".to_owned(),
        count => format!("passed by {count}"),
    }
}
