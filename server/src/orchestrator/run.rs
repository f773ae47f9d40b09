//! The loop: what has arrived together is decided together, committed together, then carried out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mantle_domain::lock::Locks;
use mantle_domain::state::{
    Asked, Evidence, Input, Moment, StartAnswer, State, Together, decide_together, judge,
    next_deadline,
};
use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TaskId};
use mantle_shared::protocol::{self as wire, AttemptPosition, ReportedState};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::active::{Decided, Deployment};
use super::admit::{AGENTS_RETURN, Patience};
use super::fact::{Fact, Reported};
use super::ingest::Ingest;
use super::left_running::LeftRunning;
use super::locks::Keeper;
use super::parked::Parked;
use super::turn::{Ended, Late, Turn};
use super::{
    COMMANDS_QUEUE, Command, FACTS_QUEUE, Hints, OrchestratorParts, RENEW, SWEEP, conditions,
};
use crate::gateway::{ArrivalQueue, SessionId};

/// How many facts are judged in one turn.
const TURN: usize = 512;

/// Owns every running deployment.
pub struct Orchestrator {
    pub(super) parts: OrchestratorParts,
    pub(super) deployments: HashMap<TaskId, Deployment>,
    /// Which deployment an attempt that is not over belongs to.
    pub(super) attempts: HashMap<AttemptId, TaskId>,
    /// The numbers of requests, which answers repeat.
    pub(super) requests: u64,
    commands: mpsc::Receiver<Command>,
    facts: mpsc::Receiver<Fact>,
    /// Queued tasks may be able to start.
    pub(super) look_again: bool,
    /// Queued tasks whose turn has come, and how they wait for agents.
    pub(super) awaited: HashMap<TaskId, Patience>,
    /// What agents report as under way of deployments that are over.
    pub(super) left_running: BTreeMap<AttemptId, LeftRunning>,
    /// Tasks that are not driven for now.
    pub(super) parked: HashMap<TaskId, Parked>,
    /// The agents that were connected when that was last written down; nothing while it is not known what
    /// stands there.
    pub(super) connected_noted: Option<BTreeSet<AgentId>>,
    cancels: Vec<TaskId>,
    /// Tasks in which somebody answered.
    pub(super) answered: Vec<TaskId>,
    /// People may have said how attempts ended.
    pub(super) resolutions_stale: bool,
    /// What is held, and who waits for it.
    pub(super) locks: Locks,
    /// The revision of [`Self::locks`] up to which whoever can go on was found.
    pub(super) locks_seen: u64,
    /// What is held may have changed without us.
    pub(super) locks_stale: bool,
    /// Attempts that could not be stopped: they hold what they hold until somebody breaks it.
    pub(super) abandoned: BTreeSet<AttemptId>,
    /// Tasks of which a node can have its locks now.
    pub(super) unblocked: BTreeSet<TaskId>,
    /// What is held through agents that were revoked.
    pub(super) unlocked: BTreeSet<AttemptId>,
    /// When a queued task's time comes or is over.
    pub(super) next_look: Option<Timestamp>,
    /// When what has come due was last looked for.
    seen: Timestamp,
    /// When this server began: agents come back from then on.
    pub(super) began: Instant,
    /// Until then nothing is overdue that agents owe who have not come back since.
    patient_until: Timestamp,
}

/// The agents that may be given orders.
#[derive(Clone, Copy)]
struct Agents<'a> {
    online: &'a BTreeSet<AgentId>,
    journals: &'a BTreeMap<AgentId, JournalId>,
    locks: &'a RefCell<Locks>,
}

/// Ticks at this interval. What a database that stood has made it miss is not made up for.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// So long after this server began, agents may come back.
fn patience() -> SignedDuration {
    SignedDuration::try_from(AGENTS_RETURN).unwrap_or(SignedDuration::MAX)
}

impl Orchestrator {
    /// An orchestrator with its ingest, and a handle to give it hints. Both must be run.
    pub fn new(parts: OrchestratorParts, arrivals: ArrivalQueue) -> (Self, Ingest, Hints) {
        let (command_sender, commands) = mpsc::channel(COMMANDS_QUEUE);
        let (fact_sender, facts) = mpsc::channel(FACTS_QUEUE);
        let ingest = Ingest::new(parts.clone(), arrivals, fact_sender);
        let orchestrator = Self {
            parts,
            deployments: HashMap::new(),
            attempts: HashMap::new(),
            requests: 0,
            commands,
            facts,
            look_again: true,
            awaited: HashMap::new(),
            left_running: BTreeMap::new(),
            parked: HashMap::new(),
            connected_noted: None,
            cancels: Vec::new(),
            answered: Vec::new(),
            resolutions_stale: true,
            locks: Locks::new(),
            locks_seen: 0,
            locks_stale: true,
            abandoned: BTreeSet::new(),
            unblocked: BTreeSet::new(),
            unlocked: BTreeSet::new(),
            next_look: None,
            seen: Timestamp::UNIX_EPOCH,
            began: Instant::now(),
            patient_until: Timestamp::UNIX_EPOCH,
        };
        (
            orchestrator,
            ingest,
            Hints {
                commands: command_sender,
            },
        )
    }

    /// Takes up what was under way, then works until its ingest is gone.
    pub async fn run(mut self) {
        if !self.released().await {
            return;
        }
        self.began = Instant::now();
        self.patient_until = Timestamp::now() + patience();
        self.settle_connected().await;
        self.recover().await;
        let mut renew = every(RENEW);
        let mut sweep = every(SWEEP);
        let mut arrived = Vec::with_capacity(TURN);
        loop {
            let wait = self.until_next_deadline();
            tokio::select! {
                count = self.facts.recv_many(&mut arrived, TURN) => {
                    if count == 0 {
                        return;
                    }
                }
                // Where nobody can hint any more the sweep finds everything.
                Some(command) = self.commands.recv() => self.note(command),
                () = tokio::time::sleep(wait) => {}
                _ = renew.tick() => {
                    self.renew_leases().await;
                    self.note_connected().await;
                }
                _ = sweep.tick() => {
                    if fault::sabotaged("hints-not-made-up-for") {
                        continue;
                    }
                    // Hints can be lost; what they tell of cannot be.
                    self.look_again = true;
                    self.locks_stale = true;
                    self.queue_checks().await;
                    self.resolutions_stale = true;
                    self.find_cancels().await;
                    self.find_answers();
                    self.find_revoked().await;
                    self.send_again().await;
                    self.resume_parked().await;
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                self.note(command);
            }
            while arrived.len() < TURN {
                match self.facts.try_recv() {
                    Ok(fact) => arrived.push(fact),
                    Err(_) => break,
                }
            }
            self.turn(std::mem::take(&mut arrived)).await;
        }
    }

    /// Waits until the server is not held; `false` if its ingest is gone first. No agent is let in
    /// meanwhile, so what arrives are refused connections.
    async fn released(&mut self) -> bool {
        let epochs = Arc::clone(&self.parts.epochs);
        loop {
            tokio::select! {
                () = epochs.released() => return true,
                fact = self.facts.recv() => if fact.is_none() {
                    return false;
                },
                // Whoever begins when it is released looks at everything.
                Some(_) = self.commands.recv() => {}
            }
        }
    }

    fn note(&mut self, command: Command) {
        match command {
            Command::LookAgain => self.look_again = true,
            Command::Cancel(task) => {
                self.hasten(task);
                self.cancels.push(task);
            }
            Command::Answered(task) => {
                self.hasten(task);
                self.answered.push(task);
            }
            Command::Resolved(task) => {
                self.hasten(task);
                self.resolutions_stale = true;
            }
            Command::Revoked(agent) => self.note_revoked(agent),
            Command::LocksChanged => self.locks_stale = true,
        }
    }

    pub(super) fn note_revoked(&mut self, agent: AgentId) {
        self.parts.online.revoke(agent);
        self.unlocked.extend(self.holds_of(agent));
        let touched: Vec<TaskId> = self.deployments_of(agent).collect();
        for task in touched {
            if let Some(deployment) = self.deployments.get_mut(&task) {
                deployment.revoked.push(agent);
            }
        }
    }

    async fn turn(&mut self, facts: Vec<Fact>) {
        let mut turn = Turn::default();
        for fact in facts {
            self.take(fact, &mut turn);
        }
        let cancels = std::mem::take(&mut self.cancels);
        if !cancels.is_empty() {
            self.read_cancels(&cancels).await;
        }
        let answered = std::mem::take(&mut self.answered);
        self.read_answers(&answered).await;
        for (task, deployment) in &mut self.deployments {
            for agent in deployment.revoked.drain(..) {
                turn.input(*task, Input::AgentRevoked { agent });
            }
            if let Some(by) = deployment.cancel_by.take() {
                turn.input(*task, Input::CancelRequested { by });
            }
            for (number, given) in deployment.answers.drain(..) {
                turn.input(*task, Input::InterruptionAnswered { number, given });
            }
        }
        self.read_resolutions(&mut turn).await;
        self.prepare_locks(&mut turn).await;
        let now = Timestamp::now();
        self.look_again |= self.next_look.is_some_and(|at| at <= now);
        // In every turn, whatever woke it: what has come due is not mentioned again.
        let seen = std::mem::replace(&mut self.seen, now);
        for (task, deployment) in &self.deployments {
            if next_deadline(&deployment.state, seen, self.patient_until)
                .is_some_and(|at| at <= now)
            {
                turn.input(*task, Input::Tick);
            }
        }
        let decided = self.decide(&mut turn.inputs, now);
        let committed = self.commit(decided, &turn).await;
        // What was not over before may be by what was just decided.
        self.unlocked.extend(self.forgotten_holds(&turn.unreported));
        for (task, agent, position) in turn.acks {
            // What was not written is not acknowledged: the agent keeps it and says it again.
            if committed.unwritten.contains(&task) {
                continue;
            }
            if let Some(session) = self.parts.sessions.current(agent) {
                let ack = wire::Ack {
                    positions: vec![position],
                };
                self.parts.sessions.send(agent, session, ack.into());
            }
        }
        for task in committed.touched {
            self.carry_out(task).await;
            self.retire(task);
        }
        self.stop_left_running().await;
        if std::mem::take(&mut self.look_again) {
            for task in self.admit().await {
                self.carry_out(task).await;
                self.retire(task);
            }
        }
        self.wake_waiting();
    }

    /// Decides on copies; nothing is changed before it is committed.
    pub(super) fn decide(
        &self,
        inputs: &mut BTreeMap<TaskId, Vec<Input>>,
        now: Timestamp,
    ) -> Vec<Decided> {
        let online = self.parts.online.agents();
        let journals = self.parts.online.journals();
        // Granted on a copy: what is committed is noted in the end, and nothing else.
        let locks = RefCell::new(if inputs.is_empty() {
            Locks::new()
        } else {
            self.locks.clone()
        });
        let mut decided = Vec::new();
        for (task, inputs) in std::mem::take(inputs) {
            let Some(deployment) = self.deployments.get(&task) else {
                continue;
            };
            let agents = Agents {
                online: &online,
                journals: &journals,
                locks: &locks,
            };
            decided.push(self.decide_one(task, deployment, inputs, agents, now));
        }
        decided
    }

    fn decide_one(
        &self,
        task: TaskId,
        deployment: &Deployment,
        inputs: Vec<Input>,
        agents: Agents<'_>,
        now: Timestamp,
    ) -> Decided {
        let keeper = Keeper {
            locks: agents.locks,
            task,
            number: &deployment.context.number,
        };
        let context = &deployment.context;
        let condition =
            |state: &State, asked: Asked<'_>| conditions::holds(context, state, asked, now);
        let instructions =
            |state: &State, node| conditions::instructions(context, state, node, now);
        // A clock that was set back does not make it longer.
        let left = self.patient_until.duration_since(now);
        let may_return = left.is_positive() && left <= patience();
        let moment = Moment {
            now,
            online: agents.online,
            returning: &|agent| may_return && !self.parts.online.was_here(agent),
            journals: agents.journals,
            condition: &condition,
            instructions: &instructions,
            policy: &self.parts.policy,
            locks: &keeper,
        };
        let Together {
            next,
            events,
            illegal,
        } = decide_together(&deployment.state, inputs, &moment);
        for illegal in illegal {
            tracing::warn!(
                task.number = deployment.context.number,
                error = %illegal,
                "an input had no place and was dropped"
            );
        }
        Decided { task, next, events }
    }

    /// What a fact means for the deployments.
    fn take(&mut self, fact: Fact, turn: &mut Turn) {
        match fact {
            Fact::Resync {
                agent,
                session,
                remote,
                hello,
                journal,
                reports,
            } => {
                self.resync(agent, session, journal.map(|j| j.journal), &reports, turn);
                if let Some(journal) = journal.filter(|journal| journal.after_loss) {
                    tracing::warn!(
                        agent.id = %agent,
                        journal = %journal.journal,
                        "the agent goes by a journal that took the place of a lost one"
                    );
                }
                tracing::info!(
                    agent.id = %agent,
                    agent.version = hello.version,
                    remote = %remote,
                    attempts = reports.len(),
                    "an agent connected"
                );
                turn.seen.push((agent, hello));
                // A queued task may have waited for just this one.
                self.look_again |= !self.awaited.is_empty();
            }
            Fact::Disconnected { agent, session } => {
                if self.parts.online.leave(agent, session) {
                    tracing::info!(agent.id = %agent, "an agent's connection is gone");
                    turn.left.push(agent);
                }
            }
            Fact::AttemptEnded {
                agent,
                attempt,
                task,
                end,
                outputs,
                stored,
            } => {
                let ended = Ended {
                    attempt,
                    end,
                    outputs,
                    stored,
                };
                self.attempt_ended(agent, task, ended, turn);
            }
            Fact::EarlierOver { agent, attempt } => self.earlier_over(agent, attempt, turn),
            Fact::StartAnswered { agent, answer } => self.start_answered(agent, answer, turn),
            Fact::CancelAnswered { agent, answer } => self.cancel_answered(agent, answer, turn),
            Fact::AcquireAnswered { agent, answer } => self.acquire_answered(agent, answer, turn),
            Fact::Refused(refusal) => turn.refusals.push(refusal),
        }
    }

    fn resync(
        &mut self,
        agent: AgentId,
        session: SessionId,
        journal: Option<JournalId>,
        reports: &[Reported],
        turn: &mut Turn,
    ) {
        let positions = reports
            .iter()
            .map(|reported| AttemptPosition {
                attempt: reported.report.attempt,
                known: reported.task.is_some() || !reported.kept.is_empty(),
                next_seq: reported.next_seq,
                end_stored: reported.end_stored,
            })
            .collect();
        let resynced = wire::Resynced {
            positions,
            last: true,
        };
        if !self.parts.sessions.send(agent, session, resynced.into()) {
            return;
        }
        self.parts.online.enter(agent, session, journal);
        self.note_kept(agent, reports, turn);
        self.note_left_running(agent, reports);
        for reported in reports {
            let Some(task) = reported.task else { continue };
            let attempt = reported.report.attempt;
            match reported.report.state {
                // The end of one that is over comes on a stream of its own, after its records. Until
                // then it counts as taken, and is not ordered again.
                ReportedState::Accepted | ReportedState::Ended(_) => {
                    let answer = StartAnswer::Accepted;
                    turn.input(task, Input::StartAnswered { attempt, answer });
                }
                ReportedState::Running => turn.input(task, Input::AttemptSeenRunning { attempt }),
            }
        }
        let reported: BTreeSet<AttemptId> = reports.iter().map(|r| r.report.attempt).collect();
        let held = self.holds_of(agent).into_iter();
        turn.unreported
            .extend(held.filter(|attempt| !reported.contains(attempt)));
        let touched: Vec<TaskId> = self.deployments_of(agent).collect();
        for task in touched {
            let Some(deployment) = self.deployments.get(&task) else {
                continue;
            };
            for (attempt, known) in deployment.state.live_attempts() {
                if known.agent == agent && !reported.contains(attempt) {
                    let attempt = *attempt;
                    turn.input(task, Input::AttemptForgotten { attempt, journal });
                }
            }
            turn.input(task, Input::Tick);
        }
    }

    fn attempt_ended(&mut self, agent: AgentId, task: TaskId, ended: Ended, turn: &mut Turn) {
        let Ended {
            attempt,
            end,
            outputs,
            stored,
        } = ended;
        let next_seq = end.records.max(stored);
        if self.parked.contains_key(&task) {
            // Neither taken in nor acknowledged: its agent says it again once the task is driven.
            return;
        }
        turn.acks.push((
            task,
            agent,
            AttemptPosition {
                attempt,
                known: true,
                next_seq,
                end_stored: true,
            },
        ));
        let Some(deployment) = self.deployments.get(&task) else {
            // The deployment is over; the agent's word is kept with the attempt.
            let evidence = Evidence {
                stored,
                seen_running: false,
            };
            turn.late.push(Late {
                task,
                attempt,
                end: judge(end, evidence),
            });
            return;
        };
        let named = deployment.state.attempts.get(&attempt).and_then(|known| {
            let plan = deployment.state.plan.as_ref()?;
            let action = plan.output_name(known.node)?.to_owned();
            let subject = plan.target(plan.node(known.node)?.subject)?.name.clone();
            Some((action, subject))
        });
        let outputs = match named {
            Some((action, subject)) => outputs
                .into_iter()
                .map(|o| o.of(&action, &subject, attempt))
                .collect(),
            None => Vec::new(),
        };
        turn.input(
            task,
            Input::AttemptEnded {
                attempt,
                end,
                outputs,
                stored,
            },
        );
    }

    /// The deployments in which an agent takes part.
    fn deployments_of(&self, agent: AgentId) -> impl Iterator<Item = TaskId> {
        self.deployments
            .iter()
            .filter_map(move |(task, deployment)| {
                let plan = deployment.state.plan.as_ref()?;
                plan.targets
                    .iter()
                    .any(|target| target.agent == agent)
                    .then_some(*task)
            })
    }

    /// Forgets a deployment that is over.
    pub(super) fn retire(&mut self, task: TaskId) {
        if self
            .deployments
            .get(&task)
            .is_some_and(|d| d.state.is_finished())
            && let Some(deployment) = self.deployments.remove(&task)
        {
            for attempt in deployment.state.attempts.keys() {
                self.attempts.remove(attempt);
            }
            self.stop_waiting(task);
            self.parts.grants.take_back(task);
            self.parts.online.transfers.over(task);
            self.look_again = true;
        }
    }

    fn until_next_deadline(&self) -> Duration {
        let unblocked = !self.unblocked.is_empty() || !self.unlocked.is_empty() || self.locks_stale;
        let asked = !self.cancels.is_empty() || !self.answered.is_empty();
        if self.look_again || unblocked || asked || self.resolutions_stale {
            return Duration::ZERO;
        }
        let next = self
            .deployments
            .values()
            .filter_map(|d| next_deadline(&d.state, self.seen, self.patient_until))
            .chain(self.next_look)
            .min();
        let Some(next) = next else { return SWEEP };
        let wait = next.duration_since(Timestamp::now());
        // A little late rather than a little early, or the loop would spin on the last instant.
        Duration::try_from(wait)
            .unwrap_or(Duration::ZERO)
            .min(SWEEP)
            + Duration::from_millis(1)
    }
}
