//! What a run amounts to: figures, violations, and one line that says whether all is well.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Options;
use super::measure::Times;
use super::schedule::Fault;
use crate::checker::{self, History, INVARIANTS, Violation};

/// After a kill and a start of the server its agents are back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// And deployments carry on within this.
const ON_WITHIN: Duration = Duration::from_secs(10);
/// What undoes an action is called so, with the action's name.
const UNDO: &str = "Undo ";
/// A run of this length kills the server often enough for recoveries to be measured.
const MEASURES_FROM: Duration = Duration::from_mins(2);
/// So many violations are shown.
const SHOWN: usize = 40;

/// How often what was done.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    server_kills: u64,
    agent_kills: u64,
    supervisor_kills: u64,
    stops: u64,
    freezes: u64,
    cuts: u64,
    fills: u64,
    cancels: u64,
    /// Questions that were answered.
    pub(super) answers: u64,
    /// Attempts of which a person said how they ended.
    pub(super) resolutions: u64,
    skipped: u64,
    /// Kills in [`Self::server_kills`] and [`Self::agent_kills`] came twice: by us, and at the point.
    pub(super) died_at_point: u64,
}

impl Counts {
    pub(super) fn count(&mut self, fault: &Fault, done: bool) {
        let counter = match fault {
            _ if !done => &mut self.skipped,
            Fault::KillServer | Fault::KillServerAt(_) => &mut self.server_kills,
            Fault::KillAgent(_) | Fault::KillAgentAt(..) => &mut self.agent_kills,
            Fault::KillSupervisors(_) => &mut self.supervisor_kills,
            Fault::StopServer | Fault::StopAgent(_) => &mut self.stops,
            Fault::FreezeServer | Fault::FreezeAgent(_) => &mut self.freezes,
            Fault::Cut(_) | Fault::OneWay(..) | Fault::Lossy(..) | Fault::Rebind(_) => {
                &mut self.cuts
            }
            Fault::FillServer | Fault::FillAgent(_) => &mut self.fills,
            Fault::Cancel(_) => &mut self.cancels,
        };
        *counter += 1;
    }
}

/// Times, sorted.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.sorted.last().copied()
    }

    fn share(&self, share: usize) -> f64 {
        let index = (self.sorted.len() * share / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).map_or(0.0, Duration::as_secs_f64)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times: half within {:.1} s, 95 % within {:.1} s, all within {:.1} s",
            self.sorted.len(),
            self.share(50),
            self.share(95),
            self.share(100)
        )
    }
}

/// What a run amounts to.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    length: Duration,
    agents: usize,
    took: Duration,
    counts: Counts,
    /// How long agents were away after a killed server was there again.
    pub back: Spread,
    /// How long deployments stood still then.
    pub on: Spread,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// What the verdict rests on.
    pub history: History,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        took: Duration,
        counts: Counts,
        times: &Times,
        history: History,
    ) -> Self {
        Self {
            seed: options.seed,
            length: options.length,
            agents: options.agents,
            took,
            counts,
            back: Spread::of(&times.back.lock().unwrap()),
            on: Spread::of(&times.on.lock().unwrap()),
            violations: checker::check(&history),
            history,
        }
    }

    /// The checks, and whether each holds.
    fn checks(&self) -> Vec<(String, bool)> {
        let mut checks: Vec<(String, bool)> = INVARIANTS
            .iter()
            .map(|(name, _)| {
                let holds = !self.violations.iter().any(|one| one.invariant == *name);
                ((*name).to_owned(), holds)
            })
            .collect();
        // What is long enough to have kills that are measured must have measured some.
        let may_be_empty = self.length < MEASURES_FROM;
        let within = |spread: &Spread, limit| spread.max().map_or(may_be_empty, |max| max <= limit);
        checks.push((
            format!("agents back within {} s", BACK_WITHIN.as_secs()),
            within(&self.back, BACK_WITHIN),
        ));
        checks.push((
            format!("deployments on within {} s", ON_WITHIN.as_secs()),
            within(&self.on, ON_WITHIN),
        ));
        checks.push((
            "something was done".to_owned(),
            !self.history.tasks.is_empty() && !self.history.ends.is_empty(),
        ));
        checks
    }

    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.checks().iter().filter(|(_, holds)| !holds).count()
    }

    /// Whether this invariant was found broken.
    pub fn broke(&self, invariant: &str) -> bool {
        self.violations.iter().any(|one| one.invariant == invariant)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = &self.history;
        let counts = &self.counts;
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for task in &history.tasks {
            *ends.entry(&task.state).or_default() += 1;
        }
        let ends: Vec<String> = ends
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let actions = history.tasks.iter().flat_map(|task| &task.actions);
        let undone = actions
            .filter(|action| action.action.starts_with(UNDO) && action.state == "succeeded")
            .count();
        let lines: usize = history.tasks.iter().map(|task| task.log.len()).sum();
        let rows: &[(&str, String)] = &[
            (
                "deployments run",
                format!("{} ({})", history.tasks.len(), ends.join(", ")),
            ),
            (
                "kills made",
                format!(
                    "{} (server {}, agents {}, supervisors {}, at a point of their code {})",
                    counts.server_kills
                        + counts.agent_kills
                        + counts.supervisor_kills
                        + counts.died_at_point,
                    counts.server_kills,
                    counts.agent_kills,
                    counts.supervisor_kills,
                    counts.died_at_point
                ),
            ),
            (
                "stops made",
                format!("{} in good order, {} frozen", counts.stops, counts.freezes),
            ),
            ("cuts made", counts.cuts.to_string()),
            ("disks filled", counts.fills.to_string()),
            ("cancels", counts.cancels.to_string()),
            (
                "people",
                format!(
                    "{} answers, {} attempts resolved",
                    counts.answers, counts.resolutions
                ),
            ),
            ("steps undone", undone.to_string()),
            ("steps started", history.starts.len().to_string()),
            ("lines logged", lines.to_string()),
            (
                "packages looked at",
                (history.packages_whole + history.packages.len() as u64).to_string(),
            ),
            ("agents back", self.back.to_string()),
            ("deployments on", self.on.to_string()),
            ("violations", self.violations.len().to_string()),
        ];
        writeln!(
            f,
            "chaos: seed {}, {:.1} min of faults, {} agents; took {:.0} s",
            self.seed,
            self.length.as_secs_f64() / 60.0,
            self.agents,
            self.took.as_secs_f64()
        )?;
        for (name, value) in rows {
            writeln!(f, "  {name:<20} {value}")?;
        }
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "VIOLATION {violation}")?;
        }
        if self.violations.len() > SHOWN {
            writeln!(f, "and {} more", self.violations.len() - SHOWN)?;
        }
        let checks = self.checks();
        for (name, _) in checks.iter().filter(|(_, holds)| !holds) {
            writeln!(f, "FAILED {name}")?;
        }
        let failed = self.failed();
        write!(f, "{} passed, {failed} failed", checks.len() - failed)
    }
}
