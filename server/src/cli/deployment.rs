//! `mantle deployment`: what deployments in fact used.

use clap::Subcommand;
use mantle_domain::manifest::Manifest;

use super::exit::{CliResult, Exit};
use super::live::harmless;
use super::manifest;
use super::output::{Output, line_out};
use super::release_compare::{package_section, styled};
use crate::api::body::DeploymentDiff;
use crate::client::Client;

/// What to show of deployments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a deployment used: targets, packages by digest, values; secrets as marks
    Show {
        /// The deployment's number, such as T-12
        deployment: String,
    },
    /// Show how two deployments differ in what they used
    Diff {
        /// The first deployment's number, such as T-12
        from: String,
        /// The second deployment's number
        to: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::Show { deployment } => {
            let found = client.deployment(&deployment).await?;
            if out.is_json() {
                return out.object(&found, |_| Vec::new());
            }
            line_out(&format!("{}  {}", found.number, found.digest))?;
            // One of a later server may be more than this program can read.
            match serde_json::from_value::<Manifest>(found.manifest.clone()) {
                Ok(manifest) => {
                    for line in manifest::lines(&manifest) {
                        line_out(&line)?;
                    }
                }
                Err(_) => line_out(&format!("{:#}", found.manifest))?,
            }
            for said in &found.resolved {
                let (about, by) = (&said.about, &said.by);
                let reason = harmless(&said.reason);
                line_out(&format!(
                    "{about} was resolved as {} by {by}: {reason}",
                    said.ended
                ))?;
            }
            Ok(Exit::Success)
        }
        Command::Diff { from, to } => {
            let found = client.deployment_diff(&from, &to).await?;
            if found.same && !out.is_json() {
                out.note(&format!("{} and {} used the same", found.from, found.to));
                return Ok(Exit::Success);
            }
            out.object(&found, lines)
        }
    }
}

fn lines(found: &DeploymentDiff) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, changes) in [
        ("what", &found.what),
        ("targets", &found.targets),
        ("values", &found.values),
    ] {
        if !changes.is_empty() {
            lines.push(title.to_owned());
            lines.extend(changes.iter().map(|line| format!("  {}", styled(line))));
        }
    }
    lines.extend(package_section(&found.packages));
    lines
}
