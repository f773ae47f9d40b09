//! Many lines of one step: stored by Mantle, taken by the others' command lines.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Peers;
use super::commands::Tool;
use crate::noop::between;
use crate::output;
use crate::report::{Report, Row, ToReach, Unit};
use crate::rig::Rig;

/// Five times as fast as those that keep something.
const ORCHESTRATOR: f64 = 0.2;
/// Beside one that keeps nothing.
const SSH: f64 = 3.0;

pub(super) fn rows(rig: &Rig, peers: &Peers, lines: u64, report: &mut Report) -> Result<()> {
    crate::say(&format!("{lines} lines of one step, by each tool"));
    let task = output::begin(rig, "beside-lines", 1, lines, Duration::ZERO)?;
    let task = rig.wait(&task)?;
    // The end of the task counts only when all that it printed is stored.
    let ours = between(&task, "/created_at", &task, "/ended_at")?;
    output::whole(rig, &task, lines)?;
    for (name, tool) in Tool::all(peers) {
        let Some(tool) = report.or_missing(name, tool) else {
            continue;
        };
        // It shows a few lines of each host only.
        if matches!(tool, Tool::Pyinfra(_)) {
            continue;
        }
        let Some(took) = report.or_missing(name, one(peers, &tool, lines)) else {
            continue;
        };
        let goal = if tool == Tool::Ssh { SSH } else { ORCHESTRATOR };
        let row = Row::single(
            format!("{lines} lines from one step, stored"),
            ours,
            Unit::Ms,
        );
        report.add([row
            .beside(tool.name(), took)
            .reaching(ToReach::RatioAtMost(goal))]);
    }
    Ok(())
}

/// Milliseconds until all lines are in a file.
fn one(peers: &Peers, tool: &Tool, lines: u64) -> Result<f64> {
    let file = peers.farm.folder.join("lines");
    let run = output::print_command(lines, Duration::ZERO)?;
    let mut command = tool.command(peers, 1, &run)?;
    let out = File::create(&file).context("a file for lines")?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status().context("starting it")?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    ensure!(status.success(), "{}: {status}", tool.name());
    let kept = BufReader::new(File::open(&file).context("its lines")?)
        .split(b'\n')
        .filter(|line| {
            line.as_ref()
                .is_ok_and(|line| line.windows(10).any(|part| part == b"/products/"))
        })
        .count();
    let expected = usize::try_from(lines).context("so many lines")?;
    ensure!(kept == expected, "{kept} of {lines} lines came");
    Ok(took)
}
