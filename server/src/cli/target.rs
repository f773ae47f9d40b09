//! `mantle target`.

use clap::{Subcommand, ValueEnum};

use super::exit::CliResult;
use super::health_check::CheckArgs;
use super::live::harmless;
use super::output::{Output, ago, names, or_dash};
use crate::api::body::{MaintenanceSet, Target, TargetHealth, TargetState, TargetTags};
use crate::client::Client;

/// What to do with targets.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the targets
    List {
        /// Only those of this environment
        #[arg(short, long, value_name = "ENV")]
        environment: Option<String>,
        /// Only those with this tag
        #[arg(long)]
        tag: Option<String>,
    },
    /// Show a target
    Show {
        /// The target's name
        name: String,
    },
    /// Give a target tags
    Tag {
        /// The target's name
        name: String,
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Take tags away from a target
    Untag {
        /// The target's name
        name: String,
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Let deployments choose a target again
    Enable {
        /// The target's name
        name: String,
    },
    /// Keep deployments from choosing a target
    Disable {
        /// The target's name
        name: String,
    },
    /// Take a target into maintenance, so that deployments leave it out and say so, or out of it
    Maintenance {
        /// The target's name
        name: String,
        /// Into it or out of it
        #[arg(value_enum)]
        switch: Switch,
        /// Why; deployments that leave it out say so
        #[arg(long, required_if_eq("switch", "on"))]
        reason: Option<String>,
    },
    /// Run health checks now and watch them
    Check(CheckArgs),
    /// Forget a target and revoke its agent
    Remove {
        /// The target's name
        name: String,
    },
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// Into it
    On,
    /// Out of it
    Off,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    let target = match command {
        Command::List { environment, tag } => {
            let page = client
                .targets(environment.as_deref(), tag.as_deref())
                .await?;
            let headers = [
                "target",
                "state",
                "health",
                "tags",
                "environments",
                "platform",
                "agent",
            ];
            return out.list(&page.items, &headers, row);
        }
        Command::Check(args) => return super::health_check::check(args, client, out).await,
        Command::Remove { name } => {
            client.target_remove(&name).await?;
            let removed = serde_json::json!({"name": name, "removed": true});
            return out.object(&removed, |_| vec![format!("removed {name}")]);
        }
        Command::Show { name } => client.target(&name).await?,
        Command::Tag { name, tags } => {
            let change = TargetTags {
                add: tags,
                remove: Vec::new(),
            };
            client.target_tags(&name, &change).await?
        }
        Command::Untag { name, tags } => {
            let change = TargetTags {
                add: Vec::new(),
                remove: tags,
            };
            client.target_tags(&name, &change).await?
        }
        Command::Maintenance {
            name,
            switch,
            reason,
        } => {
            let on = switch == Switch::On;
            let change = MaintenanceSet { on, reason };
            client.target_maintenance(&name, &change).await?
        }
        Command::Enable { name } => client.target_enable(&name).await?,
        Command::Disable { name } => client.target_disable(&name).await?,
    };
    for warning in &target.warnings {
        out.warn(warning);
    }
    out.object(&target, lines)
}

fn word(state: TargetState) -> &'static str {
    match state {
        TargetState::Online => "online",
        TargetState::Offline => "offline",
        TargetState::Expected => "expected",
        TargetState::Disabled => "disabled",
        TargetState::Maintenance => "maintenance",
    }
}

fn health(target: &Target) -> String {
    let word = match target.health {
        TargetHealth::Healthy => "healthy",
        TargetHealth::HealthyWithWarnings => "healthy, with warnings",
        TargetHealth::Unhealthy => "unhealthy",
        TargetHealth::Unavailable => "unavailable",
        TargetHealth::Unknown => "unknown",
    };
    match target.health_since {
        Some(since) => format!("{word} ({})", ago(since)),
        None => word.to_owned(),
    }
}

fn row(target: &Target) -> Vec<String> {
    let agent = target.agent.as_ref();
    vec![
        target.name.clone(),
        word(target.state).to_owned(),
        health(target),
        names(&target.tags),
        names(&target.environments),
        or_dash(agent.map(|agent| format!("{}/{}", agent.platform, agent.arch))),
        or_dash(agent.map(|agent| agent.version.clone())),
    ]
}

fn lines(target: &Target) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}", target.name, word(target.state)),
        format!("tags          {}", names(&target.tags)),
        format!("environments  {}", names(&target.environments)),
    ];
    lines.push(format!("health        {}", health(target)));
    for check in &target.checks {
        lines.push(format!(
            "check         {}",
            super::health_check::line(&check.check, &check.result)
        ));
    }
    if let Some(kept) = &target.maintenance {
        lines.push(format!(
            "maintenance   {}, by {}, {}",
            kept.reason,
            kept.by,
            ago(kept.since)
        ));
    }
    for said in &target.resolved {
        lines.push(format!(
            "resolved      {} {} as {} by {}, {}: {}",
            said.task,
            said.about,
            said.ended,
            said.by,
            ago(said.at),
            harmless(&said.reason)
        ));
    }
    match &target.agent {
        None => lines.push("agent         has not joined".to_owned()),
        Some(agent) => {
            lines.push(format!("agent         {}", agent.id));
            lines.push(format!(
                "              {} on {}/{}, seen {}",
                agent.version,
                agent.platform,
                agent.arch,
                or_dash(agent.last_seen_at.map(ago))
            ));
            if let Some(copy) = &agent.copy {
                lines.push(format!(
                    "copy          {copy} has its identity and is turned away; type 'tentacle join --force' on whichever is the copy"
                ));
            }
        }
    }
    lines
}
