//! The state machine against a model of the world: agents with journals that crash, messages that
//! are lost, repeated and reordered, a server that is killed and folds its log again.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::ids::{AgentId, AttemptId, JournalId};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::uuid::Uuid;
use proptest::prelude::*;

use super::super::*;
use super::builders::*;
use super::laws;
use crate::interruption::Answer;
use crate::plan::{Eyes, Plan, PlanStep};
use crate::process::{OnFailure, Retries, RunCondition, Start};

/// What an agent's journal says of an attempt.
#[derive(Debug, Clone, PartialEq)]
enum Journal {
    Running,
    Ended(AttemptEnd),
    Voided,
}

#[derive(Default)]
struct Agent {
    journal: BTreeMap<AttemptId, Journal>,
    /// Every process that was ever made. The promise is that no attempt is in it twice.
    spawned: Vec<AttemptId>,
    /// How often the journal was lost.
    losses: u128,
    /// How attempts really ended, also those that a lost journal held.
    truth: BTreeMap<AttemptId, Outcome>,
}

impl Agent {
    fn end(&mut self, attempt: AttemptId, end: AttemptEnd) {
        self.truth.insert(attempt, end.outcome);
        self.journal.insert(attempt, Journal::Ended(end));
    }

    /// Somebody removed all that the agent knew. What ran, ran.
    fn lose_journal(&mut self) {
        self.journal.clear();
        self.losses += 1;
    }
}

/// The id of an agent's journal after so many losses.
fn journal_id(losses: u128) -> JournalId {
    JournalId::from_uuid(Uuid::from_u128(losses))
}

struct World {
    run: Run,
    agents: BTreeMap<AgentId, Agent>,
    /// Answers under way, which may be lost, come late or in another order.
    flying: Vec<Input>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let agents: BTreeMap<AgentId, Agent> = plan
            .targets
            .iter()
            .map(|t| (t.agent, Agent::default()))
            .collect();
        let mut run = Run::queued();
        run.online = agents.keys().copied().collect();
        // Who is connected has said by which journal it goes, also before the first order.
        run.journals = agents.keys().map(|id| (*id, journal_id(0))).collect();
        run.input(Input::Begin {
            plan: Arc::new(plan),
        });
        Self {
            run,
            agents,
            flying: Vec::new(),
        }
    }

    /// An order reaches its agent, which acts by its journal and answers.
    fn deliver(&mut self, effect: &Effect) {
        let agent = self.agents.get_mut(&effect.agent()).unwrap();
        match effect {
            Effect::Acquire { target, .. } => self.flying.push(Input::AcquireEnded {
                target: *target,
                end: AcquireEnd::Done {
                    fetched_bytes: 1,
                    reused_bytes: 1,
                },
            }),
            Effect::Start { attempt, .. } => {
                let attempt = *attempt;
                let known = agent.journal.get(&attempt).cloned();
                let answer = match known {
                    None => {
                        agent.journal.insert(attempt, Journal::Running);
                        agent.spawned.push(attempt);
                        StartAnswer::Accepted
                    }
                    Some(Journal::Running | Journal::Ended(_)) => StartAnswer::Accepted,
                    Some(Journal::Voided) => StartAnswer::Refused {
                        reason: mantle_shared::protocol::StartRefusal::Voided,
                        message: "voided".to_owned(),
                    },
                };
                self.flying.push(Input::StartAnswered { attempt, answer });
            }
            Effect::Cancel { attempt, .. } => {
                let attempt = *attempt;
                match agent.journal.get(&attempt) {
                    None => {
                        agent.journal.insert(attempt, Journal::Voided);
                        let answer = CancelAnswer::Voided;
                        self.flying.push(Input::CancelAnswered { attempt, answer });
                    }
                    Some(Journal::Voided) => {
                        let answer = CancelAnswer::Voided;
                        self.flying.push(Input::CancelAnswered { attempt, answer });
                    }
                    Some(Journal::Running) => {
                        agent.end(attempt, an_end(Outcome::Cancelled));
                        let answer = CancelAnswer::Cancelling;
                        self.flying.push(Input::CancelAnswered { attempt, answer });
                    }
                    Some(Journal::Ended(_)) => {}
                }
            }
        }
    }

    /// Every agent reports what its journal holds, as after each reconnection.
    fn resync(&mut self) {
        let online = self.run.online.clone();
        for (id, agent) in self.agents.iter().filter(|(id, _)| online.contains(id)) {
            let journal = journal_id(agent.losses);
            self.run.journals.insert(*id, journal);
            // Judged at once: what is under way of an earlier connection says nothing against it.
            let missing: Vec<AttemptId> = self
                .run
                .state
                .live_attempts()
                .filter(|(attempt, known)| {
                    known.agent == *id && !agent.journal.contains_key(*attempt)
                })
                .map(|(attempt, _)| *attempt)
                .collect();
            for attempt in missing {
                let journal = Some(journal);
                let _ = self
                    .run
                    .try_input(Input::AttemptForgotten { attempt, journal });
            }
            for (attempt, state) in &agent.journal {
                if matches!(state, Journal::Ended(_)) {
                    // It counts as taken until its end comes.
                    let (attempt, answer) = (*attempt, StartAnswer::Accepted);
                    let _ = self.run.try_input(Input::StartAnswered { attempt, answer });
                }
                self.flying.push(match state {
                    Journal::Running => Input::StartAnswered {
                        attempt: *attempt,
                        answer: StartAnswer::Accepted,
                    },
                    Journal::Ended(end) => Input::AttemptEnded {
                        attempt: *attempt,
                        end: end.clone(),
                        outputs: Vec::new(),
                        stored: 0,
                    },
                    Journal::Voided => continue,
                });
            }
        }
    }

    fn running(&self) -> Vec<(AgentId, AttemptId)> {
        self.agents
            .iter()
            .flat_map(|(id, agent)| {
                agent
                    .journal
                    .iter()
                    .filter(|(_, s)| **s == Journal::Running)
                    .map(|(a, _)| (*id, *a))
            })
            .collect()
    }

    fn end_one(&mut self, pick: usize, outcome: Outcome) {
        let running = self.running();
        if let Some((agent, attempt)) = running.get(pick % running.len().max(1)) {
            let end = an_end(outcome);
            self.agents
                .get_mut(agent)
                .unwrap()
                .end(*attempt, end.clone());
            self.flying.push(Input::AttemptEnded {
                attempt: *attempt,
                end,
                outputs: Vec::new(),
                stored: 0,
            });
        }
    }

    fn arrive(&mut self, at: usize) {
        if !self.flying.is_empty() {
            let input = self.flying.swap_remove(at % self.flying.len());
            let _ = self.run.try_input(input);
        }
    }

    /// The last few of what is under way arrive together.
    fn arrive_together(&mut self, most: usize) {
        let count = most % (self.flying.len() + 1);
        let inputs = self.flying.split_off(self.flying.len() - count);
        self.run.together(inputs);
    }

    /// One of the things that go on in the world, chosen by two bytes.
    fn step(&mut self, what: u8, which: u8) {
        let which = usize::from(which);
        match what % 13 {
            0..=2 => {
                let effects = outstanding(&self.run.state);
                let reachable: Vec<_> = effects
                    .into_iter()
                    .filter(|e| self.run.online.contains(&e.agent()))
                    .collect();
                if let Some(effect) = reachable.get(which % reachable.len().max(1)) {
                    self.deliver(&effect.clone());
                }
            }
            3..=5 if which % 4 == 3 => self.arrive_together(which / 4),
            3..=5 => self.arrive(which),
            6 => {
                if !self.flying.is_empty() {
                    let at = which % self.flying.len();
                    self.flying.swap_remove(at);
                }
            }
            7 => {
                let outcomes = [
                    Outcome::Succeeded,
                    Outcome::Succeeded,
                    Outcome::Failed,
                    Outcome::NotStarted,
                ];
                self.end_one(which, outcomes[which % outcomes.len()]);
            }
            8 => {
                let agent = *self.agents.keys().nth(which % self.agents.len()).unwrap();
                if !self.run.online.remove(&agent) {
                    if which.is_multiple_of(5) {
                        self.agents.get_mut(&agent).unwrap().lose_journal();
                    }
                    self.run.online.insert(agent);
                    self.resync();
                }
                let _ = self.run.try_input(Input::Tick);
            }
            9 => {
                // The server is killed: whatever was under way to it is gone, the log is folded.
                self.flying.clear();
                self.run.state = fold(&self.run.log);
                self.resync();
            }
            10 => {
                self.run
                    .after(SignedDuration::from_secs(i64::try_from(which).unwrap()));
            }
            12 => self.somebody_resolves(which),
            _ if which < 8 => {
                let _ = self.run.try_input(Input::CancelRequested {
                    by: "ann".to_owned(),
                });
            }
            _ if which.is_multiple_of(3) => self.somebody_answers(which),
            _ => {
                if let Some(input) = self.flying.get(which % self.flying.len().max(1)) {
                    let twice = input.clone();
                    self.flying.push(twice);
                }
            }
        }
        self.check();
    }

    /// One of three people answers one of the questions; the answer may be one that is not offered.
    fn somebody_answers(&mut self, which: usize) {
        let open = self.run.asked();
        if let Some(number) = open.get(which % open.len().max(1)) {
            let by = ["ann", "bob", "cat"][which % 3];
            let answer = Answer::ALL[which / 3 % Answer::ALL.len()];
            self.run.answer(*number, by, answer);
        }
    }

    /// Somebody says how one of the attempts ended, whether that is known or not, and right or wrong.
    fn somebody_resolves(&mut self, which: usize) {
        let attempts = &self.run.state.attempts;
        let Some(attempt) = attempts.keys().nth(which / 2 % attempts.len().max(1)) else {
            return;
        };
        let resolution = Resolution {
            ended: [ResolvedAs::Succeeded, ResolvedAs::Failed][which % 2],
            by: "ann".to_owned(),
            reason: "looked".to_owned(),
            at: self.run.now,
        };
        let attempt = *attempt;
        self.run.input(Input::AttemptResolved {
            attempt,
            resolution,
        });
    }

    fn check(&self) {
        for (id, attempt) in &self.run.state.attempts {
            if attempt.resolution.is_some() {
                let AttemptStatus::Over { outcome, .. } = &attempt.status else {
                    panic!("{id} is resolved and counts as live");
                };
                assert!(
                    matches!(outcome, Outcome::Unknown | Outcome::Abandoned),
                    "a person's word stands in the place of an agent's: {outcome:?}"
                );
            }
        }
        for agent in self.agents.values() {
            let mut seen = agent.spawned.clone();
            seen.sort();
            seen.dedup();
            assert_eq!(
                seen.len(),
                agent.spawned.len(),
                "an attempt was started twice"
            );
        }
        let mut live = BTreeMap::new();
        for (_, attempt) in self.run.state.live_attempts() {
            *live.entry(attempt.node).or_insert(0) += 1;
        }
        assert!(
            live.values().all(|count| *count == 1),
            "a node has two live attempts"
        );
        let plan = self.run.state.plan.as_ref().unwrap();
        for (step, state) in plan.steps.iter().zip(&self.run.state.steps) {
            let active = state.subjects().map_or(0, |subjects| {
                subjects
                    .values()
                    .filter(|s| matches!(s, SubjectState::Active { .. }))
                    .count()
            });
            assert!(
                active <= step.parallel as usize,
                "more targets inside than the window"
            );
        }
        if self.run.state.is_finished() {
            assert!(outstanding(&self.run.state).is_empty());
            assert_eq!(
                next_deadline(&self.run.state, self.run.now, Timestamp::MIN),
                None
            );
        } else {
            assert!(
                !outstanding(&self.run.state).is_empty()
                    || next_deadline(&self.run.state, self.run.now, Timestamp::MIN).is_some(),
                "nothing is outstanding and nothing is waited for: it would hang for ever"
            );
        }
    }

    /// The faults stop: everything is connected, every message arrives, every process ends well.
    fn calm(&mut self) {
        for _ in 0..500 {
            if self.run.state.is_finished() {
                return;
            }
            self.run.online = self.agents.keys().copied().collect();
            self.resync();
            for effect in outstanding(&self.run.state) {
                self.deliver(&effect);
            }
            while !self.running().is_empty() {
                self.end_one(0, Outcome::Succeeded);
            }
            while !self.flying.is_empty() {
                self.arrive(0);
            }
            for number in self.run.asked() {
                for by in ["bob", "cat"] {
                    for answer in [Answer::Proceed, Answer::Retry] {
                        self.run.answer(number, by, answer);
                    }
                }
            }
            self.run.after(SignedDuration::from_secs(3));
            self.check();
        }
        panic!("it never ended: {:#?}", view::progress(&self.run.state));
    }
}

const ON_FAILURE: &[OnFailure] = &[OnFailure::Stop, OnFailure::Continue, OnFailure::Rollback];

/// A farm with a budget, beside it a step that starts with it, and what is about one that may have
/// been set aside.
fn a_fleet(budget: u32, on_failure: OnFailure, limits: (Option<u64>, Option<u64>)) -> Plan {
    let farm = PlanStep {
        max_failed: budget,
        timeout_ms: limits.0.map(|seconds| seconds * 1_000),
        on_failure,
        ..a_rolling_step(&[1, 2, 3, 4], 2, &["drain", "install"])
    };
    let beside = PlanStep {
        start: Start::WithPrevious,
        ..a_step("beside", &[1, 4], vec![an_action("watch", &[1, 4])])
    };
    let after = a_step("after", &[1, 2], vec![an_action("after", &[1, 2])]);
    let repair = PlanStep {
        run: RunCondition::Failure,
        start: Start::WithPrevious,
        ..a_step("repair", &[3], vec![an_action("repair", &[3])])
    };
    let way =
        (on_failure == OnFailure::Rollback).then(|| a_way_back(0, &farm, &["drain", "install"]));
    let steps = [Some(farm), Some(beside), way, Some(after), Some(repair)];
    let mut plan = a_plan(&[1, 2, 3, 4], steps.into_iter().flatten().collect());
    plan.timeouts.deployment_ms = limits.1.map(|seconds| seconds * 1_000);
    plan
}

fn a_farm() -> Plan {
    let mut install = an_action("install", &[1, 2, 3]);
    install.packages = vec![a_package()];
    install.retries = Retries {
        count: 1,
        backoff_ms: 1_000,
        max_backoff_ms: None,
    };
    let mut farm = a_rolling_step(&[1, 2, 3], 2, &["drain"]);
    farm.actions.push(install);
    farm.actions.push(an_action("enable", &[1, 2, 3]));
    let mut last = a_step("tell", &[1], vec![an_action("tell", &[1])]);
    last.run = RunCondition::Always;
    a_plan(
        &[1, 2, 3],
        vec![
            a_step("migrate", &[1], vec![an_action("migrate", &[1])]),
            farm,
            last,
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_goes_wrong_nothing_runs_twice_and_it_ends(
        script in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..250)
    ) {
        let mut world = World::new(a_farm());
        for (what, which) in script {
            world.step(what, which);
        }
        world.calm();
        laws::hold(&world.run.log);
        // The verdict is a function of the journals: success means that every attempt that counts
        // ended well by its agent's own word.
        if world.run.verdict() == Some(Verdict::Succeeded) {
            let state = &world.run.state;
            for node in state.nodes.values() {
                prop_assert!(!node.has_failed());
            }
            for (id, attempt) in &state.attempts {
                let agent = &world.agents[&attempt.agent];
                if let AttemptStatus::Over { outcome: Outcome::Succeeded, .. } = &attempt.status {
                    prop_assert_eq!(agent.truth.get(id), Some(&Outcome::Succeeded));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]
    #[test]
    fn whatever_goes_wrong_groups_and_budgets_hold(
        script in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..250),
        budget in 0_u32..4,
        on_failure in prop::sample::select(ON_FAILURE),
        limits in (prop::option::of(1_u64..600), prop::option::of(1_u64..900)),
    ) {
        let mut world = World::new(a_fleet(budget, on_failure, limits));
        for (what, which) in script {
            world.step(what, which);
        }
        world.calm();
        laws::hold(&world.run.log);
        let state = &world.run.state;
        let failed = |step: usize| {
            let subjects = state.steps[step].subjects().into_iter().flat_map(BTreeMap::values);
            subjects.filter(|subject| subject.has_failed()).count()
        };
        if world.run.verdict() == Some(Verdict::Succeeded) {
            prop_assert!(failed(0) <= budget as usize);
            prop_assert_eq!(state.set_aside.len(), failed(0));
            prop_assert!((1..state.steps.len()).all(|step| failed(step) == 0));
        }
    }
}

/// A guided fleet that asks in every way: after the first target, between the steps, and about what
/// failed, also where that is required.
fn an_asking_fleet(budget: u32, on_failure: OnFailure, limits: (Option<u64>, Option<u64>)) -> Plan {
    let mut plan = guided(a_fleet(budget, on_failure, limits));
    plan.facts.created_by = "ann".to_owned();
    let mut steps = plan.steps.into_iter();
    let farm = PlanStep {
        pause_after_first: true,
        ..steps.next().unwrap()
    };
    let mut steps: Vec<PlanStep> = std::iter::once(farm).chain(steps).collect();
    steps[2].required = true;
    steps.insert(2, a_manual_step("sign", 2, Eyes::Four));
    plan.steps = steps;
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_people_answer_nothing_runs_twice_and_it_ends(
        script in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..250),
        budget in 0_u32..4,
        on_failure in prop::sample::select(ON_FAILURE),
        limits in (prop::option::of(1_u64..600), prop::option::of(1_u64..900)),
    ) {
        let mut world = World::new(an_asking_fleet(budget, on_failure, limits));
        for (what, which) in script {
            world.step(what, which);
        }
        world.calm();
        laws::hold(&world.run.log);
        let state = &world.run.state;
        for one in state.interruptions.values() {
            prop_assert!(one.closed.is_some());
            if let Some(Closed::Answered(answer)) = one.closed {
                prop_assert!(one.question.choices().contains(&answer));
            }
        }
        // Success means: whatever did not go well was set aside, or a person said that it does not
        // count.
        if world.run.verdict() == Some(Verdict::Succeeded) {
            let plan = state.plan.as_ref().unwrap();
            for (node, known) in &state.nodes {
                let subject = plan.node(*node).unwrap().subject;
                let dropped = state.set_aside.contains_key(&subject)
                    || state.excluded.contains_key(&subject);
                prop_assert!(!known.has_failed() || dropped, "{node:?} {known:?}");
            }
        }
    }
}
