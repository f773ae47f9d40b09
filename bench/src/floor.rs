//! What a no-op costs on this machine whoever orders it: starting the shells, and making two records
//! durable for each target (that it was accepted, that it ended).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::statistics::Samples;

/// Milliseconds that this takes, several times. The first time is cold and does not count.
pub(crate) fn several(times: usize, mut work: impl FnMut() -> Result<()>) -> Result<Samples> {
    let mut samples = Vec::new();
    for _ in 0..=times {
        let begun = Instant::now();
        work()?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples.into_iter().skip(1).collect())
}

/// Starts so many shells that do nothing and waits for all.
pub(crate) fn spawn(count: usize) -> Result<()> {
    let children = (0..count)
        .map(|_| {
            Command::new("sh")
                .args(["-c", "true"])
                .stdin(Stdio::null())
                .spawn()
                .context("starting sh")
        })
        .collect::<Result<Vec<_>>>()?;
    for mut child in children {
        child.wait().context("waiting for sh")?;
    }
    Ok(())
}

/// Appends to so many files and syncs each, twice; all at once, as the targets would.
pub(crate) fn sync_twice(folder: &Path, count: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || append_twice(folder, index)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread that syncs broke down"))??;
        }
        Ok(())
    })
}

fn append_twice(folder: &Path, index: usize) -> Result<()> {
    let path = folder.join(format!("floor-{index}"));
    let open = || -> std::io::Result<()> {
        let mut file = File::options().create(true).append(true).open(&path)?;
        for _ in 0..2 {
            file.write_all(&[b'.'; 256])?;
            file.sync_data()?;
        }
        Ok(())
    };
    open().with_context(|| format!("syncing {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_file_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        sync_twice(folder.path(), 3).unwrap();
        for index in 0..3 {
            let path = folder.path().join(format!("floor-{index}"));
            assert_eq!(std::fs::read(path).unwrap().len(), 512);
        }
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut calls = 0;
        let samples = several(2, || {
            calls += 1;
            spawn(1)
        });
        assert_eq!(calls, 3);
        assert!(samples.unwrap().median() > 0.0);
    }
}
