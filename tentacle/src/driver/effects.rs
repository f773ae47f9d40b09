//! Carries out what the brain decided.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mantle_shared::fault;
use mantle_shared::lock::Lock;
use mantle_shared::order::ORDER_FORMAT;
use mantle_shared::protocol::{AttemptReport, Message, ReportedState, Resync, StartAttempt};
use mantle_shared::{AttemptId, TaskId};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::recover::{self, Found};
use super::ship::{Shipment, ship};
use super::watch::watch;
use super::{Driver, Local};
use crate::actions;
use crate::brain::{Claims, Effect, Input, JournalFailure};
use crate::journal::Phase;
use crate::link::{LinkCommand, REPORTS_QUEUE};
use crate::process::{self, ProcessIdentity};
use crate::supervisor::files::{self, CancelFile, Claim, Facts};
use crate::supervisor::handover;

/// Reports a portion of the resync holds: far below the control stream's limit.
const RESYNC_PORTION: usize = 200;

/// When the folder of an attempt that is forgotten is removed, each after the one before failed.
const REMOVE_AFTER: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_secs(5),
    Duration::from_mins(1),
];

/// What the agent itself reads of an order.
#[derive(Deserialize)]
struct OrderFacts {
    format: u32,
    attempt: AttemptId,
    task: TaskId,
    uses: String,
    #[serde(default)]
    locks: Vec<Lock>,
    #[serde(default)]
    despite: Vec<AttemptId>,
}

/// Whether a supervisor will be able to do something with this order. The sentence quotes nothing of
/// it: it may hold secrets.
pub(super) fn check_order(start: &StartAttempt) -> Result<Claims, String> {
    let facts: OrderFacts = serde_json::from_slice(&start.order)
        .map_err(|_| "the order is not one that this version of the agent reads".to_owned())?;
    if facts.format != ORDER_FORMAT {
        return Err(format!(
            "order format {} is not known to this agent; upgrade it",
            facts.format
        ));
    }
    if facts.attempt != start.attempt || facts.task != start.task {
        return Err("the order is about another attempt".to_owned());
    }
    if actions::find(&facts.uses).is_none() {
        return Err(format!(
            "this agent has no action type '{}'; upgrade it",
            facts.uses
        ));
    }
    Ok(Claims {
        locks: facts.locks,
        despite: facts.despite,
    })
}

impl Driver {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.commands.push_back(LinkCommand::Control(message)),
                Effect::Resync => self.resync(),
                Effect::Spawn { attempt } => self.spawn(attempt),
                Effect::Discard { attempt } => {
                    // A start that is repeated makes it anew.
                    let _ = std::fs::remove_dir_all(self.config.state_dir.attempt(attempt));
                }
                Effect::WriteCancel { attempt, grace_ms } => self.write_cancel(attempt, grace_ms),
                Effect::Acquire(acquire) => self.commands.push_back(LinkCommand::Acquire(acquire)),
                Effect::Ship { attempt, from_seq } => self.ship(attempt, from_seq),
                Effect::ShipIfIdle { attempt } => {
                    if !self.attempts.is_shipping(attempt) {
                        self.ship(attempt, 0);
                    }
                }
                Effect::StopShipping => {
                    self.attempts.stop_shipping();
                    // What was meant for the connection that is gone.
                    self.commands.clear();
                }
                Effect::Stored { attempt, next_seq } => {
                    self.attempts.stored(attempt, next_seq);
                }
                Effect::Complete { attempt, end } => self.attempts.complete(attempt, end),
                Effect::EndLater { attempt, end } => self.late.push((attempt, end)),
                Effect::Forget { attempt } => self.forget(attempt),
            }
        }
    }

    /// Makes the folder of a new attempt.
    pub(super) fn prepare(&self, facts: &Facts) -> Result<(), JournalFailure> {
        let attempt = facts.attempt;
        let dir = self.config.state_dir.attempt(attempt);
        files::prepare(&dir).and_then(|()| files::write_facts(&dir, facts)).map_err(|error| {
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalFailure::NoSpace,
                _ => {
                    tracing::error!(attempt.id = %attempt, %error, "an attempt's folder could not be made");
                    JournalFailure::Other
                }
            }
        })
    }

    /// Finds out what became of every attempt that was not over, and cleans up after the others.
    pub(super) fn recover_all(&mut self) {
        let known: Vec<(AttemptId, Phase, Option<u32>)> = self
            .brain
            .ledger()
            .unacknowledged()
            .map(|(attempt, entry)| (attempt, entry.phase.clone(), entry.cancel))
            .collect();
        self.remove_strangers();
        for (attempt, phase, cancel) in known {
            let dir = self.config.state_dir.attempt(attempt);
            self.attempts.insert(attempt, dir.clone());
            if let Phase::Ended(_, end) = phase {
                self.attempts.complete(attempt, end);
                continue;
            }
            if let Some(grace_ms) = cancel {
                // The agent may have died between the record and the file.
                self.write_cancel(attempt, grace_ms);
            }
            let found = recover::look(&dir, attempt, &self.boot_id, self.spawned(attempt));
            tracing::info!(attempt.id = %attempt, %found, "looked into");
            self.local_event(Local::Looked(attempt, found));
        }
    }

    /// Removes folders that no attempt needs: refused, or acknowledged by a record whose folder a
    /// crash kept from being removed.
    fn remove_strangers(&self) {
        let folders = std::fs::read_dir(self.config.state_dir.attempts());
        for entry in folders.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let attempt = name
                .to_str()
                .and_then(|name| name.parse::<AttemptId>().ok());
            let needed = attempt
                .and_then(|attempt| self.brain.ledger().get(attempt))
                .is_some_and(|entry| match entry.phase {
                    Phase::Accepted(_) | Phase::Spawned(..) | Phase::Ended(..) => true,
                    Phase::Acknowledged(..) | Phase::Voided => false,
                });
            if attempt.is_some() && !needed && !fault::sabotaged("folders-kept") {
                // The next start of the agent is another chance.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// An attempt's supervisor is gone: what does its folder say?
    pub(super) fn look_into(&mut self, attempt: AttemptId) {
        let Some(live) = self.attempts.get(attempt) else {
            return;
        };
        let (dir, boot_id, local) = (live.dir.clone(), self.boot_id.clone(), self.local.clone());
        let spawned = self.spawned(attempt).cloned();
        // The whole spool is read: that may take a moment.
        tokio::task::spawn_blocking(move || {
            let found = recover::look(&dir, attempt, &boot_id, spawned.as_ref());
            // Nobody to tell once the loop is over; the next agent looks again.
            let _ = local.blocking_send(Local::Looked(attempt, found));
        });
    }

    /// The supervisor that the journal knows of.
    pub(super) fn spawned(&self, attempt: AttemptId) -> Option<&ProcessIdentity> {
        match &self.brain.ledger().get(attempt)?.phase {
            Phase::Spawned(_, process) => Some(process),
            Phase::Accepted(_) | Phase::Ended(..) | Phase::Acknowledged(..) | Phase::Voided => None,
        }
    }

    pub(super) fn look_at_found_again(&mut self) {
        for attempt in self.attempts.look() {
            self.look_into(attempt);
        }
    }

    fn resync(&mut self) {
        let mut reports = self.brain.reports();
        for report in &mut reports {
            if !matches!(report.state, ReportedState::Ended(_)) {
                report.records = self.attempts.records(report.attempt);
            }
        }
        let mut portions: Vec<Vec<AttemptReport>> =
            reports.chunks(RESYNC_PORTION).map(<[_]>::to_vec).collect();
        if portions.is_empty() {
            portions.push(Vec::new());
        }
        self.commands.push_back(LinkCommand::Begin {
            session: self.session,
        });
        if let Some(began) = self.brain.ledger().began() {
            let journal = mantle_shared::protocol::Journal {
                journal: began.journal,
                began_at_us: began.at_us,
                after_loss: began.after_loss,
            };
            self.commands
                .push_back(LinkCommand::Control(journal.into()));
        }
        let count = portions.len();
        for (index, reports) in portions.into_iter().enumerate() {
            let message = Resync {
                reports,
                last: index + 1 == count,
            };
            self.commands
                .push_back(LinkCommand::Control(Message::from(message)));
        }
    }

    fn ship(&mut self, attempt: AttemptId, from_seq: u64) {
        let Some(live) = self.attempts.get(attempt) else {
            return;
        };
        let (out, messages) = mpsc::channel(REPORTS_QUEUE);
        let shipment = Shipment {
            attempt,
            dir: live.dir.clone(),
            from_seq,
            protocol: self.protocol,
            progress: live.progress.subscribe(),
            out,
        };
        self.commands
            .push_back(LinkCommand::Reports { attempt, messages });
        let task = tokio::spawn(ship(shipment));
        self.attempts
            .set_shipper(attempt, from_seq, task.abort_handle());
    }

    /// Sends again what the server turns out to lack, such as a portion that it had to drop.
    pub(super) fn ship_stuck(&mut self) {
        for (attempt, from_seq) in self.attempts.take_stuck() {
            tracing::warn!(attempt.id = %attempt, from_seq, "the server lacks records; sending them again");
            self.ship(attempt, from_seq);
        }
    }

    fn spawn(&mut self, attempt: AttemptId) {
        fault::point("agent.accepted_before_spawn");
        let dir = self.config.state_dir.attempt(attempt);
        self.attempts.insert(attempt, dir.clone());
        let order = match self.order.take() {
            Some((id, order)) if id == attempt => order,
            // Without its order nothing can start; the claim makes that certain.
            _ => return self.look_into(attempt),
        };
        let mut child = match self.start_supervisor(&dir) {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(attempt.id = %attempt, %error, "a supervisor could not be started");
                let note = format!("supervisor: could not be started: {error}\n");
                // Only the reason for people is lost with it.
                let _ = std::fs::write(dir.join(files::SUPERVISOR_LOG), note);
                return self.look_into(attempt);
            }
        };
        // Most orders fit into the pipe, so that the supervisor has its own whatever becomes of us.
        let mut rest = handover::frame(&order);
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            rest.drain(..write_now(stdin, &rest));
        }
        if rest.is_empty() {
            stdin = None;
        }
        fault::point("agent.spawned_before_journal");
        if let Some(process) = child.id().and_then(process::identity_of) {
            self.handle(Input::Spawned { attempt, process });
        }
        fault::point("agent.spawned");
        tokio::spawn(watch(attempt, child, stdin, rest, self.local.clone()));
    }

    fn start_supervisor(&self, dir: &Path) -> io::Result<Child> {
        let log = File::create(dir.join(files::SUPERVISOR_LOG))?;
        let mut command = Command::new(&self.config.program);
        command
            .arg("exec-attempt")
            .arg("--data")
            .arg(self.config.state_dir.root())
            .arg("--apps")
            .arg(self.config.state_dir.apps())
            .args(self.output_cap())
            .arg("--dir")
            .arg(dir)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        process::spawn_detached(command)
    }

    fn output_cap(&self) -> Vec<String> {
        let cap = self.config.output_cap.into_iter();
        cap.flat_map(|bytes| ["--output-cap".to_owned(), bytes.to_string()])
            .collect()
    }

    fn write_cancel(&mut self, attempt: AttemptId, grace_ms: u32) {
        let dir = self.config.state_dir.attempt(attempt);
        match files::write_cancel(&dir, CancelFile { grace_ms }) {
            Ok(()) => {
                self.unwritten.remove(&attempt);
            }
            Err(error) => {
                // The record stands and the server was told of it: it does not ask again.
                if self.unwritten.insert(attempt, grace_ms).is_none() {
                    tracing::error!(attempt.id = %attempt, %error, "a cancel could not be handed on; trying again");
                }
            }
        }
        // Who has claimed listens to the signal; before that it would be killed by it.
        if let Ok(Some(Claim::Supervisor { process })) = files::read_claim(&dir) {
            process::nudge(&process);
        }
    }

    /// Hands on the cancels that could not be, as long as there is somebody to take them.
    pub(super) fn write_cancels_again(&mut self) {
        let open = |attempt| {
            self.brain
                .ledger()
                .get(attempt)
                .is_some_and(|entry| entry.phase.is_open())
        };
        let mut again = std::mem::take(&mut self.unwritten);
        again.retain(|attempt, _| open(*attempt));
        self.unwritten.clone_from(&again);
        for (attempt, grace_ms) in again {
            self.write_cancel(attempt, grace_ms);
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        self.attempts.remove(attempt);
        tokio::spawn(remove_folder(self.config.state_dir.attempt(attempt)));
    }
}

/// On Windows a folder cannot be removed while it is a process's working folder, and the supervisor
/// may need a moment to end. What is held for longer is removed at the agent's next start.
async fn remove_folder(dir: PathBuf) {
    for wait in REMOVE_AFTER {
        tokio::time::sleep(wait).await;
        let dir = dir.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
        match removed {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {}
            _ => return,
        }
    }
}

/// Writes as much as the pipe takes now. It does not block, which the runtime has seen to; asking
/// the runtime would not do, for it calls a pipe writable only after it has looked for the first time.
#[cfg(unix)]
fn write_now(stdin: &mut tokio::process::ChildStdin, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(&*stdin, rest) {
            Ok(count) if count > 0 => written += count,
            Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    written
}

/// Writes as much as the pipe takes now.
#[cfg(not(unix))]
fn write_now(stdin: &mut tokio::process::ChildStdin, bytes: &[u8]) -> usize {
    use tokio::io::AsyncWrite as _;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match std::pin::Pin::new(&mut *stdin).poll_write(&mut context, rest) {
            std::task::Poll::Ready(Ok(count)) if count > 0 => written += count,
            _ => break,
        }
    }
    written
}

/// For matching on what was found without its content.
impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ended(_) => "ended",
            Self::Running(_) => "running",
            Self::Orphaned(_) => "orphaned",
            Self::Unclear(_) => "unclear",
        })
    }
}
