//! The files by which agent and supervisor meet in an attempt's folder, over restarts of either.
//!
//! - `attempt.json`: which attempt this is, written before the journal knows of it. Where it is, the
//!   folder is the one that was prepared.
//! - `claim`: who owns the attempt. Written once, by the supervisor before it does anything, or by an
//!   agent that makes sure that no supervisor ever will (a *voiding* claim).
//! - `cancel`: the agent wants it stopped. `cancel.room` is room for it on a full disk, and becomes it.
//! - `result.json`: how it ended; its presence means that the spool is complete.
//! - `reserve`: room for the result on a full disk.
//!
//! Each is put in place whole, and carries a format number.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use mantle_shared::fault;
use mantle_shared::lock::Lock;
use mantle_shared::protocol::AttemptEnd;
use mantle_shared::{AttemptId, Digest, TaskId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Privacy};
use crate::output::spool;
use crate::process::ProcessIdentity;

/// The format that this build writes.
const FORMAT: u32 = 1;
/// Room for a result with a long message.
const RESERVE_BYTES: usize = 16 * 1024;
/// Room for a cancel.
const CANCEL_BYTES: usize = 128;

/// The folder in which the action works.
pub const WORK_DIR: &str = "work";
/// The folder for files that may hold secrets; removed at the end.
pub const PRIVATE_DIR: &str = "private";
/// What the supervisor itself complains about.
pub const SUPERVISOR_LOG: &str = "supervisor.log";
const FACTS: &str = "attempt.json";
const CLAIM: &str = "claim";
const CANCEL: &str = "cancel";
const CANCEL_ROOM: &str = "cancel.room";
const RESULT: &str = "result.json";
const RESERVE: &str = "reserve";

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    content: T,
}

/// Which attempt a folder belongs to, as its order said: what a lost journal is made good from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// The epoch of the order.
    pub epoch: u64,
    /// The digest of the order's bytes.
    pub payload: Digest,
    /// What the attempt holds while it lives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
}

/// Who owns an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum Claim {
    /// This supervisor.
    Supervisor {
        /// The process.
        process: ProcessIdentity,
    },
    /// Nobody, for ever: the attempt was not started.
    Void,
}

/// A wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelFile {
    /// How long processes have between the request to stop and the kill.
    pub grace_ms: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// The attempt, so that a folder copied elsewhere is noticed.
    pub attempt: AttemptId,
    /// The end.
    pub end: AttemptEnd,
}

/// Makes the folder of an attempt, with room set aside for a cancel and for its result.
pub fn prepare(dir: &Path) -> io::Result<()> {
    durable::create_private_folder(dir)?;
    for (name, bytes) in [(RESERVE, RESERVE_BYTES), (CANCEL_ROOM, CANCEL_BYTES)] {
        if !dir.join(name).exists() {
            // The write itself takes the room; after a power cut there is no supervisor to use it.
            durable::write_scratch(&dir.join(name), &vec![0x5a; bytes])?;
        }
    }
    if let Some(parent) = dir.parent() {
        durable::sync_folder(parent)?;
    }
    Ok(())
}

/// Writes down whose folder this is.
pub fn write_facts(dir: &Path, facts: &Facts) -> io::Result<()> {
    durable::write(&dir.join(FACTS), &to_bytes(facts)?, Privacy::Owner)
}

/// Whose folder this is; `None` if it does not say.
pub fn read_facts(dir: &Path) -> io::Result<Option<Facts>> {
    read(&dir.join(FACTS))
}

/// What only a supervisor that has claimed makes.
pub fn has_traces_of_work(dir: &Path) -> bool {
    let made = [WORK_DIR, PRIVATE_DIR, RESULT];
    let is_there = |name: &&str| dir.join(name).symlink_metadata().is_ok();
    made.iter().any(is_there) || spool::is_there(dir)
}

/// Claims the attempt; `false` if somebody has.
pub fn take_claim(dir: &Path, claim: &Claim) -> io::Result<bool> {
    durable::create(&dir.join(CLAIM), &to_bytes(claim)?)
}

/// Who has claimed the attempt.
pub fn read_claim(dir: &Path) -> io::Result<Option<Claim>> {
    read(&dir.join(CLAIM))
}

/// Asks the supervisor to stop, also on a full disk: in the room that was set aside. The first to ask
/// counts.
pub fn write_cancel(dir: &Path, cancel: CancelFile) -> io::Result<()> {
    let path = dir.join(CANCEL);
    if path.exists() {
        return Ok(());
    }
    let mut bytes = to_bytes(&cancel)?;
    bytes.resize(bytes.len().max(CANCEL_BYTES), b' ');
    if !fault::sabotaged("no-room-for-a-cancel")
        && use_room(&dir.join(CANCEL_ROOM), &path, &bytes).is_ok()
    {
        return Ok(());
    }
    // An earlier agent's folder has no such room, and some file systems write nothing in place.
    durable::write(&path, &bytes, Privacy::Owner)
}

/// Writes over a file that is there and gives it its name. Nobody waits for the disk: after a power
/// cut there is no supervisor to be asked.
fn use_room(room: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).open(room)?.write_all(bytes)?;
    durable::rename(room, path)
}

/// Whether somebody asked for a stop. A file that cannot be read asks without a grace of its own.
pub fn read_cancel(dir: &Path) -> Option<CancelFile> {
    match read(&dir.join(CANCEL)) {
        Ok(cancel) => cancel,
        Err(_) => Some(CancelFile { grace_ms: 0 }),
    }
}

/// Writes the result. The room set aside for it is given free first.
pub fn write_result(dir: &Path, result: &ResultFile) -> io::Result<()> {
    let bytes = to_bytes(result)?;
    // Absent on a second try.
    let _ = fs::remove_file(dir.join(RESERVE));
    durable::write(&dir.join(RESULT), &bytes, Privacy::Owner)
}

/// Whether the supervisor has got as far as its result, and writes it as soon as the disk takes it.
pub fn is_concluding(dir: &Path) -> bool {
    // Without its folder it can be told nothing, nor say anything.
    dir.is_dir() && matches!(dir.join(RESERVE).try_exists(), Ok(false))
}

/// The result, if there is one.
pub fn read_result(dir: &Path, attempt: AttemptId) -> io::Result<Option<AttemptEnd>> {
    let result: Option<ResultFile> = read(&dir.join(RESULT))?;
    match result {
        Some(result) if result.attempt != attempt => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the result belongs to another attempt",
        )),
        Some(result) => Ok(Some(result.end)),
        None => Ok(None),
    }
}

/// Removes what may hold secrets.
pub fn remove_private(dir: &Path) {
    // Absent unless a script ran.
    let _ = fs::remove_dir_all(dir.join(PRIVATE_DIR));
}

fn to_bytes(content: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(&Versioned {
        format: FORMAT,
        content,
    })
    .map_err(io::Error::other)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let versioned: Versioned<T> = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if versioned.format != FORMAT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("format {} is not known", versioned.format),
        ));
    }
    Ok(Some(versioned.content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::process::own_identity;

    #[test]
    fn of_supervisor_and_voiding_agent_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let mine = Claim::Supervisor {
            process: own_identity(),
        };
        assert!(take_claim(dir.path(), &mine).unwrap());
        assert!(!take_claim(dir.path(), &Claim::Void).unwrap());
        assert_eq!(read_claim(dir.path()).unwrap(), Some(mine));
    }

    #[cfg(unix)]
    #[test]
    fn a_cancel_is_written_in_the_room_that_was_set_aside_and_the_first_counts() {
        use std::os::unix::fs::MetadataExt as _;
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("attempt");
        prepare(&dir).unwrap();
        let room = fs::metadata(dir.join(CANCEL_ROOM)).unwrap();
        let longest = CancelFile { grace_ms: u32::MAX };
        write_cancel(&dir, longest).unwrap();
        write_cancel(&dir, CancelFile { grace_ms: 1 }).unwrap();
        assert_eq!(read_cancel(&dir), Some(longest));
        let cancel = fs::metadata(dir.join(CANCEL)).unwrap();
        assert_eq!((cancel.ino(), cancel.len()), (room.ino(), room.len()));
        assert!(!has_traces_of_work(&dir), "it proves no work");
    }

    #[test]
    fn a_cancel_that_cannot_be_read_still_cancels() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_cancel(dir.path()), None);
        write_cancel(dir.path(), CancelFile { grace_ms: 9 }).unwrap();
        assert_eq!(read_cancel(dir.path()), Some(CancelFile { grace_ms: 9 }));
        fs::write(dir.path().join(CANCEL), b"\0\0").unwrap();
        assert!(read_cancel(dir.path()).is_some());
    }
}
