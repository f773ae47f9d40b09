//! The one loop: connection, supervisors, timers and the wish to stop go in, the brain decides, and
//! what it decided is carried out here.
//!
//! What holds here: the journal is written before anything that its records allow; the loop never
//! waits for the connection, the network or a supervisor; who goes down leaves supervisors alone.

mod attempts;
mod continuity;
mod effects;
mod orphans;
mod recover;
mod ship;
mod status;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mantle_shared::AttemptId;
use mantle_shared::order::OutputLimits;
use mantle_shared::protocol::{AttemptEnd, Message, OutputHeld, PROTOCOL_ARTIFACTS, PROTOCOL_MIN};
use mantle_shared::tls::Fingerprint;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::actions;
use crate::artifacts::Artifacts;
use crate::brain::{Brain, BrainConfig, Cancel, Decision, Input, JournalFailure, Start};
use crate::journal::{AppendError, Journal};
use crate::link::{HelloFacts, Link, LinkCommand, LinkEvent};
use crate::output::recorder::now_us;
use crate::process;
use crate::service::Manager;
use crate::state_dir::StateDir;
use crate::supervisor::files::Facts;
use attempts::Attempts;
pub use continuity::{OpenDriverError, inspect};
use recover::Found;
pub use status::{Connection, Status};

/// How often a supervisor that was found again is looked at; it has no wake channel to this agent.
const LOOK: Duration = Duration::from_millis(50);
/// How often what failed is tried again, and the status written.
const TICK: Duration = Duration::from_secs(1);
/// How often old tombstones are looked for.
const PRUNE: Duration = Duration::from_hours(1);
/// How long the connection may take to say good-bye.
const LEAVE: Duration = Duration::from_secs(2);
/// Reports of supervisors that wait for the loop.
const LOCAL_QUEUE: usize = 256;

/// What a driver needs to know.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// The agent's directories. The caller holds their lock.
    pub state_dir: StateDir,
    /// The program that has `exec-attempt`.
    pub program: PathBuf,
    /// The brain's limits.
    pub brain: BrainConfig,
    /// The most bytes that are kept of what an attempt prints, if that is less than an order allows.
    pub output_cap: Option<u64>,
    /// The authority of the server that is served, if it is known: epochs are that server's alone.
    pub authority: Option<Fingerprint>,
}

impl DriverConfig {
    /// The usual: this very program.
    pub fn new(state_dir: StateDir) -> Self {
        Self {
            state_dir,
            program: process::own_program(),
            brain: BrainConfig::default(),
            output_cap: None,
            authority: None,
        }
    }
}

/// What supervisors and helpers tell the loop.
#[derive(Debug)]
enum Local {
    /// There is something new on disk.
    Woke(AttemptId),
    /// The supervisor process ended.
    Gone(AttemptId),
    /// An attempt without a supervisor was looked into.
    Looked(AttemptId, Found),
    /// An attempt's processes were ended by the agent, and it was looked into.
    Ended(AttemptId, Found),
}

/// The driver, its journal open and its attempts found again.
pub struct Driver {
    config: DriverConfig,
    brain: Brain,
    journal: Journal,
    boot_id: String,
    /// What this machine can do, as it was when the agent began: looking for it again and again
    /// would have the loop wait for whatever stands in the PATH.
    features: Vec<String>,
    attempts: Attempts,
    local: mpsc::Sender<Local>,
    local_events: mpsc::Receiver<Local>,
    /// What the connection is to be told; the loop never waits for it.
    commands: VecDeque<LinkCommand>,
    /// The session that is connected, or was last.
    session: u64,
    /// The protocol version that it speaks.
    protocol: u16,
    /// The order of the start that is being decided. Nowhere else does the agent keep one.
    order: Option<(AttemptId, Vec<u8>)>,
    /// Ends that could not be journalled.
    late: Vec<(AttemptId, AttemptEnd)>,
    /// Cancels that could not be handed on to their supervisors, with the grace in milliseconds.
    unwritten: BTreeMap<AttemptId, u32>,
    /// What the next `Hello` says is not up to date.
    ledger_changed: bool,
    status: Status,
    written: Option<Status>,
    writing: Option<JoinHandle<()>>,
    /// When tombstones were last looked through.
    pruned: Instant,
    /// Who is told that the loop goes round.
    manager: Manager,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Opens the journal and finds out what became of every attempt that was not over. To be called
    /// within the runtime that will run it.
    pub fn open(config: DriverConfig) -> Result<Self, OpenDriverError> {
        let boot_id = process::boot_id();
        let (journal, ledger) = continuity::open(&config, &boot_id, now_us())?;
        let (local, local_events) = mpsc::channel(LOCAL_QUEUE);
        let mut driver = Self {
            brain: Brain::new(config.brain, ledger),
            journal,
            boot_id,
            features: actions::features(),
            attempts: Attempts::default(),
            local,
            local_events,
            commands: VecDeque::new(),
            session: 0,
            protocol: PROTOCOL_MIN,
            order: None,
            late: Vec::new(),
            unwritten: BTreeMap::new(),
            ledger_changed: false,
            status: Status::new(),
            written: None,
            writing: None,
            pruned: Instant::now(),
            manager: Manager::none(),
            config,
        };
        driver.status.journal_lost_at_us = driver
            .brain
            .ledger()
            .began()
            .filter(|began| began.after_loss)
            .map(|began| began.at_us);
        driver.recover_all();
        Ok(driver)
    }

    /// Names who is told that the agent works, goes on and ends.
    #[must_use]
    pub fn with_manager(self, manager: Manager) -> Self {
        Self { manager, ..self }
    }

    /// What the first `Hello` says.
    pub fn facts(&self) -> HelloFacts {
        HelloFacts {
            features: self.features.clone(),
            boot_id: self.boot_id.clone(),
            highest_epoch: self.brain.ledger().highest_epoch(),
            journal: self.brain.ledger().digest(),
        }
    }

    /// Runs until `shutdown` is over or the connection's task is gone. Supervisors live on.
    pub async fn run(mut self, mut link: Link, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut look = interval(LOOK);
        let mut tick = interval(TICK);
        self.write_status();
        // Not only once the server is there: a machine must come up without it.
        self.manager.ready(&self.status.line());
        loop {
            let searching = self.attempts.any_found_again();
            tokio::select! {
                () = &mut shutdown => break,
                event = link.events.recv() => match event {
                    Some(event) => self.link_event(event),
                    None => break,
                },
                Some(local) = self.local_events.recv() => self.local_event(local),
                permit = link.commands.reserve(), if !self.commands.is_empty() => {
                    match (permit, self.commands.pop_front()) {
                        (Ok(permit), Some(command)) => permit.send(command),
                        _ => break,
                    }
                }
                _ = look.tick(), if searching => self.look_at_found_again(),
                _ = tick.tick() => self.tick(),
            }
            if std::mem::take(&mut self.ledger_changed) {
                link.facts.send_replace(self.facts());
            }
        }
        self.leave(link).await;
    }

    async fn leave(&mut self, mut link: Link) {
        self.manager.stopping();
        self.handle(Input::Drain);
        self.attempts.stop_shipping();
        self.status.connection = Connection::Stopped;
        self.write_last_status().await;
        let close = async {
            for command in self.commands.drain(..) {
                if link.commands.send(command).await.is_err() {
                    return;
                }
            }
            if link.commands.send(LinkCommand::Close).await.is_err() {
                return;
            }
            while link.events.recv().await.is_some() {}
        };
        // The server notices by itself if the good-bye does not get through.
        let _ = tokio::time::timeout(LEAVE, close).await;
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected { session, welcome } => {
                self.session = session;
                self.protocol = welcome.protocol;
                let skew_us = now_us().saturating_sub(welcome.now_us);
                self.handle(Input::Connected(welcome));
                self.status.connected(skew_us, self.brain.is_stale());
                if self.brain.is_stale() {
                    tracing::error!(
                        "the server is older than what this agent has seen (a restored backup): nothing is obeyed until 'mantle server recover' is typed there, or the server runs on its newest data again"
                    );
                }
            }
            LinkEvent::Disconnected { reason } => {
                self.status.connection = Connection::Disconnected { reason };
                self.handle(Input::Disconnected);
            }
            LinkEvent::NotConnected { reason } => {
                self.status.connection = Connection::Disconnected { reason };
            }
            LinkEvent::Received(message) => self.message(message),
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::StartAttempt(start) => {
                let attempt = start.attempt;
                let order = effects::check_order(&start);
                let facts = Facts {
                    attempt,
                    task: start.task,
                    epoch: start.epoch,
                    payload: mantle_shared::Digest::of(&start.order),
                    locks: order.as_ref().map(|c| c.locks.clone()).unwrap_or_default(),
                };
                let known = self.brain.ledger().get(attempt).is_some();
                let workspace = if known { Ok(()) } else { self.prepare(&facts) };
                let input = Input::Start(Start {
                    request: start.request,
                    epoch: start.epoch,
                    task: start.task,
                    attempt,
                    payload: facts.payload,
                    order,
                    workspace,
                });
                self.order = Some((attempt, start.order));
                self.handle(input);
                self.order = None;
            }
            Message::CancelAttempt(cancel) => self.handle(Input::Cancel(Cancel {
                request: cancel.request,
                epoch: cancel.epoch,
                task: cancel.task,
                attempt: cancel.attempt,
                grace_ms: cancel.grace_ms,
            })),
            Message::Acquire(acquire) => self.handle(Input::Acquire(acquire)),
            Message::Ack(ack) => self.handle(Input::Acknowledged(ack.positions)),
            Message::Resynced(resynced) => self.handle(Input::Resynced(resynced.positions)),
            Message::GoAway(go_away) => {
                tracing::info!(reason = go_away.reason, "the server goes away");
            }
            other => tracing::warn!(
                message = other.name(),
                "a message that an agent does not take"
            ),
        }
    }

    fn local_event(&mut self, local: Local) {
        match local {
            Local::Woke(attempt) => self.attempts.touch(attempt),
            // Who ends it looks into it.
            Local::Gone(attempt) if self.attempts.is_ending(attempt) => {}
            Local::Gone(attempt) => self.look_into(attempt),
            Local::Ended(attempt, found) => {
                self.attempts.end_ending(attempt);
                self.local_event(Local::Looked(attempt, found));
            }
            Local::Looked(attempt, Found::Ended(end)) => {
                self.handle(Input::Ended { attempt, end });
            }
            Local::Looked(attempt, Found::Running(process)) => {
                self.attempts.found_again(attempt, process);
            }
            Local::Looked(attempt, Found::Orphaned(supervisor)) => {
                self.end_orphans(attempt, supervisor, false);
            }
            Local::Looked(attempt, Found::Unclear(error)) => {
                tracing::error!(attempt.id = %attempt, %error, "an attempt's folder cannot be read; trying again");
                self.attempts.look_later(attempt);
            }
        }
    }

    /// Decides, journals, carries out.
    fn handle(&mut self, input: Input) {
        let decision = self.brain.decide(now_us(), input);
        let Decision {
            records,
            weight,
            then,
            otherwise,
        } = decision;
        if records.is_empty() {
            return self.carry_out(then);
        }
        match self.journal.append(&records, weight) {
            Ok(()) => {
                self.ledger_changed = true;
                if let Err(illegal) = self.brain.commit(&records) {
                    // The brain decides only what follows; a restart would replay the same.
                    tracing::error!(error = %illegal, "the journal and the brain disagree");
                }
                self.carry_out(then);
                self.journal.compact_if_due(self.brain.ledger());
            }
            Err(error) => {
                let failure = match error {
                    AppendError::NoSpace => JournalFailure::NoSpace,
                    AppendError::Io(ref source) => {
                        tracing::error!(error = %source, "the journal could not be written");
                        JournalFailure::Other
                    }
                };
                let effects = self.brain.failed(otherwise, failure);
                self.carry_out(effects);
            }
        }
    }

    fn tick(&mut self) {
        for (attempt, end) in std::mem::take(&mut self.late) {
            self.handle(Input::Ended { attempt, end });
        }
        self.write_cancels_again();
        for attempt in self.attempts.take_later() {
            self.look_into(attempt);
        }
        self.end_overdue();
        self.ship_stuck();
        self.attempts.remove_acknowledged();
        self.tell_held();
        self.prune_if_due();
        let ledger = self.brain.ledger();
        self.status.running = ledger.open().count();
        self.status.unacknowledged = ledger.unacknowledged().count();
        self.write_status();
        self.manager.alive(Instant::now(), &self.status.line());
    }

    /// Says of which attempts the output is held back for want of room: once a connection, for a server that
    /// was told may have been another.
    fn tell_held(&mut self) {
        let connected = matches!(self.status.connection, Connection::Connected { .. });
        if !connected || self.protocol < PROTOCOL_ARTIFACTS {
            return;
        }
        for attempt in self.attempts.newly_held(self.session) {
            tracing::warn!(attempt.id = %attempt, "there is no room for what a step prints; it is held back");
            let held = OutputHeld {
                attempt,
                stall_ms: OutputLimits::default().stall_ms,
            };
            let held = LinkCommand::Control(held.into());
            self.commands.push_back(held);
        }
    }

    /// Forgets tombstones that are old or too many, now and then.
    fn prune_if_due(&mut self) {
        if self.pruned.elapsed() >= PRUNE {
            self.pruned = Instant::now();
            self.prune(now_us());
        }
    }

    fn prune(&mut self, now_us: i64) {
        let artifacts = Artifacts::at(&self.config.state_dir);
        // Nobody waits for it, and a folder with few files it is anyway.
        tokio::task::spawn_blocking(move || artifacts.prune(SystemTime::now()));
        if let Some(ledger) = self.journal.pruned(self.brain.ledger(), now_us) {
            self.brain.remember(ledger);
        }
    }

    /// Writes the status if it is news, on another thread: on Windows whoever reads the file can hold
    /// up its replacement for long, and this thread serves the connection as well. One at a time, so
    /// that the last one stays; what comes meanwhile is written at the next tick.
    fn write_status(&mut self) {
        let busy = self
            .writing
            .as_ref()
            .is_some_and(|task| !task.is_finished());
        if busy || self.written.as_ref() == Some(&self.status) {
            return;
        }
        let (status, path) = (self.status.clone(), self.config.state_dir.status_file());
        self.written = Some(self.status.clone());
        // Only for people; the next change is another try.
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let _ = status.write(&path);
        }));
    }

    /// Waits until the status is written, if that does not take long.
    async fn write_last_status(&mut self) {
        let write = async {
            for _ in 0..2 {
                if let Some(writing) = self.writing.take() {
                    // It panics never, and is told to nobody if it does.
                    let _ = writing.await;
                }
                self.write_status();
            }
            if let Some(writing) = self.writing.take() {
                let _ = writing.await;
            }
        };
        let _ = tokio::time::timeout(LEAVE, write).await;
    }
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests;
