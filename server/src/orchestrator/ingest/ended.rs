//! The end of an attempt: it counts once all records are stored that its agent has, and what is missing
//! then is a gap.

use std::cmp::Ordering;

use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::outputs::OUTPUTS_TOLD;
use mantle_shared::protocol::{AttemptEnded, Level, Record, RecordBody, Stream, close};

use super::{Ingest, KNOWN, RETRY};
use crate::orchestrator::effects::now_us;
use crate::orchestrator::fact::{Fact, NamedOutput};
use crate::store::{
    LogVariables, StoreError, log_append, log_append_server, log_read_attempt, log_variables,
};

impl Ingest {
    /// The end of an attempt of which so many records are stored. If records are missing its agent is asked
    /// for them, once.
    pub(super) async fn ended(
        &mut self,
        agent: AgentId,
        mut ended: AttemptEnded,
        mut stored: u64,
    ) -> Option<Fact> {
        let attempt = ended.attempt;
        let (task, owner) = self.owner(attempt).await?;
        if owner != agent && self.earlier.remove(&attempt) {
            return Some(Fact::EarlierOver { agent, attempt });
        }
        if owner != agent {
            tracing::warn!(agent.id = %agent, attempt.id = %attempt, "the end of another agent's attempt was dropped");
            return None;
        }
        if self.held.is_held(task) {
            // Its records were not taken, so neither is the end that rests on them.
            self.held.hold(task, agent);
            return None;
        }
        self.sentence(task, &mut ended.end.message).await;
        let said = ended.end.records;
        match stored.cmp(&said) {
            Ordering::Equal => {}
            // Its disk has lost some of what was sent before. Asking would bring no more.
            Ordering::Greater => tracing::warn!(
                agent.id = %agent, attempt.id = %attempt, stored, said,
                "an attempt ended with fewer records than are stored"
            ),
            Ordering::Less if self.short.insert(attempt, stored) != Some(stored) => {
                // Not a thing that an ordered stream does; a fresh report brings what is there.
                tracing::warn!(
                    agent.id = %agent, attempt.id = %attempt, stored, said,
                    "an attempt ended before all of its records came; its agent is asked to report anew"
                );
                if self.short.len() > KNOWN {
                    self.short.clear();
                }
                self.parts.sessions.disconnect(agent, close::GOING_AWAY);
                return None;
            }
            Ordering::Less => {
                tracing::warn!(
                    agent.id = %agent, attempt.id = %attempt, stored, said,
                    "records of an attempt are lost on its agent's disk; it ends with a gap"
                );
                stored = self.store_gap(task, attempt, stored, said).await;
            }
        }
        self.short.remove(&attempt);
        if stored == 0 {
            // It has said nothing: it left no files and set no variables.
            self.tell_output_came(task, attempt);
            return Some(Fact::AttemptEnded {
                agent,
                attempt,
                task,
                end: ended.end,
                outputs: Vec::new(),
                stored,
            });
        }
        if let Err(error) = self.note_artifacts(task, attempt, agent).await {
            tracing::error!(error = &error as &dyn std::error::Error, attempt.id = %attempt, "collected files cannot be noted down");
            self.parts.sessions.disconnect(agent, close::GOING_AWAY);
            return None;
        }
        let outputs = match self.outputs(task, attempt).await {
            Ok(outputs) => outputs,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, attempt.id = %attempt, "output variables cannot be read");
                self.parts.sessions.disconnect(agent, close::GOING_AWAY);
                return None;
            }
        };
        self.tell_output_came(task, attempt);
        Some(Fact::AttemptEnded {
            agent,
            attempt,
            task,
            end: ended.end,
            outputs,
            stored,
        })
    }

    /// Puts a gap in the place of records that will not come; gives how many real ones are stored.
    async fn store_gap(&self, task: TaskId, attempt: AttemptId, stored: u64, said: u64) -> u64 {
        self.warn(task).await;
        loop {
            let written = self.parts.store.write_logs(async |tx| {
                // A server that was killed before it stored the end has put it there already.
                let last = log_read_attempt(tx, attempt, stored.saturating_sub(1), 1).await?;
                if last.last().is_some_and(|last| is_lost_gap(&last.record)) {
                    return Ok(stored - 1);
                }
                log_append(tx, task, attempt, stored, &[lost_gap(said - stored)]).await?;
                Ok::<_, StoreError>(stored)
            });
            match written.await {
                Ok(stored) => break stored,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a gap in the log cannot be written; trying again"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn outputs(
        &self,
        task: TaskId,
        attempt: AttemptId,
    ) -> Result<Vec<NamedOutput>, StoreError> {
        let found = {
            let mut tx = self.parts.store.read_logs().await?;
            log_variables(&mut tx, attempt).await?
        };
        if found.left_out_count > 0 {
            self.tell_left_out(task, attempt, &found).await?;
        }
        Ok(found
            .kept
            .into_iter()
            .map(|v| NamedOutput {
                name: v.name,
                value: v.value,
                sensitive: v.sensitive,
            })
            .collect())
    }

    /// Says in the task's log what was left out of its output variables, and that it ends with a
    /// warning. Said again when the end comes again: better twice than not.
    async fn tell_left_out(
        &self,
        task: TaskId,
        attempt: AttemptId,
        found: &LogVariables,
    ) -> Result<(), StoreError> {
        let names: Vec<String> = found
            .left_out
            .iter()
            .map(|name| format!("'{}'", name.chars().take(80).collect::<String>()))
            .collect();
        let count = found.left_out_count;
        tracing::warn!(
            task.id = %task, attempt.id = %attempt, count,
            "output variables beyond the limits were left out"
        );
        let record = Record {
            at_us: now_us(),
            body: RecordBody::Line {
                stream: Stream::Agent,
                level: Level::Warning,
                text: format!(
                    "{count} output variables are beyond what a step may set and were left out: {}{}; \
                     upgrade the agent, which keeps to the limits itself",
                    names.join(", "),
                    if count > OUTPUTS_TOLD {
                        " and more"
                    } else {
                        ""
                    },
                ),
            },
        };
        self.warn(task).await;
        self.parts
            .store
            .write_logs(async |tx| log_append_server(tx, task, std::slice::from_ref(&record)).await)
            .await?;
        self.parts.feed.task_changed(task);
        Ok(())
    }
}

/// Why records are missing that an agent says there were.
const LOST: &str = "they were lost on the agent's disk";

fn lost_gap(records: u64) -> Record {
    Record {
        at_us: now_us(),
        body: RecordBody::Gap {
            lines: records,
            bytes: 0,
            reason: LOST.to_owned(),
        },
    }
}

fn is_lost_gap(record: &Record) -> bool {
    matches!(&record.body, RecordBody::Gap { reason, .. } if reason == LOST)
}
