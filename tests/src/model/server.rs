//! The server: the true state machine over a log that survives, with the shell around it that takes
//! in, commits and carries out. The shell does what ingest and orchestrator do, in memory.
//!
//! The server dies by its fuse: before a commit, or between a commit and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mantle_domain::interruption::{Answer, Given};
use mantle_domain::state::{
    AcquireEnd, CancelAnswer, Effect, Event, Evidence, Input, Moment, NothingHeld, Policy,
    Resolution, ResolvedAs, StartAnswer, State, Together, decide_together, evolve, fold, judge,
    next_deadline, outstanding,
};
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TargetId};
use mantle_shared::protocol::{
    Ack, Acquire, AcquireResult, AttemptEnd, AttemptPosition, AttemptReport, CancelAttempt,
    CancelResult, Message, Outcome, ReportedState, Resynced, StartAttempt, StartResult, Welcome,
};

use super::Flaw;
use super::agent::digest;
use super::line::{Report, Up};
use super::plan;

/// What survives the server's process.
#[derive(Debug, Default)]
pub struct Durable {
    /// The deployment's log.
    pub events: Vec<Event>,
    /// The lines of every attempt.
    pub logs: BTreeMap<AttemptId, Vec<u32>>,
    /// The ends of attempts, by their agents' word.
    pub ends: BTreeMap<AttemptId, AttemptEnd>,
    /// The attempts that hold their locks.
    pub held: BTreeSet<AttemptId>,
    epoch: u64,
}

/// Something that is said once on each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Acquire(TargetId),
    Start(AttemptId),
    Cancel(AttemptId),
}

/// After a start nothing is overdue for so long of agents that have not come back.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

struct Live {
    state: State,
    online: BTreeMap<AgentId, (u64, JournalId)>,
    sent: BTreeMap<Order, u64>,
    short: BTreeMap<AttemptId, usize>,
    /// With [`Flaw::EarlyAck`]: how many lines of each attempt are really stored.
    unsaved: BTreeMap<AttemptId, usize>,
    requests: u64,
    seen: Timestamp,
    /// When it began, and who was there since.
    began: Timestamp,
    was_here: BTreeSet<AgentId>,
}

/// What the server wants of the world.
#[derive(Debug)]
pub enum Out {
    /// This message to this agent, on this connection.
    Send(AgentId, u64, Box<Message>),
    /// An end to this agent's connection.
    Disconnect(AgentId),
}

/// The server and its database.
pub struct Server {
    /// The database.
    pub durable: Durable,
    /// It dies after so many further commits.
    pub fuse: Option<u8>,
    /// What it wants of the world.
    pub out: Vec<Out>,
    live: Option<Live>,
    policy: Policy,
    flaw: Option<Flaw>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("events", &self.durable.events.len())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server that has not begun.
    pub fn new(flaw: Option<Flaw>) -> Self {
        Self {
            durable: Durable::default(),
            fuse: None,
            out: Vec::new(),
            live: None,
            policy: Policy::default(),
            flaw,
        }
    }

    /// Its process is there.
    pub fn is_up(&self) -> bool {
        self.live.is_some()
    }

    /// Its process starts: it folds its log and carries on.
    pub fn start(&mut self, now: Timestamp) {
        if self.live.is_some() {
            return;
        }
        self.durable.epoch += 1;
        self.live = Some(Live {
            state: fold(&self.durable.events),
            online: BTreeMap::new(),
            sent: BTreeMap::new(),
            short: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            requests: 0,
            seen: now,
            began: now,
            was_here: BTreeSet::new(),
        });
        if self.durable.events.is_empty() {
            self.turn(vec![Input::Begin { plan: plan::plan() }], now);
        } else {
            self.turn(vec![Input::Tick], now);
        }
    }

    /// Its process is killed.
    pub fn kill(&mut self) {
        if let Some(live) = self.live.take() {
            assert_eq!(
                fold(&self.durable.events),
                live.state,
                "the log does not lead to the state"
            );
            for (attempt, stored) in live.unsaved {
                let log = self.durable.logs.entry(attempt).or_default();
                log.truncate(stored);
            }
        }
        self.fuse = None;
        self.out.clear();
    }

    /// The deployment's state, if the server lives.
    pub fn state(&self) -> Option<&State> {
        self.live.as_ref().map(|live| &live.state)
    }

    /// What it says to whoever connects.
    pub fn welcome(&self, now: Timestamp) -> Message {
        Welcome {
            protocol: 1,
            version: String::new(),
            now_us: now.as_microsecond(),
            epoch: self.durable.epoch,
        }
        .into()
    }

    /// Somebody wants it to stop.
    pub fn cancel(&mut self, now: Timestamp) {
        let by = "ann".to_owned();
        self.turn(vec![Input::CancelRequested { by }], now);
    }

    /// Somebody answers what is asked, if anything is.
    pub fn answer(&mut self, answer: Answer, now: Timestamp) {
        let open = self
            .state()
            .and_then(|state| state.open_interruptions().next());
        let Some(number) = open.map(|(number, _)| number) else {
            return;
        };
        let given = Given {
            by: "ann".to_owned(),
            answer,
            notes: String::new(),
            at: now,
        };
        self.turn(vec![Input::InterruptionAnswered { number, given }], now);
    }

    /// Somebody says how an attempt ended, whether that is known or not, and right or wrong. Not of what
    /// undoes something: that is asked about, and of what is retried while it lives after all only the
    /// agent's locks keep the next attempt away, which the model leaves out.
    pub fn resolve(&mut self, which: u8, now: Timestamp) {
        let Some(live) = &self.live else { return };
        let Some(plan) = live.state.plan.as_deref() else {
            return;
        };
        let attempts = live.state.attempts.iter();
        let forward = attempts.filter(|(_, known)| plan.undone(known.node).is_none());
        let forward: Vec<AttemptId> = forward.map(|(attempt, _)| *attempt).collect();
        let nth = usize::from(which / 2) % forward.len().max(1);
        let Some(attempt) = forward.get(nth).copied() else {
            return;
        };
        let ended = match which % 2 {
            0 => ResolvedAs::Succeeded,
            _ => ResolvedAs::Failed,
        };
        let resolution = Resolution {
            ended,
            by: "ann".to_owned(),
            reason: "looked".to_owned(),
            at: now,
        };
        let input = Input::AttemptResolved {
            attempt,
            resolution,
        };
        self.turn(vec![input], now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) {
        let Some(live) = &mut self.live else { return };
        let seen = std::mem::replace(&mut live.seen, now);
        let due =
            next_deadline(&live.state, seen, live.began + PATIENCE).is_some_and(|at| at <= now);
        self.turn(if due { vec![Input::Tick] } else { Vec::new() }, now);
    }

    /// A connection is gone, as the server has noticed.
    pub fn gone(&mut self, agent: AgentId, session: u64) {
        if let Some(live) = &mut self.live
            && live
                .online
                .get(&agent)
                .is_some_and(|(at, _)| *at == session)
        {
            live.online.remove(&agent);
        }
    }

    /// The connections that it believes in.
    pub fn sessions(&self) -> Vec<(AgentId, u64)> {
        let online = self.live.iter().flat_map(|live| &live.online);
        online
            .map(|(agent, (session, _))| (*agent, *session))
            .collect()
    }

    /// Something arrives on a control stream.
    pub fn control(&mut self, agent: AgentId, session: u64, up: Up, now: Timestamp) {
        match up {
            Up::Resync { journal, reports } => self.resync(agent, session, journal, &reports, now),
            Up::Answer(Message::StartAnswer(answer)) => {
                let attempt = answer.attempt;
                let answer = match answer.result {
                    StartResult::Accepted | StartResult::Ended(_) => StartAnswer::Accepted,
                    StartResult::Refused { reason, message } => {
                        StartAnswer::Refused { reason, message }
                    }
                };
                self.turn(vec![Input::StartAnswered { attempt, answer }], now);
            }
            Up::Answer(Message::CancelAnswer(answer)) => {
                let attempt = answer.attempt;
                let answer = match answer.result {
                    CancelResult::Cancelling | CancelResult::Ended(_) => CancelAnswer::Cancelling,
                    CancelResult::Voided => CancelAnswer::Voided,
                    CancelResult::Fenced => panic!("the only server is called an old one"),
                    CancelResult::Failed => {
                        if let Some(live) = &mut self.live {
                            live.sent.remove(&Order::Cancel(attempt));
                        }
                        return;
                    }
                };
                self.turn(vec![Input::CancelAnswered { attempt, answer }], now);
            }
            Up::Answer(Message::AcquireAnswer(answer)) => {
                let target = plan::target_of(agent);
                let end = match answer.result {
                    AcquireResult::Acquired {
                        fetched_bytes,
                        reused_bytes,
                    } => AcquireEnd::Done {
                        fetched_bytes,
                        reused_bytes,
                    },
                    AcquireResult::Failed { message, .. } => AcquireEnd::Failed {
                        message,
                        transient: true,
                    },
                };
                if let Some(live) = &mut self.live {
                    live.sent.remove(&Order::Acquire(target));
                }
                self.turn(vec![Input::AcquireEnded { target, end }], now);
            }
            Up::Answer(other) => panic!("an agent does not send {}", other.name()),
        }
    }

    fn resync(
        &mut self,
        agent: AgentId,
        session: u64,
        journal: Option<JournalId>,
        reports: &[AttemptReport],
        now: Timestamp,
    ) {
        let Some(live) = &mut self.live else { return };
        let ours = |attempt| live.state.attempts.contains_key(&attempt);
        let positions = reports
            .iter()
            .map(|report| AttemptPosition {
                attempt: report.attempt,
                known: ours(report.attempt),
                next_seq: self.durable.logs.get(&report.attempt).map_or(0, Vec::len) as u64,
                end_stored: self.durable.ends.contains_key(&report.attempt),
            })
            .collect();
        let last = true;
        let resynced = Resynced { positions, last };
        self.out
            .push(Out::Send(agent, session, Box::new(resynced.into())));
        let journal = journal.expect("every journal of the model has an id");
        live.was_here.insert(agent);
        live.online.insert(agent, (session, journal));
        let mut inputs = Vec::new();
        for report in reports {
            let attempt = report.attempt;
            inputs.push(match report.state {
                ReportedState::Accepted | ReportedState::Ended(_) => Input::StartAnswered {
                    attempt,
                    answer: StartAnswer::Accepted,
                },
                ReportedState::Running => Input::AttemptSeenRunning { attempt },
            });
        }
        let reported: BTreeSet<AttemptId> = reports.iter().map(|report| report.attempt).collect();
        for (attempt, known) in live.state.live_attempts() {
            if known.agent == agent && !reported.contains(attempt) {
                inputs.push(Input::AttemptForgotten {
                    attempt: *attempt,
                    journal: Some(journal),
                });
            }
        }
        inputs.push(Input::Tick);
        self.turn(inputs, now);
        if let Some(live) = &self.live {
            // What its agent knows nothing of and is over does not live.
            let attempts = &live.state.attempts;
            self.durable.held.retain(|attempt| {
                let known = &attempts[attempt];
                known.agent != agent || reported.contains(attempt) || !known.is_over()
            });
        }
    }

    /// Something arrives on an attempt's own stream.
    pub fn report(
        &mut self,
        agent: AgentId,
        session: u64,
        attempt: AttemptId,
        report: Report,
        now: Timestamp,
    ) {
        match report {
            Report::Records { first_seq, lines } => {
                if self.burns() {
                    return;
                }
                let log = self.durable.logs.entry(attempt).or_default();
                let first = usize::try_from(first_seq).expect("few lines");
                if first <= log.len() {
                    let known = (log.len() - first).min(lines.len());
                    assert_eq!(
                        log[first..first + known],
                        lines[..known],
                        "a line of {attempt} came twice, and differs"
                    );
                    log.extend(&lines[known..]);
                }
                let stored = log.len() as u64;
                if self.flaw == Some(Flaw::EarlyAck)
                    && let Some(live) = &mut self.live
                {
                    live.unsaved.entry(attempt).or_insert(first);
                }
                if self.burns() {
                    return;
                }
                self.acknowledge(agent, session, attempt, stored, false);
            }
            Report::Ended(end) => self.ended(agent, session, attempt, end, now),
        }
    }

    fn ended(
        &mut self,
        agent: AgentId,
        session: u64,
        attempt: AttemptId,
        end: AttemptEnd,
        now: Timestamp,
    ) {
        let log = self
            .durable
            .logs
            .get(&attempt)
            .map_or(&[][..], Vec::as_slice);
        let stored = log.len();
        let said = usize::try_from(end.records).expect("few lines");
        if stored < said {
            let Some(live) = &mut self.live else { return };
            let before = live.short.insert(attempt, stored);
            assert_ne!(before, Some(stored), "lines of {attempt} never come");
            self.out.push(Out::Disconnect(agent));
            return;
        }
        if stored == said {
            assert_eq!(
                digest(log),
                end.log,
                "the log of {attempt} is not what was printed"
            );
        }
        let evidence = stored as u64;
        let input = Input::AttemptEnded {
            attempt,
            end: end.clone(),
            outputs: Vec::new(),
            stored: evidence,
        };
        let finished = self.state().is_none_or(State::is_finished);
        if finished {
            if self.burns() {
                return;
            }
            let seen_running = false;
            let stored = evidence;
            let end = judge(
                end,
                Evidence {
                    stored,
                    seen_running,
                },
            );
            if !self.durable.ends.contains_key(&attempt) {
                let at = now;
                let late = Event::AttemptFinishedLate {
                    attempt,
                    end,
                    at,
                    outputs: Vec::new(),
                };
                if let Some(live) = &mut self.live {
                    evolve(&mut live.state, &late);
                }
                self.commit(vec![late]);
            }
        } else {
            self.turn(vec![input], now);
        }
        if self.live.is_some() {
            let next_seq = evidence.max(said as u64);
            self.acknowledge(agent, session, attempt, next_seq, true);
        }
    }

    fn acknowledge(
        &mut self,
        agent: AgentId,
        session: u64,
        attempt: AttemptId,
        next_seq: u64,
        end_stored: bool,
    ) {
        let position = AttemptPosition {
            attempt,
            known: true,
            next_seq,
            end_stored,
        };
        let positions = vec![position];
        self.out.push(Out::Send(
            agent,
            session,
            Box::new(Ack { positions }.into()),
        ));
    }

    fn burns(&mut self) -> bool {
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

    /// Decides on a copy, commits, evolves, carries out.
    fn turn(&mut self, inputs: Vec<Input>, now: Timestamp) {
        let Some(live) = &mut self.live else { return };
        let online: BTreeSet<AgentId> = live.online.keys().copied().collect();
        let journals = live
            .online
            .iter()
            .map(|(id, (_, journal))| (*id, *journal))
            .collect();
        let moment = Moment {
            now,
            online: &online,
            returning: &|agent| now < live.began + PATIENCE && !live.was_here.contains(&agent),
            journals: &journals,
            condition: &|_, _| Ok(true),
            instructions: &|_, _| String::new(),
            policy: &self.policy,
            locks: &NothingHeld,
        };
        // What has no place is dropped, as the orchestrator does.
        let Together { next, events, .. } = decide_together(&live.state, inputs, &moment);
        if !events.is_empty() {
            if self.burns() {
                return;
            }
            self.commit(events);
            let Some(live) = &mut self.live else { return };
            live.state = next;
            if self.burns() {
                return;
            }
        }
        self.carry_out(now);
    }

    fn commit(&mut self, events: Vec<Event>) {
        if let Some(live) = &mut self.live {
            live.unsaved.clear();
        }
        for event in &events {
            match event {
                Event::AttemptOrdered { attempt, .. } => {
                    self.durable.held.insert(*attempt);
                }
                Event::AttemptFinished {
                    attempt,
                    end: Some(end),
                    ..
                }
                | Event::AttemptFinishedLate { attempt, end, .. } => {
                    self.durable.ends.insert(*attempt, end.clone());
                    self.durable.held.remove(attempt);
                }
                // One that may live keeps what it holds until somebody says otherwise.
                Event::AttemptFinished {
                    attempt, outcome, ..
                } if *outcome != Outcome::Unknown => {
                    self.durable.held.remove(attempt);
                }
                Event::AttemptResolved { attempt, .. } => {
                    self.durable.held.remove(attempt);
                }
                _ => {}
            }
        }
        self.durable.events.extend(events);
    }

    fn carry_out(&mut self, now: Timestamp) {
        let epoch = self.durable.epoch;
        let Some(live) = &mut self.live else { return };
        for effect in outstanding(&live.state) {
            let agent = effect.agent();
            let order = match &effect {
                Effect::Acquire { target, .. } => Order::Acquire(*target),
                Effect::Start { attempt, .. } => Order::Start(*attempt),
                Effect::Cancel { attempt, .. } => Order::Cancel(*attempt),
            };
            let Some((session, _)) = live.online.get(&agent).copied() else {
                continue;
            };
            if live.sent.insert(order, session) == Some(session) {
                continue;
            }
            live.requests += 1;
            let request = live.requests;
            let (task, deadline_ms) = (plan::task(), 60_000);
            let message = match effect {
                Effect::Acquire { .. } => Message::from(Acquire {
                    request,
                    deadline_ms,
                    epoch,
                    task,
                    packages: Vec::new(),
                }),
                Effect::Start { attempt, node, .. } => StartAttempt {
                    request,
                    deadline_ms,
                    epoch,
                    task,
                    attempt,
                    order: serde_json::to_vec(&node).expect("a node"),
                }
                .into(),
                Effect::Cancel { attempt, .. } => CancelAttempt {
                    request,
                    deadline_ms,
                    epoch,
                    task,
                    attempt,
                    grace_ms: 1_000,
                }
                .into(),
            };
            self.out.push(Out::Send(agent, session, Box::new(message)));
        }
        assert!(
            live.state.is_finished()
                || !outstanding(&live.state).is_empty()
                || next_deadline(&live.state, now - SignedDuration::from_secs(1), now).is_some(),
            "nothing is outstanding and nothing is waited for: it would hang for ever"
        );
    }
}
