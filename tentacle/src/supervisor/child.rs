//! Runs one child process of an action: its output captured, its tree stopped when it must.
//!
//! What holds here: once the process has ended, the run ends within [`LINGER`] and a kill, whoever
//! still holds its output, save for the time in which a full disk holds its readers back; a stop ends
//! the whole tree; what could not be killed is named.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::fault;
use mantle_shared::protocol::{Level, Stream};

use super::stop::StopState;
use crate::actions::{ActionError, ChildEnd, OutputSink, Variable};
use crate::output::capture::{Capture, CaptureSink};
use crate::output::recorder::{InHand, Recorder};
use crate::output::service_message::MessageRules;
use crate::process::{Holders, Survivor, Tree, names};

/// How long processes that outlive the main one may keep its output open.
const LINGER: Duration = Duration::from_secs(2);
/// How long a kill may take before processes count as abandoned.
const KILL: Duration = Duration::from_secs(5);
/// How often the stop token is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What one read takes at most: a pipe's capacity.
const READ_BYTES: usize = 64 * 1024;

/// The output of an attempt, as its action sees it.
pub(super) struct Sink {
    /// Where records go.
    pub recorder: Arc<Mutex<Recorder>>,
    /// The attempt's processes.
    pub tree: Arc<Tree>,
    /// Whether it is being stopped.
    pub stop: StopState,
}

enum Happened {
    Exited(std::io::Result<ExitStatus>),
    OutputEnded,
}

impl Sink {
    pub(super) fn recorder(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for Sink {
    fn line(&self, level: Level, text: &str) {
        self.recorder().say(level, text);
    }

    fn progress(&self, percent: u8, message: &str) {
        self.recorder().progress(percent, message);
    }

    fn set_variable(&self, name: &str, value: &str, sensitive: bool) {
        self.recorder().set_variable(name, value, sensitive);
    }

    fn variables_set(&self) -> Vec<Variable> {
        let recorder = self.recorder();
        let set = recorder.variables_set().iter();
        set.map(|(name, set)| Variable {
            name: name.clone(),
            value: set.value.to_string(),
            sensitive: set.sensitive,
            exported: true,
        })
        .collect()
    }

    fn settle_failure(&self) {
        self.recorder().settle_result();
    }

    fn run_child(
        &self,
        mut command: Command,
        rules: &MessageRules,
    ) -> Result<ChildEnd, ActionError> {
        self.stop.token().check()?;
        // What traces its commands prints the key with them.
        let mut recorder = self.recorder();
        recorder.learn(&rules.key);
        let in_hand = recorder.in_hand();
        drop(recorder);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.tree.prepare(&mut command);
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            ActionError::failed(format!("'{program}' could not be started: {error}"))
        })?;
        self.tree.adopt(&child);
        let holders = Holders::of(&child);
        let pid = child.id();
        let (sender, events) = channel();
        let started = self.read(&mut child, rules, &sender);
        let waited = started.and_then(|()| wait_for(child, sender));
        if let Err(error) = waited {
            self.tree.kill_all(KILL);
            return Err(ActionError::failed(format!(
                "no thread for the output: {error}"
            )));
        }
        let mut run = Running {
            sink: self,
            in_hand,
            events,
            holders,
            pid,
            status: None,
            open: 2,
        };
        run.finish()
    }
}

impl Sink {
    fn read(
        &self,
        child: &mut Child,
        rules: &MessageRules,
        sender: &Sender<Happened>,
    ) -> std::io::Result<()> {
        if let Some(pipe) = child.stdout.take() {
            self.read_stream(Stream::Stdout, rules.clone(), pipe, sender.clone())?;
        }
        if let Some(pipe) = child.stderr.take() {
            self.read_stream(Stream::Stderr, rules.clone(), pipe, sender.clone())?;
        }
        Ok(())
    }

    fn read_stream(
        &self,
        stream: Stream,
        rules: MessageRules,
        mut pipe: impl Read + Send + 'static,
        sender: Sender<Happened>,
    ) -> std::io::Result<()> {
        let recorder = Arc::clone(&self.recorder);
        let stop = self.stop.clone();
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let lock = || recorder.lock().unwrap_or_else(PoisonError::into_inner);
                let recorder = lock();
                let (in_hand, masks) = (recorder.in_hand(), recorder.masks());
                drop(recorder);
                let mut capture = Capture::new(stream, rules, masks);
                let mut buffer = vec![0; READ_BYTES];
                loop {
                    match pipe.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(_) if stop.token().is_stopped() && fault::sabotaged("tail-dropped") => {}
                        Ok(count) => {
                            let chunk = buffer.get(..count).unwrap_or_default();
                            let holding = in_hand.hold(chunk);
                            let mut recorder = lock();
                            capture.push(chunk, &mut *recorder);
                            // The read took all that there was, so this is a batch already.
                            recorder.flush();
                            drop(holding);
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(_) => break,
                    }
                }
                let holding = in_hand.hold(&[]);
                let mut recorder = lock();
                capture.finish(&mut *recorder);
                recorder.flush();
                drop(holding);
                drop(recorder);
                // Nobody listens once the run was given up.
                let _ = sender.send(Happened::OutputEnded);
            })?;
        Ok(())
    }
}

fn wait_for(mut child: Child, sender: Sender<Happened>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("wait".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            // Nobody listens once the run was given up.
            let _ = sender.send(Happened::Exited(child.wait()));
        })
        .map(|_| ())
}

/// A child that was started.
struct Running<'a> {
    sink: &'a Sink,
    in_hand: Arc<InHand>,
    events: Receiver<Happened>,
    holders: Holders,
    pid: u32,
    status: Option<std::io::Result<ExitStatus>>,
    /// How many output streams have not ended.
    open: u8,
}

impl Running<'_> {
    fn finish(&mut self) -> Result<ChildEnd, ActionError> {
        while self.status.is_none() && !self.sink.stop.token().is_stopped() {
            self.look(LOOK);
        }
        if self.status.is_none() {
            self.stop_tree();
            return Err(ActionError::Stopped);
        }
        self.drain_output();
        match self.status.take() {
            Some(Ok(status)) => Ok(ChildEnd {
                exit_code: Tree::exit_code(status),
            }),
            Some(Err(error)) => Err(ActionError::failed(format!(
                "the process's end was not seen: {error}"
            ))),
            None => Err(ActionError::Stopped),
        }
    }

    fn look(&mut self, within: Duration) {
        match self.events.recv_timeout(within) {
            Ok(Happened::Exited(status)) => self.status = Some(status),
            Ok(Happened::OutputEnded) => self.open = self.open.saturating_sub(1),
            Err(RecvTimeoutError::Timeout) => {}
            // Every thread is gone; nothing more will happen.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(within),
        }
    }

    /// The main process ended: whoever holds its output gets a moment, then is killed and named.
    fn drain_output(&mut self) {
        let linger = if fault::sabotaged("output-waited-for") {
            Duration::from_mins(1)
        } else {
            LINGER
        };
        if self.wait_closed(linger) {
            return;
        }
        let holding = self.holders.among(self.sink.tree.survivors());
        let left = self.sink.tree.kill(&holding, KILL / 2);
        if holding.is_empty() {
            self.sink.line(
                Level::Warning,
                "the step's process ended, but something outside of its process tree still holds its output; what that prints is not kept",
            );
            return;
        }
        self.sink.line(
            Level::Warning,
            &format!(
                "the step's process ended, but its output was still held by {}; killed after {} s. Redirect the output of what is to go on running",
                names(&holding),
                LINGER.as_secs()
            ),
        );
        self.abandon(left);
        self.wait_closed(LINGER / 4);
    }

    /// Asks the tree to stop, waits, kills what is left.
    fn stop_tree(&mut self) {
        let grace = self
            .sink
            .stop
            .asked()
            .map_or(Duration::ZERO, |(_, grace)| grace);
        let begun = Instant::now();
        self.sink.tree.ask_to_stop(self.pid);
        while begun.elapsed() < grace {
            self.look(LOOK);
            if self.status.is_some() && self.sink.tree.survivors().is_empty() {
                break;
            }
        }
        let late = self.sink.tree.survivors();
        if !late.is_empty() {
            let left = self.sink.tree.kill_all(KILL);
            self.sink.line(
                Level::Verbose,
                &format!("killed after {} ms: {}", grace.as_millis(), names(&late)),
            );
            self.abandon(left);
        }
        let begun = Instant::now();
        while self.status.is_none() && begun.elapsed() < LINGER {
            self.look(LOOK);
        }
        self.wait_closed(LINGER);
    }

    /// Whether the output is closed within this time, of which that counts in which its readers read.
    /// While a full disk holds one back nobody knows who else holds the output; that ends with the stall.
    fn wait_closed(&mut self, within: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while self.open > 0 && waited < within {
            let (begun, before) = (Instant::now(), self.in_hand.waiting());
            self.look(LOOK);
            if before.is_none() || before != self.in_hand.waiting() {
                waited += begun.elapsed();
            }
        }
        self.open == 0
    }

    fn abandon(&self, left: Vec<Survivor>) {
        if left.is_empty() {
            return;
        }
        self.sink.line(
            Level::Error,
            &format!("could not be killed: {}", names(&left)),
        );
        self.sink
            .stop
            .abandon(left.iter().map(|survivor| survivor.pid.to_string()));
    }
}

#[cfg(all(test, unix))]
mod tests;
