//! A step that does nothing, through the real thing: order, journal, supervisor, shell, spool, result,
//! acknowledgement, commit.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::floor;
use crate::report::{Row, ToReach, Unit};
use crate::rig::{Process, Rig};
use crate::statistics::Samples;

/// Three times what the machine itself needs. The best of the others, shells over ssh connections that
/// are open already, takes seven times.
const RATIO: f64 = 3.0;

/// In what the kernel counts processor time for `/proc`, whatever its own clock is.
pub(crate) const TICK_MS: f64 = 10.0;

/// What one no-op took, in milliseconds.
struct Run {
    /// From the command to its end.
    command: f64,
    /// From the request's arrival to the commit of the task's end.
    server: f64,
}

/// Deploys a no-op to so many agents at once, so often.
pub(crate) fn rows(rig: &mut Rig, agents: usize, times: usize) -> Result<Vec<Row>> {
    let project = format!("noop-{agents}");
    prepare(rig, &project, agents)?;
    // The first one is cold.
    one(rig, &project)?;
    let cpu_before = Cpu::of(rig)?;
    let runs = (0..times)
        .map(|_| one(rig, &project))
        .collect::<Result<Vec<_>>>()?;
    let cpu_after = Cpu::of(rig)?;
    let spawn = floor::several(times, || floor::spawn(agents))?.median();
    let folder = rig.folder().to_owned();
    let sync = floor::several(times, || floor::sync_twice(&folder, agents))?.median();
    let server: Samples = runs.iter().map(|run| run.server).collect();
    let command: Samples = runs.iter().map(|run| run.command).collect();
    let label = match agents {
        1 => "no-op on 1 agent".to_owned(),
        count => format!("no-op on {count} agents"),
    };
    let targets = as_f64(agents) * as_f64(times);
    Ok(vec![
        Row::median(&label, &server, Unit::Ms)
            .beside("start shells, 2 syncs each", spawn + sync)
            .reaching(ToReach::RatioAtMost(RATIO)),
        Row::median(format!("{label}, shells alone"), &server, Unit::Ms)
            .beside("start shells", spawn),
        Row::median(
            format!("{label}, as the command sees it"),
            &command,
            Unit::Ms,
        ),
        Row::single(
            format!("{label}, CPU of the server for each"),
            (cpu_after.server - cpu_before.server) / targets,
            Unit::Ms,
        ),
        Row::single(
            format!("{label}, CPU of agent and supervisor for each"),
            (cpu_after.agents - cpu_before.agents) / targets,
            Unit::Ms,
        ),
    ])
}

/// Makes a project of this name with release 1.0, a no-op on so many agents at once.
pub(crate) fn prepare(rig: &Rig, project: &str, agents: usize) -> Result<()> {
    rig.apply(project, &project_file(project, agents))?;
    rig.run(&["release", "create", project, "1.0"]).map(drop)
}

#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

pub(crate) fn project_file(project: &str, agents: usize) -> String {
    format!(
        "mantle: v1
project: {project}
lifecycle: bench
process:
  - step: nothing
    targets: {{ tag: first-{agents} }}
    max_parallel: {agents}
    uses: script
    with: {{ shell: sh, run: \"true\" }}
"
    )
}

fn one(rig: &Rig, project: &str) -> Result<Run> {
    let begun = std::time::Instant::now();
    let task = rig.deploy(project, "1.0")?;
    let command = begun.elapsed().as_secs_f64() * 1e3;
    let server = between(&task, "/created_at", &task, "/ended_at")?;
    Ok(Run { command, server })
}

/// Milliseconds from one time to the other.
pub(crate) fn between(from: &Value, start: &str, to: &Value, end: &str) -> Result<f64> {
    let at = |value: &Value, pointer: &str| -> Result<Timestamp> {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("no time at {pointer} in {value}"))
    };
    let span = at(to, end)?.duration_since(at(from, start)?);
    Ok(span.as_secs_f64() * 1e3)
}

/// Milliseconds of processor time since the start.
struct Cpu {
    server: f64,
    /// With the children that they waited for: supervisors, and their shells.
    agents: f64,
}

impl Cpu {
    fn of(rig: &Rig) -> Result<Self> {
        Ok(Self {
            server: cpu_ms(rig.server())?,
            agents: rig.agents().iter().map(cpu_ms).sum::<Result<f64>>()?,
        })
    }
}

pub(crate) fn cpu_ms(process: &Process) -> Result<f64> {
    let path = format!("/proc/{}/stat", process.pid());
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    ticks(&stat)
        .map(|ticks| ticks * TICK_MS)
        .with_context(|| format!("{path} says something else than expected"))
}

/// Its own ticks, and those of children that it waited for.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52 ticks")]
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // utime, stime, cutime, cstime: the 14th to 17th, of which the first two stand before the bracket.
    fields
        .get(11..15)?
        .iter()
        .map(|field| field.parse::<u64>().ok().map(|ticks| ticks as f64))
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    #[test]
    fn processor_time_is_read_beside_a_name_with_brackets() {
        let stat = "77 (a) b) S 1 77 77 0 -1 4194304 100 200 0 0 5 3 20 10 20 0 4 0 1000";
        assert_eq!(ticks(stat), Some(38.0));
        assert_eq!(ticks("77 (a) S 1 2"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn time_between_two_moments_is_in_milliseconds() {
        let task = serde_json::json!({
            "created_at": "2026-01-01T00:00:00.5Z",
            "ended_at": "2026-01-01T00:00:02.625Z",
        });
        assert_eq!(
            between(&task, "/created_at", &task, "/ended_at").unwrap(),
            2125.0
        );
        assert!(between(&task, "/created_at", &task, "/started_at").is_err());
    }
}
