//! The first layer of the fault harness: a whole deployment in memory, by the true parts.
//!
//! The server's state machine (`decide`, `evolve`, `outstanding`), the agent's brain and the agent's
//! journal are the product's own; only what they stand on is made up: [`disk`] tears, loses and fills
//! up, [`line`] delays, repeats and cuts, and either side dies between any two things that it does
//! ([`agent`], [`server`]). [`truth`] knows what really ran. A case is a script of bytes, so that a
//! failure shrinks to a short one.
//!
//! What is checked all the time: no attempt runs twice, no node is worked on twice at once, nothing
//! exists before its record is on the disk, the server never asks for what it acknowledged, a cancel that
//! was taken reaches its supervisor, a log leads to the state that it came from, and nothing waits for
//! nothing. When the faults stop the deployment ends, and then: every line that was printed is stored once
//! and in order, every end is the one that the attempt had, success is said of nothing else, agents have
//! nothing left to tell, and nobody holds a lock. People say now and then how an attempt ended, whether they know it or not: their
//! word stands beside the agents' and never in its place.
//!
//! Not in it: lost journals (the domain's own model has them), restored backups, who waits for locks, and
//! secrets.

pub mod agent;
pub mod disk;
pub mod line;
pub mod plan;
pub mod server;
pub mod truth;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mantle_domain::interruption::Answer;
use mantle_domain::state::{AttemptStatus, State, Verdict};
use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::{Message, Outcome};

use agent::Agent;
use disk::Trouble;
use line::{Line, Up};
use server::{Out, Server};
use truth::Truth;

/// A rule that is broken on purpose, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The agent acts on what it could not write down.
    JournalOptional,
    /// A supervisor runs its attempt although another has claimed it, or nobody may any more.
    ClaimsIgnored,
    /// An agent that finds an attempt unclaimed calls it not started and does not keep it so.
    NoVoidClaim,
    /// The server acknowledges lines before it has stored them.
    EarlyAck,
}

/// When the faults have stopped, the deployment is over after so many rounds.
const CALM_ROUNDS: u32 = 400;

/// Server, agents, and the network between them.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    server: Server,
    agents: Vec<Agent>,
    lines: BTreeMap<usize, Line>,
    sessions: u64,
    truth: Truth,
}

impl World {
    /// A deployment that is about to begin, all connected.
    pub fn new(flaw: Option<Flaw>) -> Self {
        let agents = (1..=plan::TARGETS).map(|number| Agent::new(plan::agent(number), flaw));
        let mut world = Self {
            now: Timestamp::from_second(1_800_000_000).expect("a time"),
            server: Server::new(flaw),
            agents: agents.collect(),
            lines: BTreeMap::new(),
            sessions: 0,
            truth: Truth::default(),
        };
        world.everybody_up();
        world
    }

    fn now_us(&self) -> i64 {
        self.now.as_microsecond()
    }

    fn everybody_up(&mut self) {
        let now_us = self.now_us();
        self.server.start(self.now);
        for at in 0..self.agents.len() {
            self.agents[at].start(now_us);
            self.connect(at);
        }
        self.settle();
    }

    fn connect(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if !agent.is_up() || !self.server.is_up() || self.lines.contains_key(&at) {
            return;
        }
        self.sessions += 1;
        self.lines.insert(at, Line::new(self.sessions));
        let welcome = self.server.welcome(self.now);
        agent.receive(welcome, self.now.as_microsecond());
    }

    fn cut(&mut self, at: usize) {
        if self.lines.remove(&at).is_some() {
            let now_us = self.now_us();
            self.agents[at].disconnected(now_us);
        }
    }

    /// Carries what the peers want said onto the lines, and cuts those of the dead.
    fn settle(&mut self) {
        for out in std::mem::take(&mut self.server.out) {
            match out {
                Out::Send(agent, session, message) => {
                    let mut lines = self.lines.iter_mut();
                    let line = lines.find(|(at, _)| self.agents[**at].id == agent);
                    if let Some((_, line)) = line.filter(|(_, line)| line.session == session) {
                        line.down.push_back(*message);
                    }
                }
                Out::Disconnect(agent) => {
                    let at = self.agents.iter().position(|known| known.id == agent);
                    if let Some(at) = at {
                        self.cut(at);
                    }
                }
            }
        }
        for at in 0..self.agents.len() {
            let sent = std::mem::take(&mut self.agents[at].out);
            if !self.server.is_up() || !self.agents[at].is_up() {
                self.cut(at);
            } else if let Some(line) = self.lines.get_mut(&at) {
                line.up.extend(sent);
            }
        }
    }

    /// What is under way to an agent arrives there.
    fn deliver_down(&mut self, at: usize) {
        let now_us = self.now_us();
        if let Some(message) = self
            .lines
            .get_mut(&at)
            .and_then(|line| line.down.pop_front())
        {
            self.agents[at].receive(message, now_us);
        }
    }

    /// What is under way from an agent on control arrives.
    fn deliver_up(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(&at) else {
            return;
        };
        let session = line.session;
        if let Some(up) = line.up.pop_front() {
            self.server
                .control(self.agents[at].id, session, up, self.now);
        }
    }

    /// What is under way on one of the attempts' streams arrives.
    fn deliver_report(&mut self, at: usize, pick: usize) {
        let Some(line) = self.lines.get_mut(&at) else {
            return;
        };
        let session = line.session;
        if let Some((attempt, report)) = line.take_report(pick) {
            let agent = self.agents[at].id;
            self.server
                .report(agent, session, attempt, report, self.now);
        }
    }

    fn ship(&mut self, at: usize, pick: usize, most: usize) {
        let Some(line) = self.lines.get_mut(&at) else {
            return;
        };
        if let Some((attempt, report)) = self.agents[at].ship(pick, most) {
            line.reports.entry(attempt).or_default().push_back(report);
        }
    }

    /// One of the things that go on in the world, chosen by two bytes.
    pub fn step(&mut self, what: u8, which: u8) {
        let pick = usize::from(which / 2);
        let at = usize::from(which) % self.agents.len();
        let now_us = self.now_us();
        match what % 64 {
            0..=17 => self.progress(at, pick, which / 2),
            18..=20 => self.deliver_down(at),
            21..=23 => self.deliver_up(at),
            24..=26 => self.deliver_report(at, pick),
            27..=29 => self.agents[at].act(pick, which / 2, &mut self.truth),
            30..=33 => self.ship(at, pick, pick % 4),
            34 | 35 => self.agents[at].look_at_all(now_us),
            36..=41 => self.everybody_up(),
            42 => self.pass(at, i64::from(which) / 32),
            43 => self.pass(at, i64::from(which)),
            44 | 45 => self.cut(at),
            46 | 47 => self.agents[at].fuse = Some(which / 16),
            48 | 49 => self.server.fuse = Some(which / 32),
            50 | 51 => self.agents[at].kill(),
            52 | 53 => self.server.kill(),
            54 => self.notice(),
            55 if which < 96 => self.agents[at].power_cut(which, &mut self.truth),
            56 if which < 96 => self.agents[at].kill_supervisor(pick, &mut self.truth),
            57 | 58 => self.agents[at].disk.trouble(Some(match which % 2 {
                0 => Trouble::Unsynced,
                _ => Trouble::Torn(which),
            })),
            59 => self.agents[at].disk.fill(which < 80),
            60 if which < 16 => self.server.cancel(self.now),
            61 => {
                let answers = [Answer::Retry, Answer::Ignore, Answer::Exclude, Answer::Fail];
                self.server.answer(answers[pick % answers.len()], self.now);
            }
            62 => self.server.resolve(which, self.now),
            _ => self.repeat(at),
        }
        self.settle();
    }

    /// Time passes.
    fn pass(&mut self, at: usize, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.server.tick(self.now);
        let now_us = self.now_us();
        self.agents[at].tick(now_us);
    }

    /// A moment in which nothing goes wrong by itself, though a fuse may burn down: all that is under
    /// way arrives, and somebody does something.
    fn progress(&mut self, at: usize, pick: usize, which: u8) {
        let now_us = self.now_us();
        for _ in 0..4 {
            self.deliver_down(at);
            self.settle();
            self.deliver_up(at);
            self.settle();
        }
        self.agents[at].act(pick, which, &mut self.truth);
        self.agents[at].look_at_all(now_us);
        self.settle();
        self.ship(at, pick, 2);
        self.deliver_report(at, pick);
    }

    /// The server notices connections that are gone.
    fn notice(&mut self) {
        for (agent, session) in self.server.sessions() {
            if !self.lines.values().any(|line| line.session == session) {
                self.server.gone(agent, session);
            }
        }
        self.server.tick(self.now);
    }

    /// A request or an answer comes once more. An order to start, and what the server has at the resync,
    /// come again over a new connection only: within one the first is final.
    fn repeat(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(&at) else {
            return;
        };
        if let Some(message @ (Message::CancelAttempt(_) | Message::Acquire(_) | Message::Ack(_))) =
            line.down.front().cloned()
        {
            line.down.push_back(message);
        }
        if let Some(answer @ Up::Answer(_)) = line.up.front().cloned() {
            line.up.push_back(answer);
        }
    }

    /// The faults stop: whatever is down comes up, everything arrives, every step ends well.
    pub fn calm(&mut self) {
        self.server.fuse = None;
        for agent in &mut self.agents {
            agent.fuse = None;
            agent.disk.trouble(None);
            agent.disk.fill(false);
        }
        let mut reported_anew = false;
        for round in 0..CALM_ROUNDS {
            if round % 64 == 63 {
                // What could not be recorded of an acknowledgement comes up with the next connection.
                for at in 0..self.agents.len() {
                    self.cut(at);
                }
            }
            self.everybody_up();
            self.notice();
            for at in 0..self.agents.len() {
                self.calm_round(at);
            }
            let over = self.server.state().is_some_and(State::is_finished);
            if over
                && self.agents.iter().all(Agent::is_settled)
                && self.lines.values().all(Line::is_idle)
            {
                if reported_anew {
                    return;
                }
                // What was given up keeps its locks until its agent reports again.
                reported_anew = true;
                for at in 0..self.agents.len() {
                    self.cut(at);
                }
            }
            self.server.answer(Answer::Retry, self.now);
            self.now += SignedDuration::from_secs(5);
            self.server.tick(self.now);
            self.settle();
        }
        panic!(
            "it never ended: {:#?}\n{:#?}",
            self.server
                .state()
                .map(mantle_domain::state::view::progress),
            self.agents.iter().map(Agent::reports).collect::<Vec<_>>(),
        );
    }

    fn calm_round(&mut self, at: usize) {
        let now_us = self.now_us();
        for _ in 0..4 * self.agents[at].supervisors() {
            // Odd and no multiple of three or seven: it ends, and well.
            self.agents[at].act(0, 1, &mut self.truth);
        }
        self.agents[at].look_at_all(now_us);
        self.agents[at].tick(now_us);
        self.settle();
        while self.lines.get(&at).is_some_and(|line| !line.is_idle()) {
            self.deliver_down(at);
            self.settle();
            self.deliver_up(at);
            self.settle();
            self.deliver_report(at, 0);
            self.settle();
        }
        for pick in 0..2 * self.agents[at].shipments() {
            self.ship(at, pick, 1_000);
        }
    }

    /// Whether everything that was promised was kept. To be asked when it is calm.
    pub fn judge(&self) {
        let state = self.server.state().expect("a server that is up");
        let durable = &self.server.durable;
        for (attempt, run) in self.truth.runs() {
            let stored = durable.logs.get(&attempt).map_or(&[][..], Vec::as_slice);
            if run.cut {
                assert!(
                    run.lines.starts_with(stored),
                    "I5: lines of {attempt} changed"
                );
            } else {
                assert_eq!(
                    stored, run.lines,
                    "I4: lines of {attempt} are lost or repeated"
                );
            }
            let end = durable.ends.get(&attempt).map(|end| end.outcome);
            match run.outcome {
                Some(outcome) => assert_eq!(end, Some(outcome), "I6: the end of {attempt}"),
                None => assert!(
                    matches!(end, Some(Outcome::Unknown | Outcome::Interrupted)),
                    "I7: {attempt} was killed, and is said to have ended as {end:?}"
                ),
            }
        }
        for (attempt, known) in &state.attempts {
            let AttemptStatus::Over { outcome, .. } = &known.status else {
                panic!("{attempt} is open in a deployment that is over");
            };
            let ran = self.truth.run(*attempt);
            match outcome {
                Outcome::Succeeded => assert_eq!(
                    ran.and_then(|run| run.outcome),
                    Some(Outcome::Succeeded),
                    "P5: {attempt} is said to have succeeded"
                ),
                Outcome::NotStarted => {
                    assert!(
                        ran.is_none(),
                        "P2: {attempt} is called not started, and ran"
                    );
                }
                Outcome::Failed
                | Outcome::TimedOut
                | Outcome::Cancelled
                | Outcome::Interrupted
                | Outcome::Unknown
                | Outcome::Abandoned => {}
            }
        }
        for attempt in state.attempts.keys() {
            if self.truth.run(*attempt).is_some() {
                undoes_what_was_done(state, *attempt);
            }
        }
        for (attempt, known) in &state.attempts {
            assert_eq!(
                known.end.as_ref(),
                durable.ends.get(attempt),
                "I6: an agent's word on {attempt} is not in the log"
            );
            let resolved = known.resolution.is_some();
            let AttemptStatus::Over { outcome, .. } = &known.status else {
                continue;
            };
            assert!(
                !resolved || *outcome == Outcome::Unknown,
                "a person's word on {attempt} stands in the place of its agent's: {outcome:?}"
            );
        }
        assert!(
            durable.held.is_empty(),
            "I9: {:?} hold their locks for ever",
            durable.held
        );
        if state.verdict() == Some(Verdict::Succeeded) {
            assert!(
                state.nodes.values().all(|node| !node.has_failed()),
                "P5: a success over a node that failed"
            );
        }
    }
}

/// What undoes something ran only after an attempt of that which did something, or may have, and
/// only in a deployment that has failed.
fn undoes_what_was_done(state: &State, attempt: AttemptId) {
    let plan = state.plan.as_deref().expect("a plan");
    let known = &state.attempts[&attempt];
    let Some(undone) = plan.undone(known.node) else {
        return;
    };
    let done = state.attempts_of(undone).any(|other| {
        let nothing = matches!(
            &other.status,
            AttemptStatus::Over {
                outcome: Outcome::NotStarted,
                ..
            }
        );
        !nothing && other.ordered_at <= known.ordered_at
    });
    assert!(done, "{attempt} undid what was not done");
    assert!(state.failed, "{attempt} undid what did not fail");
}
