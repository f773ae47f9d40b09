//! Finds out what became of an attempt from its folder: by result, claim and process, never by a
//! guess.
//!
//! What must hold: `NotStarted` is said only where it is proved. The proof is a claim that nobody but
//! an agent has taken, in the very folder that was prepared for the attempt, with no trace of work in
//! it. A folder that is gone or was disturbed proves nothing, whatever the journal says of it.

use std::io;
use std::path::Path;

use mantle_shared::AttemptId;
use mantle_shared::protocol::{AttemptEnd, Outcome, RecordHasher};

use crate::output::recorder::now_us;
use crate::output::spool;
use crate::process::{self, Orphans, ProcessIdentity, Survivor, names};
use crate::supervisor::files::{self, Claim};

/// How often a claim may change hands while it is looked at: once, in fact.
const LOOKS: u32 = 4;

/// Why nobody can say how it ended.
const NOT_KNOWN: &str = "whether the step did its work cannot be known";
/// What else there is to say of it.
const NOTHING_LEFT: &str = ", and the agent finds no process of it any more";

/// What became of it.
#[derive(Debug)]
pub(super) enum Found {
    /// It is over; the spool is complete.
    Ended(AttemptEnd),
    /// Its supervisor is alive.
    Running(ProcessIdentity),
    /// Its supervisor is dead and has left no result, but processes of it live.
    Orphaned(ProcessIdentity),
    /// The folder cannot be read.
    Unclear(io::Error),
}

/// What the agent did about processes that nobody supervised.
#[derive(Debug)]
pub(super) struct Rest {
    /// Those that it has told to stop.
    pub stopped: Vec<Survivor>,
    /// Those that it could not.
    pub left: Vec<Survivor>,
    /// Their supervisor was alive, but did not answer a cancel.
    pub hung: bool,
}

/// What a folder without a supervisor's claim proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing was started in it.
    NothingStarted,
    /// Nothing, for it is not there.
    Gone,
    /// Nothing, for it is not as it was prepared.
    Disturbed,
}

/// Looks into the folder of an attempt that the journal says was accepted. `spawned` is the supervisor
/// that the journal knows of.
///
/// An attempt that nobody claimed is claimed here, void, unless the supervisor that the journal knows of
/// lives: should one come late of which the journal knows nothing, it fails its own claim and starts nothing.
pub(super) fn look(
    dir: &Path,
    attempt: AttemptId,
    boot_id: &str,
    spawned: Option<&ProcessIdentity>,
) -> Found {
    look_after(dir, attempt, boot_id, spawned, None)
}

/// The same after the attempt's processes were ended: it is not found orphaned again.
pub(super) fn look_after(
    dir: &Path,
    attempt: AttemptId,
    boot_id: &str,
    spawned: Option<&ProcessIdentity>,
    rest: Option<&Rest>,
) -> Found {
    match try_look(dir, attempt, boot_id, spawned, rest) {
        Ok(found) => found,
        Err(error) => Found::Unclear(error),
    }
}

fn try_look(
    dir: &Path,
    attempt: AttemptId,
    boot_id: &str,
    spawned: Option<&ProcessIdentity>,
    rest: Option<&Rest>,
) -> io::Result<Found> {
    for _ in 0..LOOKS {
        if let Some(end) = files::read_result(dir, attempt)? {
            return Ok(Found::Ended(with_spool(dir, attempt, end)));
        }
        // The one whose processes may have outlived it; after another boot there are none.
        let mut dead = spawned
            .filter(|process| process.boot_id == boot_id)
            .cloned();
        let (mut outcome, mut message) = match files::read_claim(dir)? {
            Some(Claim::Supervisor { process }) if process.boot_id != boot_id => (
                Outcome::Interrupted,
                "the machine was restarted while the step ran".to_owned(),
            ),
            Some(Claim::Supervisor { process }) if process::is_alive(&process) => {
                return Ok(Found::Running(process));
            }
            // It may have written its result and ended since the look for one.
            Some(Claim::Supervisor { process }) => {
                if let Some(end) = files::read_result(dir, attempt)? {
                    return Ok(Found::Ended(with_spool(dir, attempt, end)));
                }
                dead = Some(process);
                let killed = "the step's supervisor was killed";
                (Outcome::Unknown, format!("{killed}: {NOT_KNOWN}"))
            }
            Some(Claim::Void) => unclaimed(dir, proof(dir, attempt)?),
            None => {
                let proof = proof(dir, attempt)?;
                match (proof, spawned) {
                    // It may be at work, with its claim taken away from under it; or it is about to claim,
                    // and is no less the attempt's for being slow.
                    (_, Some(process)) if process::is_alive(process) => {
                        return Ok(Found::Running(process.clone()));
                    }
                    // No claim can be taken where no folder is, by nobody.
                    (Proof::Gone, _) => {}
                    (Proof::NothingStarted | Proof::Disturbed, _) => {
                        if !files::take_claim(dir, &Claim::Void)? {
                            continue;
                        }
                    }
                }
                unclaimed(dir, proof)
            }
        };
        if outcome == Outcome::Unknown {
            match (&dead, rest) {
                (None, _) => message.push_str(", and processes of it may still run"),
                (Some(process), None) => {
                    if !orphans(process, attempt).is_empty() {
                        return Ok(Found::Orphaned(process.clone()));
                    }
                    message.push_str(NOTHING_LEFT);
                }
                (Some(_), Some(rest)) => (outcome, message) = rest.say(message),
            }
        }
        files::remove_private(dir);
        let end = without_result(outcome, message);
        let end = match outcome {
            // There is nothing to count, and a spool would be a trace of work.
            Outcome::NotStarted => end,
            _ if dir.is_dir() => with_spool(dir, attempt, end),
            _ => end,
        };
        return Ok(Found::Ended(end));
    }
    Err(io::Error::other("the attempt's claim keeps changing"))
}

fn orphans(supervisor: &ProcessIdentity, attempt: AttemptId) -> Vec<Survivor> {
    Orphans::of(supervisor, &attempt.to_string()).survivors()
}

impl Rest {
    /// Outcome and message of an attempt that was ended by the agent itself.
    fn say(&self, unknown: String) -> (Outcome, String) {
        let mut message = if self.hung {
            format!(
                "the step's supervisor did not answer a cancel, and the agent has killed it: {NOT_KNOWN}"
            )
        } else {
            unknown
        };
        if self.stopped.is_empty() && self.left.is_empty() {
            message.push_str(NOTHING_LEFT);
        } else {
            message.push_str("; the agent has stopped what was left of it: ");
            message.push_str(&names(&self.stopped));
        }
        if self.left.is_empty() {
            return (Outcome::Unknown, message);
        }
        message.push_str("; still running: ");
        message.push_str(&names(&self.left));
        (Outcome::Abandoned, message)
    }
}

/// What is there to prove that nothing was started.
fn proof(dir: &Path, attempt: AttemptId) -> io::Result<Proof> {
    match dir.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Proof::Gone),
        Err(error) => return Err(error),
    }
    let facts = files::read_facts(dir).ok().flatten();
    let ours = facts.is_some_and(|facts| facts.attempt == attempt);
    Ok(if ours && !files::has_traces_of_work(dir) {
        Proof::NothingStarted
    } else {
        Proof::Disturbed
    })
}

/// How an attempt ended that no supervisor has claimed, or so it seems.
fn unclaimed(dir: &Path, proof: Proof) -> (Outcome, String) {
    let nothing = match proof {
        Proof::NothingStarted => return (Outcome::NotStarted, not_started(dir)),
        Proof::Gone => "is gone from the agent's disk",
        Proof::Disturbed => "is not as the agent left it",
    };
    (
        Outcome::Unknown,
        format!("the attempt's folder {nothing}: {NOT_KNOWN}"),
    )
}

/// What the supervisor complained about, if it did.
fn not_started(dir: &Path) -> String {
    let said = std::fs::read_to_string(dir.join(files::SUPERVISOR_LOG)).unwrap_or_default();
    match said.trim() {
        "" => "the agent went down before the step was started".to_owned(),
        said => said.chars().take(500).collect(),
    }
}

pub(super) fn without_result(outcome: Outcome, message: String) -> AttemptEnd {
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
    match spool::settle(dir, attempt, now_us()) {
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
