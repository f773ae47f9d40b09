//! Writing a file that is either whole or not there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// Refuses to write over a file unless that is wished.
pub(super) fn must_be_free(to: &Path, force: bool) -> Result<(), Failure> {
    if !to.exists() || force {
        return Ok(());
    }
    let what = format!("{} exists already and is not overwritten", to.display());
    Err(Failure::new(Exit::Refused, what)
        .with_help("choose another name with --to, or add --force"))
}

/// Writes the file beside its name and gives it its name once it is whole.
pub(super) async fn write(
    to: &Path,
    fill: impl AsyncFnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| failed(to, &error);
    let part = part(to);
    let mut file = File::create(&part).map_err(failed)?;
    let written = async {
        fill(&mut file).await?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&part, to).map_err(failed)
    };
    let written = written.await;
    if written.is_err() {
        // Only what came of a file that is not whole is lost.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// That a file cannot be written.
pub(super) fn failed(to: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("cannot write {}", to.display()), error)
}

/// Where a file is until it is whole.
pub(super) fn part(to: &Path) -> PathBuf {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}
