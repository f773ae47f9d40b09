//! What an action says, on the terminal: its output where it put it, all else on standard error, so
//! that the output alone can be piped on. All of it comes out of the spool, so it is masked.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use mantle_shared::protocol::{Level, RecordBody, Stream};

use crate::output::spool::{Next, SpoolReader};

/// The terminal, and how far the spool is shown.
pub(super) struct Screen {
    dir: PathBuf,
    reader: Option<SpoolReader>,
    verbose: bool,
}

impl Screen {
    pub(super) fn new(dir: &Path, verbose: bool) -> Self {
        Self {
            dir: dir.to_owned(),
            reader: None,
            verbose,
        }
    }

    /// Shows what is new.
    pub(super) fn show(&mut self) {
        if self.reader.is_none() {
            // It is not there before the supervisor has begun.
            self.reader = SpoolReader::open(&self.dir, 0).ok().flatten();
        }
        while let Some(reader) = &mut self.reader {
            match reader.advance() {
                Ok(Next::Record(record)) => print(&record.body, self.verbose),
                Ok(Next::Missing { .. }) => {}
                // What is half written is whole the next time.
                Ok(Next::Nothing) | Err(_) => return,
            }
        }
    }
}

fn print(body: &RecordBody, verbose: bool) {
    match body {
        RecordBody::Line {
            stream,
            level,
            text,
        } => line(*stream, *level, text, "\n", verbose),
        RecordBody::Piece {
            stream,
            level,
            text,
        } => line(*stream, *level, text, "", verbose),
        RecordBody::Variable {
            name,
            value,
            sensitive,
        } => {
            let value = if *sensitive { "********" } else { value };
            say(&format!("output {name} = {value}"));
        }
        RecordBody::Progress { percent, message } => say(&format!("{percent} % {message}")),
        RecordBody::Gap { lines, reason, .. } => {
            say(&format!("{lines} lines are missing: {reason}"));
        }
        RecordBody::Artifact {
            name, size_bytes, ..
        } => say(&format!("artifact {name} ({size_bytes} bytes)")),
    }
}

fn line(stream: Stream, level: Level, text: &str, end: &str, verbose: bool) {
    let mark = match level {
        Level::Verbose if !verbose => return,
        Level::Warning => "warning: ",
        Level::Error if stream == Stream::Agent => "error: ",
        _ => "",
    };
    // A reader that has seen enough is no error.
    let _ = match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout();
            write!(out, "{mark}{text}{end}").and_then(|()| out.flush())
        }
        Stream::Stderr | Stream::Agent => write!(std::io::stderr(), "{mark}{text}{end}"),
    };
}

/// Says something of the command itself.
pub(super) fn say(text: &str) {
    // Nothing is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "-- {text}");
}
