//! Many templates in one run: a JSON object a line in, one a line out, in the same order.
//!
//! A line that cannot be read is answered in its place, and the run goes on: whoever counts lines
//! finds as many answers as there were questions. Its end says that something was wrong.

use std::io::{BufRead, Write};

use mantle_template::Options;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::variables::FlatVariables;
use super::{warn, written};
use crate::cli::exit::{CliResult, Exit, Failure};
use crate::cli::output::Output;

/// One line in. Further fields are the caller's own.
#[derive(Deserialize)]
struct Request {
    id: Value,
    template: String,
    #[serde(default)]
    variables: FlatVariables,
}

/// One line out.
#[derive(Serialize)]
struct Answer<'r> {
    id: &'r Value,
    text: &'r str,
    /// Well-formed tokens that could not be evaluated.
    unresolved: Vec<&'r str>,
    /// The first tag that cannot be read, or variables that refer to themselves; or why the line
    /// cannot be read.
    error: Option<String>,
}

/// What a line looks like, for who wrote one that cannot be read.
const EXAMPLE: &str = r#"{"id":"1","template":"Hi #{Name}","variables":{"Name":"Ann"}}"#;

/// How it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) templates: usize,
    pub(super) incomplete: usize,
    /// Lines that are no template with its variables.
    pub(super) unread: usize,
}

impl Summary {
    pub(super) fn finish(&self, strict: bool) -> CliResult {
        let Self {
            templates,
            incomplete,
            unread,
        } = self;
        if *unread > 0 {
            let lines = templates + unread;
            return Err(Failure::new(
                Exit::Invalid,
                format!("{unread} of {lines} lines cannot be read; their answers say why"),
            )
            .with_help(format!("a line looks like {EXAMPLE}")));
        }
        if strict && *incomplete > 0 {
            return Err(Failure::new(
                Exit::Invalid,
                format!("{incomplete} of {templates} templates cannot be rendered completely"),
            ));
        }
        Ok(Exit::Success)
    }
}

/// Answers line by line, so that a reader may take each answer before it writes the next line.
pub(super) fn run(
    mut input: impl BufRead,
    name: &str,
    options: &Options,
    out: Output,
    mut answers: impl Write,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let place = format!("{name}:{}", number + 1);
        if read.map_err(|error| super::unreadable(name.as_ref(), &error))? == 0 {
            return Ok(summary);
        }
        number += 1;
        let json = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if json.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Request>(json) {
            Ok(request) => {
                summary.templates += 1;
                let complete = answer(&request, &place, options, out, &mut answers)?;
                summary.incomplete += usize::from(!complete);
            }
            Err(error) => {
                summary.unread += 1;
                answer_unread(json, &place, &error, out, &mut answers)?;
            }
        }
    }
}

/// Answers a line that cannot be read, with as much of it as can be told.
fn answer_unread(
    line: &[u8],
    place: &str,
    error: &serde_json::Error,
    out: Output,
    answers: &mut impl Write,
) -> Result<(), Failure> {
    let read: Value = serde_json::from_slice(line).unwrap_or_default();
    let said = format!("{place}: not a template with its variables: {error}");
    out.warn(&said);
    let answer = Answer {
        id: read.get("id").unwrap_or(&Value::Null),
        text: read
            .get("template")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        unresolved: Vec::new(),
        error: Some(said),
    };
    write(&answer, answers)
}

/// Answers one and says whether all of it could be evaluated.
fn answer(
    request: &Request,
    place: &str,
    options: &Options,
    out: Output,
    answers: &mut impl Write,
) -> Result<bool, Failure> {
    let rendered = mantle_template::render(&request.template, &request.variables.0, options);
    let (answer, complete) = match &rendered {
        Ok(rendered) => {
            warn(place, rendered, out);
            let answer = Answer {
                id: &request.id,
                text: &rendered.text,
                unresolved: rendered.unresolved().collect(),
                error: rendered.first_error().map(ToString::to_string),
            };
            (answer, rendered.is_complete())
        }
        // A limit was met: there is no result, so the template stays as it is.
        Err(error) => {
            out.warn(&format!("{place}: {error}"));
            let answer = Answer {
                id: &request.id,
                text: &request.template,
                unresolved: Vec::new(),
                error: Some(error.to_string()),
            };
            (answer, false)
        }
    };
    write(&answer, answers)?;
    Ok(complete)
}

fn write(answer: &Answer<'_>, answers: &mut impl Write) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec(answer)
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    bytes.push(b'\n');
    written(answers.write_all(&bytes).and_then(|()| answers.flush()))
}
