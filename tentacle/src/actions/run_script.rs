//! Runs one script of an action: its text and what defines the helper functions are in the private
//! folder, its variables in the environment and, without loss, in the functions.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::shells::{Bootstrap, Shell};
use super::{ActionContext, ActionError};
use crate::durable;
use crate::output::service_message::{MESSAGE_KEY_VARIABLE, MessageRules};

/// Environment texts longer than this are left out: Linux refuses to start a program with one over
/// 128 KiB. The helper functions have them all the same.
const LONGEST_ENVIRONMENT_VALUE: usize = 100 * 1024;
/// The whole environment of variables; the system's limit is shared with the arguments.
const MOST_ENVIRONMENT_BYTES: usize = 512 * 1024;

/// What is run, and how.
pub(super) struct Run<'a> {
    /// What its files in the private folder are called: those of several scripts of one action differ.
    pub(super) name: &'a str,
    /// What runs it.
    pub(super) shell: Shell,
    /// Its file.
    pub(super) script: &'a Path,
    /// Its arguments.
    pub(super) arguments: &'a [String],
    /// The folder in which it begins.
    pub(super) folder: &'a Path,
    /// Whether messages without a key are obeyed.
    pub(super) service_messages: bool,
}

/// Runs it to its end; any exit code but 0 is a failure.
pub(super) fn run(context: &ActionContext<'_>, run: &Run<'_>) -> Result<(), ActionError> {
    let program = run.shell.program()?;
    let rules = MessageRules::new(run.service_messages);
    let bootstrap = Bootstrap::new(run.shell, context.variables, run.script, &rules.key);
    let mut command = match bootstrap.text() {
        Some(text) => {
            let name = format!("{}-bootstrap.{}", run.name, run.shell.extension());
            let path = context.private_dir.join(name);
            durable::write_scratch(&path, text.as_bytes()).map_err(|error| {
                ActionError::failed(format!("the script could not be prepared: {error}"))
            })?;
            let mut command = Command::new(program);
            command.args(run.shell.arguments(&path));
            command
        }
        // The standard library knows how to quote for a batch file.
        None => Command::new(run.script),
    };
    command.args(run.arguments).current_dir(run.folder);
    set_environment(context, &mut command);
    if bootstrap.text().is_none() {
        // It has no functions; what it calls in their place finds the key there.
        command.env(MESSAGE_KEY_VARIABLE, &rules.key);
    }
    let end = context.output.run_child(command, &rules)?;
    if end.exit_code == 0 {
        return Ok(());
    }
    Err(ActionError::Failed {
        message: ended(end.exit_code),
        exit_code: Some(end.exit_code),
    })
}

/// Writes a text that is to run into the private folder, in the form that its shell wants.
pub(super) fn write(
    context: &ActionContext<'_>,
    shell: Shell,
    name: &str,
    text: &str,
) -> Result<PathBuf, ActionError> {
    let path = context
        .private_dir
        .join(format!("{name}.{}", shell.extension()));
    durable::write_scratch(&path, shell.file_text(text).as_bytes()).map_err(|error| {
        ActionError::failed(format!("the script could not be written: {error}"))
    })?;
    Ok(path)
}

fn ended(code: i32) -> String {
    if cfg!(unix) && code < 0 {
        format!("the script was ended by signal {}", -code)
    } else {
        format!("the script ended with exit code {code}")
    }
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
fn environment_name(name: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_names() {
        assert_eq!(
            environment_name("Octopus.Release.Number"),
            "OCTOPUS_RELEASE_NUMBER"
        );
        assert_eq!(environment_name("1st Try"), "_1ST_TRY");
    }
}
