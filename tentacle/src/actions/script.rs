//! `script`: runs a script in one of the shells, inline or a file of a package.
//!
//! What holds here: the script's text is taken as it is unless `substitute` asks otherwise, since
//! insertion is injection; variables arrive in the environment and, without loss, through helper
//! functions; files that hold them are in the private folder.

use std::path::{Component, Path, PathBuf};

use mantle_shared::text_file::{MAX_TEXT_FILE_BYTES, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::run_script::{self, Run};
use super::shells::Shell;
use super::{Action, ActionContext, ActionError, ActionReport};
use super::{values, withheld};

/// What its files in the private folder are called.
const NAME: &str = "script";

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
        shell.program()?;
        let script = match &source.path {
            Some(path) if !inputs.substitute => path.clone(),
            _ => write_script(context, shell, &source, inputs.substitute)?,
        };
        let arguments = match inputs.arguments {
            Arguments::Line(line) => split_arguments(&line)?,
            Arguments::List(list) => list,
        };
        run_script::run(
            context,
            &Run {
                name: NAME,
                shell,
                script: &script,
                arguments: &arguments,
                folder: context.work_dir,
                service_messages: inputs.service_messages,
            },
        )?;
        Ok(ActionReport {
            exit_code: Some(0),
            message: String::new(),
        })
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
    run_script::write(context, shell, NAME, &text)
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
}
