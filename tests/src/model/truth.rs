//! What really happened, whoever knows of it: every run of every attempt, every line it printed.

use std::collections::BTreeMap;

use mantle_domain::plan::NodeRef;
use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::Outcome;

/// One attempt's run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Every line that it printed and that reached its spool.
    pub lines: Vec<u32>,
    /// How it ended by its own word; none while it runs, and for ever if it was killed.
    pub outcome: Option<Outcome>,
    /// Lines may be missing at the end of its spool: the machine lost its power.
    pub cut: bool,
}

/// All runs.
#[derive(Debug, Default)]
pub struct Truth {
    runs: BTreeMap<AttemptId, Run>,
    /// Who works just now.
    working: BTreeMap<NodeRef, AttemptId>,
    next_line: u32,
}

impl Truth {
    /// A step begins to work. It must be the first and only time.
    pub fn begin(&mut self, attempt: AttemptId, node: NodeRef) {
        let before = self.runs.insert(attempt, Run::default());
        assert!(before.is_none(), "I1: attempt {attempt} ran twice");
        if let Some(other) = self.working.insert(node, attempt) {
            panic!("I2: {node:?} is worked on by {other} and {attempt} at once");
        }
    }

    /// It prints a line; each has a number of its own.
    pub fn print(&mut self, attempt: AttemptId) -> u32 {
        self.next_line += 1;
        let line = self.next_line;
        self.run_mut(attempt).lines.push(line);
        line
    }

    /// It ends by itself.
    pub fn end(&mut self, attempt: AttemptId, node: NodeRef, outcome: Outcome) {
        self.run_mut(attempt).outcome = Some(outcome);
        self.working.remove(&node);
    }

    /// Its processes are killed from outside.
    pub fn kill(&mut self, attempt: AttemptId, node: NodeRef) {
        if self.working.get(&node) == Some(&attempt) {
            self.working.remove(&node);
        }
    }

    /// The end of its spool may have gone with the power.
    pub fn cut(&mut self, attempt: AttemptId) {
        if let Some(run) = self.runs.get_mut(&attempt) {
            run.cut = true;
        }
    }

    /// The run of an attempt, if it ever ran.
    pub fn run(&self, attempt: AttemptId) -> Option<&Run> {
        self.runs.get(&attempt)
    }

    /// Every attempt that ran.
    pub fn runs(&self) -> impl Iterator<Item = (AttemptId, &Run)> {
        self.runs.iter().map(|(attempt, run)| (*attempt, run))
    }

    fn run_mut(&mut self, attempt: AttemptId) -> &mut Run {
        self.runs.get_mut(&attempt).expect("it ran")
    }
}
