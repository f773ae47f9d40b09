//! `mantle template render`: what a target would make of a template, without a server.
//!
//! The text is printed to the byte, escape sequences too, and piece by piece: a large one is never in memory as a
//! whole. What could not be evaluated stays in it as it was and is a warning, or with `--strict` the end: then
//! nothing is printed.

mod batch;
#[cfg(test)]
mod tests;
mod variables;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mantle_template::{Options, Rendered, Template};
use serde::Serialize;

use super::exit::{CliResult, Exit, Failure};
use super::output::Output;
use variables::FlatVariables;

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Render a template, or many, with variables from a file
    Render(RenderArgs),
}

/// What to render.
#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The template; - is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "batch")]
    template: Option<PathBuf>,
    /// The variables: a JSON object of names to texts, whose order loops follow; - is standard input
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// Many at once: a JSON object a line with `id`, `template` and `variables`, answered by an
    /// object a line with `id`, `text`, `unresolved` and `error`; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["template", "variables"])]
    batch: Option<PathBuf>,
    /// End with exit code 7 if anything could not be evaluated
    #[arg(long)]
    strict: bool,
}

/// Does it.
pub(super) fn run(command: Command, out: Output) -> CliResult {
    let Command::Render(args) = command;
    let options = options();
    if let Some(batch) = &args.batch {
        let input = open(batch)?;
        let name = batch.display().to_string();
        let summary = batch::run(input, &name, &options, out, io::stdout().lock())?;
        return summary.finish(args.strict);
    }
    let path = args.template.unwrap_or_default();
    if is_stdin(&path) && args.variables.as_deref().is_some_and(is_stdin) {
        return Err(Failure::new(
            Exit::Usage,
            "standard input cannot be both the template and the variables",
        ));
    }
    let variables = match &args.variables {
        Some(path) => variables::read(path)?,
        None => FlatVariables::default(),
    };
    let text = read(&path)?;
    render(&text, &path, &variables, &options, args.strict, out)
}

/// The time of this moment and the clock on the wall of this machine.
fn options() -> Options {
    let now = Timestamp::now();
    let mut options = Options::new(now);
    options.offset = TimeZone::system().to_offset(now);
    options
}

/// The answer in JSON.
#[derive(Serialize)]
struct Answer<'r> {
    text: &'r str,
    unresolved: Vec<&'r str>,
    error: Option<String>,
}

fn render(
    text: &str,
    path: &Path,
    variables: &FlatVariables,
    options: &Options,
    strict: bool,
    out: Output,
) -> CliResult {
    let name = path.display().to_string();
    let failed = |error| {
        Failure::new(
            Exit::Invalid,
            format!("{name} cannot be rendered to its end: {error}"),
        )
    };
    let template = Template::parse(text);
    if out.is_json() {
        let rendered = template.render(&variables.0, options).map_err(failed)?;
        if strict && !rendered.is_complete() {
            return Err(incomplete(&name, &rendered));
        }
        warn(&name, &rendered, out);
        let answer = Answer {
            text: &rendered.text,
            unresolved: rendered.unresolved().collect(),
            error: rendered.first_error().map(ToString::to_string),
        };
        return out.object(&answer, |_| Vec::new());
    }
    if strict {
        // Nothing may be printed of what is not complete, so it is rendered twice.
        let tried = template.render_to(&variables.0, options, &mut |_| {});
        let tried = tried.map_err(failed)?;
        if !tried.is_complete() {
            return Err(incomplete(&name, &tried));
        }
    }
    let mut stdout = io::stdout().lock();
    let mut result = Ok(());
    let mut print = |piece: &str| {
        if result.is_ok() {
            result = stdout.write_all(piece.as_bytes());
        }
    };
    let rendered = template.render_to(&variables.0, options, &mut print);
    written(result.and_then(|()| stdout.flush()))?;
    warn(&name, &rendered.map_err(failed)?, out);
    Ok(Exit::Success)
}

/// Says what stayed as it was.
fn warn(name: &str, rendered: &Rendered<'_>, out: Output) {
    for problem in &rendered.problems {
        out.warn(&format!("{name}: {problem}"));
    }
    if rendered.more_problems > 0 {
        out.warn(&format!("{name}: {}", more(rendered.more_problems)));
    }
}

fn incomplete(name: &str, rendered: &Rendered<'_>) -> Failure {
    let mut reasons: Vec<String> = rendered.problems.iter().map(ToString::to_string).collect();
    if rendered.more_problems > 0 {
        reasons.push(more(rendered.more_problems));
    }
    Failure {
        exit: Exit::Invalid,
        message: format!("{name} cannot be rendered completely"),
        reasons,
        help: Some("without --strict these places stay as they are".to_owned()),
    }
}

fn more(count: usize) -> String {
    format!("and {count} further places")
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        // Whoever read us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Success, ""))
        }
        Err(error) => Err(Failure::io("cannot write to standard output", &error)),
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> Result<Box<dyn io::BufRead>, Failure> {
    if is_stdin(path) {
        return Ok(Box::new(io::BufReader::new(io::stdin())));
    }
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(Box::new(io::BufReader::new(file)))
}

/// The whole of a text file.
fn read(path: &Path) -> Result<String, Failure> {
    let bytes = if is_stdin(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let shown = path.display();
        Failure::new(
            Exit::Invalid,
            format!("{shown} is not UTF-8 text: the byte at offset {at} is not"),
        )
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure {
        exit: Exit::Invalid,
        ..Failure::io(&format!("cannot read {}", path.display()), error)
    }
}
