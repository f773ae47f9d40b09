//! Many templates in one run: a JSON object a line in, one a line out, in the same order.

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
    /// The first tag that cannot be read, or variables that refer to themselves.
    error: Option<String>,
}

/// How it went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) templates: usize,
    pub(super) incomplete: usize,
}

impl Summary {
    pub(super) fn finish(&self, strict: bool) -> CliResult {
        if strict && self.incomplete > 0 {
            let Self {
                templates,
                incomplete,
            } = self;
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
        let request: Request = serde_json::from_slice(json).map_err(|error| {
            Failure::new(
                Exit::Invalid,
                format!("{place}: not a template with its variables: {error}"),
            )
            .with_help(r#"a line looks like {"id":"1","template":"Hi #{Name}","variables":{"Name":"Ann"}}"#)
        })?;
        summary.templates += 1;
        summary.incomplete += usize::from(!answer(&request, &place, options, out, &mut answers)?);
    }
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
    let mut bytes = serde_json::to_vec(&answer)
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    bytes.push(b'\n');
    written(answers.write_all(&bytes).and_then(|()| answers.flush()))?;
    Ok(complete)
}
