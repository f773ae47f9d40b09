//! The agent's own log where nobody reads what it prints: a service of Windows has no journal.
//!
//! What must hold: it never takes more than twice [`MOST_BYTES`]; what cannot be written is lost, and never
//! holds the agent up.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::state_dir::StateDir;

/// When it is this long, another is begun, and the one before is kept beside it.
pub const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// So much of its end is looked at for the last lines.
const END_BYTES: u64 = 16 * 1024;

/// The log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    most_bytes: u64,
    open: Option<(File, u64)>,
}

impl LogFile {
    /// The one of an agent.
    pub fn at(state_dir: &StateDir) -> Self {
        Self::of(state_dir.log_file(), MOST_BYTES)
    }

    fn of(path: PathBuf, most_bytes: u64) -> Self {
        Self {
            path,
            most_bytes,
            open: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its last lines, or nothing.
    pub fn last_lines(&self, count: usize) -> String {
        let end = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(END_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = end().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(count);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn ready(&mut self, more: usize) -> io::Result<&mut (File, u64)> {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let full = |length: u64| length > 0 && length.saturating_add(more) > self.most_bytes;
        if self.open.as_ref().is_some_and(|(_, length)| full(*length)) {
            self.open = None;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if self.open.is_none() {
            let mut file = self.append()?;
            if full(file.metadata()?.len()) {
                drop(file);
                fs::rename(&self.path, self.path.with_extension("log.1"))?;
                file = self.append()?;
            }
            let length = file.metadata()?.len();
            self.open = Some((file, length));
        }
        self.open
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(&self.path)
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (file, length) = self.ready(bytes.len())?;
        let written = file.write(bytes)?;
        *length += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some((file, _)) => file.flush(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_log_has_a_bound_and_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tentacle.log");
        let mut log = LogFile::of(path.clone(), 100);
        assert_eq!(log.last_lines(3), "");
        for number in 0..50 {
            writeln!(log, "line {number}").unwrap();
        }
        let length = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(length(&path) <= 100 && length(&path) > 0);
        assert!(length(&path.with_extension("log.1")) <= 100);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(log.last_lines(2), "line 48\nline 49");
        // Another life goes on where it was.
        let before = length(&path);
        let mut log = LogFile::of(path.clone(), 100);
        write!(log, "x").unwrap();
        assert_eq!(length(&path), before + 1);
        // One line that is longer than all of it is kept whole, alone.
        log.write_all(&[b'y'; 300]).unwrap();
        log.write_all(b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
    }
}
