//! Asks on the terminal what a deployment asks for and the command line did not answer.
//!
//! Questions go to standard error, so that what is printed stays data. What is wrong is said at
//! once and asked again; the server judges all of it once more. A secret is typed unseen.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use super::exit::{Exit, Failure};
use super::live::harmless;
use super::output::Output;
use crate::api::body::{Answers, PlanPrompt};

/// The largest answer; the server refuses larger ones too.
const MAX_BYTES: u64 = 64 * 1024;

/// Somebody sits there who can be asked.
pub(super) fn possible(out: Output) -> bool {
    io::stdin().is_terminal() && out.live
}

/// The answers, with those that were not given yet.
pub(super) fn unanswered(
    asked: &[PlanPrompt],
    given: Answers,
    out: Output,
) -> Result<Answers, Failure> {
    let open: Vec<&PlanPrompt> = asked.iter().filter(|prompt| !prompt.answered).collect();
    if open.is_empty() {
        return Ok(given);
    }
    out.note("this deployment asks for values; Enter alone takes what stands in brackets");
    let mut answers = given.expose().clone();
    dialog(&open, &mut Terminal, &mut answers)?;
    Ok(Answers::new(answers))
}

/// How the dialog reaches people.
trait Person {
    /// Says something.
    fn say(&mut self, text: &str) -> io::Result<()>;
    /// Asks for a line, which is seen while it is typed; `None` at the end of the input.
    fn line(&mut self, question: &str) -> io::Result<Option<String>>;
    /// Asks for a line that is not seen.
    fn hidden(&mut self, question: &str) -> io::Result<Option<String>>;
}

/// The next answer, if there is to be one: without it the default holds.
fn dialog(
    open: &[&PlanPrompt],
    person: &mut impl Person,
    answers: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    for prompt in open {
        let given = ask(prompt, person).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => stopped(prompt),
            io::ErrorKind::Unsupported => unseen(prompt),
            _ => Failure::io("cannot ask on the terminal", &error),
        })?;
        if let Some(given) = given {
            answers.insert(prompt.variable.clone(), given);
        }
    }
    Ok(())
}

fn stopped(prompt: &PlanPrompt) -> Failure {
    Failure::new(
        Exit::Cancelled,
        format!(
            "nothing was deployed: '{}' was asked for and not answered",
            prompt.variable
        ),
    )
    .with_help(format!(
        "answer it on the command line: --variable {}=VALUE, or take all defaults: --defaults",
        prompt.variable
    ))
}

fn unseen(prompt: &PlanPrompt) -> Failure {
    let name = &prompt.variable;
    Failure::new(
        Exit::Usage,
        format!("'{name}' is a secret, and what is typed here would be seen"),
    )
    .with_help(format!("give it in a file: --variable-file {name}=FILE"))
}

fn ask(prompt: &PlanPrompt, person: &mut impl Person) -> io::Result<Option<String>> {
    person.say(&heading(prompt))?;
    if let Some(description) = &prompt.description {
        person.say(&format!("  {}", harmless(description)))?;
    }
    for (number, option) in (1..).zip(&prompt.options) {
        person.say(&format!("  {number}. {}", harmless(option)))?;
    }
    let question = question(prompt);
    loop {
        let answer = match prompt.control.as_str() {
            "sensitive" => person.hidden(&question)?,
            "multi-line" => several(person, &question)?,
            _ => person.line(&question)?,
        };
        let Some(answer) = answer else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if answer.is_empty() && (prompt.default.is_some() || !prompt.required) {
            return Ok(None);
        }
        match understood(prompt, &answer) {
            Ok(answer) => return Ok(Some(answer)),
            Err(why) => person.say(&format!("  {why}"))?,
        }
    }
}

/// Lines up to one with a dot alone, or to the end of the input; only the first shows the question.
fn several(person: &mut impl Person, question: &str) -> io::Result<Option<String>> {
    let mut lines = Vec::new();
    let mut question = question;
    while let Some(line) = person.line(question)? {
        if line == "." {
            break;
        }
        lines.push(line);
        // Enter alone at once is no text.
        if lines == [""] {
            break;
        }
        question = "";
    }
    Ok(Some(lines.join("\n")))
}

fn heading(prompt: &PlanPrompt) -> String {
    let mut notes = Vec::new();
    if prompt.label.is_some() {
        notes.push(harmless(&prompt.variable));
    }
    if prompt.required {
        notes.push("required".to_owned());
    }
    let name = harmless(prompt.label.as_ref().unwrap_or(&prompt.variable));
    if notes.is_empty() {
        name
    } else {
        format!("{name} ({})", notes.join(", "))
    }
}

fn question(prompt: &PlanPrompt) -> String {
    let how = match prompt.control.as_str() {
        "checkbox" => "yes or no",
        "select" => "number or text",
        "multi-line" => "lines, the last one a dot",
        "sensitive" => "not shown",
        _ => "",
    };
    let default = match (&prompt.default, prompt.control.as_str()) {
        (None, "checkbox") => " [False]".to_owned(),
        (None, _) => String::new(),
        // Nobody should read over a shoulder what another one would have typed unseen.
        (Some(_), "sensitive") => " [the default]".to_owned(),
        (Some(default), "text") => format!("[{}]", harmless(default)),
        (Some(default), _) => format!(" [{}]", harmless(default)),
    };
    format!("  {how}{default}> ")
}

/// The answer as it is sent, or what is wrong with it.
fn understood(prompt: &PlanPrompt, answer: &str) -> Result<String, String> {
    let text = answer.trim();
    match prompt.control.as_str() {
        _ if text.is_empty() => Err("it is required".to_owned()),
        "checkbox" => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" | "1" => Ok("True".to_owned()),
            "n" | "no" | "false" | "0" => Ok("False".to_owned()),
            _ => Err("answer yes or no".to_owned()),
        },
        "select" => {
            let options = &prompt.options;
            // An option that is itself a number is meant by its text.
            let by_text = options.iter().find(|option| *option == text);
            let number = text.parse::<usize>().ok();
            let by_number = number.and_then(|number| options.get(number.checked_sub(1)?));
            by_text
                .or(by_number)
                .cloned()
                .ok_or_else(|| format!("answer 1 to {}, or one of the texts", options.len()))
        }
        _ if answer.len() as u64 > MAX_BYTES => Err("it is longer than 64 KiB".to_owned()),
        // Spaces around a secret belong to it.
        "sensitive" | "multi-line" => Ok(answer.to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// The terminal of this process.
struct Terminal;

impl Person for Terminal {
    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(anstream::stderr(), "{text}")
    }

    fn line(&mut self, question: &str) -> io::Result<Option<String>> {
        show(question)?;
        let mut line = String::new();
        let mut input = io::stdin().lock().take(MAX_BYTES + 1);
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let end = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(end);
        Ok(Some(line))
    }

    fn hidden(&mut self, question: &str) -> io::Result<Option<String>> {
        hidden(question)
    }
}

fn show(question: &str) -> io::Result<()> {
    let mut err = anstream::stderr();
    write!(err, "{question}")?;
    err.flush()
}

/// Reads a line without echo. Signals by keys are off meanwhile, so that nothing ends this program
/// before the terminal is as it was.
#[cfg(unix)]
fn hidden(question: &str) -> io::Result<Option<String>> {
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    struct Restore(Termios);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.0) {
                tracing::warn!(%error, "the terminal cannot be set back; 'stty sane' does it");
            }
        }
    }

    let before = tcgetattr(io::stdin())?;
    let mut quiet = before.clone();
    quiet
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    // From before the question is shown, so that nothing that is typed after it is seen.
    tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
    let restore = Restore(before);
    show(question)?;
    let typed = typed(&mut io::stdin().lock());
    drop(restore);
    writeln!(anstream::stderr())?;
    typed
}

#[cfg(not(unix))]
fn hidden(_question: &str) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A line, key by key, with what a terminal would do about it: rubbing out, Ctrl-U, Ctrl-C, Ctrl-D.
#[cfg(any(unix, test))]
fn typed(input: &mut impl io::Read) -> io::Result<Option<String>> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let mut key = [0];
    loop {
        if input.read(&mut key)? == 0 {
            return Ok(None);
        }
        match key[0] {
            b'\n' | b'\r' => break,
            0x03 => return Err(io::ErrorKind::Interrupted.into()),
            0x04 if bytes.is_empty() => return Ok(None),
            0x04 => {}
            0x15 => bytes.clear(),
            0x08 | 0x7f => {
                // A character is as many bytes as UTF-8 gives it.
                while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if bytes.len() as u64 <= MAX_BYTES => bytes.push(byte),
            _ => {}
        }
    }
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
