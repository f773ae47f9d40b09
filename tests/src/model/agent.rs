//! An agent: its true brain and its true journal, on a disk that fails, with the shell around them
//! that carries effects out. The shell does what the agent's driver does, in memory.
//!
//! The agent dies by its fuse, between any two things that it does, or while it writes.

mod cancels;

use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::plan::NodeRef;
use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, AttemptId, JournalId};
use mantle_shared::protocol::{
    AcquireAnswer, AcquireResult, AttemptEnd, AttemptReport, Message, Outcome, RecordHasher,
};
use mantle_shared::uuid::Uuid;
use tentacle::brain::{
    Brain, BrainConfig, Cancel, Claims, Decision, Effect, Input, JournalFailure, Start,
};
use tentacle::journal::{AppendError, Journal, Phase, Record, Weight};
use tentacle::process::ProcessIdentity;

use super::Flaw;
use super::disk::FaultyDisk;
use super::line::{Report, Up};
use super::truth::Truth;

/// What an attempt's folder holds. All but its lines is brought to the disk as it is written.
#[derive(Debug)]
struct Folder {
    node: NodeRef,
    claim: Option<Claim>,
    cancel: bool,
    lines: Vec<u32>,
    /// Lines below this were acknowledged: they may be gone.
    trimmed: u64,
    result: Option<AttemptEnd>,
}

#[derive(Debug)]
enum Claim {
    Supervisor(ProcessIdentity),
    Void,
}

/// How far a supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has no order yet; if its agent dies now it ends.
    Empty,
    /// It has its order.
    Handed,
    /// It has claimed the attempt.
    Claimed,
    /// The step's own process runs.
    Working,
}

#[derive(Debug)]
struct Supervisor {
    attempt: AttemptId,
    stage: Stage,
}

/// What lives while the agent's process does.
struct Live {
    brain: Brain,
    journal: Journal,
    /// What is sent, and from which line on.
    shipping: BTreeMap<AttemptId, u64>,
    ends: BTreeMap<AttemptId, AttemptEnd>,
    /// Ends that could not be journalled.
    late: Vec<(AttemptId, AttemptEnd)>,
    /// Cancels for which there was no room in their folders.
    unwritten: BTreeSet<AttemptId>,
    /// What the server said that it has, where that did not grow.
    stuck: BTreeMap<AttemptId, u64>,
    connected: bool,
}

/// An agent and its machine.
pub struct Agent {
    /// Who it is.
    pub id: AgentId,
    /// Under its journal.
    pub disk: FaultyDisk,
    /// It dies after so many further things.
    pub fuse: Option<u8>,
    folders: BTreeMap<AttemptId, Folder>,
    supervisors: BTreeMap<u32, Supervisor>,
    boot: u64,
    next_pid: u32,
    live: Option<Live>,
    flaw: Option<Flaw>,
    /// What it sends on the control stream.
    pub out: Vec<Up>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// A new machine, its agent not running yet.
    pub fn new(id: AgentId, flaw: Option<Flaw>) -> Self {
        Self {
            id,
            disk: FaultyDisk::default(),
            fuse: None,
            folders: BTreeMap::new(),
            supervisors: BTreeMap::new(),
            boot: 1,
            next_pid: 1,
            live: None,
            flaw,
            out: Vec::new(),
        }
    }

    /// Its process is there.
    pub fn is_up(&self) -> bool {
        self.live.is_some()
    }

    /// Nothing is left to be told.
    pub fn is_settled(&self) -> bool {
        self.live.as_ref().is_some_and(|live| {
            live.brain.ledger().unacknowledged().next().is_none() && live.late.is_empty()
        }) && self.supervisors.is_empty()
    }

    /// How many supervisors there are.
    pub fn supervisors(&self) -> usize {
        self.supervisors.len()
    }

    /// The agent's process starts: it reads its journal and looks at what became of everything.
    pub fn start(&mut self, now_us: i64) {
        if self.live.is_some() {
            return;
        }
        self.out.clear();
        let Ok(opened) = Journal::open(Box::new(self.disk.clone()), now_us) else {
            self.disk.take_died();
            return;
        };
        let (mut journal, mut ledger) = (opened.journal, opened.ledger);
        if ledger.began().is_none() {
            let began = Record::Began {
                journal: JournalId::from_uuid(Uuid::from_u128(9)),
                at_us: now_us,
                after_loss: false,
            };
            let records = [began];
            if journal.append(&records, Weight::Settles).is_err() {
                self.disk.take_died();
                return;
            }
            records
                .iter()
                .try_for_each(|record| ledger.apply(record))
                .expect("a journal may begin");
        }
        self.folders.retain(|attempt, _| {
            ledger.get(*attempt).is_some_and(|entry| {
                entry.phase.is_open() || matches!(entry.phase, Phase::Ended(..))
            })
        });
        let known: Vec<(AttemptId, Phase, bool)> = ledger
            .unacknowledged()
            .map(|(attempt, entry)| (attempt, entry.phase.clone(), entry.cancel.is_some()))
            .collect();
        self.live = Some(Live {
            brain: Brain::new(BrainConfig::default(), ledger),
            journal,
            shipping: BTreeMap::new(),
            ends: BTreeMap::new(),
            late: Vec::new(),
            unwritten: BTreeSet::new(),
            stuck: BTreeMap::new(),
            connected: false,
        });
        for (attempt, phase, cancel) in known {
            if let Phase::Ended(_, end) = phase {
                if let Some(live) = &mut self.live {
                    live.ends.insert(attempt, end);
                }
                continue;
            }
            if cancel {
                self.write_cancel(attempt);
            }
            self.look(attempt, now_us);
        }
    }

    /// Its process is killed. Supervisors live on, save those that wait for their order.
    pub fn kill(&mut self) {
        self.live = None;
        self.fuse = None;
        self.out.clear();
        self.supervisors
            .retain(|_, supervisor| supervisor.stage != Stage::Empty);
    }

    /// The machine loses its power.
    pub fn power_cut(&mut self, which: u8, truth: &mut Truth) {
        self.kill();
        for supervisor in std::mem::take(&mut self.supervisors).into_values() {
            if let Some(folder) = self.folders.get_mut(&supervisor.attempt) {
                truth.kill(supervisor.attempt, folder.node);
                let kept = folder.lines.len() * usize::from(which) / 255;
                folder.lines.truncate(kept);
                truth.cut(supervisor.attempt);
            }
        }
        self.disk.power_cut(which, which.is_multiple_of(3));
        self.boot += 1;
    }

    /// Somebody kills a supervisor, with all that it started.
    pub fn kill_supervisor(&mut self, pick: usize, truth: &mut Truth) {
        let Some(pid) = self.pid(pick) else { return };
        if let Some(supervisor) = self.supervisors.remove(&pid)
            && let Some(folder) = self.folders.get(&supervisor.attempt)
        {
            truth.kill(supervisor.attempt, folder.node);
        }
    }

    fn pid(&self, pick: usize) -> Option<u32> {
        let nth = pick % self.supervisors.len().max(1);
        self.supervisors.keys().nth(nth).copied()
    }

    /// A supervisor does its next thing. `which` says what, where there is a choice.
    pub fn act(&mut self, pick: usize, which: u8, truth: &mut Truth) {
        let Some(pid) = self.pid(pick) else { return };
        let identity = self.identity(pid);
        let full = self.disk.is_full();
        let Some(supervisor) = self.supervisors.get_mut(&pid) else {
            return;
        };
        let attempt = supervisor.attempt;
        let Some(folder) = self.folders.get_mut(&attempt) else {
            assert!(
                supervisor.stage < Stage::Claimed,
                "the folder of {attempt} was removed while it runs"
            );
            self.supervisors.remove(&pid);
            return;
        };
        match supervisor.stage {
            Stage::Empty => {}
            Stage::Handed => match (&folder.claim, self.flaw) {
                (None, _) | (Some(_), Some(Flaw::ClaimsIgnored)) => {
                    folder.claim = Some(Claim::Supervisor(identity));
                    supervisor.stage = Stage::Claimed;
                }
                (Some(_), _) => {
                    self.supervisors.remove(&pid);
                }
            },
            Stage::Claimed => {
                truth.begin(attempt, folder.node);
                supervisor.stage = Stage::Working;
            }
            Stage::Working => {
                let outcome = if folder.cancel {
                    Outcome::Cancelled
                } else if which.is_multiple_of(3) {
                    if !full {
                        let line = truth.print(attempt);
                        folder.lines.push(line);
                    }
                    return;
                } else if which.is_multiple_of(7) {
                    Outcome::Failed
                } else {
                    Outcome::Succeeded
                };
                folder.result = Some(an_end(outcome, &folder.lines));
                truth.end(attempt, folder.node, outcome);
                self.supervisors.remove(&pid);
            }
        }
    }

    fn identity(&self, pid: u32) -> ProcessIdentity {
        ProcessIdentity {
            pid,
            start_time: u64::from(pid),
            boot_id: self.boot.to_string(),
        }
    }

    /// A message of the server arrives.
    pub fn receive(&mut self, message: Message, now_us: i64) {
        match message {
            Message::Welcome(welcome) => {
                if let Some(live) = &mut self.live {
                    live.connected = true;
                }
                self.handle(Input::Connected(welcome), None, now_us);
            }
            Message::StartAttempt(start) => {
                let attempt = start.attempt;
                let node: NodeRef = serde_json::from_slice(&start.order).expect("an order");
                let known = self
                    .live
                    .as_ref()
                    .is_some_and(|live| live.brain.ledger().get(attempt).is_some());
                let workspace = if known {
                    Ok(())
                } else if self.disk.is_full() {
                    Err(JournalFailure::NoSpace)
                } else {
                    self.prepare(attempt, node);
                    Ok(())
                };
                let input = Input::Start(Start {
                    request: start.request,
                    epoch: start.epoch,
                    task: start.task,
                    attempt,
                    payload: Digest::of(&start.order),
                    order: Ok(Claims::default()),
                    workspace,
                });
                self.handle(input, Some(attempt), now_us);
            }
            Message::CancelAttempt(cancel) => {
                let cancel = Cancel {
                    request: cancel.request,
                    epoch: cancel.epoch,
                    task: cancel.task,
                    attempt: cancel.attempt,
                    grace_ms: cancel.grace_ms,
                };
                self.handle(Input::Cancel(cancel), None, now_us);
            }
            Message::Acquire(acquire) => self.handle(Input::Acquire(acquire), None, now_us),
            Message::Ack(ack) => self.handle(Input::Acknowledged(ack.positions), None, now_us),
            Message::Resynced(resynced) => {
                self.handle(Input::Resynced(resynced.positions), None, now_us);
            }
            other => panic!("the server of the model does not send {}", other.name()),
        }
    }

    fn prepare(&mut self, attempt: AttemptId, node: NodeRef) {
        let lives = self.supervisors.values().any(|s| s.attempt == attempt);
        assert!(
            !lives,
            "the folder of {attempt} is made anew under its supervisor"
        );
        self.folders.insert(
            attempt,
            Folder {
                node,
                claim: None,
                cancel: false,
                lines: Vec::new(),
                trimmed: 0,
                result: None,
            },
        );
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, now_us: i64) {
        self.out.clear();
        if let Some(live) = &mut self.live {
            live.connected = false;
        }
        self.handle(Input::Disconnected, None, now_us);
    }

    /// Looks again at what could not be done before.
    pub fn tick(&mut self, now_us: i64) {
        let Some(live) = &mut self.live else { return };
        let late = std::mem::take(&mut live.late);
        for (attempt, next) in std::mem::take(&mut live.stuck) {
            live.shipping.insert(attempt, next);
        }
        for (attempt, end) in late {
            self.handle(Input::Ended { attempt, end }, None, now_us);
        }
        self.write_cancels_again();
    }

    /// Looks at every attempt that is not over and has no supervisor any more.
    pub fn look_at_all(&mut self, now_us: i64) {
        let Some(live) = &self.live else { return };
        let open: Vec<AttemptId> = live.brain.ledger().open().map(|(id, _)| id).collect();
        for attempt in open {
            if !self.supervisors.values().any(|s| s.attempt == attempt) {
                self.look(attempt, now_us);
            }
        }
    }

    /// What an attempt's folder says became of it.
    fn look(&mut self, attempt: AttemptId, now_us: i64) {
        let end = match self.folders.get_mut(&attempt) {
            None => an_end(Outcome::Unknown, &[]),
            Some(folder) => match (&folder.result, &folder.claim) {
                (Some(end), _) => {
                    // Its count is brought in line with what the disk kept.
                    an_end(end.outcome, &folder.lines)
                }
                (None, Some(Claim::Supervisor(process))) => {
                    let ours = process.boot_id == self.boot.to_string();
                    if ours && self.supervisors.contains_key(&process.pid) {
                        return;
                    }
                    let outcome = if ours {
                        Outcome::Unknown
                    } else {
                        Outcome::Interrupted
                    };
                    an_end(outcome, &folder.lines)
                }
                (None, Some(Claim::Void)) => an_end(Outcome::NotStarted, &[]),
                (None, None) => {
                    if self.flaw != Some(Flaw::NoVoidClaim) {
                        folder.claim = Some(Claim::Void);
                    }
                    an_end(Outcome::NotStarted, &[])
                }
            },
        };
        self.handle(Input::Ended { attempt, end }, None, now_us);
    }

    /// Sends some of an attempt's lines, or its end after the last.
    pub fn ship(&mut self, pick: usize, most: usize) -> Option<(AttemptId, Report)> {
        let live = self.live.as_mut()?;
        if !live.connected {
            return None;
        }
        let nth = pick % live.shipping.len().max(1);
        let (attempt, next) = live.shipping.iter().nth(nth)?;
        let attempt = *attempt;
        let folder = self.folders.get(&attempt);
        // What was acknowledged meanwhile need not be there any more.
        let next = folder.map_or(*next, |folder| folder.trimmed.max(*next));
        let lines = folder.map_or(&[][..], |folder| &folder.lines);
        let from = usize::try_from(next).expect("few lines").min(lines.len());
        if from < lines.len() {
            let to = (from + most.max(1)).min(lines.len());
            live.shipping.insert(attempt, to as u64);
            let lines = lines[from..to].to_vec();
            let first_seq = next;
            return Some((attempt, Report::Records { first_seq, lines }));
        }
        let end = live.ends.get(&attempt)?.clone();
        live.shipping.remove(&attempt);
        Some((attempt, Report::Ended(end)))
    }

    /// Who may still be shipping.
    pub fn shipments(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.shipping.len())
    }

    /// Whether the agent goes on after this.
    fn burns(&mut self) -> bool {
        if self.disk.take_died() {
            self.kill();
            return true;
        }
        match &mut self.fuse {
            Some(0) => {
                self.kill();
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Decides, journals, carries out.
    fn handle(&mut self, input: Input, order: Option<AttemptId>, now_us: i64) {
        let Some(live) = &mut self.live else { return };
        let Decision {
            records,
            weight,
            then,
            otherwise,
        } = live.brain.decide(now_us, input);
        let effects = if records.is_empty() {
            then
        } else {
            match live.journal.append(&records, weight) {
                Ok(()) => {
                    live.brain.commit(&records).expect("a legal record");
                    then
                }
                Err(_) if self.flaw == Some(Flaw::JournalOptional) => {
                    // The flaw: what could not be written is acted upon.
                    live.brain.commit(&records).expect("a legal record");
                    then
                }
                Err(error) => {
                    let failure = match error {
                        AppendError::NoSpace => JournalFailure::NoSpace,
                        AppendError::Io(_) => JournalFailure::Other,
                    };
                    live.brain.failed(otherwise, failure)
                }
            }
        };
        if self.burns() {
            return;
        }
        for effect in effects {
            self.carry_out(effect, order, now_us);
            if self.live.is_none() || self.burns() {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, order: Option<AttemptId>, now_us: i64) {
        let Some(live) = &mut self.live else { return };
        match effect {
            Effect::Send(message) => self.out.push(Up::Answer(message)),
            Effect::Resync => {
                let journal = live.brain.ledger().began().map(|began| began.journal);
                let reports = live.brain.reports();
                self.out.push(Up::Resync { journal, reports });
            }
            Effect::Spawn { attempt } => self.spawn(attempt, order, now_us),
            Effect::Discard { attempt } => {
                self.folders.remove(&attempt);
            }
            Effect::WriteCancel { attempt, .. } => self.write_cancel(attempt),
            Effect::Acquire(acquire) => {
                let result = AcquireResult::Acquired {
                    fetched_bytes: 1,
                    reused_bytes: 0,
                };
                let (request, task) = (acquire.request, acquire.task);
                let answer = AcquireAnswer {
                    request,
                    task,
                    result,
                };
                self.out.push(Up::Answer(answer.into()));
            }
            Effect::Ship { attempt, from_seq } => {
                let acknowledged = self.folders.get(&attempt).map_or(0, |f| f.trimmed);
                assert!(
                    from_seq >= acknowledged,
                    "P3: the server asks for lines of {attempt} that it acknowledged"
                );
                live.stuck.remove(&attempt);
                live.shipping.insert(attempt, from_seq);
            }
            Effect::ShipIfIdle { attempt } => {
                let stored = self
                    .folders
                    .get(&attempt)
                    .map_or(0, |folder| folder.trimmed);
                live.shipping.entry(attempt).or_insert(stored);
            }
            Effect::StopShipping => {
                live.shipping.clear();
                live.stuck.clear();
                self.out.clear();
            }
            Effect::Stored { attempt, next_seq } => {
                if let Some(folder) = self.folders.get_mut(&attempt) {
                    if next_seq <= folder.trimmed {
                        live.stuck.insert(attempt, folder.trimmed);
                    } else {
                        live.stuck.remove(&attempt);
                    }
                    folder.trimmed = folder.trimmed.max(next_seq);
                }
            }
            Effect::Complete { attempt, end } => {
                live.ends.insert(attempt, end);
            }
            Effect::EndLater { attempt, end } => live.late.push((attempt, end)),
            Effect::Forget { attempt } => {
                live.shipping.remove(&attempt);
                live.ends.remove(&attempt);
                self.folders.remove(&attempt);
            }
        }
    }

    fn spawn(&mut self, attempt: AttemptId, order: Option<AttemptId>, now_us: i64) {
        assert_eq!(
            order,
            Some(attempt),
            "an attempt is spawned without its order"
        );
        if self.burns() {
            return;
        }
        let pid = self.next_pid;
        self.next_pid += 1;
        let stage = Stage::Empty;
        self.supervisors.insert(pid, Supervisor { attempt, stage });
        if self.burns() {
            return;
        }
        if let Some(supervisor) = self.supervisors.get_mut(&pid) {
            supervisor.stage = Stage::Handed;
        }
        assert!(
            self.disk.holds(&attempt.to_string()),
            "P2: a process of {attempt} exists before its record is on the disk"
        );
        if self.burns() {
            return;
        }
        let process = self.identity(pid);
        self.handle(Input::Spawned { attempt, process }, None, now_us);
    }

    /// What the agent says of each, as a report; for people who read a failure.
    pub fn reports(&self) -> Vec<AttemptReport> {
        self.live
            .as_ref()
            .map_or_else(Vec::new, |live| live.brain.reports())
    }
}

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Stage {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}

/// An end that counts these lines.
pub fn an_end(outcome: Outcome, lines: &[u32]) -> AttemptEnd {
    AttemptEnd {
        outcome,
        exit_code: None,
        message: String::new(),
        records: lines.len() as u64,
        log: digest(lines),
        started_at_us: 1,
        ended_at_us: 2,
    }
}

/// The digest of a log; an empty one's is the protocol's own.
pub fn digest(lines: &[u32]) -> Digest {
    if lines.is_empty() {
        return RecordHasher::new().digest();
    }
    let bytes: Vec<u8> = lines.iter().flat_map(|line| line.to_le_bytes()).collect();
    Digest::of(&bytes)
}
