//! Finds out what became of an attempt from its folder: by result, claim and process, never by a
//! guess.

use std::io;
use std::path::Path;

use mantle_shared::AttemptId;
use mantle_shared::protocol::{AttemptEnd, Outcome, RecordHasher};

use crate::output::recorder::now_us;
use crate::output::spool;
use crate::process::{self, ProcessIdentity};
use crate::supervisor::files::{self, Claim};

/// How often a claim may change hands while it is looked at: once, in fact.
const LOOKS: u32 = 4;

/// What became of it.
#[derive(Debug)]
pub(super) enum Found {
    /// It is over; the spool is complete.
    Ended(AttemptEnd),
    /// Its supervisor is alive.
    Running(ProcessIdentity),
    /// The folder cannot be read.
    Unclear(io::Error),
}

/// Looks into the folder of an attempt that the journal says was accepted.
///
/// An attempt that nobody claimed is claimed here, void: should a supervisor come late, it fails its
/// own claim and starts nothing. So `NotStarted` is certain when it is said.
pub(super) fn look(dir: &Path, attempt: AttemptId, boot_id: &str) -> Found {
    match try_look(dir, attempt, boot_id) {
        Ok(found) => found,
        Err(error) => Found::Unclear(error),
    }
}

fn try_look(dir: &Path, attempt: AttemptId, boot_id: &str) -> io::Result<Found> {
    for _ in 0..LOOKS {
        if let Some(end) = files::read_result(dir, attempt)? {
            return Ok(Found::Ended(with_spool(dir, attempt, end)));
        }
        let end = match files::read_claim(dir)? {
            Some(Claim::Supervisor { process }) if process.boot_id != boot_id => {
                (Outcome::Interrupted, "the machine was restarted while the step ran".to_owned())
            }
            Some(Claim::Supervisor { process }) if process::is_alive(&process) => {
                return Ok(Found::Running(process));
            }
            // It may have written its result and ended since the look for one.
            Some(Claim::Supervisor { .. }) => match files::read_result(dir, attempt)? {
                Some(end) => return Ok(Found::Ended(with_spool(dir, attempt, end))),
                None => (
                    Outcome::Unknown,
                    "the step's supervisor was killed: whether the step did its work cannot be known, and processes of it may still run".to_owned(),
                ),
            },
            Some(Claim::Void) => (Outcome::NotStarted, not_started(dir)),
            None => {
                // Also makes the folder, should somebody have removed it.
                files::prepare(dir)?;
                if !files::take_claim(dir, &Claim::Void)? {
                    continue;
                }
                (Outcome::NotStarted, not_started(dir))
            }
        };
        files::remove_private(dir);
        let (outcome, message) = end;
        return Ok(Found::Ended(with_spool(
            dir,
            attempt,
            without_result(outcome, message),
        )));
    }
    Err(io::Error::other("the attempt's claim keeps changing"))
}

/// What the supervisor complained about, if it did.
fn not_started(dir: &Path) -> String {
    let said = std::fs::read_to_string(dir.join(files::SUPERVISOR_LOG)).unwrap_or_default();
    match said.trim() {
        "" => "the agent went down before the step was started".to_owned(),
        said => said.chars().take(500).collect(),
    }
}

fn without_result(outcome: Outcome, message: String) -> AttemptEnd {
    AttemptEnd {
        outcome,
        exit_code: None,
        message,
        records: 0,
        log: RecordHasher::new().digest(),
        started_at_us: 0,
        ended_at_us: now_us(),
    }
}

/// Brings count and digest in line with what the spool really holds: a disk may lose what a process
/// wrote.
fn with_spool(dir: &Path, attempt: AttemptId, mut end: AttemptEnd) -> AttemptEnd {
    match spool::settle(&dir.join(spool::FILE_NAME), attempt, now_us()) {
        Ok(settled) => {
            end.records = settled.records;
            end.log = settled.log;
        }
        Err(error) => {
            tracing::error!(attempt.id = %attempt, error = %error, "the records of an attempt are lost");
            end.message = format!("{} (its records are lost: {error})", end.message);
            end.records = 0;
            end.log = RecordHasher::new().digest();
        }
    }
    end
}
