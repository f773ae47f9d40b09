//! Brings the files that attempts left behind from the agents into the object store.
//!
//! A file is asked for once its attempt's end is stored, goes to disk as it comes, and becomes an
//! archive of the package repository once its digest is the one that was recorded. What must hold:
//! - an agent is told to remove its copy only when the bytes are durable here and the row says so;
//! - a transfer that breaks off, on either side, goes on where it was;
//! - a file that will not come is said to be lost, in the task's log, and its task warns.

mod incoming;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mantle_shared::artifacts::{ARTIFACT_BYTES, ArtifactTally, artifact_name};
use mantle_shared::fault;
use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::{DropArtifact, FetchArtifact, Level, Record, RecordBody, Stream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::incoming::{Folder, Incoming};
use crate::gateway::{ArtifactError, Sessions};
use crate::packages::PackageRepository;
use crate::packages::ingest::IngestError;
use crate::services::{Feed, Presence, whose};
use crate::store::{
    ArtifactRow, ArtifactState, NewArtifact, Store, StoreError, artifact_is_waiting,
    artifact_list_agents, artifact_list_open, artifact_mark_kept, artifact_mark_lost,
    artifact_mark_stored, log_append_server, task_mark_warned,
};

/// Agents that are asked at once; one is asked for one file at a time. Bulk must leave room for the
/// rest.
const AGENTS_AT_ONCE: usize = 4;
/// Between two looks for what no ring told of: agents that came back, transfers that broke off.
const LOOK: Duration = Duration::from_secs(5);
/// How many files of one agent are looked at in one turn.
const TURN: u32 = 100;

/// Says that there is something to collect. Cheap to clone; never waits.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// There is something.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Collector {
    /// The database.
    pub store: Store,
    /// The connected agents.
    pub sessions: Sessions,
    /// Which of them were resynced.
    pub presence: Arc<dyn Presence>,
    /// Where the bytes go in the end.
    pub packages: PackageRepository,
    /// Tells those who watch a task.
    pub feed: Feed,
    /// Where they are on their way.
    pub folder: PathBuf,
    /// Rung when there is something.
    pub bell: Bell,
}

/// Why a file did not come this time.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] ArtifactError),
    /// This server's disk.
    #[error("the incoming file: {0}")]
    Io(#[from] io::Error),
    /// The repository.
    #[error(transparent)]
    Keep(#[from] IngestError),
    /// What came is not what was recorded.
    #[error("what came is not what was recorded")]
    Strange,
}

impl Collector {
    /// Works until it is dropped. Without its folder nothing can be collected, which is told and tried
    /// again.
    pub async fn run(self) {
        let folder = loop {
            let path = self.folder.clone();
            match blocking(move || Folder::open(path)).await {
                Ok(folder) => break folder,
                Err(error) => {
                    tracing::error!(%error, "the folder for collected files cannot be made; trying again");
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        self.sweep(&folder).await;
        let mut busy = HashSet::new();
        // Who failed has to wait for the next look.
        let mut tired = HashSet::new();
        let mut turns: JoinSet<(AgentId, bool)> = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.bell.0.notified() => {}
                _ = look.tick() => tired.clear(),
                Some(turn) = turns.join_next() => if let Ok((agent, went_well)) = turn {
                    busy.remove(&agent);
                    if !went_well {
                        tired.insert(agent);
                    }
                },
            }
            let agents = async { artifact_list_agents(&mut self.store.read().await?).await };
            let agents = match agents.await {
                Ok(agents) => agents,
                Err(error) => {
                    warn(&error, "collected files cannot be looked for; trying again");
                    continue;
                }
            };
            for agent in agents {
                let free = busy.len() < AGENTS_AT_ONCE && !tired.contains(&agent);
                if free && self.presence.is_online(agent) && busy.insert(agent) {
                    let (this, folder) = (self.clone(), folder.clone());
                    turns.spawn(async move { (agent, this.turn(&folder, agent).await) });
                }
            }
        }
    }

    /// Removes what came of files that nobody waits for any more.
    async fn sweep(&self, folder: &Folder) {
        let listed = folder.clone();
        let files = blocking(move || Ok(listed.list())).await;
        for (attempt, digest) in files.unwrap_or_default() {
            let waiting =
                async { artifact_is_waiting(&mut self.store.read().await?, attempt, digest).await };
            if matches!(waiting.await, Ok(false)) {
                folder.remove(attempt, &digest);
            }
        }
    }

    /// Does what is left to do with one agent. Says whether there was nothing wrong.
    async fn turn(&self, folder: &Folder, agent: AgentId) -> bool {
        let open = async { artifact_list_open(&mut self.store.read().await?, agent, TURN).await };
        let rows = match open.await {
            Ok(rows) => rows,
            Err(error) => {
                warn(
                    &error,
                    "an agent's collected files cannot be looked for; trying again",
                );
                return false;
            }
        };
        let mut done = HashSet::new();
        for row in rows {
            // The same bytes under another name came with the first.
            if !done.insert((row.attempt_id, row.digest)) {
                continue;
            }
            match self.one(folder, &row).await {
                Ok(()) => {}
                Err(CollectError::Agent(ArtifactError::Away)) => return true,
                Err(error) => {
                    tracing::warn!(
                        task.id = %row.task_id, artifact = row.name,
                        error = &error as &dyn std::error::Error,
                        "a collected file did not come; trying again"
                    );
                    return false;
                }
            }
        }
        true
    }

    async fn one(&self, folder: &Folder, row: &ArtifactRow) -> Result<(), CollectError> {
        let (attempt, digest) = (row.attempt_id, row.digest);
        match row.state {
            ArtifactState::Waiting => match self.fetch(folder, row).await {
                Ok(()) => {}
                Err(CollectError::Agent(ArtifactError::Missing))
                    if self.packages.archive(&digest).await.is_ok() =>
                {
                    // A restored server does not remember what it had, and its objects are there.
                    self.mark_stored(folder, row).await?;
                }
                Err(CollectError::Agent(ArtifactError::Missing)) => {
                    let why = "the agent has it no more: it was removed from its disk";
                    return self.lose(folder, row, why).await;
                }
                Err(CollectError::Strange) => {
                    let why = "what the agent has under its name is something else";
                    return self.lose(folder, row, why).await;
                }
                Err(error) => return Err(error),
            },
            ArtifactState::Stored => {}
            ArtifactState::Kept | ArtifactState::Lost => return Ok(()),
        }
        let drop = DropArtifact { attempt, digest };
        self.sessions.artifact_drop(row.agent_id, drop).await?;
        self.store
            .write(async |tx| artifact_mark_kept(tx, attempt, digest).await)
            .await?;
        Ok(())
    }

    /// Brings a file in. When this returns its bytes are durable and its row says so.
    async fn fetch(&self, folder: &Folder, row: &ArtifactRow) -> Result<(), CollectError> {
        let (attempt, digest, size_bytes) = (row.attempt_id, row.digest, row.size_bytes);
        let into = folder.clone();
        let mut incoming = blocking(move || into.begin(attempt, &digest, size_bytes)).await?;
        let from_the_start = incoming.received_bytes == 0;
        if incoming.received_bytes < size_bytes || size_bytes == 0 {
            incoming = self.receive(incoming, row).await?;
        }
        let path = incoming.path.clone();
        drop(incoming);
        let hashed = path.clone();
        if blocking(move || incoming::digest(&hashed)).await? != digest {
            folder.remove(attempt, &digest);
            // Of a beginning that is damaged here the agent knows nothing: it is asked for all of it.
            return Err(if from_the_start {
                CollectError::Strange
            } else {
                ArtifactError::Broken("what had come before was damaged".to_owned()).into()
            });
        }
        fault::point("server.artifact_received");
        let _lease = self.packages.keep_file(&path).await?;
        self.mark_stored(folder, row).await
    }

    async fn mark_stored(&self, folder: &Folder, row: &ArtifactRow) -> Result<(), CollectError> {
        let (attempt, digest) = (row.attempt_id, row.digest);
        let at_us = Timestamp::now().as_microsecond();
        self.store
            .write(async |tx| artifact_mark_stored(tx, attempt, digest, at_us).await)
            .await?;
        fault::point("server.artifact_stored");
        folder.remove(attempt, &digest);
        self.feed.task_changed(row.task_id);
        Ok(())
    }

    async fn receive(
        &self,
        mut incoming: Incoming,
        row: &ArtifactRow,
    ) -> Result<Incoming, CollectError> {
        let fetch = FetchArtifact {
            attempt: row.attempt_id,
            digest: row.digest,
            offset: incoming.received_bytes,
        };
        let mut stream = self.sessions.artifact_fetch(row.agent_id, fetch).await?;
        if stream.left() != row.size_bytes - incoming.received_bytes {
            return Err(CollectError::Strange);
        }
        while let Some(bytes) = stream.next().await? {
            incoming = blocking(move || {
                incoming.append(&bytes)?;
                Ok(incoming)
            })
            .await?;
            fault::point("server.artifact_piece");
        }
        Ok(incoming)
    }

    /// Says that a file will not come.
    async fn lose(
        &self,
        folder: &Folder,
        row: &ArtifactRow,
        why: &str,
    ) -> Result<(), CollectError> {
        let (attempt, digest, task) = (row.attempt_id, row.digest, row.task_id);
        tracing::warn!(task.id = %task, artifact = row.name, why, "a collected file is lost");
        // The log first: said twice after a kill is better than not at all.
        let whose = whose(&self.store, task, attempt).await;
        let text = format!(
            "the collected file '{}' of {whose} is lost: {why}",
            row.name
        );
        say(&self.store, task, Level::Warning, text).await?;
        self.store
            .write(async |tx| {
                match task_mark_warned(tx, task).await {
                    Ok(()) | Err(StoreError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
                artifact_mark_lost(tx, attempt, digest, why).await
            })
            .await?;
        folder.remove(attempt, &digest);
        self.feed.task_changed(task);
        Ok(())
    }
}

/// The files that an attempt recorded, as they may be taken in; and the names of those that may not.
pub fn admitted(recorded: Vec<NewArtifact>) -> (Vec<NewArtifact>, Vec<String>) {
    let mut tally = ArtifactTally::default();
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for file in recorded {
        let name = artifact_name(&file.name);
        if file.size_bytes <= ARTIFACT_BYTES && tally.take(file.size_bytes).is_ok() {
            taken.push(NewArtifact { name, ..file });
        } else {
            refused.push(name);
        }
    }
    (taken, refused)
}

/// Appends a line of the server's own to a task's log.
async fn say(store: &Store, task: TaskId, level: Level, text: String) -> Result<(), StoreError> {
    let record = Record {
        at_us: Timestamp::now().as_microsecond(),
        body: RecordBody::Line {
            stream: Stream::Agent,
            level,
            text,
        },
    };
    store
        .write_logs(async |tx| log_append_server(tx, task, std::slice::from_ref(&record)).await)
        .await
        .map(|_| ())
}

fn warn(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

/// Runs work on files where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use mantle_shared::Digest;
    use mantle_shared::artifacts::MOST_ARTIFACTS;

    use super::*;

    fn file(n: u64, size_bytes: u64) -> NewArtifact {
        NewArtifact {
            attempt_seq: n,
            name: format!("../out{n}.log"),
            size_bytes,
            digest: Digest::of(&n.to_be_bytes()),
        }
    }

    #[test]
    fn an_agent_that_keeps_to_no_limit_is_kept_to_it_here() {
        let mut recorded = vec![file(0, ARTIFACT_BYTES + 1)];
        recorded.extend((1..=MOST_ARTIFACTS as u64 + 2).map(|n| file(n, 10)));
        let (taken, refused) = admitted(recorded);
        assert_eq!(taken.len(), MOST_ARTIFACTS);
        assert_eq!(
            taken.first().map(|file| file.name.as_str()),
            Some("out1.log")
        );
        assert_eq!(refused, ["out0.log", "out101.log", "out102.log"]);
    }
}
