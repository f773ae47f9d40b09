//! What a tool costs: time from its start to its end, and processor time of it and of what it started.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::noop::TICK_MS;
use crate::statistics::Samples;

/// What one tool took, several times.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Milliseconds from its start to its end.
    pub(crate) wall: Samples,
    /// Milliseconds of processor time on the controlling side, each time.
    pub(crate) cpu: f64,
}

/// Runs it so often, after a first time that does not count. `standing` are processes that work for it
/// and stay.
pub(crate) fn several(
    times: usize,
    standing: &[u32],
    mut run: impl FnMut() -> Result<()>,
) -> Result<Cost> {
    run()?;
    let before = own_ms()? + tree_ms(standing)?;
    let mut walls = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        run()?;
        walls.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let spent = own_ms()? + tree_ms(standing)? - before;
    let times = u32::try_from(times).context("how often")?;
    Ok(Cost {
        wall: walls.into_iter().collect(),
        cpu: spent / f64::from(times.max(1)),
    })
}

/// Runs a command whose output counts for nothing.
pub(crate) fn quietly(mut command: Command, what: &str) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("starting {what}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what}: {}: {}",
        output.status,
        said.trim()
    );
    Ok(())
}

/// Processor time of the children that this process waited for.
fn own_ms() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    fields(&stat)
        .map(|(_, _, children)| children * TICK_MS)
        .context("/proc/self/stat says something else than expected")
}

/// Processor time of these processes and of all that they started.
pub(crate) fn tree_ms(roots: &[u32]) -> Result<f64> {
    let all = processes()?;
    Ok(all
        .iter()
        .filter(|(pid, _)| descends(**pid, roots, &all))
        .map(|(_, (_, ticks))| ticks * TICK_MS)
        .sum())
}

/// These processes and all that they started.
pub(crate) fn tree(roots: &[u32]) -> Result<Vec<u32>> {
    let all = processes()?;
    let ours = |pid: &u32| descends(*pid, roots, &all);
    Ok(all.keys().copied().filter(ours).collect())
}

/// All processes: their parent, and their ticks with those of children that they waited for.
fn processes() -> Result<BTreeMap<u32, (u32, f64)>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let name = entry.context("/proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended just now.
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            && let Some((parent, own, children)) = fields(&stat)
        {
            found.insert(pid, (parent, own + children));
        }
    }
    Ok(found)
}

fn descends(mut pid: u32, roots: &[u32], all: &BTreeMap<u32, (u32, f64)>) -> bool {
    // A process has fewer ancestors than there are processes.
    for _ in 0..all.len() {
        if roots.contains(&pid) {
            return true;
        }
        match all.get(&pid) {
            Some((parent, _)) => pid = *parent,
            None => return false,
        }
    }
    false
}

/// Its parent, its own ticks, and those of children that it waited for.
fn fields(stat: &str) -> Option<(u32, f64, f64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok().map(f64::from);
    let parent = fields.get(1)?.parse().ok()?;
    Some((parent, ticks(11)? + ticks(12)?, ticks(13)? + ticks(14)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    #[test]
    fn a_stat_is_read_beside_a_name_with_brackets() {
        let stat = "77 (a) b) S 12 77 77 0 -1 4194304 100 200 0 0 5 3 20 10 20 0 4 0 1000";
        assert_eq!(fields(stat), Some((12, 8.0, 30.0)));
        assert_eq!(fields("77 (a) S 1 2"), None);
    }

    #[test]
    fn descendants_count_and_others_do_not() {
        let all = BTreeMap::from([(2, (1, 1.0)), (3, (2, 1.0)), (4, (3, 1.0)), (5, (1, 1.0))]);
        assert!(descends(4, &[2], &all) && descends(2, &[2], &all));
        assert!(!descends(5, &[2], &all) && !descends(9, &[2], &all));
    }

    #[test]
    fn the_first_time_does_not_count_and_work_costs() {
        let mut calls = 0;
        let cost = several(2, &[], || {
            calls += 1;
            let mut command = Command::new("sh");
            command.args(["-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"]);
            quietly(command, "a loop")
        })
        .unwrap();
        assert_eq!(calls, 3);
        assert!(cost.cpu > 0.0 && cost.wall.median() > 0.0);
        let mut command = Command::new("sh");
        command.args(["-c", "echo why >&2; exit 1"]);
        assert!(
            quietly(command, "it")
                .unwrap_err()
                .to_string()
                .contains("why")
        );
    }
}
