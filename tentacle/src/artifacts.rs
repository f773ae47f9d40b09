//! The files that attempts leave behind, until the server has them.
//!
//! ```text
//! <state dir>/artifacts/<attempt>/<digest>
//! ```
//!
//! What holds here: a file under its digest is whole and on the disk itself, for the supervisor says
//! that it is there only then; it stays when the attempt is forgotten, and goes when the server says
//! that it has it, or after thirty days in which nobody asked.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mantle_shared::artifacts::ArtifactRefused;
use mantle_shared::{AttemptId, Digest};

use crate::actions::StopToken;
use crate::durable;
use crate::state_dir::StateDir;

/// How much is copied between two looks at the stop token.
const COPY_BYTES: usize = 256 * 1024;
/// The most that waits for the server on one agent: four attempts that use all that one may have. A
/// server that is away for long must not fill the disk with reports.
const WAITING_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How long a file waits for a server that does not ask: as long as its attempt is remembered.
const KEEP: Duration = Duration::from_hours(30 * 24);
/// What files under way begin with.
const TEMP_PREFIX: &str = "part-";

/// The folder of all of them. Its methods block.
#[derive(Debug, Clone)]
pub struct Artifacts {
    root: PathBuf,
}

/// A file that was put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutAside {
    /// Its size.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// Why a file was not put aside. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum PutAsideError {
    /// It is no file: a folder, a device, a pipe.
    #[error("it is no plain file")]
    NoFile,
    /// It is beyond what may be kept.
    #[error(transparent)]
    Refused(#[from] ArtifactRefused),
    /// Too much waits for the server already.
    #[error(
        "{} GiB of files wait on this agent for its server already",
        WAITING_BYTES >> 30
    )]
    Waiting,
    /// The attempt is being stopped.
    #[error("the step was stopped meanwhile")]
    Stopped,
    /// It could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Artifacts {
    /// In this state directory.
    pub fn at(state_dir: &StateDir) -> Self {
        Self {
            root: state_dir.artifacts(),
        }
    }

    /// Copies a file of at most `room` bytes aside, and brings the copy to the disk. The same bytes
    /// twice are one file.
    pub fn put_aside(
        &self,
        attempt: AttemptId,
        source: &Path,
        room: u64,
        stop: &StopToken,
    ) -> Result<PutAside, PutAsideError> {
        // Opening a pipe would wait for somebody to write into it.
        let size_bytes = match fs::metadata(source)? {
            data if data.is_file() => data.len(),
            _ => return Err(PutAsideError::NoFile),
        };
        if size_bytes > room {
            return Err(too_large(room).into());
        }
        if self.waiting_bytes().saturating_add(size_bytes) > WAITING_BYTES {
            return Err(PutAsideError::Waiting);
        }
        let mut source = File::open(source)?;
        let folder = self.folder(attempt);
        durable::create_private_folder(&folder)?;
        let temp = folder.join(format!("{TEMP_PREFIX}{}", std::process::id()));
        let copied = copy(&mut source, &temp, room, stop).and_then(|aside| {
            durable::rename(&temp, &folder.join(aside.digest.to_string()))?;
            durable::sync_folder(&folder)?;
            durable::sync_folder(&self.root)?;
            Ok(aside)
        });
        if copied.is_err() {
            // What is left of it goes with the attempt's other leftovers.
            let _ = fs::remove_file(&temp);
            let _ = fs::remove_dir(&folder);
        }
        copied
    }

    /// A file from this offset on, and how many bytes follow.
    pub fn open(
        &self,
        attempt: AttemptId,
        digest: &Digest,
        offset: u64,
    ) -> io::Result<(File, u64)> {
        let mut file = File::open(self.folder(attempt).join(digest.to_string()))?;
        let size_bytes = file.metadata()?.len();
        // Beyond its end the server has something else under this name, and starts over.
        let offset = if offset > size_bytes { 0 } else { offset };
        file.seek(SeekFrom::Start(offset))?;
        Ok((file, size_bytes - offset))
    }

    /// Removes a file that the server has. One that is not there is as good as removed.
    pub fn remove(&self, attempt: AttemptId, digest: &Digest) -> io::Result<()> {
        let folder = self.folder(attempt);
        match fs::remove_file(folder.join(digest.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                // Stays while something else is in it.
                let _ = fs::remove_dir(&folder);
                Ok(())
            }
        }
    }

    /// Removes what nobody asked for in thirty days, and what killed supervisors left behind.
    pub fn prune(&self, now: SystemTime) {
        for folder in entries(&self.root) {
            for file in entries(&folder) {
                let written = fs::metadata(&file).and_then(|data| data.modified());
                let old =
                    written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > KEEP));
                if old {
                    tracing::warn!(path = %file.display(), "a collected file was given up: no server asked for it in 30 days");
                    // The next time is another chance.
                    let _ = fs::remove_file(&file);
                }
            }
            let _ = fs::remove_dir(&folder);
        }
    }

    /// How much waits for the server.
    fn waiting_bytes(&self) -> u64 {
        let folders = entries(&self.root);
        let files = folders.flat_map(|folder| entries(&folder));
        let sizes = files.map(|file| fs::metadata(file).map_or(0, |data| data.len()));
        sizes.sum()
    }

    fn folder(&self, attempt: AttemptId) -> PathBuf {
        self.root.join(attempt.to_string())
    }
}

/// What is in a folder; nothing if it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Which limit stands behind this much room.
fn too_large(room: u64) -> ArtifactRefused {
    if room < mantle_shared::artifacts::ARTIFACT_BYTES {
        ArtifactRefused::TooMuch
    } else {
        ArtifactRefused::TooLarge
    }
}

/// Copies to the end, hashing on the way: the file may grow meanwhile.
fn copy(
    source: &mut File,
    temp: &Path,
    room: u64,
    stop: &StopToken,
) -> Result<PutAside, PutAsideError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut target = options.open(temp)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut size_bytes = 0;
    loop {
        stop.check().map_err(|_| PutAsideError::Stopped)?;
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        size_bytes += count as u64;
        if size_bytes > room {
            return Err(too_large(room).into());
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        target.write_all(bytes)?;
    }
    target.sync_all()?;
    Ok(PutAside {
        size_bytes,
        digest: Digest::from(hasher.finalize()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use mantle_shared::artifacts::ARTIFACT_BYTES;
    use mantle_shared::uuid::Uuid;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        artifacts: Artifacts,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::at(dir.path().join("state"));
            let artifacts = Artifacts::at(&state);
            Self { dir, artifacts }
        }

        fn file(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        }

        fn left(&self) -> usize {
            let folders = entries(&self.artifacts.root);
            folders.map(|folder| 1 + entries(&folder).count()).sum()
        }
    }

    fn attempt(n: u128) -> AttemptId {
        AttemptId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn what_is_put_aside_stays_whatever_becomes_of_the_file_and_goes_when_it_is_removed() {
        let place = Place::new();
        let path = place.file("report.xml", b"<report/>");
        let stop = StopToken::new();
        let put = |room| place.artifacts.put_aside(attempt(1), &path, room, &stop);
        let aside = put(100).unwrap();
        assert_eq!(
            (aside.size_bytes, aside.digest),
            (9, Digest::of(b"<report/>"))
        );
        assert_eq!(put(100).unwrap(), aside, "again, it is the same file");
        fs::write(&path, "something else").unwrap();
        let read = |offset| {
            let (mut file, left) = place.artifacts.open(attempt(1), &aside.digest, offset)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok::<_, io::Error>((text, left))
        };
        assert_eq!(read(0).unwrap(), ("<report/>".to_owned(), 9));
        assert_eq!(read(7).unwrap(), ("/>".to_owned(), 2));
        assert_eq!(read(10).unwrap(), ("<report/>".to_owned(), 9));
        place.artifacts.remove(attempt(1), &aside.digest).unwrap();
        place.artifacts.remove(attempt(1), &aside.digest).unwrap();
        assert!(read(0).is_err());
        assert_eq!(place.left(), 0);
    }

    #[test]
    fn what_may_not_be_kept_leaves_nothing() {
        let place = Place::new();
        let path = place.file("dump", &[7; 1000]);
        let stop = StopToken::new();
        let put = |path: &Path, room| place.artifacts.put_aside(attempt(1), path, room, &stop);
        let refused = |room| put(&path, room).unwrap_err().to_string();
        assert!(refused(999).contains("together"), "{}", refused(999));
        assert!(matches!(
            put(place.dir.path(), ARTIFACT_BYTES),
            Err(PutAsideError::NoFile)
        ));
        assert!(matches!(
            put(&place.dir.path().join("not there"), ARTIFACT_BYTES),
            Err(PutAsideError::Io(_))
        ));
        stop.stop();
        assert!(matches!(put(&path, 1000), Err(PutAsideError::Stopped)));
        assert_eq!(place.left(), 0);
    }

    #[test]
    fn what_nobody_asks_for_goes_after_thirty_days() {
        let place = Place::new();
        let path = place.file("a", b"a");
        let stop = StopToken::new();
        place
            .artifacts
            .put_aside(attempt(1), &path, 1, &stop)
            .unwrap();
        let day = Duration::from_hours(24);
        place.artifacts.prune(SystemTime::now() + 29 * day);
        assert_eq!(place.left(), 2);
        place.artifacts.prune(SystemTime::now() + 31 * day);
        assert_eq!(place.left(), 0);
    }
}
