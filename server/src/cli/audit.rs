//! `mantle audit`.

use clap::Subcommand;

use super::exit::{CliResult, Exit};
use super::output::Output;
use crate::client::Client;

/// The most entries of one request.
const PAGE: u32 = 500;

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the newest entries
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: u32,
    },
    /// Check that no entry was changed, removed or put in between
    Verify,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List { limit } => list(limit, client, out).await,
        Command::Verify => {
            let verified = client.audit_verify().await?;
            let intact = verified.intact;
            out.object(&verified, |verified| {
                vec![match verified.first_bad {
                    None => format!(
                        "intact: {} entries{}, head {}",
                        verified.entries,
                        before_them(verified.removed),
                        verified.head
                    ),
                    Some(seq) => format!("broken at entry {seq}: {}", verified.fault),
                }]
            })?;
            Ok(if intact { Exit::Success } else { Exit::Invalid })
        }
    }
}

fn before_them(removed: u64) -> String {
    if removed == 0 {
        String::new()
    } else {
        format!(" after the {removed} that were removed")
    }
}

async fn list(limit: u32, client: &Client, out: Output) -> CliResult {
    let mut entries = Vec::new();
    let mut before: Option<String> = None;
    while entries.len() < limit as usize {
        let left = u32::try_from(limit as usize - entries.len()).unwrap_or(PAGE);
        let page = client.audit(before.as_deref(), left.min(PAGE)).await?;
        entries.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let headers = ["no", "when", "who", "did", "to", "particulars"];
    out.list(&entries, &headers, |entry| {
        vec![
            entry.seq.to_string(),
            entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.detail.to_string(),
        ]
    })
}
