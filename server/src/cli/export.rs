//! `mantle export`.
//!
//! Files that somebody has changed are not written over unasked, and none is written if one may not be.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CliResult, Exit, Failure};
use super::login::confirm;
use super::output::{Output, line_err, line_out};
use crate::api::body::ApplyFile;
use crate::client::Client;

/// What to export and where to.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Only this project; everything by default
    project: Option<String>,
    /// Write files into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write over files in the folder that differ, without asking
    #[arg(long, requires = "to")]
    force: bool,
}

/// Does it.
pub(super) async fn run(args: ExportArgs, client: &Client, out: Output) -> CliResult {
    let export = client.export(args.project.as_deref()).await?;
    if let Some(folder) = &args.to {
        let overwrite = if args.force {
            Overwrite::Any
        } else {
            Overwrite::Asked
        };
        return write_all(folder, &export.files, overwrite, out);
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

/// What is done to files that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overwrite {
    /// They are written over.
    Any,
    /// They are written over if somebody at a terminal agrees.
    Asked,
}

/// How a file in the folder stands to what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Same,
    Differs,
}

fn write_all(folder: &Path, files: &[ApplyFile], overwrite: Overwrite, out: Output) -> CliResult {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::io(&format!("cannot create {}", folder.display()), &error))?;
    let mut planned = Vec::with_capacity(files.len());
    for file in files {
        // Names come from the server: only their last part is a name here.
        let name = Path::new(&file.name).file_name().unwrap_or_default();
        let path = folder.join(name);
        let standing = standing(&path, &file.text)?;
        planned.push((path, file.text.as_str(), standing));
    }
    let changed = planned
        .iter()
        .filter(|(_, _, standing)| *standing == Standing::Differs);
    let changed: Vec<String> = changed
        .map(|(path, ..)| path.display().to_string())
        .collect();
    if !changed.is_empty() && overwrite == Overwrite::Asked {
        agree(&changed, out)?;
    }
    for (path, text, standing) in planned {
        let shown = path.display();
        if standing == Standing::Same {
            out.note(&format!("{shown} is the same already"));
            continue;
        }
        replace(&path, text)
            .map_err(|error| Failure::io(&format!("cannot write {shown}"), &error))?;
        out.note(&format!("wrote {shown}"));
    }
    Ok(Exit::Success)
}

fn standing(path: &Path, text: &str) -> Result<Standing, Failure> {
    match std::fs::read(path) {
        Ok(bytes) if bytes == text.as_bytes() => Ok(Standing::Same),
        Ok(_) => Ok(Standing::Differs),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Standing::New),
        Err(error) => Err(Failure::unreadable(path, &error)),
    }
}

/// Asks whoever is at a terminal; nobody there is a no.
fn agree(changed: &[String], out: Output) -> Result<(), Failure> {
    let refused = || Failure {
        exit: Exit::Refused,
        message: format!(
            "{} in the folder {} not what is applied, and nothing was written",
            files_of(changed.len()),
            if changed.len() == 1 { "is" } else { "are" }
        ),
        reasons: changed.to_vec(),
        help: Some("--force writes over them; 'mantle apply' applies them instead".to_owned()),
    };
    if !(std::io::stdin().is_terminal() && out.live) {
        return Err(refused());
    }
    for path in changed {
        line_err(path);
    }
    if confirm(&format!(
        "write over {} with what is applied?",
        files_of(changed.len())
    ))? {
        return Ok(());
    }
    Err(Failure::new(Exit::Cancelled, "nothing was written"))
}

fn files_of(count: usize) -> String {
    if count == 1 {
        "1 file".to_owned()
    } else {
        format!("{count} files")
    }
}

/// Writes aside and renames, so that a file is there whole or as it was.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    std::fs::write(&aside, text)?;
    std::fs::rename(&aside, path)
}
