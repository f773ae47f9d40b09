//! `mantle agent`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::duration;
use super::exit::CliResult;
use super::output::{Output, ago, names, or_dash};
use crate::api::body::{Agent, InstallCommandCreate, InstallOs, JoinToken, JoinTokenCreate};
use crate::client::Client;

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the agents
    List,
    /// Revoke an agent: it is out within a second and can never come back
    Revoke {
        /// The agent's target, or its id
        name: String,
    },
    /// Make the line that installs an agent on a machine and joins it
    #[command(name = "install-command")]
    Install {
        /// What the machine runs
        #[arg(long, value_enum, default_value = "linux")]
        os: InstallOs,
        #[command(flatten)]
        token: CreateArgs,
    },
    /// Make, list and revoke join tokens
    #[command(subcommand)]
    Token(TokenCommand),
}

/// What to do with join tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a join token, which is shown this once
    Create(CreateArgs),
    /// List the join tokens
    List,
    /// Revoke a join token
    Revoke {
        /// The token's id, as 'list' shows it
        id: String,
    },
}

/// What a new join token allows.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// How many machines may join with it
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long it is good for, such as 1h or 30m
    #[arg(long, value_parser = duration, default_value = "1h")]
    ttl: Duration,
    /// The only target name that it may be used for
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A tag that its targets get; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// An environment that its targets get; may be given several times
    #[arg(short, long = "environment", value_name = "ENV")]
    environments: Vec<String>,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List => {
            let page = client.agents().await?;
            let headers = [
                "target",
                "state",
                "version",
                "platform",
                "seen",
                "joined",
                "certificate ends",
                "id",
            ];
            out.list(&page.items, &headers, |agent| {
                vec![
                    agent.target.clone(),
                    state(agent).to_owned(),
                    agent.version.clone(),
                    format!("{}/{}", agent.platform, agent.arch),
                    or_dash(agent.last_seen_at.map(ago)),
                    ago(agent.joined_at),
                    or_dash(agent.certificate_until.map(ago)),
                    agent.id.to_string(),
                ]
            })
        }
        Command::Revoke { name } => {
            let agent = client.agent_revoke(&name).await?;
            out.object(&agent, |agent| {
                vec![format!("revoked the agent of {}", agent.target)]
            })
        }
        Command::Install { os, token } => install_command(os, token, client, out).await,
        Command::Token(command) => token(command, client, out).await,
    }
}

fn state(agent: &Agent) -> &'static str {
    match (agent.revoked_at.is_some(), agent.online) {
        (true, _) => "revoked",
        (false, true) => "online",
        (false, false) => "offline",
    }
}

impl From<CreateArgs> for JoinTokenCreate {
    fn from(args: CreateArgs) -> Self {
        Self {
            uses: Some(args.uses),
            ttl_s: Some(args.ttl.as_secs()),
            name: args.name,
            tags: args.tags,
            environments: args.environments,
        }
    }
}

async fn install_command(
    os: InstallOs,
    token: CreateArgs,
    client: &Client,
    out: Output,
) -> CliResult {
    let token = token.into();
    let created = client
        .install_command(&InstallCommandCreate { os, token })
        .await?;
    if !out.is_json() {
        let where_ = match os {
            InstallOs::Linux => "in a shell",
            InstallOs::Windows => "in Windows PowerShell as an administrator",
        };
        let JoinToken {
            uses_left,
            expires_at,
            ..
        } = &created.join_token;
        out.note(&format!(
            "paste this {where_} on the machine; it is good for {uses_left} of them and ends {}",
            ago(*expires_at)
        ));
    }
    for warning in &created.warnings {
        out.warn(warning);
    }
    out.object(&created, |created| vec![created.command.clone()])
}

async fn token(command: TokenCommand, client: &Client, out: Output) -> CliResult {
    match command {
        TokenCommand::Create(args) => {
            let created = client.join_token_create(&args.into()).await?;
            if !out.is_json() {
                out.note("on the machine that is to join:");
                out.note(&format!("  {}", created.command));
            }
            for warning in &created.warnings {
                out.warn(warning);
            }
            out.object(&created, |created| vec![created.token.clone()])
        }
        TokenCommand::List => {
            let page = client.join_tokens().await?;
            let headers = [
                "id",
                "state",
                "uses left",
                "expires",
                "tags",
                "environments",
                "by",
            ];
            out.list(&page.items, &headers, |token| {
                vec![
                    token.id.to_string(),
                    token_state(token).to_owned(),
                    token.uses_left.to_string(),
                    ago(token.expires_at),
                    names(&token.tags),
                    names(&token.environments),
                    token.created_by.clone(),
                ]
            })
        }
        TokenCommand::Revoke { id } => {
            let token = client.join_token_revoke(&id).await?;
            out.object(&token, |token| vec![format!("revoked {}", token.id)])
        }
    }
}

fn token_state(token: &JoinToken) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at < jiff::Timestamp::now() {
        "expired"
    } else if token.uses_left == 0 {
        "used"
    } else {
        "open"
    }
}
