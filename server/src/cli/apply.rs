//! `mantle apply`: the difference first, then all of it or nothing.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CliResult, Exit, Failure};
use super::login::confirm;
use super::output::{BAD, DIM, GOOD, Output, WARN, line_err, line_out};
use crate::api::body::{ApplyFile, ApplyRequest, ApplyResult, Change, ChangeKind};
use crate::client::Client;

/// A file larger than this is not a project file.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// As many files as the server takes at once.
const MOST_FILES: usize = 1000;
/// Folders within folders; nobody sorts project files deeper.
const MOST_DEPTH: usize = 16;

/// What to apply.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A file, a folder of .yaml files with those in its folders, or - for standard input; may be
    /// given several times
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    /// Remove projects, variable sets, targets, health checks, lifecycles and environments that no
    /// file names and nothing uses; asks first, as for every change
    #[arg(long)]
    prune: bool,
    /// Do not ask before applying
    #[arg(short, long)]
    yes: bool,
}

/// Does it.
pub(super) async fn run(args: ApplyArgs, client: &Client, out: Output) -> CliResult {
    let files = read_all(&args.files, out)?;
    let mut request = ApplyRequest {
        files,
        dry_run: true,
        prune: args.prune,
        ..ApplyRequest::default()
    };
    let preview = client.apply(&request).await?;
    // On a terminal the difference is shown before anything happens; a program must say --yes.
    let asks = !args.yes && std::io::stdin().is_terminal() && out.live;
    if args.dry_run || preview.changes.is_empty() {
        return finish(&preview, out);
    }
    if !args.yes && !asks {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "nobody can be asked whether to apply {}, and nothing was applied",
                count(preview.changes.len())
            ),
        )
        .with_help("look at the difference with --dry-run, then type --yes"));
    }
    if asks {
        warn(&preview, out);
        show(&preview, |line| {
            line_err(line);
            Ok(())
        })?;
        if !confirm(&format!("apply {}?", count(preview.changes.len())))? {
            return Err(Failure::new(Exit::Cancelled, "nothing was applied"));
        }
    }
    request.dry_run = false;
    // What was shown, or else nothing.
    request.expect = Some(preview.digest.clone());
    let agreed = preview.changes.iter();
    request.agreed = agreed
        .map(|change| (change.key(), change.digest.clone()))
        .collect();
    let mut applied = client.apply(&request).await?;
    if asks {
        // They were read before the answer was given.
        applied
            .warnings
            .retain(|warning| !preview.warnings.contains(warning));
    }
    finish(&applied, out)
}

/// Prints what was changed, or would be.
pub(super) fn finish(result: &ApplyResult, out: Output) -> CliResult {
    warn(result, out);
    if out.is_json() {
        return out.object(result, |_| Vec::new());
    }
    show(result, line_out)?;
    let changes = count(result.changes.len());
    out.note(&match (result.changes.is_empty(), result.applied) {
        (true, _) => "nothing to change".to_owned(),
        (false, true) => format!("{changes} applied"),
        (false, false) => format!("{changes} to apply; nothing was changed"),
    });
    Ok(Exit::Success)
}

fn warn(result: &ApplyResult, out: Output) {
    for warning in &result.warnings {
        out.warn(warning);
    }
}

fn show(result: &ApplyResult, print: impl Fn(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    for change in &result.changes {
        print(&headline(change))?;
        // The line that only says again what the headline says adds nothing.
        let again = format!("+ {} '{}'", change.kind, change.name);
        for line in change.diff.iter().filter(|line| **line != again) {
            let style = match line.as_bytes().first() {
                Some(b'+') => GOOD,
                Some(b'-') => BAD,
                Some(b'~') => WARN,
                _ => DIM,
            };
            print(&format!("    {style}{line}{style:#}"))?;
        }
    }
    Ok(())
}

fn headline(change: &Change) -> String {
    match change.change {
        ChangeKind::Create => format!("{GOOD}+{GOOD:#} {} {}", change.kind, change.name),
        ChangeKind::Update => format!("{WARN}~{WARN:#} {} {}", change.kind, change.name),
        ChangeKind::Remove => format!("{BAD}-{BAD:#} {} {}", change.kind, change.name),
    }
}

fn count(changes: usize) -> String {
    if changes == 1 {
        "1 change".to_owned()
    } else {
        format!("{changes} changes")
    }
}

/// The files, and those in the folders.
pub(super) fn read_all(paths: &[PathBuf], out: Output) -> Result<Vec<ApplyFile>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = yaml_files(path)?;
            for link in &found.links {
                out.warn(&format!(
                    "{} is a link to a folder and was not looked into; name it with -f if it belongs here",
                    link.display()
                ));
            }
            for inner in &found.files {
                files.push(read(inner)?);
            }
        } else {
            files.push(read(path)?);
        }
    }
    Ok(files)
}

/// What is in a folder.
#[derive(Debug, Default)]
struct Found {
    /// Files of YAML, in order.
    files: Vec<PathBuf>,
    /// Links to folders: what they lead to may lead back.
    links: Vec<PathBuf>,
}

/// The files of a folder and of the folders in it. What begins with a dot is not meant.
fn yaml_files(folder: &Path) -> Result<Found, Failure> {
    let mut found = Found::default();
    look_into(folder, 0, &mut found)?;
    if found.files.is_empty() {
        let shown = folder.display();
        return Err(Failure::new(
            Exit::Invalid,
            format!("the folder {shown} holds no .yaml file"),
        )
        .with_help("name the files themselves: mantle apply -f FILE"));
    }
    found.files.sort();
    Ok(found)
}

fn look_into(folder: &Path, depth: usize, found: &mut Found) -> Result<(), Failure> {
    let unreadable = |error| {
        Failure::io(
            &format!("cannot read the folder {}", folder.display()),
            &error,
        )
    };
    let too_much = if depth > MOST_DEPTH {
        Some(format!(
            "{} is more than {MOST_DEPTH} folders deep",
            folder.display()
        ))
    } else if found.files.len() > MOST_FILES {
        Some(format!("there are more than {MOST_FILES} .yaml files"))
    } else {
        None
    };
    if let Some(message) = too_much {
        return Err(Failure::new(Exit::Invalid, message)
            .with_help("name the folders that are meant: mantle apply -f FOLDER"));
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if kind.is_dir() {
            look_into(&path, depth + 1, found)?;
        } else if path.is_dir() {
            found.links.push(path);
        } else if matches!(extension, Some("yaml" | "yml")) && path.is_file() {
            found.files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<ApplyFile, Failure> {
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    let result = if shown == "-" {
        let input = std::io::stdin().lock();
        input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| Failure::unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{shown} is larger than 4 MiB; it is hardly a project file"),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(
            Exit::Invalid,
            format!("{shown} is not UTF-8 text: the byte at offset {at} is not"),
        )
    })?;
    Ok(ApplyFile { name: shown, text })
}
