//! Opens the journal, and notices when it is not the one that was here before.
//!
//! What must hold: a journal that was lost never lets an attempt start twice. Each journal has an id,
//! which also stands beside the agent's key. Where the two do not agree, or attempts' folders are
//! there and no journal, a journal was lost, and another begins in its place:
//! - every attempt whose folder is still there is taken up by what the folder proves (a result, a
//!   living supervisor), and as `Unknown` otherwise: an order that is repeated finds it;
//! - the new journal has an id of its own, by which the server sees that whatever it ordered under the
//!   old one and does not find in the new one must not be ordered again.
//!
//! The mark also names the server's authority. After joining another server the epochs that were seen
//! mean nothing, and another journal begins as well: with the old counter the new server would look
//! like a restored backup, and be obeyed in nothing.

use std::io;
use std::path::{Path, PathBuf};

use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::{AttemptId, Digest, JournalId, TaskId};
use serde::{Deserialize, Serialize};

use super::DriverConfig;
use super::recover::{self, Found};
use crate::durable::{self, Privacy};
use crate::journal::{
    self, Disk, Illegal, Journal, Ledger, OpenError, Opened, Record, Storage as _,
};
use crate::state_dir::StateDir;
use crate::supervisor::files::{self, Facts};

/// Beside the key: which journal is the agent's.
const MARK: &str = "journal.json";
/// The format of [`MARK`].
const MARK_FORMAT: u32 = 1;

/// Why the agent cannot go on from what is on its disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenDriverError {
    /// The journal cannot be opened.
    #[error("the journal {} cannot be used", .path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The journal is damaged: what ran cannot be read from it.
    #[error(
        "the journal {} is damaged at byte {offset}, before its last record, and the agent does not guess what ran: {}", .path.display(), aside(.path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// The journal's records contradict each other.
    #[error(
        "the journal {} contradicts itself, and the agent does not guess what ran: {}", .path.display(), aside(.path)
    )]
    Contradicts {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: Illegal,
    },
    /// The note of which journal is the agent's.
    #[error("{} cannot be read or written", .path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The attempts' folders cannot be listed.
    #[error("the attempts' folders in {} cannot be listed", .path.display())]
    Attempts {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The new journal could not be written.
    #[error("a new journal could not be written")]
    Begin(#[source] io::Error),
    /// What was found contradicts itself.
    #[error("the attempts that were found contradict each other")]
    Illegal(#[source] Illegal),
}

impl OpenDriverError {
    /// Why the journal in this file cannot be gone by.
    fn of(path: PathBuf, error: OpenError) -> Self {
        match error {
            OpenError::Damaged { offset } => Self::Damaged { path, offset },
            OpenError::Illegal(source) => Self::Contradicts { path, source },
            source @ (OpenError::Io(_) | OpenError::Format { .. }) => {
                Self::Journal { path, source }
            }
        }
    }
}

/// What to do about a journal that says nothing reliable.
fn aside(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path);
    format!(
        "move it out of its folder, as to {}, and start the agent again; it takes up what the attempts' folders show and calls the rest unknown",
        folder.with_file_name("journal.damaged").display()
    )
}

/// How many attempts the journal in this state directory remembers; `None` if there is none. Changes
/// nothing, and may be asked while the agent runs.
pub fn inspect(state: &StateDir) -> Result<Option<usize>, OpenDriverError> {
    let mut disk = Disk::new(state.journal());
    let held = disk.load().map_err(OpenError::Io);
    let read = held.and_then(|bytes| bytes.as_deref().map(journal::inspect).transpose());
    match read {
        Ok(ledger) => Ok(ledger.map(|ledger| ledger.attempts().count())),
        Err(error) => Err(OpenDriverError::of(disk.path(), error)),
    }
}

#[derive(Serialize, Deserialize)]
struct Mark {
    format: u32,
    journal: JournalId,
    /// Of the server whose epochs the journal holds; none if a version wrote it that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
}

/// What a journal's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// No file, or no record in it.
    Nothing,
    /// Records, of a version that gave journals no id.
    Nameless,
    /// This journal.
    Named(JournalId),
}

/// How the journal on the disk stands to the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is the one.
    Same,
    /// There was none: the agent is new.
    First,
    /// It is the one, and is to get an id.
    Unnamed,
    /// It is the one, and is to be noted beside the key.
    Unmarked,
    /// The one before is gone.
    Lost,
}

/// The whole rule.
fn standing(held: Held, mark: Option<JournalId>, any_folder: bool) -> Standing {
    match (held, mark) {
        (Held::Nothing, None) if any_folder => Standing::Lost,
        (Held::Nothing, None) => Standing::First,
        (Held::Nameless, None) => Standing::Unnamed,
        (Held::Named(_), None) => Standing::Unmarked,
        (Held::Named(held), Some(mark)) if held == mark => Standing::Same,
        (Held::Nothing | Held::Nameless | Held::Named(_), Some(_)) => Standing::Lost,
    }
}

/// Opens the journal, or begins another where it was lost. The caller holds the agent's lock.
pub(super) fn open(
    config: &DriverConfig,
    boot_id: &str,
    now_us: i64,
) -> Result<(Journal, Ledger), OpenDriverError> {
    let state = &config.state_dir;
    let authority = config.authority.map(|authority| authority.to_string());
    // Leftovers are of no harm; what cannot be removed now is tried again at the next start.
    let _ = durable::sweep(&state.journal());
    let _ = durable::sweep(state.root());
    let Opened {
        mut journal,
        mut ledger,
        cut_bytes,
    } = {
        let disk = Disk::new(state.journal());
        let path = disk.path();
        Journal::open(Box::new(disk), now_us).map_err(|error| OpenDriverError::of(path, error))?
    };
    if cut_bytes > 0 {
        tracing::warn!(
            cut_bytes,
            "the journal's last record was torn and was cut off"
        );
    }
    let path = state.identity().join(MARK);
    let marked = |source| OpenDriverError::Mark {
        path: path.clone(),
        source,
    };
    let mark = read_mark(&path).map_err(marked)?;
    let folders = folders(state)?;
    let held = match ledger.began() {
        Some(began) => Held::Named(began.journal),
        None if journal.is_empty() => Held::Nothing,
        None => Held::Nameless,
    };
    let served = mark.as_ref().and_then(|mark| mark.authority.clone());
    let moved = served.is_some() && authority.is_some() && served != authority;
    let marked_journal = mark.map(|mark| mark.journal);
    let after_loss = match standing(held, marked_journal, !folders.is_empty()) {
        Standing::Same if moved => false,
        Standing::Same | Standing::Unmarked => {
            if let Some(began) = ledger.began()
                && (marked_journal.is_none() || served != authority)
            {
                write_mark(&path, began.journal, authority.or(served)).map_err(marked)?;
            }
            return Ok((journal, ledger));
        }
        Standing::First | Standing::Unnamed => false,
        Standing::Lost => {
            tracing::error!(
                journal = %state.journal().display(),
                attempts = folders.len(),
                "the journal was lost or put in from elsewhere: another one begins. What the attempts' folders prove is taken up; of every other attempt the server is told that what it did is not known"
            );
            take_up(&mut ledger, &folders, boot_id, now_us)?;
            true
        }
    };
    if moved {
        tracing::info!(
            "another server is served now: what was seen of the former one's counter is forgotten"
        );
        ledger.forget_epochs();
    }
    let id = JournalId::from_uuid(uuid::Uuid::now_v7());
    let began = Record::Began {
        journal: id,
        at_us: now_us,
        after_loss,
    };
    ledger.apply(&began).map_err(OpenDriverError::Illegal)?;
    // First the journal, as a whole, then the mark: a kill between the two shows as another loss.
    journal.rewrite(&ledger).map_err(OpenDriverError::Begin)?;
    write_mark(&path, id, authority.or(served)).map_err(marked)?;
    Ok((journal, ledger))
}

/// Takes up attempts that a journal does not hold, by what their folders prove.
fn take_up(
    ledger: &mut Ledger,
    folders: &[(AttemptId, PathBuf)],
    boot_id: &str,
    now_us: i64,
) -> Result<(), OpenDriverError> {
    for (attempt, dir) in folders {
        if ledger.get(*attempt).is_some() {
            continue;
        }
        for record in taken_up(*attempt, dir, boot_id, now_us) {
            ledger.apply(&record).map_err(OpenDriverError::Illegal)?;
        }
        if let Some(entry) = ledger.get(*attempt) {
            tracing::warn!(attempt.id = %attempt, phase = ?entry.phase, "taken up without a journal");
        }
    }
    Ok(())
}

/// An attempt as its folder shows it. What is there counts; what is not there proves nothing, on a
/// disk from which a journal has gone.
fn taken_up(attempt: AttemptId, dir: &Path, boot_id: &str, now_us: i64) -> [Record; 2] {
    let facts = files::read_facts(dir)
        .ok()
        .flatten()
        .filter(|facts| facts.attempt == attempt)
        // A folder of a version that wrote none: no order is empty, so any that comes is refused.
        .unwrap_or(Facts {
            attempt,
            task: TaskId::from_uuid(uuid::Uuid::nil()),
            epoch: 0,
            payload: Digest::of(b""),
            locks: Vec::new(),
        });
    let accepted = Record::Accepted {
        attempt,
        task: facts.task,
        epoch: facts.epoch,
        payload: facts.payload,
        at_us: now_us,
        locks: facts.locks,
    };
    let shown = match recover::look(dir, attempt, boot_id, None) {
        // Who is orphaned is found so once more, and ended then.
        Found::Running(process) | Found::Orphaned(process) => Record::Spawned { attempt, process },
        Found::Ended(end) if end.outcome != Outcome::NotStarted => {
            Record::Finished { attempt, end }
        }
        Found::Ended(end) => Record::Finished {
            attempt,
            end: AttemptEnd {
                outcome: Outcome::Unknown,
                message: "the agent lost its journal: whether the step was started cannot be known"
                    .to_owned(),
                ..end
            },
        },
        Found::Unclear(error) => Record::Finished {
            attempt,
            end: recover::without_result(
                Outcome::Unknown,
                format!(
                    "the agent lost its journal, and the attempt's folder cannot be read ({error}): what the step did cannot be known"
                ),
            ),
        },
    };
    [accepted, shown]
}

/// The folders that bear an attempt's id.
fn folders(state: &StateDir) -> Result<Vec<(AttemptId, PathBuf)>, OpenDriverError> {
    let failed = |source| OpenDriverError::Attempts {
        path: state.attempts(),
        source,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(state.attempts()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let attempt = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(attempt) = attempt {
            folders.push((attempt, entry.path()));
        }
    }
    folders.sort();
    Ok(folders)
}

/// Which journal is the agent's. A file that cannot be understood agrees with no journal.
fn read_mark(path: &Path) -> io::Result<Option<Mark>> {
    match std::fs::read(path) {
        Ok(bytes) => match serde_json::from_slice::<Mark>(&bytes) {
            Ok(mark) if mark.format == MARK_FORMAT => Ok(Some(mark)),
            Ok(_) | Err(_) => Ok(Some(Mark {
                format: MARK_FORMAT,
                journal: JournalId::from_uuid(uuid::Uuid::nil()),
                authority: None,
            })),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_mark(path: &Path, journal: JournalId, authority: Option<String>) -> io::Result<()> {
    let mark = Mark {
        format: MARK_FORMAT,
        journal,
        authority,
    };
    let bytes = serde_json::to_vec(&mark)?;
    durable::write(path, &bytes, Privacy::Owner)
}

#[cfg(test)]
mod tests;
