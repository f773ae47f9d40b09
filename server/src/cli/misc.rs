//! `mantle completion`, `mantle version`, `mantle schema`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde::Serialize;

use super::Cli;
use super::args::Global;
use super::connect::connect;
use super::exit::{CliResult, Exit};
use super::output::{Output, line_out, or_dash};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script.
pub(super) fn completion(args: &CompletionArgs) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mantle", &mut script);
    line_out(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Versions {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Prints the versions. A server that cannot be asked is no failure.
pub(super) async fn version(global: &Global, out: Output) -> CliResult {
    let mut versions = Versions {
        client: env!("CARGO_PKG_VERSION").to_owned(),
        server: None,
        url: None,
    };
    if let Ok(client) = connect(global) {
        match client.server_info().await {
            Ok(info) => {
                versions.server = Some(info.version);
                versions.url = Some(client.url().to_owned());
            }
            Err(error) => out.note(&error.to_string()),
        }
    }
    out.object(&versions, |versions| {
        vec![
            format!("mantle {}", versions.client),
            format!("server {}", or_dash(versions.server.clone())),
        ]
    })
}

/// Prints the JSON schema of project and infrastructure files.
pub(super) fn schema() -> CliResult {
    let schema = mantle_domain::file::schema();
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| super::Failure::new(Exit::Internal, error.to_string()))?;
    line_out(&text)?;
    Ok(Exit::Success)
}
