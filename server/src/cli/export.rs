//! `mantle export`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, line_out};
use crate::client::Client;

/// What to export and where to.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only this project; everything by default
    project: Option<String>,
    /// Write files into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Does it.
pub(super) async fn run(args: ExportArgs, client: &Client, out: Output) -> CliResult {
    let export = client.export(args.project.as_deref()).await?;
    if let Some(folder) = &args.to {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::io(&format!("cannot create {}", folder.display()), &error))?;
        for file in &export.files {
            // Names come from the server: only their last part is a name here.
            let name = Path::new(&file.name).file_name().unwrap_or_default();
            let path = folder.join(name);
            std::fs::write(&path, &file.text).map_err(|error| {
                Failure::io(&format!("cannot write {}", path.display()), &error)
            })?;
            out.note(&format!("wrote {}", path.display()));
        }
        return Ok(Exit::Success);
    }
    if out.is_json() {
        return out.object(&export, |_| Vec::new());
    }
    for (index, file) in export.files.iter().enumerate() {
        if index > 0 {
            line_out("---")?;
        }
        line_out(file.text.trim_end())?;
    }
    Ok(Exit::Success)
}
