//! What processes hold in memory, by the kernel's word: idle, by the number of agents, and after work.
//!
//! RSS counts pages of files that other processes share; PSS divides those among them; what is
//! anonymous is a process's own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::report::{Row, ToReach, Unit};
use crate::rig::{Process, Rig};
use crate::statistics::Samples;

/// An agent is a guest on every target.
const AGENT_MIB: f64 = 15.0;
/// How long a server's memory must stay the same to count as idle, and how long it may take.
const QUIET: Duration = Duration::from_secs(1);
const QUIET_DEADLINE: Duration = Duration::from_secs(15);
/// A change below this is none.
const SAME_BYTES: u64 = 256 * 1024;

/// Bytes as MiB.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    rss_bytes: u64,
    pss_bytes: u64,
    anonymous_bytes: u64,
}

impl Usage {
    fn of(process: &Process) -> Result<Self> {
        let path = format!("/proc/{}/smaps_rollup", process.pid());
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        Self::parse(&text).with_context(|| format!("{path} says something else than expected"))
    }

    fn parse(rollup: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = rollup
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let count: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            count.checked_mul(1024)
        };
        Some(Self {
            rss_bytes: bytes("Rss")?,
            pss_bytes: bytes("Pss")?,
            anonymous_bytes: bytes("Anonymous")?,
        })
    }
}

/// The most that a process has held since it began.
pub(crate) fn peak_bytes(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/status", process.pid());
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    peak(&text).with_context(|| format!("{path} says something else than expected"))
}

fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

/// The server's memory by the number of agents, and that of agents which did nothing yet.
#[derive(Debug)]
pub(crate) struct Idle {
    /// The server's RSS with so many agents.
    server: Vec<(usize, u64)>,
    agents: Vec<Usage>,
}

impl Idle {
    /// Looks at a server without agents.
    pub(crate) fn begin(rig: &mut Rig) -> Result<Self> {
        let mut idle = Self {
            server: Vec::new(),
            agents: Vec::new(),
        };
        idle.look(rig)?;
        Ok(idle)
    }

    /// Looks again, with the agents that there are now.
    pub(crate) fn look(&mut self, rig: &mut Rig) -> Result<()> {
        let server = settled(rig.server())?;
        self.server.push((rig.agents().len(), server));
        self.agents = usages(rig)?;
        Ok(())
    }

    /// The rows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let limit = ToReach::Limit(AGENT_MIB);
        let mut rows = agent_rows("an idle agent", &self.agents, limit);
        for (agents, rss) in &self.server {
            let figure = format!("the idle server with {agents} agents, RSS");
            rows.push(Row::single(figure, mib(*rss), Unit::MiB));
        }
        if let Some(each) = each_kib(&self.server) {
            rows.push(Row::single(
                "the idle server, for each agent",
                each,
                Unit::KiB,
            ));
        }
        rows
    }
}

/// The growth from the first look with agents to the last, for each agent that came. The first agents
/// pay for what all use, so a server without any is no place to start from.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn each_kib(server: &[(usize, u64)]) -> Option<f64> {
    let (first, from) = server.iter().find(|(agents, _)| *agents > 0)?;
    let (last, to) = server.last()?;
    (last > first).then(|| (*to as f64 - *from as f64) / 1024.0 / (*last as f64 - *first as f64))
}

/// Agents and server after all that was measured.
pub(crate) fn after_work(rig: &Rig) -> Result<Vec<Row>> {
    let server = settled(rig.server())?;
    let goal = ToReach::AtMost(AGENT_MIB);
    let mut rows = agent_rows("an agent after all of this", &usages(rig)?, goal);
    rows.push(Row::single(
        "the server after all of this, RSS",
        mib(server),
        Unit::MiB,
    ));
    Ok(rows)
}

/// Of all agents the largest counts: a limit holds for each.
fn agent_rows(which: &str, agents: &[Usage], to_reach: ToReach) -> Vec<Row> {
    let all = |bytes: fn(&Usage) -> u64| -> Samples {
        agents.iter().map(|usage| mib(bytes(usage))).collect()
    };
    let rss = all(|usage| usage.rss_bytes);
    let (_, largest) = rss.spread();
    vec![
        Row::single(format!("{which}, RSS of the largest"), largest, Unit::MiB).reaching(to_reach),
        Row::median(format!("{which}, RSS"), &rss, Unit::MiB),
        Row::median(
            format!("{which}, PSS"),
            &all(|usage| usage.pss_bytes),
            Unit::MiB,
        ),
        Row::median(
            format!("{which}, anonymous"),
            &all(|usage| usage.anonymous_bytes),
            Unit::MiB,
        ),
    ]
}

fn usages(rig: &Rig) -> Result<Vec<Usage>> {
    rig.agents().iter().map(Usage::of).collect()
}

/// RSS once it stays the same.
pub(crate) fn settled(process: &Process) -> Result<u64> {
    let begun = Instant::now();
    let mut before = Usage::of(process)?.rss_bytes;
    loop {
        std::thread::sleep(QUIET);
        let now = Usage::of(process)?.rss_bytes;
        if now.abs_diff(before) <= SAME_BYTES || begun.elapsed() >= QUIET_DEADLINE {
            return Ok(now);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]

    use super::*;

    #[test]
    fn a_peak_is_read() {
        let status = "Name:\tmantle\nVmPeak:\t  900 kB\nVmHWM:\t  12 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(peak(status), Some(12 * 1024));
        assert_eq!(peak("Name:\tmantle\n"), None);
    }

    #[test]
    fn the_kernels_rollup_is_read() {
        let rollup = "55e1-7ffc ---p 00000000 00:00 0  [rollup]
Rss:               10240 kB
Pss:                2048 kB
Pss_Anon:           1024 kB
Anonymous:          1000 kB
";
        assert_eq!(
            Usage::parse(rollup),
            Some(Usage {
                rss_bytes: 10 << 20,
                pss_bytes: 2 << 20,
                anonymous_bytes: 1_024_000,
            })
        );
        assert_eq!(Usage::parse("Rss: 1 kB\n"), None);
        assert_eq!(
            Usage::parse("Rss: many\nPss: 1 kB\nAnonymous: 1 kB\n"),
            None
        );
    }

    #[test]
    fn an_agents_share_of_the_server_is_what_each_added() {
        let kib = |count: u64| count * 1024;
        let looks = [
            (0, kib(500)),
            (1, kib(900)),
            (20, kib(1000)),
            (51, kib(2900)),
        ];
        assert_eq!(each_kib(&looks), Some(40.0));
        assert_eq!(each_kib(&looks[..2]), None);
        assert_eq!(each_kib(&looks[..1]), None);
    }
}
