//! `mantle apikey`.

use std::time::Duration;

use clap::Subcommand;

use super::args::duration;
use super::exit::CliResult;
use super::output::{Output, ago, or_dash};
use crate::api::body::{ApiKey, ApiKeyCreate};
use crate::client::Client;

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an API key, which is shown this once
    Create {
        /// The key's name, which the audit trail shows
        name: String,
        /// The key's team: 'administrators' may do everything, any other team may only look
        #[arg(long, default_value = "administrators")]
        team: String,
        /// It stops working after this long, such as 90d
        #[arg(long, value_parser = duration, value_name = "DURATION")]
        expires: Option<Duration>,
    },
    /// List the API keys
    List,
    /// Revoke an API key at once
    Revoke {
        /// The key's name
        name: String,
        /// Also if it is the last key of an administrator
        #[arg(long)]
        force: bool,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::Create {
            name,
            team,
            expires,
        } => {
            let request = ApiKeyCreate {
                name,
                team: Some(team),
                expires_in_s: expires.map(|expires| expires.as_secs()),
            };
            let created = client.apikey_create(&request).await?;
            if !out.is_json() {
                out.note("keep it now; it cannot be shown again:");
            }
            out.object(&created, |created| vec![created.token.clone()])
        }
        Command::List => {
            let page = client.apikeys().await?;
            let headers = ["name", "team", "state", "used", "expires", "created"];
            out.list(&page.items, &headers, |key| {
                vec![
                    key.name.clone(),
                    key.team.clone(),
                    state(key).to_owned(),
                    or_dash(key.last_used_at.map(ago)),
                    or_dash(key.expires_at.map(ago)),
                    ago(key.created_at),
                ]
            })
        }
        Command::Revoke { name, force } => {
            let key = client.apikey_revoke(&name, force).await?;
            out.object(&key, |key| vec![format!("revoked {}", key.name)])
        }
    }
}

fn state(key: &ApiKey) -> &'static str {
    let now = jiff::Timestamp::now();
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(expires)) if expires < now => "expired",
        (None, _) => "good",
    }
}
