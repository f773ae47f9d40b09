//! Templates on the command line: how long a large one takes, beside the start of the program, and in how
//! much memory.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::binaries::Programs;
use crate::memory::mib;
use crate::report::{Row, ToReach, Unit};
use crate::statistics::Samples;

/// The size of a large template.
const SIZE_BYTES: usize = 10_000_000;
/// How long one with few tags may take: 50 MB/s.
const FEW_TAGS_MS: f64 = 200.0;
/// How often each is rendered.
const TIMES: usize = 5;

/// One rendering.
struct Rendering {
    took_ms: f64,
    peak_bytes: u64,
}

/// Renders large templates.
pub(crate) fn rows(programs: &Programs) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("a folder for templates")?;
    std::fs::write(folder.path().join("variables.json"), r#"{"Name":"web01"}"#)
        .context("the variables")?;
    let nothing = renderings(programs, folder.path(), "")?;
    let start = times(&nothing).median();
    let few = format!(
        "{}#{{Name}}\n",
        "a line of a file without tags\n".repeat(341)
    );
    let few = renderings(programs, folder.path(), &few.repeat(SIZE_BYTES / few.len()))?;
    let many = "#{if Name}#{Name}#{/if}#{Gone}";
    let many = renderings(
        programs,
        folder.path(),
        &many.repeat(SIZE_BYTES / many.len()),
    )?;
    let mut rows = Vec::new();
    for (what, renderings, most_ms) in [
        ("a tag in 10 KiB", few, Some(FEW_TAGS_MS)),
        ("a million tags", many, None),
    ] {
        let row = Row::median(
            format!("a template of 10 MB, {what}"),
            &times(&renderings),
            Unit::Ms,
        )
        .beside("an empty one", start);
        rows.push(match most_ms {
            Some(most) => row.reaching(ToReach::AtMost(most)),
            None => row,
        });
        let peak = renderings
            .iter()
            .map(|rendering| rendering.peak_bytes)
            .max();
        rows.push(
            Row::single(
                format!("a template of 10 MB, {what}, peak memory"),
                mib(peak.unwrap_or(0)),
                Unit::MiB,
            )
            .reaching(ToReach::AtMost(3.0 * mib(SIZE_BYTES as u64))),
        );
    }
    Ok(rows)
}

fn times(renderings: &[Rendering]) -> Samples {
    renderings
        .iter()
        .map(|rendering| rendering.took_ms)
        .collect()
}

fn renderings(programs: &Programs, folder: &Path, text: &str) -> Result<Vec<Rendering>> {
    std::fs::write(folder.join("template.txt"), text).context("the template")?;
    (0..TIMES).map(|_| one(programs, folder)).collect()
}

fn one(programs: &Programs, folder: &Path) -> Result<Rendering> {
    let start = Instant::now();
    let mut child = Command::new(&programs.mantle)
        .args(["template", "render", "--variables", "variables.json"])
        .args(["--template", "template.txt"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting 'mantle'")?;
    let mut result = child.stdout.take().context("its standard output")?;
    let mut piece = vec![0; 1 << 16];
    let mut peak_bytes = 0;
    // While it has something to say it is there to be looked at.
    while result.read(&mut piece).context("reading its result")? > 0 {
        peak_bytes = peak_of(child.id()).unwrap_or(peak_bytes);
    }
    let status = child.wait().context("waiting for it")?;
    if !status.success() {
        bail!("'mantle template render' failed: {status}");
    }
    Ok(Rendering {
        took_ms: start.elapsed().as_secs_f64() * 1e3,
        peak_bytes,
    })
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    peak_in(&status)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::peak_in;

    #[test]
    fn the_peak_is_found_in_what_the_kernel_says() {
        let status = "VmPeak:\t  999 kB\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n";
        assert_eq!(peak_in(status), Some(12 * 1024));
        assert_eq!(peak_in("VmRSS:\t 8 kB\n"), None);
    }
}
