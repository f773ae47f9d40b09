//! `mantle secret`. Values come from standard input and are never printed.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;

use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, ago};
use crate::api::body::SecretSet;
use crate::client::Client;

/// The largest value; the server refuses larger ones too.
const MAX_BYTES: u64 = 64 * 1024;

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set a secret to what stands on standard input (without one line feed at its end)
    Set {
        /// The secret's path, such as octofx/database-password
        path: String,
    },
    /// List the paths of all secrets
    List,
    /// Delete a secret; releases that pinned it keep their value
    Delete {
        /// The secret's path
        path: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::Set { path } => {
            let value = read_value(out)?;
            let secret = client.secret_set(&path, &SecretSet { value }).await?;
            out.object(&secret, |secret| {
                vec![format!("set {} (value {})", secret.path, secret.versions)]
            })
        }
        Command::List => {
            let page = client.secrets().await?;
            out.list(&page.items, &["path", "values", "set"], |secret| {
                vec![
                    secret.path.clone(),
                    secret.versions.to_string(),
                    ago(secret.updated_at),
                ]
            })
        }
        Command::Delete { path } => {
            client.secret_delete(&path).await?;
            out.object(&serde_json::json!({"path": path, "deleted": true}), |_| {
                vec![format!("deleted {path}")]
            })
        }
    }
}

fn read_value(out: Output) -> Result<String, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        out.note("type the value, then Ctrl-D on a line of its own (it is shown as you type):");
    }
    let mut bytes = Vec::new();
    input
        .lock()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io("cannot read the value", &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::new(
            Exit::Invalid,
            "the value is larger than 64 KiB",
        ));
    }
    let mut value = String::from_utf8(bytes).map_err(|_| {
        Failure::new(Exit::Invalid, "the value is not UTF-8 text")
            .with_help("encode binary values, for example with base64")
    })?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(
            Failure::new(Exit::Invalid, "there is no value on standard input")
                .with_help("pipe it in: printf %s \"$VALUE\" | mantle secret set PATH"),
        );
    }
    Ok(value)
}
