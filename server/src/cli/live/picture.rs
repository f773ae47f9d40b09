//! The task as the watcher knows it: the matrix at some moment, and the events since.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::api::body::{
    ActionView, LogLine, PackagesView, StepView, SubjectView, Task, TaskDetail, TaskEvent,
    TaskEventKind, WorkState,
};

/// What is known.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// The task.
    pub task: Task,
    /// Its steps; empty until it has begun.
    pub steps: Vec<StepView>,
    /// The packages that have to be there before the first step begins.
    pub packages: Vec<PackagesView>,
    /// Since when actions wait, by target, action and executor.
    waiting: HashMap<(String, String, String), Timestamp>,
    known: u64,
    /// How far actions say they are, by target, action and executor; of which attempt.
    progress: HashMap<(String, String, String), (u32, u8)>,
}

impl Picture {
    /// A task of which nothing is known yet.
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            steps: Vec::new(),
            packages: Vec::new(),
            waiting: HashMap::new(),
            known: 0,
            progress: HashMap::new(),
        }
    }

    /// The matrix is there now, with everything up to its last event.
    pub(super) fn begin(&mut self, detail: TaskDetail) {
        self.task = detail.task;
        self.steps = detail.steps;
        self.packages = detail.packages;
        self.known = detail.last_event;
    }

    /// Takes an event into the picture, unless it is in it already.
    pub(super) fn apply(&mut self, event: &TaskEvent) {
        self.note_waiting(event);
        if event.seq <= self.known {
            return;
        }
        self.known = event.seq;
        match event.kind {
            TaskEventKind::Task => {
                if let Some(state) = event.task_state {
                    self.task.state = state;
                }
                if !event.message.is_empty() {
                    self.task.message.clone_from(&event.message);
                }
            }
            TaskEventKind::Step => {
                if let (Some(step), Some(state)) = (self.step(event), event.state) {
                    step.state = state;
                    step.message.clone_from(&event.message);
                }
            }
            TaskEventKind::Target => {
                let at = event.at;
                if let (Some(subject), Some(state)) = (self.subject(event), event.state) {
                    subject.state = state;
                    clock(&mut subject.started_at, &mut subject.ended_at, state, at);
                }
            }
            TaskEventKind::Action => {
                let at = event.at;
                if let (Some(action), Some(state)) = (self.action(event), event.state) {
                    action.state = state;
                    action.message.clone_from(&event.message);
                    action.interruption = event.interruption;
                    action.attempts = event.attempt.unwrap_or(action.attempts);
                    clock(&mut action.started_at, &mut action.ended_at, state, at);
                }
            }
            TaskEventKind::Packages => {
                let mut packages = self.packages.iter_mut();
                let own = packages.find(|own| Some(&own.target) == event.target.as_ref());
                if let (Some(own), Some(state)) = (own, event.state) {
                    own.state = state;
                    own.message.clone_from(&event.message);
                    (own.done_bytes, own.total_bytes) = (None, None);
                }
            }
            TaskEventKind::Note => {}
        }
    }

    /// Also of what is in the picture already: the matrix does not say since when something waits.
    fn note_waiting(&mut self, event: &TaskEvent) {
        let place = (&event.target, &event.action, &event.executor);
        let (Some(target), Some(action), Some(executor)) = place else {
            return;
        };
        if event.kind != TaskEventKind::Action {
            return;
        }
        let place = (target.clone(), action.clone(), executor.clone());
        if event.state == Some(WorkState::Waiting) {
            self.waiting.entry(place).or_insert(event.at);
        } else {
            self.waiting.remove(&place);
        }
    }

    /// Since when an action waits, or else is at work.
    pub(super) fn since(&self, target: &str, action: &ActionView) -> Option<Timestamp> {
        let place = (
            target.to_owned(),
            action.name.clone(),
            action.executor.clone(),
        );
        let waits = self.waiting.get(&place).copied();
        waits.or(action.started_at)
    }

    /// Takes a report of progress into the picture; other lines change nothing.
    pub(super) fn note_progress(&mut self, line: &LogLine) {
        if let Some(percent) = line.percent {
            let place = (
                line.target.clone(),
                line.action.clone(),
                line.executor.clone(),
            );
            self.progress.insert(place, (line.attempt, percent));
        }
    }

    /// How far an action says it is, while it runs and if it says so.
    pub(super) fn percent(&self, target: &str, action: &ActionView) -> Option<u8> {
        let place = (
            target.to_owned(),
            action.name.clone(),
            action.executor.clone(),
        );
        let (attempt, percent) = self.progress.get(&place)?;
        let is_now = action.state == WorkState::Running && *attempt >= action.attempts;
        is_now.then_some(*percent)
    }

    /// The name of a step.
    pub(super) fn step_name(&self, number: u32) -> &str {
        let step = self.steps.iter().find(|step| step.number == number);
        step.map_or("", |step| step.name.as_str())
    }

    /// All targets, in the order in which they first appear.
    pub(super) fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = Vec::new();
        for subject in self.steps.iter().flat_map(|step| &step.targets) {
            if !targets.contains(&subject.target.as_str()) {
                targets.push(&subject.target);
            }
        }
        targets
    }

    fn step(&mut self, event: &TaskEvent) -> Option<&mut StepView> {
        let number = event.step?;
        self.steps.iter_mut().find(|step| step.number == number)
    }

    fn subject(&mut self, event: &TaskEvent) -> Option<&mut SubjectView> {
        let target = event.target.as_ref()?;
        let step = self.step(event)?;
        step.targets.iter_mut().find(|s| s.target == *target)
    }

    fn action(&mut self, event: &TaskEvent) -> Option<&mut ActionView> {
        let (name, executor) = (event.action.as_ref()?, event.executor.as_ref()?);
        let subject = self.subject(event)?;
        let mut actions = subject.actions.iter_mut();
        actions.find(|action| action.name == *name && action.executor == *executor)
    }
}

fn clock(
    started: &mut Option<Timestamp>,
    ended: &mut Option<Timestamp>,
    state: WorkState,
    at: Timestamp,
) {
    match state {
        WorkState::Running => {
            started.get_or_insert(at);
        }
        WorkState::Pending | WorkState::Waiting => {}
        WorkState::Succeeded
        | WorkState::Failed
        | WorkState::TimedOut
        | WorkState::Cancelled
        | WorkState::Skipped
        | WorkState::NotStarted
        | WorkState::Interrupted
        | WorkState::Unknown
        | WorkState::Abandoned => *ended = Some(at),
    }
}
