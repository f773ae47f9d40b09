//! `mantle project`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::{Output, ago, names, or_dash};
use crate::api::body::ProjectDetail;
use crate::client::Client;

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the projects
    List,
    /// Show a project's outline
    Show {
        /// The project's name
        name: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.projects().await?;
            let headers = ["project", "latest", "lifecycle", "changed", "description"];
            out.list(&page.items, &headers, |item| {
                vec![
                    item.name.clone(),
                    or_dash(item.latest_release.clone()),
                    or_dash(item.lifecycle.clone()),
                    ago(item.updated_at),
                    item.description.clone(),
                ]
            })
        }
        Command::Show { name } => {
            let project = client.project(&name).await?;
            out.object(&project, lines)
        }
    }
}

fn lines(detail: &ProjectDetail) -> Vec<String> {
    let project = &detail.project;
    let mut lines = vec![
        format!("{}  {}", project.name, project.description),
        format!("lifecycle  {}", or_dash(project.lifecycle.clone())),
        format!("latest     {}", or_dash(project.latest_release.clone())),
        format!("packages   {}", names(&detail.packages)),
        format!("channels   {}", names(&detail.channels)),
        format!("variables  {}", names(&detail.variables)),
        format!("includes   {}", names(&detail.include)),
        "steps".to_owned(),
    ];
    let steps = detail.steps.iter().enumerate();
    lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
    lines
}
