//! `tentacle config apply`, `transform` and `substitute`: one file, in place, as a step of a deployment would
//! do it. A failure leaves the file as it was.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::super::{EXIT_INTERNAL, EXIT_INVALID, EXIT_NOT_FOUND, Failure, print, warn};
use crate::config::{self, Applied, Format, OnWarning, Settings, file};

/// Where the result goes.
#[derive(Debug, Args)]
struct Target {
    /// Prints what the file would become, and leaves it as it is.
    #[arg(long)]
    print: bool,
    /// The file.
    file: PathBuf,
}

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// JSON, also with comments.
    Json,
    /// YAML.
    Yaml,
    /// XML; variables are named by XPath.
    Xml,
    /// Java properties.
    Properties,
    /// The settings of a .NET configuration file.
    DotnetConfig,
    /// By its name, then by its content.
    Auto,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Json => Self::Json,
            FormatArg::Yaml => Self::Yaml,
            FormatArg::Xml => Self::Xml,
            FormatArg::Properties => Self::Properties,
            FormatArg::DotnetConfig => Self::DotnetConfig,
            FormatArg::Auto => Self::Auto,
        }
    }
}

/// Which variables, into which file.
#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// How the file is written.
    #[arg(long, value_enum, default_value = "auto")]
    format: FormatArg,
    /// A JSON file of the variables: an object of names and values.
    #[arg(long, value_name = "FILE.json")]
    variables: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Which transforms, of which file.
#[derive(Debug, Args)]
pub(in crate::cli) struct TransformArgs {
    /// The transform; several are applied one after the other.
    #[arg(long = "transform", value_name = "FILE", required = true)]
    transforms: Vec<PathBuf>,
    /// Only tells of warnings, such as an element that is not there; otherwise they are failures.
    #[arg(long)]
    ignore_warnings: bool,
    #[command(flatten)]
    target: Target,
}

/// Which variables, into which file.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubstituteArgs {
    /// A JSON file of the variables: an object of names and values.
    #[arg(long, value_name = "FILE.json")]
    variables: PathBuf,
    /// Only tells what cannot be replaced, which otherwise is a failure.
    #[arg(long)]
    ignore_warnings: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn apply(args: &ApplyArgs) -> Result<(), Failure> {
    let settings = variables(&args.variables)?;
    let path = &args.target.file;
    let name = path.display().to_string();
    let bytes = read(path)?;
    let applied = config::apply(args.format.into(), &name, &bytes, &settings)
        .map_err(|error| Failure::new(EXIT_INVALID, error.in_file(&name)))?;
    for refused in &applied.refused {
        warn(&format!("{name}: {refused}"));
    }
    for warning in &applied.warnings {
        warn(&format!("{name}: {warning}"));
    }
    finish(&args.target, &bytes, applied.bytes.as_deref())?;
    if !args.target.print {
        print(&told(&name, &applied));
    }
    Ok(())
}

/// What became of a file.
fn told(name: &str, applied: &Applied) -> String {
    let format = applied.format;
    match applied.set.len() {
        0 => format!("{name}: no variable has a place in it, read as {format}; it stays as it was"),
        1 => format!("{name}: set {} in {format}", applied.set.join(", ")),
        many => format!("{name}: set {many} in {format}: {}", applied.set.join(", ")),
    }
}

pub(super) fn transform(args: &TransformArgs) -> Result<(), Failure> {
    let path = &args.target.file;
    let name = path.display().to_string();
    let old = read(path)?;
    let on_warning = if args.ignore_warnings {
        OnWarning::Tell
    } else {
        OnWarning::Fail
    };
    let mut new: Option<Vec<u8>> = None;
    let mut done = 0;
    for rules in &args.transforms {
        let applied = config::transform(
            new.as_deref().unwrap_or(&old),
            &rules.display().to_string(),
            &read(rules)?,
            on_warning,
        )
        .map_err(|error| Failure::new(EXIT_INVALID, error.in_file(&name)))?;
        for warning in &applied.warnings {
            warn(warning);
        }
        done += applied.set.len();
        new = applied.bytes.or(new);
    }
    finish(&args.target, &old, new.as_deref())?;
    if !args.target.print {
        print(&match (done, &new) {
            (0, _) | (_, None) => {
                format!("{name}: the transform changes nothing; it stays as it was")
            }
            (1, Some(_)) => format!("{name}: 1 transform applied"),
            (many, Some(_)) => format!("{name}: {many} transforms applied"),
        });
    }
    Ok(())
}

pub(super) fn substitute(args: &SubstituteArgs) -> Result<(), Failure> {
    let settings = variables(&args.variables)?;
    let path = &args.target.file;
    let name = path.display().to_string();
    let bytes = read(path)?;
    let done = config::substitute(&bytes, &settings.for_templates(), Timestamp::now())
        .map_err(|error| Failure::new(EXIT_INVALID, format!("{name}: {error}")))?;
    let mut problems: Vec<String> = done
        .problems
        .iter()
        .map(|problem| format!("{name}, {problem}"))
        .collect();
    if done.more_problems > 0 {
        problems.push(format!("{name}: and {} more", done.more_problems));
    }
    if !args.ignore_warnings && !problems.is_empty() {
        let message = format!(
            "{}\nthe file stays as it was; --ignore-warnings writes it all the same",
            problems.join("\n")
        );
        return Err(Failure::new(EXIT_INVALID, message));
    }
    for problem in &problems {
        warn(problem);
    }
    finish(&args.target, &bytes, done.bytes.as_deref())?;
    if !args.target.print {
        print(&match done.bytes {
            Some(_) => format!("{name}: templates replaced"),
            None => format!("{name}: there is nothing to replace; it stays as it was"),
        });
    }
    Ok(())
}

fn variables(path: &Path) -> Result<Settings, Failure> {
    let name = path.display().to_string();
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::new(EXIT_INVALID, format!("{name}: it is not UTF-8")))?;
    Settings::from_json(text, Timestamp::now())
        .map_err(|error| Failure::new(EXIT_INVALID, error.in_file(&name)))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    file::read(path).map_err(|error| {
        let code = match error {
            file::FileError::Missing(_) => EXIT_NOT_FOUND,
            file::FileError::TooLarge(_) => EXIT_INVALID,
            file::FileError::Read { .. } | file::FileError::Write { .. } => EXIT_INTERNAL,
        };
        Failure::new(code, error.to_string())
    })
}

/// Prints or writes the new bytes; without any the file is as it should be.
fn finish(target: &Target, old: &[u8], new: Option<&[u8]>) -> Result<(), Failure> {
    if target.print {
        // A reader that has seen enough is no error.
        let _ = std::io::stdout().write_all(new.unwrap_or(old));
        return Ok(());
    }
    match new {
        Some(new) => file::write(&target.file, new)
            .map_err(|error| Failure::new(EXIT_INVALID, error.to_string())),
        None => Ok(()),
    }
}
