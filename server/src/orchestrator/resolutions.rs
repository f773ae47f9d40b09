//! What people say of attempts whose end nobody knows, taken from its rows into the tasks' events.
//!
//! A word is written by whoever takes it, with its audit row; here it is found, at a hint or at the next
//! sweep, so that none is lost with a server. In a task that is over it changes no verdict: it is added to
//! the task's events, and the locks of the attempt are let go.

use mantle_domain::state::view::outcome_in_words as in_words;
use mantle_domain::state::{Event, Input, Resolution, Unresolvable, is_known_end};
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::protocol::{AttemptEnd, Level, Record, RecordBody, Stream};

use super::Orchestrator;
use super::commit::moment;
use super::effects::now_us;
use super::turn::{Moot, Turn};
use crate::store::{
    NewTaskEvent, ResolutionRow, StoreError, Tx, attempt_find, held_lock_resolve,
    log_append_server, resolution_find, resolution_list_pending, resolution_mark_taken,
    task_event_append_after_end, task_mark_warned,
};

/// How many words are taken in at once; the rest has its turn with the next sweep.
const MOST: u32 = 1000;

impl Orchestrator {
    /// Reads what people said and is not taken in yet.
    pub(super) async fn read_resolutions(&mut self, turn: &mut Turn) {
        if !std::mem::take(&mut self.resolutions_stale) {
            return;
        }
        let rows = match self.pending().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what people said of attempts cannot be read; it is looked at again"
                );
                return;
            }
        };
        let online = self.parts.online.agents();
        for (row, is_known) in rows {
            let (task, attempt) = (row.task_id, row.attempt_id);
            let Some(deployment) = self.deployments.get(&task) else {
                let why = Unresolvable::Known;
                match (self.parked.contains_key(&task), is_known) {
                    (true, _) => {}
                    (false, true) => turn.moot.push(Moot { row, why }),
                    (false, false) => turn.resolved.push(row),
                }
                continue;
            };
            let known = deployment.state.attempts.get(&attempt);
            let may = known.map_or(Err(Unresolvable::Known), |known| {
                known.check_resolve(online.contains(&known.agent))
            });
            match may {
                Ok(()) => turn.input(
                    task,
                    Input::AttemptResolved {
                        attempt,
                        resolution: resolution(row),
                    },
                ),
                Err(why) => turn.moot.push(Moot { row, why }),
            }
        }
    }

    /// What is not taken in, and whether its agent has said it by now.
    async fn pending(&self) -> Result<Vec<(ResolutionRow, bool)>, StoreError> {
        let mut tx = self.parts.store.read().await?;
        let mut pending = Vec::new();
        for row in resolution_list_pending(&mut tx, MOST).await? {
            let known = attempt_find(&mut tx, row.attempt_id).await?;
            let known = known
                .and_then(|known| known.outcome)
                .is_some_and(is_known_end);
            pending.push((row, known));
        }
        Ok(pending)
    }

    /// Says in the tasks' logs what came of people's words, where that is not what they said. Only for
    /// people: what is lost with the process stands in the events all the same.
    pub(super) async fn tell_resolutions(&self, turn: &Turn, said: &[(TaskId, AttemptId)]) {
        for Moot { row, why } in &turn.moot {
            let why = match why {
                Unresolvable::Known => "how it ended is known",
                Unresolvable::Before => "it was resolved before",
                Unresolvable::AgentConnected => "its agent is connected and says it itself",
            };
            let text = format!(
                "{} resolved {} as {}, which is not needed: {why}",
                row.resolved_by,
                row.about,
                row.ended.word()
            );
            self.tell(row.task_id, Level::Warning, text).await;
        }
        let late = turn.late.iter().map(|late| (late.task, late.attempt));
        let late: Vec<_> = late.chain(said.iter().copied()).collect();
        match self.contradicted(&late).await {
            Ok(told) => {
                for (task, text) in told {
                    self.tell(task, Level::Warning, text).await;
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether agents contradict what people said cannot be read"
            ),
        }
    }

    /// What agents' words on attempts say against people's.
    async fn contradicted(
        &self,
        late: &[(TaskId, AttemptId)],
    ) -> Result<Vec<(TaskId, String)>, StoreError> {
        let mut told = Vec::new();
        if late.is_empty() {
            return Ok(told);
        }
        let mut tx = self.parts.store.read().await?;
        for (task, attempt) in late {
            let Some(said) = resolution_find(&mut tx, *attempt).await? else {
                continue;
            };
            let outcome = attempt_find(&mut tx, *attempt).await?;
            let Some(outcome) = outcome.and_then(|row| row.outcome) else {
                continue;
            };
            if said.ended.is_contradicted_by(outcome) {
                let text = format!(
                    "{} {}, says its agent, which contradicts {}, who resolved it as {}",
                    said.about,
                    in_words(outcome),
                    said.resolved_by,
                    said.ended.word(),
                );
                told.push((*task, text));
            }
        }
        Ok(told)
    }

    pub(super) async fn tell(&self, task: TaskId, level: Level, text: String) {
        let line = Record {
            at_us: now_us(),
            body: RecordBody::Line {
                stream: Stream::Agent,
                level,
                text,
            },
        };
        let store = &self.parts.store;
        let written = store
            .write_logs(async |tx| log_append_server(tx, task, &[line]).await)
            .await;
        if let Err(error) = written {
            tracing::warn!(
                task.id = %task,
                error = &error as &dyn std::error::Error,
                "what was said of an attempt could not be written to the task's log"
            );
        }
    }
}

fn resolution(row: ResolutionRow) -> Resolution {
    Resolution {
        ended: row.ended,
        by: row.resolved_by,
        reason: row.reason,
        at: moment(row.at_us),
    }
}

/// A word is in the events of its task: its row and the attempt's locks.
pub(super) async fn write_taken(
    tx: &mut Tx,
    attempt: AttemptId,
    by: &str,
    now_us: i64,
) -> Result<(), StoreError> {
    held_lock_resolve(tx, attempt, by, now_us).await?;
    resolution_mark_taken(tx, attempt, now_us).await
}

/// A word on an attempt whose deployment is over. If it is not over yet, for another server drives it,
/// that one takes it in.
pub(super) async fn write_after_end(
    tx: &mut Tx,
    row: &ResolutionRow,
    now_us: i64,
) -> Result<(), StoreError> {
    let attempt = row.attempt_id;
    let known = attempt_find(tx, attempt).await?.and_then(|row| row.outcome);
    if known.is_some_and(is_known_end) {
        // It came since that was looked at; the next look finds it.
        return Ok(());
    }
    let event = Event::AttemptResolved {
        attempt,
        ended: row.ended,
        by: row.resolved_by.clone(),
        reason: row.reason.clone(),
        at: moment(row.at_us),
    };
    if append_after_end(tx, row.task_id, &event, now_us).await? {
        write_taken(tx, attempt, &row.resolved_by, now_us).await?;
    }
    Ok(())
}

/// An agent's word on an attempt whose deployment is over, and which was not known before.
pub(super) async fn write_late(
    tx: &mut Tx,
    task: TaskId,
    attempt: AttemptId,
    end: &AttemptEnd,
    now_us: i64,
) -> Result<(), StoreError> {
    let event = Event::AttemptFinishedLate {
        attempt,
        end: end.clone(),
        at: moment(now_us),
        outputs: Vec::new(),
    };
    append_after_end(tx, task, &event, now_us).await?;
    let said = resolution_find(tx, attempt).await?;
    if said.is_some_and(|said| said.ended.is_contradicted_by(end.outcome)) {
        task_mark_warned(tx, task).await?;
    }
    Ok(())
}

async fn append_after_end(
    tx: &mut Tx,
    task: TaskId,
    event: &Event,
    at_us: i64,
) -> Result<bool, StoreError> {
    let body = serde_json::to_string(event)
        .map_err(|error| StoreError::corrupt(format!("an event to be written: {error}")))?;
    task_event_append_after_end(tx, task, &NewTaskEvent { at_us, body }).await
}
