//! A package to one agent that has nothing of it: fetched, verified, kept and installed by a real
//! deployment, beside a bare QUIC connection that carries as many bytes.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::noop::between;
use crate::payload;
use crate::quinn_limit::{self, Use};
use crate::report::{Row, ToReach, Unit};
use crate::rig::Rig;
use crate::statistics::Samples;

/// Of a bare connection whose bytes are checked and written too.
const RATIO: f64 = 0.55;
/// The deployments' project.
const PROJECT: &str = "push";

/// Where the time of a push went, in milliseconds.
pub(crate) struct Push {
    /// From the begin of the deployment until all chunks are on the agents' disks, verified.
    pub(crate) acquired: f64,
    /// From there until the files are in their folder.
    installed: f64,
}

/// Pushes packages of this size, each of other bytes.
pub(crate) fn rows(rig: &mut Rig, size_bytes: usize, times: usize) -> Result<Vec<Row>> {
    prepare(rig, PROJECT, 1)?;
    // A version more than is counted: the first one is cold.
    let mut pushes = Vec::new();
    for number in 0..=times {
        pushes.push(one(rig, PROJECT, number, size_bytes)?);
    }
    pushes.remove(0);
    let rate = |took_ms: f64| mb(size_bytes) / (took_ms / 1e3);
    let acquired: Samples = pushes.iter().map(|push| rate(push.acquired)).collect();
    let whole: Samples = pushes
        .iter()
        .map(|push| rate(push.acquired + push.installed))
        .collect();
    let bare = |what| -> Result<f64> {
        let samples: Samples = quinn_limit::receive(rig.folder(), size_bytes, times + 1, what)?
            .into_iter()
            .skip(1)
            .map(rate)
            .collect();
        Ok(samples.median())
    };
    let dropped = bare(Use::Drop)?;
    let kept = bare(Use::VerifyAndWrite)?;
    let label = format!(
        "{:.0} MiB to 1 agent",
        crate::memory::mib(size_bytes as u64)
    );
    Ok(vec![
        Row::median(format!("{label}, in its cache"), &acquired, Unit::MbPerS)
            .beside("bare QUIC, checked and written", kept)
            .reaching(ToReach::RatioAtLeast(RATIO)),
        Row::median(
            format!("{label}, in its cache, beside memory alone"),
            &acquired,
            Unit::MbPerS,
        )
        .beside("bare QUIC to memory", dropped),
        Row::median(format!("{label}, installed"), &whole, Unit::MbPerS)
            .beside("bare QUIC, checked and written", kept),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// Makes a project of this name that installs its own package on so many agents at once.
pub(crate) fn prepare(rig: &Rig, project: &str, agents: usize) -> Result<()> {
    let text = format!(
        "mantle: v1
project: {project}
lifecycle: bench
packages: [{{ id: {project} }}]
version: {{ package: {project} }}
process:
  - step: install
    targets: {{ tag: first-{agents} }}
    max_parallel: {agents}
    uses: package
    with: {{ package: {project}, keep: 1 }}
"
    );
    rig.apply(project, &text)
}

/// Installs the next package of such a project, of bytes that nobody has.
pub(crate) fn one(rig: &Rig, project: &str, number: usize, size_bytes: usize) -> Result<Push> {
    let version = format!("1.{number}");
    let archive = rig.folder().join(format!("{project}.{version}.tar.gz"));
    payload::pack(&archive, &payload::bytes(number as u64, size_bytes))?;
    rig.run(&["package", "push", &archive.display().to_string()])?;
    std::fs::remove_file(&archive).context("an archive that was pushed")?;
    rig.run(&["release", "create", project, &version])?;
    // What was written so far must not be written back while others are timed.
    rustix::fs::sync();
    times(&rig.deploy(project, &version)?)
}

/// Packages come before steps, so the begin of the first action is the end of the acquisition.
fn times(task: &Value) -> Result<Push> {
    let action = task
        .pointer("/steps/0/targets/0/actions/0")
        .with_context(|| format!("no action in {task}"))?;
    Ok(Push {
        acquired: between(task, "/started_at", action, "/started_at")?,
        installed: between(action, "/started_at", task, "/ended_at")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    #[test]
    fn a_push_is_taken_apart_at_the_start_of_its_action() {
        let task = serde_json::json!({
            "started_at": "2026-01-01T00:00:00Z",
            "ended_at": "2026-01-01T00:00:03Z",
            "steps": [{ "targets": [{ "actions": [{ "started_at": "2026-01-01T00:00:02Z" }] }] }],
        });
        let push = times(&task).unwrap();
        assert_eq!((push.acquired, push.installed), (2000.0, 1000.0));
        assert!(times(&serde_json::json!({ "steps": [] })).is_err());
    }
}
