//! The machine and the programs, as they stand above the figures.

use std::fmt;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::binaries::Programs;

/// Where and when it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    at: String,
    processor: String,
    cores: usize,
    kernel: String,
    /// Of the minute before: what other programs did.
    load: f64,
    versions: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            processor,
            cores,
            kernel,
            load,
            versions,
        } = self;
        write!(
            f,
            "{at}, {cores} cores ({processor}), Linux {kernel}, load before {load:.2}\n{versions}"
        )
    }
}

impl Machine {
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            at: "2026-01-01T00:00:00Z".to_owned(),
            processor: "a processor".to_owned(),
            cores: 2,
            kernel: "6".to_owned(),
            load: 0.5,
            versions: "mantle 1".to_owned(),
        }
    }
}

/// This machine and these programs, now.
pub(crate) fn describe(programs: &Programs) -> Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let version = |program| -> Result<String> {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .context("asking a program for its version")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(Machine {
        at: jiff::Timestamp::now().strftime("%F %H:%MZ").to_string(),
        processor: processor(&read("/proc/cpuinfo")),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load: load(&read("/proc/loadavg")),
        versions: format!(
            "{}, {}",
            version(&programs.mantle)?,
            version(&programs.tentacle)?
        ),
    })
}

fn processor(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn load(loadavg: &str) -> f64 {
    loadavg
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]

    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A Chip 9\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(processor(cpuinfo), "A Chip 9");
        assert_eq!(processor(""), "unknown");
        assert_eq!(load("0.75 0.80 0.33 1/9 77\n"), 0.75);
        assert_eq!(load(""), 0.0);
    }
}
