//! From a cancel to no process left, also while the same agent is brought a large package.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::output::number_of;
use crate::payload;
use crate::report::{Row, ToReach, Unit};
use crate::rig::{ENVIRONMENT, Rig};
use crate::statistics::Samples;

/// What a step is given between the request to stop and the kill.
const GRACE_MS: f64 = 200.0;
/// What a cancel may take beyond that.
const CANCEL_MS: f64 = 2_000.0;
/// How often a sample during a push is tried before the machine is too fast for the package.
const TRIES: usize = 5;
/// Debug builds on a busy machine too.
const DEADLINE: Duration = Duration::from_mins(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cancels {
    /// Cancels of an agent that does nothing else.
    pub(crate) alone: usize,
    /// Cancels during a push.
    pub(crate) pushing: usize,
    /// The size of what is pushed.
    pub(crate) package_bytes: usize,
    /// Options of the server: a small package is held to a pace at which it takes a while.
    pub(crate) server: &'static [&'static str],
}

/// Measures on the first agent.
pub(crate) fn rows(rig: &Rig, extent: Cancels) -> Result<Vec<Row>> {
    let marker = rig.folder().join("stubborn.pid");
    rig.apply("stubborn", &stubborn(&marker))?;
    rig.run(&["release", "create", "stubborn", "1.0"])?;
    rig.apply("cargo", CARGO)?;
    let alone = (0..extent.alone)
        .map(|_| one(rig, &marker))
        .collect::<Result<Samples>>()?;
    let mut pushing = Vec::new();
    for number in 0..extent.pushing {
        pushing.push(while_pushing(rig, &marker, number, extent.package_bytes)?);
    }
    let pushing: Samples = pushing.into_iter().collect();
    let mib = crate::memory::mib(extent.package_bytes as u64);
    let row = |label: String, samples: &Samples| {
        [
            Row::median(label.clone(), samples, Unit::Ms),
            Row::single(format!("{label}, p99"), samples.percentile(99), Unit::Ms)
                .reaching(ToReach::AtMost(CANCEL_MS + GRACE_MS)),
        ]
    };
    let label = format!("a cancel to no process left, of it {GRACE_MS:.0} ms grace");
    let during = format!("{label}, during a push of {mib:.0} MiB");
    Ok([row(label, &alone), row(during, &pushing)].concat())
}

/// A step whose processes do not listen to a request to stop.
fn stubborn(marker: &Path) -> String {
    let run = format!(
        "trap '' TERM; sleep 600 & echo $$ $! > '{0}.new'; mv '{0}.new' '{0}'; wait; sleep 600",
        marker.display()
    );
    format!(
        "mantle: v1
project: stubborn
lifecycle: bench
process:
  - step: stay
    targets: {{ tag: first-1 }}
    uses: script
    grace: {GRACE_MS:.0}ms
    locks: []
    with: {{ shell: sh, run: {} }}
",
        Value::from(run)
    )
}

const CARGO: &str = "mantle: v1
project: cargo
lifecycle: bench
packages: [{ id: Cargo }]
version: { package: Cargo }
process:
  - step: install
    targets: { tag: first-1 }
    uses: package
    with: { package: Cargo, keep: 1 }
";

/// Milliseconds from the command to cancel until none of the step's processes is there.
fn one(rig: &Rig, marker: &Path) -> Result<f64> {
    let (task, processes) = started(rig, marker)?;
    cancelled(rig, &task, &processes)
}

fn started(rig: &Rig, marker: &Path) -> Result<(String, Vec<PathBuf>)> {
    // Left by the one before.
    let _ = std::fs::remove_file(marker);
    let args = ["deploy", "stubborn", "1.0", "-e", ENVIRONMENT, "--detach"];
    let task = number_of(&rig.json(&args)?)?;
    let said = until("the step runs", || Ok(std::fs::read_to_string(marker).ok()))?;
    let processes = said
        .split_whitespace()
        .map(|pid| Path::new("/proc").join(pid))
        .collect();
    Ok((task, processes))
}

/// Whether a process is there and runs: one that is dead and not yet waited for does not.
fn is_alive(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with('Z'))
}

/// Cancels it and waits until its processes are gone; milliseconds.
fn cancelled(rig: &Rig, task: &str, processes: &[PathBuf]) -> Result<f64> {
    ensure!(
        processes.iter().all(|process| is_alive(process)),
        "the step ended before it was cancelled"
    );
    let begun = Instant::now();
    rig.run(&["task", "cancel", task])?;
    until("the step's processes are gone", || {
        let left = processes.iter().any(|process| is_alive(process));
        Ok((!left).then_some(()))
    })?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// The same, typed while a package is on its way to the agent.
fn while_pushing(rig: &Rig, marker: &Path, number: usize, size_bytes: usize) -> Result<f64> {
    for try_number in 0..TRIES {
        let version = format!("1.{number}.{try_number}");
        let archive = rig.folder().join(format!("Cargo.{version}.tar.gz"));
        let seed = (number * TRIES + try_number) as u64 + 1_000_000;
        payload::pack(&archive, &payload::bytes(seed, size_bytes))?;
        rig.run(&["package", "push", &archive.display().to_string()])?;
        std::fs::remove_file(&archive).context("an archive that was pushed")?;
        rig.run(&["release", "create", "cargo", &version])?;
        let (task, processes) = started(rig, marker)?;
        let args = ["deploy", "cargo", &version, "-e", ENVIRONMENT, "--detach"];
        let push = number_of(&rig.json(&args)?)?;
        // Queued is not under way: on a busy machine it may be a while until its turn comes.
        rig.wait_begun(&push)?;
        let typed_at = Timestamp::now();
        let took = cancelled(rig, &task, &processes)?;
        if was_under_way(&rig.wait(&push)?, typed_at)? {
            return Ok(took);
        }
    }
    anyhow::bail!(
        "the package was with the agent before the cancel was typed, {TRIES} times: it is too small for this machine"
    )
}

/// Whether the package of a deployment was on its way at this moment. Packages come before steps: once an
/// action has begun, they are all there.
fn was_under_way(task: &Value, moment: Timestamp) -> Result<bool> {
    let at = |pointer: &str| -> Result<Timestamp> {
        let text = task.pointer(pointer).and_then(Value::as_str);
        let at = text.and_then(|text| text.parse().ok());
        at.with_context(|| format!("no time at {pointer} in {task}"))
    };
    let acquired = at("/steps/0/targets/0/actions/0/started_at")?;
    Ok((at("/started_at")?..acquired).contains(&moment))
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            DEADLINE.as_secs()
        );
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_is_not_there_is_not() {
        assert!(is_alive(Path::new("/proc/self")));
        assert!(!is_alive(Path::new("/proc/none")));
    }

    #[test]
    fn a_package_is_on_its_way_until_an_action_has_begun() {
        let task = serde_json::json!({
            "started_at": "2026-01-01T00:00:01Z",
            "steps": [{ "targets": [{ "actions": [{ "started_at": "2026-01-01T00:00:03Z" }] }] }],
        });
        for (second, expected) in [(0, false), (2, true), (3, false)] {
            let moment = format!("2026-01-01T00:00:0{second}Z").parse().unwrap();
            assert_eq!(was_under_way(&task, moment).unwrap(), expected, "{second}");
        }
        assert!(was_under_way(&serde_json::json!({}), Timestamp::now()).is_err());
    }
}
