//! What reaches the screen: data on standard output, everything else on standard error.
//!
//! Tables are for people and may change; JSON is a contract and only ever gains fields. Colour is
//! used on a terminal only, and not if `NO_COLOR` is set.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::exit::{CliResult, Exit, Failure};

/// The version of the JSON that commands print.
const SCHEMA: &str = "mantle.cli/v1";

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// How data is printed.
    pub format: Format,
    /// Standard error is a terminal on which lines can be redrawn.
    pub live: bool,
}

/// Green.
pub const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
/// Red.
pub const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
/// Yellow.
pub const WARN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
/// Grey.
pub const DIM: Style = Style::new().dimmed();

impl Output {
    /// For this process's streams.
    pub fn new(format: Format) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
        Self {
            format,
            live: io::stderr().is_terminal() && !dumb && !ci,
        }
    }

    /// JSON is asked for.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One object: its JSON, or the lines that `lines` makes of it.
    pub fn object<T: Serialize>(
        self,
        value: &T,
        lines: impl FnOnce(&T) -> Vec<String>,
    ) -> CliResult {
        match self.format {
            Format::Json => json_line(&with_schema(value)?)?,
            Format::Table => {
                for line in lines(value) {
                    line_out(&line)?;
                }
            }
        }
        Ok(Exit::Success)
    }

    /// A list: JSON with `items`, or a table with one row an item.
    pub fn list<T: Serialize>(
        self,
        items: &[T],
        headers: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> CliResult {
        match self.format {
            Format::Json => {
                let mut object = Map::new();
                object.insert("schema".to_owned(), Value::from(SCHEMA));
                object.insert("items".to_owned(), to_value(items)?);
                json_line(&Value::Object(object))?;
            }
            Format::Table if items.is_empty() => self.note("nothing there"),
            Format::Table => {
                let rows: Vec<Vec<String>> = items.iter().map(row).collect();
                line_out(&table(headers, &rows))?;
            }
        }
        Ok(Exit::Success)
    }

    /// Something for people that is not data.
    pub fn note(self, text: &str) {
        line_err(text);
    }

    /// A warning.
    pub fn warn(self, text: &str) {
        line_err(&format!("{WARN}warning:{WARN:#} {text}"));
    }

    /// Why the command did not do what was asked.
    pub fn failure(self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        line_err(&format!("{BAD}error:{BAD:#} {}", failure.message));
        for reason in &failure.reasons {
            line_err(&format!("  - {reason}"));
        }
        if let Some(help) = &failure.help {
            line_err(&format!("{DIM}help:{DIM:#} {help}"));
        }
    }
}

/// Prints data for people or programs on standard output.
pub fn line_out(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // Whoever read us has seen enough, as `head` does: not a fault, and nothing to say.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Success, ""))
        }
        Err(error) => Err(Failure::io("cannot write to standard output", &error)),
    }
}

/// Prints what is not data on standard error. Nothing can be done if that fails.
pub fn line_err(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// One JSON value on one line.
pub fn json_line(value: &Value) -> Result<(), Failure> {
    line_out(&value.to_string())
}

/// The JSON of a value, with the name of our schema in front.
pub fn with_schema<T: Serialize>(value: &T) -> Result<Value, Failure> {
    let mut object = Map::new();
    object.insert("schema".to_owned(), Value::from(SCHEMA));
    match to_value(value)? {
        Value::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Ok(Value::Object(object))
}

fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot print JSON: {error}")))
}

/// A table without lines, as wide as the terminal at most.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headers.iter().map(|header| header.to_uppercase()));
    if !io::stdout().is_terminal() {
        // Scripts and files get whole lines, whatever their length.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A moment as people read it: how long ago, or the date when that is long ago.
pub fn ago(at: Timestamp) -> String {
    ago_from(at, Timestamp::now())
}

fn ago_from(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    match seconds {
        i64::MIN..0 => format!("in {}", span(-seconds)),
        0..5 => "now".to_owned(),
        5..2_592_000 => format!("{} ago", span(seconds)),
        2_592_000.. => at.strftime("%Y-%m-%d").to_string(),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// A span as a clock shows it.
pub fn clock(seconds: i64) -> String {
    let seconds = seconds.max(0);
    if seconds < 3600 {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    } else {
        let (hours, rest) = (seconds / 3600, seconds % 3600);
        format!("{hours}:{:02}:{:02}", rest / 60, rest % 60)
    }
}

/// A size as people read it.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if value < 1024.0 || next == "TiB" {
            break;
        }
        value /= 1024.0;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// An optional text, or a dash.
pub fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

/// Names in a cell, or a dash.
pub fn names(names: &[String]) -> String {
    or_dash(Some(names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sizes_and_clocks_read_well() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| Timestamp::from_second(-seconds).unwrap_or(now);
        assert_eq!(ago_from(at(2), now), "now");
        assert_eq!(ago_from(at(90), now), "1 min ago");
        assert_eq!(ago_from(at(-7200), now), "in 2 h");
        assert_eq!(ago_from(at(40 * 86_400), now), "1969-11-22");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(19_083_000), "18.2 MiB");
        assert_eq!(clock(75), "1:15");
        assert_eq!(clock(3700), "1:01:40");
    }

    #[test]
    fn json_names_its_schema_first() {
        let text = with_schema(&serde_json::json!({"a": 1})).map(|v| v.to_string());
        assert_eq!(
            text.ok().as_deref(),
            Some(r#"{"schema":"mantle.cli/v1","a":1}"#)
        );
    }
}
