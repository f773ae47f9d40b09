//! `mantle team`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::{Output, ago};
use crate::api::body::{Team, TeamMember};
use crate::client::Client;

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the teams and who is in them
    List,
    /// Put an API key into a team
    Add {
        /// The team's name
        team: String,
        /// The key's name
        key: String,
    },
    /// Take an API key out of a team
    Remove {
        /// The team's name
        team: String,
        /// The key's name
        key: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.teams().await?;
            if out.is_json() {
                return out.list(&page.items, &[], |_| Vec::new());
            }
            let rows: Vec<(String, TeamMember)> = page
                .items
                .into_iter()
                .flat_map(|team| {
                    let name = team.name;
                    team.members
                        .into_iter()
                        .map(move |member| (name.clone(), member))
                })
                .collect();
            let headers = ["team", "key", "since", "put there by"];
            out.list(&rows, &headers, |(team, member)| {
                let by = if member.own {
                    "made with it".to_owned()
                } else {
                    member.added_by.clone()
                };
                vec![team.clone(), member.key.clone(), ago(member.since), by]
            })
        }
        Command::Add { team, key } => {
            let team = client.team_add(&team, &key).await?;
            out.object(&team, lines)
        }
        Command::Remove { team, key } => {
            let team = client.team_remove(&team, &key).await?;
            out.object(&team, lines)
        }
    }
}

fn lines(team: &Team) -> Vec<String> {
    let names: Vec<&str> = team
        .members
        .iter()
        .map(|member| member.key.as_str())
        .collect();
    let members = match names.as_slice() {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    };
    vec![format!("{}: {members}", team.name)]
}
