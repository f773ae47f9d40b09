//! One agent of many: the connection and the brain of the real one, with a script for its supervisor.
//!
//! As in the agent's own driver, nothing is answered before the journal has it, and what the connection
//! loses is said again at the next resync.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mantle_shared::order::ORDER_FORMAT;
use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, Journal as JournalSaid, Message, RECORDS_TARGET_BYTES, Records,
    Resync, StartAttempt,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, Digest, JournalId, TaskId};
use serde::Deserialize;
use tentacle::artifacts::Artifacts;
use tentacle::brain::{
    Brain, BrainConfig, Cancel, Claims, Decision, Effect, Input, JournalFailure, Otherwise, Start,
};
use tentacle::cache::Acquirer;
use tentacle::connection::{self, Settings, Sockets, Timing};
use tentacle::identity::{Identities, Identity};
use tentacle::journal::{AppendError, Journal, Phase, Record};
use tentacle::link::{HelloFacts, Link, LinkCommand, LinkEvent, REPORTS_QUEUE, link};
use tentacle::output::recorder::now_us;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};

use crate::fleet::{Fleet, pace};
use crate::journal::Lean;
use crate::script::{self, Script};
use crate::tally::Tally;

/// Reports a portion of the resync holds: far below the control stream's limit.
const RESYNC_PORTION: usize = 200;
/// Ends that wait for the loop.
const ENDS: usize = 16;
/// When an end that could not be journalled is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// For one agent's last words.
const LEAVE: Duration = Duration::from_secs(3);

/// What all of them share.
pub(crate) struct Common {
    pub(crate) timing: Timing,
    pub(crate) sockets: Sockets,
    pub(crate) acquirer: Arc<Acquirer>,
    pub(crate) artifacts: Artifacts,
    pub(crate) features: Vec<String>,
    pub(crate) boot_id: String,
    pub(crate) script: Script,
    pub(crate) sync: bool,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Runs agents 1 to `agents` until they are told to stop.
pub(crate) async fn run_all(
    fleet: &Fleet,
    agents: usize,
    a_second: u32,
    common: Arc<Common>,
) -> Result<()> {
    let mut pace = pace(a_second);
    let mut running = JoinSet::new();
    for number in 1..=agents {
        pace.tick().await;
        if *common.stop.borrow() {
            break;
        }
        let folder = fleet.folder(number);
        let common = Arc::clone(&common);
        running.spawn(async move {
            let opened = {
                let (folder, sync) = (folder.clone(), common.sync);
                spawn_blocking(move || open(&folder, sync)).await?
            };
            let (identity, journal, brain) =
                opened.with_context(|| format!("the agent in {}", folder.display()))?;
            Agent::new(number, journal, brain, common)
                .run(identity)
                .await
        });
    }
    while let Some(done) = running.join_next().await {
        done.context("an agent broke down")??;
    }
    Ok(())
}

/// Opens what one agent has on the disk; the first time its journal begins.
fn open(folder: &std::path::Path, sync: bool) -> Result<(Identity, Journal, Brain)> {
    let identity = Identity::load(folder)?;
    let storage = Lean::new(folder.join("journal"), sync);
    let opened = Journal::open(Box::new(storage), now_us())?;
    let (mut journal, mut ledger) = (opened.journal, opened.ledger);
    if ledger.began().is_none() {
        let began = Record::Began {
            journal: JournalId::from_uuid(Uuid::now_v7()),
            at_us: now_us(),
            after_loss: false,
        };
        ledger.apply(&began)?;
        journal.rewrite(&ledger).context("its journal")?;
    }
    let brain = Brain::new(BrainConfig::default(), ledger);
    Ok((identity, journal, brain))
}

/// What the agent itself reads of an order.
#[derive(Deserialize)]
struct OrderFacts {
    format: u32,
    #[serde(default)]
    locks: Vec<mantle_shared::lock::Lock>,
    #[serde(default)]
    despite: Vec<AttemptId>,
}

struct Agent {
    number: usize,
    brain: Brain,
    /// None while it is being written.
    journal: Option<Journal>,
    common: Arc<Common>,
    session: u64,
    connected: bool,
    /// Those under way, with what ends them.
    under_way: HashMap<AttemptId, (i64, AbortHandle)>,
    /// The ends that the server does not have.
    ended: HashMap<AttemptId, AttemptEnd>,
    /// Of these the end is on its way on this connection.
    shipping: HashSet<AttemptId>,
    ends: mpsc::Sender<(AttemptId, AttemptEnd)>,
    ends_in: mpsc::Receiver<(AttemptId, AttemptEnd)>,
}

impl Agent {
    fn new(number: usize, journal: Journal, brain: Brain, common: Arc<Common>) -> Self {
        let (ends, ends_in) = mpsc::channel(ENDS);
        let mut agent = Self {
            number,
            brain,
            journal: Some(journal),
            common,
            session: 0,
            connected: false,
            under_way: HashMap::new(),
            ended: HashMap::new(),
            shipping: HashSet::new(),
            ends,
            ends_in,
        };
        agent.take_up();
        agent
    }

    /// What an earlier process left: ends that were not acknowledged, and attempts without an end, which
    /// are carried out now, for there is no process that may have run.
    fn take_up(&mut self) {
        let known: Vec<_> = self.brain.ledger().unacknowledged().collect();
        let (mut open, mut ended) = (Vec::new(), Vec::new());
        for (attempt, entry) in known {
            match &entry.phase {
                Phase::Ended(_, end) => ended.push((attempt, end.clone())),
                Phase::Accepted(_) | Phase::Spawned(..) => {
                    open.push(attempt);
                }
                Phase::Acknowledged(..) | Phase::Voided => {}
            }
        }
        self.ended.extend(ended);
        for attempt in open {
            self.begin(attempt);
        }
    }

    fn facts(&self) -> HelloFacts {
        HelloFacts {
            features: self.common.features.clone(),
            boot_id: self.common.boot_id.clone(),
            highest_epoch: self.brain.ledger().highest_epoch(),
            journal: self.brain.ledger().digest(),
        }
    }

    async fn run(mut self, identity: Identity) -> Result<()> {
        let (mut link, peer) = link(self.facts());
        let settings = Settings {
            identities: Identities::fixed(identity),
            timing: self.common.timing,
            sockets: self.common.sockets.clone(),
            acquirer: Arc::clone(&self.common.acquirer),
            artifacts: self.common.artifacts.clone(),
        };
        let connection = tokio::spawn(connection::run(settings, peer));
        let mut stop = self.common.stop.clone();
        loop {
            let input = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                event = link.events.recv() => match event {
                    Some(event) => self.noticed(event),
                    None => bail!("the connection of agent {} broke down", self.number),
                },
                Some((attempt, end)) = self.ends_in.recv() => {
                    self.under_way.remove(&attempt);
                    Some(Input::Ended { attempt, end })
                }
            };
            if let Some(input) = input {
                self.handle(input, &link).await?;
            }
        }
        let close = async {
            // The connection may be gone already, which is what is wanted.
            let _ = link.commands.send(LinkCommand::Close).await;
            while link.events.recv().await.is_some() {}
            let _ = connection.await;
        };
        let _ = tokio::time::timeout(LEAVE, close).await;
        Ok(())
    }

    fn noticed(&mut self, event: LinkEvent) -> Option<Input> {
        match event {
            LinkEvent::Connected { session, welcome } => {
                self.session = session;
                self.connected = true;
                Tally::up(&self.common.tally.connects);
                Tally::up(&self.common.tally.connected);
                Some(Input::Connected(welcome))
            }
            LinkEvent::Disconnected { .. } => {
                if std::mem::take(&mut self.connected) {
                    Tally::down(&self.common.tally.connected);
                }
                Some(Input::Disconnected)
            }
            LinkEvent::NotConnected { .. } => None,
            LinkEvent::Received(message) => message_input(message),
        }
    }

    /// Decides, journals, carries out.
    async fn handle(&mut self, input: Input, link: &Link) -> Result<()> {
        let Decision {
            records,
            weight,
            then,
            otherwise,
        } = self.brain.decide(now_us(), input);
        if records.is_empty() {
            return self.carry_out(then, link).await;
        }
        let Some(mut journal) = self.journal.take() else {
            bail!("the journal of agent {} is not there", self.number);
        };
        // On a thread that may wait for the disk: agents on machines of their own would not wait for
        // each other either.
        let (journal, written, records) = spawn_blocking(move || {
            let written = journal.append(&records, weight);
            (journal, written, records)
        })
        .await
        .context("a journal")?;
        self.journal = Some(journal);
        match written {
            Ok(()) => {
                self.brain.commit(&records)?;
                self.carry_out(then, link).await?;
                if let Some(journal) = &mut self.journal {
                    journal.compact_if_due(self.brain.ledger());
                }
                link.facts.send_replace(self.facts());
                Ok(())
            }
            Err(error) => self.not_written(otherwise, &error, link).await,
        }
    }

    async fn not_written(
        &mut self,
        otherwise: Otherwise,
        error: &AppendError,
        link: &Link,
    ) -> Result<()> {
        tracing::error!(agent = self.number, %error, "the journal could not be written");
        let failure = match error {
            AppendError::NoSpace => JournalFailure::NoSpace,
            AppendError::Io(_) => JournalFailure::Other,
        };
        let effects = self.brain.failed(otherwise, failure);
        self.carry_out(effects, link).await
    }

    async fn carry_out(&mut self, effects: Vec<Effect>, link: &Link) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Send(message) => say(link, LinkCommand::Control(message)).await?,
                Effect::Resync => self.resync(link).await?,
                Effect::Spawn { attempt } => self.begin(attempt),
                Effect::WriteCancel { attempt, .. } => self.cancel(attempt),
                Effect::Acquire(acquire) => say(link, LinkCommand::Acquire(acquire)).await?,
                Effect::Ship { attempt, from_seq } => self.ship(attempt, from_seq, link).await?,
                Effect::ShipIfIdle { attempt } if !self.shipping.contains(&attempt) => {
                    self.ship(attempt, 0, link).await?;
                }
                Effect::Complete { attempt, end } => {
                    self.ended.insert(attempt, end);
                    if !self.shipping.contains(&attempt) {
                        self.ship(attempt, 0, link).await?;
                    }
                }
                Effect::EndLater { attempt, end } => self.end_later(attempt, end, AGAIN),
                Effect::StopShipping => self.shipping.clear(),
                Effect::Forget { attempt } => {
                    self.shipping.remove(&attempt);
                    if self.ended.remove(&attempt).is_some() {
                        Tally::up(&self.common.tally.ended);
                    }
                }
                // There is no folder, and nothing is kept of what was printed.
                Effect::ShipIfIdle { .. } | Effect::Discard { .. } | Effect::Stored { .. } => {}
            }
        }
        Ok(())
    }

    /// The step is under way; in time it ends.
    fn begin(&mut self, attempt: AttemptId) {
        Tally::up(&self.common.tally.started);
        let began_us = now_us();
        let (script, number, ends) = (self.common.script, self.number, self.ends.clone());
        let task = tokio::spawn(async move {
            if !script.lasts.is_zero() {
                tokio::time::sleep(script.lasts).await;
            }
            let end = script.end(attempt, number, (began_us, now_us()));
            // Nobody is there only if the whole agent is going.
            let _ = ends.send((attempt, end)).await;
        });
        self.under_way
            .insert(attempt, (began_us, task.abort_handle()));
    }

    fn cancel(&mut self, attempt: AttemptId) {
        if let Some((began_us, task)) = self.under_way.remove(&attempt) {
            task.abort();
            let end = script::cancelled((began_us, now_us()));
            self.end_later(attempt, end, Duration::ZERO);
        }
    }

    fn end_later(&self, attempt: AttemptId, end: AttemptEnd, wait: Duration) {
        let ends = self.ends.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = ends.send((attempt, end)).await;
        });
    }

    async fn resync(&mut self, link: &Link) -> Result<()> {
        let session = self.session;
        say(link, LinkCommand::Begin { session }).await?;
        if let Some(began) = self.brain.ledger().began() {
            let journal = JournalSaid {
                journal: began.journal,
                began_at_us: began.at_us,
                after_loss: began.after_loss,
            };
            say(link, LinkCommand::Control(journal.into())).await?;
        }
        let reports = self.brain.reports();
        let mut portions: Vec<_> = reports.chunks(RESYNC_PORTION).map(<[_]>::to_vec).collect();
        if portions.is_empty() {
            portions.push(Vec::new());
        }
        let count = portions.len();
        for (index, reports) in portions.into_iter().enumerate() {
            let last = index + 1 == count;
            let portion = Resync { reports, last };
            say(link, LinkCommand::Control(portion.into())).await?;
        }
        Ok(())
    }

    /// Sends an attempt's lines from this one on, then its end. What has not ended has printed nothing.
    async fn ship(&mut self, attempt: AttemptId, from_seq: u64, link: &Link) -> Result<()> {
        let Some(end) = self.ended.get(&attempt).cloned() else {
            return Ok(());
        };
        self.shipping.insert(attempt);
        let (out, messages) = mpsc::channel(REPORTS_QUEUE);
        say(link, LinkCommand::Reports { attempt, messages }).await?;
        tokio::spawn(ship(attempt, end, from_seq, out));
        Ok(())
    }
}

/// Sends until the end was sent or the connection is gone: a resync says the rest.
async fn ship(attempt: AttemptId, end: AttemptEnd, from_seq: u64, out: mpsc::Sender<Message>) {
    let mut next = from_seq;
    while next < end.records {
        let first_seq = next;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while next < end.records && bytes < RECORDS_TARGET_BYTES {
            let record = script::record(attempt, end.started_at_us, next);
            bytes += record.body.text_bytes();
            records.push(record);
            next += 1;
        }
        let message = Records {
            attempt,
            first_seq,
            records,
        };
        if out.send(message.into()).await.is_err() {
            return;
        }
    }
    let _ = out.send(AttemptEnded { attempt, end }.into()).await;
}

async fn say(link: &Link, command: LinkCommand) -> Result<()> {
    if link.commands.send(command).await.is_err() {
        bail!("a connection broke down");
    }
    Ok(())
}

fn message_input(message: Message) -> Option<Input> {
    match message {
        Message::StartAttempt(start) => Some(Input::Start(started(start))),
        Message::CancelAttempt(cancel) => Some(Input::Cancel(Cancel {
            request: cancel.request,
            epoch: cancel.epoch,
            task: cancel.task,
            attempt: cancel.attempt,
            grace_ms: cancel.grace_ms,
        })),
        Message::Acquire(acquire) => Some(Input::Acquire(acquire)),
        Message::Ack(ack) => Some(Input::Acknowledged(ack.positions)),
        Message::Resynced(resynced) => Some(Input::Resynced(resynced.positions)),
        other => {
            tracing::debug!(message = other.name(), "not for an agent of a swarm");
            None
        }
    }
}

fn started(start: StartAttempt) -> Start {
    let task: TaskId = start.task;
    Start {
        request: start.request,
        epoch: start.epoch,
        task,
        attempt: start.attempt,
        payload: Digest::of(&start.order),
        order: claims(&start.order),
        workspace: Ok(()),
    }
}

fn claims(order: &[u8]) -> Result<Claims, String> {
    let facts: OrderFacts = serde_json::from_slice(order)
        .map_err(|_| "the order is not one that this swarm reads".to_owned())?;
    if facts.format != ORDER_FORMAT {
        return Err(format!(
            "order format {} is not known to this swarm; build it anew",
            facts.format
        ));
    }
    Ok(Claims {
        locks: facts.locks,
        despite: facts.despite,
    })
}
