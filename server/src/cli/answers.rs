//! What is said about a deployment: answers to what it asks (`--variable NAME=VALUE` and, for
//! secrets and long texts, `--variable-file NAME=FILE`), a comment, fields of its own.

use std::collections::BTreeMap;
use std::io::Read as _;

use clap::Args;

use super::exit::{Exit, Failure};
use super::release::field;
use crate::api::body::Answers;

/// The largest answer; the server refuses larger ones too.
const MAX_BYTES: u64 = 64 * 1024;

/// What is to be remembered of a deployment.
#[derive(Debug, Clone, Args)]
pub(super) struct AboutArgs {
    /// What is to be said about it; 'deployment show' shows it
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// A field of its own, as NAME:VALUE, such as ticket:OPS-12; at most 10
    #[arg(long = "field", value_name = "NAME:VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
}

impl AboutArgs {
    /// The comment and the fields.
    pub(super) fn read(self) -> Result<(String, BTreeMap<String, String>), Failure> {
        Ok((self.comment, once(self.fields)?))
    }
}

/// Fields by name, each given once.
pub(super) fn once(fields: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in fields {
        if all.contains_key(&name) {
            let message = format!("the field '{name}' is given twice");
            return Err(Failure::new(Exit::Usage, message).with_help("give each field once"));
        }
        all.insert(name, value);
    }
    Ok(all)
}

/// Answers on the command line.
#[derive(Clone, Args)]
pub(super) struct AnswerArgs {
    /// The value of a variable that the deployment asks for, by its name or label; may be given
    /// several times
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// The same from a file, or - for standard input (without one line feed at its end): a secret
    /// then stands in no history of the shell
    #[arg(long = "variable-file", value_name = "NAME=FILE", value_parser = pair)]
    files: Vec<(String, String)>,
}

/// Values may be secrets.
impl std::fmt::Debug for AnswerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerArgs").finish_non_exhaustive()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
}

impl AnswerArgs {
    /// The answers, files read.
    pub(super) fn read(self) -> Result<Answers, Failure> {
        let mut answers = BTreeMap::new();
        let mut add = |name: String, value: String| {
            let taken = answers.insert(name.clone(), value).is_some();
            if taken {
                let message = format!("the variable '{name}' is given twice");
                return Err(Failure::new(Exit::Usage, message));
            }
            Ok(())
        };
        for (name, value) in self.variables {
            add(name, value)?;
        }
        for (name, file) in self.files {
            let value = read(&name, &file)?;
            add(name, value)?;
        }
        Ok(Answers::new(answers))
    }
}

fn read(name: &str, file: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let result = if file == "-" {
        let input = std::io::stdin().lock();
        input.take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| Failure {
        exit: Exit::Invalid,
        ..Failure::io(&format!("cannot read {file}"), &error)
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the value of '{name}' is larger than 64 KiB");
        return Err(Failure::new(Exit::Invalid, message));
    }
    let mut value = String::from_utf8(bytes).map_err(|_| {
        let message = format!("the value of '{name}' is not UTF-8 text");
        Failure::new(Exit::Invalid, message)
    })?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_field_is_given_once() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = once(vec![pair("a", "1"), pair("b", "")]).unwrap();
        assert_eq!(fields.len(), 2);
        let failure = once(vec![pair("a", "1"), pair("a", "2")]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_value_may_hold_equal_signs_and_a_name_must_be_there() {
        assert_eq!(pair("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("A=").unwrap(), ("A".to_owned(), String::new()));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }

    #[test]
    fn files_lose_one_line_feed_and_a_name_stands_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        std::fs::write(&path, "s3cret\n\n").unwrap();
        let file = ("Pin".to_owned(), path.display().to_string());
        let args = AnswerArgs {
            variables: vec![("A".to_owned(), "1".to_owned())],
            files: vec![file.clone()],
        };
        assert!(!format!("{args:?}").contains("Pin"));
        let answers = args.read().unwrap();
        assert_eq!(answers.expose()["Pin"], "s3cret\n");
        let twice = AnswerArgs {
            variables: vec![("Pin".to_owned(), "1".to_owned())],
            files: vec![file],
        };
        assert_eq!(twice.read().unwrap_err().exit, Exit::Usage);
    }
}
