//! `mantle lock`.

use clap::Subcommand;

use super::exit::CliResult;
use super::output::{Output, ago};
use crate::api::body::{HeldLock, LockBreak};
use crate::client::Client;

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the locks that steps hold
    List {
        /// Only those on this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Break a lock that nobody lets go: whoever waits for it starts, although the process that
    /// held it may still live
    Break {
        /// The target on which it is held
        target: String,
        /// The lock's name, as 'mantle lock list' shows it
        lock: String,
        /// Why; the audit trail keeps it
        #[arg(long)]
        reason: String,
    },
}

/// The columns of a list of locks.
const COLUMNS: [&str; 6] = ["target", "lock", "mode", "held by", "since", "note"];

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List { target } => {
            let page = client.locks(target.as_deref()).await?;
            out.list(&page.items, &COLUMNS, row)
        }
        Command::Break {
            target,
            lock,
            reason,
        } => {
            let request = LockBreak {
                target,
                lock,
                reason,
            };
            let page = client.lock_break(&request).await?;
            out.note(
                "broken: whoever waits goes on now. The process that held it may still live; look on the machine",
            );
            out.list(&page.items, &COLUMNS, row)
        }
    }
}

fn row(lock: &HeldLock) -> Vec<String> {
    let note = match (&lock.broken_by, &lock.ended) {
        (Some(by), _) => format!("broken by {by}"),
        (None, Some(end)) => {
            let how = match end.as_str() {
                "abandoned" => "could not be stopped",
                _ => "nobody knows how it ended",
            };
            format!(
                "{how}: may still run; 'mantle lock break {} {} --reason WHY' lets others pass",
                lock.target, lock.lock
            )
        }
        (None, None) => String::new(),
    };
    vec![
        lock.target.clone(),
        lock.lock.clone(),
        lock.mode.clone(),
        lock.holder.clone(),
        ago(lock.since),
        note,
    ]
}
