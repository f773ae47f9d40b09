//! Many agents at once: what each costs the server, how fast they come back after it was killed, and what a
//! step that does nothing takes on a thousand of them.
//!
//! The agents are of one process, `mantle-swarm`: own identities, real QUIC, the agent's own brain and
//! journal, synced. They run nothing, so these figures are of the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::memory::{mib, settled};
use crate::noop::{self, cpu_ms};
use crate::report::{Row, ToReach, Unit};
use crate::rig::Rig;
use crate::statistics::Samples;

/// What an idle agent may take of the server's memory.
const AGENT_KIB: f64 = 64.0;
/// For all to be back.
const BACK_MS: f64 = 60_000.0;
/// A step that does nothing, on a thousand.
const NOOP_MS: f64 = 1000.0;
/// How much more a target may cost among a thousand than among ten.
const FLAT: f64 = 1.5;
/// How long the resting server is watched.
const REST: Duration = Duration::from_secs(10);
/// Agents of one address: a server limits what comes from one.
const AN_ADDRESS: usize = 500;
/// For all to join or to come back, beside what each may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    /// How many agents.
    pub(crate) agents: usize,
    /// On how many of them a step runs, ascending.
    pub(crate) groups: &'static [usize],
    /// How often.
    pub(crate) times: usize,
}

/// Measures all of it on a server of its own.
pub(crate) fn rows(rig: &mut Rig, extent: &Extent) -> Result<Vec<Row>> {
    let agents = extent.agents;
    let patience = PATIENCE + Duration::from_millis(20) * u32::try_from(agents).unwrap_or(u32::MAX);
    let before = settled(rig.server())?;
    let begun = Instant::now();
    let mut swarm = rig.swarm(&options(extent))?;
    swarm.wait("all agents have joined", patience, |now| {
        now.joined == agents
    })?;
    let joining = begun.elapsed();
    swarm.wait("all agents are connected", patience, |now| {
        now.connected == agents
    })?;
    let idle = settled(rig.server())?;
    let each = mib(idle.saturating_sub(before)) * 1024.0 / as_f64(agents);
    let label = format!("{agents} agents of a swarm");
    let mut rows = vec![
        Row::single(
            format!("{label}, joining"),
            as_f64(agents) / joining.as_secs_f64(),
            Unit::PerS,
        ),
        Row::single(format!("{label}, the server's RSS"), mib(idle), Unit::MiB),
        Row::single(
            format!("{label}, the server's memory for each"),
            each,
            Unit::KiB,
        )
        .reaching(ToReach::AtMost(AGENT_KIB)),
        Row::single(
            format!("{label}, the server's processor at rest"),
            rest(rig)?,
            Unit::Percent,
        ),
    ];
    for group in extent.groups {
        rows.extend(noop_rows(rig, *group, extent.times, smallest(&rows))?);
    }
    rows.extend(back(rig, &mut swarm, &label, patience)?);
    swarm.stop()?;
    Ok(rows)
}

/// How `mantle-swarm` is started.
fn options(extent: &Extent) -> Vec<String> {
    let mut options = vec!["--agents".to_owned(), extent.agents.to_string()];
    for group in extent.groups {
        options.extend(["--first".to_owned(), group.to_string()]);
    }
    for address in 1..=extent.agents.div_ceil(AN_ADDRESS) {
        options.extend(["--from".to_owned(), format!("127.0.0.{address}")]);
    }
    options
}

/// The share of a core that the server takes while nothing happens, in per cent.
fn rest(rig: &Rig) -> Result<f64> {
    let before = cpu_ms(rig.server())?;
    let begun = Instant::now();
    std::thread::sleep(REST);
    let spent = cpu_ms(rig.server())? - before;
    Ok(spent / begun.elapsed().as_secs_f64() / 10.0)
}

/// The server's processor time for each target of the smallest group, if that was measured.
fn smallest(rows: &[Row]) -> Option<f64> {
    rows.iter()
        .find(|row| row.figure().contains("for each target"))
        .map(Row::value)
}

fn noop_rows(rig: &Rig, targets: usize, times: usize, smallest: Option<f64>) -> Result<Vec<Row>> {
    let project = format!("swarm-{targets}");
    rig.apply(&project, &noop::project_file(&project, targets))?;
    rig.run(&["release", "create", &project, "1.0"])?;
    // The first one is cold.
    one(rig, &project)?;
    let before = cpu_ms(rig.server())?;
    let runs = (0..times)
        .map(|_| one(rig, &project))
        .collect::<Result<Vec<_>>>()?;
    let each = (cpu_ms(rig.server())? - before) / as_f64(times) / as_f64(targets);
    let command: Samples = runs.iter().map(|run| run.0).collect();
    let server: Samples = runs.iter().map(|run| run.1).collect();
    let label = format!("no-op on {targets} of a swarm, server only");
    let whole = Row::median(
        format!("{label}, as the command sees it"),
        &command,
        Unit::Ms,
    )
    .reaching(ToReach::AtMost(NOOP_MS));
    let cost = Row::single(
        format!("{label}, CPU of the server for each target"),
        each,
        Unit::Ms,
    );
    let cost = match smallest {
        Some(least) => cost
            .beside("on the smallest number", least)
            .reaching(ToReach::RatioAtMost(FLAT)),
        None => cost,
    };
    Ok(vec![Row::median(&label, &server, Unit::Ms), whole, cost])
}

/// A deployment, in milliseconds: from the command to its end, and from the request's arrival to the
/// commit of the task's end.
fn one(rig: &Rig, project: &str) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let task: Value = rig.deploy(project, "1.0")?;
    let command = begun.elapsed().as_secs_f64() * 1e3;
    let server = noop::between(&task, "/created_at", &task, "/ended_at")?;
    Ok((command, server))
}

/// The server is killed and started again: how long until all are back.
fn back(
    rig: &mut Rig,
    swarm: &mut crate::rig::Swarm,
    label: &str,
    patience: Duration,
) -> Result<Vec<Row>> {
    let all = swarm.now().context("the swarm has said nothing")?;
    let before = all.connects;
    let killed_us = jiff::Timestamp::now().as_microsecond();
    rig.kill_and_restart()?;
    swarm.wait("all agents are back", patience, |now| {
        now.connects >= before + all.connected && now.connected == all.connected
    })?;
    let said = swarm.said();
    let back: Vec<_> = said.iter().filter(|now| now.connects > before).collect();
    let last_us = back.last().context("nobody came back")?.at_us;
    let first_us = back.first().context("nobody came back")?.at_us;
    ensure!(last_us >= first_us, "the clock was set back");
    let most = back
        .iter()
        .map(|from| {
            let within = back
                .iter()
                .filter(|to| to.at_us >= from.at_us && to.at_us < from.at_us + 1_000_000);
            let last = within.map(|to| to.connects).max().unwrap_or(from.connects);
            last - from.connects
        })
        .max()
        .unwrap_or_default();
    let after =
        |at_us: i64| Duration::from_micros(at_us.saturating_sub(killed_us).max(0).unsigned_abs());
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(vec![
        Row::single(
            format!("{label}, all back after the server was killed"),
            ms(after(last_us)),
            Unit::Ms,
        )
        .reaching(ToReach::AtMost(BACK_MS)),
        Row::single(
            format!("{label}, most taken in within a second"),
            as_f64(most),
            Unit::PerS,
        ),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
