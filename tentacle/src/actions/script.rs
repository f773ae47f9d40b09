//! `script`: runs a script in one of the shells, inline or a file of a package.
//!
//! What holds here: the script's text is taken as it is unless `substitute` asks otherwise, since
//! insertion is injection; variables arrive in the environment and, without loss, through helper
//! functions; files that hold them are in the private folder.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use mantle_shared::text_file::{MAX_TEXT_FILE_BYTES, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::shells::{Bootstrap, Shell};
use super::{Action, ActionContext, ActionError, ActionReport};
use super::{values, withheld};
use crate::durable;
use crate::output::service_message::{MESSAGE_KEY_VARIABLE, MessageRules};

/// Environment texts longer than this are left out: Linux refuses to start a program with one over
/// 128 KiB. The helper functions have them all the same.
const LONGEST_ENVIRONMENT_VALUE: usize = 100 * 1024;
/// The whole environment of variables; the system's limit is shared with the arguments.
const MOST_ENVIRONMENT_BYTES: usize = 512 * 1024;

/// The action type.
#[derive(Debug)]
pub(super) struct Script;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    shell: Option<Shell>,
    run: Option<String>,
    /// Of this the server makes an order of its own when it is to be run.
    #[expect(dead_code, reason = "only its form is looked at here")]
    rollback: Option<String>,
    package: Option<String>,
    file: Option<String>,
    #[serde(default)]
    arguments: Arguments,
    #[serde(default, deserialize_with = "values::switch")]
    substitute: bool,
    /// Whether messages that stand in the output without the key are obeyed. Steps that come from
    /// elsewhere print them, and releases of before know no other way.
    #[serde(default = "allowed", deserialize_with = "values::switch")]
    service_messages: bool,
}

fn allowed() -> bool {
    true
}

/// One text is split at spaces, with quotes; a list is taken as it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Arguments {
    Line(String),
    List(Vec<String>),
}

impl Default for Arguments {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Where a script comes from, as its inputs say.
enum Origin<'a> {
    Text(&'a str),
    File { package: &'a str, file: &'a str },
}

impl Inputs {
    fn origin(&self) -> Result<Origin<'_>, ActionError> {
        match (&self.run, &self.package, &self.file) {
            (Some(text), None, None) => Ok(Origin::Text(text)),
            (None, Some(package), Some(file)) => Ok(Origin::File { package, file }),
            (Some(_), Some(_), _)
            | (Some(_), None, Some(_))
            | (None, None, _)
            | (None, Some(_), None) => Err(ActionError::input(
                "a script needs either 'run' (its text), or 'package' and 'file' (a file of a package)",
            )),
        }
    }
}

impl Action for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn verbatim(&self) -> &'static [&'static str] {
        &["run"]
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<Inputs>(with)?.origin().map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let source = source(context, &inputs)?;
        let shell = inputs
            .shell
            .or_else(|| source.path.as_deref().and_then(Shell::of_file))
            .unwrap_or(Shell::DEFAULT);
        let program = shell.find().ok_or_else(|| {
            ActionError::failed(format!(
                "there is no {shell} on this machine; install it, or name another with 'shell:'"
            ))
        })?;
        let script = match &source.path {
            Some(path) if !inputs.substitute => path.clone(),
            _ => write_script(context, shell, &source, inputs.substitute)?,
        };
        let rules = MessageRules::new(inputs.service_messages);
        let bootstrap = Bootstrap::new(shell, context.variables, &script, &rules.key);
        let mut command = match bootstrap.file() {
            Some((name, text)) => {
                let path = context.private_dir.join(name);
                durable::write_scratch(&path, text.as_bytes()).map_err(|error| {
                    ActionError::failed(format!("the script could not be prepared: {error}"))
                })?;
                let mut command = Command::new(program);
                command.args(shell.arguments(&path));
                command
            }
            // The standard library knows how to quote for a batch file.
            None => Command::new(&script),
        };
        let arguments = match inputs.arguments {
            Arguments::Line(line) => split_arguments(&line)?,
            Arguments::List(list) => list,
        };
        command.args(arguments).current_dir(context.work_dir);
        set_environment(context, &mut command);
        if bootstrap.file().is_none() {
            // It has no functions; what it calls in their place finds the key there.
            command.env(MESSAGE_KEY_VARIABLE, &rules.key);
        }
        let end = context.output.run_child(command, &rules)?;
        if end.exit_code == 0 {
            return Ok(ActionReport {
                exit_code: Some(0),
                message: String::new(),
            });
        }
        Err(ActionError::Failed {
            message: ended(end.exit_code),
            exit_code: Some(end.exit_code),
        })
    }
}

fn ended(code: i32) -> String {
    if cfg!(unix) && code < 0 {
        format!("the script was ended by signal {}", -code)
    } else {
        format!("the script ended with exit code {code}")
    }
}

/// Where the script comes from: a file in the working folder, or a text.
struct Source {
    path: Option<PathBuf>,
    text: String,
}

fn source(context: &ActionContext<'_>, inputs: &Inputs) -> Result<Source, ActionError> {
    match inputs.origin()? {
        Origin::Text(text) => Ok(Source {
            path: None,
            text: text.to_owned(),
        }),
        Origin::File { package, file } => {
            let wanted = context
                .packages
                .iter()
                .find(|candidate| candidate.id.eq_ignore_ascii_case(package))
                .ok_or_else(|| {
                    ActionError::input(format!(
                        "with.package: the order has no package '{package}'"
                    ))
                })?;
            let relative = Path::new(file);
            if !relative
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
            {
                return Err(ActionError::input(format!(
                    "with.file: '{file}' leads out of the package; name a path inside it"
                )));
            }
            context
                .package_files
                .materialise(wanted, context.work_dir)?;
            let path = context.work_dir.join(relative);
            if !path.is_file() {
                return Err(ActionError::input(format!(
                    "with.file: package {} {} has no file '{file}'",
                    wanted.id, wanted.version
                )));
            }
            Ok(Source {
                path: Some(path),
                text: String::new(),
            })
        }
    }
}

/// Writes the text that is to run into the private folder.
fn write_script(
    context: &ActionContext<'_>,
    shell: Shell,
    source: &Source,
    substitute: bool,
) -> Result<PathBuf, ActionError> {
    let text = match &source.path {
        Some(path) => read_text(path)?,
        None => source.text.clone(),
    };
    if substitute && let Some(name) = withheld::needed(&text, context.variables) {
        return Err(withheld::refused("substitute", "the script", name));
    }
    let text = if substitute {
        (context.render)(&text)
            .map_err(|error| ActionError::input(format!("the script: {error}")))?
    } else {
        text
    };
    let path = context
        .private_dir
        .join(format!("script.{}", shell.extension()));
    durable::write_scratch(&path, shell.file_text(&text).as_bytes()).map_err(|error| {
        ActionError::failed(format!("the script could not be written: {error}"))
    })?;
    Ok(path)
}

/// A script of a package, in any encoding that the server looks into for the names of secrets.
fn read_text(path: &Path) -> Result<String, ActionError> {
    let unreadable = |why: &dyn std::fmt::Display| {
        ActionError::failed(format!(
            "{} could not be read as text: {why}",
            path.display()
        ))
    };
    let size_bytes = std::fs::metadata(path)
        .map_err(|error| unreadable(&error))?
        .len();
    if size_bytes > MAX_TEXT_FILE_BYTES {
        return Err(unreadable(&format!(
            "it has {size_bytes} bytes, and only scripts of up to {MAX_TEXT_FILE_BYTES} are substituted"
        )));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let text = decode(&bytes).map(|(text, _)| text);
    text.ok_or_else(|| unreadable(&"it is neither UTF-8 nor UTF-16"))
}

/// Variables under their names in upper case, with `_` for what a name may not hold. Where two would
/// be the same the first one stays; the helper functions know both.
fn set_environment(context: &ActionContext<'_>, command: &mut Command) {
    command
        .env_remove("MANTLE_FAULT")
        .env_remove(MESSAGE_KEY_VARIABLE);
    let mut bytes = 0;
    let mut used = std::collections::BTreeSet::new();
    for variable in context
        .variables
        .iter()
        .filter(|variable| variable.exported)
    {
        let name = environment_name(&variable.name);
        bytes += name.len() + variable.value.len();
        let fits = variable.value.len() <= LONGEST_ENVIRONMENT_VALUE
            && bytes <= MOST_ENVIRONMENT_BYTES
            && !variable.value.contains('\0');
        if !fits || is_reserved(&name) || !used.insert(name.clone()) {
            continue;
        }
        command.env(name, &variable.value);
    }
    let names = context.names;
    command
        .env("MANTLE_TASK", &names.task_number)
        .env("MANTLE_PROJECT", &names.project)
        .env("MANTLE_ENVIRONMENT", &names.environment)
        .env("MANTLE_RELEASE", &names.release)
        .env("MANTLE_STEP", &names.step)
        .env("MANTLE_ACTION", &names.action)
        .env("MANTLE_TARGET", &names.subject);
    if let Ok(program) = std::env::current_exe() {
        command.env("MANTLE_TENTACLE", program);
    }
}

/// The name of a variable as an environment variable.
pub(super) fn environment_name(name: &str) -> String {
    let mut text: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

/// A project's variable `Path` must not take the search path away from its scripts.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "PATH"
            | "HOME"
            | "USER"
            | "SHELL"
            | "PWD"
            | "IFS"
            | "ENV"
            | "BASH_ENV"
            | "LD_PRELOAD"
            | "LD_LIBRARY_PATH"
            | "PYTHONPATH"
            | "PYTHONHOME"
            | "PATHEXT"
            | "COMSPEC"
            | "SYSTEMROOT"
            | "WINDIR"
            | "TEMP"
            | "TMP"
            | "TMPDIR"
            | "PSMODULEPATH"
            | ""
    )
}

/// Splits at spaces; quotes of either kind hold a text together.
fn split_arguments(line: &str) -> Result<Vec<String>, ActionError> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => arguments.extend(current.take()),
            (_, c) => current.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(ActionError::input(
            "with.arguments: a quote is not closed; close it, or give the arguments as a list",
        ));
    }
    arguments.extend(current);
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn arguments_are_split_at_spaces_outside_quotes() {
        assert_eq!(
            split_arguments(r#"a "b c"  d'e f'g "" "#).unwrap(),
            ["a", "b c", "de fg", ""]
        );
        assert!(split_arguments("a 'b").is_err());
    }

    #[test]
    fn environment_names() {
        assert_eq!(
            environment_name("Octopus.Release.Number"),
            "OCTOPUS_RELEASE_NUMBER"
        );
        assert_eq!(environment_name("1st Try"), "_1ST_TRY");
    }
}
