//! How fast templates are rendered and how much memory that takes.
//!
//! `cargo run --release -p mantle-template --example throughput` prints a row for each kind of text: megabytes a
//! second, and (on Linux) the memory that the process had grown by at most, text and result included, as a
//! multiple of the text's size. Each kind runs in a process of its own, or one would hide the other's memory.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use mantle_template::{Options, Variables, render};

const SIZE: usize = 10 << 20;

type Kind = (&'static str, fn() -> String);

const KINDS: &[Kind] = &[
    ("text without tags", || filled("The quick brown fox. ")),
    ("a tag in 10 KiB", || {
        filled(&format!(
            "{}#{{Name}}\n",
            "The quick brown fox. ".repeat(487)
        ))
    }),
    ("a tag in 100 bytes", || {
        filled(&format!("{}#{{Name}}\n", "The quick brown fox. ".repeat(4)))
    }),
    ("tags only", || filled("#{Name}")),
    ("tags without a value", || filled("#{Gone}")),
    ("filters", || filled("#{Name | ToUpper | Append \"x\"} ")),
    ("conditions", || {
        filled("#{if Name == \"web\"}yes#{else}no#{/if} ")
    }),
    ("branches", || {
        format!("#{{if Gone}}{}#{{/if}}", filled("#{elseif Gone}no"))
    }),
    ("one loop", || {
        format!("#{{each x in Name}}{}#{{/each}}", filled("text #{x} "))
    }),
    ("openings", || filled("#{if Name}")),
    ("hashes and braces", || filled("# {##} #")),
];

fn filled(piece: &str) -> String {
    let mut text = String::with_capacity(SIZE + 64);
    while text.len() + piece.len() <= SIZE {
        text.push_str(piece);
    }
    text
}

/// The most memory that this process has had, in bytes.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}

fn row(name: &str, text: &str, before: Option<u64>) -> Option<String> {
    let variables: Variables = [("Name", "web")].into_iter().collect();
    let options = Options::new(jiff::Timestamp::UNIX_EPOCH);
    let rendered = render(text, &variables, &options).ok()?;
    let result = rendered.text.len();
    drop(rendered);
    let after = peak_bytes();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        render(text, &variables, &options).ok()?;
        fastest = fastest.min(start.elapsed());
    }
    let mut row = format!(
        "{name:24} {:9.1} MB/s   result {:5.1} MB",
        megabytes(text.len()) / fastest.as_secs_f64(),
        megabytes(result)
    );
    if let (Some(before), Some(after)) = (before, after) {
        let grown = usize::try_from(after.saturating_sub(before)).ok()?;
        // Writing to a String cannot fail.
        let _ = write!(
            row,
            "   memory {:4.2} x",
            megabytes(grown) / megabytes(text.len())
        );
    }
    Some(row)
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    if let Some(asked) = std::env::args().nth(1) {
        let before = peak_bytes();
        let kind = KINDS.iter().find(|(name, _)| *name == asked);
        let row = kind.and_then(|(name, make)| row(name, &make(), before));
        return match row.map(|row| writeln!(out, "{row}")) {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(_)) | None => ExitCode::FAILURE,
        };
    }
    let Ok(program) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    for (name, _) in KINDS {
        match Command::new(&program).arg(name).status() {
            Ok(status) if status.success() => {}
            Ok(_) | Err(_) => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}
