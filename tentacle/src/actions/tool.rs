//! Programs of the system that an action asks or orders, such as `nginx -t` or `appcmd.exe`: run
//! to their end, with what they said in hand. What a step's own script runs is
//! [`super::OutputSink::run_child`]'s affair.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::{ActionError, StopToken};

/// How much of each of its outputs is kept; more is read and dropped.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;
/// How often it is looked whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long its outputs may stay open when it has ended: what it started may hold them.
const TAIL_TIMEOUT: Duration = Duration::from_secs(2);

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// What it printed.
    pub(super) out: String,
    /// What it printed as errors.
    pub(super) err: String,
}

impl Said {
    /// It ended well.
    pub(super) fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// What it said of its failure, on one line: its errors, or else its output.
    pub(super) fn complaint(&self) -> String {
        let text = match self.err.trim() {
            "" => self.out.trim(),
            text => text,
        };
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let said: String = lines.join("; ").chars().take(1_000).collect();
        match (said.is_empty(), self.code) {
            (false, _) => said,
            (true, Some(code)) => format!("it said nothing and ended with exit code {code}"),
            (true, None) => "it said nothing and was ended by a signal".to_owned(),
        }
    }
}

/// Asks a program with these arguments, in the language that its answers are read in. A message
/// shows them: no secret may be among them.
pub(super) fn ask(
    program: &str,
    arguments: &[&str],
    within: Duration,
    stop: &StopToken,
) -> Result<Said, ActionError> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    let line = [&[program], arguments].concat().join(" ");
    run_as(&line, command, within, stop)
}

/// Runs a program to its end. It is killed when the stop token trips or the time is over. Messages
/// name it without its arguments.
pub(super) fn run(
    command: Command,
    within: Duration,
    stop: &StopToken,
) -> Result<Said, ActionError> {
    let name = command.get_program().to_string_lossy().into_owned();
    run_as(&name, command, within, stop)
}

fn run_as(
    name: &str,
    mut command: Command,
    within: Duration,
    stop: &StopToken,
) -> Result<Said, ActionError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ActionError::failed(format!(
            "'{}' is not on this machine; install what it belongs to",
            command.get_program().display()
        )),
        _ => ActionError::failed(format!("'{name}' could not be started: {error}")),
    })?;
    let out = keep(child.stdout.take());
    let err = keep(child.stderr.take());
    let ended = wait(&mut child, Instant::now() + within, stop);
    if ended.is_err() {
        // It may have ended just now; there is nothing more to do about it.
        let _ = child.kill();
        let _ = child.wait();
    }
    let code = ended.map_err(|ended| match ended {
        Unended::Stopped => ActionError::Stopped,
        Unended::TimedOut => ActionError::failed(format!(
            "'{name}' did not end within {}",
            super::values::show_duration(within)
        )),
        Unended::Lost(error) => {
            ActionError::failed(format!("'{name}' could not be waited for: {error}"))
        }
    })?;
    Ok(Said {
        code,
        out: text(&out),
        err: text(&err),
    })
}

/// Why there is no exit code.
enum Unended {
    Stopped,
    TimedOut,
    Lost(io::Error),
}

fn wait(child: &mut Child, deadline: Instant, stop: &StopToken) -> Result<Option<i32>, Unended> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if Instant::now() >= deadline => return Err(Unended::TimedOut),
            Ok(None) => stop.sleep(LOOK_INTERVAL).map_err(|_| Unended::Stopped)?,
            Err(error) => return Err(Unended::Lost(error)),
        }
    }
}

fn keep(output: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    if let Some(mut output) = output {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            // What can no longer be read was not said.
            let _ = output.by_ref().take(KEPT_BYTES).read_to_end(&mut kept);
            let _ = tell.send(kept);
            let _ = io::copy(&mut output, &mut io::sink());
        });
    }
    told
}

fn text(told: &Receiver<Vec<u8>>) -> String {
    let bytes = told.recv_timeout(TAIL_TIMEOUT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_and_the_code_are_told() {
        let minute = Duration::from_mins(1);
        let stop = StopToken::new();
        let said = run(sh("echo out; echo err >&2; exit 3"), minute, &stop).unwrap();
        assert_eq!((said.code, said.is_ok()), (Some(3), false));
        assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
        assert_eq!(said.complaint(), "err");
        let lines = run(sh("echo ' one'; echo; echo two; exit 1"), minute, &stop).unwrap();
        assert_eq!(lines.complaint(), "one; two");
        let slow = ask("sleep", &["600"], Duration::from_millis(50), &stop).unwrap_err();
        assert!(
            slow.to_string()
                .starts_with("'sleep 600' did not end within 50ms"),
            "{slow}"
        );
        let silent = run(sh("exit 4"), minute, &stop).unwrap();
        assert!(silent.complaint().contains("exit code 4"));
        let missing = run(Command::new("no-such-program-here"), minute, &stop);
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("is not on this machine")
        );
    }

    #[test]
    fn much_output_does_not_hold_it_and_is_bounded() {
        let flood = sh("head -c 20000000 /dev/zero; exit 0");
        let said = run(flood, Duration::from_mins(1), &StopToken::new()).unwrap();
        assert!(said.is_ok());
        assert_eq!(said.out.len() as u64, KEPT_BYTES);
    }

    #[test]
    fn it_ends_with_its_time_and_with_a_stop_also_where_a_grandchild_stays() {
        let begun = Instant::now();
        let slow = run(
            sh("exec sleep 60"),
            Duration::from_millis(50),
            &StopToken::new(),
        );
        assert!(slow.unwrap_err().to_string().contains("within 50ms"));
        let stop = StopToken::new();
        stop.stop();
        let stopped = run(sh("exec sleep 60"), Duration::from_mins(1), &stop);
        assert_eq!(stopped, Err(ActionError::Stopped));
        let left = run(
            sh("sleep 20 & exit 0"),
            Duration::from_mins(1),
            &StopToken::new(),
        );
        assert!(left.unwrap().is_ok());
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
