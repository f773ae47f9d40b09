//! What has failed so far, in words, for what runs after a failure: which step, about which target, and
//! why. As long as nothing more fails it is the same text, so that a repeated order is the same order.
//! What agents said stands in it as it was stored, with secrets masked.

use std::sync::Arc;

use super::event::Event;
use super::model::State;
use super::verdict;
use crate::plan::NodeRef;

/// The longest text of what failed first, in characters: it goes into environments and messages.
const ERROR_MOST: usize = 500;
/// The longest text of all that failed.
const DETAIL_MOST: usize = 4_000;
/// So many failures are told one by one.
const TOLD_MOST: usize = 20;

/// What has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed first, in one line.
    pub error: String,
    /// All that failed, a line each, the first first.
    pub detail: String,
}

impl Failure {
    /// Something failed of which nothing more is known.
    pub fn unnamed() -> Self {
        Self::of(Vec::new(), 0)
    }

    /// What steps failed of.
    fn of_steps(state: &State) -> Self {
        let Some(plan) = state.plan.as_deref() else {
            return Self::unnamed();
        };
        let (told, more) = verdict::told(state, plan, TOLD_MOST);
        Self::of(told, more)
    }

    fn of(told: Vec<String>, more: usize) -> Self {
        let first = told.first().map_or("a step has failed", String::as_str);
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let error = bounded(&line, ERROR_MOST);
        if told.is_empty() {
            let detail = error.clone();
            return Self { error, detail };
        }
        let rest = match more {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        let detail = bounded(&told.join("\n"), DETAIL_MOST - rest.len()) + &rest;
        Self { error, detail }
    }

    /// Notes what failed once a step has, or once packages did not come and the steps begin.
    pub(super) fn keep(state: &mut State, event: &Event) {
        let is_new = match event {
            Event::StepFinished { failed, .. } => *failed,
            Event::StepStarted { .. } => state.failed && state.failure.is_none(),
            _ => false,
        };
        if is_new {
            state.failure = Some(Arc::new(Self::of_steps(state)));
        }
    }
}

impl State {
    /// What an attempt that is ordered now is told of failures.
    pub(super) fn failed_before(&self) -> Option<Arc<Failure>> {
        self.failed.then(|| {
            let known = self.failure.clone();
            known.unwrap_or_else(|| Arc::new(Failure::of_steps(self)))
        })
    }

    /// What failed as a step sees it, or the action of a node: for that one, what failed about its
    /// subject in the running step counts as well.
    pub fn failure_for(&self, step: u32, node: Option<NodeRef>) -> Option<Arc<Failure>> {
        self.failed_before().or_else(|| {
            let subject = self.failed_here(step, node)?;
            let plan = self.plan.as_deref()?;
            let nodes = self.by_subject.about(step, subject).iter();
            let told = nodes.filter_map(|node| verdict::told_of(self, plan, *node));
            Some(Arc::new(Failure::of(told.take(TOLD_MOST).collect(), 0)))
        })
    }
}

/// The begin of a text, marked where it was cut.
fn bounded(text: &str, most: usize) -> String {
    if text.char_indices().nth(most).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    kept + "…"
}
