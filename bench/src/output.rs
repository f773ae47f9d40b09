//! What steps print, on its way to whoever follows: how long a line takes, how many a second arrive, and
//! what the server holds in memory meanwhile.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::binaries::Programs;
use crate::floor;
use crate::memory::{mib, peak_bytes};
use crate::noop::between;
use crate::report::{Row, ToReach, Unit};
use crate::rig::{ENVIRONMENT, Rig};
use crate::statistics::Samples;

/// What a follower may wait for a line, of a hundred the slowest but one.
const LINE_MS: f64 = 250.0;
/// What one step may print.
const LINES_PER_S: f64 = 200_000.0;
/// What the server may hold in memory meanwhile.
const SERVER_MIB: f64 = 200.0;
/// How long the agents' steps pause between two lines.
const PAUSE: Duration = Duration::from_millis(10);
/// What each line of the flood holds beside its number and 16 digits: 100 bytes in all, as a log line has.
const FILLING: &str =
    "GET /products/4711/reviews?page=2 200 12ms upstream=10.1.2.3:8080 cache=miss";

/// Makes each line of the flood another: an odd number without a pattern in its bits.
const VARYING: u64 = 0x9E37_79B9_7F4A_7C15;

/// How much is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printed {
    /// Agents that print at once.
    pub(crate) agents: usize,
    /// Lines that each of them prints.
    pub(crate) lines_each: u64,
    /// Lines of the flood.
    pub(crate) flood: u64,
}

/// What the steps run: prints numbered lines, each with the moment at which it is printed.
pub(crate) fn print(lines: u64, pause: Duration) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for number in 0..lines {
        if pause.is_zero() {
            let varying = number.wrapping_mul(VARYING);
            writeln!(out, "{number} {varying:016x} {FILLING}").context("standard output")?;
        } else {
            writeln!(out, "{number} at {}", now_ns())
                .and_then(|()| out.flush())
                .context("standard output")?;
            std::thread::sleep(pause);
        }
    }
    out.flush().context("standard output")
}

/// Measures on a server of its own, so that its peak is that of this.
pub(crate) fn rows(programs: &Programs, extent: Printed) -> Result<Vec<Row>> {
    let mut rig = Rig::start(programs)?;
    rig.join_up_to(extent.agents, &[1, extent.agents])?;
    let mut rows = latency(&rig, extent)?;
    rows.extend(flood(&rig, extent)?);
    rig.stop()?;
    Ok(rows)
}

fn latency(rig: &Rig, extent: Printed) -> Result<Vec<Row>> {
    let Printed {
        agents, lines_each, ..
    } = extent;
    let task = begin(rig, "chatter", agents, lines_each, PAUSE)?;
    let mut delays = Vec::new();
    let follow = ["task", "logs", &task, "--follow", "-o", "json"];
    rig.read(&follow, |line| {
        let arrived = now_ns();
        if let Some(printed) = stamp(&text_of(line)?) {
            delays.push(ms(arrived.saturating_sub(printed)));
        }
        Ok(())
    })?;
    let expected = usize::try_from(lines_each)? * agents;
    ensure!(
        delays.len() == expected,
        "{} of {expected} lines came to the follower",
        delays.len()
    );
    let delays: Samples = delays.into_iter().collect();
    let label = format!("a line of one of {agents} agents to a follower");
    Ok(vec![
        Row::median(label.clone(), &delays, Unit::Ms),
        Row::single(format!("{label}, p99"), delays.percentile(99), Unit::Ms)
            .reaching(ToReach::AtMost(LINE_MS)),
    ])
}

fn flood(rig: &Rig, extent: Printed) -> Result<Vec<Row>> {
    let lines = extent.flood;
    let task = begin(rig, "flood", 1, lines, Duration::ZERO)?;
    let task = rig.wait(&task)?;
    let action = task
        .pointer("/steps/0/targets/0/actions/0")
        .with_context(|| format!("no action in {task}"))?;
    // The end of the attempt counts only when all that it printed is stored.
    let took_ms = between(action, "/started_at", &task, "/ended_at")?;
    let peak = peak_bytes(rig.server())?;
    whole(rig, &task, lines)?;
    let folder = rig.folder().to_owned();
    let floor_ms = floor::several(3, || pipe_to_file(&folder, lines))?.median();
    let label = format!("{lines} lines from one step");
    Ok(vec![
        Row::single(label.clone(), per_second(lines, took_ms), Unit::LinesPerS)
            .beside("through a pipe to a file", per_second(lines, floor_ms))
            .reaching(ToReach::AtLeast(LINES_PER_S)),
        Row::single(format!("{label}, the server's peak"), mib(peak), Unit::MiB)
            .reaching(ToReach::AtMost(SERVER_MIB)),
    ])
}

/// Queues a deployment of a step that prints so much on so many agents; gives its number.
pub(crate) fn begin(
    rig: &Rig,
    project: &str,
    agents: usize,
    lines: u64,
    pause: Duration,
) -> Result<String> {
    let run = print_command(lines, pause)?;
    let file = format!(
        "mantle: v1
project: {project}
lifecycle: bench
process:
  - step: print
    targets: {{ tag: first-{agents} }}
    max_parallel: {agents}
    uses: script
    with: {{ shell: sh, run: {} }}
",
        Value::from(run)
    );
    rig.apply(project, &file)?;
    rig.run(&["release", "create", project, "1.0"])?;
    let args = ["deploy", project, "1.0", "-e", ENVIRONMENT, "--detach"];
    number_of(&rig.json(&args)?)
}

/// What a shell runs to print so much.
pub(crate) fn print_command(lines: u64, pause: Duration) -> Result<String> {
    let program = std::env::current_exe().context("this program")?;
    Ok(format!(
        "exec '{}' print --lines {lines} --pause-ms {}",
        program.display(),
        pause.as_millis()
    ))
}

/// The number of a task.
pub(crate) fn number_of(task: &Value) -> Result<String> {
    let number = task.get("number").and_then(Value::as_str);
    Ok(number
        .with_context(|| format!("no number in {task}"))?
        .to_owned())
}

/// Every line is in the log, once and in order.
pub(crate) fn whole(rig: &Rig, task: &Value, lines: u64) -> Result<()> {
    let mut expected = 0;
    let number = number_of(task)?;
    rig.read(&["task", "logs", &number, "-o", "json"], |line| {
        let text = text_of(line)?;
        if text.ends_with(FILLING) {
            let shown: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
            ensure!(shown == Some(expected), "line {expected} is '{text}'");
            expected += 1;
        }
        Ok(())
    })?;
    ensure!(
        expected == lines,
        "{expected} of {lines} lines are in the log"
    );
    Ok(())
}

/// What is the least: the same program, its lines read from a pipe, written to a file and synced.
fn pipe_to_file(folder: &Path, lines: u64) -> Result<()> {
    let program = std::env::current_exe().context("this program")?;
    let mut child = std::process::Command::new(program)
        .args(["print", "--lines", &lines.to_string(), "--pause-ms", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("starting the program that prints")?;
    let pipe = child.stdout.take().context("its output")?;
    let path = folder.join("floor-lines");
    let mut file = std::io::BufWriter::new(
        std::fs::File::create(&path).with_context(|| path.display().to_string())?,
    );
    for line in BufReader::new(pipe).lines() {
        let line = line.context("a line")?;
        writeln!(file, "{line}").context("the file")?;
    }
    let file = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_data()).context("the file")?;
    ensure!(
        child.wait().context("its end")?.success(),
        "the program that prints failed"
    );
    Ok(())
}

fn text_of(line: &str) -> Result<String> {
    let value: Value = serde_json::from_str(line).context("a line of the log")?;
    let text = value.get("text").and_then(Value::as_str);
    Ok(text.unwrap_or_default().to_owned())
}

/// When a line says that it was printed.
fn stamp(text: &str) -> Option<u64> {
    let (number, at) = text.split_once(" at ")?;
    number.parse::<u64>().ok()?;
    at.parse().ok()
}

fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 nanoseconds")]
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
fn per_second(lines: u64, took_ms: f64) -> f64 {
    lines as f64 / (took_ms / 1e3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    #[test]
    fn a_line_says_when_it_was_printed() {
        assert_eq!(
            stamp("7 at 1700000000000000000"),
            Some(1_700_000_000_000_000_000)
        );
        for text in ["", "7 at", "x at 5", "7 at x", "collected at 5"] {
            assert_eq!(stamp(text), None, "{text}");
        }
        let line = r#"{"seq":1,"text":"7 at 5"}"#;
        assert_eq!(text_of(line).unwrap(), "7 at 5");
    }

    #[test]
    fn lines_a_second() {
        assert_eq!(per_second(1_000_000, 5_000.0), 200_000.0);
        assert_eq!(ms(2_500_000), 2.5);
    }
}
