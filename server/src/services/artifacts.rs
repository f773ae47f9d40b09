//! Artifacts: the files that a task's steps left behind.

use std::collections::HashMap;

use mantle_domain::permission::Permission;
use mantle_shared::ids::AttemptId;

use super::error::{Error, Result};
use super::tasks::{Place, number, places};
use super::{Caller, Services, at, names};
use crate::api::body::{Artifact, ArtifactState};
use crate::packages::read::Archive;
use crate::store::{self, ArtifactRow, artifact_find, artifact_list};

/// Use cases of those who want what a step left behind.
impl Services {
    /// The files of a task, in the order in which they were noted down.
    pub async fn artifact_list(&self, caller: &Caller, task: &str) -> Result<Vec<Artifact>> {
        caller.may(Permission::Read)?;
        let (task, rows) = {
            let mut tx = self.store.read().await?;
            let task = names::task(&mut tx, task).await?.id;
            (task, artifact_list(&mut tx, task).await?)
        };
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let places = places(self, task).await?;
        Ok(rows.into_iter().map(|row| shape(row, &places)).collect())
    }

    /// A file of a task, ready to be read.
    pub async fn artifact_open(
        &self,
        caller: &Caller,
        task: &str,
        wanted: u64,
    ) -> Result<(String, Archive)> {
        caller.may(Permission::Read)?;
        let (task, row) = {
            let mut tx = self.store.read().await?;
            let task = names::task(&mut tx, task).await?;
            let row = artifact_find(&mut tx, task.id, wanted).await?;
            (number(task.number), row)
        };
        let list = format!("'mantle artifact list {task}' shows what there is");
        let Some(row) = row else {
            let name = wanted.to_string();
            return Err(Error::not_found("artifact", &name, [], list));
        };
        let ArtifactRow { name, note, .. } = row;
        match row.state {
            store::ArtifactState::Stored | store::ArtifactState::Kept => {}
            store::ArtifactState::Waiting => {
                let detail = format!("'{name}' lies on its agent still and has not come yet");
                let help = format!("it comes when the agent is connected; {list}");
                return Err(Error::refused("artifact-waiting", detail, help));
            }
            store::ArtifactState::Lost => {
                let why = note.unwrap_or_default();
                let detail = format!("'{name}' is lost: {why}");
                return Err(Error::refused("artifact-lost", detail, list));
            }
        }
        let archive = self.packages.archive(&row.digest).await?;
        Ok((name, archive))
    }
}

fn shape(row: ArtifactRow, places: &HashMap<AttemptId, Place>) -> Artifact {
    let place = places.get(&row.attempt_id).cloned().unwrap_or_default();
    Artifact {
        number: row.number,
        name: row.name,
        size_bytes: row.size_bytes,
        digest: row.digest.to_string(),
        state: match row.state {
            store::ArtifactState::Waiting => ArtifactState::Waiting,
            store::ArtifactState::Stored | store::ArtifactState::Kept => ArtifactState::Stored,
            store::ArtifactState::Lost => ArtifactState::Lost,
        },
        note: row.note,
        step: place.step,
        action: place.action,
        target: place.target,
        executor: place.executor,
        attempt: place.attempt,
        at: at(row.created_at_us),
        stored_at: row.stored_at_us.map(at),
    }
}
