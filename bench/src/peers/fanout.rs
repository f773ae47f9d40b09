//! A step that does nothing on many targets at once, by the command line of each tool.

use anyhow::Result;

use super::commands::Tool;
use super::cost::{self, Cost};
use super::{Beside, Peers};
use crate::noop;
use crate::report::{Report, Row, ToReach, Unit};
use crate::rig::Rig;

/// How much of the time and of the controlling side's processor time of the others may be taken.
const ORCHESTRATOR: f64 = 0.1;
const PYINFRA: f64 = 0.25;
const OPEN_SSH: f64 = 1.5;
const CPU: f64 = 0.1;

pub(super) fn rows(
    rig: &mut Rig,
    peers: &Peers,
    beside: &Beside,
    report: &mut Report,
) -> Result<()> {
    let mut tools = Vec::new();
    for (name, tool) in Tool::all(peers) {
        tools.extend(report.or_missing(name, tool));
    }
    for &targets in &beside.targets {
        crate::say(&format!("no-op on {targets} targets, by each tool"));
        let ours = ours(rig, targets, beside.times)?;
        let mut others = Vec::new();
        for tool in &tools {
            let cost = cost::several(beside.times, &[], || {
                cost::quietly(tool.command(peers, targets, "true")?, tool.name())
            });
            let goal = match tool {
                Tool::Ssh => OPEN_SSH,
                Tool::Pyinfra(_) => PYINFRA,
                _ => ORCHESTRATOR,
            };
            if let Some(cost) = report.or_missing(tool.name(), cost) {
                others.push((tool.name(), goal, cost));
            }
        }
        if let Some(salt) = &peers.salt {
            let cost = cost::several(beside.times, &[salt.master()], || {
                // A bare word would be taken for a truth value.
                salt.order(targets, &["cmd.retcode", "/bin/true"], ": 0")
            });
            if let Some(cost) = report.or_missing("Salt", cost) {
                others.push(("Salt", ORCHESTRATOR, cost));
            }
        }
        report.add(compare(targets, &ours, &others));
    }
    Ok(())
}

/// By Mantle's own command line.
fn ours(rig: &Rig, targets: usize, times: usize) -> Result<Cost> {
    let project = format!("beside-{targets}");
    noop::prepare(rig, &project, targets)?;
    let server = rig.server().pid();
    let measured = cost::several(times, &[server], || rig.deploy(&project, "1.0").map(drop))?;
    Ok(measured)
}

#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn compare(targets: usize, ours: &Cost, others: &[(&'static str, f64, Cost)]) -> Vec<Row> {
    let label = format!("no-op on {targets} targets, the whole command");
    let mut rows = Vec::new();
    for (name, goal, cost) in others {
        let row = Row::median(label.clone(), &ours.wall, Unit::Ms);
        rows.push(
            row.beside(name, cost.wall.median())
                .reaching(ToReach::RatioAtMost(*goal)),
        );
    }
    let each = ours.cpu / targets as f64;
    for (name, _, cost) in others {
        let row = Row::single(
            format!("no-op on {targets} targets, CPU of command and server for each"),
            each,
            Unit::Ms,
        );
        let goal = ToReach::RatioAtMost(CPU);
        rows.push(row.beside(name, cost.cpu / targets as f64).reaching(goal));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_others_is_compared_in_time_and_in_processor_time() {
        let cost = |ms: f64, cpu: f64| Cost {
            wall: [ms].into_iter().collect(),
            cpu,
        };
        let others = [
            ("clush", 0.1, cost(1000.0, 400.0)),
            ("ssh", 1.5, cost(50.0, 200.0)),
        ];
        let rows = compare(20, &cost(90.0, 20.0), &others);
        let said = serde_json::to_value(&rows).unwrap_or_default();
        assert_eq!(rows.len(), 4);
        assert_eq!(said.pointer("/0/beside/value"), Some(&1000.0.into()));
        assert_eq!(said.pointer("/2/value"), Some(&1.0.into()));
        assert_eq!(said.pointer("/2/beside/value"), Some(&20.0.into()));
    }
}
