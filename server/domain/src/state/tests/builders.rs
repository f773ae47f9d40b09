//! Plans and worlds for the tests, reduced to what each test is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, AttemptId, JournalId, TargetId, TaskId};
use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::{AttemptEnd, Outcome, RecordHasher};
use mantle_shared::uuid::Uuid;

use super::super::*;
use crate::ids::ReleaseId;
use crate::interruption::{Answer, Given};
use crate::lock;
use crate::plan::{
    Eyes, Guidance, NO_TARGET, PLAN_FORMAT, Plan, PlanAction, PlanAsk, PlanBack, PlanBefore,
    PlanLeft, PlanNode, PlanStep, PlanTarget, Ran,
};
use crate::process::{OnFailure, Retries, RunCondition, Start, Timeouts};
use crate::target::Platform;

pub(super) fn target(n: u128) -> TargetId {
    TargetId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn agent(n: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(1000 + n))
}

pub(super) fn a_package() -> OrderPackage {
    OrderPackage {
        id: "Web".to_owned(),
        version: "1.0".to_owned(),
        format: "zip".to_owned(),
        size_bytes: 1,
        archive: Digest::of(b"archive"),
        root: Digest::of(b"root"),
        linux_only: false,
        as_pushed: None,
    }
}

pub(super) fn an_action(name: &str, targets: &[u128]) -> PlanAction {
    PlanAction {
        name: name.to_owned(),
        uses: "script".to_owned(),
        run: RunCondition::Success,
        timeout_ms: 60_000,
        grace_ms: 1_000,
        retries: Retries::default(),
        packages: Vec::new(),
        nodes: targets
            .iter()
            .map(|n| PlanNode {
                subject: target(*n),
                executor: target(*n),
            })
            .collect(),
        locks: Vec::new(),
        ask: None,
        undoes: None,
    }
}

pub(super) fn a_step(name: &str, targets: &[u128], actions: Vec<PlanAction>) -> PlanStep {
    PlanStep {
        name: name.to_owned(),
        number: 0,
        run: RunCondition::Success,
        start: Start::AfterPrevious,
        required: false,
        rolling: false,
        parallel: 10,
        max_failed: 0,
        on_failure: OnFailure::Stop,
        pause_after_first: false,
        timeout_ms: None,
        subjects: targets.iter().map(|n| target(*n)).collect(),
        actions,
        skipped: None,
        back: None,
    }
}

pub(super) fn a_rolling_step(targets: &[u128], window: u32, actions: &[&str]) -> PlanStep {
    PlanStep {
        rolling: true,
        parallel: window,
        ..a_step(
            "farm",
            targets,
            actions.iter().map(|a| an_action(a, targets)).collect(),
        )
    }
}

/// A step that rolls back, its actions as given.
pub(super) fn a_step_that_rolls_back(targets: &[u128], window: u32, actions: &[&str]) -> PlanStep {
    let mut step = PlanStep {
        on_failure: OnFailure::Rollback,
        ..a_rolling_step(targets, window, actions)
    };
    for action in &mut step.actions {
        action.uses = match action.name.as_str() {
            "install" => "package",
            _ => "script",
        }
        .to_owned();
    }
    step
}

fn before(target: TargetId) -> PlanBefore {
    PlanBefore {
        target,
        task: TaskId::from_uuid(Uuid::from_u128(5)),
        release: ReleaseId::from_uuid(Uuid::from_u128(6)),
        version: "0.9".to_owned(),
        ran: Ran::Whole,
    }
}

/// The way back of the step at this index, which undoes these of its actions.
pub(super) fn a_way_back(of: u32, step: &PlanStep, undone: &[&str]) -> PlanStep {
    let mut actions = step.actions.clone();
    for (index, action) in (0..).zip(&mut actions) {
        action.undoes = Some(index);
        action.name = format!("undo {}", action.name);
    }
    let (mut undoing, left): (Vec<_>, Vec<_>) = actions.into_iter().partition(|action| {
        undone
            .iter()
            .any(|name| action.name == format!("undo {name}"))
    });
    undoing.reverse();
    PlanStep {
        name: format!("back {}", step.name),
        on_failure: OnFailure::Stop,
        start: Start::AfterPrevious,
        max_failed: 0,
        pause_after_first: false,
        subjects: step.subjects.iter().rev().copied().collect(),
        actions: undoing,
        back: Some(PlanBack {
            of,
            before: step.subjects.iter().map(|id| before(*id)).collect(),
            left: left
                .iter()
                .map(|action| PlanLeft {
                    action: action.undoes.unwrap(),
                    why: "no script".to_owned(),
                    targets: step.subjects.clone(),
                })
                .collect(),
        }),
        ..step.clone()
    }
}

pub(super) fn a_plan(targets: &[u128], steps: Vec<PlanStep>) -> Plan {
    let steps = (1..)
        .zip(steps)
        .map(|(number, step)| PlanStep { number, ..step })
        .collect();
    Plan {
        format: PLAN_FORMAT,
        task: TaskId::from_uuid(Uuid::from_u128(77)),
        project: "octofx".to_owned(),
        environment: "test".to_owned(),
        release: "1.0.0".to_owned(),
        channel: "stable".to_owned(),
        targets: targets
            .iter()
            .map(|n| PlanTarget {
                id: target(*n),
                name: format!("web{n:02}"),
                agent: agent(*n),
                tags: vec!["web".to_owned()],
                platform: Platform::Linux,
                agent_version: String::new(),
                host_name: String::new(),
            })
            .collect(),
        steps,
        warnings: Vec::new(),
        keep_on_target: None,
        left_out: Vec::new(),
        timeouts: Timeouts::default(),
        facts: crate::plan::PlanFacts::default(),
        guidance: Guidance::default(),
        reads: BTreeSet::new(),
    }
}

pub(super) fn an_end(outcome: Outcome) -> AttemptEnd {
    AttemptEnd {
        outcome,
        exit_code: match outcome {
            Outcome::Succeeded => Some(0),
            Outcome::Failed => Some(3),
            _ => None,
        },
        message: String::new(),
        records: 0,
        log: RecordHasher::new().digest(),
        started_at_us: 1,
        ended_at_us: 2,
    }
}

/// A template that holds once an output variable is known.
pub(super) const KNOWS_OUTPUTS: &str = "#{Octopus.Action[a].Output.Url}";

/// A template that holds as long as nothing has failed.
pub(super) const NO_FAILURE: &str = "#{unless Octopus.Deployment.Error}yes#{/unless}";

/// A template that cannot be judged.
pub(super) const UNJUDGEABLE: &str = "#{Nope}";

/// The plan, with failures judged by people.
pub(super) fn guided(plan: Plan) -> Plan {
    Plan {
        guidance: Guidance::Guided,
        reads: BTreeSet::new(),
        ..plan
    }
}

/// A step that people let go on.
pub(super) fn a_manual_step(name: &str, approvals: u32, eyes: Eyes) -> PlanStep {
    let mut action = an_action(name, &[]);
    action.uses = "manual".to_owned();
    action.nodes = vec![PlanNode {
        subject: NO_TARGET,
        executor: NO_TARGET,
    }];
    action.ask = Some(PlanAsk {
        instructions: "look".to_owned(),
        teams: vec!["managers".to_owned()],
        approvals,
        eyes,
    });
    PlanStep {
        subjects: vec![NO_TARGET],
        ..a_step(name, &[], vec![action])
    }
}

/// A deployment under test: the state, its log, and the facts of the moment.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) state: State,
    pub(super) log: Vec<Event>,
    pub(super) now: Timestamp,
    pub(super) online: BTreeSet<AgentId>,
    /// Those that may come back to a server that began.
    pub(super) returning: BTreeSet<AgentId>,
    pub(super) journals: BTreeMap<AgentId, JournalId>,
    pub(super) conditions: bool,
    /// Who holds every lock, if anybody does.
    pub(super) holder: Option<String>,
    /// How that ended, if it is over.
    pub(super) holder_ended: Option<Outcome>,
}

/// Grants everything, or says who holds it and how that ended.
struct Keeper(Option<String>, Option<Outcome>);

impl LockKeeper for Keeper {
    fn claim(&self, claim: &Claim<'_>) -> lock::Answer {
        match &self.0 {
            None => NothingHeld.claim(claim),
            Some(by) => lock::Answer::Held {
                lock: claim.locks[0].name.clone(),
                by: by.clone(),
                has_it: true,
                ended: self.1,
            },
        }
    }
}

impl Run {
    /// A deployment whose agents are all connected.
    pub(super) fn of(plan: Plan) -> Self {
        let mut run = Self::queued();
        run.online = plan.targets.iter().map(|target| target.agent).collect();
        run.input(Input::Begin {
            plan: Arc::new(plan),
        });
        run
    }

    pub(super) fn queued() -> Self {
        Self {
            state: State::default(),
            log: Vec::new(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            online: BTreeSet::new(),
            returning: BTreeSet::new(),
            journals: BTreeMap::new(),
            conditions: true,
            holder: None,
            holder_ended: None,
        }
    }

    /// Does something at this moment.
    fn at_moment<R>(&self, work: impl FnOnce(&State, &Moment<'_>) -> R) -> R {
        let holds = self.conditions;
        let moment = Moment {
            now: self.now,
            online: &self.online,
            returning: &|agent| self.returning.contains(&agent),
            journals: &self.journals,
            condition: &|state, asked| match asked.template {
                KNOWS_OUTPUTS => Ok(!state.outputs.is_empty()),
                NO_FAILURE => Ok(!state.has_failed_for(asked.step, asked.node)),
                UNJUDGEABLE => Err("it has no value".to_owned()),
                _ => Ok(holds),
            },
            instructions: &|state, node| {
                let (action, outputs) = (node.action, state.outputs.len());
                format!("look at action {action}, outputs: {outputs}")
            },
            policy: &Policy::default(),
            locks: &Keeper(self.holder.clone(), self.holder_ended),
        };
        work(&self.state, &moment)
    }

    pub(super) fn try_input(&mut self, input: Input) -> Result<Vec<Event>, Illegal> {
        let events = self.at_moment(|state, moment| decide(state, input, moment))?;
        for event in &events {
            evolve(&mut self.state, event);
        }
        self.take_down(&events);
        Ok(events)
    }

    /// What arrived together; what has no place is dropped.
    pub(super) fn together(&mut self, inputs: Vec<Input>) -> Together {
        let decided = self.at_moment(|state, moment| decide_together(state, inputs, moment));
        for event in &decided.events {
            evolve(&mut self.state, event);
        }
        assert_eq!(self.state, decided.next, "the events lead there");
        self.take_down(&decided.events);
        decided
    }

    fn take_down(&mut self, events: &[Event]) {
        self.log.extend(events.iter().cloned());
        // Recovery is the same code: the log alone leads to the same state, also through JSON.
        if self.log.len() < 60 {
            let json = serde_json::to_string(&self.log).unwrap();
            let read: Vec<Event> = serde_json::from_str(&json).unwrap();
            assert_eq!(fold(&read), self.state);
        }
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Event> {
        self.try_input(input).unwrap()
    }

    pub(super) fn after(&mut self, by: SignedDuration) -> Vec<Event> {
        self.now = self.now.checked_add(by).unwrap();
        self.input(Input::Tick)
    }

    /// The attempts that are ordered and not over, as (action, subject's name, id).
    pub(super) fn live(&self) -> Vec<(String, String, AttemptId)> {
        let plan = self.state.plan.as_ref().unwrap();
        self.state
            .live_attempts()
            .map(|(id, attempt)| {
                let node = plan.node(attempt.node).unwrap();
                (
                    plan.action(attempt.node).unwrap().name.clone(),
                    plan.target(node.subject).unwrap().name.clone(),
                    *id,
                )
            })
            .collect()
    }

    pub(super) fn live_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .live()
            .into_iter()
            .map(|(action, on, _)| format!("{action}@{on}"))
            .collect();
        names.sort();
        names
    }

    pub(super) fn attempt(&self, name: &str) -> AttemptId {
        self.live()
            .into_iter()
            .find(|(action, on, _)| format!("{action}@{on}") == name)
            .unwrap_or_else(|| panic!("{name} is not live, but {:?}", self.live_names()))
            .2
    }

    /// The live attempt of this name is accepted and ends.
    pub(super) fn end(&mut self, name: &str, outcome: Outcome) -> Vec<Event> {
        let attempt = self.attempt(name);
        self.input(Input::StartAnswered {
            attempt,
            answer: StartAnswer::Accepted,
        });
        self.input(Input::AttemptEnded {
            attempt,
            end: an_end(outcome),
            outputs: Vec::new(),
            stored: 0,
        })
    }

    /// Somebody answers what is open under this number.
    pub(super) fn answer(&mut self, number: u32, by: &str, answer: Answer) -> Vec<Event> {
        let given = Given {
            by: by.to_owned(),
            answer,
            notes: String::new(),
            at: self.now,
        };
        self.input(Input::InterruptionAnswered { number, given })
    }

    /// The numbers of what is open.
    pub(super) fn asked(&self) -> Vec<u32> {
        let open = self.state.open_interruptions();
        open.map(|(number, _)| number).collect()
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.state.verdict()
    }

    pub(super) fn message(&self) -> String {
        view::progress(&self.state).message
    }
}
