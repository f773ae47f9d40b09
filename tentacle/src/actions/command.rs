//! Asks a program of the machine (`systemctl`, `nginx`) and reads its answer, within a deadline.
//!
//! These programs are the action's own tools: their output is read rather than logged, only the
//! beginning of it is kept, and one that hangs is killed.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::{ActionError, StopToken};

/// The most that is kept of either stream; the rest is read and dropped, so that nothing blocks.
const MAX_KEPT_BYTES: u64 = 4 * 1024 * 1024;
/// How often it is looked at whether the program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long the streams may stay open after its end: something that it left behind may hold them.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a program answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Answer {
    /// What it said, for a message: standard error if there is any, in one line.
    pub(super) fn said(&self) -> String {
        let text = match self.stderr.trim() {
            "" => self.stdout.trim(),
            text => text,
        };
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let said: String = lines.join("; ").chars().take(600).collect();
        if said.is_empty() {
            format!("it said nothing and ended with {:?}", self.code)
        } else {
            said
        }
    }
}

/// Runs it to its end, `within` at most; it is killed then and when the token trips.
pub(super) fn ask(
    program: &str,
    arguments: &[&str],
    within: Duration,
    stop: &StopToken,
) -> Result<Answer, ActionError> {
    let line = || format!("'{program} {}'", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| ActionError::failed(format!("{} cannot be run: {error}", line())))?;
    let streams = (child.stdout.take().map(read), child.stderr.take().map(read));
    let deadline = Instant::now() + within;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if Instant::now() >= deadline => {
                let after = super::values::show_duration(within);
                break Err(ActionError::failed(format!(
                    "{} did not end within {after}",
                    line()
                )));
            }
            Ok(None) => {}
            Err(error) => break Err(ActionError::failed(format!("{}: {error}", line()))),
        }
        if let Err(stopped) = stop.sleep(POLL_INTERVAL) {
            break Err(stopped);
        }
    };
    let status = ended.inspect_err(|_| {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let text = |stream: Option<Receiver<String>>| {
        stream
            .and_then(|stream| stream.recv_timeout(STREAMS_TIMEOUT).ok())
            .unwrap_or_default()
    };
    Ok(Answer {
        code: status.code(),
        stdout: text(streams.0),
        stderr: text(streams.1),
    })
}

fn read(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        // What could be read before an error is all that there is.
        let _ = stream.by_ref().take(MAX_KEPT_BYTES).read_to_end(&mut kept);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        // Nobody waits any more after the deadline.
        let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
    });
    receiver
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_and_what_hangs_is_killed() {
        let stop = StopToken::new();
        let long = Duration::from_mins(1);
        let answer = ask("sh", &["-c", "echo out; echo err >&2; exit 3"], long, &stop).unwrap();
        assert_eq!((answer.code, answer.said().as_str()), (Some(3), "err"));
        assert_eq!(answer.stdout, "out\n");
        let much = ask("sh", &["-c", "yes | head -c 5000000"], long, &stop).unwrap();
        assert_eq!(much.stdout.len() as u64, MAX_KEPT_BYTES);
        let slow = ask("sleep", &["600"], Duration::from_millis(50), &stop).unwrap_err();
        assert!(
            slow.to_string().contains("did not end within 50ms"),
            "{slow}"
        );
        let none = ask("no-such-program", &[], long, &stop).unwrap_err();
        assert!(none.to_string().contains("no-such-program"), "{none}");
        stop.stop();
        assert_eq!(
            ask("sleep", &["600"], long, &stop).unwrap_err(),
            ActionError::Stopped
        );
    }
}
